"""Reading a host's key and adding it to known_hosts, on an operator's word."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import paramiko

from orchestrator.files import write_atomically
from orchestrator.targets import known_hosts, ssh

if TYPE_CHECKING:
    from pathlib import Path

    from fabric import Connection

    from orchestrator.targets.connection import ConnectionSpec

OWNER_ONLY = 0o600


@dataclass(frozen=True, slots=True)
class OfferedKey:
    """The key a host offers: `name` is its entry in known_hosts, `known` what stands there.

    `fingerprint` is SHA256 as ssh-keygen prints it. `known` is `yes`, `no` or `changed`.
    """

    name: str
    kind: str
    fingerprint: str
    known: str
    key: paramiko.PKey
    file: Path


def offered_key(spec: ConnectionSpec) -> OfferedKey:
    """Ask the host for its key without logging in, through its jump hosts.

    Raises UnreachableError. Jump hosts themselves must be known already.
    """
    with ssh.explained(spec):
        hops, revoked = ssh.prepared(spec)
    connection = hops[-1]
    try:
        ssh.open_jumps(hops[:-1], spec)
        with ssh.explained(spec):
            sock = connection.open_gateway() if connection.gateway else _dial(connection, spec)
            transport = paramiko.Transport(sock)
        with transport, ssh.explained(spec):
            transport.banner_timeout = spec.connect_timeout
            transport.start_client(timeout=spec.connect_timeout)
            key = transport.get_remote_server_key()
    finally:
        ssh.close_hops(hops)
    if key.asbytes() in revoked:
        raise ssh.revoked_key(spec.name, key)
    name = known_hosts.name_of(connection.host, connection.port)
    file = ssh.known_hosts_files(spec, connection)[0]
    entries = paramiko.HostKeys()
    known_hosts.load([file], entries)
    before = entries.lookup(name)
    if before is None:
        known = "no"
    else:
        known = "yes" if entries.check(name, key) else "changed"
    return OfferedKey(name, key.get_name(), key.fingerprint, known, key, file)


def remember(offered: OfferedKey) -> None:
    """Write the key into known_hosts, in place of any other of that name."""
    offered.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    before = offered.file.read_bytes() if offered.file.is_file() else b""
    lines = before.decode(errors="surrogateescape").rstrip("\n").split("\n") if before else []
    kept = [line for line in lines if not _is_of(line, offered.name)]
    kept.append(f"{offered.name} {offered.kind} {offered.key.get_base64()}")
    text = "\n".join(kept) + "\n"
    write_atomically(offered.file.resolve(), text.encode(errors="surrogateescape"), mode=OWNER_ONLY)


def _is_of(line: str, name: str) -> bool:
    """Whether the line has a plain key of the host; comments and marked lines have none."""
    entry = known_hosts.entry(line)
    if entry is None:
        return False
    entries = paramiko.HostKeys()
    for host in entry.hostnames:
        entries.add(host, entry.key.get_name(), entry.key)
    return entries.lookup(name) is not None


def _dial(connection: Connection, spec: ConnectionSpec) -> socket.socket:
    return socket.create_connection(
        (connection.host, connection.port), timeout=spec.connect_timeout
    )
