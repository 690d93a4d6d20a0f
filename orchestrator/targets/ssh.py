"""A host reached over SSH: Fabric opens the connection, Paramiko channels carry the commands."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import paramiko
from fabric import Config, Connection
from fabric.connection import derive_shorthand

from orchestrator.errors import (
    AuthError,
    HostKeyError,
    InputError,
    UnreachableError,
)
from orchestrator.targets import channel as channels
from orchestrator.targets import commands, known_hosts, shell, ssh_config
from orchestrator.targets.link import Heard, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Self

    from orchestrator.targets.base import Completed, Part
    from orchestrator.targets.connection import ConnectionSpec

logging.getLogger("paramiko").addHandler(logging.NullHandler())

# AES-GCM first: one pass in OpenSSL for cipher and MAC, where CTR needs an HMAC beside it.
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_TRIES = 4
_FIRST = "orchestrate provision --user NAME"
_SYSTEM_KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")


class SSHTarget:
    """An open SSH connection; make one with `connect`."""

    def __init__(self, spec: ConnectionSpec, hops: Sequence[Connection]) -> None:
        self._spec = spec
        self._hops = hops
        self._transport: paramiko.Transport = hops[-1].transport
        self._watch = Watch(self._transport, spec.keepalive, lambda: close_hops(hops))

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

    def stream(self, command: str) -> paramiko.Channel:
        """A channel that is the command's stdin, stdout and stderr; the caller closes it.

        Raises UnreachableError.
        """
        channel = self._exec(command)
        if password := shell.sudo_password(self._spec):
            try:
                with self._watch.within(self._spec.connect_timeout):
                    channel.sendall(password)
            except (paramiko.SSHException, OSError, EOFError) as exc:
                raise channels.lost(self._spec.name) from exc
        return channel

    def close(self) -> None:
        """See Target."""
        self._watch.end()
        close_hops(self._hops)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _exec(self, command: str) -> paramiko.Channel:
        try:
            with self._watch.within(self._spec.connect_timeout):
                channel = self._transport.open_session(timeout=self._spec.connect_timeout)
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
        def send(data: bytes) -> int:
            with self._watch.within(timeout):
                return channel.send(data)

        channel.settimeout(timeout)
        try:
            if password := shell.sudo_password(self._spec):
                send(password)
            channels.feed(channel, chunks, send, on_sent)
        except (paramiko.SSHException, OSError, EOFError) as exc:
            raise channels.lost(self._spec.name) from exc


def connect(spec: ConnectionSpec) -> SSHTarget:
    """An open connection whose host key was found in known_hosts, jump hosts included.

    Raises UnreachableError or one of its kinds, and InventoryError for an ssh_config that
    cannot be read.
    """
    with explained(spec):
        hops, _ = prepared(spec)
    try:
        open_jumps(hops[:-1], spec)
        with explained(spec):
            _open(hops[-1], spec)
    except UnreachableError:
        close_hops(hops)
        raise
    return SSHTarget(spec, hops)


def prepared(spec: ConnectionSpec) -> tuple[list[Connection], frozenset[bytes]]:
    """The jump hosts in the order in which they are gone through, then the host itself.

    None is open. Each refuses keys that known_hosts does not have; those that it has as revoked
    are the second value.
    """
    hops = [_connection(spec)]
    while isinstance(hops[0].gateway, Connection):
        hops.insert(0, hops[0].gateway)
    revoked: frozenset[bytes] = frozenset()
    for hop in hops:
        keys = hop.client.get_host_keys()
        revoked |= known_hosts.load(known_hosts_files(spec, hop), keys)
    for hop in hops:
        # Fabric would add unknown keys silently (fabric/fabric#2071).
        hop.client.set_missing_host_key_policy(_Refuse(revoked))
    return hops, revoked


def open_jumps(jumps: Sequence[Connection], spec: ConnectionSpec) -> None:
    """Open the jump hosts one after the other; raises UnreachableError that names the bad one."""
    for jump in jumps:
        with explained(spec, jump):
            _open(jump, spec)


def close_hops(hops: Sequence[Connection]) -> None:
    """Close them, the nearest first: what runs through a dead link cannot say goodbye."""
    for hop in hops:
        hop.close()


def _open(hop: Connection, spec: ConnectionSpec) -> None:
    """Open the connection; a server that hangs up on newcomers is asked again.

    That is what sshd does beyond its MaxStartups, with some chance for each connection.
    """
    deadline = time.monotonic() + spec.connect_timeout
    for attempt in range(1, _TRIES + 1):
        try:
            hop.open()
        except Exception as exc:
            hop.client.close()
            pause = random.SystemRandom().uniform(0.1, 0.5) * 2**attempt
            late = time.monotonic() + pause > deadline
            if attempt == _TRIES or late or not _hung_up(exc):
                raise
            time.sleep(pause)
        else:
            return


def _hung_up(exc: Exception) -> bool:
    return isinstance(exc, (EOFError, ConnectionResetError)) or (
        type(exc) is paramiko.SSHException and "protocol banner" in str(exc)
    )


@contextlib.contextmanager
def explained(spec: ConnectionSpec, jump: Connection | None = None) -> Iterator[None]:
    """Turn whatever goes wrong with a connection into an UnreachableError that says why.

    `jump` is the jump host with which it goes wrong.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as exc:
        raise explain(exc, spec, jump) from exc


