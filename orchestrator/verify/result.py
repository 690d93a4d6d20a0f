"""What a smoke benchmark measured and what was concluded."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Verdict(StrEnum):
    """The word of the smoke benchmark."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured on the host.

    `metrics` are numbers by name: `evals_per_s`, `load_s`, `golden_max_error`, `peak_rss_mb`,
    `latency_p50_ms`, `latency_p95_ms`, `visits_per_s` as the engine has them. `failure` says, in
    one line, why the engine did not load or answer; empty when it did. `detail` is the tail of
    the engine's own output, for the log.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    failure: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """A verdict, its measurement and the reason in one line (`4.1 evals/s, 38 % of ...`)."""

    verdict: Verdict
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    detail: str = ""
