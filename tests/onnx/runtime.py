"""ONNX Runtime, as an independent judge of what the emitter writes."""

import jax
import numpy as np
import pytest

import tljax.onnx

pytest.importorskip("onnx", reason="the package onnx is not installed: pip install 'tljax[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")


def run(model: bytes, *arrays):
    """The outputs of a model, in order."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in session.get_inputs()]
    return session.run(None, dict(zip(names, map(np.asarray, arrays), strict=False)))


def assert_same(function, *arrays, symbolic: bool = True, tolerance: float = 1e-5):
    """`function` in ONNX Runtime equals `function` in JAX: with the shapes as they are, and with any first size."""
    expected = jax.tree.leaves(jax.jit(function)(*arrays))
    forms = [[(array.shape, array.dtype) for array in arrays]]
    if symbolic:
        forms.append([(("b", *array.shape[1:]) if array.ndim else (), array.dtype) for array in arrays])
    for shapes in forms:
        results = run(tljax.onnx.export(function, *shapes), *arrays)
        assert len(results) == len(expected)
        for result, wanted in zip(results, expected, strict=True):
            wanted = np.asarray(wanted)
            assert (result.shape, result.dtype) == (wanted.shape, wanted.dtype)
            np.testing.assert_allclose(result, wanted, rtol=tolerance, atol=tolerance)
