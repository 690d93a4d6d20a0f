"""Connections to the Docker Engine of a machine that is reached over SSH.

Each is a channel on which `docker system dial-stdio` runs there, as with Docker's own command line;
the SSH connection is ours: known_hosts, jump hosts, and ssh_config count as for any host.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
from shlex import quote
from typing import TYPE_CHECKING

import paramiko

from orchestrator.errors import AuthError, UnreachableError
from orchestrator.targets import ssh
from orchestrator.targets.docker.adapter import Line

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.targets.connection import ConnectionSpec

_PIECE = 32 * 1024  # bytes read at once; more than SSH's window is never on its way
_KEPT = 4096  # bytes of complaints
_PATIENCE = 5.0  # seconds for an ended command to say why, and for threads to end
_GONE = (paramiko.SSHException, OSError, EOFError)


class Tunnel:
    """An SSH connection to a Docker Engine's machine, over which `dial` reaches the engine.

    Opening it raises what `orchestrator.targets.ssh.connect` does. `socket` is the path of the
    engine's socket there; the user's own choice when empty.
    """

    def __init__(self, spec: ConnectionSpec, socket: str = "") -> None:
        host = f" --host {quote(f'unix://{socket}')}" if socket else ""
        self._command = f"docker{host} system dial-stdio"
        self._spec = spec
        self._lock = threading.Lock()
        self._closed = False
        self._links: set[_Link] = set()
        self._target = ssh.connect(spec)

    def dial(self, seconds: float | None = None) -> Line:  # noqa: ARG002
        """A new connection to the engine; SSH's own limits of time count, not `seconds`.

        What goes wrong after that, such as that there is no docker, is its `complaint`.
        Raises UnreachableError when there cannot be one.
        """
        try:
            channel = self._target.stream(self._command)
        except UnreachableError as exc:
            if isinstance(exc.__cause__, paramiko.ChannelException):
                raise UnreachableError(
                    f"{self._spec.name}: sshd on {self._spec.address} refuses one more session",
                    hint="Raise MaxSessions in its sshd_config (10 by default).",
                ) from exc
            raise
        ours, theirs = socket.socketpair()
        link = _Link(channel, theirs, self._forget)
        with self._lock:
            closed = self._closed
            if not closed:
                self._links.add(link)
                link.start()
        if closed:
            channel.close()
            ours.close()
            theirs.close()
            raise UnreachableError(f"{self._spec.name}: the connection is closed")
        return Line(ours, lambda: self._complaint(link))

    def close(self) -> None:
        """Close the SSH connection and with it every connection to the engine."""
        with self._lock:
            self._closed = True
            links = list(self._links)
        self._target.close()
        for link in links:
            link.end()
        for link in links:
            link.join()

    def _forget(self, link: _Link) -> None:
        with self._lock:
            self._links.discard(link)

    def _complaint(self, link: _Link) -> UnreachableError | None:
        said = link.complaint()
        if not said:
            return None
        where = f"{self._spec.name}: `{self._command}` on {self._spec.address}"
        for pattern, kind, hint in _REASONS:
            if re.search(pattern, said, re.IGNORECASE):
                return kind(f"{where}: {said}", hint=hint, code="docker_unreachable")
        return UnreachableError(f"{where}: {said}", code="docker_unreachable")


_REASONS: tuple[tuple[str, type[UnreachableError], str], ...] = (
    (
        r"^sudo: .*(password|try again|terminal|allowed|sudoers)",
        AuthError,
        "Check ansible_become, ansible_become_user and ansible_become_password.",
    ),
    (
        r"docker: .*not found|docker: No such file|not a docker command",
        UnreachableError,
        "Install Docker's command line there (docker-ce-cli or docker.io), for all users.",
    ),
    (
        r"permission denied",
        AuthError,
        "Add the user to the group docker there, which is as good as root; or set ansible_become.",
    ),
    (
        r"Cannot connect to the Docker daemon|no such file or directory|connection refused",
        UnreachableError,
        "Start it there: sudo systemctl start docker. For the same user `docker info` must work.",
    ),
)


class _Link:
    """Carries bytes between a channel and a socket until both ways have ended or one is gone."""

    def __init__(
        self,
        channel: paramiko.Channel,
        sock: socket.socket,
        forget: Callable[[_Link], None],
    ) -> None:
        self._channel = channel
        self._sock = sock
        self._forget = forget
        self._heard = False
        self._said = bytearray()
        self._down = threading.Thread(target=self._carry_down, daemon=True)
        self._errors = threading.Thread(target=self._collect_errors, daemon=True)
        self._up = threading.Thread(target=self._carry_up, daemon=True)

    def start(self) -> None:
        """Begin."""
        for thread in (self._errors, self._down, self._up):  # each joins those before it
            thread.start()

    def end(self) -> None:
        """Wake whoever waits on the socket, so that all ends."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def join(self) -> None:
        """Wait for the end."""
        self._up.join(_PATIENCE)

    def complaint(self) -> str:
        """What the command printed on stderr, in one line, where it printed nothing else."""
        if self._heard:
            return ""
        said = self._said.decode(errors="replace")
        said = " ".join("".join(c if c.isprintable() else " " for c in said).split())
        return said or (
            f"it ended with status {self._channel.exit_status}"
            if self._channel.exit_status_ready()
            else ""
        )

    def _carry_up(self) -> None:
        """To the engine; this thread also ends the link."""
        try:
            while data := self._sock.recv(_PIECE):
                self._channel.sendall(data)
            self._channel.shutdown_write()
            # Only half of the socket may be closed. The other half is too when it hangs up, or
            # when the engine has nothing more to say.
            poller = select.poll()
            poller.register(self._sock, 0)
            poller.poll()
        except _GONE:
            self._down.join(_PATIENCE)  # what the engine said before it went is still to be read
        finally:
            with contextlib.suppress(*_GONE):
                self._channel.close()
            self.end()
            self._down.join()
            self._errors.join()
            self._sock.close()
            self._forget(self)

    def _carry_down(self) -> None:
        """From the engine."""
        with contextlib.suppress(*_GONE):
            while data := self._channel.recv(_PIECE):
                self._heard = True
                self._sock.sendall(data)
            if not self._heard:
                self._errors.join(_PATIENCE)
                self._channel.status_event.wait(_PATIENCE)
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def _collect_errors(self) -> None:
        with contextlib.suppress(*_GONE):
            while data := self._channel.recv_stderr(_PIECE):
                self._said += data
                del self._said[:-_KEPT]
