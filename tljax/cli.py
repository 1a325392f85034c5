"""The command line: parse, call, print. Exit 0 on success, 2 with one line on bad input, 1 on a defect."""

import contextlib
import functools
import io
import json
import operator
import os
import re
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import tyro

import tljax
from tljax import progress
from tljax.commands import Command
from tljax.commands.attack import Attack, Robustness
from tljax.commands.channels import Channels
from tljax.commands.check import Check
from tljax.commands.compare import Compare
from tljax.commands.data import Data
from tljax.commands.demo import Demo
from tljax.commands.explain import Explain
from tljax.commands.export import Export
from tljax.commands.ideal import Ideal
from tljax.commands.photos import Classify, Features, Models
from tljax.commands.runs import Evaluate, Predict, Train
from tljax.errors import InputError, nearest
from tljax.memory import collect_rarely, keep_large_pages

_COMMANDS = {
    "models": Models,
    "classify": Classify,
    "features": Features,
    "check": Check,
    "compare": Compare,
    "train": Train,
    "evaluate": Evaluate,
    "predict": Predict,
    "ideal": Ideal,
    "channels": Channels,
    "attack": Attack,
    "explain": Explain,
    "robustness": Robustness,
    "data": Data,
    "export": Export,
    "demo": Demo,
}
_MARKERS = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)
_RULES = tyro.constructors.ConstructorRegistry()


@_RULES.primitive_rule
def _number(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[float] | None:
    """Numbers may be given as fractions, as budgets are: 2/255."""
    if info.type is not float:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="FLOAT",
        instance_from_str=lambda given: tljax.synth.parse_budget(*given) if "/" in given[0] else float(*given),
        is_instance=lambda value: isinstance(value, int | float),
        str_from_instance=lambda value: [str(value)],
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; without `argv` the process's own, which then keeps its memory."""
    if argv is None:
        collect_rarely()
        keep_large_pages()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        command = parse(arguments)
        with progress.tracking() as track:
            result = command.execute(track)
    except (InputError, OSError) as error:
        return _failed(error, 2, arguments)
    except KeyboardInterrupt:
        print("tljax: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        return _failed(error, 1, arguments)
    if result is not None:  # another process prints it
        return _printed(json.dumps(result, indent=1) if command.json else command.text(result))
    return 0


def parse(arguments: Sequence[str]) -> Command:
    """The command that the arguments describe; prints help or the version, and exits with 0, where they ask for it.

    Raises:
        InputError: unknown or missing arguments, in one line.
    """
    if list(arguments[:1]) == ["--version"]:
        print(f"tljax {tljax.__version__}")
        raise SystemExit(0)
    kind = _COMMANDS.get(arguments[0]) if arguments else None
    if kind is None:
        return _overview(list(arguments) or ["--help"])
    if kind is Train and any(argument.split("=")[0] == "--config" for argument in arguments):
        markers = _MARKERS[1:]  # what the file turns on can be turned off
        command = _tyro(kind, arguments[0], arguments[1:], config=markers)
        return _tyro(kind, arguments[0], arguments[1:], config=markers, default=command.with_file())
    return _tyro(kind, arguments[0], arguments[1:])


def _overview(arguments: Sequence[str]) -> Command:
    """Help on all commands, or the complaint about a command that does not exist."""
    if not arguments[0].startswith("-"):
        guesses = nearest(arguments[0], list(_COMMANDS), n=2)
        hint = f"did you mean {' or '.join(guesses)}?" if guesses else f"there are {', '.join(_COMMANDS)}"
        raise InputError(f'no command "{arguments[0]}": {hint}')
    kinds = (
        Annotated[kind, tyro.conf.subcommand(name, description=(kind.__doc__ or "").split("\n\n")[0])]
        for name, kind in _COMMANDS.items()
    )
    return _tyro(functools.reduce(operator.or_, kinds), "", arguments)


def _tyro(kind: Any, name: str, arguments: Sequence[str], **options: Any) -> Any:
    complaint = io.StringIO()
    description = kind.__doc__ if name else (tljax.__doc__ or "").split("\n\n")[0]
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                kind,
                prog=f"tljax {name}".strip(),
                description=description,
                args=list(arguments),
                **{"config": _MARKERS, "registry": _RULES, **options},
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise InputError(_one_line(complaint.getvalue(), name)) from None


def _one_line(box: str, command: str) -> str:
    """tyro's framed message as one line: what is wrong, the nearest options of this command, where help is."""
    blocks: list[list[str]] = [[]]
    for line in box.splitlines():
        line = line.strip("│").rstrip()
        if re.match(r"^[╭╰ ]*─", line):
            blocks.append([])
        elif line:
            blocks[-1].append(line)
    told, *others = [block for block in blocks if block]
    missing = told[0].strip().startswith("Missing from")
    outer = [line.strip() for line in told if not missing or len(line) - len(line.lstrip()) <= 5]
    text = " ".join(outer).split(" Got errors:")[0]
    for block in others:
        listed = " ".join(line.strip() for line in block)
        if listed.startswith("Perhaps you meant"):
            names = dict.fromkeys(re.findall(r"(?:^| )(--[\w-]+)", listed))
            text += f": did you mean {' or '.join(names)}?"
    return f"{text} (see tljax {command} --help)".replace(" (required)", "")


def _printed(text: str) -> int:
    """Prints the result. Whoever has read enough, as `head` has, ends the command without a word, as SIGPIPE would."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return 128 + 13
    return 0


def _failed(error: BaseException, code: int, arguments: Sequence[str]) -> int:
    if "--debug" in arguments:
        import traceback

        traceback.print_exception(error)
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f' "{error.filename}"' if error.filename else ""
        text = f"{error.strerror}{where}"
    elif code == 1:
        text = f"{type(error).__name__}: {text or 'no message'} (a defect; --debug shows where)"
    print("tljax: " + " ".join(text.split()), file=sys.stderr)
    return code
