"""Commands carried out in a container: `docker exec`, with stdin, over any way to the engine."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import struct
import tarfile
import time
from shlex import quote
from typing import TYPE_CHECKING, Any, cast

import requests
from docker.errors import APIError

from orchestrator.errors import CommandError, UnreachableError
from orchestrator.targets import commands, shell
from orchestrator.targets.base import Completed
from orchestrator.targets.channel import KEPT, SLICE, Lines, lost, overdue, too_much

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from docker import APIClient

    from orchestrator.targets.base import Part

PIECE = 16 * 1024
STDERR = 2  # the number of that stream in a frame's header (Docker Engine API, "Attach")
POLL = 0.05
ENDING = 10.0  # seconds from the end of what a command prints to its exit status, on a busy engine
GONE = (404, 409)  # the container is not there, or does not run


class ContainerTarget:
    """Commands run in one container that runs; closing it closes nothing.

    `user` is who runs them, empty for whom the container is made for.
    """

    def __init__(self, api: APIClient, host: str, container: str, user: str = "") -> None:
        self._api = api
        self._host = host
        self._user = user
        self.container = container

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout: float,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        """See Target."""
        limited = shell.limited(command, timeout)
        feed = (
            f"head -c {len(stdin)} | {{ {limited}; }}" if stdin else f"{{ {limited}; }} </dev/null"
        )
        with self._execution(feed) as execution:
            return execution.converse(stdin, command, timeout, on_line)

    def upload(
        self,
        command: str,
        chunks: Iterable[bytes],
        *,
        timeout: float,
        on_sent: Callable[[int], None],
    ) -> Completed:
        """See Target; what the command prints is not collected."""
        with self._execution(f"exec sh -c {quote(command)}") as execution:
            for chunk in chunks:
                if execution.ended():
                    break
                execution.send(chunk, timeout)
                on_sent(len(chunk))
            return execution.end(command, timeout)

    def store(
        self,
        part: Part,
        chunks: Iterable[bytes],
        *,
        timeout: float,
        on_sent: Callable[[int], None],
    ) -> Completed:
        """See Target. The bytes go as a tar stream, in bounded memory."""
        ready = commands.receive(part)
        first = self.run(ready, timeout=timeout)
        if first.exit_status != 0:
            return first
        name = f"{part.digest}.rest.part" if part.offset else f"{part.digest}.part"
        stream = _tar(name, part.size - part.offset, chunks, on_sent)
        with self._reachable():
            try:
                self._api.put_archive(self.container, part.folder, stream)
            except APIError as exc:
                if exc.status_code in GONE:
                    raise lost(self._host) from exc
                return Completed(1, "", str(exc.explanation or exc))
        if not part.offset:
            return first
        return self.run(commands.append_rest(part), timeout=timeout)

    def close(self) -> None:
        """See Target."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _execution(self, command: str) -> Iterator[_Execution]:
        """The command, begun; it does nothing before the first line of its stdin."""
        with self._reachable():
            # What comes before the stream is ours would be lost in docker-py's buffer.
            waiting = f"read -r _; {command}"
            try:
                made = self._api.exec_create(
                    self.container, ["sh", "-c", waiting], stdin=True, user=self._user
                )
                stream = self._api.exec_start(made["Id"], socket=True)
            except APIError as exc:
                raise self._not_run(exc) from exc
            execution = _Execution(self._api, self._host, made["Id"], stream)
            try:
                yield execution
            finally:
                execution.close()

    def _not_run(self, exc: APIError) -> Exception:
        said = " ".join(str(exc.explanation or exc).split())
        if exc.status_code in GONE:
            return UnreachableError(
                f"{self._host}: {said}",
                code="container_gone",
                hint=f"Look what is there now: orchestrate status --limit {self._host}",
            )
        return CommandError(
            f"{self._host}: {said}",
            hint="The image needs a POSIX sh, and coreutils or busybox.",
        )

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except (requests.RequestException, OSError) as exc:
            raise lost(self._host) from exc


