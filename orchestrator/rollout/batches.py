"""Who goes first in a rollout, who follows, and when it has to stop: pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.fleet.strategy import Share
from orchestrator.listing import count, names
from orchestrator.rollout.outcome import Status

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from orchestrator.fleet.strategy import Strategy

PASSED = {Status.DEPLOYED, Status.UNCHANGED, Status.VERIFIED}
FAILED = {Status.FAILED, Status.ROLLED_BACK, Status.LOCKED}


@dataclass(frozen=True, slots=True)
class Step:
    """Hosts that may be begun together: number `number` of `of` of its kind, from 1."""

    kind: Literal["canary", "batch"]
    number: int
    of: int
    hosts: tuple[str, ...]

    def __str__(self) -> str:
        """`the canary`, or `batch 2 of 3`."""
        return "the canary" if self.kind == "canary" else f"batch {self.number} of {self.of}"


@dataclass(frozen=True, slots=True)
class Order:
    """The steps of a rollout, one after the other; `stop` says why there may be none at all."""

    steps: tuple[Step, ...] = ()
    stop: str = ""

    def __str__(self) -> str:
        """`canary: pi-1, jetson-1; then 48 hosts in 2 batches`."""
        first = [f"canary: {names(step.hosts)}" for step in self.steps if step.kind == "canary"]
        batches = [step for step in self.steps if step.kind == "batch"]
        if batches:
            hosts = count(sum(len(step.hosts) for step in batches), "host")
            many = f" in {len(batches)} batches" if len(batches) > 1 else ""
            first.append(f"{'then ' if first else ''}{hosts}{many}")
        return "; ".join(first)


def order(
    strategy: Strategy,
    hosts: Sequence[str],
    changing: Mapping[str, str],
    silent: Collection[str] = (),
) -> Order:
    """The steps in which the `changing` hosts are begun.

    `hosts` are all of the run, in the order of the inventory; `changing` those that answered and
    that have something to change, with their hardware class; `silent` those that did not answer.
    Canaries that are named are host names here.
    """
    waiting = [host for host in hosts if host in changing]
    named = _named(strategy, hosts)
    if named and waiting and not named & set(waiting) and named & set(silent):
        absent = [host for host in hosts if host in named and host in silent]
        return Order(stop=f"no canary answers: {names(absent)}")
    canaries = _canaries(strategy, named, len(hosts), {host: changing[host] for host in waiting})
    rest = [host for host in waiting if host not in canaries]
    batches = list(_slices(rest, strategy.batches, len(hosts)))
    steps = [Step("canary", 1, 1, canaries)] if canaries else []
    steps += [Step("batch", n, len(batches), batch) for n, batch in enumerate(batches, 1)]
    return Order(tuple(steps))


def size(share: Share, fleet: int) -> int:
    """How many hosts of a fleet a share is: rounded down, at least one."""
    return max(1, int(share.of(fleet)))


def exceeded(strategy: Strategy, fleet: int, statuses: Iterable[Status]) -> str:
    """Why no further host may be begun, empty while one may.

    `statuses` are those of all hosts that have an outcome; `fleet` counts all hosts of the run.
    """
    given = list(statuses)
    failed = sum(status in FAILED for status in given)
    unreachable = sum(status is Status.UNREACHABLE for status in given)
    of = f"of {count(fleet, 'host')}"
    if failed > strategy.max_failed.of(fleet):
        return f"{failed} {of} failed, more than max_failed ({strategy.max_failed})"
    if unreachable > strategy.max_unreachable.of(fleet):
        limit = f"max_unreachable ({strategy.max_unreachable})"
        return f"{unreachable} {of} could not be reached, more than {limit}"
    return ""


def canary_failure(canaries: Sequence[str], statuses: Mapping[str, Status]) -> str:
    """Why nothing may follow the canaries, empty when all that have an outcome passed."""
    bad = [c for c in canaries if c in statuses and statuses[c] not in PASSED]
    by_status: dict[Status, list[str]] = {}
    for canary in bad:
        by_status.setdefault(statuses[canary], []).append(canary)
    told = [f"{names(c)} ({str(status).replace('_', ' ')})" for status, c in by_status.items()]
    if not bad:
        return ""
    which = "the canary" if len(canaries) == 1 else f"{len(bad)} of {len(canaries)} canaries"
    return f"{which} did not pass: {'; '.join(told)}"


def _named(strategy: Strategy, hosts: Sequence[str]) -> set[str]:
    return set(strategy.canary) & set(hosts) if isinstance(strategy.canary, tuple) else set()


def _canaries(
    strategy: Strategy, named: set[str], fleet: int, classes: Mapping[str, str]
) -> tuple[str, ...]:
    """The first hosts among those with these classes, in the order in which they are given."""
    if strategy.canary is None:
        return ()
    if named:
        return tuple(host for host in classes if host in named)
    spread = _spread(classes)
    if isinstance(strategy.canary, Share):
        chosen = set(spread[: size(strategy.canary, fleet)])
    else:
        chosen = set(spread[: len(set(classes.values()))])
    return tuple(host for host in classes if host in chosen)


def _spread(classes: Mapping[str, str]) -> list[str]:
    """The hosts, the first of each hardware class before any second of one."""
    seen: dict[str, int] = {}
    ranked = []
    for position, (host, kind) in enumerate(classes.items()):
        seen[kind] = seen.get(kind, 0) + 1
        ranked.append((seen[kind], position, host))
    return [host for _, _, host in sorted(ranked)]


def _slices(rest: Sequence[str], shares: Sequence[Share], fleet: int) -> Iterator[tuple[str, ...]]:
    begun, turn = 0, 0
    while begun < len(rest):
        count = size(shares[min(turn, len(shares) - 1)], fleet)
        yield tuple(rest[begun : begun + count])
        begun, turn = begun + count, turn + 1
