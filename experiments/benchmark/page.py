"""What the benchmark found: the table, the roofline plot, how cost grows, and the page with all of it."""

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Drawing
from matplotlib.ticker import FuncFormatter, LogLocator

from experiments.benchmark.rows import COMPILE, FLAX, KERAS, MACHINE, ONNX, OURS, PAGES, TASKS, TORCH, Row, parse
from experiments.comparison import COLOURS
from experiments.findings import Finding, markdown
from experiments.page import write_experiment
from tljax.report.blocks import Figure, Table, Text
from tljax.report.page import Section
from tljax.report.style import MUTED, new_figure, style

CALLED = {
    OURS: "tljax",
    TORCH: "PyTorch",
    PAGES: "PyTorch in large pages",
    COMPILE: "torch.compile",
    ONNX: "ONNX Runtime",
    FLAX: "plain Flax",
    KERAS: "Keras 3 on JAX",
}
SHORT = {"efficientnet_lite0": "Lite0", "mobilenet_v2": "MobileNetV2", "resnet50": "ResNet-50", "vgg16": "VGG-16"}
MARKS = {OURS: "o", TORCH: "s", PAGES: "P", COMPILE: "D", ONNX: "X", FLAX: "^", KERAS: "v"}
HELD = "A ratio is their time over ours: above 1, tljax is faster. In brackets the least and the most of single turns."


def write(out: Path, question: str, document: Mapping[str, Any]) -> None:
    """results.json, report.html and the figures."""
    write_experiment(
        out,
        question,
        document,
        findings=findings(document),
        drawings=drawings(document),
        sections=sections(document),
    )


def findings(document: Mapping[str, Any]) -> list[Finding]:
    """What it found: our time in each row, and how many times as long the others took."""
    peak, bandwidth = limits(document)
    machine = document["machine"]
    return [
        f"{machine['processor']}, {machine['threads']} threads, {machine['dtype']}: "
        f"{peak / 1e9:.0f} GFLOP/s in a large matrix product, {bandwidth / 1e9:.1f} GB/s in a = b + 3 c.",
        f"Medians. {HELD} The first call compiles.",
        ratios(document, measured(document)),
    ]


def ratios(document: Mapping[str, Any], names: Collection[str], *, ranges: bool = True) -> Table:
    """Our first and our later calls, and the others' time over ours.

    Args:
        names: the rows that are wanted.
        ranges: the least and the most of the turns behind each ratio.
    """
    wanted = {name: document["rows"][name] for name in names}
    peers = [peer for peer in CALLED if any(peer in row["ratios"] for row in wanted.values())]
    rows = []
    for name, row in wanted.items():
        ours = row["peers"][OURS]
        first = span(ours["first"]) if ours["warm"] else "the same"
        others = [ratio(row["ratios"][peer], ranges) if peer in row["ratios"] else "" for peer in peers]
        rows.append((title(parse(name)), span(ours["seconds"]), *others, first))
    columns = ["", "tljax", *(CALLED[peer] for peer in peers), "tljax's first call"]
    return Table(columns, rows, limit=len(rows))


def ratio(one: Mapping[str, Any], ranges: bool) -> str:
    """A ratio in words, with its range where that is wanted."""
    return f"{one['ratio']:.2f}" + (f" [{one['range'][0]:.2f}–{one['range'][1]:.2f}]" if ranges else "")


def measured(document: Mapping[str, Any]) -> dict[str, Any]:
    """The rows that we could measure, without those of the machine."""
    return {
        name: row
        for name, row in document["rows"].items()
        if name not in MACHINE and "seconds" in row["peers"].get(OURS, {})
    }


def limits(document: Mapping[str, Any]) -> tuple[float, float]:
    """(FLOP/s, bytes/s): the best that any peer reached in the rows of the machine; 0 where not measured."""
    best = []
    for name, key in zip(MACHINE, ("flops", "bytes"), strict=True):
        peers = document["rows"].get(name, {}).get("peers", {})
        work = peers.get(OURS, {}).get(key, 0.0)
        best.append(max((work / peer["seconds"] for peer in peers.values() if "seconds" in peer), default=0.0))
    return best[0], best[1]


