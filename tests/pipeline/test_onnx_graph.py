"""ONNX files of real nets: as exact as the engine, on every board, and the same every day."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

from orchestrator.pipeline import onnx_graph
from orchestrator.pipeline.accuracy import answers
from orchestrator.pipeline.interpreters.numpy import Reference
from orchestrator.pipeline.katago import network
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.katago.random_net import KINDS, random_net
from orchestrator.pipeline.katago.reader import read
from orchestrator.pipeline.positions import cropped, framed
from orchestrator.pipeline.runners import OnnxRuntime, slices
from orchestrator.pipeline.tensors import Inputs, Outputs
from tests import golden_sets

# What KataGo 1.17.2 (Eigen, FP32) answers is met within these.
POLICY, WINRATE, OWNERSHIP = 1e-5, 1e-5, 5e-5
EVERY_ROW = 100
# The big nets answer a few positions here, and all of them in bench/exactness.py.
ROWS = {golden_sets.B10: 2, golden_sets.B18: 1}


@pytest.fixture(scope="session", params=golden_sets.NAMES)
def case(request):
    """A real net, and the engine's answers to some or all positions of each board."""
    name = request.param
    return read(golden_sets.net(name)), golden_sets.load(name, ROWS.get(name, EVERY_ROW))


def test_exact_boards_answer_as_the_engine(case, tmp_path):
    net, golden = case
    for each in golden if len(golden[0].batch) > 1 else golden[1:2]:
        shape = Shape(each.batch.height, each.batch.width, masked=False)
        onnx_graph.write(net, tmp_path / "exact.onnx", shape)
        near(each, OnnxRuntime(tmp_path / "exact.onnx", shape)(each.batch.inputs), net)


def test_a_masked_net_answers_as_the_engine_on_every_board(case, tmp_path):
    net, golden = case
    shape = Shape()
    onnx_graph.write(net, tmp_path / "masked.onnx", shape)
    runner = OnnxRuntime(tmp_path / "masked.onnx", shape)
    for each in golden:
        outputs = cropped(runner(framed(each.batch, shape)), each.batch, shape)
        near(each, outputs, net)


def test_the_numpy_reference_answers_as_the_engine(case):
    net, golden = case
    for each in golden:
        exact = Shape(each.batch.height, each.batch.width, masked=False)
        near(each, Reference(net, exact)(each.batch.inputs), net)
        few = next(slices(framed(each.batch, Shape()), 1))
        masked = cropped(Reference(net, Shape())(few), each.batch, Shape())
        near(each, masked, net)


def near(golden, outputs, net):
    """Assert that raw outputs, of the first rows or all, are the engine's answers."""
    rows = len(outputs.policy)
    inputs = next(slices(golden.batch.inputs, rows))
    found = answers(outputs, inputs, net, legal=golden.legal[:rows])
    assert np.abs(found.policy - golden.policy[:rows]).max() <= POLICY
    assert np.abs(found.value - golden.value[:rows]).max() <= WINRATE
    assert np.abs(found.ownership.reshape(rows, -1) - golden.ownership[:rows]).max() <= OWNERSHIP


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "shape",
    [Shape(7, 9), Shape(9, 9, masked=False), Shape(5, 7, softplus=False), Shape(optimism=0.5)],
    ids=str,
)
def test_every_kind_of_net_is_a_valid_graph_and_answers_as_the_reference(kind, shape):
    net = random_net(seed=3, kind=kind, version=15)
    model = onnx_graph.build(net, shape)
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    inputs = draw(shape, rows=3)
    outputs = Outputs(*session.run(None, {"input": inputs.spatial, "input_global": inputs.global_}))
    wanted = Reference(net, shape)(inputs)
    for name in ("policy", "value", "misc", "ownership"):
        apart = np.abs(getattr(outputs, name) - getattr(wanted, name)).max()
        assert apart <= 1e-4 * max(1, np.abs(getattr(wanted, name)).max()), name


