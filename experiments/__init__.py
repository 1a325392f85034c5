"""One file, one question, one command: `python -m experiments.NAME --help`."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import tyro

from tljax.commands import start_jax
from tljax.errors import InputError
from tljax.memory import keep_large_pages


def program(
    main: Callable[[Any], dict[str, Any]],
    config: type,
    findings: Callable[[dict[str, Any]], Sequence[str]],
    description: str,
) -> None:
    """Runs an experiment as a program: as fast as the `tljax` command, and with one line on bad input (exit code 2).

    Args:
        main: from options to results.
        config: a frozen dataclass, whose fields are the options.
        findings: what is printed of the results, a sentence each.
        description: what `--help` says.
    """
    options = tyro.cli(config, description=description)
    keep_large_pages()
    start_jax()
    try:
        print("\n".join(findings(main(options))))
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
