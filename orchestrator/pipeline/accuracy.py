"""How far an artifact's answers are from the reference, in the metrics of KataGo itself.

Metrics and their percentiles are those of its `testgpuerror` (GpuErrorStats in
cpp/tests/testnnevalcanary.cpp); `answers` tells what they are measured on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.errors import ModelError
from orchestrator.pipeline.answers import Answers, answers, legal_moves
from orchestrator.pipeline.positions import cropped, framed, with_profiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.positions import Positions
    from orchestrator.pipeline.runners import Runner

    Doubles = NDArray[np.float64]

__all__ = [
    "METRICS",
    "Answers",
    "Report",
    "Spread",
    "answers",
    "compare",
    "errors",
    "evaluate",
    "legal_moves",
    "report",
]

# Probabilities and ownership count from 0 to 1 and -1 to 1, lead and score in points.
METRICS = (
    "winrate",
    "lead",
    "score_mean",
    "score_stdev",
    "top_policy",
    "policy_kl",
    "shortterm_winloss_error",
    "shortterm_score_error",
    "ownership",
)
DIGITS = 4
NEGLIGIBLE = 1e-30


@dataclass(frozen=True, slots=True)
class Spread:
    """How one error is spread over positions (ownership: over all points of all positions)."""

    mean: float
    p90: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Report:
    """The errors of one artifact; `metrics` by the names in METRICS.

    `not_finite` positions had NaN or infinity in the artifact's outputs and are in no metric.
    """

    metrics: Mapping[str, Spread]
    positions: int
    boards: Mapping[str, int]
    not_finite: int = 0

    def document(self) -> dict[str, Any]:
        """The report for JSON, numbers rounded to 4 significant digits; NaN and infinity are null.

        `from_document` reads it back.
        """
        metrics = {
            name: {key: _rounded(value) for key, value in asdict(spread).items()}
            for name, spread in self.metrics.items()
        }
        counts = {"positions": self.positions, "boards": dict(self.boards)}
        return (
            counts
            | ({"not_finite": self.not_finite} if self.not_finite else {})
            | {"metrics": metrics}
        )

    @classmethod
    def from_document(cls, data: Mapping[str, Any]) -> Report:
        """The report that `document` wrote."""
        metrics = {
            name: Spread(**{k: math.nan if v is None else float(v) for k, v in values.items()})
            for name, values in data["metrics"].items()
        }
        return cls(metrics, data["positions"], dict(data["boards"]), data.get("not_finite", 0))


def evaluate(runner: Runner, positions: Positions, net: Net) -> tuple[Answers, ...]:
    """The runner's answers to each batch that its shape fits, in their order.

    A HumanSL net is told of players of all ranks where the positions tell of none.
    Raises ModelError where none fits.
    """
    fitting = positions.fitting(runner.shape)
    if not fitting.count:
        raise _none_fits(runner, positions)
    if net.has_meta:
        fitting = with_profiles(fitting)
    found = []
    for batch in fitting:
        if runner.shape is None:
            outputs = runner(batch.inputs)
        else:
            outputs = cropped(runner(framed(batch, runner.shape)), batch, runner.shape)
        found.append(answers(outputs, batch.inputs, net))
    return tuple(found)


def compare(
    reference: Runner | Sequence[Answers], runner: Runner, positions: Positions, net: Net
) -> Report:
    """The errors of `runner` over the positions that its shape fits.

    `reference` is asked about the same positions, or holds the answers to all of `positions`, as
    `evaluate` gives them for a runner of any shape. Raises ModelError where no position fits.
    """
    fitting = positions.fitting(runner.shape)
    candidate = evaluate(runner, positions, net)
    if isinstance(reference, Sequence):
        pairs = zip(positions, reference, strict=True)
        known = [answer for batch, answer in pairs if batch in fitting.batches]
    else:
        known = list(evaluate(reference, fitting, net))
    found = [errors(a, b) for a, b in zip(known, candidate, strict=True)]
    lost = sum(int((~answer.finite).sum()) for answer in candidate)
    return report(found, boards=fitting.boards, not_finite=lost)


def errors(reference: Answers, candidate: Answers) -> dict[str, Doubles]:
    """Every error of METRICS: one a position [N], of ownership one a point [N * H * W].

    Positions at which the candidate's outputs are not finite are left out.
    """
    good = candidate.finite
    ours, theirs = reference.rows(good), candidate.rows(good)
    value = np.abs(ours.value - theirs.value)
    balance = (ours.value - theirs.value) @ (0.5, -0.5, 0.0)
    top, rows = ours.policy.argmax(axis=1), np.arange(len(ours.policy))
    found = {
        name: np.abs(getattr(ours, name) - getattr(theirs, name))
        for name in METRICS
        if name not in {"winrate", "top_policy", "policy_kl"}
    }
    found["winrate"] = np.abs(balance) + value[:, 2]
    found["top_policy"] = np.abs(ours.policy[rows, top] - theirs.policy[rows, top])
    found["policy_kl"] = _divergence(ours.policy, theirs.policy)
    return {name: found[name].ravel() for name in METRICS}


def report(
    found: Iterable[Mapping[str, Doubles]], *, boards: Mapping[str, int], not_finite: int = 0
) -> Report:
    """The spread of `errors` over all batches."""
    parts = list(found)
    metrics = {name: _spread(np.concatenate([part[name] for part in parts])) for name in METRICS}
    return Report(metrics, sum(boards.values()), dict(boards), not_finite)


def _spread(values: Doubles) -> Spread:
    """Mean, percentiles and largest; the percentile p is element (n - 1) * p // 100, as there."""
    if not len(values):
        return Spread(math.nan, math.nan, math.nan, math.nan)
    ordered, last = np.sort(values), len(values) - 1
    places = (last * 90 // 100, last * 99 // 100, last)
    return Spread(float(ordered.mean()), *(float(ordered[place]) for place in places))


def _divergence(reference: Doubles, candidate: Doubles) -> Doubles:
    """Kullback-Leibler divergence [N]; infinite where the candidate rules out a move."""
    counts = reference > NEGLIGIBLE
    with np.errstate(divide="ignore"):
        ratio = np.log(np.where(counts, reference, 1)) - np.log(np.where(counts, candidate, 1))
    return np.where(counts, reference * ratio, 0.0).sum(axis=1)


def _rounded(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _none_fits(runner: Runner, positions: Positions) -> ModelError:
    shape = runner.shape
    wanted = f"a {shape.width}x{shape.height} board" if shape else "any board"
    return ModelError(
        f"{runner.name} takes {wanted}, and no position to check it with is on one: "
        + (", ".join(positions.boards) or "there are none"),
        hint="give positions on that board, as an .npz file",
    )
