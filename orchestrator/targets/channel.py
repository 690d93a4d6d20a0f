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
PACKET = 32 * 1024
KEPT = 8 << 20  # bytes of stdout, and of stderr, beyond which a command is stopped
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
    channel: paramiko.Channel,
    chunks: Iterable[bytes],
    send: Callable[[bytes], int],
    on_sent: Callable[[int], None],
) -> None:
    """Send `chunks` and close stdin; a command that stops reading early ends it quietly.

    `send` sends the beginning of what it gets and returns how many bytes that was.
    """
    try:
        for chunk in chunks:
            for start in range(0, len(chunk), SLICE):
                piece = chunk[start : start + SLICE]
                _send_all(piece, send)
                on_sent(len(piece))
        channel.shutdown_write()
    except TimeoutError:
        raise
    except OSError:
        if not channel.exit_status_ready() and not _still_open(channel):
            raise


def _send_all(piece: bytes, send: Callable[[bytes], int]) -> None:
    while piece:
        sent = send(piece[:PACKET])
        if not sent:
            raise OSError("the channel is closed")
        piece = piece[sent:]


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

    Raises CommandError `grace` seconds after the `timeout` that the host itself should have kept
    and when the output exceeds KEPT, and UnreachableError when the connection breaks.
    """
    deadline = time.monotonic() + timeout + grace
    stdout = Lines(on_line)
    stderr = bytearray()
    channel.settimeout(_POLL)
    data: bytes | None = None
    while data != b"":
        data = _received(channel.recv)
        stdout.add(data or b"")
        while channel.recv_stderr_ready():
            stderr += channel.recv_stderr(SLICE)
            _check(channel, stdout.size, len(stderr), host, command)
        _check(channel, stdout.size, len(stderr), host, command)
        if data != b"" and time.monotonic() > deadline:
            channel.close()
            raise overdue(host, command, timeout)
    while (piece := _received(channel.recv_stderr)) and time.monotonic() < deadline:
        stderr += piece
        _check(channel, stdout.size, len(stderr), host, command)
    if not channel.status_event.wait(max(1.0, deadline - time.monotonic())):
        raise lost(host)
    if channel.exit_status == -1:
        raise lost(host)
    return Completed(channel.exit_status, stdout.finish(), stderr.decode(errors="replace"))


def _received(receive: Callable[[int], bytes]) -> bytes | None:
    """What has come; empty at the end of the stream, None when nothing came for a while."""
    try:
        return receive(SLICE)
    except TimeoutError:
        return None


def _check(channel: paramiko.Channel, out: int, err: int, host: str, command: str) -> None:
    if max(out, err) > KEPT:
        channel.close()
        raise too_much(host, command)


def overdue(host: str, command: str, timeout: float) -> CommandError:
    """The error for a command that did not end within `timeout` seconds."""
    return CommandError(
        f"{host}: no end after {timeout:g} s: {short(command)}",
        code="timeout",
        hint="Raise the timeout in orchestrate.yml if the host is only slow. A command is at its "
        "end when nothing that it started holds its output open.",
    )


def too_much(host: str, command: str) -> CommandError:
    """The error for a command that was stopped since it printed more than KEPT bytes."""
    return CommandError(
        f"{host}: stopped after {KEPT >> 20} MiB of output: {short(command)}",
        code="too_much_output",
        hint="Have it print less, or write to a file on the host.",
    )


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


class Lines:
    """Collected text that hands on each line as it is completed; `size` is in bytes."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._parts: list[str] = []
        self._tail = ""
        self._on_line = on_line
        self.size = 0

    def add(self, data: bytes) -> None:
        """Take more of the output."""
        self.size += len(data)
        text = self._decoder.decode(data)
        self._parts.append(text)
        if self._on_line is not None:
            *lines, self._tail = (self._tail + text).split("\n")
            for line in lines:
                self._on_line(line)

    def finish(self) -> str:
        """The whole text, after handing on a last line without its end."""
        if self._on_line is not None and self._tail:
            self._on_line(self._tail)
        return "".join(self._parts)