def _connection(spec: ConnectionSpec) -> Connection:
    # One a connection: Fabric changes it while it sets the connection up.
    config = Config(ssh_config=ssh_config.read(spec.ssh_config))
    keywords = _keywords(spec)
    keywords["compress"] = spec.compress
    if spec.password:
        keywords["password"] = spec.password
    return Connection(
        spec.address,
        user=spec.user,
        port=spec.port,
        config=config,
        connect_timeout=max(1, round(spec.connect_timeout)),
        connect_kwargs=keywords,
        gateway=spec.proxy_command or _gateway(spec, config, spec.address, spec.jump, ()),
    )


def _keywords(spec: ConnectionSpec) -> dict[str, Any]:
    keywords: dict[str, Any] = {"transport_factory": _transport}
    if spec.key_file:
        keywords["key_filename"] = [str(Path(spec.key_file).expanduser())]
    for name in ("banner_timeout", "auth_timeout", "channel_timeout"):
        keywords[name] = spec.connect_timeout
    return keywords


def _gateway(
    spec: ConnectionSpec, config: Config, host: str, jump: str, through: tuple[str, ...]
) -> Connection | str | bool:
    """What a host is reached through: jump hosts, a proxy command, or False for neither.

    `jump` is a ProxyJump that goes before the one of ssh_config. A jump host of ssh_config that is
    on the way already, in `through`, is passed over: `Host *` covers the jump host too.
    """
    options = config.base_ssh_config.lookup(host)
    hops = (jump or options.get("proxyjump", "none")).split(",")
    through = (*through, host)
    if not jump:
        hops = [hop for hop in hops if derive_shorthand(hop)["host"] not in through]
    gateway: Connection | str | bool = options.get("proxycommand") or False
    if not hops or hops[0].lower() == "none":
        return gateway
    names = [derive_shorthand(hop)["host"] for hop in hops]
    gateway = _gateway(spec, config, names[0], "", (*through, *names))
    for hop in hops:
        gateway = Connection(
            hop.strip(),
            config=config,
            connect_timeout=max(1, round(spec.connect_timeout)),
            connect_kwargs=_keywords(spec),
            gateway=gateway,
        )
    return gateway


def known_hosts_files(spec: ConnectionSpec, connection: Connection) -> list[Path]:
    """The known_hosts files that count for a host, most specific first."""
    names: list[str] = list(spec.known_hosts)
    names = names or connection.ssh_config.get("userknownhostsfile", "").split()
    return [Path(n).expanduser() for n in names or _SYSTEM_KNOWN_HOSTS]


class _RefusedHostKeyError(paramiko.SSHException):
    def __init__(self, key: paramiko.PKey, *, revoked: bool) -> None:
        super().__init__("host key refused")
        self.key = key
        self.revoked = revoked


class _Refuse(paramiko.MissingHostKeyPolicy):
    def __init__(self, revoked: frozenset[bytes]) -> None:
        self._revoked = revoked

    def missing_host_key(
        self,
        client: paramiko.SSHClient,  # noqa: ARG002
        hostname: str,  # noqa: ARG002
        key: paramiko.PKey,
    ) -> None:
        raise _RefusedHostKeyError(key, revoked=key.asbytes() in self._revoked)


