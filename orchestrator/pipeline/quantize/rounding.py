"""Weights as 8-bit integers with a scale for each group of them.

A group is a few inputs next to each other of one output: a single large weight makes steps coarse
for its own group only. `compensated` is the method of GPTQ (Frantar et al., 2022,
arXiv:2210.17323): inputs are rounded one after the other, and what each loses is made good by those
that are still to come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Doubles = NDArray[np.float64]
    Halves = NDArray[np.float16]

MOST = 127
BLOCK = 128
# Of the mean square of an input: what is added to each so that the system can be solved.
DAMPING = 0.01
LEAST = 1e-12
SHRINKS = np.linspace(1.0, 0.7, 7)


@dataclass(frozen=True, slots=True)
class Rounded:
    """`numbers` [in, out] int8 times `scale` [groups, out] float16, in / groups inputs to each."""

    numbers: NDArray[np.int8]
    scale: Halves

    @property
    def steps(self) -> Floats:
        """The step of each weight [in, out]."""
        return _spread(self.scale, len(self.numbers))

    @property
    def weights(self) -> Floats:
        """What the numbers stand for, [in, out]."""
        return self.numbers.astype(np.float32) * self.steps


def nearest(weights: Floats, group: int | None = None) -> Rounded:
    """Each weight [in, out] as the nearest step, the largest of a group at 127 steps.

    `group` inputs share a scale, which divides their number; None: all of an output.
    """
    return _nearest(weights, largest(weights, group))


def largest(weights: Floats, group: int | None = None) -> Halves:
    """The steps [groups, out] with which the largest weight of each group is at most 127 steps."""
    grouped = _grouped(weights, group or len(weights))
    return _halves(np.abs(grouped).max(axis=1) / MOST)


def best_scale(weights: Floats, importance: Doubles, group: int | None = None) -> Halves:
    """The steps [groups, out], no larger than `largest`, at which nearest rounding loses least.

    `importance` [in] weighs the squared errors. A smaller step cuts the largest weights.
    """
    start = largest(weights, group)
    size = len(weights) // len(start)
    best, least = start, np.full(start.shape, np.inf)
    for shrink in SHRINKS:
        scale = _halves(start.astype(np.float32) * shrink)
        error = (_nearest(weights, scale).weights - weights) ** 2 * importance[:, None]
        lost = _grouped(error, size).sum(axis=1)
        best = np.where(lost < least, scale, best)
        least = np.minimum(lost, least)
    return best


def compensated(weights: Floats, gram: Doubles, group: int | None = None) -> Rounded:
    """Weights [in, out] rounded so that the layer's outputs change least.

    `gram` [in, in] is the sum of x x^T over inputs x of the layer: the squared change of an output
    is e^T gram e for the error e of its weights.
    """
    importance = np.diag(gram)
    scale = best_scale(weights, importance, group)
    order = np.argsort(-importance, kind="stable")
    steps = _spread(scale, len(weights))[order].astype(np.float64)
    share = np.linalg.cholesky(np.linalg.inv(_damped(gram[np.ix_(order, order)]))).T
    left = weights[order].astype(np.float64)
    numbers = np.empty(left.shape, np.int8)
    for start in range(0, len(left), BLOCK):
        stop = min(start + BLOCK, len(left))
        errors = np.empty((stop - start, left.shape[1]))
        for i in range(start, stop):
            number = np.clip(np.rint(left[i] / steps[i]), -MOST, MOST)
            numbers[order[i]] = number
            errors[i - start] = (left[i] - number * steps[i]) / share[i, i]
            left[i + 1 : stop] -= np.outer(share[i, i + 1 : stop], errors[i - start])
        left[stop:] -= share[start:stop, stop:].T @ errors
    return Rounded(numbers, scale)


def shifted(weights: Floats, gram: Doubles, missed: Doubles) -> Floats:
    """Weights [in, out] that add what the outputs miss, as far as the inputs can tell it.

    `gram` is the sum of x x^T, `missed` [in, out] that of x m^T, for inputs x and misses m.
    """
    step = np.linalg.solve(_damped(gram), missed)
    return (weights + step).astype(np.float32)


def loss(weights: Floats, rounded: Rounded, gram: Doubles) -> float:
    """The squared change of all outputs, summed over the inputs that `gram` was made of."""
    error = rounded.weights.astype(np.float64) - weights
    return float(((gram @ error) * error).sum())


def _nearest(weights: Floats, scale: Halves) -> Rounded:
    numbers = np.clip(np.rint(weights / _spread(scale, len(weights))), -MOST, MOST)
    return Rounded(numbers.astype(np.int8), scale)


def _grouped(weights: NDArray[np.floating], size: int) -> NDArray[np.floating]:
    """[groups, size, out]."""
    return weights.reshape(-1, size, weights.shape[1])


def _spread(scale: Halves, inputs: int) -> Floats:
    return np.repeat(scale.astype(np.float32), inputs // len(scale), axis=0)


def _halves(steps: NDArray[np.floating]) -> Halves:
    """The nearest float16 that is no smaller, and never 0."""
    halves = np.maximum(steps, np.finfo(np.float16).smallest_subnormal).astype(np.float16)
    up = np.nextafter(halves, np.float16(np.inf))
    return np.where(halves.astype(np.float64) < steps, up, halves)


def _damped(gram: Doubles) -> Doubles:
    damped = gram.copy()
    damped[np.diag_indices_from(damped)] += DAMPING * max(float(np.diag(gram).mean()), LEAST)
    return damped
