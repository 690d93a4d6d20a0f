"""Working on many hosts at once. The unit of work is a plain value; its failures are data."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

W = TypeVar("W")
R = TypeVar("R")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TICK = 0.1  # seconds until a signal is heeded
HALT_SECONDS = 15.0


class Runner(Protocol):
    """Applies a function to every unit of work, in its own way."""

    def run(
        self,
        function: Callable[[W], R],
        work: Sequence[W],
        *,
        go_on: Callable[[], bool],
        halt: Callable[[W], None],
    ) -> list[R | None]:
        """The results in the order of `work`; None for what was not begun, or not ended.

        No unit is begun once `go_on` says no. `halt` ends the work on a unit at once.
        """


class ThreadRunner:
    """Up to `parallel` units at a time, each in a thread.

    Ctrl-C, SIGTERM, or the end of the terminal stops new units from starting and lets those in
    flight finish; `interrupted` then says so, and `on_stop` is called. A second one calls `on_halt`
    and ends those in flight at once: `halted` is set, and what has not ended after `HALT_SECONDS`
    is left behind.
    """

    def __init__(
        self,
        parallel: int,
        on_stop: Callable[[], None] = lambda: None,
        on_halt: Callable[[], None] = lambda: None,
    ) -> None:
        self.halted = threading.Event()
        self._parallel = parallel
        self._on_stop = on_stop
        self._on_halt = on_halt
        self._signals = 0
        self._heeded = False
        self._handlers: dict[signal.Signals, Any] | None = None

    @property
    def interrupted(self) -> bool:
        """Whether the operator asked to stop during a `run` or a `wait`."""
        return self._signals > 0

    def run(
        self,
        function: Callable[[W], R],
        work: Sequence[W],
        *,
        go_on: Callable[[], bool] = lambda: True,
        halt: Callable[[W], None] = lambda _unit: None,
    ) -> list[R | None]:
        """See Runner."""
        crew = _Crew(function, work, lambda: not self.interrupted and go_on())
        with self.guard():
            crew.start(min(self._parallel, len(work)))
            while not crew.ended.wait(TICK):
                self._heed()
                if self.halted.is_set():
                    crew.halt(halt)
                    break
            self._heed()
        if crew.defect is not None:
            raise crew.defect
        return list(crew.results)

    def wait(self, seconds: float) -> None:
        """Let time pass, less when the operator asks to stop."""
        until = time.monotonic() + seconds
        with self.guard():
            while not self.interrupted and (left := until - time.monotonic()) > 0:
                time.sleep(min(TICK, left))
            self._heed()

    def _heed(self) -> None:
        """Do what the signals that came since ask for."""
        if self._signals and not self._heeded:
            self._heeded = True
            self._on_stop()
        if self._signals > 1 and not self.halted.is_set():
            self.halted.set()
            self._on_halt()

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Count stop signals instead of raising somewhere; in the main thread only.

        The handler takes no lock and prints nothing: it may come in the middle of either.
        """
        main = threading.current_thread() is threading.main_thread()
        if not main or self._handlers is not None:
            yield
            return

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            self._signals += 1

        ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
        heeded = [number for number in STOP_SIGNALS if number not in ignored]  # `nohup` ignores it
        self._handlers = {number: signal.signal(number, on_signal) for number in heeded}
        try:
            yield
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            self._handlers = None

    @contextlib.contextmanager
    def unguarded(self) -> Iterator[None]:
        """Inside of `guard`, let stop signals raise again, so that they end a question."""
        ours = {number: signal.getsignal(number) for number in self._handlers or ()}
        for number, handler in (self._handlers or {}).items():
            signal.signal(number, handler)
        try:
            yield
        finally:
            for number, handler in ours.items():
                signal.signal(number, handler)


class _Crew(Generic[W, R]):
    """Threads that work through the units; `ended` is set when the last of them is done."""

    def __init__(
        self, function: Callable[[W], R], work: Sequence[W], go_on: Callable[[], bool]
    ) -> None:
        self.results: list[R | None] = [None] * len(work)
        self.defect: BaseException | None = None
        self.ended = threading.Event()
        self._function = function
        self._work = work
        self._go_on = go_on
        self._waiting = iter(range(len(work)))
        self._in_flight: dict[int, W] = {}
        self._threads = 0
        self._lock = threading.Lock()

    def start(self, threads: int) -> None:
        """Begin; daemon threads, so that one that hangs cannot keep the process alive."""
        self._threads = threads
        if not threads:
            self.ended.set()
        for number in range(threads):
            threading.Thread(target=self._toil, name=f"host_{number}", daemon=True).start()

    def halt(self, how: Callable[[W], None]) -> None:
        """End all units in flight, each in its own thread; waits for `HALT_SECONDS` at most."""

        def halt_one(unit: W) -> None:
            with contextlib.suppress(Exception):  # a host that does not answer goes back by itself
                how(unit)

        until = time.monotonic() + HALT_SECONDS
        with self._lock:
            in_flight = list(self._in_flight.values())
        halting = [
            threading.Thread(target=halt_one, args=(unit,), name="halt", daemon=True)
            for unit in in_flight
        ]
        for thread in halting:
            thread.start()
        for thread in halting:
            thread.join(max(0.0, until - time.monotonic()))
        self.ended.wait(max(0.0, until - time.monotonic()))

    def _toil(self) -> None:
        while (index := self._next()) is not None:
            try:
                self.results[index] = self._function(self._work[index])
            except BaseException as exc:  # noqa: BLE001 - it is raised where the run was asked for
                self.defect = self.defect or exc
            with self._lock:
                del self._in_flight[index]
        with self._lock:
            self._threads -= 1
            if not self._threads:
                self.ended.set()

    def _next(self) -> int | None:
        """The next unit to begin, None when there is none or none may be begun."""
        with self._lock:
            if self.defect is not None or not self._go_on():
                return None
            index = next(self._waiting, None)
            if index is not None:
                self._in_flight[index] = self._work[index]
            return index
