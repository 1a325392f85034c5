"""`models`, `classify`, `features`: pretrained networks on photos."""

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tljax
from tljax.commands import Command, Images, Model, SharedCommand
from tljax.errors import InputError
from tljax.files import check_out, keep_compiled, replacing
from tljax.progress import Track


@dataclass(frozen=True, kw_only=True)
class Models(Command):
    """Lists the networks: parameters, ImageNet accuracy, input size, and where their weights come from."""

    all: bool = False
    """Other weights of the same networks as well, by their names: torchvision/NAME.VERSION."""

    def execute(self, track: Track) -> dict[str, Any]:
        from tljax.weights.fetch import cached

        rows = [
            {
                "name": spec.name,
                "params": spec.params,
                "top1": spec.top1,
                "input_size": spec.input_size,
                "source": spec.source,
                "licence": spec.licence,
                "cached": cached(spec),
            }
            for spec in map(tljax.get_spec, tljax.list_models(versions=self.all))
        ]
        return {"models": rows}

    def text(self, result: dict[str, Any]) -> str:
        """A table."""
        rows = [("name", "params", "top-1", "pixels", "here", "licence", "weights from")]
        rows += [
            (
                row["name"],
                "" if row["params"] is None else f"{row['params'] / 1e6:.1f} M",
                "" if row["top1"] is None else f"{row['top1']:.1f} %",
                str(row["input_size"]),
                "yes" if row["cached"] else "no",
                row["licence"],
                row["source"],
            )
            for row in result["models"]
        ]
        note = (
            "efficientnet_lite*: TensorFlow-born weights (SAME padding); timm calls them tf_efficientnet_lite*.\n"
            "squeezenet1_1.caffe: the original Caffe weights and preprocessing; plain squeezenet1_1 is torchvision's.\n"
            '*.keras: the weights and preprocessing of Keras Applications; reading them needs "tljax[keras]".\n'
            "dinov2_*: features without a classifier, which `tljax train` puts on them.\n"
            "timm/NAME: any checkpoint of the hub whose architecture is of these families, by its own config.json."
        )
        return table(rows) + "\n\n" + note


@dataclass(frozen=True, kw_only=True)
class Naming(Command):
    """A command that names what is in photos."""

    csv: str | None = None
    """Write a table as well: file, name and probability of the most likely classes, why a file was skipped."""
    overwrite: bool = False
    """Replace an existing --csv file."""

    def name(
        self,
        images: Sequence[str],
        load: Callable[[], Any],
        track: Track,
        *,
        index: bool = False,
        coverage: float | None = None,
    ) -> dict[str, Any]:
        """See `named`; the network is loaded once the photos are found and the table can be written."""
        out = None if self.csv is None else check_out(self.csv, overwrite=self.overwrite)
        source = tljax.data.image_source(images)
        keep_compiled()
        result = named(load(), source, track, index=index, coverage=coverage)
        if out is not None:
            write_table(out, result)
        return result

    def text(self, result: dict[str, Any]) -> str:
        """A line for each photo with its most likely classes, then the skipped files."""
        lines = [
            f"{row['file']}: {'unknown; nearest are ' if row.get('unknown') else ''}"
            + ", ".join(f"{entry['name']} {100 * entry['prob']:.1f} %" for entry in row["top"])
            + (f"; one of: {', '.join(row['set'])}" if "set" in row else "")
            for row in result["images"]
        ]
        return "\n".join([*lines, *skipped_lines(result["skipped"])])


@dataclass(frozen=True, kw_only=True)
class Classify(Naming):
    """Says what is in photos, in the words of ImageNet's 1,000 classes.

    Example: tljax classify holiday/ cat.jpg --model efficientnet_lite2
    """

    images: Images
    model: Model = "efficientnet_lite0"
    weights: str | None = None
    """A weight file (.safetensors, .pth) in the place of the model's own."""

    def execute(self, track: Track) -> dict[str, Any]:
        return self.name(self.images, lambda: tljax.load_pretrained(self.model, self.weights), track, index=True)


