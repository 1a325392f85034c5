"""Nodes that runtimes know faster ones for."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from tljax.onnx.graph import Graph, Node


def simplify(graph: Graph, results: Sequence[str]) -> list[Node]:
    """The nodes that `results` need: a bias moves into its convolution, a ReLU with an upper bound becomes `Clip`."""
    made = {name: node for node in graph.nodes for name in node.outputs}
    uses = Counter(name for node in graph.nodes for name in node.inputs) + Counter(results)
    nodes = []
    for node in graph.nodes:
        node = _with_bias(graph, node, made, uses) or _clipped(graph, node, made) or node
        made |= dict.fromkeys(node.outputs, node)
        nodes.append(node)
    return _needed(nodes, results)


def _with_bias(graph: Graph, node: Node, made: dict[str, Node], uses: Counter) -> Node | None:
    """`Add(Conv(x, kernel), bias)` as `Conv(x, kernel, bias)`."""
    if node.operator != "Add":
        return None
    for convolved, other in (node.inputs, node.inputs[::-1]):
        conv, bias = made.get(convolved), graph.constants.get(other)
        if conv is None or bias is None or conv.operator != "Conv" or len(conv.inputs) == 3 or uses[convolved] > 1:
            continue
        kernel = graph.constants.get(conv.inputs[1])
        if kernel is not None and bias.shape == (len(kernel), *(1,) * (kernel.ndim - 2)):
            return replace(conv, inputs=(*conv.inputs, graph.constant(bias.reshape(-1))), outputs=node.outputs)
    return None


def _clipped(graph: Graph, node: Node, made: dict[str, Node]) -> Node | None:
    """`Min(Relu(x), c)` and `Where(x < c, Relu(x), c)` as `Clip(x, 0, c)`."""
    less = made.get(node.inputs[0]) if node.operator == "Where" else None
    if node.operator == "Min":
        pairs = [node.inputs, node.inputs[::-1]]
    elif less is not None and less.operator == "Less":
        pairs = [node.inputs[1:]]
    else:
        return None
    for rectified, limit in pairs:
        relu, bound = made.get(rectified), graph.constants.get(limit)
        if relu is None or relu.operator != "Relu" or bound is None or bound.shape or not bound >= 0:
            continue
        if less is not None and less.inputs != (relu.inputs[0], limit):
            continue
        zero = graph.constant(0, bound.dtype)
        return Node("Clip", (relu.inputs[0], zero, limit), node.outputs, {})
    return None


def _needed(nodes: Sequence[Node], results: Sequence[str]) -> list[Node]:
    """Those that the results depend on."""
    wanted, kept = set(results), []
    for node in reversed(nodes):
        if wanted.intersection(node.outputs):
            wanted.update(node.inputs)
            kept.append(node)
    return kept[::-1]
