"""This machine as a host (`ansible_connection: local`)."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import IO, TYPE_CHECKING

from orchestrator.errors import CommandError
from orchestrator.targets import shell
from orchestrator.targets.base import Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

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
        with subprocess.Popen(
            ["/bin/sh", "-c", shell.as_user(command, self._spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018
            out: list[str] = []
            err: list[str] = []
            readers = [
                threading.Thread(target=_read, args=(process.stdout, out, on_line), daemon=True),
                threading.Thread(target=_read, args=(process.stderr, err, None), daemon=True),
            ]
            for reader in readers:
                reader.start()
            _write(process.stdin, self._input(chunks), on_sent)
            deadline = time.monotonic() + timeout + shell.GRACE
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired as exc:
                process.kill()
                raise CommandError(
                    f"{self._spec.name}: no end after {timeout:g} s",
                    code="timeout",
                    hint="Raise the timeout in orchestrate.yml if the host is only slow.",
                ) from exc
            for reader in readers:
                reader.join()
            return Completed(process.returncode, "".join(out), "".join(err))

    def _input(self, chunks: Iterable[bytes]) -> Iterable[bytes]:
        if password := shell.sudo_password(self._spec):
            yield password
        yield from chunks


def _read(pipe: IO[bytes], into: list[str], on_line: Callable[[str], None] | None) -> None:
    for raw in pipe:
        line = raw.decode(errors="replace")
        into.append(line)
        if on_line is not None:
            on_line(line.rstrip("\n"))


def _write(pipe: IO[bytes], chunks: Iterable[bytes], on_sent: Callable[[int], None] | None) -> None:
    try:
        for chunk in chunks:
            pipe.write(chunk)
            if on_sent is not None:
                on_sent(len(chunk))
        pipe.close()
    except BrokenPipeError:
        pass  # the command ended without reading everything; its exit status says why
