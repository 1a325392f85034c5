"""One table: how a primitive of JAX is said in operators of ONNX.

An entry is called with the graph, the equation of the trace, and a `Value` for each operand; it emits nodes and
returns a `Value` for each result. Source: https://onnx.ai/onnx/operators, `jax.lax`.
"""

from tljax.onnx.operators import elementwise, indexing, linear, reductions, shapes, windows

TABLE = {
    **elementwise.TABLE,
    **shapes.TABLE,
    **reductions.TABLE,
    **linear.TABLE,
    **windows.TABLE,
    **indexing.TABLE,
}
