"""The playbooks of a fleet project, or those that come along where it has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from orchestrator.errors import InventoryError, UsageError
from orchestrator.fleet import skeleton
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from orchestrator.fleet.host import Host
    from orchestrator.fleet.project import Project

PROVISION = "provision.yml"
REMOVE = "remove.yml"
LIKENESS = 0.85  # of a name that is taken for a mistyped one; others are the operator's own


def find(project: Project, name: str) -> Path:
    """The playbook `name` of the project, or else the one that comes along."""
    own = project.playbooks / name
    return own if own.is_file() else skeleton.shared("playbooks") / name


def check_tags(playbook: Path, tags: Sequence[str]) -> None:
    """Raise UsageError for a tag that is none of the roles beside a playbook that comes along.

    A playbook of the operator's own may have tags of its own: Ansible knows them.
    """
    if not _is_shipped(playbook):
        return
    known = roles(playbook)
    for tag in tags:
        if tag not in known:
            raise UsageError(
                f"the playbook has no tag '{tag}'",
                hint=did_you_mean(tag, known) or f"Tags are the roles: {', '.join(known)}.",
            )


def check_variables(playbook: Path, hosts: Iterable[Host]) -> None:
    """Raise InventoryError for a variable of a host that nearly spells one of the roles'."""
    known = {name for role in roles(playbook) for name in _options(playbook, role)}
    prefixes = tuple(f"{role}_" for role in roles(playbook))
    for host in hosts:
        for name in host.vars:
            if name in known or not name.startswith(prefixes):
                continue
            if meant := did_you_mean(name, known, cutoff=LIKENESS):
                raise InventoryError(
                    f"{host.name}: no role has a variable {name}",
                    hint=f"{meant} Variables are in playbooks/roles/ROLE/defaults/main.yml.",
                )


def _options(playbook: Path, role: str) -> set[str]:
    """The variables that a role says it has."""
    path = playbook.parent / "roles" / role / "meta" / "argument_specs.yml"
    try:
        specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
        return {name for entry in specs.values() for name in entry.get("options") or {}}
    except (OSError, KeyError, TypeError, AttributeError, ValueError, yaml.YAMLError):
        return set()  # a role of the operator's own need not say so


def roles(playbook: Path) -> list[str]:
    """The names of the roles beside a playbook."""
    folder = playbook.parent / "roles"
    return sorted(path.name for path in folder.glob("*") if path.is_dir())


def _is_shipped(playbook: Path) -> bool:
    shipped = skeleton.shared("playbooks") / playbook.name
    return shipped.is_file() and playbook.read_bytes() == shipped.read_bytes()
