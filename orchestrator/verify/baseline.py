"""What a hardware class has shown it can do: the speed that a new release is held against."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# A search's own speed comes before that of the net inside it.
SPEED_METRICS = ("visits_per_s", "evals_per_s")
# Makes the median absolute deviation of a normal distribution its standard deviation: 1 / Φ⁻¹(3/4).
MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, slots=True)
class Baseline:
    """The median of what passed on a hardware class, give or take `spread`, in the metric's unit.

    `spread` is the scaled median absolute deviation: one odd host does not widen it.
    """

    hardware_class: str
    metric: str
    median: float
    spread: float
    samples: int

    def __str__(self) -> str:
        """`rpi4 baseline (10.8 ± 0.4)`."""
        spread = f" ± {amount(self.spread)}" if self.samples > 1 else ""
        return f"{self.hardware_class} baseline ({self.median:.4g}{spread})"


def amount(spread: float) -> str:
    """A spread to two digits, never as a power of ten: `3.7`, `150`."""
    return f"{spread:.2g}" if spread < 100 else f"{spread:.0f}"  # noqa: PLR2004


def from_samples(hardware_class: str, metric: str, samples: Sequence[float]) -> Baseline | None:
    """The baseline of at least one sample; None of none."""
    if not samples:
        return None
    middle = median(samples)
    spread = MAD_TO_SIGMA * median(abs(sample - middle) for sample in samples)
    return Baseline(hardware_class, metric, middle, spread, len(samples))


def speed_metric(metrics: Mapping[str, float]) -> str:
    """The metric that a release's speed is judged by; empty when none was measured."""
    return next((name for name in SPEED_METRICS if name in metrics), "")
