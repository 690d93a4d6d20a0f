"""From an inventory's files to its hosts and groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.fleet.host import Host, Inventory
from orchestrator.fleet.inventory import documents, names, program, variables
from orchestrator.fleet.inventory.sources import sources
from orchestrator.fleet.inventory.tree import Tree

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path) -> Inventory:
    """The hosts and groups of an inventory file or folder, each host with its merged variables.

    YAML is read here; when any file needs Ansible, the whole inventory is read by
    `ansible-inventory`, so that precedence between the files is exact. Jinja in variables stays
    text. Raises InventoryError for what cannot be read; mistyped variables are left in.
    """
    found = sources(path)
    for source in found:
        if source.data is None:
            return program.load(path, f"{source.path}: {source.needs_ansible}")
    tree = Tree()
    for source in found:
        tree.add_document(source.path, source.data or {})
    tree.settle()
    try:
        merged = variables.merged(tree, variables.base_dir(path))
    except documents.NeedsAnsible as exc:
        return program.load(path, f"{path}: {exc}")
    groups_of = tree.groups_of_hosts()
    return Inventory(
        hosts={
            name: Host(name, tuple(sorted(groups_of[name] - {"all"})), merged[name])
            for name in tree.hosts
        },
        groups={name: tree.members(name) for name in tree.groups},
    )


def misspelt_names(inventory: Inventory) -> set[str]:
    """The names of mistyped variables that reach a host."""
    used = {name for host in inventory.hosts.values() for name in host.vars}
    return {name for name in used if isinstance(name, str) and names.misspelt(name)}
