"""INT8 weights for formats with one scale an output: the first way that passes the gate."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from orchestrator.errors import ModelError
from orchestrator.pipeline import gate, positions
from orchestrator.pipeline.formats.base import Recipe, Work
from orchestrator.pipeline.formats.stored import each_by_itself, rounded
from orchestrator.pipeline.gate import FP16_LIMITS, Limit
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.katago.random_net import random_net
from orchestrator.pipeline.positions import Positions

STRICT = dict.fromkeys(FP16_LIMITS, Limit(1e-9, 1e-9))


@pytest.fixture(scope="module")
def net():
    return random_net(seed=4, blocks=1)


def weights(net, folder, mode):
    nines = Positions(positions.standard().batches[:1])
    calibration, check = positions.halves(nines)
    recipe = Recipe("litert", "int8", Shape(9, 9), mode=mode)
    return rounded(net, recipe, Work(folder, calibration, check, lambda *_: None))


def same(some, other):
    assert some.keys() == other.keys()
    return all(np.array_equal(some[name].numbers, other[name].numbers) for name in some)


def test_auto_takes_the_nearest_where_that_passes(net, tmp_path):
    stored, said = weights(net, tmp_path, "auto")
    assert said["mode"] == "weights-nearest"
    assert same(stored, each_by_itself(net, "int8", 0.0))


def test_auto_looks_at_calibration_rows_where_the_nearest_fails(net, tmp_path, monkeypatch):
    monkeypatch.setattr(gate, "judge", functools.partial(gate.judge, limits=STRICT))
    stored, said = weights(net, tmp_path, "auto")
    assert said["mode"] == "weights"
    assert same(stored, weights(net, tmp_path, "weights")[0])
    assert not same(stored, weights(net, tmp_path, "weights-nearest")[0])


@pytest.mark.parametrize("mode", ["weights-groups", "static-minmax"])
def test_other_modes_are_refused(net, tmp_path, mode):
    with pytest.raises(ModelError, match=f"litert has one scale .* and no mode {mode}") as raised:
        weights(net, tmp_path, mode)
    assert raised.value.hint == "Modes of litert: auto, weights-nearest, weights."
