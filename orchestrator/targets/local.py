"""This machine as a host (`ansible_connection: local`)."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.targets import commands, shell
from orchestrator.targets.base import Completed
from orchestrator.targets.channel import KEPT, SLICE, Lines, overdue, too_much

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from orchestrator.targets.base import Part
    from orchestrator.targets.connection import ConnectionSpec


class LocalTarget:
    """Commands run as subprocesses, in a session of their own."""

    def __init__(self, spec: ConnectionSpec) -> None:
        self._spec = spec

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout: float,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        """See Target."""
        chunks = [stdin] if stdin else []
        return self._execute(shell.limited(command, timeout), chunks, None, on_line, timeout)

    def upload(
        self,
        command: str,
        chunks: Iterable[bytes],
        *,
        timeout: float,
        on_sent: Callable[[int], None],
    ) -> Completed:
        """See Target."""
        return self._execute(command, chunks, on_sent, None, timeout)

    def store(
        self,
        part: Part,
        chunks: Iterable[bytes],
        *,
        timeout: float,
        on_sent: Callable[[int], None],
    ) -> Completed:
        """See Target."""
        return self.upload(commands.receive(part), chunks, timeout=timeout, on_sent=on_sent)

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _execute(
        self,
        command: str,
        chunks: Iterable[bytes],
        on_sent: Callable[[int], None] | None,
        on_line: Callable[[str], None] | None,
        timeout: float,
    ) -> Completed:
        """Run it until it ended and nobody holds its output open any more.

        The deadline moves on with each chunk that is taken in.
        """
        process = subprocess.Popen(
            ["/bin/sh", "-c", shell.as_user(command, self._spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        out, err = Lines(on_line), Lines(None)
        try:
            with _Pipes(process, self._input(chunks), out, err) as pipes:
                status = self._attend(process, pipes, command, on_sent, timeout)
        except BaseException:
            _kill(process)
            raise
        return Completed(status, out.finish(), err.finish())

    def _attend(
        self,
        process: subprocess.Popen[bytes],
        pipes: _Pipes,
        command: str,
        on_sent: Callable[[int], None] | None,
        timeout: float,
    ) -> int:
        deadline = time.monotonic() + timeout + shell.GRACE
        while pipes.open:
            taken = pipes.step(max(0.0, deadline - time.monotonic()))
            if taken:
                deadline = time.monotonic() + timeout + shell.GRACE
                if on_sent is not None:
                    on_sent(taken)
            if pipes.printed > KEPT:
                raise too_much(self._spec.name, command)
            if time.monotonic() >= deadline:
                raise overdue(self._spec.name, command, timeout)
        try:
            return process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as exc:
            raise overdue(self._spec.name, command, timeout) from exc

    def _input(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        if password := shell.sudo_password(self._spec):
            yield password
        yield from chunks


class _Pipes:
    """The three pipes of a process, served a piece at a time, whichever is ready."""

    def __init__(
        self, process: subprocess.Popen[bytes], chunks: Iterator[bytes], out: Lines, err: Lines
    ) -> None:
        assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018
        self._pipes = (process.stdin, process.stdout, process.stderr)
        self._chunks = chunks
        self._left = memoryview(b"")
        self._size = 0
        self._printed = (out, err)
        self._selector = selectors.DefaultSelector()
        os.set_blocking(process.stdin.fileno(), False)
        self._selector.register(process.stdin, selectors.EVENT_WRITE)
        self._selector.register(process.stdout, selectors.EVENT_READ, out)
        self._selector.register(process.stderr, selectors.EVENT_READ, err)

    @property
    def open(self) -> bool:
        """Whether there still is something to feed or to read."""
        return bool(self._selector.get_map())

    @property
    def printed(self) -> int:
        """The bytes that came on stdout or on stderr, whichever had more."""
        return max(lines.size for lines in self._printed)

    def step(self, seconds: float) -> int:
        """Feed and read what goes without waiting, after waiting at most `seconds` for any of it.

        Returns the size of the chunk that was taken in whole, or 0.
        """
        taken = 0
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                taken = self._feed(key.fd)
                continue
            data = os.read(key.fd, SLICE)
            key.data.add(data)
            if not data:
                self._selector.unregister(key.fileobj)
        return taken

    def _feed(self, stdin: int) -> int:
        """Write what fits; a command that stops reading early ends the feeding quietly."""
        if not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return self._end_of_input()
            self._left, self._size = memoryview(chunk), len(chunk)
        try:
            self._left = self._left[os.write(stdin, self._left) :]
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            return self._end_of_input()
        return 0 if self._left else self._size

    def _end_of_input(self) -> int:
        self._selector.unregister(self._pipes[0])
        self._pipes[0].close()
        return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._selector.close()
        for pipe in self._pipes:
            pipe.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the command and all of its session; what sudo started may not be ours to kill."""
    for pid in {process.pid, *_session(process.pid)}:
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1)


def _session(leader: int) -> Iterator[int]:
    """The processes of a session; timeout(1) puts them into groups of their own."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            _state, _parent, _group, session = entry.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader:
                yield int(entry.parent.name)
