"""Wrapping command lines: as another user, and so that they end in time."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.targets.connection import ConnectionSpec

BEGIN = "orchestrate-stdin-begins"
GRACE = 10.0  # seconds that the host gets to end a command by itself before we give up on it


def limited(command: str, seconds: float) -> str:
    """`command` that is killed on the host after `seconds`, so that nothing outlives the run.

    Where the host has no `timeout`, the command runs unlimited and only we stop waiting.
    """
    whole = max(1, round(seconds))
    inner = quote(command)
    return (
        "if command -v timeout >/dev/null 2>&1; then "
        # What runs in the background gets /dev/null if it is not given its stdin like this.
        f"exec 3<&0; timeout -k 5 {whole} sh -c {inner} <&3 3<&- & group=$!; exec 3<&-; "
        "wait $group; status=$?; "
        # What does not heed SIGTERM outlives the sh that timeout(1) watches.
        "case $status in 124|137) kill -KILL -$group 2>/dev/null;; esac; exit $status; "
        f"else exec sh -c {inner}; fi"
    )


def as_user(command: str, spec: ConnectionSpec) -> str:
    """`command` for the login shell, under sudo where the inventory says `ansible_become`.

    A sudo password is expected as the first line of stdin (`sudo_password`), never in argv.
    """
    inner = f"exec sh -c {quote(command)}"
    if not spec.become:
        return inner
    if not spec.become_password:
        return f"exec sudo -n -u {quote(spec.become_user)} -- {inner.removeprefix('exec ')}"
    # sudo that remembers, or that needs no password here, leaves the password unread: what stands
    # before the mark must never reach the command.
    skip = f'while IFS= read -r line && [ "$line" != {BEGIN} ]; do :; done; {inner}'
    return f"exec sudo -S -p '' -u {quote(spec.become_user)} -- sh -c {quote(skip)}"


def sudo_password(spec: ConnectionSpec) -> bytes:
    """What has to go first on stdin: the sudo password and the mark after it, or nothing."""
    if spec.become and spec.become_password:
        return f"{spec.become_password}\n{BEGIN}\n".encode()
    return b""
