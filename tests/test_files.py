"""Outputs are written whole or not at all."""

import os

import pytest

from tljax.errors import InputError
from tljax.files import check_out, replacing


def test_replacing_a_file(tmp_path):
    out = tmp_path / "deep" / "a.txt"
    with replacing(out) as part:
        part.write_text("new")
        assert not out.exists()
    assert out.read_text() == "new"
    assert os.listdir(out.parent) == ["a.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    out = tmp_path / "a.txt"
    out.write_text("old")

    def fill_the_disk():
        with replacing(out) as part:
            part.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="full"):
        fill_the_disk()
    assert out.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_replacing_a_folder(tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "old").touch()
    with replacing(out) as part:
        part.mkdir()
        (part / "new").touch()
    assert os.listdir(out) == ["new"]
    assert os.listdir(tmp_path) == ["run"]


def test_check_out(tmp_path):
    (tmp_path / "there.csv").touch()
    with pytest.raises(InputError, match="--overwrite"):
        check_out(tmp_path / "there.csv", overwrite=False)
    assert check_out(tmp_path / "there.csv", overwrite=True).name == "there.csv"
    with pytest.raises(InputError, match=r"end with \.npz"):
        check_out(tmp_path / "x.csv", overwrite=False, suffix=".npz")
    with pytest.raises(InputError, match="cannot write"):
        check_out(tmp_path / "there.csv" / "below", overwrite=False)
    check_out(tmp_path / "a" / "b" / "c", overwrite=False)
    assert not (tmp_path / "a").exists()


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "old").touch()
    with pytest.raises(InputError, match="not replaced"):
        check_out(tmp_path, overwrite=True)
    (tmp_path / "report.html").touch()
    assert check_out(tmp_path, overwrite=True) == tmp_path
