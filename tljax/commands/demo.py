"""`demo`: what is installed, shown at work."""

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

import tljax
from tljax.commands import Command, Overwrite
from tljax.commands.photos import named
from tljax.files import check_out, keep_compiled, replacing
from tljax.metrics import accuracy
from tljax.progress import Track

_CAT = "chelsea.png"
_PIXELS = 32
_DREAMS = (284, 340)  # Siamese cat, zebra
_TARGET = 207  # golden retriever


@dataclass(frozen=True, kw_only=True)
class Demo(Command):
    """Shows transfer learning with what is installed, in a few minutes: no photos of yours, no network.

    Names a photo of a cat; trains on textures and on handwritten digits, each beside the same classifier on raw
    pixels, to show where a pretrained network helps and where it does not; makes the ideal cat and the ideal zebra;
    changes the photo of the cat until the network sees a dog; writes one page about it.
    """

    out: str = "tljax-demo"
    """The folder for report.html."""
    model: str = "efficientnet_lite0"
    """A name from `tljax models` whose weights are here."""
    overwrite: Overwrite = False

    def execute(self, track: Track) -> dict[str, Any]:
        start = time.perf_counter()
        out = check_out(self.out, overwrite=self.overwrite)
        keep_compiled()
        from tljax.report import demo_page

        net = tljax.load_pretrained(self.model)
        record: dict[str, Any] = {"model": self.model, "classify": _name_the_cat(net, track)}
        for task in ("textures", "digits"):
            record[task] = _features_against_pixels(net, task, track)
        record["ideal"] = _dreams(net, track)
        record["attack"] = _fool(net)
        record["seconds"] = time.perf_counter() - start
        with replacing(out, folder=True) as folder:
            demo_page.write(folder / "report.html", record)
        shown = ("features", "pixels", "seconds", "train_images", "val_images")
        return {
            "report": os.path.join(os.fspath(out), "report.html"),
            "seconds": record["seconds"],
            "classify": record["classify"]["top"],
            **{task: {key: record[task][key] for key in shown} for task in ("textures", "digits")},
            "ideal": [{key: image[key] for key in ("class", "prob", "judges")} for image in record["ideal"]],
            "attack": {key: record["attack"][key] for key in ("source", "adversarial", "success", "steps")},
        }

    def text(self, result: dict[str, Any]) -> str:
        """What it found, in four lines."""
        top = result["classify"][0]
        lines = [f"the bundled cat: {top['name']} {100 * top['prob']:.1f} %"]
        for task in ("textures", "digits"):
            features, pixels = (100 * result[task][name] for name in ("features", "pixels"))
            lines.append(f"{task}: {features:.1f} % on the network's features, {pixels:.1f} % on raw pixels")
        for image in result["ideal"]:
            ranks = ", ".join(f"{judge} ranks it {opinion['rank']}" for judge, opinion in image["judges"].items())
            lines.append(f"an ideal {image['class']}" + (f": {ranks}" if ranks else ""))
        after = result["attack"]["adversarial"]
        lines.append(f"the same cat, changed by at most {255 * after['linf']:.0f}/255: {after['name']}")
        return "\n".join([*lines, f"{result['seconds']:.0f} s; report: {result['report']}"])


def _name_the_cat(net: Any, track: Track) -> dict[str, Any]:
    source = tljax.data.image_source([tljax.data.bundled_photograph(_CAT)])
    return {"image": source.picture(0), "top": named(net, source, track, index=True)["images"][0]["top"]}


def _features_against_pixels(net: Any, task: str, track: Track) -> dict[str, Any]:
    """The probe's accuracy on a bundled task, on features and on raw pixels, on the same pictures."""
    start = time.perf_counter()
    source = tljax.data.open_source(task)
    parts = tljax.data.split(source, val_fraction=0.2, seed=0)
    train, val = parts["train"], parts["val"]
    features = tljax.transfer.extract(net, source.subset(np.concatenate([train, val])), cache=True, track=track).values
    pixels = np.stack([_raw_pixels(source.picture(i)) for i in np.concatenate([train, val])])
    scores = {}
    for name, values in (("features", features), ("pixels", pixels)):
        probe = tljax.transfer.fit_probe(values[: len(train)], source.labels[train], classes=len(source.classes))
        predicted = tljax.transfer.predict_probs(probe, values[len(train) :]).argmax(-1)
        scores[name] = accuracy(predicted, source.labels[val])
    first = [int(np.flatnonzero(source.labels[train] == c)[0]) for c in range(len(source.classes))]
    return {
        **scores,
        "seconds": time.perf_counter() - start,
        "classes": source.classes,
        "train_images": len(train),
        "val_images": len(val),
        "images": [(source.picture(train[i]), source.classes[source.labels[train[i]]]) for i in first],
    }


def _dreams(net: Any, track: Track) -> list[dict[str, Any]]:
    """The ideal images, with the opinions of their maker and of the other networks that are here."""
    import jax

    made = tljax.synth.dream(net.scores, net.variables, _DREAMS, key=jax.random.key(0), track=track)
    judges = {name: tljax.transfer.load_network(name) for name in tljax.synth.default_judges([net.spec.name])}
    names = [net.spec.classes[c] for c in _DREAMS]
    pictures = list(np.asarray(tljax.synth.to_bytes(made.images)))
    return tljax.synth.judge_ideals({net.spec.name: net}, judges, pictures, names, track=track)


def _fool(net: Any) -> dict[str, Any]:
    """The bundled cat, changed until the network sees a dog."""
    import jax

    photo = tljax.data.read_photo(tljax.data.bundled_photograph(_CAT), net.spec)
    return tljax.synth.attack_photo(tljax.for_inference(net), photo, target=_TARGET, key=jax.random.key(0))


def _raw_pixels(image: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 3) -> its pixels in [0, 1] as one row, a larger picture reduced to 32 x 32."""
    from PIL import Image

    if max(image.shape[:2]) > _PIXELS:
        image = np.asarray(Image.fromarray(image).resize((_PIXELS, _PIXELS), Image.Resampling.BOX))
    return image.reshape(-1).astype(np.float32) / 255
