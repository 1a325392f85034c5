"""Preparing TFDS data: a stand-in for the package notes what it is asked; the real builder runs in the slow tier."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from types import SimpleNamespace
from unittest.mock import ANY

import pytest

from tljax.cli import main
from tljax.data import prepare as prepare_module
from tljax.data.prepare import AS_GIVEN, VERIFIED, check_archive, prepare
from tljax.errors import InputError

URL = "https://example.org/images.tar.gz"


def info(path):
    data = path.read_bytes()
    return SimpleNamespace(checksum=hashlib.sha256(data).hexdigest(), size=len(data), filename=path.name)


class Builder:
    """Takes its archive from `manual_dir` if its checksum is the registered one, as TFDS does."""

    def __init__(self, folder, fail=None):
        self.data_path = folder
        self.url_infos = {URL: SimpleNamespace(checksum="0" * 64, size=1, filename="images.tar.gz")}
        self.info = SimpleNamespace(splits={"train": SimpleNamespace(num_examples=6)})
        self.fail = fail

    def download_and_prepare(self, download_config):
        print("noise")
        if self.fail:
            raise self.fail
        path = download_config.manual_dir / self.url_infos[URL].filename
        assert info(path).checksum == self.url_infos[URL].checksum
        assert os.path.isdir(download_config.extract_dir)
        self.data_path.mkdir(parents=True)


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """(the builder, the arguments it was made with, the folder with its archive)."""
    made, asked = Builder(tmp_path / "data" / "pets" / "1.0.0"), {}

    def builder(name, **options):
        asked.update(options)
        if name != "pets":
            raise ImportError(f"no {name}")
        return made

    def config(manual_dir=None, **options):
        return SimpleNamespace(manual_dir=manual_dir and tmp_path / manual_dir, **options)

    module = SimpleNamespace(
        builder=builder,
        list_builders=lambda with_community_datasets: ["pets", "cats_vs_dogs", "oxford_iiit_pet"],
        download=SimpleNamespace(DownloadConfig=config),
        core=SimpleNamespace(constants=SimpleNamespace(DATA_DIR="~/tensorflow_datasets")),
    )
    download = SimpleNamespace(checksums=SimpleNamespace(compute_url_info=info))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets.core.download", download)
    monkeypatch.setattr(prepare_module, "_import", lambda: module)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    archives = tmp_path / "archives"
    archives.mkdir()
    write_tar(archives / "images.tar.gz", [tarfile.TarInfo("images/a.jpg")])
    return made, asked, archives


def write_tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO())
    return path


def test_archives_with_another_checksum_are_taken_and_reported(stand_in, tmp_path, capsys):
    builder, asked, archives = stand_in
    result = prepare("pets", archives=str(archives), data_dir=str(tmp_path / "data"))
    assert asked == {"data_dir": str(tmp_path / "data"), "file_format": "array_record"}
    assert result == {
        "name": "pets",
        "splits": {"train": 6},
        "data_dir": str(tmp_path / "data"),
        "folder": str(builder.data_path),
        "was_there": False,
        "archives": {"images.tar.gz": AS_GIVEN},
    }
    assert builder.url_infos[URL].checksum == "0" * 64  # what TFDS knows is as before
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "noise\n")
    assert prepare("pets", archives="nowhere") == {**result, "data_dir": ANY, "was_there": True, "archives": {}}
    builder.data_path.rmdir()
    builder.url_infos[URL] = info(archives / "images.tar.gz")
    assert prepare("pets", archives=str(archives))["archives"] == {"images.tar.gz": VERIFIED}


def test_the_command(stand_in, tmp_path, capsys):
    arguments = ["data", "prepare", "pets", "--archives", str(stand_in[2]), "--data-dir", str(tmp_path / "data")]
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"] == {"train": 6}
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "pets: 6 in train" in text
    assert f"was prepared before; remove {stand_in[0].data_path} " in text
    stand_in[0].data_path.rmdir()
    assert main(arguments) == 0
    assert f"images.tar.gz: {AS_GIVEN}" in capsys.readouterr().out
    assert f"TFDS_DATA_DIR={tmp_path / 'data'} tljax train tfds:pets" in text
    assert main(["data", "prepare", "cats_v_dogs"]) == 2
    assert capsys.readouterr().out == ""
    assert main(["data", "remove", "pets"]) == 2


def refused(*arguments, **options) -> str:
    with pytest.raises(InputError) as caught:
        prepare(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_unknown_names_suggest_the_nearest(stand_in):
    assert "did you mean cats_vs_dogs" in refused("cats_v_dogs")


def test_missing_archives_say_which_are_expected(stand_in, tmp_path):
    assert refused("pets", archives="nowhere").endswith("expected images.tar.gz")
    (tmp_path / "empty").mkdir()
    assert refused("pets", archives=str(tmp_path / "empty")).endswith("expected images.tar.gz")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionError("no route"), "the archives of pets cannot be downloaded: give them with --archives DIR"),
        (ValueError("Expected 1738\ncorrupt images"), "TFDS could not prepare pets: Expected 1738 corrupt images"),
    ],
)
def test_what_the_builder_raises_is_one_line(stand_in, error, said):
    stand_in[0].fail = error
    assert said in refused("pets")


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setitem(sys.modules, "importlib_resources", SimpleNamespace())
    assert 'pip install "tljax[tfds]"' in refused("pets")


def linked(kind, name="images/a.jpg", target="/etc/passwd"):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (tarfile.TarInfo("../outside.jpg"), "leads out of its folder"),
        (tarfile.TarInfo("images/../../outside.jpg"), "leads out of its folder"),
        (tarfile.TarInfo("/etc/outside.jpg"), "leads out of its folder"),
        (tarfile.TarInfo("..\\outside.jpg"), "leads out of its folder"),
        (tarfile.TarInfo("C:\\outside.jpg"), "leads out of its folder"),
        (linked(tarfile.SYMTYPE), "neither a file nor a folder"),
        (linked(tarfile.LNKTYPE), "neither a file nor a folder"),
        (linked(tarfile.FIFOTYPE), "neither a file nor a folder"),
        (linked(tarfile.CHRTYPE), "neither a file nor a folder"),
    ],
)
def test_hostile_tar_archives_are_refused_before_anything_is_unpacked(stand_in, member, said):
    builder, _, archives = stand_in
    builder.fail = AssertionError("was run")
    write_tar(archives / "images.tar.gz", [tarfile.TarInfo("images/ok.jpg"), member])
    assert said in refused("pets", archives=str(archives))


@pytest.mark.parametrize("name", ["../outside.jpg", "/etc/outside.jpg", "a/../../outside.jpg", "..\\outside.jpg"])
def test_hostile_zip_archives(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("PetImages/ok.jpg", b"")
        archive.writestr(zipfile.ZipInfo(name), b"")
    with pytest.raises(InputError, match="leads out of its folder"):
        check_archive(tmp_path / "a.zip")


def test_links_in_zip_archives_and_damaged_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        check_archive(tmp_path / "a.zip")
    path = write_tar(tmp_path / "a.tar.gz", [tarfile.TarInfo(f"{i}.jpg") for i in range(2000)])
    check_archive(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="damaged or truncated"):
        check_archive(path)
    (tmp_path / "list.txt").write_text("no archive at all")
    check_archive(tmp_path / "list.txt")


# --- the real thing ----------------------------------------------------------------------------------------

READ_WITHOUT_TENSORFLOW = """
import numpy as np
from tljax.data.images import decode
from tljax.data.sources import open_source
from tljax.data.splits import split
source = open_source("tfds:oxford_iiit_pet")
parts = split(source)
assert source.classes == ("Abyssinian", "american_bulldog", "Bengal"), source.classes
assert {name: len(where) for name, where in parts.items()} == {"train": 60, "val": 30}, parts
assert all("/train/" in source.files[i] for i in parts["train"])
assert all("/test/" in source.files[i] for i in parts["val"])
assert np.bincount(source.labels).tolist() == [30, 30, 30]
assert decode(source.read(0)).ndim == 3
try:
    import tensorflow
    raise SystemExit("TensorFlow is there")
