"""Which hosts may get now what a deploy could not bring them, and when the others may.

Instants are seconds since the epoch, UTC; durations are in seconds.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.errors import HostError, InputError, LockedError, ModelError, OrchestrateError
from orchestrator.fleet.strategy import Share
from orchestrator.fleet.window import VARIABLE, Window
from orchestrator.rollout.outcome import HostOutcome, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.fleet.host import Host
    from orchestrator.fleet.settings import Settings
    from orchestrator.history.wishes import Wish
    from orchestrator.models.catalog import Catalog

FIRST_PAUSE = 30.0
LONGEST_PAUSE = 1800.0
# A watch looks at least so often whether wishes, inventory or catalog were changed.
LOOK_EVERY = 30.0
STILL_WISHED = 5
# A host whose attempt ended so has not got what it should, and is tried again.
NOT_REACHED = frozenset({Status.UNREACHABLE, Status.LOCKED, Status.SKIPPED})


@dataclass(frozen=True, slots=True)
class Standing:
    """A wish, and why its host may not be tried now: `waits_for` is None when it may.

    `until` is when it may be tried; None while somebody has to do something first.
    """

    wish: Wish
    host: Host | None = None
    window: Window | None = None
    waits_for: OrchestrateError | None = None
    until: float | None = None

    @property
    def outcome(self) -> HostOutcome:
        """What a run says of a host that it left alone; exit code 5, the host still waits."""
        return HostOutcome(
            self.wish.host, Status.SKIPPED, exit_code=STILL_WISHED, error=self.waits_for
        )


def standing(
    wish: Wish, host: Host | None, lacking: ModelError | None, now: float, *, patient: bool
) -> Standing:
    """How the wish stands: `lacking` says why its version cannot be had.

    Who is `patient` waits for the next attempt to be due, too. Raises InventoryError for a window
    that cannot be read.
    """
    name = wish.host
    forget = f"Or drop it: orchestrate reconcile --forget {name}"
    if host is None:
        gone = HostError(
            f"{name} is not in the inventory any more, it should get {wish.model}",
            code="not_in_inventory",
            hint=forget,
        )
        return Standing(wish, waits_for=gone)
    written = host.vars.get(VARIABLE)
    window = None if written is None else Window.parse(written, name)
    if lacking is not None:
        error = HostError(
            f"{name} should get {wish.model}: {lacking.message}",
            code=lacking.as_dict()["code"],
            hint=f"Deploy another version. {forget}",
        )
        return Standing(wish, host, window, error)
    until = max(now, wish.next_attempt) if patient else now
    opens = until if window is None else window.next_opening(until)
    return Standing(wish, host, window, _waits_for(wish, window, now, until, opens), opens)


def _waits_for(
    wish: Wish, window: Window | None, now: float, until: float, opens: float
) -> HostError | None:
    """Why the host is not tried now: its window opens at `opens`, the attempt is due at `until`."""
    if opens <= now:
        return None
    if window is not None and opens > until:
        return HostError(
            f"the maintenance window of {wish.host} opens {window.local(opens)} ({window})",
            code="outside_window",
            hint=f"At once: orchestrate deploy --limit {wish.host} --model {wish.model}",
        )
    return HostError(
        f"{wish.host} is tried again at {local(until)}, attempt {wish.attempts + 1}: "
        f"{wish.last_error}",
        code="not_due",
        hint=f"At once: orchestrate reconcile --limit {wish.host}",
    )


def lacking(catalog: Catalog, ref: str) -> ModelError | None:
    """Why the version `name@version` cannot be had: it was removed or yanked; None when it can."""
    try:
        version = catalog.get(ref)
    except ModelError as exc:
        return exc
    if version.yanked is None:
        return None
    return ModelError(f"{ref} was yanked: {version.yanked}", code="yanked")


def pause(attempts: int, first: float = FIRST_PAUSE, jitter: float | None = None) -> float:
    """How long to wait after that many attempts: it doubles from `first` to half an hour.

    It is spread evenly over half to one and a half of that, so that hosts which went away together
    are not tried together; `jitter` from 0 to 1 is the place in that spread, else chosen.
    """
    doubled = min(LONGEST_PAUSE, first * 2.0 ** min(attempts - 1, 64))
    place = random.random() if jitter is None else jitter  # noqa: S311 - not a secret
    return doubled * (0.5 + place)


def nap(standings: Sequence[Standing], now: float) -> float:
    """How long nothing can be tried, at most as long as changes may go unseen."""
    ahead = (each.until - now for each in standings if each.until is not None)
    return max(0.0, min((LOOK_EVERY, *ahead)))


def at_once(settings: Settings) -> Settings:
    """The settings of a run for hosts that are back: canaries had the version before them."""
    everyone = Share(100, percent=True)
    rollout = replace(
        settings.rollout, canary=None, batches=(everyone,), pause=0.0, max_unreachable=everyone
    )
    return replace(settings, rollout=rollout)


def local(instant: float) -> str:
    """The instant as clocks show it here."""
    return f"{datetime.fromtimestamp(instant, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


@dataclass(frozen=True, slots=True)
class Watch:
    """Tries hosts when they are due until nothing is wished.

    `look` gives the wishes as they stand, `attempt` tries hosts, `refuse` takes down why a host
    could not be tried at all, `tell` hears what is waited for, and `sleep` waits.
    """

    look: Callable[[], Sequence[Standing]]
    attempt: Callable[[Sequence[Standing]], None]
    refuse: Callable[[Standing, InputError], None]
    tell: Callable[[Sequence[OrchestrateError]], None]
    clock: Callable[[], float]
    sleep: Callable[[float], None]

    def run(self) -> None:
        """Return when nothing is wished; the operator's interrupt comes out as it is.

        Raises InputError when it starts with input that is wrong; what is wrong later is told and
        waited for.
        """
        standings = self.look()
        while standings:
            due = [each for each in standings if each.waits_for is None]
            try:
                if due:
                    self._try(due)
                else:
                    self.tell([each.waits_for for each in standings if each.waits_for])
                    self.sleep(nap(standings, self.clock()))
                standings = self.look()
            except (InputError, LockedError) as exc:
                self.tell([exc])
                self.sleep(LOOK_EVERY)

    def _try(self, due: Sequence[Standing]) -> None:
        """Try them together; where the input of one is wrong, one by one."""
        try:
            self.attempt(due)
        except InputError as exc:
            if len(due) == 1:
                self.refuse(due[0], exc)
                return
            for each in due:
                self._try([each])
