"""`attack` and `robustness`: how little must change before a network says something else."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from tljax.commands import Command, start_jax
from tljax.commands.networks import budget, chosen_network, load_network, save_png, through_png
from tljax.errors import InputError, match_name
from tljax.files import check_out, replacing
from tljax.progress import Track

Method = Literal["pgd", "fgsm", "mi_fgsm", "cw_l2", "apgd_ce", "apgd_dlr"]
_STEPS = {"pgd": 40, "fgsm": 1, "mi_fgsm": 10, "cw_l2": 100, "apgd_ce": 100, "apgd_dlr": 100}
_BUDGETS = {"linf": "4/255", "l2": "1"}


@dataclass(frozen=True, kw_only=True)
class Attack(Command):
    """Changes a photo as little as it can, until the network takes it for something else.

    The photo is first brought to the network's own resolution. The result is an 8-bit PNG; only what the network says
    of that file, read back, is reported. Saved: the original, the adversarial, their difference times 20, all three
    side by side, and a page.

    Examples: tljax attack dog.jpg --target "Siamese cat" --out attacked
              tljax attack dog.jpg --untargeted --norm l2 --eps 0.5 --out attacked
              tljax attack pet.jpg --run pets-run --target Sphynx --out attacked
    """

    image: tyro.conf.Positional[str]
    """A photo of any size."""
    out: str
    """The folder for the pictures and report.html."""
    target: str | None = None
    """The class that the network shall see, by name or index."""
    untargeted: bool = False
    """Any other class than the one it sees now."""
    model: str = "efficientnet_lite0"
    """A name from `tljax models`."""
    run: str | None = None
    """A trained run in the place of --model."""
    method: Method = "pgd"
    """How the change is sought."""
    norm: Literal["linf", "l2"] | None = None
    """How change is measured: the largest of any pixel (linf, the default), or the length of the whole (l2)."""
    eps: str | None = None
    """The budget, pixels being in [0, 1]; by default 4/255, for l2 1. cw_l2 seeks the smallest and needs none."""
    steps: int | None = None
    """Gradients taken; by default 40 for pgd, 10 for mi_fgsm, 100 for the others."""
    seed: int = 0
    """Of the random start."""
    overwrite: bool = False
    """Replace an existing folder."""

    def execute(self, track: Track) -> dict[str, Any]:
        """See `Command`."""
        out = check_out(self.out, overwrite=self.overwrite)
        self._check()
        start_jax()
        name, net = chosen_network(self.model, self.run)
        record = self.on(net) | {"model": name}
        pictures = record["pictures"]
        with replacing(out) as folder:
            folder.mkdir()
            _save_pictures(folder, pictures["original"], pictures["adversarial"])
            _write_page(folder, record)
        record["adversarial"]["file"] = str(out / "adversarial.png")
        return {**{k: v for k, v in record.items() if k != "pictures"}, "report": str(out / "report.html")}

    def on(self, net: Any) -> dict[str, Any]:
        """Attacks the photo and reports what the network says of the 8-bit PNG, read back; `pictures` are uint8.

        Raises:
            InputError: no photo, an unknown class, or one that the network sees already.
        """
        norm, eps = self._check()
        classes = net.spec.classes
        original = at_resolution(net, self.image)
        source, prob = top_class(net, original)
        label = source if self.target is None else match_name(self.target, classes)
        if self.target is not None and label == source:
            raise InputError(f'the network already sees "{classes[label]}" ({prob:.2f}): give another --target')
        start = time.perf_counter()
        saved = through_png(self._attack(net, original, label, eps, norm))
        seconds = time.perf_counter() - start
        seen, now = top_class(net, saved)
        change = (saved.astype(np.float64) - original) / 255
        distances = {"linf": float(np.abs(change).max()), "l2": float(np.sqrt((change**2).sum()))}
        return {
            "source": {"name": classes[source], "prob": prob},
            "adversarial": {"name": classes[seen], "prob": now, **distances},
            "success": bool(seen != source if self.target is None else seen == label),
            "steps": self.steps or _STEPS[self.method],
            **({} if self.target is None else {"target": classes[label]}),
            "eps": eps,
            "norm": norm,
            "method": self.method,
            "seconds": seconds,
            "size": list(original.shape[:2]),
            "pictures": {"original": original, "adversarial": saved},
        }

    def text(self, result: dict[str, Any]) -> str:
        """Before, after, and the size of the change."""
        before, after = result["source"], result["adversarial"]
        height, width = result["size"]
        wanted = f' as "{result["target"]}"' if "target" in result else " as anything else"
        outcome = f"{after['name']} {100 * after['prob']:.1f} %"
        if not result["success"]:
            outcome += f": the attack failed, the network does not see it{wanted}; the best found is saved"
        return "\n".join(
            [
                f"at the network's resolution, {width} x {height}: {before['name']} {100 * before['prob']:.1f} %",
                f"after {result['steps']} steps: {outcome}",
                f"change: at most {255 * after['linf']:.3g}/255 in a pixel, L2 {after['l2']:.3f}",
                f"{after['file']}; report: {result['report']}",
            ]
        )

    def _check(self) -> tuple[str, float | None]:
        """The norm and the budget."""
        if (self.target is None) != self.untargeted:
            raise InputError("give either --target CLASS or --untargeted")
        norm = self.norm or ("l2" if self.method == "cw_l2" else "linf")
        if self.method == "cw_l2" and norm != "l2":
            raise InputError("cw_l2 measures change by --norm l2")
        if self.method == "cw_l2" and self.eps is None:
            return norm, None
        return norm, _checked(budget(self.eps or _BUDGETS[norm]), norm)

    def _attack(self, net: Any, original: np.ndarray, label: int, eps: float | None, norm: str) -> np.ndarray:
        import jax
        import jax.numpy as jnp

        from tljax import synth

        made = getattr(synth, self.method)(
            net.scores,
            net.variables,
            jnp.asarray(original[None], jnp.float32) / 255,
            jnp.asarray([label]),
            eps=eps,
            norm=norm,
            targeted=self.target is not None,
            steps=self.steps or _STEPS[self.method],
            key=jax.random.key(self.seed),
        )
        return np.asarray(synth.to_bytes(made))[0]


@dataclass(frozen=True, kw_only=True)
class Robustness(Command):
    """Measures how many photos a network still gets right as an attack may change them more and more.

    The attack is APGD, which has no step size to tune. DATA carries the network's own classes, as folders or by
    --labels (names or indices).
    """

    network: tyro.conf.Positional[str]
    """A name from `tljax models`, or a trained run."""
    data: tyro.conf.Positional[str]
    """Labelled photos, laid out as for `train`."""
    out: str
    """The folder for robustness.png, robustness.json and report.html."""
    labels: str | None = None
    """A table of files and labels, for a folder without class folders."""
    eps: str = "0,1/255,2/255,4/255,8/255"
    """Budgets (the largest change of a pixel in [0, 1]), joined by commas."""
    method: Literal["apgd_ce", "apgd_dlr", "pgd"] = "apgd_ce"
    """How the change is sought."""
    steps: int = 20
    """Gradients taken for each photo and budget."""
    limit: int | None = None
    """At most this many photos, drawn by --seed."""
    batch_size: int = 32
    """Photos at once."""
    seed: int = 0
    """Of the random starts."""
    overwrite: bool = False
    """Replace an existing folder."""

    def execute(self, track: Track) -> dict[str, Any]:
        """See `Command`."""
        from tljax.data.sources import open_source

        out = check_out(self.out, overwrite=self.overwrite)
        budgets = sorted({0.0} | {_checked(budget(text), "linf", zero=True) for text in self.eps.split(",")})
        source = open_source(self.data, labels_csv=self.labels, min_classes=1)
        start_jax()
        from tljax.report import synth_page
        from tljax.synth.robustness import robust_accuracy

        net = load_network(self.network)
        result = robust_accuracy(
            net,
            source,
            budgets,
            method=self.method,
            steps=self.steps,
            limit=self.limit,
            batch_size=self.batch_size,
            seed=self.seed,
            track=track,
        )
        with replacing(out) as folder:
            folder.mkdir()
            record = {**result, "model": self.network, "method": self.method, "data": self.data}
            synth_page.write_robustness(folder / "report.html", record)
            synth_page.save_curve(folder / "robustness.png", result["curve"])
        return {**result, "report": str(out / "report.html")}

    def text(self, result: dict[str, Any]) -> str:
        """The curve as lines."""
        lines = [f"eps {255 * p['eps']:.3g}/255: {100 * p['accuracy']:.1f} %" for p in result["curve"]]
        return "\n".join([f"{result['images']} photos", *lines, f"report: {result['report']}"])


def _checked(eps: float, norm: str, *, zero: bool = False) -> float:
    from tljax.synth.eight_bit import check_budget

    if not (zero and eps == 0):
        check_budget(eps, norm)
    return eps


def at_resolution(net: Any, path: str) -> np.ndarray:
    """The photo as the network sees it: uint8 (s, s, 3)."""
    from tljax.data.images import DecodeError, decode, preprocess

    if not Path(path).is_file():
        raise InputError(f'no photo "{path}"')
    try:
        return preprocess(decode(Path(path).read_bytes()), net.spec)
    except DecodeError as error:
        raise InputError(f'"{path}": {error}') from None


def top_class(net: Any, image: np.ndarray) -> tuple[int, float]:
    """The most likely class of a uint8 image at the network's resolution, and its probability."""
    import jax
    import jax.numpy as jnp

    probs = jax.nn.softmax(net.apply(net.variables, jnp.asarray(image[None], jnp.float32) / 255)[0])
    return int(probs.argmax()), float(probs.max())


def _save_pictures(folder: Path, original: np.ndarray, adversarial: np.ndarray) -> None:
    from tljax.report.synth_page import magnify

    difference = magnify(original, adversarial)
    save_png(folder / "original.png", original)
    save_png(folder / "adversarial.png", adversarial)
    save_png(folder / "difference.png", difference)
    save_png(folder / "side-by-side.png", np.concatenate([original, adversarial, difference], axis=1))


def _write_page(folder: Path, record: dict[str, Any]) -> None:
    from tljax.report import synth_page

    synth_page.write_attack(folder / "report.html", record)
