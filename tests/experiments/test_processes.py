"""Whole processes side by side: what is run, and what the table says."""

import sys

import pytest

from experiments.benchmark import processes
from tests.photos import make_photos
from tljax.errors import InputError


def test_a_line_has_medians_and_their_ratios():
    line = processes.line("classify/toy", [4.0, 2.0, 90.0], [1.0], [2.0, 2.0])
    assert line == "| classify/toy | 4.0 s | 1.0 s | 2.0 s | 0.50 | 2.00 |"


def test_a_process_that_fails_says_why(tmp_path):
    assert processes.seconds([sys.executable, "-c", "open('made', 'w')"], tmp_path) > 0
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="out of luck"):
        processes.seconds([sys.executable, "-c", "import sys; sys.exit('out of luck')"], tmp_path)


@pytest.mark.parametrize("row", ["classify", "fly/resnet50"])
def test_a_row_that_is_none_is_refused(row, tmp_path):
    with pytest.raises(InputError, match="a row is TASK/MODEL"):
        processes.measure(row, str(tmp_path), tmp_path, processes.Config(photos=""))


@pytest.mark.slow
def test_both_do_the_work(tmp_path):
    pytest.importorskip("torchvision", reason="the peer comes with tljax[bench]")
    photos = make_photos(tmp_path / "photos", {"red": 8, "blue": 8}, size=96)
    table = processes.main(processes.Config(photos=str(photos), rows=("classify/efficientnet_lite0",), rounds=1))
    assert len(table.splitlines()) == 3
