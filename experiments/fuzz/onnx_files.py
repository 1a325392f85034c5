"""Small ONNX files as `tljax export` writes them, and what somebody may do to one who knows the format."""

import json
from pathlib import Path
from random import Random
from typing import Any

_FACTS = {
    "input_size": 8,
    "crop_pct": 0.875,
    "interpolation": "bilinear",
    "crop_mode": "center",
    "mean": [0.5, 0.5, 0.5],
    "white": None,
    "resized_inside": True,
}


def small_model() -> bytes:
    """The mean colour of a picture decides all that is said of it; made without JAX, which no fork survives."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", ["input_0"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["colour"], keepdims=0),
        helper.make_node("MatMul", ["colour", "weights"], ["logits"]),
        helper.make_node("ReduceMax", ["logits", "classes"], ["unknown"], keepdims=0),
        helper.make_node("Softmax", ["logits"], ["output"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "probabilities",
        [helper.make_tensor_value_info("input_0", TensorProto.UINT8, ["b", "h", "w", 3])],
        [
            helper.make_tensor_value_info("output", TensorProto.FLOAT, ["b", 2]),
            helper.make_tensor_value_info("unknown", TensorProto.FLOAT, ["b"]),
        ],
        [
            helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
            helper.make_tensor("classes", TensorProto.INT64, [1], [1]),
            helper.make_tensor("weights", TensorProto.FLOAT, [3, 2], [0.01, 0.0, 0.0, 0.01, 0.02, 0.03]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.helper.set_model_props(model, {"classes": '["blue", "red"]', "preprocessing": json.dumps(_FACTS)})
    return model.SerializeToString(deterministic=True)


def spoil_model(data: bytes, random: Random, canary: Path) -> bytes:
    """Other operators, sizes, links to files, metadata: one or two changes that leave a protocol buffer."""
    import onnx

    model = onnx.load_from_string(data)
    for _ in range(random.choice((1, 1, 2))):
        random.choice((_node, _node, _weights, _metadata, _signature, _insert))(model, random, canary)
    return model.SerializeToString(deterministic=True)


def _node(model: Any, random: Random, canary: Path) -> None:
    node = random.choice(model.graph.node)
    edit = random.randrange(4)
    if edit == 0:
        operators = ("Loop", "If", "Scan", "Expand", "Tile", "Reshape", "Resize", "Conv", "Range", "Gather", "Nothing")
        node.op_type = random.choice(operators)
    elif edit == 1 and node.input:
        names = ("", "input_0", "output", "weights", "axes", "\x00", "x" * 10_000)
        node.input[random.randrange(len(node.input))] = random.choice(names)
    elif edit == 2:
        node.domain = random.choice(("com.microsoft", "ai.onnx.ml", "evil"))
    elif node.attribute:
        random.choice(node.attribute).i = random.choice((-1, 0, 99, 2**31, -(2**63), 2**63 - 1))


def _weights(model: Any, random: Random, canary: Path) -> None:
    tensor = random.choice(model.graph.initializer)
    edit = random.randrange(4)
    if edit == 0:
        tensor.dims[random.randrange(len(tensor.dims))] = random.choice((-1, 0, 1, 2**31, 2**40, 2**63 - 1))
    elif edit == 1:
        tensor.data_type = random.randrange(30)
    elif edit == 2:
        tensor.data_location = 1
        tensor.external_data.add(key="location", value=random.choice(("/etc/passwd", "/dev/zero", "../F", str(canary))))
    else:
        tensor.raw_data = random.randbytes(random.choice((0, 1, 24, 4096)))


def _metadata(model: Any, random: Random, canary: Path) -> None:
    odd = ("", "[]", "null", "[" * 100_000, "[1]", '["a", "b", "c"]', json.dumps(["x" * 10**6, "\x00"]), "{}", "1e999")
    wrong = {random.choice(list(_FACTS)): random.choice((None, -1, 0, 10**9, "x", [], float("nan"), True))}
    prop = random.choice(model.metadata_props)
    prop.value = json.dumps(_FACTS | wrong) if random.random() < 0.6 else random.choice(odd)


def _signature(model: Any, random: Random, canary: Path) -> None:
    value = random.choice((*model.graph.input, *model.graph.output))
    if random.random() < 0.3:
        value.type.Clear()
    elif random.random() < 0.5 and value.type.tensor_type.shape.dim:
        random.choice(value.type.tensor_type.shape.dim).dim_value = random.choice((-1, 0, 5, 2**31, 2**62))
    else:
        value.type.tensor_type.elem_type = random.randrange(30)


def _insert(model: Any, random: Random, canary: Path) -> None:
    """A huge tensor on the way to the output."""
    from onnx import TensorProto, helper

    sizes = [random.choice((0, 1, 2**20, 2**31, 2**40, -1)) for _ in range(random.choice((1, 2, 5)))]
    model.graph.initializer.append(helper.make_tensor("sizes", TensorProto.INT64, [len(sizes)], sizes))
    for node in (
        helper.make_node("ConstantOfShape", ["sizes"], ["space"]),
        helper.make_node("Add", ["space", "logits"], ["z"]),
    ):
        model.graph.node.insert(len(model.graph.node) - 1, node)
    model.graph.node[-1].input[0] = "z"
