"""Tiny Go-like nets in ONNX, made from a seed: something real to deploy without a download.

Inputs are `input` [N, 22, H, W] and `input_global` [N, 19] float32; outputs are the raw logits
`policy` [N, H*W + 1] and `value` [N, 3] float32. N, H and W are free.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

SPATIAL_INPUTS = 22
GLOBAL_INPUTS = 19
BOARD = 19
# Old enough for the ONNX Runtime 1.14 that Debian and JetPack hosts carry.
OPSET = 17
IR_VERSION = 8


def make_net(path: Path, *, seed: int, channels: int = 32, blocks: int = 4) -> None:
    """Write a residual FP32 net with He-initialised weights; the same seed gives the same bytes."""
    rng = np.random.default_rng(seed)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def weight(name: str, *shape: int, gain: float = 2.0) -> str:
        fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
        values = rng.normal(0.0, (gain / fan_in) ** 0.5, shape).astype(np.float32)
        weights.append(numpy_helper.from_array(values, name))
        return name

    def add(op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def conv(name: str, source: str, into: int, out: int, size: int, gain: float = 2.0) -> str:
        kernel = weight(f"{name}.weight", out, into, size, size, gain=gain)
        return add("Conv", [source, kernel], name, kernel_shape=[size, size], pads=[size // 2] * 4)

    spread = add("MatMul", ["input_global", weight("global.weight", GLOBAL_INPUTS, channels)], "g")
    axes = numpy_helper.from_array(np.array([2, 3], np.int64), "spatial_axes")
    weights.append(axes)
    spread = add("Unsqueeze", [spread, axes.name], "global")
    trunk = conv("initial", "input", SPATIAL_INPUTS, channels, 3)
    trunk = add("Relu", [add("Add", [trunk, spread], "initial.sum")], "trunk.0")
    for block in range(1, blocks + 1):
        inner = add(
            "Relu", [conv(f"block{block}.conv1", trunk, channels, channels, 3)], f"b{block}"
        )
        outer = conv(f"block{block}.conv2", inner, channels, channels, 3, gain=0.5)
        trunk = add("Relu", [add("Add", [trunk, outer], f"block{block}.sum")], f"trunk.{block}")
    pooled = add("ReduceMean", [trunk], "pooled", axes=[2, 3], keepdims=0)
    moves = add("Flatten", [conv("policy.conv", trunk, channels, 1, 1)], "policy.moves", axis=1)
    pass_move = add("MatMul", [pooled, weight("policy.pass", channels, 1)], "policy.pass_move")
    add("Concat", [moves, pass_move], "policy", axis=1)
    add("MatMul", [pooled, weight("value.weight", channels, 3)], "value")

    def value(name: str, *shape: int | str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        f"go-c{channels}b{blocks}-{seed}",
        [value("input", "N", SPATIAL_INPUTS, "H", "W"), value("input_global", "N", GLOBAL_INPUTS)],
        [value("policy", "N", "moves"), value("value", "N", 3)],
        weights,
    )
    _save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)]), path)


def to_fp16(source: Path, path: Path) -> None:
    """Write the net with FP16 weights and arithmetic; inputs and outputs stay float32."""
    model = onnx.load(source)
    graph = model.graph
    renamed: dict[str, str] = {}
    entry, leave = [], []
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    for given in graph.input:
        renamed[given.name] = f"{given.name}.fp16"
        entry.append(_cast(given.name, renamed[given.name], TensorProto.FLOAT16))
    for wanted in graph.output:
        renamed[wanted.name] = f"{wanted.name}.fp16"
        leave.append(_cast(renamed[wanted.name], wanted.name, TensorProto.FLOAT))
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    nodes = [*entry, *graph.node, *leave]
    del graph.node[:]
    graph.node.extend(nodes)
    _save(model, path)


def to_int8(source: Path, path: Path, *, seed: int = 0) -> None:
    """Write the net with INT8 weights and activations, calibrated on random positions."""
    from onnxruntime.quantization import (
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(path),
            _Calibration(positions(4, seed=seed + i) for i in range(8)),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["Conv"],
        )
    model = onnx.load(path)
    del model.opset_import[:]  # the quantizer names domains that older runtimes do not know
    model.opset_import.append(helper.make_opsetid("", OPSET))
    _save(model, path)


class _Calibration:
    """Batches of inputs as onnxruntime's CalibrationDataReader hands them out."""

    def __init__(self, batches: Iterable[dict[str, NDArray[np.float32]]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The next batch, None after the last."""
        return next(self._batches, None)


def scramble(source: Path, path: Path, *, seed: int = 1) -> None:
    """Write the net with each tensor's weights shuffled: well-formed, same size, wrong answers."""
    model = onnx.load(source)
    rng = np.random.default_rng(seed)
    for tensor in _floats(model):
        shuffled = rng.permutation(numpy_helper.to_array(tensor).ravel())
        tensor.CopyFrom(numpy_helper.from_array(shuffled.reshape(tensor.dims), tensor.name))
    _save(model, path)


def golden(source: Path, path: Path, *, count: int = 4, seed: int = 7) -> None:
    """Write the net's answers to `count` random positions as `input:<name>`, `output:<name>`."""
    session = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    inputs = positions(count, seed=seed)
    names = [output.name for output in session.get_outputs()]
    answers = dict(zip(names, session.run(names, inputs), strict=True))
    arrays = {f"input:{name}": array for name, array in inputs.items()}
    arrays |= {f"output:{name}": np.asarray(array) for name, array in answers.items()}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def positions(count: int, *, seed: int, board: int = BOARD) -> dict[str, NDArray[np.float32]]:
    """Random inputs that look like Go features: binary planes, the first all ones."""
    rng = np.random.default_rng(seed)
    planes = rng.random((count, SPATIAL_INPUTS, board, board)) < 0.2
    planes[:, 0] = True
    rest = rng.normal(0.0, 0.5, (count, GLOBAL_INPUTS))
    return {"input": planes.astype(np.float32), "input_global": rest.astype(np.float32)}


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast.{target}", to=to)


def _floats(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    kinds = {TensorProto.FLOAT, TensorProto.FLOAT16}
    return (tensor for tensor in model.graph.initializer if tensor.data_type in kinds)


def _save(model: onnx.ModelProto, path: Path) -> None:
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