class _Execution:
    """One `docker exec`, its stdin and what it prints."""

    def __init__(self, api: APIClient, host: str, name: str, stream: Any) -> None:
        self._api = api
        self._host = host
        self._name = name
        self._stream = stream
        self._socket = cast("socket.socket", getattr(stream, "_sock", stream))
        self._socket.settimeout(30)
        if isinstance(self._socket, ssl.SSLSocket):
            # A link that was cut is no end of what the command prints.
            self._socket.suppress_ragged_eofs = False  # type: ignore[attr-defined]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ | selectors.EVENT_WRITE)
        self._frames = _Frames()
        self._over = False
        self.send(b"\n", 30)

    def converse(
        self,
        stdin: bytes,
        command: str,
        timeout: float,
        on_line: Callable[[str], None] | None,
    ) -> Completed:
        """Feed `stdin` while reading what is printed, until the end; raises as Target.run does."""
        out, err = Lines(on_line), Lines(None)
        left = memoryview(stdin)
        deadline = time.monotonic() + timeout + shell.GRACE
        while not self._over:
            if not left:
                self._selector.modify(self._socket, selectors.EVENT_READ)
            events = self._pending() or self._wait(max(0.0, deadline - time.monotonic()))
            if events & selectors.EVENT_READ:
                for number, data in self._receive():
                    (err if number == STDERR else out).add(data)
            elif events & selectors.EVENT_WRITE:
                self.send(bytes(left[:PIECE]), timeout)
                left = left[PIECE:]
            if max(out.size, err.size) > KEPT:
                raise too_much(self._host, command)
            if not self._over and time.monotonic() >= deadline:
                raise overdue(self._host, command, timeout)
        return Completed(self._status(ENDING), out.finish(), err.finish())

    def send(self, data: bytes, timeout: float) -> None:
        """Write all of it."""
        self._socket.settimeout(timeout)
        self._socket.sendall(data)

    def ended(self) -> bool:
        """Whether the command ended by itself."""
        while not self._over and (self._pending() or self._wait(0) & selectors.EVENT_READ):
            self._receive()
        return self._over

    def end(self, command: str, timeout: float) -> Completed:
        """Close stdin and wait for the command's end."""
        if not self._over:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        try:
            return Completed(self._status(timeout), "", "")
        except UnreachableError:
            raise overdue(self._host, command, timeout) from None

    def close(self) -> None:
        """Let go of the stream; a command that still runs goes on."""
        self._selector.close()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        # docker-py keeps the response alive with the stream, and the descriptor with the response.
        response = getattr(self._stream, "_response", None)
        for each in (response, self._stream, self._socket):
            if each is not None:
                with contextlib.suppress(OSError):
                    each.close()

    def _pending(self) -> int:
        """Whether TLS has decrypted more than was read, which no selector sees."""
        pending = getattr(self._socket, "pending", None)
        return selectors.EVENT_READ if pending is not None and pending() else 0

    def _wait(self, seconds: float) -> int:
        ready = self._selector.select(seconds)
        return ready[0][1] if ready else 0

    def _receive(self) -> list[tuple[int, bytes]]:
        data = self._socket.recv(SLICE)
        self._over = not data
        return self._frames.add(data)

    def _status(self, seconds: float) -> int:
        """The exit status; UnreachableError when the stream ended and the command did not."""
        deadline = time.monotonic() + seconds
        while True:
            found = self._api.exec_inspect(self._name)
            if not found["Running"] and found["ExitCode"] is not None:
                return int(found["ExitCode"])
            if time.monotonic() >= deadline:
                raise lost(self._host)
            time.sleep(POLL)


class _Frames:
    """Takes the engine's stream apart: frames of a stream's number, a size, and so many bytes."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def add(self, data: bytes) -> list[tuple[int, bytes]]:
        """The frames that are whole now."""
        self._buffer += data
        found = []
        header = struct.Struct(">BxxxL")
        while len(self._buffer) >= header.size:
            number, size = header.unpack_from(self._buffer)
            end = header.size + size
            if len(self._buffer) < end:
                break
            found.append((number, bytes(self._buffer[header.size : end])))
            del self._buffer[:end]
        return found


def _tar(
    name: str, size: int, chunks: Iterable[bytes], on_sent: Callable[[int], None]
) -> Iterator[bytes]:
    """A tar archive with one file, a piece at a time."""
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.mtime = size, 0o644, int(time.time())
    yield header.tobuf(tarfile.PAX_FORMAT)
    for chunk in chunks:
        for start in range(0, len(chunk), SLICE):
            piece = chunk[start : start + SLICE]
            yield piece
            on_sent(len(piece))
    padding = -size % tarfile.BLOCKSIZE
    yield bytes(padding + 2 * tarfile.BLOCKSIZE)
