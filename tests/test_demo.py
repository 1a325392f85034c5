"""`tljax demo`: all that it shows, with nothing but what is installed."""

import json

import pytest

from tests.test_cli import run


@pytest.mark.slow
def test_demo(capsys, tmp_path):
    code, out, err = run(capsys, "demo", "--out", tmp_path / "demo", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert {"report", "seconds", "classify", "textures", "digits", "ideal", "attack"} <= set(result)
    assert any("cat" in entry["name"] or "tabby" in entry["name"] for entry in result["classify"])
    assert result["textures"]["features"] > result["textures"]["pixels"] + 0.2
    assert abs(result["digits"]["features"] - result["digits"]["pixels"]) < 0.1
    assert result["attack"]["success"]
    assert len(result["ideal"]) == 2
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "http:" not in page
    assert "https:" not in page
