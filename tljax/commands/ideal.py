"""`ideal`: what a network's idea of a class looks like, and whether other networks agree."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

import tljax
from tljax.commands import Command, Overwrite
from tljax.errors import InputError, match_name, refuse
from tljax.files import check_out, keep_compiled, replacing
from tljax.progress import Track

_MORE_JUDGES = ", or have some here: pip install 'tljax[weights]'"


@dataclass(frozen=True, kw_only=True)
class Ideal(Command):
    """Makes the picture that a network is surest of, for each class, and asks other networks what they see in it.

    Every picture is saved, read back, and judged by networks that had no part in it. A report shows all of them.

    Examples: tljax ideal zebra "Siamese cat" --out dreams
              tljax ideal zebra --model efficientnet_lite0,efficientnet_lite1 --out dreams
              tljax ideal Abyssinian --run pets-run --out dreams
              tljax ideal --layer stage5_block2 --channel 7 8 9 --out channels
              tljax ideal zebra --start horse.jpg --out striped
    """

    classes: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names or indices of classes."""
    out: str
    """The folder for the pictures and report.html."""
    model: str = "efficientnet_lite0"
    """The network that the picture is made for, or several, joined by commas, that must agree."""
    run: str | None = None
    """A trained run in the place of --model: the ideal member of your own classes."""
    method: Literal["fourier", "pixel"] = "fourier"
    """fourier: smooth, robust pictures; pixel: plain gradient descent on pixels, as textbooks show it."""
    steps: int | None = None
    """Steps along the gradient; by default 256, for pixel 1,000."""
    size: int = 224
    """Side of the picture, in pixels."""
    layer: str | None = None
    """Excite a channel of this layer instead of a class."""
    channel: tuple[int, ...] = ()
    """Which channel of --layer, or several."""
    neuron: bool = False
    """Excite the middle of the channel's map only, instead of its mean."""
    negative: bool = False
    """Make what is least of the class or channel, instead of most."""
    start: str | None = None
    """A photo to start from, instead of noise."""
    variants: int = 1
    """Pictures of each class, kept unlike each other."""
    judge: tuple[str, ...] | None = None
    """Networks (or runs) that judge; by default all whose weights are here and that did not make the picture."""
    seed: int = 0
    """Of the first noise and of the transformations."""
    overwrite: Overwrite = False

    def execute(self, track: Track) -> dict[str, Any]:
        out = check_out(self.out, overwrite=self.overwrite)
        self._check()
        keep_compiled()
        from tljax.report import synth_page

        makers = self._makers()
        table = next(iter(makers.values())).spec.classes
        names, wanted = self._wanted(table)
        for name, net in makers.items():
            if net.spec.classes != table and self.layer is None:
                raise InputError(f"{name} has other classes than {next(iter(makers))}: they cannot make one picture")
        judges = {name: tljax.transfer.load_network(name) for name in self._judges(makers)}
        for name, net in judges.items():
            for index in wanted if self.layer is None else ():
                _check_known(index, table, name, net)
        start = time.perf_counter()
        made = self._make(makers, wanted, track)
        seconds = time.perf_counter() - start
        each = [(name, index) for name, index in zip(names, wanted, strict=True) for _ in range(self.variants)]
        with replacing(out, folder=True) as folder:
            images = self._save(folder, each, made, makers, judges, track)
            record = {"images": images, "model": ", ".join(makers), "method": self.method, "seconds": seconds}
            record |= {"start": "noise" if self.start is None else "a photo", "negative": self.negative}
            synth_page.write_ideal(folder / "report.html", {**record, "steps": len(made.ascent.values)})
        stopped = [
            f"{name}: the gradient was not finite at step {step}"
            for (name, _), step in zip(each, made.ascent.stopped, strict=True)
            if step is not None
        ] + [f"{i['class']} is 0 everywhere: its picture shows nothing" for i in images if i.get("activation") == 0]
        for image in images:
            image["file"] = str(out / image["file"])
            image.pop("image")
        if stopped and len(stopped) == len(images):
            raise InputError(f"{stopped[0]}; the last picture is {images[0]['file']}")
        return {"images": images, "seconds": seconds, "stopped": stopped, "report": str(out / "report.html")}

    def text(self, result: dict[str, Any]) -> str:
        """A line for each picture."""
        lines = []
        for image in result["images"]:
            judges = ", ".join(f"{j} {100 * o['prob']:.1f} % (rank {o['rank']})" for j, o in image["judges"].items())
            active = f"; mean activation {image['activation']:.3g}" if "activation" in image else ""
            lines.append(f"{image['class']}: {image['file']}{active}" + (f"; judges: {judges}" if judges else ""))
        if not any(image["judges"] for image in result["images"]) and self.judge is None and self.layer is None:
            lines.append("no other network was asked: name some with --judge" + ("" if self.run else _MORE_JUDGES))
        return "\n".join([*lines, *result["stopped"], f"{result['seconds']:.0f} s; report: {result['report']}"])

    def _check(self) -> None:
        layer, classes = self.layer is not None, bool(self.classes)
        refuse(
            {
                "no class given: name one, such as zebra, or a --layer with a --channel": not (layer or classes),
                "--layer and --channel go together": layer != bool(self.channel),
                "--neuron needs a --layer with a --channel": self.neuron and not layer,
                "give classes or a --layer with a --channel, not both": layer and classes,
                "--run takes the place of --model: give one of them": self.run is not None and "," in self.model,
            }
        )

    def _makers(self) -> dict[str, Any]:
        if self.run is not None:
            return dict([tljax.transfer.chosen_network(self.model, self.run, folded=False)])
        return {name: tljax.transfer.load_network(name, folded=False) for name in self.model.split(",")}

    def _judges(self, makers: dict[str, Any]) -> list[str]:
        if self.judge is not None:
            same = [name for name in self.judge if name in makers]
            if same:
                raise InputError(f"{same[0]} makes the pictures: it cannot judge them as well")
            return list(self.judge)
        return tljax.synth.default_judges(list(makers)) if self.run is None and self.layer is None else []

    def _wanted(self, table: Sequence[str]) -> tuple[list[str], list[int]]:
        if self.channel:
            return [f"{self.layer} channel {index}" for index in self.channel], list(self.channel)
        wanted = [match_name(name, table) for name in self.classes]
        return [table[c] for c in wanted], wanted

    def _make(self, makers: dict[str, Any], wanted: list[int], track: Track) -> Any:
        import jax

        nets = list(makers.values())
        start = None if self.start is None else _photo(self.start, nets[0].spec, self.size)
        functions = [net.scores if self.layer is None else net.intermediates for net in nets]
        made = tljax.synth.dream(
            functions,
            [net.variables for net in nets],
            wanted,
            key=jax.random.key(self.seed),
            method=self.method,
            steps=self.steps,
            size=self.size,
            layer=self.layer,
            objective=self._objective(),
            start=start,
            variants=self.variants,
            track=track,
        )
        return jax.block_until_ready(made)  # to measure the time

    def _objective(self) -> Any:
        """What is followed where it is not what `dream` follows by itself."""
        if not (self.neuron or self.negative):
            return None
        from tljax.synth.objectives import neuron

        recipe = tljax.synth.Recipe() if self.method == "fourier" else tljax.synth.PixelRecipe()
        aim = neuron(str(self.layer)) if self.neuron else recipe.aim(self.layer)
        return recipe.objective(-aim if self.negative else aim, variants=self.variants)

    def _save(
        self, folder: Path, each: list[tuple[str, int]], made: Any, makers: Any, judges: Any, track: Track
    ) -> list:
        """Saves the pictures, named after their classes, and asks the networks about what is read back."""
        from tljax.data.png import file_stem, read_png, save_png

        counts = [f"-{each[: i + 1].count(one)}" if self.variants > 1 else "" for i, one in enumerate(each)]
        stems = [file_stem(name) + count for (name, _), count in zip(each, counts, strict=True)]
        stems = [stem if stems.count(stem) == 1 else f"{stem}-{i}" for i, stem in enumerate(stems)]
        pixels = np.asarray(tljax.synth.to_bytes(made.images))
        files = [save_png(folder / f"{stem}.png", image) for stem, image in zip(stems, pixels, strict=True)]
        saved = [read_png(file) for file in files]
        if self.layer is None:
            table = next(iter(makers.values())).spec.classes
            wanted = [index for _, index in each]
            images = tljax.synth.judge_ideals(makers, judges, saved, wanted, table=table, track=track)
        else:
            images = [
                {"class": name, "image": image, "prob": None, "judges": {}, "activation": float(activation)}
                for (name, _), image, activation in zip(each, saved, made.activation, strict=True)
            ]
        return [{**image, "file": Path(file).name} for image, file in zip(images, files, strict=True)]


def _photo(path: str, spec: Any, size: int) -> Any:
    """A photo at the size of the pictures, (1, size, size, 3) float32, of which the network's crop is shown."""
    return tljax.data.read_photo(path, replace(spec, input_size=size))[None] / np.float32(255)


def _check_known(wanted: int, table: Sequence[str], name: str, net: Any) -> None:
    try:
        tljax.synth.find_class(wanted, table, net.spec.classes)
    except InputError as error:
        raise InputError(f"{name} cannot judge: {error}") from None
