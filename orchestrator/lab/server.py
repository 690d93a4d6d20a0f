"""One host of the lab: an SSH server that runs commands for real, in the host's own folder."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pwd
import signal
import socket
from typing import TYPE_CHECKING

import asyncssh

from orchestrator.lab.link import Link, bridge
from orchestrator.lab.processes import HOST_MARK, MARK

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.lab.identities import Identity

    _Source = asyncio.StreamReader | asyncssh.SSHReader[bytes]
    _Sink = asyncio.StreamWriter | asyncssh.SSHWriter[bytes]

ADDRESS = "127.0.0.1"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LOGIN_SECONDS = 30
BACKLOG = 128

HANGUP_SECONDS = 1.0
SLICE = 256 * 1024

log = logging.getLogger(__name__)


def public_key(key: asyncssh.SSHKey) -> str:
    """The public half as known_hosts and authorized_keys have it: `ssh-ed25519 AAAA…`."""
    return " ".join(key.export_public_key().decode("ascii").split()[:2])


def furnish(folder: Path, identity: Identity) -> None:
    """Write a host's home/, sysroot/ and bin/ into `folder`."""
    (folder / "home").mkdir(parents=True)
    for name, text in identity.files.items():
        path = folder / "sysroot" / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "bin").mkdir()
    for name, text in identity.programs.items():
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}", encoding="utf-8")
        program.chmod(0o755)


def environment(folder: Path, token: str) -> dict[str, str]:
    """What a command on the host sees, and nothing of the operator's own environment."""
    user = pwd.getpwuid(os.getuid()).pw_name
    home = str(folder / "home")
    return {
        "HOME": home,
        "PWD": home,
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/sh",
        "LANG": "C.UTF-8",
        "PATH": f"{folder / 'bin'}:{SYSTEM_PATH}",
        "ORCHESTRATE_SYSROOT": str(folder / "sysroot"),
        "ORCHESTRATE_LAB_PATH": SYSTEM_PATH,
        "ORT_DISABLE_TELEMETRY": "1",
        MARK: token,
        HOST_MARK: folder.name,
    }


class HostServer:
    """The SSH server of one host: `open` it, `close` it, change its `link` or its host key.

    `port` is the port it listens on once open, and asks for when opened again. `client_key` is the
    public key of the one user it lets in.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        token: str,
        client_key: str,
        link: Link,
    ) -> None:
        self.folder = folder
        self.port = port
        self.link = link
        self._environment = environment(folder, token)
        self._authorized = asyncssh.import_authorized_keys(client_key)
        self._host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._own_key = self._host_key
        self._accepting: asyncio.Task[None] | None = None
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def public_key(self) -> str:
        """The public half of the host key it was made with, as in known_hosts."""
        return public_key(self._own_key)

    @property
    def is_open(self) -> bool:
        """Whether connections are taken."""
        return self._accepting is not None

    async def open(self) -> None:
        """Listen on `port`, or on any free one when it is 0; raises OSError."""
        if self.is_open:
            return
        listener = socket.create_server((ADDRESS, self.port), backlog=BACKLOG)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept(listener))

    async def refuse(self) -> None:
        """Stop listening; connections that exist stay."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._accepting = None

    async def close(self) -> None:
        """Stop listening, end every connection and the commands that run on it."""
        await self.refuse()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    def change_host_key(self, *, back: bool) -> None:
        """Show new connections another host key, or again the one it was made with."""
        self._host_key = self._own_key if back else asyncssh.generate_private_key("ssh-ed25519")

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                connection, _ = await loop.sock_accept(listener)
                task = asyncio.create_task(self._serve(connection))
                self._serving.add(task)
                task.add_done_callback(self._serving.discard)

    async def _serve(self, connection: socket.socket) -> None:
        """Speak SSH on one accepted connection until it closes."""
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.link.plain:
            await self._speak(connection)
            return
        outside, inside = socket.socketpair()
        bridging = asyncio.create_task(bridge(self.link, connection, outside))
        try:
            await self._speak(inside)
            await bridging
        finally:
            bridging.cancel()
            await asyncio.gather(bridging, return_exceptions=True)

    async def _speak(self, connection: socket.socket) -> None:
        try:
            ssh = await asyncssh.run_server(
                connection,
                server_host_keys=[self._host_key],
                authorized_client_keys=self._authorized,
                process_factory=self._run,
                encoding=None,
                allow_pty=False,
                agent_forwarding=False,
                compression_algs=None,
                gss_host=None,
                login_timeout=LOGIN_SECONDS,
            )
        except (OSError, asyncssh.Error) as exc:
            log.info("%s: no login: %s", self.folder.name, exc)
            return
        try:
            await ssh.wait_closed()
        finally:
            ssh.abort()
            with contextlib.suppress(OSError, asyncssh.Error):
                await ssh.wait_closed()

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Run the command of one channel and report how it ended.

        When the channel closes first, the command's stdin ends after what has arrived, as behind
        OpenSSH; what of its process group has not ended soon after is killed.
        """
        if process.subsystem:
            process.exit(1)
            return
        command = ["/bin/sh"] if process.command is None else ["/bin/sh", "-c", process.command]
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=SLICE,
            env=self._environment,
            cwd=self.folder / "home",
            start_new_session=True,
        )
        finished = asyncio.ensure_future(_converse(process, child))
        closed = asyncio.ensure_future(process.channel.wait_closed())
        try:
            await asyncio.wait([finished, closed], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([finished], timeout=HANGUP_SECONDS)
        finally:
            closed.cancel()
            finished.cancel()
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
            await asyncio.gather(finished, return_exceptions=True)
            await child.wait()


async def _converse(
    process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process
) -> None:
    """Carry a command's three streams, then tell the client how it ended."""
    assert child.stdin is not None  # noqa: S101
    assert child.stdout is not None  # noqa: S101
    assert child.stderr is not None  # noqa: S101
    feeding = asyncio.ensure_future(_pump(process.stdin, child.stdin))
    try:
        await asyncio.gather(
            _pump(child.stdout, process.stdout), _pump(child.stderr, process.stderr)
        )
        status = await child.wait()
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
    with contextlib.suppress(OSError):
        if status < 0:
            process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        else:
            process.exit(status)


async def _pump(source: _Source, sink: _Sink) -> None:
    """Carry bytes until `source` ends or `sink` is gone, holding `source` back when it is slow.

    Closes only a command's stdin: the client's streams end with the exit status.
    """
    try:
        with contextlib.suppress(ConnectionError, asyncssh.Error):
            while data := await source.read(SLICE):
                sink.write(data)
                await sink.drain()
    finally:
        if isinstance(sink, asyncio.StreamWriter):
            sink.close()
