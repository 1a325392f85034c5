"""`data prepare`: TensorFlow Datasets made ready for `tfds:NAME`."""

from dataclasses import dataclass
from typing import Any, Literal

import tyro

from tljax.commands import Command
from tljax.progress import Track


@dataclass(frozen=True, kw_only=True)
class Data(Command):
    """Prepares a data set of TensorFlow Datasets, once; that needs TensorFlow (pip install "tljax[tfds]"), reading not.

    Examples: tljax data prepare oxford_iiit_pet
              tljax data prepare cats_vs_dogs --archives downloads
              tljax train tfds:oxford_iiit_pet --out run
    """

    action: tyro.conf.Positional[Literal["prepare"]]
    """prepare: run TFDS' builder and store what it makes as ArrayRecord."""
    name: tyro.conf.Positional[str]
    """cats_vs_dogs, oxford_iiit_pet, or any other name that TFDS knows, also NAME/CONFIG."""
    archives: str | None = None
    """A folder with the original archives, for what cannot or need not be downloaded. Checksums other than those that
    TFDS knows are accepted there, and reported."""
    data_dir: str | None = None
    """The folder for prepared data; default: TFDS_DATA_DIR, or TFDS' own."""

    def execute(self, track: Track) -> dict[str, Any]:
        from tljax.data.prepare import prepare

        return prepare(self.name, archives=self.archives, data_dir=self.data_dir)

    def text(self, result: dict[str, Any]) -> str:
        """How many examples each split has, and how to use them."""
        splits = ", ".join(f"{count} in {part}" for part, count in result["splits"].items())
        lines = [f"{result['name']}: {splits}, in {result['data_dir']}"]
        lines += [f"{file}: {said}" for file, said in result["archives"].items()]
        if result["was_there"]:
            lines.append(f"was prepared before; remove {result['folder']} to prepare it anew")
        where = f"TFDS_DATA_DIR={self.data_dir} " if self.data_dir else ""
        return "\n".join([*lines, f"use: {where}tljax train tfds:{result['name']} --out run"])
