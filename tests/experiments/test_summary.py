"""The README of the experiments is what their results say."""

import json

import pytest

from experiments import summary


def test_the_readme_is_what_the_command_writes():
    assert (summary.FOLDER / "README.md").read_text("utf-8") == summary.readme()


def test_the_table_of_speed_in_front_is_that_of_the_benchmark():
    text = (summary.FOLDER.parent / "README.md").read_text("utf-8")
    assert text == summary.with_speed(text)


@pytest.mark.parametrize("name", summary.EXPERIMENTS)
def test_an_experiment_begins_with_its_question_and_its_command(name):
    assert summary.question(name).endswith("?")
    commands = summary.commands(name)
    assert all(f"experiments.{name} " in command for command in commands)
    assert any("--small" in command for command in commands)


def test_every_figure_of_the_readme_is_there():
    stems = {f"{name}-{stem}.png" for name in summary.EXPERIMENTS for stem in summary.drawn(name)}
    assert stems == {path.name for path in (summary.FOLDER / "results").glob("*.png")}


def test_results_travel_without_the_places_of_files():
    document = {"config": {"out": "/tmp/x", "data": ["/home/me/pets37", "digits"], "seeds": 5}, "models": ["a"]}
    assert summary.portable(document) == {"config": {"data": ["pets37", "digits"], "seeds": 5}, "models": ["a"]}


def test_saved_results_are_read_back(tmp_path):
    document = {"config": {"seeds": 2}, "breeds": {"a": [0.5]}}
    summary.save(tmp_path / "x.json", document)
    assert json.loads((tmp_path / "x.json").read_text()) == document
