"""Hosts put into and taken out of YAML inventories, every other line left as it stands."""

from __future__ import annotations

import io
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import yaml

from orchestrator.errors import InventoryError, UsageError
from orchestrator.files import PUBLIC, write_atomically
from orchestrator.fleet.inventory import addresses, documents, reading
from orchestrator.fleet.inventory.names import misspelt, suggestion
from orchestrator.fleet.inventory.sources import Source, sources
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping, Sequence
    from pathlib import Path

_DEFAULT_FILE = "hosts.yml"


def add_host(
    path: Path,
    name: str,
    groups: Sequence[str],
    variables: Mapping[str, Any] | None = None,
    *,
    create_groups: bool = False,
) -> list[Path]:
    """Put a new host into groups of the YAML inventory; returns the files that changed.

    The variables are written beside the host in the first group. Without groups the host goes
    into `ungrouped`. Raises UsageError for a host that is there or a group that is not (unless
    `create_groups`), InventoryError for an inventory that is not YAML. Either all files are
    written or none.
    """
    _check_new(path, name, variables or {})
    found = _yaml_sources(path)
    edits: dict[Path, _Edit] = {}
    for number, group in enumerate(groups or ("ungrouped",)):
        file = _file_of_group(path, found, group, create=create_groups or not groups)
        edit = edits.setdefault(file, _Edit(file))
        edit.add(name, group, variables or {} if number == 0 else {})
    return _write(edits)


def remove_host(path: Path, name: str) -> list[Path]:
    """Take the host out of every group of the YAML inventory; returns the files that changed.

    Its file in `host_vars/` stays. Raises UsageError for an unknown host, InventoryError for a
    host that comes from a range and for an inventory that is not YAML.
    """
    inventory = reading.read(path)
    if name not in inventory.hosts:
        raise UsageError(
            f"the inventory has no host '{name}'", hint=suggestion(name, inventory.hosts)
        )
    edits: dict[Path, _Edit] = {}
    for source in _yaml_sources(path):
        for keys, hosts in _host_sections(source.data or {}):
            for pattern in hosts:
                members = addresses.expand(pattern)[0]
                if name in members and members != [name]:
                    line = documents.line_of(source.path, (*keys, "hosts", pattern))
                    raise InventoryError(
                        f"{source.path}:{line}: '{name}' comes from the range '{pattern}'",
                        hint=f"Change the range, or leave the host out with --limit '!{name}'.",
                    )
                if name in members:
                    edit = edits.setdefault(source.path, _Edit(source.path))
                    edit.remove(pattern, keys)
    return _write(edits)


