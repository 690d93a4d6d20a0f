"""What happened: runs, hosts, transitions and benchmarks, in a database that may be lost.

The hosts are the truth. History that is lost, locked, read-only, damaged or from a newer version
costs one warning and never a deploy.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from orchestrator.events import Event, StateEntered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.history.records import BenchmarkKey
    from orchestrator.history.store import History
    from orchestrator.verify.baseline import Baseline

LOOKING = frozenset({"connect", "facts", "plan"})


def open_history(url: str, warn: Callable[[str], None]) -> History:
    """The history at an SQLAlchemy URL, made or brought up to date where needed.

    What goes wrong, now or later, is said once to `warn`; from then on nothing is written and what
    is read is empty.
    """
    from orchestrator.history.store import History  # noqa: PLC0415 - SQLAlchemy is slow to import

    return History(url, warn)


class OpeningHistory:
    """A subscriber that opens the history while the run already looks at its hosts.

    SQLAlchemy takes as long to import as a host takes to answer. What only looks waits here until
    the history is open; a state that changes a host is written before it is acted on. `opened` may
    read what was there before this run.
    """

    def __init__(
        self,
        url: str,
        warn: Callable[[str], None],
        opened: Callable[[History], None] = lambda _: None,
    ) -> None:
        def opening() -> History:
            history = open_history(url, warn)
            opened(history)
            return history

        self._pool = ThreadPoolExecutor(1, "history")
        self._opening = self._pool.submit(opening)
        self._waiting: list[Event] = []
        self._lock = threading.Lock()

    def on_event(self, event: Event) -> None:
        """See Subscriber."""
        with self._lock:
            self._waiting.append(event)
            looks = not isinstance(event, StateEntered) or event.state in LOOKING
            if not looks or self._opening.done():
                self._write()

    def baselines(self) -> Mapping[BenchmarkKey, Baseline]:
        """What every hardware class has shown; waits until the history is open."""
        return self._opening.result().baselines()

    def close(self) -> None:
        """Write what waits and let go of the database."""
        with self._lock:
            self._write()
        self._opening.result().close()
        self._pool.shutdown()

    def _write(self) -> None:
        history = self._opening.result()
        for event in self._waiting:
            history.on_event(event)
        self._waiting.clear()