def draw(shape: Shape, rows: int) -> Inputs:
    """Inputs drawn at random; of a masked net the last row is a smaller board."""
    rng = np.random.default_rng(0)
    spatial = (rng.random((rows, 22, shape.height, shape.width)) < 0.2).astype(np.float32)
    spatial[:, 0] = 1
    if shape.masked:
        spatial[-1, :, :, shape.width - 2 :] = 0
        spatial[-1, :, shape.height - 1 :] = 0
    return Inputs(spatial, rng.random((rows, 19), np.float32))


WRITES = """
import sys
from pathlib import Path
from orchestrator.pipeline import onnx_graph
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.katago.random_net import random_net
net = random_net(seed=1, kind="transformer-learned", version=17, meta=True)
onnx_graph.write(net, Path(sys.argv[1]), Shape(), "fp16")
"""


def test_the_same_net_gives_the_same_bytes_in_any_process(tmp_path):
    digests = set()
    for seed in ("0", "1"):
        path, env = tmp_path / f"{seed}.onnx", {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", WRITES, path], env=env, check=True)
        digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_inputs_outputs_opset_and_metadata_are_the_documented_ones():
    net = random_net(seed=1, kind="ordinary", version=15, meta=True)
    model = onnx_graph.build(net, Shape(9, 13, optimism=0.25), "fp16")
    takes = {each.name: lengths(each) for each in model.graph.input}
    gives = {each.name: lengths(each) for each in model.graph.output}
    assert takes == {"input": ["N", 22, 9, 13], "input_global": ["N", 19], "input_meta": ["N", 192]}
    assert gives == {
        "policy": ["N", 118],
        "value": ["N", 3],
        "misc": ["N", 6],
        "ownership": ["N", 1, 9, 13],
    }
    assert [each.version for each in model.opset_import] == [onnx_graph.OPSET]
    said = {each.key: each.value for each in model.metadata_props}
    assert said["board"] == "13x9"
    assert (said["masked"], said["optimism"], said["precision"]) == ("true", "0.25", "fp16")
    assert {
        each.type.tensor_type.elem_type for each in (*model.graph.input, *model.graph.output)
    } == {onnx.TensorProto.FLOAT}


def lengths(value) -> list[int | str]:
    return [each.dim_param or each.dim_value for each in value.type.tensor_type.shape.dim]


def test_a_net_without_softplus_has_none():
    net = random_net(seed=1, kind="nested", version=15)
    with_it = {node.op_type for node in onnx_graph.build(net, Shape()).graph.node}
    without = {node.op_type for node in onnx_graph.build(net, Shape(softplus=False)).graph.node}
    assert "Softplus" in with_it
    assert not {"Softplus", "LogSoftmax", "Mish"} & without


def test_half_precision_keeps_its_islands():
    """What KataGo itself computes in FP32: norm statistics, the trunk's tip, the heads."""
    net = random_net(seed=1, kind="transformer-learned", version=17)
    model = onnx.shape_inference.infer_shapes(onnx_graph.build(net, Shape(), "fp16"))
    types = {each.name: each.type.tensor_type.elem_type for each in model.graph.value_info}
    types |= {each.name: each.data_type for each in model.graph.initializer}
    half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    by_operator = {}
    for node in model.graph.node:
        by_operator.setdefault(node.op_type, set()).add(types.get(node.output[0]))
    assert by_operator["ReduceMean"] == {full}
    assert by_operator["Sqrt"] == {full}
    assert "ReduceSum" not in by_operator
    heads = {net.policy.p1_conv.name, net.value.v3_mul.name, net.value.ownership_conv.name}
    assert {types[f"{name}/weights"] for name in heads} == {full}
    block = net.trunk.blocks[0]
    assert types[f"{block.query.name}/weights"] == half
    assert half in by_operator["Softmax"]


def test_what_is_added_off_the_board_is_within_half_precision():
    net = random_net(seed=1, kind="transformer-fixed", version=17)
    model = onnx_graph.build(net, Shape(), "fp16")
    numbers = [onnx.numpy_helper.to_array(each) for each in model.graph.initializer]
    assert all(np.isfinite(each).all() for each in numbers)
    largest = max(float(np.abs(each).max()) for each in numbers if each.dtype != np.int64)
    assert largest == network.OFF_BOARD