def title(row: Row) -> str:
    """A row in words."""
    model = SHORT.get(row.model, row.model)
    words = {
        "forward": f"{model} forward, batch {row.count}",
        "gradient": f"{model} image gradient, batch {row.count}",
        "step": f"{model} fine-tuning step, batch {row.count}",
        "features": f"{model} features of {row.count:,} photos from disk",
        "train": f"train on {row.count:,} photos ({model})",
        "ideal": f"{row.count} ideal images × {row.steps} steps ({'no network' if model == '-' else model})",
        "pgd": f"PGD, {row.steps} steps on {row.count} photos ({model})",
        "probe": f"linear probe, {row.count:,} classes",
        "matmul": f"matrix product {row.count} × {row.count}",
        "stream": f"a = b + 3 c, {row.count} million numbers",
    }
    return words[row.task] + (f", {row.size} px" if row.size != 224 else "")


def span(seconds: float) -> str:
    """A time to three digits, in ms below a second."""
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def table(document: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Column names and rows of words."""
    peers = [p for p in CALLED if p != OURS and any(p in row["peers"] for row in document["rows"].values())]
    peak, _ = limits(document)
    columns = ["", "tljax", *(f"vs {CALLED[peer]}" for peer in peers), "GFLOP/s", "of peak", "memory, tljax"]
    columns += [f"memory, {CALLED[peer]}" for peer in peers if peer == TORCH]
    rows = []
    for name, row in document["rows"].items():
        ours = row["peers"].get(OURS, {})
        counted = ours.get("flops") and parse(name).task != "stream"
        speed = ours["flops"] / ours["seconds"] if counted else 0.0
        cells = [title(parse(name)), in_words(ours)]
        cells += [against(row, peer) for peer in peers]
        cells += [f"{speed / 1e9:.0f}" if speed else "", f"{100 * speed / peak:.0f} %" if speed and peak else ""]
        cells += [memory(row["peers"].get(peer, {})) for peer in (OURS, TORCH) if peer == OURS or peer in peers]
        rows.append(cells)
    return columns, rows


def in_words(peer: Mapping[str, Any]) -> str:
    """The time of a peer with its outcome, or that it failed."""
    if "seconds" not in peer:
        return "failed"
    words = [] if peer["warm"] else ["first call"]
    words += [f"{name} {value:.3g}" for name, value in peer["outcome"].items()]
    return span(peer["seconds"]) + (f" ({', '.join(words)})" if words else "")


def against(row: Mapping[str, Any], peer: str) -> str:
    """Their ratio with its range, and their time."""
    if peer not in row["peers"]:
        return ""
    if peer not in row["ratios"]:
        return "failed"
    one = row["ratios"][peer]
    return f"{ratio(one, ranges=True)}, {in_words(row['peers'][peer])}"


def memory(peer: Mapping[str, Any]) -> str:
    """The peak of a process."""
    return f"{peer['peak'] / 1e9:.2f} GB" if peer.get("peak") else ""


def report(document: Mapping[str, Any]) -> str:
    """The table as Markdown, with what it was measured on."""
    columns, rows = table(document)
    machine = document["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    failed = "".join(f"- {line}\n" for line in failures(document))
    words = f"{machine['processor']}, {machine['threads']} of {machine['cores']} cores, {machine['dtype']}; {versions}."
    text = markdown([Table(columns, rows), f"Medians. {HELD} {words}"]) + "\n"
    return text + (f"\nFailed:\n\n{failed}" if failed else "")


def failures(document: Mapping[str, Any]) -> list[str]:
    """Peers that could not do a row, and why."""
    return [
        f"{title(parse(name))}, {CALLED[peer]}: {result['failed']}"
        for name, row in document["rows"].items()
        for peer, result in row["peers"].items()
        if "failed" in result
    ]


# --- figures -----------------------------------------------------------------------------------------------


def drawings(document: Mapping[str, Any]) -> dict[str, Figure]:
    """The roofline, and how cost grows wherever a row was measured at three sizes."""
    drawn = {}
    if any(limits(document)) and points(document):
        alt = "GFLOP/s of each network and peer against FLOP per byte, below what the machine can do"
        drawn["roofline"] = Figure(roofline(document), alt, ROOFLINE)
    lines = growth(document)
    if lines:
        drawn["growth"] = Figure(growing(lines), "Time against photos, batch, resolution and classes")
    return drawn


ROOFLINE = (
    "Rows with known work. FLOP and bytes are those of direct convolution, each layer reading its input and writing "
    "its output once; who keeps more in the cache can stand above the slope."
)


def points(document: Mapping[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """Peer -> (FLOP per byte, FLOP/s) of the rows whose work is known."""
    by_peer: dict[str, list[tuple[float, float]]] = {}
    for row in measured(document).values():
        ours = row["peers"][OURS]
        for peer, one in row["peers"].items() if ours["flops"] else ():
            if "seconds" in one:
                by_peer.setdefault(peer, []).append((ours["flops"] / ours["bytes"], ours["flops"] / one["seconds"]))
    return by_peer


def roofline(document: Mapping[str, Any]) -> Drawing:
    """Speed against intensity, below the machine's limits (Williams, Waterman and Patterson 2009)."""
    peak, bandwidth = limits(document)
    by_peer = points(document)
    places = [x for some in by_peer.values() for x, _ in some]
    low, high = min(places) / 2, max(*places, 2 * peak / bandwidth if bandwidth else 0) * 2
    with style():
        figure = new_figure(6.4, 4.0)
        axes = figure.add_subplot()
        if bandwidth:
            corner = peak / bandwidth
            axes.plot([low, corner, high], [bandwidth * low / 1e9, peak / 1e9, peak / 1e9], color=MUTED, linewidth=1.2)
        for colour, (peer, some) in zip(COLOURS, ((p, by_peer[p]) for p in CALLED if p in by_peer), strict=False):
            xs, ys = zip(*some, strict=True)
            axes.plot(xs, [y / 1e9 for y in ys], MARKS[peer], color=colour, label=CALLED[peer], linestyle="none")
        axes.set(xscale="log", yscale="log", xlabel="FLOP per byte", title="GFLOP/s")
        axes.legend()
        return figure


def growth(document: Mapping[str, Any]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """What grows -> "peer" -> (size, seconds), for tasks and models measured at three sizes or more."""
    groups: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for name, measurement in measured(document).items():
        row = parse(name)
        model = SHORT.get(row.model, row.model)
        keys = [(f"{row.task}, {model}: {TASKS[row.task].unit}", row.count)] if row.size == 224 else []
        if row.task in ("forward", "gradient"):
            keys.append((f"{row.task}, {model}, batch {row.count}: side in pixels", row.size))
        for key, place in keys:
            for peer, one in measurement["peers"].items():
                if "seconds" in one:
                    groups.setdefault(key, {}).setdefault(CALLED[peer], []).append((place, one["seconds"]))
    groups = {key: {peer: sorted(p) for peer, p in lines.items() if len(p) > 2} for key, lines in groups.items()}
    return {key: lines for key, lines in groups.items() if lines}


def growing(groups: Mapping[str, Mapping[str, list[tuple[float, float]]]]) -> Drawing:
    """A plot for each thing that grows, both axes logarithmic: a slope of one is in proportion."""
    columns = min(2, len(groups))
    with style():
        figure = new_figure(4.4 * columns, 2.9 * -(-len(groups) // columns))
        names = list(CALLED.values())
        for place, (heading, lines) in enumerate(groups.items(), start=1):
            axes = figure.add_subplot(-(-len(groups) // columns), columns, place)
            for peer, some in lines.items():
                axes.plot(*zip(*some, strict=True), marker="o", label=peer, color=COLOURS[names.index(peer)])
            what, _, unit = heading.partition(": ")
            sizes = sorted({x for some in lines.values() for x, _ in some})
            ticks = [x for x, after in zip(sizes, [*sizes[1:], math.inf], strict=True) if after > 1.05 * x]
            axes.set(xscale="log", yscale="log", title=f"{what}, seconds", xlabel=unit)
            axes.set_xticks(ticks, [f"{x:,g}" for x in ticks])
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.minorticks_off()
        drawn = {line.get_label(): line for axes in figure.axes for line in axes.lines}
        labels = [name for name in names if name in drawn]
        figure.legend([drawn[name] for name in labels], labels, loc="outside lower center", ncols=2 * columns)
        return figure


# --- the page ----------------------------------------------------------------------------------------------


def sections(document: Mapping[str, Any]) -> list[Section]:
    """The table, what failed, and what it was measured on."""
    columns, rows = table(document)
    machine = document["machine"]
    facts = [(name, str(value)) for name, value in machine.items() if name != "versions"]
    facts += [(f"version of {name}", version) for name, version in machine["versions"].items()]
    failed = [Section("Failed", [Text(line) for line in failures(document)])] if failures(document) else []
    return [
        Section("All rows", [Text(f"Medians. {HELD}", note=True), Table(columns, rows, limit=200)]),
        *failed,
        Section("Measured on", [Table(["what", "value"], facts)]),
    ]
