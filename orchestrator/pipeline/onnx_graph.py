"""A net as an ONNX file.

Opset 17, which ONNX Runtime 1.12 and newer read; the batch is free, the board is not. Inputs and
outputs are those of `tensors`, in FP32 whatever the precision inside. The metadata is
that of `metadata`. The same net and the same shape give the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

from orchestrator.pipeline.interpreters.onnx import OnnxOperations, Value
from orchestrator.pipeline.katago.net import GLOBAL_INPUTS, META_INPUTS, SPATIAL_INPUTS
from orchestrator.pipeline.katago.network import forward
from orchestrator.pipeline.metadata import metadata
from orchestrator.pipeline.tensors import INPUTS, OUTPUTS, Inputs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.pipeline.interpreters.onnx import ActivationScale, StoredWeight
    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.katago.network import Shape

OPSET = 17
IR_VERSION = 8
BATCH = "N"
PRODUCER = "orchestrate"


def write(
    net: Net,
    path: Path,
    shape: Shape,
    precision: str = "fp32",
    stored: Mapping[str, StoredWeight] | None = None,
    activations: Mapping[str, ActivationScale] | None = None,
) -> None:
    """Write the net to `path`, computed in `precision` (`fp32` or `fp16`).

    `stored` gives, by layer name, weights that the file holds in a smaller form, `activations` the
    scales with which layers read their inputs as int8.
    """
    path.write_bytes(
        build(net, shape, precision, stored, activations).SerializeToString(deterministic=True)
    )


def build(
    net: Net,
    shape: Shape,
    precision: str = "fp32",
    stored: Mapping[str, StoredWeight] | None = None,
    activations: Mapping[str, ActivationScale] | None = None,
) -> onnx.ModelProto:
    """The net as an ONNX model; see `write`."""
    ops = OnnxOperations(precision, stored, activations)
    given = {
        "input": (BATCH, SPATIAL_INPUTS, shape.height, shape.width),
        "input_global": (BATCH, GLOBAL_INPUTS),
        **({"input_meta": (BATCH, META_INPUTS)} if net.has_meta else {}),
    }
    handles = [Value(name, "float32") if name in given else None for name in INPUTS]
    spatial, global_, meta = handles
    if spatial is None or global_ is None:
        raise ValueError(f"a net takes {', '.join(INPUTS[:2])}")
    outputs = forward(net, ops, Inputs(spatial, global_, meta), shape, precision)
    for name in OUTPUTS:
        ops.named(getattr(outputs, name), name)
    answers = {
        "policy": (BATCH, shape.points + 1),
        "value": (BATCH, 3),
        "misc": (BATCH, net.misc_channels),
        "ownership": (BATCH, 1, shape.height, shape.width),
    }
    graph = helper.make_graph(
        ops.nodes,
        net.name,
        [_floats(name, lengths) for name, lengths in given.items()],
        [_floats(name, answers[name]) for name in OUTPUTS],
        ops.initializers,
    )
    model = helper.make_model(
        graph,
        producer_name=PRODUCER,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    helper.set_model_props(model, metadata(net, shape, precision))
    return model


def _floats(name: str, lengths: tuple[int | str, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(lengths))
