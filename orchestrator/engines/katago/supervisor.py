"""Keeps one analysis engine running and carries queries and replies between it and any thread.

One thread owns the process, its pipes and every query; other threads leave it functions to call.
An engine that ends is started again when there is something to ask, see `Supervisor`.
"""

from __future__ import annotations

import logging
import os
import selectors
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestrator.engines.katago import analysis
from orchestrator.engines.katago.cause import cause
from orchestrator.engines.katago.process import LineProcess, Waker
from orchestrator.errors import (
    EngineEndedError,
    EngineError,
    EngineStartError,
    EngineTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from orchestrator.engines.katago.analysis import Reply

TRIES = 2  # how often a query is sent to an engine that ends while it has it
ANOTHER = "Start another client."
_TERMINATE = "terminate"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Launch:
    """How the engine is started and ended; times in seconds.

    `restarts` bounds how often in a row it is started again without having answered anything;
    `most_open` is the number of queries beyond which `put` waits.
    """

    command: Sequence[str]
    env: Mapping[str, str]
    start_timeout: float
    grace: float
    restarts: int
    most_open: int


@dataclass(slots=True, eq=False)
class Ticket:
    """A query on its way: its line under the id `name`, and where its reply goes.

    `resolve` makes the result out of the last reply, or raises EngineError; `report` gets partial
    ones. Both are called in the supervisor's thread, which alone touches the rest.
    """

    name: str
    line: str
    future: Future[Any]
    resolve: Callable[[Reply], Any]
    report: Callable[[Reply], None] | None = None
    tries: int = 0
    dropped: bool = False
    halted: bool = False
    slot: bool = False


@dataclass(slots=True)
class _Run:
    """One life of the engine."""

    process: LineProcess
    deadline: float
    exchange: analysis.Exchange = field(default_factory=analysis.Exchange)
    ready: bool = False


class Supervisor:
    """Runs the engine from the first query on.

    When it ends by itself, the queries it had are sent to a new one, each once; one whose second
    engine ends too fails with EngineEndedError. After `restarts` new engines in a row that end
    without an answer, everything fails. `tidy` is called when all is over.
    """

    def __init__(self, launch: Launch, tidy: Callable[[], None]) -> None:
        self._launch = launch
        self._tidy = tidy
        self._owner = os.getpid()
        self._lock = threading.RLock()  # a finalizer may close while it is held
        self._closed = False
        self._inbox: deque[Callable[[], None]] = deque()
        self._slots = threading.BoundedSemaphore(launch.most_open)
        self._tickets: dict[str, Ticket] = {}
        self._run: _Run | None = None
        self._barren = 0
        self._given_up = ""
        self._log = ""  # of the last engine that ended
        self._selector = selectors.DefaultSelector()
        self._waker = Waker(self._selector)
        self._thread = threading.Thread(target=self._work, name="katago", daemon=True)
        self._thread.start()

    @property
    def inside(self) -> bool:
        """Whether the caller is in the thread that would have to answer it."""
        return threading.current_thread() is self._thread

    @property
    def pid(self) -> int | None:
        """The process id of the engine; None while none runs."""
        run = self._run
        return run.process.pid if run else None

    @property
    def log(self) -> str:
        """The last of what the engine wrote to stderr, or the one before it where none runs."""
        run = self._run
        return run.process.tail if run else self._log

    def put(self, ticket: Ticket, timeout: float | None = None) -> None:
        """Have it asked; waits while too many queries are open, though never in a callback.

        Raises EngineEndedError after `close`, EngineTimeoutError when it has to wait too long.
        """
        self._check_process()
        wait = {"timeout": timeout} if not self.inside else {"blocking": False}
        ticket.slot = self._slots.acquire(**wait)
        if not ticket.slot and not self.inside:
            raise EngineTimeoutError(
                f"{self._launch.most_open} queries are open and none ended within {timeout:g} s"
            )
        if not self._post(partial(self._take, ticket)):
            self._release(ticket)
            raise EngineEndedError("the engine was closed", hint=ANOTHER)

    def drop(self, ticket: Ticket) -> None:
        """Nobody wants its reply any more: the engine may end the search."""
        self._post(partial(self._drop, ticket))

    def halt(self, ticket: Ticket) -> None:
        """The engine shall end the search now and reply with what it has."""
        self._post(partial(self._halt, ticket))

    def close(self, *, wait: bool = True) -> None:
        """End the engine; open queries fail with EngineEndedError. Again is no error."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            if not self._closed:
                self._closed = True
                self._waker.wake()
        if wait and not self.inside:
            self._thread.join()

    def _check_process(self) -> None:
        if os.getpid() != self._owner:
            raise EngineError(
                "the engine belongs to the process that started it, and this is a fork of it",
                hint="Start an engine after the fork, or use the start method 'spawn'.",
            )

    def _post(self, call: Callable[[], None]) -> bool:
        """Whether the thread will call it."""
        with self._lock:
            if self._closed:
                return False
            self._inbox.append(call)
            if not self.inside:
                self._waker.wake()
            return True

    # From here on everything happens in the supervisor's thread.

    def _work(self) -> None:
        try:
            while not self._closed:
                self._step()
        finally:
            self._finish()

    def _step(self) -> None:
        for key, _ in self._selector.select(self._patience()):
            key.data()
        self._serve_inbox()
        if self._run is not None:
            self._listen(self._run)
        if self._run is None and self._tickets:
            self._start()

    def _patience(self) -> float | None:
        if self._inbox:
            return 0.0
        if self._run is None or self._run.ready:
            return None
        return max(0.0, self._run.deadline - time.monotonic())

    def _serve_inbox(self) -> None:
        while self._inbox:
            self._inbox.popleft()()

    def _start(self) -> None:
        deadline = time.monotonic() + self._launch.start_timeout
        try:
            process = LineProcess(self._selector, self._launch.command, self._launch.env)
        except (OSError, ValueError) as exc:
            self._log = ""
            self._not_started(str(exc))
            return
        self._run = _Run(process, deadline)
        self._run.exchange.ask(analysis.READY)
        process.send(analysis.ready_query())
        for ticket in self._tickets.values():
            self._send(self._run, ticket)

    def _send(self, run: _Run, ticket: Ticket) -> None:
        ticket.tries += 1
        run.exchange.ask(ticket.name)
        run.process.send(ticket.line)
        if ticket.halted:
            self._terminate(run, ticket)

    def _terminate(self, run: _Run, ticket: Ticket) -> None:
        run.process.send(analysis.action(_TERMINATE, _TERMINATE, terminateId=ticket.name))

    def _listen(self, run: _Run) -> None:
        for line in run.process.take():
            self._hear(run, line)
        if run.process.ended:
            self._ended(run)
        elif not run.ready and time.monotonic() > run.deadline:
            self._too_slow(run)

    def _hear(self, run: _Run, line: bytes) -> None:
        reply = run.exchange.hear(line)
        if reply is None:
            return
        if reply.id == analysis.READY:
            run.ready = True
        elif reply.kind is analysis.Kind.PARTIAL:
            _report(self._tickets[reply.id], reply)
        else:
            self._barren = 0
            self._deliver(self._tickets.pop(reply.id), reply)

    def _take(self, ticket: Ticket) -> None:
        if self._given_up:
            self._fail(ticket, self._error(EngineEndedError, self._given_up, ANOTHER))
            return
        self._tickets[ticket.name] = ticket
        if self._run is not None:
            self._send(self._run, ticket)

    def _drop(self, ticket: Ticket) -> None:
        if ticket.name not in self._tickets or ticket.dropped:
            return
        ticket.dropped = True
        ticket.future.set_running_or_notify_cancel()
        if self._run is None:
            self._release(self._tickets.pop(ticket.name))
        else:
            self._terminate(self._run, ticket)

    def _halt(self, ticket: Ticket) -> None:
        ticket.halted = True
        if self._run is not None and ticket.name in self._tickets:
            self._terminate(self._run, ticket)

    def _deliver(self, ticket: Ticket, reply: Reply) -> None:
        try:
            result = ticket.resolve(reply)
        except EngineError as exc:
            self._fail(ticket, exc)
            return
        self._release(ticket)
        if not ticket.dropped and ticket.future.set_running_or_notify_cancel():
            ticket.future.set_result(result)

    def _fail(self, ticket: Ticket, error: EngineError) -> None:
        self._release(ticket)
        if not ticket.dropped and ticket.future.set_running_or_notify_cancel():
            ticket.future.set_exception(error)

    def _fail_all(self, error: type[EngineError], message: str, hint: str) -> None:
        tickets, self._tickets = self._tickets, {}
        for ticket in tickets.values():
            self._fail(ticket, self._error(error, message, hint))

    def _error(self, error: type[EngineError], message: str, hint: str) -> EngineError:
        return error(message, hint=hint, log=self._log)

    def _release(self, ticket: Ticket) -> None:
        if ticket.slot:
            ticket.slot = False
            self._slots.release()

    def _stop(self, run: _Run, grace: float) -> str:
        """Why it ended."""
        status = run.process.stop(grace)
        run.process.close()
        self._log = run.process.tail
        self._run = None
        return cause(status, self._log)

    def _too_slow(self, run: _Run) -> None:
        self._stop(run, 0.0)
        self._not_started(f"it was not ready within {self._launch.start_timeout:g} s")

    def _ended(self, run: _Run) -> None:
        why = self._stop(run, self._launch.grace)
        if not run.ready:
            self._not_started(why)
            return
        message = f"katago ended: {why}"
        _logger.warning("%s", message)
        if self._is_one_too_many(message):
            self._fail_all(EngineEndedError, self._given_up, ANOTHER)
        for name, ticket in list(self._tickets.items()):
            if ticket.dropped or ticket.tries >= TRIES:
                twice = f"{message}; the engine before it ended too while it had this query"
                hint = "See what katago does with this query alone."
                self._fail(self._tickets.pop(name), self._error(EngineEndedError, twice, hint))

    def _not_started(self, why: str) -> None:
        message = f"{self._launch.command[0]} does not start: {why}"
        self._is_one_too_many(message)
        hint = "See what katago says when it is run by hand."
        self._fail_all(EngineStartError, self._given_up or message, hint)

    def _is_one_too_many(self, message: str) -> bool:
        """Whether no further engine is started after this end."""
        self._barren += 1
        if self._barren > self._launch.restarts:
            self._given_up = f"{message} ({self._barren} times in a row)"
        return bool(self._given_up)

    def _finish(self) -> None:
        with self._lock:
            self._closed = True
        self._serve_inbox()
        self._fail_all(EngineEndedError, "the engine was closed", ANOTHER)
        if self._run is not None:
            self._stop(self._run, self._launch.grace)
        self._selector.close()
        self._waker.close()
        self._tidy()


def _report(ticket: Ticket, reply: Reply) -> None:
    if ticket.report is None or ticket.dropped:
        return
    try:
        ticket.report(reply)
    except Exception:
        _logger.exception("the callback for partial results of %s failed", ticket.name)
