"""`check`: what is wrong in a folder of labelled photos."""

from dataclasses import dataclass
from typing import Any

import tyro

import tljax
from tljax.commands import LabelledCommand, Model, Overwrite, Run
from tljax.commands.photos import table
from tljax.files import PAGE, check_out, keep_compiled, replacing
from tljax.progress import Track, say

_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Check(LabelledCommand):
    """Looks for what is wrong in labelled photos: labels, copies, strange and poor photos.

    It writes issues.csv, and a page that shows each finding beside what speaks for it. There you tick what is right and
    save fixes.csv, which `tljax train DATA --fixes fixes.csv` follows; nothing in DATA is changed.

    Example: tljax check photos --out checked
    """

    data: tyro.conf.Positional[str]
    """Labelled photos, laid out as for `train`."""
    out: str
    """The folder for issues.csv (file, kind, score, suggestion, other) and report.html."""
    model: Model = "efficientnet_lite0"
    weights: str | None = None
    """A weight file in the place of the model's own."""
    run: Run = None
    min_photos: int = 1
    """Classes with fewer photos are left out."""
    seed: int = 0
    """Of the parts that are held out in turn to judge the labels."""
    overwrite: Overwrite = False

    def execute(self, track: Track) -> dict[str, Any]:
        out = check_out(self.out, overwrite=self.overwrite)
        where = self.where()
        source = tljax.data.open_source(self.data, labels_csv=where.pop("labels"), **where, min_photos=self.min_photos)
        say(track, *map("note: {}".format, source.notes))
        keep_compiled()
        from tljax.transfer.trust.check_folder import ISSUES, rows, write_check

        if self.run is None:
            name, net = self.model, tljax.load_pretrained(self.model, self.weights)
        else:
            name, net = tljax.transfer.chosen_network(self.model, self.run, folded=False)
        checked = tljax.transfer.check(net, source, cache=True, seed=self.seed, track=track)
        with replacing(out, folder=True) as folder:
            write_check(folder, checked, subtitle=f"{name} · {source.name}")
        return {
            "photos": len(checked.source.files),
            "issues": rows(checked),
            "counts": checked.counts(),
            "groups": [[checked.source.files[i] for i in group.index] for group in checked.copies],
            "notes": list(source.notes),
            "out": str(out),
            "csv": str(out / ISSUES),
            "report": str(out / PAGE),
        }

    def text(self, result: dict[str, Any]) -> str:
        """How many of each kind, the first of them, and where the page is."""
        from tljax.transfer.trust.check import KINDS

        counts = [f"{kind.replace('_', ' ')} {count}" for kind, count in result["counts"].items()]
        head = f"{result['photos']} photos: {', '.join(counts) or 'nothing found'}"
        worst = [("file", "kind", "score", "suggestion")]
        for kind in KINDS:
            found = [one for one in result["issues"] if one["kind"] == kind]
            worst += [(one["file"], kind, f"{one['score']:.2f}", one["suggestion"]) for one in found[:3]]
        lines = ["", table(worst[: _SHOWN + 1]), ""] if len(worst) > 1 else []
        return "\n".join([head, *lines, f"{result['report']}; all in {result['csv']}"])