class _Edit:
    """One file being changed: `before` and `after` as ruamel.yaml writes it, `text` as it is."""

    def __init__(self, file: Path) -> None:
        from ruamel.yaml import YAML  # noqa: PLC0415  # slow to import, only edits need it
        from ruamel.yaml.util import load_yaml_guess_indent  # noqa: PLC0415

        self.file = file
        self.text = documents.read_text(file) if file.exists() else ""
        _, indent, offset = load_yaml_guess_indent(self.text or "all:\n")
        self._yaml = YAML()
        self._yaml.preserve_quotes = True
        self._yaml.width = 4096
        self._yaml.explicit_start = self.text.startswith("---")
        self._yaml.indent(mapping=_mapping_indent(self.text), sequence=indent, offset=offset)
        self.data: Any = self._yaml.load(self.text)
        if self.data is None:
            self.data = self._yaml.map()
        self.before = self._dump() if self.text.strip() else self.text

    def add(self, host: str, group: str, variables: Mapping[str, Any]) -> None:
        """Put the host into the group, which is made at the top of the file when it is new."""
        keys = _keys_of_group(self.data, group) or self._new_group(group)
        parent = self._at(keys[:-1])
        body = parent.get(keys[-1])
        if body is None:
            body = parent[keys[-1]] = self._yaml.map()
        hosts = body.get("hosts")
        if isinstance(hosts, str):
            hosts = body["hosts"] = self._yaml.map(**{hosts: None})
        if hosts is None:
            hosts = body["hosts"] = self._yaml.map()
        hosts[host] = self._yaml.map(**variables) if variables else None

    def remove(self, pattern: str, keys: tuple[str, ...]) -> None:
        """Take the host out of the group that `keys` lead to."""
        body = self._at(keys)
        if isinstance(body["hosts"], str) or len(body["hosts"]) == 1:
            body["hosts"] = None
        else:
            del body["hosts"][pattern]

    def result(self) -> str:
        """The new text: the changed lines are ruamel.yaml's, all others the file's own."""
        after = self._dump()
        for reopened in (False, True):
            merged = _transplant(self.text, self.before, after, reopened=reopened)
            if _means_the_same(merged, after):
                return merged
        return after

    def _new_group(self, group: str) -> tuple[str, ...]:
        if group == "all" or (self.data.get("all") is None and self.data):
            self.data[group] = None
            return (group,)
        everything = self.data.setdefault("all", self._yaml.map())
        if everything is None:
            everything = self.data["all"] = self._yaml.map()
        if everything.get("children") is None:
            everything["children"] = self._yaml.map()
        everything["children"][group] = None
        return ("all", "children", group)

    def _at(self, keys: tuple[str, ...]) -> MutableMapping[str, Any]:
        node: Any = self.data
        for key in keys:
            node = node[key]
        return node  # type: ignore[no-any-return]

    def _dump(self) -> str:
        stream = io.StringIO()
        self._yaml.dump(self.data, stream)
        return stream.getvalue()


def _check_new(path: Path, name: str, variables: Mapping[str, Any]) -> None:
    if addresses.split_port(name) != (name, None) or "[" in name:
        raise UsageError(
            f"'{name}' is no host name", hint="Letters, digits, '-', '_' and '.', as in pi-3."
        )
    for variable in variables:
        if hint := misspelt(variable):
            raise UsageError(f"unknown variable '{variable}'", hint=hint)
    inventory = reading.read(path)
    if name in inventory.hosts:
        raise UsageError(
            f"the inventory has the host '{name}' already",
            hint="Edit it there, or remove it first: orchestrate inventory remove.",
        )
    if name in inventory.groups:
        raise UsageError(f"'{name}' is the name of a group", hint="Choose another name.")


def _yaml_sources(path: Path) -> list[Source]:
    found = sources(path)
    for source in found:
        if source.data is None and not path.is_dir():
            raise InventoryError(
                f"{path} cannot be edited here: {source.needs_ansible}",
                hint="Edit it by hand; only YAML inventories are edited.",
            )
    return [source for source in found if source.data is not None]


def _file_of_group(path: Path, found: list[Source], group: str, *, create: bool) -> Path:
    """The file in which the group's hosts stand, or, for a new group, the first of them all."""
    bodies = [
        (source.path, body)
        for source in found
        for keys, body in _groups(source.data or {})
        if keys[-1] == group
    ]
    with_hosts = [file for file, body in bodies if body.get("hosts")]
    if bodies:
        return with_hosts[0] if with_hosts else bodies[0][0]
    known = reading.read(path).groups
    if group not in known and not create:
        hint = f"{did_you_mean(group, known)} --create-group makes it.".lstrip()
        raise UsageError(f"there is no group '{group}'", hint=hint)
    if found:
        return found[0].path
    return path / _DEFAULT_FILE if path.is_dir() else path


def _groups(
    data: Mapping[str, Any], above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Each group's place as a chain of keys, and its body."""
    for name, body in data.items():
        keys = (*above, name)
        yield keys, body if isinstance(body, dict) else {}
        children = body.get("children") if isinstance(body, dict) else None
        if isinstance(children, dict):
            yield from _groups(children, (*keys, "children"))


def _keys_of_group(data: Mapping[str, Any], group: str) -> tuple[str, ...] | None:
    """Where the group stands; where it has hosts, if it stands in several places."""
    places = [(keys, body) for keys, body in _groups(data) if keys[-1] == group]
    with_hosts = [keys for keys, body in places if body.get("hosts")]
    found = with_hosts or [keys for keys, _ in places]
    return found[0] if found else None


def _host_sections(data: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], list[str]]]:
    for keys, body in _groups(data):
        hosts = body.get("hosts")
        if isinstance(hosts, str):
            yield keys, [hosts]
        elif isinstance(hosts, dict):
            yield keys, list(hosts)


