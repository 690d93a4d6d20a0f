"""The tree of groups: who is in which group, how deep, and in which order."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from orchestrator.fleet.inventory import addresses, documents
from orchestrator.fleet.inventory.problems import FileError, file_error
from orchestrator.fleet.inventory.sources import kind_of
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECTIONS = ("hosts", "children", "vars")
IMPLICIT_GROUPS = ("all", "ungrouped")


@dataclass(slots=True)
class Group:
    """A group under construction; hosts and children are its direct members, in file order."""

    name: str
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    parents: dict[str, None] = field(default_factory=dict)
    vars: dict[str, Any] = field(default_factory=dict)
    priority: int = 1


class Tree:
    """Groups and hosts gathered from one source after the other.

    `hosts` maps a name to the variables written beside it. Call `settle` when all is added.
    """

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self.hosts: dict[str, dict[str, Any]] = {}
        self._edges: dict[tuple[str, str], tuple[Path, tuple[str, ...]]] = {}
        for name in IMPLICIT_GROUPS:
            self.group(name)
        self.add_child("all", "ungrouped")

    def group(self, name: str) -> Group:
        """The group of that name, made when it is new."""
        return self.groups.setdefault(name, Group(name))

    def add_child(self, parent: str, child: str) -> None:
        """Put the group `child` into `parent`."""
        self.group(parent).children[child] = None
        self.group(child).parents[parent] = None

    def add_host(self, name: str, group: str) -> dict[str, Any]:
        """Put the host into the group; returns the variables written beside it so far."""
        self.group(group).hosts[name] = None
        return self.hosts.setdefault(name, {})

    def add_document(self, path: Path, data: dict[Any, Any]) -> None:
        """Merge one YAML inventory; raises InventoryError with file and line."""
        for name, body in data.items():
            self._add_group(path, (name,), body)

    def settle(self) -> None:
        """Give every group a way up to `all` and every host a group.

        Raises InventoryError where groups contain each other in a loop.
        """
        for group in self.groups.values():
            if group.name != "all" and not group.parents:
                self.add_child("all", group.name)
        if loop := self.loop():
            parent, child = next(edge for edge in pairwise(loop) if edge in self._edges)
            file, keys = self._edges[parent, child]
            message = f"groups contain each other: {' → '.join(loop)}"
            hint = f"Take '{child}' out of the children of '{parent}'."
            raise _error(file, keys, message, hint)
        self._settle_ungrouped()

    def loop(self) -> list[str]:
        """The names along a loop, the first one again at the end; empty where there is none."""
        done: set[str] = set()
        for start in self.groups:
            trail: list[str] = []
            if found := self._loop_from(start, trail, done):
                return found
        return []

    def _loop_from(self, name: str, trail: list[str], done: set[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        trail.append(name)
        for child in self.groups[name].children:
            if found := self._loop_from(child, trail, done):
                return found
        trail.pop()
        done.add(name)
        return []

    def _settle_ungrouped(self) -> None:
        ungrouped = self.groups["ungrouped"].hosts
        grouped = {
            host
            for group in self.groups.values()
            if group.name not in IMPLICIT_GROUPS
            for host in group.hosts
        }
        for host in self.hosts:
            if host in grouped:
                ungrouped.pop(host, None)
            else:
                ungrouped.setdefault(host)

    def ancestors(self) -> dict[str, frozenset[str]]:
        """Each group's parents, their parents and so on."""

        @cache
        def above(name: str) -> frozenset[str]:
            parents = self.groups[name].parents
            return frozenset(parents).union(*(above(parent) for parent in parents))

        return {name: above(name) for name in self.groups}

    def depths(self) -> dict[str, int]:
        """Each group's longest way down from a group without parents."""

        @cache
        def depth(name: str) -> int:
            return max((depth(parent) + 1 for parent in self.groups[name].parents), default=0)

        return {name: depth(name) for name in self.groups}

    def groups_of_hosts(self) -> dict[str, frozenset[str]]:
        """Each host's groups, direct ones and those above them, `all` included."""
        ancestors = self.ancestors()
        found: dict[str, set[str]] = {host: {"all"} for host in self.hosts}
        for group in self.groups.values():
            chain = {group.name} | ancestors[group.name]
            for host in group.hosts:
                found[host] |= chain
        return {host: frozenset(names) for host, names in found.items()}

    def members(self, name: str) -> tuple[str, ...]:
        """All hosts of the group: its own first, then level by level those of its children."""
        hosts: dict[str, None] = {}
        seen, queue = {name}, deque([name])
        while queue:
            group = self.groups[queue.popleft()]
            hosts |= group.hosts
            for child in group.children:
                if child not in seen:
                    seen.add(child)
                    queue.append(child)
        return tuple(hosts)

    def _add_group(self, path: Path, keys: tuple[str, ...], body: Any) -> None:
        name = keys[-1]
        if not isinstance(name, str) or not name:
            raise _error(path, keys, f"group name {name!r} is not text", "Put it in quotes.")
        if body is not None and not isinstance(body, dict):
            message = f"group '{name}' is a {kind_of(body)}, not a mapping"
            raise _error(path, keys, message, f"Write '{name}:' and 'hosts:' indented under it.")
        group = self.group(name)
        for key, section in _sections(path, keys, body or {}):
            if key == "vars":
                self._add_vars(path, (*keys, "vars"), group, section)
            elif key == "hosts":
                for pattern, variables in section.items():
                    self._add_hosts(path, (*keys, "hosts", pattern), group, variables)
            else:
                self._add_children(path, (*keys, "children"), group, section)

    def _add_children(
        self, path: Path, keys: tuple[str, ...], group: Group, section: dict[Any, Any]
    ) -> None:
        for child, body in section.items():
            if child in keys[0::2]:
                chain = [*keys[0::2], child]
                message = f"groups contain each other: {' → '.join(chain[chain.index(child) :])}"
                hint = f"Take '{child}' out of the children of '{group.name}'."
                raise _error(path, (*keys, child), message, hint)
            self._add_group(path, (*keys, child), body)
            self.add_child(group.name, child)
            self._edges.setdefault((group.name, child), (path, (*keys, child)))

    @staticmethod
    def _add_vars(path: Path, keys: tuple[str, ...], group: Group, section: dict[Any, Any]) -> None:
        for key, value in section.items():
            if key != "ansible_group_priority":
                group.vars[key] = value
                continue
            try:
                group.priority = int(value)
            except (TypeError, ValueError):
                message = f"ansible_group_priority is a {kind_of(value)}, not a whole number"
                raise _error(path, (*keys, key), message, "Write a number such as 10.") from None

    def _add_hosts(self, path: Path, keys: tuple[str, ...], group: Group, variables: Any) -> None:
        pattern = keys[-1]
        if not isinstance(pattern, str):
            raise _error(path, keys, f"host name {pattern!r} is not text", "Put it in quotes.")
        if variables and not isinstance(variables, dict):
            message = f"the variables of host '{pattern}' are a {kind_of(variables)}"
            raise _error(path, keys, message, "Write each as 'name: value', indented under it.")
        try:
            names, port = addresses.expand(pattern)
        except ValueError as exc:
            raise _error(path, keys, str(exc), "Write it as in pi[01:12].") from None
        for name in names:
            is_new = name not in self.hosts
            inline = self.add_host(name, group.name)
            if is_new and port:
                inline["ansible_port"] = port
            inline.update(variables or {})


def _sections(
    path: Path, keys: tuple[str, ...], body: dict[Any, Any]
) -> Iterator[tuple[str, dict[Any, Any]]]:
    """The group's sections in file order, each as a mapping; other keys are passed over.

    Raises InventoryError for a mistyped section: a fleet that silently lacks hosts is worse.
    """
    for key, section in body.items():
        if key not in SECTIONS:
            if isinstance(key, str) and (hint := did_you_mean(key, SECTIONS, cutoff=0.7)):
                message = f"group '{keys[-1]}' has the unknown key '{key}'"
                raise _error(path, (*keys, key), message, hint)
        elif isinstance(section, str):
            yield key, {section: None}
        elif isinstance(section, dict):
            yield key, section
        elif section is not None:
            message = f"'{key}' of group '{keys[-1]}' is a {kind_of(section)}, not a mapping"
            raise _error(path, (*keys, key), message, "Write 'name:' instead of '- name'.")


def _error(path: Path, keys: tuple[str, ...], message: str, hint: str) -> FileError:
    return file_error(path, documents.line_of(path, keys), message, hint)
