"""How a rollout goes over the fleet: who is first, how many at a time, when it stops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HARDWARE_CLASS = "hardware_class"
ASK = "ask"


@dataclass(frozen=True, slots=True)
class Share:
    """So many hosts, or that many percent of the whole fleet: `3`, `25%`."""

    number: float
    percent: bool = False

    def __str__(self) -> str:
        """As it is written in orchestrate.yml."""
        return f"{self.number:g}%" if self.percent else f"{self.number:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """`rollout:` in orchestrate.yml. Shares are of all hosts of the run.

    `canary` are the first hosts, which must pass before any other is begun: one of each hardware
    class, a share, named hosts (Ansible's patterns), or None. `batches` follow one after the other,
    the last is repeated. `pause` between them is in seconds, or a question. More than `max_failed`
    failed hosts, or `max_unreachable` unreachable ones, abort the rollout; `on_abort` says what
    becomes of the hosts that had succeeded, `inconclusive` what becomes of a release whose speed
    could not be judged. A host goes back by itself when it has heard nothing of its controller for
    `revert_after` seconds.
    """

    canary: Literal["hardware_class"] | Share | tuple[str, ...] | None = "hardware_class"
    batches: tuple[Share, ...] = (Share(100, percent=True),)
    pause: float | Literal["ask"] = 0.0
    max_failed: Share = Share(10, percent=True)
    max_unreachable: Share = Share(100, percent=True)
    on_abort: Literal["keep", "rollback"] = "keep"
    inconclusive: Literal["rollback", "keep"] = "rollback"
    revert_after: float = 60.0
