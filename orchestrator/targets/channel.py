"""Feeding a command's stdin and collecting its output over a Paramiko channel."""

from __future__ import annotations

import codecs
import contextlib
import time
from typing import TYPE_CHECKING

from orchestrator.errors import CommandError, UnreachableError
from orchestrator.targets.base import Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import paramiko

SLICE = 256 * 1024
_POLL = 0.5  # seconds between looks at stderr while stdout is silent


@contextlib.contextmanager
def closing(channel: paramiko.Channel) -> Iterator[None]:
    """Close the channel at the end, also when its connection is gone."""
    try:
        yield
    finally:
        with contextlib.suppress(EOFError, OSError):
            channel.close()


def feed(
    channel: paramiko.Channel, chunks: Iterable[bytes], on_sent: Callable[[int], None]
) -> None:
    """Send `chunks` and close stdin; a command that stops reading early ends it quietly.

    Slices are bounded since Paramiko copies what is left of a buffer for each packet.
    """
    try:
        for chunk in chunks:
            for start in range(0, len(chunk), SLICE):
                piece = chunk[start : start + SLICE]
                channel.sendall(piece)
                on_sent(len(piece))
        channel.shutdown_write()
    except TimeoutError:
        raise
    except OSError:
        if not channel.exit_status_ready() and not _still_open(channel):
            raise


def _still_open(channel: paramiko.Channel) -> bool:
    transport = channel.get_transport()
    return transport is not None and transport.is_active()


def collect(
    channel: paramiko.Channel,
    host: str,
    command: str,
    *,
    timeout: float,
    grace: float = 0.0,
    on_line: Callable[[str], None] | None = None,
) -> Completed:
    """Everything the command prints until it ends, and its exit status.

    Raises CommandError `grace` seconds after the `timeout` that the host itself should have kept,
    and UnreachableError when the connection breaks.
    """
    deadline = time.monotonic() + timeout + grace
    stdout = _Lines(on_line)
    stderr = bytearray()
    channel.settimeout(_POLL)
    while True:
        try:
            data = channel.recv(SLICE)
        except TimeoutError:
            data = None
        while channel.recv_stderr_ready():
            stderr += channel.recv_stderr(SLICE)
        if data == b"":
            break
        if data:
            stdout.add(data)
        if time.monotonic() > deadline:
            channel.close()
            raise CommandError(
                f"{host}: no end after {timeout:g} s: {short(command)}",
                code="timeout",
                hint="Raise the timeout in orchestrate.yml if the host is only slow.",
            )
    while piece := _recv_stderr(channel):
        stderr += piece
    if not channel.status_event.wait(max(1.0, deadline - time.monotonic())):
        raise lost(host)
    if channel.exit_status == -1:
        raise lost(host)
    return Completed(channel.exit_status, stdout.finish(), stderr.decode(errors="replace"))


def _recv_stderr(channel: paramiko.Channel) -> bytes:
    try:
        return channel.recv_stderr(SLICE)
    except TimeoutError:
        return b""


def lost(host: str) -> UnreachableError:
    """The error for a connection that broke while a command ran."""
    return UnreachableError(
        f"{host}: the connection broke while a command was running",
        code="connection_lost",
        hint=f"Look what is there now: orchestrate status --limit {host}",
    )


def short(command: str) -> str:
    """The command cut to what fits into a message."""
    first = command.splitlines()[0] if command else ""
    return first if len(first) <= 80 else first[:77] + "..."  # noqa: PLR2004


class _Lines:
    """Collected text that hands on each line as it is completed."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._parts: list[str] = []
        self._tail = ""
        self._on_line = on_line

    def add(self, data: bytes) -> None:
        text = self._decoder.decode(data)
        self._parts.append(text)
        if self._on_line is not None:
            *lines, self._tail = (self._tail + text).split("\n")
            for line in lines:
                self._on_line(line)

    def finish(self) -> str:
        if self._on_line is not None and self._tail:
            self._on_line(self._tail)
        return "".join(self._parts)
