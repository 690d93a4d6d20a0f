"""Secrets that must not be shown or stored, and texts without them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.fleet.host import Host

MASK = "********"
SHORTEST = 3  # what is shorter would mask half of every text


def of_hosts(hosts: Iterable[Host], *more: str) -> frozenset[str]:
    """The passwords that stand in the hosts' variables, and `more`."""
    found = {
        str(value)
        for host in hosts
        for name, value in host.vars.items()
        if "pass" in name and isinstance(value, (str, int)) and not isinstance(value, bool)
    }
    return frozenset(secret for secret in {*found, *more} if len(secret) >= SHORTEST)


def mask(document: dict[str, Any], secrets: Iterable[str]) -> None:
    """Replace the secrets wherever they stand in a document, keys included, in place."""
    longest_first = sorted(secrets, key=len, reverse=True)
    if longest_first:
        masked = _masked(document, longest_first)
        document.clear()
        document.update(masked)


def _masked(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, dict):
        return {_masked(key, secrets): _masked(each, secrets) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked(each, secrets) for each in value]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return MASK if number and str(value) in secrets else value
