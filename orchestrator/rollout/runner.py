"""Working on many hosts at once. The unit of work is a plain value; its failures are data."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

W = TypeVar("W")
R = TypeVar("R")


class Runner(Protocol):
    """Applies a function to every unit of work, in its own way."""

    def run(self, function: Callable[[W], R], work: Sequence[W]) -> list[R | None]:
        """The results in the order of `work`; None for what was not started when interrupted."""


class ThreadRunner:
    """Up to `parallel` units at a time, each in a thread.

    The first Ctrl-C stops new units from starting and lets those in flight finish; `interrupted`
    then says so.
    """

    def __init__(self, parallel: int) -> None:
        self._parallel = parallel
        self._stop = threading.Event()

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C was pressed during a `run`."""
        return self._stop.is_set()

    def run(self, function: Callable[[W], R], work: Sequence[W]) -> list[R | None]:
        """See Runner."""
        if not work:
            return []

        def guarded(unit: W) -> R | None:
            return None if self._stop.is_set() else function(unit)

        with ThreadPoolExecutor(min(self._parallel, len(work)), "host") as pool:
            futures: list[Future[R | None]] = [pool.submit(guarded, unit) for unit in work]
            pending = set(futures)
            while pending:
                try:
                    _, pending = wait(pending, return_when=FIRST_COMPLETED)
                except KeyboardInterrupt:
                    self._stop.set()
        return [future.result() for future in futures]
