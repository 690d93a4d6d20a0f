"""The seam: the few things every way of reaching a host must do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished command: exit status and everything it printed."""

    exit_status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Part:
    """What of a blob is still to arrive in its `.part`, for the run that holds the lock.

    `offset` bytes of `size` are there.
    """

    root: str
    run: str
    digest: str
    offset: int
    size: int

    @property
    def folder(self) -> str:
        """Where blobs of such a digest lie."""
        return f"{self.root}/store/sha256/{self.digest[:2]}"


class Target(Protocol):
    """An open connection to one host."""

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout: float,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        """Run a POSIX sh command line and wait for it.

        `stdin` is fed and then closed. `timeout` is in seconds for the whole command.
        `on_line` sees each line of stdout as it arrives. A non-zero exit is returned, not raised.

        Raises CommandError when time runs out and UnreachableError when the connection breaks.
        """

    def upload(
        self,
        command: str,
        chunks: Iterable[bytes],
        *,
        timeout: float,
        on_sent: Callable[[int], None],
    ) -> Completed:
        """Run `command` with `chunks` streamed to its stdin, in bounded memory.

        `on_sent` gets the number of bytes after each slice. `timeout` is in seconds without
        progress. Raises as `run` does.
        """

    def store(
        self,
        part: Part,
        chunks: Iterable[bytes],
        *,
        timeout: float,
        on_sent: Callable[[int], None],
    ) -> Completed:
        """Append `chunks`, the rest of a blob, to its `.part`; otherwise as `upload`.

        The exit status is `commands.NOT_OURS` where the run does not hold the lock.
        """

    def close(self) -> None:
        """Close the connection; safe to call twice."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_exc: object) -> None: ...
