"""How a rollout goes over the fleet: who is first, how many at a time, when it stops."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

NONE = "none"
LONGEST_PAUSE = 1_000_000.0  # seconds
_SHARE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(%?)")


@dataclass(frozen=True, slots=True)
class Share:
    """So many hosts, or that many percent of the whole fleet: `3`, `25%`."""

    number: float
    percent: bool = False

    def __str__(self) -> str:
        """As it is written in orchestrate.yml."""
        return f"{self.number:.15g}%" if self.percent else f"{self.number:g}"

    def of(self, fleet: int) -> Fraction:
        """So many of a fleet of that size, as an exact number."""
        exact = Fraction(repr(self.number))
        return exact * fleet / 100 if self.percent else exact


Canary = Literal["hardware_class"] | Share | tuple[str, ...] | None
Pause = float | Literal["ask"]


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

    canary: Canary = "hardware_class"
    batches: tuple[Share, ...] = (Share(100, percent=True),)
    pause: Pause = 0.0
    max_failed: Share = Share(10, percent=True)
    max_unreachable: Share = Share(100, percent=True)
    on_abort: Literal["keep", "rollback"] = "keep"
    inconclusive: Literal["rollback", "keep"] = "rollback"
    revert_after: float = 60.0


def parse_share(written: str | float, *, least: int = 0) -> Share:
    """The Share that `3`, `"3"` or `"25%"` says.

    `least` is 0, or 1 where a share of no hosts makes no sense. Raises ValueError with what is
    wrong.
    """
    found = _SHARE.fullmatch(str(written).strip())
    if found is None:
        raise ValueError(f"'{written}' is neither a count nor a percentage")
    number, percent = float(found[1]), bool(found[2])
    if percent and number > 100:  # noqa: PLR2004
        raise ValueError(f"{written} is more than the whole fleet")
    if not percent and not number.is_integer():
        raise ValueError(f"{written} is no whole number of hosts")
    if least and not number:
        raise ValueError(f"{written} would be no host at all")
    return Share(number, percent)


def parse_canary(written: str | float | list[str] | None) -> Canary:
    """The canaries that orchestrate.yml or a flag names.

    `hardware_class`, `none`, a share, or Ansible's host patterns: a list of them, or a text with
    commas between. Raises ValueError with what is wrong.
    """
    if isinstance(written, list):
        return tuple(written)
    if written is None or written == NONE:
        return None
    if written == "hardware_class":
        return "hardware_class"
    if not isinstance(written, str) or _SHARE.fullmatch(written):
        return parse_share(written, least=1)
    patterns = tuple(part.strip() for part in written.split(",") if part.strip())
    if not patterns:
        raise ValueError("nothing is named")
    return patterns


def parse_pause(written: str | float) -> Pause:
    """Seconds, or `ask`; raises ValueError with what is wrong."""
    if written == "ask":
        return "ask"
    try:
        seconds = float(written)
    except ValueError:
        raise ValueError(f"'{written}' is neither seconds nor ask") from None
    if not 0 <= seconds <= LONGEST_PAUSE:
        raise ValueError(f"{written} is no time to wait")
    return seconds
