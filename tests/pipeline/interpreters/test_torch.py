"""The PyTorch module answers as the reference does, can be exported, and can be trained."""

from dataclasses import replace

import numpy as np
import pytest

from orchestrator.pipeline.interpreters.numpy import Reference
from orchestrator.pipeline.katago.net import Activation
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.katago.random_net import random_net
from orchestrator.pipeline.tensors import INPUTS, OUTPUTS, Inputs
from tests.needs import missing

try:
    import torch

    from orchestrator.pipeline.interpreters.torch import TorchNet, layer_key
except ImportError:
    torch = None

MASKED = Shape(9, 7)
EXACT = Shape(6, 8, masked=False, optimism=0.3, softplus=False)

KINDS = {
    "ordinary": {"version": 8},
    "gpool": {"version": 14},
    "nested": {"version": 16},
    "transformer-fixed": {"version": 17, "tip": "rms"},
    "transformer-learned": {"version": 15, "tip": "rms-spatial"},
    "transformer-ungated": {"version": 15, "activation": Activation.MISH},
    "nested-transformer+gpool": {"version": 17, "policies": 4, "meta": True},
}


@pytest.fixture(autouse=True)
def needs_torch():
    if torch is None:
        missing("PyTorch is missing; get it by: pip install 'orchestrate-nets[build]'")


def rows_for(net, shape, count=3):
    rng = np.random.default_rng(5)
    spatial = (rng.random((count, 22, shape.height, shape.width)) < 0.3).astype(np.float32)
    spatial[:, 0] = 1
    if shape.masked:
        spatial[1, :, 5:] = 0
        spatial[2, :, :, 3:] = 0
    global_ = rng.normal(size=(count, 19)).astype(np.float32)
    meta = rng.normal(size=(count, 192)).astype(np.float32) if net.has_meta else None
    return Inputs(spatial, global_, meta)


def tensors(rows):
    given = zip(INPUTS, (rows.spatial, rows.global_, rows.meta), strict=True)
    return {name: torch.from_numpy(values) for name, values in given if values is not None}


def furthest(expected, found):
    pairs = zip((getattr(expected, name) for name in OUTPUTS), found, strict=True)
    return max(float(np.abs(a - b.detach().numpy()).max()) for a, b in pairs)


@pytest.mark.parametrize("shape", [MASKED, EXACT], ids=["masked", "exact"])
@pytest.mark.parametrize("kind", KINDS)
def test_answers_as_the_reference(kind, shape):
    net = random_net(seed=3, kind=kind, channels=16, **KINDS[kind])
    rows = rows_for(net, shape)

    found = TorchNet(net, shape)(**tensors(rows))

    assert furthest(Reference(net, shape)(rows), found) < 1e-5


@pytest.mark.parametrize("kind", ["nested+gpool", "transformer-learned"])
def test_every_layer_can_learn(kind):
    module = TorchNet(random_net(seed=4, version=15, kind=kind), MASKED)

    outputs = module(**tensors(rows_for(random_net(seed=4), MASKED)))
    sum(output.square().sum() for output in outputs).backward()

    assert len(module.layers) == len(list(module.parameters()))
    for name, weights in module.named_parameters():
        assert weights.grad is not None, name
        assert weights.grad.abs().sum() > 0, name


def test_exports_with_a_free_batch():
    net = random_net(seed=6, version=15, kind="gpool+transformer-learned", blocks=2)
    module, rows = TorchNet(net, MASKED), rows_for(net, MASKED)
    batch = {0: torch.export.Dim("N", min=1, max=64)}

    exported = torch.export.export(
        module,
        (),
        tensors(rows),
        dynamic_shapes=dict.fromkeys(tensors(rows), batch),
    )
    one = Inputs(rows.spatial[:1], rows.global_[:1])

    assert furthest(Reference(net, MASKED)(one), exported.module()(**tensors(one))) < 1e-5


def test_a_layer_can_be_replaced_by_its_name():
    class Doubled(torch.nn.Module):
        def forward(self, weights):
            return weights * 2

    net = random_net(seed=7)
    module, rows = TorchNet(net, MASKED), rows_for(net, MASKED)
    layer = module.layers[layer_key(net.value.v3_mul.name)]
    before = module(**tensors(rows))[1]

    torch.nn.utils.parametrize.register_parametrization(layer, "weight", Doubled())
    after = module(**tensors(rows))[1]

    bias = torch.from_numpy(np.array(net.value.v3_bias.weights))
    torch.testing.assert_close(after - bias, 2 * (before - bias))


@pytest.mark.parametrize("name", ['a"), print("b', "keys", "model.blocks.0", "ж", "self"])
def test_a_layer_may_be_called_anything(name):
    net = random_net(seed=8)
    renamed = _with_name(net, name)
    rows = rows_for(net, MASKED)

    module = TorchNet(renamed, MASKED)

    assert layer_key(name) in module.layers
    assert furthest(Reference(net, MASKED)(rows), module(**tensors(rows))) < 1e-5


def test_two_layers_may_share_a_name():
    net = _with_name(random_net(seed=9), "p2")
    twice = _with_name(net, net.value.v1_conv.name)
    rows = rows_for(net, MASKED)

    found = TorchNet(twice, MASKED)(**tensors(rows))

    assert furthest(Reference(twice, MASKED)(rows), found) < 1e-5


def _with_name(net, name):
    conv = replace(net.policy.p2_conv, name=name)
    return replace(net, policy=replace(net.policy, p2_conv=conv))
