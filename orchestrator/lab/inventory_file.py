"""The files by which the operator's commands find the lab's hosts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.lab.hosts import LabHost
    from orchestrator.lab.layout import Layout

ADDRESS = "127.0.0.1"
HEADER = "# Written by `orchestrate lab up`, removed by `orchestrate lab down`.\n"


def inventory(layout: Layout, hosts: Iterable[LabHost], ports: dict[str, int]) -> str:
    """inventory/lab.yml: group `lab` and in it a group for each kind of host."""
    known_hosts = str(layout.known_hosts)
    if " " in known_hosts:
        known_hosts = f'"{known_hosts}"'
    groups: dict[str, dict[str, Any]] = {}
    for host in hosts:
        members = groups.setdefault(host.group, {"hosts": {}})["hosts"]
        members[host.name] = {
            "ansible_port": ports[host.name],
            "orchestrate_root": str(layout.host(host.name) / "home" / "orchestrate"),
        }
    lab = {
        "vars": {
            "ansible_host": ADDRESS,
            "ansible_user": "lab",
            "ansible_ssh_private_key_file": str(layout.client_key),
            "ansible_ssh_common_args": _option(f"UserKnownHostsFile={known_hosts}"),
            "orchestrate_python": sys.executable,
        },
        "children": groups,
    }
    document = {"all": {"children": {"lab": lab}}}
    return HEADER + yaml.safe_dump(document, sort_keys=False, width=1000)


def _option(setting: str) -> str:
    """`-o setting`, quoted for the shell-like splitting of ssh arguments where it must be."""
    return f"-o '{setting}'" if " " in setting else f"-o {setting}"


def known_hosts(keys: dict[str, tuple[int, str]]) -> str:
    """Lines of known_hosts (sshd(8)) for hosts by name: port and `ssh-ed25519 AAAA…`."""
    return "".join(f"[{ADDRESS}]:{port} {key}\n" for port, key in keys.values())