def _mapping_indent(text: str) -> int:
    """How far the file indents what stands in a mapping; 2 unless its first step is another."""
    widths = [
        _width(line)
        for line in text.splitlines()
        if line.startswith(" ") and not line.lstrip(" ").startswith(("#", "-"))
    ]
    return widths[0] if widths else 2


def _transplant(text: str, before: str, after: str, *, reopened: bool) -> str:
    """`text` with the lines changed that differ between `before` and `after`.

    ruamel.yaml normalizes a little (nulls, spaces around comments); this keeps that out of lines
    nobody asked to change. Full-line comments at the end of a removed block stay: they belong to
    what follows. With `reopened` the line above an insertion is ruamel.yaml's too, as it must be
    where a null becomes a mapping.
    """
    own, old, new = (part.splitlines(keepends=True) for part in (text, before, after))
    place = _places(old, own)
    result: list[str] = []
    done = back = 0
    for kind, old_start, old_end, new_start, new_end in SequenceMatcher(
        None, old, new, autojunk=False
    ).get_opcodes():
        if kind == "equal":
            continue
        start, end = place[old_start], place[old_end]
        added = new[new_start:new_end]
        if kind == "insert":
            back = _comments_of_others(own[done:start], added[0])
            start, end = start - back, start - back
        result += own[done:start]
        if reopened and kind == "insert" and old_start > back:
            result[-1:] = [old[old_start - back - 1]]
        if result and not result[-1].endswith("\n"):
            result[-1] += "\n"
        result += added
        if kind == "delete":
            result += own[end - _count_comments(own[start:end]) : end]
        done = end
    return "".join(result + own[done:])


def _places(old: list[str], own: list[str]) -> list[int]:
    """For each line of `old`, and its end, the line of `own` that it stands for."""
    place = [0] * (len(old) + 1)
    matcher = SequenceMatcher(None, old, own, autojunk=False)
    for _, old_start, old_end, own_start, own_end in matcher.get_opcodes():
        for offset in range(old_end - old_start):
            place[old_start + offset] = min(own_start + offset, own_end)
    place[len(old)] = len(own)
    return place


def _means_the_same(one: str, other: str) -> bool:
    try:
        return bool(_meaning(yaml.compose(one)) == _meaning(yaml.compose(other)))
    except yaml.YAMLError:
        return False


def _meaning(node: yaml.Node | None) -> Any:
    """The node's tags and values without style; all ways to write null are one."""
    if isinstance(node, yaml.MappingNode):
        return [(_meaning(key), _meaning(value)) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return [_meaning(item) for item in node.value]
    if node is None or node.tag == documents.NULL_TAG:
        return None
    return str(node.tag), str(node.value)


def _count_comments(lines: list[str]) -> int:
    """How many lines at the end are blank or nothing but a comment."""
    others = (n for n, line in enumerate(reversed(lines)) if line.strip() and not _is_comment(line))
    return next(others, len(lines))


def _comments_of_others(lines: list[str], added: str) -> int:
    """How many lines at the end are blank or comments further out than the line to be added."""
    ours = (
        n
        for n, line in enumerate(reversed(lines))
        if line.strip() and (not _is_comment(line) or _width(line) >= _width(added))
    )
    return next(ours, len(lines))


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("#")


def _width(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _write(edits: Mapping[Path, _Edit]) -> list[Path]:
    """Replace the files, each at once; all texts are made before the first is written."""
    texts = {file: edit.result() for file, edit in edits.items()}
    for file, text in texts.items():
        target = file.resolve()
        mode = target.stat().st_mode & 0o777 if target.exists() else PUBLIC
        write_atomically(target, text.encode(), mode=mode)
    return list(texts)
