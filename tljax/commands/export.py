"""`export`: a trained run as one file for places without tljax."""

from dataclasses import dataclass
from typing import Any

import tljax
from tljax.commands import Command, RunFolder
from tljax.errors import InputError
from tljax.files import check_out, keep_compiled
from tljax.progress import Track


@dataclass(frozen=True, kw_only=True)
class Export(Command):
    """Writes a trained run as one `jax.export` file: pixels in, probabilities out, weights and preprocessing inside.

    A script with jax (and flatbuffers) runs it, on any of the platforms and any number of pictures. Beside F lies
    F.json with the names of the classes. XLA compiles it anew for each size of pictures: give --cropped where many
    sizes come and something else resizes them.

    Example: tljax export run --out pets.jax
    """

    run_dir: RunFolder
    out: str
    """The file to write; F.json is written beside it."""
    platforms: str = "cpu,cuda,tpu"
    """Where it will run: of cpu, cuda, tpu, rocm, separated by commas."""
    cropped: bool = False
    """It takes pictures that are already resized and cropped to the network's size."""
    overwrite: bool = False
    """Replace existing files."""

    def execute(self, track: Track) -> dict[str, Any]:
        from tljax.transfer.export import card_path, write_export

        names = [name.strip() for name in self.platforms.split(",") if name.strip()]
        out = check_out(self.out, overwrite=self.overwrite)
        if out.is_dir():
            raise InputError(f'"{self.out}" is a folder: name a file')
        check_out(card_path(out), overwrite=self.overwrite)
        keep_compiled()
        card = write_export(tljax.load_run(self.run_dir), out, platforms=names, cropped=self.cropped)
        shown = {name: card[name] for name in ("platforms", "input", "output", "classes")}
        return {"out": str(out), "card": str(card_path(out)), "bytes": out.stat().st_size, **shown}

    def text(self, result: dict[str, Any]) -> str:
        """What it takes and gives, and where it is."""
        return (
            f"{result['out']} ({result['bytes'] / 1e6:.1f} MB) and {result['card']}\n"
            f"{result['input']} -> {result['output']}, for {', '.join(result['platforms'])}"
        )
