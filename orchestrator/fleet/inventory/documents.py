"""YAML and JSON files of an inventory, read as Ansible reads them, and their line numbers."""

from __future__ import annotations

import json
import re
from copy import copy
from typing import TYPE_CHECKING, Any

import yaml

from orchestrator.errors import InventoryError
from orchestrator.fleet.inventory.problems import FileError, file_error

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from pathlib import Path

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MERGE_TAG = "tag:yaml.org,2002:merge"
NULL_TAG = "tag:yaml.org,2002:null"
STRING_TAG = "tag:yaml.org,2002:str"
VAULT_HEADER = "$ANSIBLE_VAULT;"


class NeedsAnsible(Exception):  # noqa: N818
    """The file is a valid inventory source, in a form that only Ansible itself reads."""


class _InventoryLoader(_Loader):  # type: ignore[valid-type,misc]
    """Ansible's YAML: dates stay text, `!unsafe` is the plain value, `!vault` needs Ansible."""

    def construct_text_of_date(self, node: yaml.ScalarNode) -> str:
        """ISO 8601, as `ansible-inventory` prints it."""
        return str(self.construct_yaml_timestamp(node).isoformat())

    def construct_unsafe(self, node: yaml.Node) -> Any:
        """The value that stands behind the `!unsafe` tag."""
        untagged = copy(node)
        untagged.tag = self.resolve(type(node), node.value, (True, False))
        return self.construct_object(untagged, deep=True)

    def refuse_vault(self, node: yaml.Node) -> Any:
        """Never returns: the password and the cipher are Ansible's."""
        raise NeedsAnsible(f"line {node.start_mark.line + 1} holds an encrypted value")


_InventoryLoader.add_constructor(
    "tag:yaml.org,2002:timestamp", _InventoryLoader.construct_text_of_date
)
_InventoryLoader.add_constructor("!unsafe", _InventoryLoader.construct_unsafe)
_InventoryLoader.add_constructor("!vault", _InventoryLoader.refuse_vault)
_InventoryLoader.add_constructor("!vault-encrypted", _InventoryLoader.refuse_vault)


def read(path: Path) -> Any:
    """What the YAML or JSON file holds; None for an empty one.

    Raises InventoryError with file and line for bad syntax, NeedsAnsible for encrypted content.
    """
    text = read_text(path)
    if text.startswith(VAULT_HEADER):
        raise NeedsAnsible(f"{path} is encrypted")
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            pass  # YAML's own flow style looks the same
    try:
        return yaml.load(text, Loader=_InventoryLoader)  # noqa: S506  # a SafeLoader by descent
    except yaml.YAMLError as exc:
        raise syntax_error(path, exc) from exc


def read_text(path: Path) -> str:
    """The file as text; raises InventoryError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        raise InventoryError(
            f"{path}: {exc.strerror}", hint="Check the path and its permissions."
        ) from exc
    except UnicodeDecodeError as exc:
        raise InventoryError(f"{path} is not UTF-8 text", hint="Save it as UTF-8.") from exc


def compose(path: Path) -> yaml.Node | None:
    """The tree of YAML nodes, each with its line; None for an empty file.

    Raises InventoryError with file and line for bad syntax.
    """
    try:
        return yaml.compose(read_text(path), Loader=_Loader)
    except yaml.YAMLError as exc:
        raise syntax_error(path, exc) from exc


def syntax_error(path: Path, exc: yaml.YAMLError) -> FileError:
    """The error that a person can act on: file, line, and what YAML expected."""
    mark = getattr(exc, "problem_mark", None)
    problem = getattr(exc, "problem", None) or str(exc).splitlines()[0]
    line = mark.line + 1 if mark else 1
    lines = read_text(path).splitlines()
    indentation = re.match(r"\s*", lines[line - 1] if line <= len(lines) else "")
    hint = _syntax_hint(problem, has_tab="\t" in (indentation[0] if indentation else ""))
    return file_error(path, line, f"not valid YAML: {problem}", hint)


def _syntax_hint(problem: str, *, has_tab: bool) -> str:
    if has_tab:
        return "Indent with spaces, not tabs."
    if "mapping values are not allowed" in problem:
        return "Check the indentation of this line and the one above, and quote values with ': '."
    if "could not find expected ':'" in problem:
        return "Write 'name:' with a colon, or put the value in quotes."
    if "alias" in problem:
        return "Define the anchor (&name) above the place that uses it (*name)."
    return "Check indentation, quotes and brackets on this line and the one above."


def line_of(path: Path, keys: Sequence[Hashable]) -> int:
    """The line (from 1) of the last of `keys`, followed from the top; of what was found of them."""
    node, line = compose(path), 1
    for key in keys:
        pair = _find(node, key)
        if pair is None:
            break
        line, node = pair[0].start_mark.line + 1, pair[1]
    return line


def _find(node: yaml.Node | None, key: Hashable) -> tuple[yaml.Node, yaml.Node] | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    merged = None
    for key_node, value_node in reversed(node.value):
        if key_node.value == str(key):
            return key_node, value_node
        if key_node.tag == MERGE_TAG:
            merged = merged or _find(value_node, key)
    return merged
