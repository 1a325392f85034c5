"""`channels`: what the channels of a layer stand for."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

import tljax
from tljax.commands import Command, Model, Overwrite, Run
from tljax.commands.photos import skipped_lines, skipped_rows
from tljax.files import check_out, keep_compiled, replacing
from tljax.progress import Track

_WORTH = {"weights": "weight", "photos": "prob", None: ""}


@dataclass(frozen=True, kw_only=True)
class Channels(Command):
    """Shows what the channels of a layer stand for: the picture that each would like best, beside the nine crops of
    your photos that excite it most, the classes that it speaks for, and the channels that answer like it.

    Examples: tljax channels photos --out seen
              tljax channels photos --layer stage4_block1 --count 12 --out seen
              tljax channels photos --run pets-run --channels 3 17 64 --out seen
    """

    photos: tyro.conf.Positional[
        Annotated[tuple[str, ...], tyro.conf.arg(help="Photos, or folders of photos; none: ideal pictures alone.")]
    ] = ()
    out: str
    """The folder for a picture of each channel and report.html."""
    model: Model = "efficientnet_lite0"
    run: Run = None
    layer: str | None = None
    """A layer by name; by default the last one."""
    channels: tuple[int, ...] | None = None
    """Indices of channels, from 0; by default those that your photos excite most, relative to each one's usual answer,
    or without photos the first ones."""
    count: int = 24
    """How many channels, where --channels names none."""
    size: int = 112
    """Side of the ideal pictures, in pixels."""
    steps: int = 96
    """Steps along the gradient; more make clearer pictures."""
    seed: int = 0
    """Of the first noise and of the transformations."""
    overwrite: Overwrite = False

    def execute(self, track: Track) -> dict[str, Any]:
        out = check_out(self.out, overwrite=self.overwrite)
        photos = tljax.data.image_source(self.photos) if self.photos else None
        keep_compiled()
        import jax

        name, net = tljax.transfer.chosen_network(self.model, self.run, folded=False)
        start = time.perf_counter()
        seen = tljax.synth.describe_channels(
            net,
            self.layer,
            photos,
            key=jax.random.key(self.seed),
            channels=self.channels,
            count=self.count,
            size=self.size,
            steps=self.steps,
            track=track,
        )
        record = {"model": name, "layer": seen.layer, "seconds": time.perf_counter() - start}
        with replacing(out, folder=True) as folder:
            files = self._save(folder, seen, record)
        channels = [
            {
                "channel": channel.index,
                "file": str(out / file),
                "photos": list(channel.photos),
                "activation": channel.activation,
                "classes": [{"name": name, _WORTH[seen.classes_by]: worth} for name, worth in channel.classes],
                "similar": [{"channel": other, "correlation": alike} for other, alike in channel.similar],
            }
            for channel, file in zip(seen.channels, files, strict=True)
        ]
        skipped = skipped_rows(seen.skipped)
        return {**record, "channels": channels, "skipped": skipped, "report": str(out / "report.html")}

    def text(self, result: dict[str, Any]) -> str:
        """A line for each channel."""
        lines = []
        for channel in result["channels"]:
            classes = ", ".join(one["name"] for one in channel["classes"])
            silent = "" if channel["activation"] else "; 0 all over its picture, which shows nothing"
            photos = f"; most excited by {Path(channel['photos'][0]).name}" if channel["photos"] else ""
            said = f"{photos}; {classes}" if classes else photos
            lines.append(f"channel {channel['channel']}: {channel['file']}{silent}{said}")
        report = f"{result['layer']}, {result['seconds']:.0f} s; report: {result['report']}"
        return "\n".join([*lines, report, *skipped_lines(result["skipped"])])

    def _save(self, folder: Path, seen: Any, record: dict[str, Any]) -> list[str]:
        """Writes a picture of each channel and the page; the names of the pictures."""
        from tljax.data.png import save_png
        from tljax.report import channels_page

        files = [f"channel-{channel.index}.png" for channel in seen.channels]
        for file, channel in zip(files, seen.channels, strict=True):
            save_png(folder / file, channel.image)
        rows = [{"channel": channel.index, **vars(channel)} for channel in seen.channels]
        page = {**record, "steps": self.steps, "chosen": self._chosen(), "channels": rows, "photos": seen.photos}
        channels_page.write(folder / "report.html", {**page, "classes_by": seen.classes_by})
        return files

    def _chosen(self) -> str:
        """How the channels were, as a heading."""
        if self.channels is not None:
            return "The channels asked for"
        return "What your photos excite most" if self.photos else "The first channels"