@dataclass(frozen=True, kw_only=True)
class Features(SharedCommand):
    """Computes the feature vector of each photo: the last convolutional map, averaged over space.

    Several processes share it: tljax features photos --out f.npz --coordinator 10.0.0.1:9476 --num-processes 2
    --process-id 0, and on the other machine the same with --process-id 1.
    """

    images: Images
    out: str
    """An .npz file with the arrays `features` (n, d) float32 and `files` (n,)."""
    model: Model = "efficientnet_lite0"
    weights: str | None = None
    """A weight file in the place of the model's own."""
    overwrite: bool = False
    """Replace an existing file."""

    def execute(self, track: Track) -> dict[str, Any] | None:
        with self.shared(track) as (first, track):
            return self._extract(track, first)

    def _extract(self, track: Track, first: bool) -> dict[str, Any] | None:
        import jax

        from tljax.distributed import collectives

        out = check_out(self.out, overwrite=self.overwrite, suffix=".npz") if first else None
        source = tljax.data.image_source(self.images)
        keep_compiled()
        from tljax.transfer.feature_cache import variables_digest

        net = tljax.load_pretrained(self.model, self.weights)
        collectives.check_same(photos=tljax.data.fingerprint(source), weights=variables_digest(net.variables))
        features = tljax.transfer.extract(net, source, batch_size=16, cache=True, skip=True, track=track)
        if not len(features.values):
            raise InputError(none_left(features.skipped))
        if out is None:
            return None
        files = [source.files[i] for i in features.index]
        with replacing(out) as part, open(part, "wb") as file:
            np.savez(file, features=features.values, files=np.asarray(files))
        return {
            "files": len(files),
            "dim": int(features.values.shape[1]),
            "devices": jax.device_count(),
            "out": os.fspath(out),
            "skipped": skipped_rows(features.skipped),
        }

    def text(self, result: dict[str, Any]) -> str:
        """One line, and the skipped files."""
        shared = f", by {result['devices']} devices" if result["devices"] > 1 else ""
        line = f"{result['files']} photos, {result['dim']} features each{shared}: {result['out']}"
        return "\n".join([line, *skipped_lines(result["skipped"])])


def named(
    net: Any, source: Any, track: Track, *, top: int = 5, index: bool = False, coverage: float | None = None
) -> dict[str, Any]:
    """The most likely classes of each photo as JSON, with the `index` of a class, or sets, where asked for.

    Raises:
        InputError: not one photo can be read; a coverage as in `predict`.
    """
    from tljax.transfer.naming import known_sets, ranked, score_sets
    from tljax.transfer.trust.sets import promised

    probs, strange, places, skipped, sets = score_sets(net, source, coverage=coverage, track=track)
    if not len(places):
        raise InputError(none_left(skipped))
    images = []
    for one in ranked(net.spec.classes, [source.files[i] for i in places], probs, strange, sets, top=top):
        rows = [{"name": name, "prob": prob} for name, prob in one.top]
        if index:
            rows = [
                {"index": int(c), **row} for c, row in zip(np.argsort(-one.probs, kind="stable"), rows, strict=False)
            ]
        told = {} if one.unknown is None else {"unknown": one.unknown}
        among = {} if one.set is None else {"set": list(one.set)}
        images.append({"file": one.file, "top": rows, **told, **among})
    promise = {} if coverage is None else {"coverage": coverage, "promised": promised(known_sets(net), coverage)}
    return {"images": images, "skipped": skipped_rows(skipped), **promise}


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of words in aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def skipped_lines(skipped: Iterable[dict[str, str]]) -> list[str]:
    """A line for each photo that could not be read, and one for all files that by their names are none."""
    from tljax.data.tree import may_be_photo

    skipped = list(skipped)
    beside = Counter(Path(row["file"]).suffix.lower() for row in skipped if not may_be_photo(row["file"]))
    counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(beside.items()))
    lines = [f"skipped {row['file']}: {row['reason']}" for row in skipped if may_be_photo(row["file"])]
    files = "file that is no photo" if beside.total() == 1 else "files that are no photos"
    return [*lines, *([f"skipped {beside.total()} {files}: {counts}"] if beside else [])]


def skipped_rows(skipped: Iterable[Any]) -> list[dict[str, str]]:
    """`Skipped` records as JSON."""
    return [{"file": item.file, "reason": item.reason} for item in skipped]


def none_left(skipped: Sequence[Any]) -> str:
    """The message where not one photo could be read."""
    if not skipped:
        return "no photos"
    return f'none of the {len(skipped)} photos can be read; the first, "{skipped[0].file}": {skipped[0].reason}'


def write_table(out: Path, result: dict[str, Any]) -> None:
    """What `named` returns as CSV: file, name1, prob1, name2, prob2, ..., skipped (why), and where they are told
    unknown (1: none of the classes) and set (names with | between)."""
    cell = {"unknown": int, "set": "|".join}
    told = [name for name in cell if name in result["images"][0]]
    rows = []
    for row in result["images"]:
        cells = [value for e in row["top"] for value in (e["name"], e["prob"])]
        rows.append([row["file"], *cells, "", *(cell[name](row[name]) for name in told)])
    columns = len(rows[0]) - 2 - len(told)
    rows += [[row["file"], *[""] * columns, row["reason"], *[""] * len(told)] for row in result["skipped"]]
    with replacing(out) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        pairs = (f"{what}{i + 1}" for i in range(columns // 2) for what in ("name", "prob"))
        writer.writerow(["file", *pairs, "skipped", *told])
        writer.writerows(rows)