except ImportError:
    pass
"""


@pytest.mark.slow
def test_the_unmodified_builder_of_oxford_iiit_pet(tmp_path, sample_data):
    """Prepare with TensorFlow; read, train and evaluate where TensorFlow cannot be imported."""
    pytest.importorskip("tensorflow_datasets", reason='needs the extra tfds: pip install "tljax[tfds]"')
    archives = sample_data / "oxford_iiit_pet_archives"
    if not archives.is_dir():
        pytest.skip(f"no archives at {archives}")
    environment = {**os.environ, "TFDS_DATA_DIR": str(tmp_path / "data"), "JAX_PLATFORMS": "cpu"}
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "tensorflow.py").write_text("raise ImportError('blocked')")
    without = {**environment, "PYTHONPATH": str(tmp_path / "blocked")}

    def run(*arguments, env):
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    tljax = ("-m", "tljax")
    prepared = run(*tljax, "data", "prepare", "oxford_iiit_pet", "--archives", archives, "--json", env=environment)
    result = json.loads(prepared)
    assert result["splits"] == {"train": 60, "test": 30}
    assert result["data_dir"] == str(tmp_path / "data")
    assert result["archives"] == {"images.tar.gz": AS_GIVEN, "annotations.tar.gz": AS_GIVEN}
    run("-c", READ_WITHOUT_TENSORFLOW, env=without)
    trained = run(*tljax, "train", "tfds:oxford_iiit_pet", "--out", tmp_path / "run", "--json", env=without)
    result = json.loads(trained)
    assert (result["train_images"], result["val_images"]) == (60, 30)
    assert result["val_accuracy"] >= 0.8
