"""`attack` and `robustness`: how little must change before a network says something else."""

import json
from dataclasses import dataclass
from typing import Any, Literal

import tyro

import tljax
from tljax.commands import Command, LabelledCommand, Model, Overwrite, Photo, Run
from tljax.errors import InputError
from tljax.files import check_out, keep_compiled, replacing
from tljax.progress import Track, say

Method = Literal[
    "pgd", "fgsm", "mi_fgsm", "cw_l2", "apgd_ce", "apgd_dlr", "apgd_t", "square", "fab", "auto_attack"
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Attack(Command):
    """Changes a photo as little as it can, until the network takes it for something else.

    The photo is first brought to the network's own resolution. The result is an 8-bit PNG; only what the network says
    of that file, read back, is reported, and what `tljax classify` says, which resizes it once more and cuts a margin
    off. Saved: the original, the adversarial, their difference times 20, all three side by side, and a page.

    Examples: tljax attack dog.jpg --target "Siamese cat" --out attacked
              tljax attack dog.jpg --untargeted --norm l2 --eps 0.5 --out attacked
              tljax attack pet.jpg --run pets-run --target Sphynx --out attacked
    """

    image: Photo
    out: str
    """The folder for the pictures and report.html."""
    target: str | None = None
    """The class that the network shall see, by name or index."""
    untargeted: bool = False
    """Any other class than the one it sees now."""
    model: Model = "efficientnet_lite0"
    run: Run = None
    method: Method = "pgd"
    """How the change is sought. square sees nothing but scores; auto_attack is four attacks, one after the other."""
    norm: Literal["linf", "l2"] | None = None
    """How change is measured: the largest of any pixel (linf, the default), or the length of the whole (l2)."""
    eps: str | None = None
    """The budget, pixels being in [0, 1]; by default 4/255, for l2 1. cw_l2 and fab seek the smallest and need none."""
    steps: int | None = None
    """Gradients taken; by default 40 for pgd, 10 for mi_fgsm, 600 for cw_l2, 100 for the others but fgsm. For apgd_t
    and fab towards each of nine classes; for square 1,000 queries."""
    seed: int = 0
    """Of the random start."""
    overwrite: Overwrite = False

    def execute(self, track: Track) -> dict[str, Any]:
        out = check_out(self.out, overwrite=self.overwrite)
        if (self.target is None) != self.untargeted:
            raise InputError("give either --target CLASS or --untargeted")
        eps = None if self.eps is None else tljax.synth.parse_budget(self.eps)
        norm, eps = tljax.synth.choose_budget(self.method, self.norm, eps)
        keep_compiled()
        import jax

        from tljax.report import synth_page

        name, net = tljax.transfer.chosen_network(self.model, self.run)
        record = tljax.synth.attack_photo(
            net,
            tljax.data.read_photo(self.image, net.spec),
            target=self.target,
            method=self.method,
            norm=norm,
            eps=eps,
            steps=self.steps,
            key=jax.random.key(self.seed),
        )
        with replacing(out, folder=True) as folder:
            synth_page.save_attack(folder, record | {"model": name})
        del record["pictures"]
        record["adversarial"]["file"] = str(out / "adversarial.png")
        return {**record, "model": name, "report": str(out / "report.html")}

    def text(self, result: dict[str, Any]) -> str:
        """Before, after, and the size of the change."""
        before, after, as_photo = result["source"], result["adversarial"], result["as_photo"]
        height, width = result["size"]
        wanted = f' as "{result["target"]}"' if "target" in result else " as anything else"
        outcome = f"{after['name']} {100 * after['prob']:.1f} %"
        if not result["success"]:
            outcome += f": the attack failed, the network does not see it{wanted}; the best found is saved"
            if result["masked_gradients"]:
                outcome += "; the network shows no gradient but zero here, so this says nothing"
        return "\n".join(
            [
                f"at the network's resolution, {width} x {height}: {before['name']} {100 * before['prob']:.1f} %",
                f"after {result['steps']} steps: {outcome}",
                f"resized and cropped again, like any photo: {as_photo['name']} {100 * as_photo['prob']:.1f} %",
                f"change: at most {255 * after['linf']:.3g}/255 in a pixel, L2 {after['l2']:.3f}",
                f"{after['file']}; report: {result['report']}",
            ]
        )


@dataclass(frozen=True, kw_only=True)
class Robustness(LabelledCommand):
    """Measures how many photos a network still gets right as an attack may change them more and more.

    The attack is APGD, which has no step size to tune. What it leaves right is an upper bound of the robust accuracy: a
    stronger attack may leave less. DATA carries the network's own classes, as folders or in the ways that the options
    name (names or indices).
    """

    network: tyro.conf.Positional[str]
    """A name from `tljax models`, or a trained run."""
    data: tyro.conf.Positional[str]
    """Labelled photos, laid out as for `train`."""
    out: str
    """The folder for robustness.png, robustness.json and report.html."""
    eps: str = "0,1/255,2/255,4/255,8/255"
    """Budgets (the largest change of a pixel in [0, 1]), joined by commas."""
    method: Literal["apgd_ce", "apgd_dlr", "pgd", "square", "auto_attack"] = "apgd_ce"
    """How the change is sought; auto_attack is by far the strongest and the slowest."""
    steps: int = 20
    """Gradients taken for each photo and budget; with auto_attack for each of up to 19 runs (100 as published), and 50
    times as many queries; with square queries."""
    limit: int | None = None
    """At most this many photos, drawn by --seed."""
    batch_size: int = 32
    """Photos at once."""
    seed: int = 0
    """Of the random starts."""
    overwrite: Overwrite = False

    def execute(self, track: Track) -> dict[str, Any]:
        out = check_out(self.out, overwrite=self.overwrite)
        budgets = sorted({0.0, *map(tljax.synth.parse_budget, self.eps.split(","))})
        for eps in set(budgets) - {0.0}:
            tljax.synth.check_budget(eps, "linf")
        labels = self.where()
        source = tljax.data.open_source(self.data, labels_csv=labels.pop("labels"), **labels, min_classes=1)
        say(track, *map("note: {}".format, source.notes))
        keep_compiled()
        from tljax.report import synth_page

        result = tljax.synth.robust_accuracy(
            tljax.transfer.load_network(self.network),
            source,
            budgets,
            method=self.method,
            steps=self.steps,
            limit=self.limit,
            batch_size=self.batch_size,
            seed=self.seed,
            track=track,
        )
        with replacing(out, folder=True) as folder:
            record = {**result, "model": self.network, "method": self.method, "data": self.data}
            synth_page.write_robustness(folder / "report.html", record)
            synth_page.save_curve(folder / "robustness.png", result["curve"])
            (folder / "robustness.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
        return {**result, "report": str(out / "report.html")}

    def text(self, result: dict[str, Any]) -> str:
        """The curve as lines."""
        from tljax.report.text import budgets

        curve = result["curve"]
        names = budgets([point["eps"] for point in curve])
        lines = []
        for name, point in zip(names, curve, strict=True):
            low, high = point["interval"]
            lines.append(f"eps {name}: {100 * point['accuracy']:.1f} % ({100 * low:.1f} to {100 * high:.1f})")
        if result["masked_gradients"]:
            lines.append(f"{result['masked_gradients']} photos show no gradient but zero: these say nothing")
        return "\n".join(
            [f"{result['images']} photos; upper bounds of the robust accuracy:", *lines, f"report: {result['report']}"]
        )
