"""ONNX graphs as TensorRT-RTX takes them for Turing: compute capability 7.5, RTX 20, GTX 16, T4.

TensorRT-RTX 1.7 refuses FP32 matrix products there ("Cannot compile operation ... for Turing
(SM75): FP32 GEMM is not supported"), but takes FP32 convolutions: a linear layer is also a 1x1
convolution of boards of one point, with the same FP32 sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

if TYPE_CHECKING:
    from pathlib import Path

COMPUTE_CAPABILITY = "7.5"


def without_fp32_linear(path: Path) -> int:
    """Rewrite the ONNX file at `path`; how many FP32 linear layers are convolutions now.

    These are the products of rows [N, C] and fixed weights [C, D]: the heads of every net, and all
    linear layers of nets without transformers. FP32 products of transformers stay as they are.
    """
    model = onnx.load(path)
    weights = _linear_layers(model)
    nodes, constants = [], []
    for node in model.graph.node:
        if node.name in weights:
            replacing, new = _as_convolution(node, weights[node.name])
            nodes.extend(replacing)
            constants.extend(new)
        else:
            nodes.append(node)
    read = {name for node in nodes for name in node.input}
    constants.extend(each for each in model.graph.initializer if each.name in read)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(constants)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return len(weights)


def _linear_layers(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """By name of the node, the weights [C, D] of FP32 products with rows [N, C]."""
    constants = {each.name: each for each in model.graph.initializer}
    inferred = shape_inference.infer_shapes(model).graph
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*inferred.input, *inferred.value_info)
    }
    found = {}
    for node in model.graph.node:
        if node.op_type != "MatMul":
            continue
        rows, weights = node.input[0], constants.get(node.input[1])
        if weights is None or weights.data_type != TensorProto.FLOAT:
            continue
        if ranks.get(rows) == len(weights.dims) == 2:  # noqa: PLR2004 - a row and a column
            found[node.name] = weights
    return found


def _as_convolution(
    node: onnx.NodeProto, weights: onnx.TensorProto
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The nodes and constants that make `node`'s output of its input."""
    channels, filters = weights.dims
    numbers = numpy_helper.to_array(weights).T.reshape(filters, channels, 1, 1)
    name = node.name
    points, rows = f"{name}/to_points", f"{name}/to_rows"
    planes, convolved, kernel = f"{name}/points", f"{name}/convolved", f"{name}/kernel"
    constants = {
        kernel: numbers,
        points: np.array([-1, channels, 1, 1], np.int64),
        rows: np.array([-1, filters], np.int64),
    }
    nodes = [
        helper.make_node("Reshape", [node.input[0], points], [planes], name=planes),
        helper.make_node("Conv", [planes, kernel], [convolved], name=name, kernel_shape=[1, 1]),
        helper.make_node("Reshape", [convolved, rows], list(node.output), name=rows),
    ]
    return nodes, [numpy_helper.from_array(values, key) for key, values in constants.items()]
