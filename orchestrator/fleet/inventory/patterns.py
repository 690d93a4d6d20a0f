"""Ansible's host patterns: which hosts `--limit` and `--group` mean.

The language is that of
https://docs.ansible.com/ansible/latest/inventory_guide/intro_patterns.html
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from orchestrator.fleet.inventory import addresses
from orchestrator.fleet.inventory.names import suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.fleet.host import Host, Inventory

_SUBSCRIPT = re.compile(r"(.+)\[(?:(-?[0-9]+)|([0-9]+)[:-]([0-9]*))\]")
_COLON_SEPARATED = re.compile(r"(?:[^\s:\[\]]|\[[^\]]*\])+")
_PAIRED = re.compile(r"[^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*")
_WILD = frozenset("*?[")


def select(
    inventory: Inventory, limit: str | None = None, groups: Sequence[str] = ()
) -> tuple[Host, ...]:
    """The hosts of `groups` (of all, when none is named) that `limit` matches, each once.

    In the order of the groups, or without groups in that of the pattern. Raises UsageError for a
    name that is neither host nor group, for a pattern that cannot be read, and when nothing is
    left.
    """
    names = _of_groups(inventory, groups) if groups else None
    if limit is not None:
        limited = matching(inventory, limit)
        names = limited if names is None else [name for name in names if name in set(limited)]
    if names is None:
        names = list(inventory.groups.get("all", ()))
    if not names:
        hint = "See them all: orchestrate inventory"
        if not inventory.hosts:
            hint = "Add one: orchestrate inventory add HOST --group GROUP --address ADDRESS"
        raise UsageError(_nothing_left(limit, groups), hint=hint)
    return tuple(inventory.hosts[name] for name in names)


def matching(inventory: Inventory, pattern: str) -> list[str]:
    """The names of the hosts that the pattern matches, in Ansible's order, each once."""
    parts = split(pattern)
    included = [part for part in parts if part[0] not in "!&"] or ["all"]
    hosts: dict[str, None] = {}
    for part in included:
        hosts.update(dict.fromkeys(_match(inventory, part)))
    for part in (part for part in parts if part[0] == "&"):
        wanted = set(_match(inventory, part[1:]))
        hosts = {host: None for host in hosts if host in wanted}
    for part in (part for part in parts if part[0] == "!"):
        unwanted = set(_match(inventory, part[1:]))
        hosts = {host: None for host in hosts if host not in unwanted}
    return list(hosts)


def split(pattern: str) -> list[str]:
    """The pattern's parts: separated by commas, or by colons where those are not an address's.

    Raises UsageError where there are none, which would mean all hosts, and for a bracket alone.
    """
    dropped = ""
    if "," in pattern:
        parts = pattern.split(",")
    elif addresses.split_port(pattern):
        parts = [pattern]
    else:
        parts = _COLON_SEPARATED.findall(pattern)
        dropped = _COLON_SEPARATED.sub("", pattern)
    found = [part.strip() for part in parts if part.strip()]
    if not found:
        raise UsageError(
            f"the host pattern '{pattern}' is empty", hint="For every host write: --limit all"
        )
    if not ("~" in pattern or _PAIRED.fullmatch(pattern)) or any(c in "[]" for c in dropped):
        raise UsageError(
            f"the host pattern '{pattern}' has a '[' or ']' without the other",
            hint="Write it as in 'jetsons[0:2]' or 'pi[123]'.",
        )
    return found


def _match(inventory: Inventory, part: str) -> list[str]:
    """The hosts that one part without its `!` or `&` means; a host's own name comes first."""
    if part in inventory.hosts:
        return [part]
    if not part:
        raise UsageError("'!' and '&' need a pattern after them", hint="As in 'jetsons:!jetson-3'.")
    expression, index = part, None
    if not part.startswith("~") and (found := _SUBSCRIPT.fullmatch(part)):
        expression, index = found[1], _slice(found)
    hosts = _enumerate(inventory, expression)
    if index is None or not hosts:
        return hosts
    chosen = hosts[index]
    if not chosen and index.stop is not None and index.stop == index.start + 1:
        raise UsageError(
            f"'{part}': there is no such host, '{expression}' has {len(hosts)}",
            hint=f"Count from 0 to {len(hosts) - 1}.",
        )
    return chosen


def _slice(found: re.Match[str]) -> slice:
    """A subscript as a slice; Ansible's ranges include their end."""
    _, single, first, last = found.groups()
    if single is not None:
        return slice(int(single), int(single) + 1 or None)
    return slice(int(first), int(last) + 1 if last else None)


def _enumerate(inventory: Inventory, expression: str) -> list[str]:
    matches = _matcher(expression)
    groups = [name for name in inventory.groups if matches(name)]
    hosts = [host for name in groups for host in inventory.groups[name]]
    if not groups or expression.startswith("~") or any(char in expression for char in ".?*["):
        hosts += [name for name in inventory.hosts if matches(name)]
    is_name = not expression.startswith("~") and not _WILD & set(expression)
    if is_name and not groups and not hosts:
        raise UsageError(
            f"'{expression}' is neither a host nor a group of the inventory",
            hint=suggestion(expression, {*inventory.groups, *inventory.hosts}),
        )
    return hosts


def _matcher(expression: str) -> Callable[[str], object]:
    regex = expression[1:] if expression.startswith("~") else fnmatch.translate(expression)
    try:
        return re.compile(regex).match
    except re.error as exc:
        raise UsageError(
            f"'{expression}' is no regular expression: {exc}",
            hint="After '~' comes a Python regex.",
        ) from exc


def _of_groups(inventory: Inventory, groups: Sequence[str]) -> list[str]:
    hosts: dict[str, None] = {}
    for group in groups:
        if group not in inventory.groups:
            raise UsageError(
                f"the inventory has no group '{group}'", hint=suggestion(group, inventory.groups)
            )
        hosts.update(dict.fromkeys(inventory.groups[group]))
    return list(hosts)


def _nothing_left(limit: str | None, groups: Sequence[str]) -> str:
    if limit is None:
        return f"no hosts in {', '.join(groups)}" if groups else "the inventory has no hosts"
    among = f" of {', '.join(groups)}" if groups else ""
    return f"no host{among} matches --limit '{limit}'"
