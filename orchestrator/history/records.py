"""What the history hands out. Times are seconds since the epoch, UTC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


# The error code of a host that was lost in the middle of its switch: the version may be what took
# it down, so nobody should wish for it there.
LOST_IN_SWITCH = "left_to_itself"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One command on many hosts; `outcome` and `exit_code` are None while it runs, or was cut.

    `request` is what was asked of it, with the names of its `hosts`; None for runs of versions that
    did not record it.
    """

    id: str
    command: str
    user: str
    hosts: int
    started: float
    finished: float | None
    outcome: str | None
    exit_code: int | None
    request: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class HostRecord:
    """One host of one run; `outcome` is its entry in `deploy --json`."""

    run: str
    host: str
    time: float
    status: str
    outcome: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Transition:
    """A state that a host entered."""

    run: str
    host: str
    time: float
    state: str
    release: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Milestone:
    """What happened to a run as a whole; `event` and `document` are as in `--json-lines`."""

    run: str
    time: float
    event: str
    document: Mapping[str, Any]


class BenchmarkKey(NamedTuple):
    """What a baseline is shared by."""

    hardware_class: str
    model: str
    format: str
    precision: str
    engine: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What one smoke benchmark measured; `value` of `metric` is the speed that is compared."""

    run: str
    host: str
    time: float
    key: BenchmarkKey
    version: str
    verdict: str
    reason: str
    metric: str
    value: float | None
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run with its hosts' outcomes, and every transition and milestone, in order."""

    run: RunRecord
    hosts: tuple[HostRecord, ...]
    transitions: tuple[Transition, ...]
    milestones: tuple[Milestone, ...] = ()
