"""The graph that is written for Turing answers as the one that it was made of."""

import numpy as np
import onnx
import onnxruntime
import pytest

from orchestrator.pipeline import onnx_graph
from orchestrator.pipeline.formats import turing
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.katago.random_net import random_net
from orchestrator.pipeline.tensors import OUTPUTS

SHAPE = Shape(9, 7)
FLOAT = onnx.TensorProto.FLOAT


def fed(path, rows=3):
    """The file's outputs for rows drawn at random, the last of them of a smaller board."""
    session = onnxruntime.InferenceSession(path)
    rng = np.random.default_rng(0)
    lengths = {
        "input": (22, SHAPE.height, SHAPE.width),
        "input_global": (19,),
        "input_meta": (192,),
    }
    inputs = {
        each.name: rng.random((rows, *lengths[each.name]), np.float32)
        for each in session.get_inputs()
    }
    inputs["input"][:, 0] = 1
    inputs["input"][-1, :, :, 5:] = 0
    return session.run(list(OUTPUTS), inputs)


def fp32_products(path):
    """The names of the file's products with fixed FP32 weights."""
    graph = onnx.load(path).graph
    weights = {each.name for each in graph.initializer if each.data_type == FLOAT}
    return [
        node.name
        for node in graph.node
        if node.op_type == "MatMul" and weights.intersection(node.input)
    ]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    ("kind", "version", "meta"),
    [("gpool", 8, False), ("nested", 15, True), ("gpool+transformer-learned", 17, False)],
)
def test_it_answers_as_before(tmp_path, kind, version, meta, precision):
    net = random_net(seed=2, kind=kind, version=version, meta=meta)
    path = tmp_path / "net.onnx"
    onnx_graph.write(net, path, SHAPE, precision)
    before, products = fed(path), fp32_products(path)
    rewritten = turing.without_fp32_linear(path)
    onnx.checker.check_model(path, full_check=True)
    for name, old, new in zip(OUTPUTS, before, fed(path), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-5, err_msg=name)
    left = fp32_products(path)
    assert rewritten == len(products) - len(left) > 0
    assert bool(left) == ("transformer" in kind and precision == "fp32")


def test_it_keeps_what_the_file_says_of_itself(tmp_path):
    path = tmp_path / "net.onnx"
    onnx_graph.write(random_net(seed=2, kind="gpool", version=15), path, SHAPE, "fp16")
    before = onnx.load(path)
    turing.without_fp32_linear(path)
    after = onnx.load(path)
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)
    assert list(after.metadata_props) == list(before.metadata_props)
    names = [each.name for each in after.graph.initializer]
    assert len(names) == len(set(names))
    assert set(names) <= {name for node in after.graph.node for name in node.input}


def test_the_same_file_gives_the_same_bytes(tmp_path):
    files = [tmp_path / f"{number}.onnx" for number in range(2)]
    for path in files:
        onnx_graph.write(random_net(seed=2, kind="gpool", version=15), path, SHAPE, "fp16")
        turing.without_fp32_linear(path)
    assert files[0].read_bytes() == files[1].read_bytes()
