"""What each command of the command line takes, does and prints. Heavy imports wait until a command runs."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from tljax.progress import Track, tracking


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command: its fields are its options."""

    json: bool = False
    """Print one JSON document on stdout; all else goes to stderr."""
    debug: bool = False
    """Show the traceback of an error."""

    def execute(self, track: Track) -> dict[str, Any] | None:
        """Does the work and returns what `--json` prints; None where another process does."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def text(self, result: dict[str, Any]) -> str:
        """The result for a person."""
        return "\n".join(f"{name}: {value}" for name, value in result.items())


@dataclass(frozen=True, kw_only=True)
class SharedCommand(Command):
    """A command that several processes can share, on one machine or on many."""

    coordinator: str | None = None
    """Share the work between several processes: give each the same command, with HOST:PORT of process 0 (at a free
    port) and its own --process-id. Or auto, where JAX finds all of this out: on a TPU slice, in SLURM or Open MPI.
    All need the photos under the same names, and train an --out on a disk that all share. If one process dies, the
    others exit with 75."""
    num_processes: int | None = None
    """How many processes there are, with --coordinator HOST:PORT."""
    process_id: int | None = None
    """Which of them this is, from 0."""

    @contextlib.contextmanager
    def shared(self, track: Track) -> Iterator[tuple[bool, Track]]:
        """Joins the other processes, if there are any; whether this is the first one, and how it shows progress."""
        if (self.coordinator, self.num_processes, self.process_id) == (None, None, None):
            yield True, track
            return
        from tljax.distributed import join

        joined = join.joined(self.coordinator, self.num_processes, self.process_id)
        with joined, tracking(quiet=not join.first()) as track:  # stderr is another object in there
            yield join.first(), track


# Options that several commands share.
Images = tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(help="Photos, or folders of photos.")]]
Photo = tyro.conf.Positional[Annotated[str, tyro.conf.arg(help="A photo of any size.")]]
RunFolder = tyro.conf.Positional[Annotated[str, tyro.conf.arg(help="The folder that `tljax train` wrote.")]]
Classifier = tyro.conf.Positional[
    Annotated[str, tyro.conf.arg(help="The folder that `tljax train` wrote, or an .onnx that `tljax export` wrote.")]
]
Model = Annotated[str, tyro.conf.arg(help="A name from `tljax models --all`, or timm/NAME of the hub.")]
Run = Annotated[str | None, tyro.conf.arg(help="A trained run in the place of --model.")]
Overwrite = Annotated[bool, tyro.conf.arg(help="Replace an existing folder.")]


@dataclass(frozen=True, kw_only=True)
class LabelledCommand(Command):
    """A command on labelled photos; its options say where the labels are, as those of `train` do."""

    labels: str | None = None
    """A table of files and labels, for a folder without class folders."""
    label_regex: str | None = None
    """Takes the class from the name of each file: the named group, or the first one; "^(.+)_\\d+\\.jpg$" for
    Abyssinian_12.jpg."""
    file_column: str | None = None
    """The header of the table's column of files, or its number from 1; what is found without: `tljax train --help`."""
    label_column: str | None = None
    """The same of the classes."""
    split_column: str | None = None
    """The same of the splits."""

    def where(self) -> dict[str, Any]:
        """These options by name."""
        names = ("labels", "label_regex", "file_column", "label_column", "split_column")
        return {name: getattr(self, name) for name in names}
