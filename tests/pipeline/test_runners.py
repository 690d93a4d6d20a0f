"""What runs a net here: the reference in slices, ONNX Runtime, and how fast a file is."""

import numpy as np
import pytest

from orchestrator.errors import ModelError
from orchestrator.pipeline import onnx_graph, positions, runners
from orchestrator.pipeline.interpreters.numpy import Reference
from orchestrator.pipeline.katago import reader
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.tensors import OUTPUTS, Inputs
from tests import golden_sets
from tests.onnx_models import other_inputs

SHAPE = Shape(13, 13)


@pytest.fixture(scope="module")
def net(tiny):
    return reader.read(tiny)


@pytest.fixture(scope="module")
def file(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    onnx_graph.write(net, path, SHAPE)
    return path


@pytest.fixture(scope="module")
def batch():
    """23 positions on 9x9."""
    return golden_sets.load("g170-b6c96", 23)[1].batch


def same(one, other, tolerance=1e-5):
    for name in OUTPUTS:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=tolerance)


def test_the_reference_in_slices(net, batch):
    runner = runners.reference(net)
    whole = Reference(net, Shape(9, 9, masked=False))(batch.inputs)
    assert runner.shape is None
    same(runner(batch.inputs), whole)


def test_optimism_is_the_references_as_well(net, batch):
    few = batch.rows(slice(0, 2)).inputs
    plain, hopeful = (runners.reference(net, optimism=o)(few).policy for o in (0.0, 1.0))
    half = runners.reference(net, optimism=0.5)(few).policy
    assert not np.allclose(plain, hopeful)
    np.testing.assert_allclose(half, (plain + hopeful) / 2, atol=1e-4)


@pytest.mark.parametrize("size", [1, 10, 100])
def test_onnx_runtime_answers_as_the_reference(net, file, batch, size):
    runner = runners.OnnxRuntime(file, SHAPE, threads=1, batch=size)
    inputs = positions.framed(batch, SHAPE)
    assert runner.name == "net.onnx"
    same(runner(inputs), Reference(net, SHAPE)(inputs), 1e-4)


def test_rows_are_counted_as_they_are_answered(net, batch):
    told = []
    counted = runners.Counted(runners.reference(net), told.append)
    assert (counted.name, counted.shape) == ("numpy", None)
    same(counted(batch.inputs), runners.reference(net)(batch.inputs))
    counted(batch.rows(slice(0, 2)).inputs)
    assert told == [runners.SLICE, 23, 25]


def test_slices_keep_every_row():
    inputs = Inputs(np.arange(7.0), np.arange(7.0), np.arange(7.0))
    parts = list(runners.slices(inputs, 3))
    assert [part.global_.tolist() for part in parts] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [part.meta.tolist() for part in parts] == [[0, 1, 2], [3, 4, 5], [6]]


@pytest.mark.parametrize("data", [b"", b"no net", b"\x08\x08\x12" + bytes(200)])
def test_a_file_that_is_no_net(tmp_path, data):
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"bad.onnx does not load: ") as caught:
        runners.OnnxRuntime(path, SHAPE)
    assert "\n" not in caught.value.message


def test_no_file(tmp_path):
    with pytest.raises(ModelError, match="does not load: "):
        runners.OnnxRuntime(tmp_path / "none.onnx", SHAPE)


def test_a_net_with_other_inputs(tmp_path):
    path = other_inputs(tmp_path / "other.onnx")
    with pytest.raises(ModelError, match=r"takes .* and gives .*; a net takes input, input_global"):
        runners.OnnxRuntime(path, SHAPE)


def test_a_board_that_the_file_is_not_made_for(file, batch):
    with pytest.raises(ModelError, match=r"net.onnx does not run: "):
        runners.OnnxRuntime(file, SHAPE, threads=1)(batch.inputs)


def test_throughput_counts_positions(batch):
    class Slow:
        name, shape, calls = "slow", None, 0

        def __call__(self, inputs):
            self.calls += 1
            stop.wait(0.01)

    from threading import Event

    stop, runner = Event(), Slow()
    speed = runners.throughput(runner, batch.inputs, seconds=0.05)
    assert 23 / 0.05 < speed < 23 / 0.01
    assert runner.calls >= 4


def test_a_file_is_measured_in_a_process_of_its_own(file):
    found = runners.measure("onnx", file, SHAPE, seconds=0.2)
    assert found["evals_per_s"] > 1
    assert 20 < found["peak_rss_mb"] < 1000


def test_a_file_that_cannot_be_measured(tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"no net")
    with pytest.raises(ModelError, match=r"bad.onnx was not measured: .*does not load"):
        runners.measure("onnx", path, SHAPE, seconds=0.1)
