"""Mistakes in single files of an inventory, found on YAML's nodes, which know their lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from orchestrator.fleet.inventory import addresses, documents, values
from orchestrator.fleet.inventory.problems import Problem
from orchestrator.fleet.inventory.tree import SECTIONS
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_KINDS = {
    "int": "number",
    "float": "number",
    "bool": "true/false",
    "null": "null",
    "map": "mapping",
    "seq": "list",
}


class Lint:
    """Problems of the files given to it, and the groups and hosts that these define.

    `groups` and `hosts` map a name to the file and line where it was first seen.
    """

    def __init__(self, known: values.Known) -> None:
        self.problems: list[Problem] = []
        self.groups: dict[str, tuple[Path, int]] = {}
        self.hosts: dict[str, tuple[Path, int]] = {}
        self._known = known

    def inventory_file(self, file: Path) -> None:
        """Look at a YAML inventory; raises InventoryError for bad syntax."""
        root = documents.compose(file)
        for name, body in self._pairs(file, root, "group"):
            self._group(file, name, body, ())

    def variables_file(self, file: Path) -> None:
        """Look at a file of `group_vars/` or `host_vars/`; raises InventoryError for bad syntax."""
        self._variables(file, documents.compose(file))

    def _group(self, file: Path, key: yaml.Node, body: yaml.Node, above: tuple[str, ...]) -> None:
        name = self._name(file, key, "group")
        self.groups.setdefault(name, (file, _line(key)))
        if name in above:
            return
        if isinstance(body, yaml.MappingNode):
            for section, content in self._pairs(file, body, "key"):
                self._section(file, name, section, content, above)
        elif _kind(body) != "null":
            message = f"group '{name}' is a {_kind(body)}, not a mapping"
            self._add(file, body, message, f"Write '{name}:' and 'hosts:' indented under it.")

    def _section(
        self, file: Path, group: str, key: yaml.Node, content: yaml.Node, above: tuple[str, ...]
    ) -> None:
        if key.value not in SECTIONS:
            usual = "A group has hosts, children and vars."
            hint = did_you_mean(str(key.value), SECTIONS) or usual
            self._add(file, key, f"group '{group}' has the unknown key '{key.value}'", hint)
        elif isinstance(content, yaml.SequenceNode):
            message = f"'{key.value}' of group '{group}' is a list, not a mapping"
            self._add(file, key, message, "Write 'name:' instead of '- name'.")
        elif key.value == "vars":
            self._variables(file, content)
        elif key.value == "children":
            for child, body in self._pairs(file, content, "group"):
                self._group(file, child, body, (*above, group))
        else:
            for host, variables in self._pairs(file, content, "host"):
                self._host(file, host, variables)

    def _host(self, file: Path, key: yaml.Node, variables: yaml.Node) -> None:
        pattern = self._name(file, key, "host")
        try:
            names, _ = addresses.expand(pattern)
        except ValueError as exc:
            self._add(file, key, str(exc), "Write it as in pi[01:12].")
            return
        if not names:
            message = f"the range in '{pattern}' runs backwards and means no host"
            self._add(file, key, message, "Write the lower bound first, as in pi[01:12].")
        for name in names:
            self.hosts.setdefault(name, (file, _line(key)))
        self._variables(file, variables)

    def _variables(self, file: Path, node: yaml.Node | None) -> None:
        for key, value in self._pairs(file, node, "variable"):
            self._nested_duplicates(file, value)
            listed = isinstance(value, yaml.SequenceNode) and str(key.value) in values.LISTED
            for each in (listed and value.value) or [value]:
                self._judge(file, key, each)

    def _judge(self, file: Path, key: yaml.Node, value: yaml.Node) -> None:
        text = value.value if isinstance(value, yaml.ScalarNode) else ""
        verdict = values.judge(str(key.value), _kind(value), text, self._known)
        if verdict:
            line = _line(key)
            self.problems.append(
                Problem(file, line, verdict.message, verdict.hint, verdict.level, verdict.stops)
            )

    def _nested_duplicates(self, file: Path, node: yaml.Node) -> None:
        if isinstance(node, yaml.MappingNode):
            for _, value in self._pairs(file, node, "key"):
                self._nested_duplicates(file, value)

    def _name(self, file: Path, key: yaml.Node, what: str) -> str:
        if key.tag != documents.STRING_TAG:
            message = f"{what} name {key.value} is not text"
            self._add(file, key, message, f'Put it in quotes: "{key.value}":')
        return str(key.value)

    def _pairs(
        self, file: Path, node: yaml.Node | None, what: str
    ) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """The entries of a mapping, those of merged anchors after its own; reports duplicates."""
        if not isinstance(node, yaml.MappingNode):
            return
        first: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == documents.MERGE_TAG:
                continue
            name = str(key.value)
            if name in first:
                message = f"the {what} '{name}' is written twice here, first on line {first[name]}"
                hint = "Keep one of the two; only the last would count."
                self._add(file, key, message, hint)
            first.setdefault(name, _line(key))
            yield key, value

    def _add(self, file: Path, node: yaml.Node, message: str, hint: str) -> None:
        self.problems.append(Problem(file, _line(node), message, hint))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _kind(node: yaml.Node) -> str:
    if node.tag in {"!vault", "!vault-encrypted"}:
        return "encrypted"
    return _KINDS.get(node.tag.removeprefix("tag:yaml.org,2002:"), "text")
