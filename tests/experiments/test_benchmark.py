"""The benchmark: its rows, its arithmetic, its pages, and our own two peers at toy size."""

import json
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from experiments.benchmark import page, rows, turns
from experiments.benchmark.rows import COMPILE, FLAX, KERAS, ONNX, OURS, PAGES, TORCH, parse, select
from experiments.benchmark.worker import Context
from tljax.errors import InputError


@pytest.mark.parametrize("name", [*rows.ROWS, *rows.SCALING, *rows.SMALL, *rows.MACHINE, "pgd/resnet50/2x3@64"])
def test_a_row_is_its_name(name):
    assert parse(name).name == name


def test_patterns_choose_rows_in_the_order_of_the_table():
    assert [row.name for row in select(["gradient/vgg16/8", "forward/vgg16/*"])] == [
        *("forward/vgg16/1", "forward/vgg16/8", "forward/vgg16/32", "gradient/vgg16/8"),
    ]
    assert [row.name for row in select(["step/resnet50/1@32"])] == ["step/resnet50/1@32"]
    assert [row.name for row in select(["scaling"])] != [row.name for row in select(["*"])]
    assert all(row.task != "probe" for row in select(["forward/*"]))


@pytest.mark.parametrize("pattern", ["forwards/*", "forward/resnet50", "fly/resnet50/1", "forward/resnet5/1"])
def test_a_pattern_that_fits_nothing_is_refused(pattern):
    with pytest.raises(InputError):
        select([pattern])


def test_a_peer_takes_part_only_where_it_can():
    everyone = (TORCH, PAGES, COMPILE, ONNX, FLAX, KERAS)
    assert parse("forward/resnet50/1").peers(everyone) == everyone
    assert parse("forward/efficientnet_lite0/1").peers(everyone) == (TORCH, PAGES, COMPILE, ONNX, FLAX)
    assert parse("gradient/efficientnet_lite0/1").peers((ONNX, FLAX)) == (FLAX,)
    assert parse("step/resnet50/8").peers((COMPILE, FLAX)) == (FLAX,)
    assert parse("ideal/efficientnet_lite0/20").peers(everyone) == (TORCH, PAGES, FLAX)
    assert parse("ideal/-/20").peers(everyone) == ()


class FakePeer:
    """A peer whose calls take as long as it is told."""

    def __init__(self, seconds, first=9.0, check=(1.0, -2.0)):
        self.began = {"first": first, "check": {"logits": list(check)}, "outcome": {}, "flops": 6.0, "bytes": 3.0}
        self.seconds, self.peak = seconds, 100


def test_the_calibrating_turn_does_not_count():
    measured = turns.measured(FakePeer([[5.0], [1.0, 2.0], [3.0, 4.0, 100.0]]))
    assert measured["seconds"] == 3.0
    assert measured["turns"] == [1.5, 4.0]
    assert measured["calls"] == 5
    assert measured["quartiles"] == [2.0, 4.0]


@pytest.mark.parametrize(("budget", "calls"), [(5.0, 1), (20.0, 2), (600.0, 3)])
def test_quick_calls_warm_up_more_than_once(budget, calls):
    assert turns.warming(FakePeer([]), budget) == calls


def test_without_a_turn_the_first_call_is_the_measurement():
    measured = turns.measured(FakePeer([]))
    assert (measured["seconds"], measured["calls"], measured["warm"]) == (9.0, 1, False)


def test_ratios_are_their_time_over_ours():
    peers = {OURS: turns.measured(FakePeer([[1.0], [2.0], [4.0]])), TORCH: turns.measured(FakePeer([[1.0], [6.0]]))}
    peers[FLAX] = {"failed": "no"}
    assert turns.ratios(peers) == {TORCH: {"ratio": 2.0, "range": [3.0, 3.0]}}


def test_who_computes_something_else_is_found():
    logits = {OURS: [1.0, -2.0], TORCH: [1.001, -2.0], FLAX: [1.0, -1.9], KERAS: [np.nan, 1.0]}
    apart = turns.disagreements({name: {"check": {"logits": values}} for name, values in logits.items()})
    assert apart[TORCH]["logits"] == pytest.approx(5e-4)
    assert set(turns.wrong(apart)) == {FLAX, KERAS}


@pytest.fixture
def document():
    """Results of four rows."""

    def one(seconds, flops=0.0, traffic=0.0):
        return turns.measured(FakePeer([[1.0], [seconds]])) | {"flops": flops, "bytes": traffic, "peak": 2e9}

    def row(ours, **peers):
        everyone = {OURS: ours, **peers}
        return {"when": "now", "peers": everyone, "ratios": turns.ratios(everyone), "apart": {}}

    machine = {"processor": "P", "cores": 4, "threads": 2, "dtype": "float32", "versions": {"jax": "1"}}
    return {
        "machine": machine,
        "rows": {
            rows.MACHINE[0]: row(one(1.0, 8e9, 1.0), torch=one(0.5)),
            rows.MACHINE[1]: row(one(2.0, 1.0, 4e9), torch=one(4.0)),
            "forward/resnet50/8": row(one(0.5, 2e9, 1e8), torch=one(0.25), compile={"failed": "no compiler"}),
            "train/efficientnet_lite0/2005": row(one(10.0) | {"outcome": {"accuracy": 0.98}}, torch=one(50.0)),
        },
    }


