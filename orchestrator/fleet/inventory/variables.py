"""The variables of each host: what is written where, and what wins.

Ansible's order, weakest first: `all` in the inventory, its groups from the outermost to the
innermost, `group_vars/all`, `group_vars/` of the groups in the same order, what is written beside
the host, `host_vars/`. Groups of the same depth go by `ansible_group_priority`, then by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.fleet.inventory import documents
from orchestrator.fleet.inventory.problems import file_error
from orchestrator.fleet.inventory.sources import YAML_EXTENSIONS, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.fleet.inventory.tree import Tree

INTERNAL = frozenset(
    [
        "ansible_async_path",
        "ansible_collection_name",
        "ansible_config_file",
        "ansible_dependent_role_names",
        "ansible_diff_mode",
        "ansible_facts",
        "ansible_forks",
        "ansible_inventory_sources",
        "ansible_limit",
        "ansible_play_batch",
        "ansible_play_hosts",
        "ansible_play_hosts_all",
        "ansible_play_role_names",
        "ansible_playbook_python",
        "ansible_role_name",
        "ansible_role_names",
        "ansible_run_tags",
        "ansible_skip_tags",
        "ansible_verbosity",
        "ansible_version",
        "inventory_dir",
        "inventory_file",
        "inventory_hostname",
        "inventory_hostname_short",
        "groups",
        "group_names",
        "hostvars",
        "playbook_dir",
        "play_hosts",
        "role_name",
        "role_names",
        "role_path",
        "role_uuid",
    ]
)
"""Names that Ansible sets itself; what an inventory says about them does not count."""


def base_dir(path: Path) -> Path:
    """The folder whose `group_vars/` and `host_vars/` belong to the inventory at `path`."""
    return path.resolve() if path.is_dir() else path.parent.resolve()


def merged(tree: Tree, base: Path) -> dict[str, dict[str, Any]]:
    """Every host's variables; raises InventoryError or NeedsAnsible for a bad or encrypted file."""
    groups_of = tree.groups_of_hosts()
    depths = tree.depths()
    from_file = {name: of_entity(base / "group_vars", name) for name in tree.groups}
    of_groups: dict[frozenset[str], dict[str, Any]] = {}

    def of_group_set(names: frozenset[str]) -> dict[str, Any]:
        order = sorted(
            names - {"all"}, key=lambda name: (depths[name], tree.groups[name].priority, name)
        )
        weakest_first = ["all", *order]
        found: dict[str, Any] = {}
        for name in weakest_first:
            found |= tree.groups[name].vars
        for name in weakest_first:
            found |= from_file[name]
        return found

    result = {}
    for host, inline in tree.hosts.items():
        names = groups_of[host]
        if names not in of_groups:
            of_groups[names] = of_group_set(names)
        variables = of_groups[names] | inline | of_entity(base / "host_vars", host)
        result[host] = {key: value for key, value in variables.items() if key not in INTERNAL}
    return result


def of_entity(folder: Path, name: str) -> dict[str, Any]:
    """What `group_vars/` or `host_vars/` says about a group or host."""
    found: dict[str, Any] = {}
    for file in entity_files(folder, name):
        data = documents.read(file)
        if data and not isinstance(data, dict):
            message = f"a file of variables is a mapping, this is a {kind_of(data)}"
            raise file_error(file, 1, message, "Write each variable as 'name: value'.")
        found |= data or {}
    return found


def entity_files(folder: Path, name: str) -> list[Path]:
    """The files that hold the variables of a group or host, weakest first.

    A folder or file of exactly that name, else the first of .yml, .yaml and .json.
    """
    if name.startswith("/") or not folder.is_dir():
        return []
    for ending in ("", *YAML_EXTENSIONS):
        found = folder / f"{name}{ending}"
        if found.is_dir():
            return list(files_below(found))
        if found.exists():
            return [found]
    return []


def files_below(folder: Path) -> Iterator[Path]:
    """The files of variables in a folder and those below it, alphabetically."""
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith(".") or entry.name.endswith("~"):
            continue
        if entry.is_dir() and not entry.suffix:
            yield from files_below(entry)
        elif entry.is_file() and entry.suffix in {"", *YAML_EXTENSIONS}:
            yield entry
