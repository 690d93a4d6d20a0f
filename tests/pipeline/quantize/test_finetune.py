"""Fine-tuning: the loss falls, the file says what the module computes, bounds and seeds hold."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import onnx
import pytest

from orchestrator.errors import ModelError
from orchestrator.pipeline import extras, gate, onnx_graph
from orchestrator.pipeline.interpreters.numpy import Reference
from orchestrator.pipeline.interpreters.onnx import StoredWeight
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.katago.random_net import random_net
from orchestrator.pipeline.positions import Batch, Positions
from orchestrator.pipeline.quantize import finetune
from orchestrator.pipeline.quantize.layers import ends, layers
from orchestrator.pipeline.quantize.weights import compensated, nearest
from orchestrator.pipeline.runners import OnnxRuntime
from orchestrator.pipeline.tensors import OUTPUTS, Inputs
from tests.needs import missing

SHAPE = Shape(7, 7)


@pytest.fixture(autouse=True)
def torch():
    if importlib.util.find_spec("torch") is None:
        missing("PyTorch is missing; get it by: pip install 'orchestrate-nets[build]'")
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield torch
    torch.set_num_threads(threads)


def net(kind="ordinary+gpool", **options):
    return random_net(seed=3, kind=kind, channels=16, blocks=2, **options)


def rows(height, width, count, seed, *, meta=False):
    rng = np.random.default_rng(seed)
    spatial = np.zeros((count, 22, height, width), np.float32)
    spatial[:, 0] = 1
    stones = rng.integers(3, size=(count, height, width))
    spatial[:, 1], spatial[:, 2] = stones == 1, stones == 2
    spatial[:, 9:14] = rng.random((count, 5, height, width)) < 0.05
    global_ = rng.normal(size=(count, 19)).astype(np.float32) / 3
    metas = rng.normal(size=(count, 192)).astype(np.float32) if meta else None
    return Batch(height, width, Inputs(spatial, global_, metas))


def positions(**options):
    return Positions((rows(5, 5, 12, 1, **options), rows(6, 7, 12, 2), rows(7, 7, 16, 3)))


def tuned(path, model, **options):
    options = {"calibration": positions(), "steps": 6, "minutes": 2.0, **options}
    return finetune.write_finetuned(model, path, SHAPE, **options)


def coarsely(*args, **options):
    """Weights in 15 steps instead of 255: much to be made good."""
    return {
        name: weight
        if weight.scale is None
        else StoredWeight(np.rint(weight.numbers / 16).astype(np.int8), weight.scale * 16)
        for name, weight in compensated(*args, **options).items()
    }


@pytest.mark.parametrize("activations", [False, True])
def test_the_loss_falls_and_what_is_written_is_nearer_to_the_net(
    tmp_path, monkeypatch, activations
):
    from orchestrator.pipeline.quantize import distill

    monkeypatch.setattr(finetune, "compensated", coarsely)
    monkeypatch.setattr(distill, "WEIGHTS", 0.01)  # there is more to move than with 255 steps
    monkeypatch.setattr(distill, "NORMS", 1e-3)
    path = tmp_path / "net.onnx"
    found = tuned(path, net(), steps=40, activations=activations)
    assert found.steps == len(found.losses) == 40
    assert np.mean(found.losses[-10:]) < 0.8 * np.mean(found.losses[:5])
    assert 0 < found.best <= 40
    worst = [max(gate.judge(report).margins.values()) for report in (found.before, found.after)]
    assert worst[1] < worst[0]
    assert (found.trained_on, found.held_out) == (32, 8)
    assert found.document()["mode"] == found.mode
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    assert ("QuantizeLinear" in kinds) == activations
    stored = [x for x in onnx.load(path).graph.initializer if x.name.endswith("/weights")]
    halved = {x.name.removesuffix("/weights") for x in stored if x.data_type == 10}
    assert halved == set(found.kept) == ends(net())
    assert all(x.data_type == 3 for x in stored if x.name.removesuffix("/weights") not in halved)


@pytest.mark.parametrize(
    "model",
    [
        net(version=8),
        net("nested", version=14),
        net("transformer-learned", version=15, tip="rms-spatial", meta=True),
        net("transformer-fixed", version=17, tip="rms"),
    ],
    ids=["v8", "nested", "learned", "fixed"],
)
@pytest.mark.parametrize("activations", [False, True])
def test_the_file_computes_what_the_module_computed(tmp_path, torch, model, activations):
    from orchestrator.pipeline.quantize import fake

    torch.manual_seed(5)
    batch = rows(7, 7, 6, 9, meta=model.has_meta)
    asked = [
        torch.from_numpy(values)
        for values in (batch.inputs.spatial, batch.inputs.global_, batch.inputs.meta)
        if values is not None
    ]
    reading = fake.readers(model) if activations else ()
    rounded = nearest(model, kept=ends(model), group=None if activations else 4)
    student = fake.FakeInt8(model, SHAPE, rounded, reading)
    with torch.no_grad():
        student(*asked)
        student.choose()
        for parameter in student.parameters():  # as training would, and more
            parameter.mul_(1 + 0.02 * torch.randn_like(parameter))
        wanted = student(*asked)
    exported = student.exported()
    assert set(exported.activations) == set(reading)
    path = tmp_path / "net.onnx"
    onnx_graph.write(exported.net, path, SHAPE, "fp32", exported.stored, exported.activations)
    given = OnnxRuntime(path, SHAPE, threads=1)(batch.inputs)
    plain = Reference(model, SHAPE)(batch.inputs)
    for name, values in zip(OUTPUTS, wanted, strict=True):
        apart = np.abs(getattr(given, name) - values.numpy()).reshape(6, -1).max(1)
        # A number between two steps may be rounded to either, which all of its position sees.
        assert np.sort(apart)[2 if activations else 5] < 1e-4
        assert apart.max() < 0.05
        assert np.abs(getattr(plain, name) - values.numpy()).max() > 1e-3


def test_a_net_starts_as_its_plainly_rounded_self(torch):
    from orchestrator.pipeline.quantize import fake

    model = net()
    stored = nearest(model, kept=ends(model))
    exported = fake.FakeInt8(model, SHAPE, stored).exported()
    assert set(exported.stored) == set(layers(model))
    for name, weight in stored.items():
        assert np.array_equal(exported.stored[name].numbers, weight.numbers)
        assert exported.stored[name].numbers.dtype == weight.numbers.dtype


def test_layers_that_read_one_tensor_share_a_scale():
    from orchestrator.pipeline.quantize import fake

    model = net("gpool")
    student = fake.FakeInt8(model, SHAPE, nearest(model), fake.readers(model))
    assert len(student.activations) == 4
    assert len(fake.readers(model)) == 6


@pytest.mark.parametrize("activations", [False, True])
def test_the_same_seed_gives_the_same_bytes(tmp_path, activations):
    paths = [tmp_path / name for name in ("a.onnx", "b.onnx", "c.onnx")]
    for path, seed in zip(paths, (4, 4, 5), strict=True):
        tuned(path, net(), seed=seed, activations=activations)
    first, second, third = (path.read_bytes() for path in paths)
    assert first == second != third


def test_time_ends_it_and_a_file_is_written_all_the_same(tmp_path):
    path, told = tmp_path / "net.onnx", []
    found = tuned(
        path,
        net(),
        steps=1_000_000,
        minutes=0.05,
        progress=lambda what, done, of: told.append((what, done, of)),
    )
    assert 0 < found.steps < 1_000_000
    assert found.minutes < 0.2
    assert told[-1] == ("fine-tuning", found.steps, 1_000_000)
    assert OnnxRuntime(path, SHAPE).takes


def test_an_interruption_leaves_nothing(tmp_path):
    def interrupt(what, done, of):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(tmp_path / "net.onnx", net(), progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_the_file_may_be_for_another_shape_than_the_rows(tmp_path):
    path, shape = tmp_path / "net.onnx", Shape(9, 9, masked=False, optimism=0.5)
    model = net(version=14)
    finetune.write_finetuned(model, path, shape, calibration=positions(), steps=2)
    batch = rows(9, 9, 3, 1)
    given, plain = OnnxRuntime(path, shape)(batch.inputs), Reference(model, shape)(batch.inputs)
    assert 0 < np.abs(given.policy - plain.policy).max() < 0.2


def test_too_few_positions_are_refused(tmp_path):
    with pytest.raises(ModelError, match="needs 8 positions at least, and has 7"):
        tuned(tmp_path / "net.onnx", net(), calibration=Positions((rows(5, 5, 7, 0),)))


def test_a_humansl_net_is_trained_with_players_of_all_ranks(tmp_path):
    found = tuned(tmp_path / "net.onnx", net(version=15, meta=True), steps=2)
    assert found.steps == 2


def test_without_pytorch_one_line_says_what_to_install(tmp_path, monkeypatch):
    def absent(module, extra):
        return extras.need("pytorch_that_is_absent", extra)

    monkeypatch.setattr(finetune, "need", absent)
    with pytest.raises(ModelError, match="needs the build extra") as caught:
        tuned(tmp_path / "net.onnx", net())
    assert "orchestrate-nets[build]" in caught.value.hint


def test_symmetries_move_every_plane_alike():
    from orchestrator.pipeline.quantize.distill import turned

    batch = rows(5, 7, 2, 0)
    seen = {turned(batch, symmetry).inputs.spatial.tobytes() for symmetry in range(8)}
    assert len(seen) == 8
    other = turned(batch, 4)
    assert (other.height, other.width) == (7, 5)
    assert other.inputs.spatial[1, 9, 6, 2] == batch.inputs.spatial[1, 9, 2, 6]
    twice = turned(turned(batch, 3), 3)
    assert np.array_equal(twice.inputs.spatial, batch.inputs.spatial)


@pytest.mark.parametrize(("part", "other"), [("conv2", "conv1"), ("norm2", "norm1")])
def test_names_that_two_layers_share_are_refused(tmp_path, part, other):
    model = net()
    block = model.trunk.blocks[0]
    twin = replace(getattr(block, part), name=getattr(block, other).name)
    blocks = (replace(block, **{part: twin}), *model.trunk.blocks[1:])
    model = replace(model, trunk=replace(model.trunk, blocks=blocks))
    with pytest.raises(ModelError, match=f"two layers.* called {twin.name}"):
        tuned(tmp_path / "net.onnx", model)
