"""Rounding to int8: how far a weight may move, and what compensation is worth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.pipeline.quantize import rounding

SEEDS = st.integers(0, 2**32 - 1)


def some_weights(seed, inputs=24, outputs=5, size=1.0):
    rng = np.random.default_rng(seed)
    return (rng.standard_t(3, (inputs, outputs)) * size).astype(np.float32)


def some_gram(seed, inputs=24, samples=200):
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(samples, inputs // 3)) @ rng.normal(size=(inputs // 3, inputs))
    x = mixed + 0.3 * rng.normal(size=(samples, inputs))
    return x.T @ x


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from([None, 1, 4, 12]), st.sampled_from([1e-6, 1e-3, 1.0, 50.0]))
def test_nearest_is_within_half_a_step(seed, group, size):
    weights = some_weights(seed, size=size)
    rounded = rounding.nearest(weights, group)
    assert rounded.scale.shape == (24 // (group or 24), 5)
    assert np.abs(rounded.numbers).max() <= 127
    assert np.all(np.abs(rounded.weights - weights) <= rounded.steps * 0.5001)


@pytest.mark.parametrize("group", [None, 4])
def test_compensated_loses_less_at_the_outputs_than_nearest(group):
    """Not on each tiny matrix, for it goes column by column and never back; on nearly all."""
    shares = []
    for seed in range(60):
        weights, gram = some_weights(seed), some_gram(seed)
        plain, better = rounding.nearest(weights, group), rounding.compensated(weights, gram, group)
        shares.append(rounding.loss(weights, better, gram) / rounding.loss(weights, plain, gram))
    assert np.mean(np.array(shares) <= 1) >= 0.9
    assert np.mean(shares) < 0.9


def test_compensation_is_worth_a_factor_where_inputs_are_alike():
    weights, gram = some_weights(1, 96, 32), some_gram(2, 96, 2000)
    plain, better = rounding.nearest(weights), rounding.compensated(weights, gram)
    assert rounding.loss(weights, better, gram) < 0.4 * rounding.loss(weights, plain, gram)


def test_a_loss_is_the_squared_change_of_the_outputs():
    rng = np.random.default_rng(0)
    weights, x = some_weights(0, 6, 2), rng.normal(size=(30, 6))
    rounded = rounding.nearest(weights)
    change = x @ (rounded.weights - weights)
    assert rounding.loss(weights, rounded, x.T @ x) == pytest.approx((change**2).sum(), rel=1e-5)


def test_groups_keep_a_large_weight_from_spoiling_the_others():
    weights = some_weights(3)
    weights[0] = 100
    apart, together = rounding.nearest(weights, 4), rounding.nearest(weights)
    assert np.abs(apart.weights - weights)[4:].max() < 0.1
    assert np.abs(together.weights - weights)[4:].max() > 0.3


def test_shifted_weights_add_what_is_missed():
    rng = np.random.default_rng(4)
    x, weights, wanted = rng.normal(size=(500, 6)), some_weights(1, 6, 2), some_weights(2, 6, 2)
    found = rounding.shifted(weights, x.T @ x, x.T @ (x @ (wanted - weights)))
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted - weights).max() + 1e-3


@pytest.mark.parametrize("group", [None, 4])
def test_weights_of_nothing_stay_nothing(group):
    weights = np.zeros((8, 3), np.float32)
    for rounded in (
        rounding.nearest(weights, group),
        rounding.compensated(weights, np.zeros((8, 8)), group),
    ):
        assert np.all(np.isfinite(rounded.scale))
        assert not rounded.numbers.any()


def test_inputs_of_later_blocks_make_good_too(monkeypatch):
    weights, gram = some_weights(5, 48, 4), some_gram(6, 48)
    whole = rounding.compensated(weights, gram)
    monkeypatch.setattr(rounding, "BLOCK", 7)
    parts = rounding.compensated(weights, gram)
    assert np.array_equal(whole.numbers, parts.numbers)
