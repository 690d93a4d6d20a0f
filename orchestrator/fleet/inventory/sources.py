"""Which files make up an inventory, and which of them can be read without Ansible.

The rules of what a folder's reading passes over are those of ansible-core 2.19's defaults
(INVENTORY_IGNORE_EXTS and the fixed names).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InventoryError
from orchestrator.fleet.inventory import documents
from orchestrator.fleet.inventory.problems import file_error

if TYPE_CHECKING:
    from pathlib import Path

YAML_EXTENSIONS = (".yml", ".yaml", ".json")
_IGNORED_ENDINGS = [
    ".pyc",
    ".pyo",
    ".swp",
    ".bak",
    "~",
    ".rpm",
    ".md",
    ".txt",
    ".rst",
    ".orig",
    ".cfg",
    ".retry",
]
_IGNORED_NAMES = {"host_vars", "group_vars", "vars_plugins"}


@dataclass(frozen=True, slots=True)
class Source:
    """One file of the inventory: its data, or why only Ansible can read it."""

    path: Path
    data: dict[Any, Any] | None
    needs_ansible: str = ""


def sources(path: Path) -> list[Source]:
    """The inventory's files in the order in which they are merged.

    Raises InventoryError for a path that does not exist and for bad YAML.
    """
    if not path.exists():
        raise InventoryError(
            f"{path}: no such inventory", hint="Create it, or name another in orchestrate.yml."
        )
    return [read_source(file) for file in files(path)]


def files(path: Path) -> list[Path]:
    """The inventory's files: `path` itself, or what the folder holds, alphabetically."""
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for entry in sorted(path.iterdir(), key=lambda entry: entry.name):
        if not ignored(entry.name):
            found.extend(files(entry))
    return found


def ignored(name: str) -> bool:
    """Whether the reading of a folder passes over this entry."""
    return (
        name.startswith(".")
        or name in _IGNORED_NAMES
        or any(name.endswith(ending) for ending in _IGNORED_ENDINGS)
    )


def read_source(path: Path) -> Source:
    """The file with its data, or with the reason why it takes Ansible to read it."""
    if path.suffix not in {"", *YAML_EXTENSIONS}:
        return Source(path, None, f"'{path.suffix}' files are read by ansible-inventory")
    if _is_script(path):
        return Source(path, None, "it is an executable script")
    try:
        data = _groups(path)
    except documents.NeedsAnsible as exc:
        return Source(path, None, str(exc))
    except InventoryError:
        if path.suffix:
            raise
        return Source(path, None, "it is not YAML")
    if plugin := data.get("plugin"):
        return Source(path, None, f"it configures the inventory plugin '{plugin}'")
    return Source(path, data)


def _groups(path: Path) -> dict[Any, Any]:
    data = documents.read(path)
    if data is not None and not isinstance(data, dict):
        message = f"an inventory is a mapping of groups, this is a {kind_of(data)}"
        hint = "Start with 'all:' and put 'hosts:' or 'children:' under it."
        raise file_error(path, 1, message, hint)
    return data or {}


def kind_of(value: Any) -> str:
    """The name YAML users have for the value's type."""
    names = {dict: "mapping", list: "list", str: "text", bool: "true/false", int: "number"}
    return names.get(type(value), "number" if isinstance(value, float) else "null")


def _is_script(path: Path) -> bool:
    if not os.access(path, os.X_OK):
        return False
    with path.open("rb") as file:
        return file.read(2) == b"#!"
