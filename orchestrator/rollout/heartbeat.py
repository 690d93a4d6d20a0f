"""Signs of life: as long as they come, a host keeps the lock and waits with going back."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from orchestrator.errors import HostError
from orchestrator.targets import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.targets.base import Target

BEATS = 6  # signs of life within the time after which silence means that the controller is gone
LOST = 3  # the exit status of the host's end when somebody else has the lock


class Heartbeat:
    """A thread that sends signs of life to one host, over its connection of the moment.

    The first goes out after `revert_after / 6` seconds: most hosts are done before. A connection
    that breaks is not mended here, but used again once it is.
    """

    def __init__(
        self, target: Callable[[], Target], root: str, run: str, *, revert_after: float
    ) -> None:
        self._target = target
        self._command = commands.beats(root, run)
        self._pause = revert_after / BEATS
        self._patience = revert_after
        self._ended = threading.Event()
        self._count = 0
        threading.Thread(target=self._work, name="heartbeat", daemon=True).start()

    def end(self) -> None:
        """Send no more; returns at once."""
        self._ended.set()

    def _work(self) -> None:
        while not self._ended.wait(self._pause):
            with contextlib.suppress(HostError, OSError, EOFError):
                done = self._target().upload(
                    self._command, self._beats(), timeout=self._patience, on_sent=lambda _: None
                )
                if done.exit_status == LOST:
                    return

    def _beats(self) -> Iterator[bytes]:
        while True:
            self._count += 1
            yield f"{self._count}\n".encode()
            if self._ended.wait(self._pause):
                return