def test_the_limits_are_the_best_of_all_peers(document):
    assert page.limits(document) == (16e9, 2e9)


def test_the_table_says_what_was_measured(document):
    columns, lines = page.table(document)
    assert [line[0] for line in lines][2:] == ["ResNet-50 forward, batch 8", "train on 2,005 photos (Lite0)"]
    named = dict(zip(columns, lines[2], strict=True))
    assert named["tljax"] == "500 ms"
    assert named["vs PyTorch"].startswith("0.50 [0.50–0.50], 250 ms")
    assert named["vs torch.compile"] == "failed"
    assert (named["GFLOP/s"], named["of peak"], named["memory, tljax"]) == ("4", "25 %", "2.00 GB")
    assert "accuracy 0.98" in lines[3][1]
    text = page.report(document)
    assert text.count("| ResNet-50 forward, batch 8 |") == 1
    assert "no compiler" in text


def test_ratios_stand_beside_our_time(document):
    found = page.ratios(document, ["forward/resnet50/8"])
    assert found.columns == ["", "tljax", "PyTorch", "tljax's first call"]
    assert found.rows == [("ResNet-50 forward, batch 8", "500 ms", "0.50 [0.50–0.50]", "9 s")]
    assert page.ratios(document, ["forward/resnet50/8"], ranges=False).rows[0][2] == "0.50"
    assert len(page.findings(document)[-1].rows) == 2


def test_the_page_is_written(document, tmp_path):
    page.write(tmp_path, "How fast?", document)
    assert json.loads((tmp_path / "results.json").read_text())["rows"].keys() == document["rows"].keys()
    assert (tmp_path / "roofline.png").stat().st_size > 5_000
    assert "25 %" in (tmp_path / "report.html").read_text()


def test_growth_needs_three_sizes(document):
    assert page.growth(document) == {}
    document["rows"] |= {f"forward/resnet50/{n}": document["rows"]["forward/resnet50/8"] for n in (1, 2)}
    (lines,) = page.growth(document).values()
    assert [place for place, _ in lines["tljax"]] == [1, 2, 8]


def test_sizes_that_are_all_but_equal_share_a_tick():
    drawn = page.growing({"features: photos": {"tljax": [(500, 5.0), (1000, 11.0), (2000, 21.0), (2005, 22.0)]}})
    assert [label.get_text() for label in drawn.axes[0].get_xticklabels()] == ["500", "1,000", "2,005"]


def test_the_work_of_a_network_is_counted():
    import jax
    import jax.numpy as jnp

    from experiments.benchmark.jax_peer import cost

    def network(x, kernel, matrix):
        y = jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return jax.jit(jnp.dot)(y.mean((1, 2)), matrix)

    shapes = [jnp.zeros(shape) for shape in ((2, 8, 8, 3), (3, 3, 3, 5), (5, 7))]
    flops, traffic = cost(jax.make_jaxpr(network)(*shapes).jaxpr)
    assert flops == 2 * (2 * 4 * 4 * 5) * (3 * 3 * 3) + 2 * (2 * 7) * 5
    assert traffic == 4 * (2 * 64 * 3 + 135 + 2 * 16 * 5) + 4 * (10 + 35 + 14)


@pytest.mark.slow
def test_our_two_peers_compute_the_same():
    from experiments.benchmark import jax_peer

    works = [jax_peer.make(peer, parse("forward/efficientnet_lite0/1@32"), Context()) for peer in (OURS, FLAX)]
    checks = {peer: {"check": work.check()} for peer, work in zip((OURS, FLAX), works, strict=True)}
    assert turns.wrong(turns.disagreements(checks)) == {}
    assert works[0].run().shape == (1, 1000)
    assert works[0].flops == works[1].flops > 1e6


def test_the_process_that_coordinates_loads_no_framework():
    code = "import sys, experiments.benchmark.__main__; sys.exit(bool({'jax', 'torch', 'keras'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=rows.__file__.split("experiments")[0]).returncode == 0


@pytest.mark.slow
def test_the_small_preset(tmp_path):
    from experiments.benchmark.__main__ import Config, main

    document = main(Config(out=str(tmp_path / "out"), small=True))
    assert set(document["rows"]) == {*rows.MACHINE, *rows.SMALL}
    for name in rows.SMALL:
        row = document["rows"][name]
        assert set(row["peers"]) == {OURS, FLAX, *([TORCH] if find_spec("torchvision") else [])}
        assert all(one["seconds"] > 0 and one["peak"] > 1e8 for one in row["peers"].values())
        assert row["apart"][FLAX]["logits"] < 1e-3
    assert "plain Flax" in (tmp_path / "out" / "table.md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("torchvision"), reason="needs the extra bench")
@pytest.mark.parametrize("task", ["step/efficientnet_lite0/2@64", "ideal/efficientnet_lite0/2x4@64"])
def test_torch_does_the_larger_tasks(task, tmp_path):
    from experiments.benchmark.__main__ import Config, main

    document = main(Config(out=str(tmp_path / "out"), small=True, rows=(task,), peers=(TORCH,)))
    assert "seconds" in document["rows"][task]["peers"][TORCH]