def _transport(sock: socket.socket, **keywords: Any) -> paramiko.Transport:
    if isinstance(sock, socket.socket):
        # Without it every command waits 40 ms for a delayed acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(cast("socket.socket", Heard(sock)), **keywords)
    options = transport.get_security_options()
    options.ciphers = [*_CIPHERS, *(c for c in options.ciphers if c not in _CIPHERS)]
    return transport


def explain(
    exc: Exception, spec: ConnectionSpec, jump: Connection | None = None
) -> UnreachableError:
    """Why the connection, or the one to its jump host, could not be opened, and what to do."""
    where = f"{spec.name} ({spec.address}{f':{spec.port}' if spec.port else ''})"
    ssh = f"ssh {f'-p {spec.port} ' if spec.port else ''}"
    ssh += f"{spec.user + '@' if spec.user else ''}{spec.address}"
    if jump:
        where = f"{spec.name}: its jump host {jump.host}:{jump.port}"
        ssh = f"ssh -p {jump.port} {jump.user}@{jump.host}"
    if spec.ssh_config:
        ssh += f" -F {spec.ssh_config}"
    if isinstance(exc, (_RefusedHostKeyError, paramiko.BadHostKeyException)):
        return _bad_key(exc, where, ssh, spec, jump)
    if isinstance(exc, paramiko.AuthenticationException) or "authentication" in str(exc):
        user = jump.user if jump else spec.user or "of the ssh config"
        named = "the user in orchestrate_docker_host" if spec.docker_host else "ansible_user"
        new = f"; on a machine that nobody has set up yet: {_FIRST} --limit {spec.name}"
        return AuthError(
            f"{where}: user '{user}' was refused: {exc}",
            hint=f"Check {named} and ansible_ssh_private_key_file; try: {ssh} -v"
            + ("" if jump or spec.docker_host else new),
        )
    named = (
        "is orchestrate_docker_host" if spec.docker_host else "are ansible_host and ansible_port"
    )
    return UnreachableError(
        f"{where}: {_cause(exc)}",
        hint=("" if jump else f"Is the host on, and {named} right? ") + f"Try: {ssh} -v",
    )


def _bad_key(
    exc: _RefusedHostKeyError | paramiko.BadHostKeyException,
    where: str,
    ssh: str,
    spec: ConnectionSpec,
    jump: Connection | None,
) -> HostKeyError:
    key = f"{exc.key.get_name()} {exc.key.fingerprint}"
    if spec.known_hosts:
        ssh += f" -o UserKnownHostsFile={spec.known_hosts[0]}"
    if isinstance(exc, paramiko.BadHostKeyException):
        hint = f"orchestrate trust {spec.name} --replace"
        if jump:
            file = f" -f {spec.known_hosts[0]}" if spec.known_hosts else ""
            hint = f"ssh-keygen{file} -R '{known_hosts.name_of(jump.host, jump.port)}' && {ssh}"
        return HostKeyError(
            f"{where}: the host key CHANGED; it is now {key}",
            code="host_key_mismatch",
            hint=f"Somebody may be in between. If the host was reinstalled: {hint}",
        )
    if exc.revoked:
        return revoked_key(where, exc.key)
    return HostKeyError(
        f"{where}: the host key {key} is not known",
        code="host_key_unknown",
        hint="Compare it with the host's own, then: "
        + (f"{ssh} (and answer yes)" if jump else f"orchestrate trust {spec.name}"),
    )


def revoked_key(where: str, key: paramiko.PKey) -> HostKeyError:
    """The error for a key that known_hosts says nobody may use any more."""
    return HostKeyError(
        f"{where}: the host key {key.get_name()} {key.fingerprint} is revoked in known_hosts",
        code="host_key_revoked",
        hint="Make new host keys there: rm /etc/ssh/ssh_host_*_key*; ssh-keygen -A; "
        "then restart sshd.",
    )


def _cause(exc: Exception) -> str:
    if isinstance(exc, paramiko.ssh_exception.NoValidConnectionsError):
        return "connection refused or no route"
    if isinstance(exc, TimeoutError) or "No existing session" in str(exc):
        return "no answer in time"
    if isinstance(exc, socket.gaierror):
        return f"the name cannot be resolved ({exc.strerror})"
    return str(exc) or type(exc).__name__
