"""Functions of JAX as ONNX models, which run where there is no JAX.

`export` traces a pure function and emits one operator, or a few, for each primitive of the trace: `operators.TABLE`.
"""

from tljax.onnx.model import OPSET, export

__all__ = ["OPSET", "export"]
