"""A program that talks in lines, as a child process that never blocks who talks to it."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import IO

CHUNK = 1 << 16
LINE_BYTES = 64 << 20  # the largest answers, with the ownership of every move, have 3 MB
TAIL_BYTES = 16_384
KILLED_S = 5.0  # for the pipes of a killed program to end


class Lines:
    """Lines out of chunks of bytes, however they are cut; longer ones than `limit` are dropped."""

    def __init__(self, limit: int = LINE_BYTES) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that end in `data`, without their newline."""
        *ends, rest = data.split(b"\n")
        lines = []
        for end in ends:
            self._keep(end)
            if self._size <= self._limit:
                lines.append(b"".join(self._parts))
            self._parts, self._size = [], 0
        self._keep(rest)
        return lines

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= self._limit:
            self._parts.append(part)
        else:
            self._parts = []


class Waker:
    """Ends a selector's wait from any thread."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        selector.register(self._reader, selectors.EVENT_READ, self._clear)

    def wake(self) -> None:
        """The wait ends now, or the next one at once."""
        with contextlib.suppress(BlockingIOError):  # full: it wakes already
            self._writer.send(b"!")

    def close(self) -> None:
        """Give its two sockets back."""
        self._reader.close()
        self._writer.close()

    def _clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(CHUNK)


class LineProcess:
    """A running program: lines in, lines out, what it wrote to stderr last.

    Whoever owns the selector waits on it and calls what each event carries. The program leads a
    process group of its own, so that a wrapper script ends with what it started. For one thread.
    Raises OSError when the program cannot be started.
    """

    def __init__(
        self,
        selector: selectors.BaseSelector,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        self._selector = selector
        self._lines = Lines()
        self._received: list[bytes] = []
        self._tail = b""
        self._outgoing = bytearray()
        self._reading: set[IO[bytes]] = set()
        for stream in self._pipes():
            os.set_blocking(stream.fileno(), False)
        stdin, stdout, stderr = self._pipes()
        self._stdin, self._stdout = stdin, stdout
        self._read_with(stdout, self._hear)
        self._read_with(stderr, self._note)

    @property
    def pid(self) -> int:
        """The process id of the program."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether its stdout has ended: no line will come any more."""
        return self._stdout not in self._reading

    @property
    def tail(self) -> str:
        """The last of what it wrote to stderr."""
        return self._tail.decode("utf-8", "replace")

    def take(self) -> list[bytes]:
        """The lines that came since the last call."""
        lines, self._received = self._received, []
        return lines

    def send(self, line: str) -> None:
        """Write a line as soon as the program reads; never waits."""
        if self._stdin.closed:
            return
        if not self._outgoing:
            self._selector.register(self._stdin, selectors.EVENT_WRITE, self._write)
        self._outgoing += line.encode() + b"\n"

    def stop(self, grace: float) -> int:
        """The exit status: its stdin is closed, and after `grace` seconds it is killed."""
        deadline = time.monotonic() + grace
        self._close_stdin()
        self._drain(deadline)
        with contextlib.suppress(subprocess.TimeoutExpired):
            if not self._reading:
                return self._process.wait(max(0.0, deadline - time.monotonic()))
        self._kill()
        self._drain(time.monotonic() + KILLED_S)
        return self._process.wait()

    def close(self) -> None:
        """Give its pipes back; it must have been stopped."""
        self._close_stdin()
        for stream in list(self._reading):
            self._end(stream)

    def _pipes(self) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
        process = self._process
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise OSError("the program has no pipes")
        return process.stdin, process.stdout, process.stderr

    def _read_with(self, stream: IO[bytes], handle: Callable[[bytes], None]) -> None:
        def read() -> None:
            try:
                data = os.read(stream.fileno(), CHUNK)
            except BlockingIOError:
                return
            if data:
                handle(data)
            else:
                self._end(stream)

        self._reading.add(stream)
        self._selector.register(stream, selectors.EVENT_READ, read)

    def _hear(self, data: bytes) -> None:
        self._received += self._lines.feed(data)

    def _note(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-TAIL_BYTES:]

    def _write(self) -> None:
        try:
            sent = os.write(self._stdin.fileno(), self._outgoing[:CHUNK])
        except BlockingIOError:
            return
        except BrokenPipeError:  # it ended: its stdout tells
            self._close_stdin()
            return
        del self._outgoing[:sent]
        if not self._outgoing:
            self._selector.unregister(self._stdin)

    def _close_stdin(self) -> None:
        if self._stdin.closed:
            return
        if self._outgoing:
            self._selector.unregister(self._stdin)
            self._outgoing.clear()
        self._stdin.close()

    def _end(self, stream: IO[bytes]) -> None:
        self._reading.discard(stream)
        self._selector.unregister(stream)
        stream.close()

    def _drain(self, deadline: float) -> None:
        """Read on until the program is silent, so that it is not stuck in writing."""
        while self._reading and time.monotonic() < deadline:
            for key, _ in self._selector.select(max(0.0, deadline - time.monotonic())):
                key.data()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
