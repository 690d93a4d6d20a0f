"""Working on many hosts at once. The unit of work is a plain value; its failures are data."""

from __future__ import annotations

import contextlib
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

W = TypeVar("W")
R = TypeVar("R")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Runner(Protocol):
    """Applies a function to every unit of work, in its own way."""

    def run(self, function: Callable[[W], R], work: Sequence[W]) -> list[R | None]:
        """The results in the order of `work`; None for what was not started when interrupted."""


class ThreadRunner:
    """Up to `parallel` units at a time, each in a thread.

    Ctrl-C, SIGTERM, or the end of the terminal stops new units from starting and lets those in
    flight finish; `interrupted` then says so, and `on_stop` is called once.
    """

    def __init__(self, parallel: int, on_stop: Callable[[], None] = lambda: None) -> None:
        self._parallel = parallel
        self._on_stop = on_stop
        self._stop = threading.Event()

    @property
    def interrupted(self) -> bool:
        """Whether the operator asked to stop during a `run`."""
        return self._stop.is_set()

    def run(self, function: Callable[[W], R], work: Sequence[W]) -> list[R | None]:
        """See Runner."""
        if not work:
            return []

        def guarded(unit: W) -> R | None:
            return None if self._stop.is_set() else function(unit)

        with (
            _stop_signals(self._stop, self._on_stop),
            ThreadPoolExecutor(min(self._parallel, len(work)), "host") as pool,
        ):
            return list(pool.map(guarded, work))


@contextlib.contextmanager
def _stop_signals(stop: threading.Event, on_stop: Callable[[], None]) -> Iterator[None]:
    """Let stop signals set `stop` instead of raising somewhere; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if not stop.is_set():
            stop.set()
            on_stop()

    before = {number: signal.signal(number, on_signal) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
