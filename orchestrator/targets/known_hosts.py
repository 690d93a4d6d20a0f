"""known_hosts files, as far as they can be read (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT")."""

from __future__ import annotations

from binascii import Error as Base64Error
from typing import TYPE_CHECKING

import paramiko
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

REVOKED = "@revoked"


def load(paths: Iterable[Path], into: paramiko.HostKeys) -> frozenset[bytes]:
    """Add the keys of the files to `into`, the first of a name and kind; returns revoked keys.

    A key that is revoked for any host is revoked for all of them, and not added. Lines that make
    no sense are passed over, as are `@cert-authority` ones: host certificates are not supported,
    so that what only they vouch for counts as unknown. A file that is not there has no lines.
    """
    plain: list[HostKeyEntry] = []
    revoked: set[bytes] = set()
    for path in paths:
        for line in lines(path):
            marker, text = ("", line)
            if line.startswith("@"):
                marker, _, text = line.partition(" ")
            if found := entry(text):
                if marker == REVOKED:
                    revoked.add(found.key.asbytes())
                elif not marker:
                    plain.append(found)
    for found in plain:
        if found.key.asbytes() not in revoked:
            _add(found, into)
    return frozenset(revoked)


def name_of(host: str, port: int) -> str:
    """The host as known_hosts names it."""
    return host if port == paramiko.config.SSH_PORT else f"[{host}]:{port}"


def lines(path: Path) -> list[str]:
    """The file's lines; none where it is no file or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return []


def entry(line: str) -> HostKeyEntry | None:
    """The names and the key of an unmarked line; None for anything else."""
    line = line.strip()
    if not line or line[0] in "#@":
        return None
    try:
        return HostKeyEntry.from_line(" ".join(line.split()))
    except (InvalidHostKey, Base64Error, paramiko.SSHException, ValueError):
        return None


def _add(found: HostKeyEntry, into: paramiko.HostKeys) -> None:
    kind = found.key.get_name()
    for name in found.hostnames:
        known = into.lookup(name)
        if known is None or kind not in known:
            into.add(name, kind, found.key)
