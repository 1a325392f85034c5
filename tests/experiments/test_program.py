"""What every experiment gets from `experiments.run` and `experiments.program`, on one that takes no time."""

import json
import sys
from dataclasses import dataclass

import pytest

from experiments import Experiment, program, run
from tljax.errors import InputError
from tljax.report.blocks import Text
from tljax.report.page import Section


@dataclass(frozen=True)
class Config:
    """Options."""

    out: str
    """The folder."""
    number: int = 3
    """To be doubled."""


def main(config, folder, track):
    (folder / "picture.txt").write_text("a picture")
    if config.number < 0:
        raise InputError("less than nothing")
    results = {"doubled": sum(track([config.number] * 2, "adding", 2))}
    return results, [Section("More", [Text("and more")])]


def findings(results):
    return [f"Twice the number is {results['doubled']}."]


EXPERIMENT = Experiment("How much is twice a number?\n\nIt adds.\n", Config, main, findings, compiles=False)


def test_an_experiment_leaves_results_page_and_pictures(tmp_path):
    out = tmp_path / "out"
    assert run(EXPERIMENT, Config(str(out))) == {"doubled": 6}
    assert json.loads((out / "results.json").read_text()) == {"doubled": 6}
    page = (out / "report.html").read_text()
    assert all(words in page for words in ("How much is twice a number?", "Twice the number is 6.", "and more"))
    assert (out / "picture.txt").is_file()


def test_one_that_fails_leaves_the_folder_of_an_earlier_run_as_it_was(tmp_path):
    out = tmp_path / "out"
    run(EXPERIMENT, Config(str(out)))
    with pytest.raises(InputError, match="less than nothing"):
        run(EXPERIMENT, Config(str(out), number=-1))
    assert json.loads((out / "results.json").read_text()) == {"doubled": 6}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_something_else_is_refused_before_any_work(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(InputError, match="not replaced"):
        run(EXPERIMENT, Config(str(tmp_path), number=-1))


def test_as_a_program_it_prints_what_it_found_or_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["twice", "--out", str(tmp_path / "out"), "--number", "5"])
    program(EXPERIMENT)
    assert capsys.readouterr().out == "Twice the number is 10.\n"
    monkeypatch.setattr(sys, "argv", ["twice", "--out", str(tmp_path / "out"), "--number", "-5"])
    with pytest.raises(SystemExit) as stopped:
        program(EXPERIMENT)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "less than nothing\n"
