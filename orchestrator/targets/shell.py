"""Wrapping command lines: as another user, and so that they end in time."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.targets.connection import ConnectionSpec

GRACE = 10.0  # seconds that the host gets to end a command by itself before we give up on it


def limited(command: str, seconds: float) -> str:
    """`command` that is killed on the host after `seconds`, so that nothing outlives the run.

    Where the host has no `timeout`, the command runs unlimited and only we stop waiting.
    """
    whole = max(1, round(seconds))
    inner = quote(command)
    return (
        f"if command -v timeout >/dev/null 2>&1; then exec timeout -k 5 {whole} sh -c {inner}; "
        f"else exec sh -c {inner}; fi"
    )


def as_user(command: str, spec: ConnectionSpec) -> str:
    """`command` for the login shell, under sudo where the inventory says `ansible_become`.

    A sudo password is expected as the first line of stdin (`sudo_password`), never in argv.
    """
    if not spec.become:
        return f"exec sh -c {quote(command)}"
    ask = "-S -p ''" if spec.become_password else "-n"
    return f"exec sudo {ask} -u {quote(spec.become_user)} -- sh -c {quote(command)}"


def sudo_password(spec: ConnectionSpec) -> bytes:
    """What has to go first on stdin: the sudo password, or nothing."""
    if spec.become and spec.become_password:
        return spec.become_password.encode() + b"\n"
    return b""
