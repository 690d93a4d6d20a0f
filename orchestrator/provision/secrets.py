"""Secrets that must not be shown or stored, and texts without them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.fleet.host import Host

MASK = "********"
SHORTEST = 3  # what is shorter would mask half of every text
# What may be secret in a URL: the password, or a token in the place of the user.
_IN_URL = re.compile(r"https?://(?:[^/@:\s]*:)?([^/@:\s]+)@")
# What may be signed or a token: every `name=value` of its query.
_QUERY = re.compile(r"https?://[^\s?#]*\?([^\s#'\"]+)")


def of_hosts(hosts: Iterable[Host], *more: str) -> frozenset[str]:
    """The passwords that stand in the hosts' variables, also in URLs, and `more`."""
    given = [(name, value) for host in hosts for name, value in host.vars.items()]
    found = {
        str(value)
        for name, value in given
        if "pass" in name and isinstance(value, (str, int)) and not isinstance(value, bool)
    }
    texts = [str(value) for _, value in given]
    in_urls = {secret for text in texts for secret in _IN_URL.findall(text)}
    queries = {query for text in texts for query in _QUERY.findall(text)}
    signed = {each for query in queries for each in query.split("&") if "=" in each}
    every = {*found, *in_urls, *signed, *more}
    return frozenset(secret for secret in every if len(secret) >= SHORTEST)


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
