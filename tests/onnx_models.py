"""Small ONNX nets for tests, and nets that are wrong in one way each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests import lab_nets as nets

if TYPE_CHECKING:
    from pathlib import Path


def small_net(path: Path, *, seed: int = 1) -> Path:
    """A net that takes milliseconds to run."""
    nets.make_net(path, seed=seed, channels=8, blocks=1)
    return path


def with_nan(source: Path, path: Path) -> Path:
    """The net with one weight of the value head NaN."""
    model = onnx.load(source)
    (tensor,) = [t for t in model.graph.initializer if t.name == "value.weight"]
    values = numpy_helper.to_array(tensor).copy()
    values[0, 0] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, path)
    return path


def other_inputs(path: Path) -> Path:
    """A net with a fixed batch of 2, token ids and a flag: y = sum(ids) + flag."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["ids"], ["total"], keepdims=0, axes=[1]),
            helper.make_node("Cast", ["flag"], ["one"], to=TensorProto.INT64),
            helper.make_node("Add", ["total", "one"], ["y"]),
        ],
        "ids",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, [2, "length"]),
            helper.make_tensor_value_info("flag", TensorProto.BOOL, [2]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.save(model, path)
    return path
