"""Fleets of bare hosts, and what provisioning may not touch of them."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from tests.project import FleetProject
from tests.provision.bare_hosts import Bench
from tests.rollout.conftest import Nets, nets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.controller import Answer
    from tests.provision.bare_hosts import BareHost

__all__ = ["Nets", "nets"]

DEPLOYER = "orchestrate"  # who deploys, by the inventory; a bare host has no such user
# What logging in writes, whatever is done then.
WRITTEN_BY_LOGINS = ("var/log/", "var/lib/sudo", ".cache", ".ansible")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Room for bare hosts, which are scrapped after the module's last test."""
    with Bench(tmp_path_factory.mktemp("bench")) as bench:
        yield bench


def fleet_of(
    folder: Path, hosts: Mapping[BareHost, Mapping[str, Any]], group: str, **variables: Any
) -> FleetProject:
    """A project whose hosts run ONNX nets; `hosts` have variables of their own."""
    named = {host.name: host.inventory_vars() | dict(own) for host, own in hosts.items()}
    inventory = {
        "all": {
            "hosts": named,
            "vars": {"ansible_user": DEPLOYER} | variables,
            "children": {group: {"hosts": {name: {} for name in named}}},
        }
    }
    project = FleetProject(folder, inventory)
    # Emulated hosts answer slowly where other tests run beside them.
    project.settings |= {"connect_timeout": 60, "command_timeout": 300}
    for name in ("raspberry-pi", "cpu"):
        profile = project.settings["profiles"][name]
        profile["artifacts"] = [{"format": "onnx", "precision": "fp32"}]
        # These machines are noisy: only what is slower by far may count as slow.
        profile["verify"]["min_ratio"] = 0.05
    project.write_settings()
    return project


def shown(answer: Answer) -> str:
    """What a command answered, to be read when it is not what was expected."""
    return f"{answer.stderr}\n{json.dumps(answer.document, indent=1)}"


def snapshot(folder: Path, *, inodes: bool = False) -> dict[str, tuple[Any, ...]]:
    """Each path below a folder, with its owner, mode and content, and with its inode if asked."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            content = ""
        told = (oct(status.st_mode), status.st_uid, status.st_gid, content)
        name = str(path.relative_to(folder))
        found[name] = (*told, status.st_ino, status.st_mtime_ns) if inodes else told
    return found


def disk(host: BareHost) -> dict[str, tuple[Any, ...]]:
    """What differs on a host's disk from the bare root, but for what logging in writes."""
    found = snapshot(host.changes)
    for name, (mode, user, group, _) in list(found.items()):
        below = host.bare / name
        copied = host.changes.joinpath(name).is_dir() and below.is_dir()
        same = copied and (oct(below.stat().st_mode), *below.stat()[4:6]) == (mode, user, group)
        if same or any(part in f"{name}/" for part in WRITTEN_BY_LOGINS):
            del found[name]
    return found
