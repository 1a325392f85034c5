"""One file, one question, one command: `python -m experiments.NAME --help`."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from tljax.errors import InputError
from tljax.files import check_out, keep_compiled, replacing
from tljax.memory import keep_large_pages
from tljax.progress import Track, tracking

if TYPE_CHECKING:  # the peers of a benchmark should not hold what draws pages
    from experiments.findings import Finding
    from tljax.report.blocks import Figure
    from tljax.report.page import Section

Results = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """What an experiment is made of.

    Attributes:
        text: its docstring, which begins with its question.
        config: a frozen dataclass, whose fields are the options; `out` is the folder to write.
        main: (options, folder, track) -> what results.json holds, and what the page shows besides findings and
            drawings. Pictures go into the folder; loops pass through `track`.
        findings: results -> sentences and tables, for the page, the terminal and the README of the experiments.
        drawings: results -> file stem -> figure.
        compiles: this process runs JAX itself, and keeps the programs that it compiles.
    """

    text: str
    config: type
    main: Callable[[Any, Path, Track], tuple[Results, Sequence["Section"]]]
    findings: Callable[[Results], Sequence["Finding"]]
    drawings: Callable[[Results], Mapping[str, "Figure"]] = lambda results: {}
    compiles: bool = True

    @property
    def question(self) -> str:
        """The first line of its text."""
        return self.text.strip().splitlines()[0]


def run(experiment: Experiment, config: Any) -> Results:
    """Runs an experiment and writes its folder, whole or not at all: results.json, the page and the figures.

    Args:
        config: an instance of `experiment.config`.
    Returns:
        The results.
    Raises:
        InputError: an option that does not fit; the folder cannot be written, or holds something else.
    """
    from experiments.page import write_experiment

    with tracking() as track, replacing(check_out(config.out, overwrite=True)) as folder:
        folder.mkdir()
        results, sections = experiment.main(config, folder, track)
        write_experiment(
            folder,
            experiment.question,
            results,
            findings=experiment.findings(results),
            drawings=experiment.drawings(results),
            sections=sections,
        )
    return results


def program(experiment: Experiment) -> None:
    """Runs an experiment as a command, as fast as `tljax` itself, and prints what it found; see `command`."""

    from experiments.findings import plain

    def main(config: Any) -> str:
        if experiment.compiles:
            keep_large_pages()
            keep_compiled()
        return plain(experiment.findings(run(experiment, config)))

    command(main, experiment.config, experiment.text)


def command(main: Callable[[Any], str], config: type, text: str) -> None:
    """Prints what `main` gives for the options on the command line, or one line on bad input (exit code 2).

    Args:
        config: a frozen dataclass, whose fields are the options.
        text: what `--help` says.
    """
    options = tyro.cli(config, description=text)
    try:
        print(main(options))
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
