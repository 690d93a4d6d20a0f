"""A host reached over SSH: Fabric opens the connection, Paramiko channels carry the commands."""

from __future__ import annotations

import contextlib
import logging
import socket
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko
from fabric import Config, Connection

from orchestrator.errors import AuthError, HostKeyError, UnreachableError
from orchestrator.targets import channel as channels
from orchestrator.targets import known_hosts, shell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    from orchestrator.targets.base import Completed
    from orchestrator.targets.connection import ConnectionSpec

logging.getLogger("paramiko").addHandler(logging.NullHandler())

# AES-GCM first: one pass in OpenSSL for cipher and MAC, where CTR needs an HMAC beside it.
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_SYSTEM_KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")


class SSHTarget:
    """An open SSH connection; make one with `connect`."""

    def __init__(self, spec: ConnectionSpec, connection: Connection) -> None:
        self._spec = spec
        self._connection = connection

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout: float,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        """See Target."""
        channel = self._exec(shell.limited(command, timeout))
        with channels.closing(channel):
            self._feed(channel, [stdin] if stdin else [], lambda _: None, timeout)
            return channels.collect(
                channel,
                self._spec.name,
                command,
                timeout=timeout,
                grace=shell.GRACE,
                on_line=on_line,
            )

    def upload(
        self,
        command: str,
        chunks: Iterable[bytes],
        *,
        timeout: float,
        on_sent: Callable[[int], None],
    ) -> Completed:
        """See Target."""
        channel = self._exec(command)
        with channels.closing(channel):
            self._feed(channel, chunks, on_sent, timeout)
            return channels.collect(channel, self._spec.name, command, timeout=timeout)

    def close(self) -> None:
        """See Target."""
        self._connection.close()
        gateway = self._connection.gateway
        while isinstance(gateway, Connection):
            gateway.close()
            gateway = gateway.gateway

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _exec(self, command: str) -> paramiko.Channel:
        try:
            channel: paramiko.Channel = self._connection.transport.open_session(
                timeout=self._spec.connect_timeout
            )
            channel.exec_command(shell.as_user(command, self._spec).encode())
        except (paramiko.SSHException, OSError, EOFError) as exc:
            raise channels.lost(self._spec.name) from exc
        return channel

    def _feed(
        self,
        channel: paramiko.Channel,
        chunks: Iterable[bytes],
        on_sent: Callable[[int], None],
        timeout: float,
    ) -> None:
        channel.settimeout(timeout)
        try:
            password = shell.sudo_password(self._spec)
            if password:
                channel.sendall(password)
            channels.feed(channel, chunks, on_sent)
        except (paramiko.SSHException, OSError, EOFError) as exc:
            raise channels.lost(self._spec.name) from exc


def connect(spec: ConnectionSpec) -> SSHTarget:
    """An open connection whose host key was found in known_hosts, jump hosts included.

    Raises HostKeyError, AuthError or UnreachableError.
    """
    connection = prepared(spec)
    try:
        with explained(spec):
            connection.open()
    except UnreachableError:
        connection.close()
        raise
    connection.transport.set_keepalive(int(spec.keepalive))
    return SSHTarget(spec, connection)


def prepared(spec: ConnectionSpec) -> Connection:
    """The connection before it is opened, its jump hosts with it; unknown keys are refused."""
    connection = _connection(spec)
    _secure(connection, spec)
    return connection


@contextlib.contextmanager
def explained(spec: ConnectionSpec) -> Iterator[None]:
    """Turn whatever goes wrong with a connection into an UnreachableError that says why."""
    try:
        yield
    except Exception as exc:
        raise explain(exc, spec) from exc


def _connection(spec: ConnectionSpec) -> Connection:
    keywords: dict[str, Any] = {"transport_factory": _transport, "compress": spec.compress}
    if spec.key_file:
        keywords["key_filename"] = [str(Path(spec.key_file).expanduser())]
    if spec.password:
        keywords["password"] = spec.password
    keywords["banner_timeout"] = keywords["auth_timeout"] = spec.connect_timeout
    return Connection(
        spec.address,
        user=spec.user,
        port=spec.port,
        config=_config(spec.ssh_config),
        connect_timeout=max(1, round(spec.connect_timeout)),
        connect_kwargs=keywords,
        gateway=_gateway(spec),
    )


