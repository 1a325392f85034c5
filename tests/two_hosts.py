"""What two processes compute together, for `test_join.py`: `python -m tests.two_hosts OUT PORT PROCESS`."""

import sys
import time
from pathlib import Path

import jax
import numpy as np

from tests.eight_devices import LIGHT, PHOTOS, make_batch, make_training, toy_net, toy_source
from tljax.distributed import collectives, join, sharding
from tljax.transfer.features import extract
from tljax.transfer.prediction import predict_source
from tljax.transfer.probe import fit_probe, predict_probs


def compute():
    """Features, probabilities, the parameters after one step, a probe: {name: array}."""
    net, source = toy_net(), toy_source()
    features = extract(net, source.subset(range(PHOTOS)[::-1]), batch_size=6, cache=None, skip=True)
    probs, index, skipped = predict_source(net, source, batch_size=6)
    mesh = sharding.data_mesh()
    _, step, state, frozen = make_training(net, mesh, setting=LIGHT)
    process, processes = join.processes()
    rows = slice(process * 16 // processes, (process + 1) * 16 // processes)
    batch = sharding.spread(mesh, {name: array[rows] for name, array in make_batch(16).items()})
    state, measures = step(state, frozen, batch, key=jax.random.key(0))
    rng = np.random.default_rng(0)
    labels = np.arange(203) % 3
    points = (rng.normal(size=(3, 12))[labels] + 1.5 * rng.normal(size=(203, 12))).astype(np.float32)
    probe = fit_probe(points, labels, classes=3, mesh=mesh)
    return {
        "features": features.values,
        "index": features.index,
        "digests": np.asarray(features.digests),
        "skipped": np.asarray([one.file for one in (*features.skipped, *skipped)]),
        "probs": probs,
        "predicted": index,
        "probe": predict_probs(probe, points),
        "loss": np.asarray(measures["loss"]),
        **{f"params{n}": np.asarray(leaf) for n, leaf in enumerate(jax.tree.leaves(state.params))},
    }


def check_exchange(folder):
    """What goes from one to another arrives as it was."""
    process, _ = join.processes()
    values = np.full((process + 1, 2), -0.0 if process else np.nan, np.float32)
    (found,) = collectives.gather_rows(values)
    np.testing.assert_array_equal(found, [[np.nan, np.nan], [0, 0], [0, 0]])
    assert np.signbit(found[1:]).all()
    assert collectives.gather_lists([process] * process) == [1]
    big = np.arange(3 << 20, dtype=np.int32) if process == 0 else np.zeros(3 << 20, np.int32)
    assert (collectives.arrays_from_first({"a": big})["a"] == np.arange(3 << 20)).all()
    (folder / f"file{process}").write_text(f"of {process}")
    collectives.file_from_first(folder / f"file{process}")
    assert (folder / f"file{process}").read_text() == "of 0"


def main(out, port, process):
    """Process 0 writes what both have computed; with "wait" for OUT they only wait for their end."""
    with join.joined(f"127.0.0.1:{port}", 2, int(process)):
        if out == "wait":
            print("joined", flush=True)
            time.sleep(600)
        found = compute()
        check_exchange(Path(out).parent)
        if join.first():
            np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
