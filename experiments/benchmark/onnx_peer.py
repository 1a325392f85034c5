"""ONNX Runtime on the network as `tljax export` writes it: batch norm folded, one thread for each processor."""

import numpy as np
import onnxruntime

import tljax
from experiments.benchmark.draw import draw_images
from experiments.benchmark.jax_peer import CHECKED
from experiments.benchmark.rows import Row
from experiments.benchmark.worker import Context, Work


def make(peer: str, row: Row, context: Context) -> Work:
    """Images in [0, 1] to logits."""
    net = tljax.load_pretrained(row.model, weights=context.weights.get(row.model))
    net = tljax.for_inference(net).replace(plain=True)
    shape = (("b", row.size, row.size, 3), "float32")
    model = tljax.onnx.export(lambda images: net.apply(net.variables, images), shape)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = context.threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (images,) = session.get_inputs()

    def logits(count: int) -> np.ndarray:
        return session.run(None, {images.name: drawn[:count]})[0]

    drawn = draw_images(row.size, row.size, max(row.count, CHECKED))
    return Work(lambda: logits(row.count), lambda: {"logits": logits(CHECKED).reshape(-1).tolist()})