@cache
def _config(path: str) -> Config:
    """Fabric's configuration with ~/.ssh/config, or the file of `-F`, read once a process."""
    return Config(runtime_ssh_path=str(Path(path).expanduser())) if path else Config()


def _gateway(spec: ConnectionSpec) -> Connection | str | None:
    if spec.proxy_command:
        return spec.proxy_command
    gateway = None
    for hop in filter(None, spec.jump.split(",")):
        keywords: dict[str, Any] = {"transport_factory": _transport}
        if spec.key_file:
            keywords["key_filename"] = [str(Path(spec.key_file).expanduser())]
        gateway = Connection(
            hop,
            config=_config(spec.ssh_config),
            connect_timeout=max(1, round(spec.connect_timeout)),
            connect_kwargs=keywords,
            gateway=gateway,
        )
    return gateway


def _secure(connection: Connection, spec: ConnectionSpec) -> None:
    """Make the connection and its jump hosts refuse keys that known_hosts does not have.

    Fabric would add unknown keys silently (fabric/fabric#2071).
    """
    hop: Connection | str | None = connection
    while isinstance(hop, Connection):
        for path in known_hosts_files(spec, hop):
            known_hosts.load(path, hop.client.load_system_host_keys)
        hop.client.set_missing_host_key_policy(_Refuse())
        hop = hop.gateway


def known_hosts_files(spec: ConnectionSpec, connection: Connection | None = None) -> list[Path]:
    """The known_hosts files that count for a host, most specific first."""
    names: list[str] = list(spec.known_hosts)
    if not names:
        connection = connection or _connection(spec)
        names = connection.ssh_config.get("userknownhostsfile", "").split()
    return [Path(n).expanduser() for n in names or _SYSTEM_KNOWN_HOSTS]


class _UnknownHostKeyError(paramiko.SSHException):
    def __init__(self, hostname: str, key: paramiko.PKey) -> None:
        super().__init__(f"unknown host key for {hostname}")
        self.hostname = hostname
        self.key = key


class _Refuse(paramiko.MissingHostKeyPolicy):
    def missing_host_key(
        self,
        client: paramiko.SSHClient,  # noqa: ARG002
        hostname: str,
        key: paramiko.PKey,
    ) -> None:
        raise _UnknownHostKeyError(hostname, key)


def _transport(sock: socket.socket, **keywords: Any) -> paramiko.Transport:
    if isinstance(sock, socket.socket):
        # Without it every command waits 40 ms for a delayed acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(sock, **keywords)
    options = transport.get_security_options()
    options.ciphers = [*_CIPHERS, *(c for c in options.ciphers if c not in _CIPHERS)]
    return transport


def explain(exc: Exception, spec: ConnectionSpec) -> UnreachableError:
    """Why the connection could not be opened, and what to do about it."""
    where = f"{spec.name} ({spec.address}{f':{spec.port}' if spec.port else ''})"
    if isinstance(exc, _UnknownHostKeyError):
        return HostKeyError(
            f"{where}: the host key {exc.key.get_name()} {exc.key.fingerprint} is not known",
            code="host_key_unknown",
            hint=f"Compare it with the host's own, then: orchestrate trust {spec.name}",
        )
    if isinstance(exc, paramiko.BadHostKeyException):
        return HostKeyError(
            f"{where}: the host key CHANGED; it is now {exc.key.get_name()} {exc.key.fingerprint}",
            code="host_key_mismatch",
            hint="Somebody may be in between. If the host was reinstalled: "
            f"orchestrate trust {spec.name} --replace",
        )
    if isinstance(exc, paramiko.AuthenticationException) or "authentication" in str(exc):
        return AuthError(
            f"{where}: user '{spec.user or 'of the ssh config'}' was refused: {exc}",
            hint="Check ansible_user and ansible_ssh_private_key_file; "
            f"try: ssh -v {spec.user + '@' if spec.user else ''}{spec.address}",
        )
    return UnreachableError(
        f"{where}: {_cause(exc)}",
        hint="Is the host on, and are ansible_host and ansible_port right? "
        f"Then: orchestrate deploy --limit {spec.name}",
    )


def _cause(exc: Exception) -> str:
    if isinstance(exc, paramiko.ssh_exception.NoValidConnectionsError):
        return "connection refused or no route"
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, socket.gaierror):
        return f"the name cannot be resolved ({exc.strerror})"
    return str(exc) or type(exc).__name__
