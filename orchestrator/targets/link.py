"""Whether the other end of a connection still answers.

Paramiko sends keep-alives but never looks for answers, and waits without end in several places.
A watch closes the connection instead, so that whoever waits on it wakes up.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, cast

import paramiko

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

UNANSWERED = 2  # keep-alive intervals that an answer may take


class Heard:
    """A socket that remembers when something came in; `at` is in `time.monotonic` seconds."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.at = time.monotonic()

    def recv(self, size: int) -> bytes:
        """As the socket does."""
        data = self._sock.recv(size)
        if data:
            self.at = time.monotonic()
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class Watch:
    """A thread that calls `close` once when the other end is silent or a deadline passes.

    The transport's socket must be a `Heard`.

    After `keepalive` seconds of silence (0 for never) it asks for an answer, and waits twice that
    long for one.
    """

    def __init__(
        self, transport: paramiko.Transport, keepalive: float, close: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._heard = cast("Heard", transport.sock)
        self._keepalive = keepalive or float("inf")
        self._close = close
        self._deadlines: dict[object, float] = {}
        self._asked = 0.0
        self._ended = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Close the connection when the block takes longer."""
        block = object()
        self._deadlines[block] = time.monotonic() + seconds
        try:
            yield
        finally:
            del self._deadlines[block]

    def end(self) -> None:
        """Stop watching."""
        self._ended.set()

    def _look(self) -> None:
        while not self._ended.wait(min(1.0, self._keepalive / 4)):
            if not self._transport.is_active():
                return
            if self._is_dead(time.monotonic()):
                self._close()
                return

    def _is_dead(self, now: float) -> bool:
        if now > min(list(self._deadlines.values()), default=now):
            return True
        heard = self._heard.at
        if self._asked > heard:
            return now - self._asked > UNANSWERED * self._keepalive
        if now - heard > self._keepalive:
            self._asked = now
            threading.Thread(target=self._ask, daemon=True).start()
        return False

    def _ask(self) -> None:
        """Ask for any answer: a server refuses requests that it does not know (RFC 4254, 4)."""
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
            self._transport.global_request("keepalive@openssh.com")
