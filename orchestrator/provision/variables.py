"""What the playbooks are told of each host, in a second inventory beside the project's own. Pure.

These are the names that `playbooks/README.md` explains.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from fabric.connection import derive_shorthand

from orchestrator.errors import InventoryError
from orchestrator.listing import names
from orchestrator.planning.provisionable import restarted_unit
from orchestrator.planning.readiness import engine_kinds
from orchestrator.targets.connection import connection_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.fleet.host import Host
    from orchestrator.fleet.profile import Profile
    from orchestrator.provision.request import Request
    from orchestrator.targets.connection import ConnectionSpec

# The engine kinds that a role brings.
ENGINES = ("katago", "onnxruntime")


def of_host(host: Host, spec: ConnectionSpec, profile: Profile | None) -> dict[str, Any]:
    """The variables of one host: who deploys there, where to, and what its profile needs.

    `spec` is how deploys connect, whoever logs in for provisioning; `profile` None asks for no
    engine. What the inventory says of the first wins; the connection is the one of deploys.
    """
    login = spec.user or ""
    told = {
        "host_login": login,
        "host_owner": spec.become_user if spec.become else login,
        "host_root": spec.root,
        "host_become": spec.become and not spec.become_password,
        "provision_engines": _engines(profile),
        "service_enabled": profile is not None and bool(restarted_unit(host, profile)),
    }
    return {n: v for n, v in told.items() if n not in host.vars} | _connection(spec)


def _connection(spec: ConnectionSpec) -> dict[str, Any]:
    """How Ansible's ssh gets in, by the rules by which deploys do.

    Their jump hosts know the host's key and known_hosts; OpenSSH's own ProxyJump would not.
    """
    if spec.kind != "ssh":
        return {}
    arguments = ["-F", spec.ssh_config] if spec.ssh_config else []
    arguments += _options(spec)
    proxy = _through(spec) if spec.jump else spec.proxy_command
    if proxy:
        arguments += ["-o", f"ProxyCommand={proxy}"]
    return {"ansible_ssh_common_args": shlex.join(arguments)}


def _options(spec: ConnectionSpec) -> list[str]:
    if not spec.known_hosts:
        return []
    files = " ".join(f'"{path}"' if " " in path else path for path in spec.known_hosts)
    return ["-o", f"UserKnownHostsFile={files}"]


def _through(spec: ConnectionSpec) -> str:
    """The ProxyCommand that goes through the jump hosts, each by one ssh."""
    hops = [derive_shorthand(hop.strip()) for hop in spec.jump.split(",")]
    command = ""
    for number, hop in enumerate(hops):
        further = hops[number + 1] if number + 1 < len(hops) else None
        goal = "[%h]:%p" if further is None else f"[{further['host']}]:{further['port'] or 22}"
        words = ["ssh", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]
        words += ["-F", spec.ssh_config] if spec.ssh_config else []
        words += ["-i", spec.key_file] if spec.key_file else []
        words += _options(spec)
        words += ["-o", f"ProxyCommand={command}"] if command else []
        words += ["-p", str(hop["port"])] if hop["port"] else []
        words += ["-l", str(hop["user"])] if hop["user"] else []
        command = shlex.join([*words, "-W", goal, "--", str(hop["host"])])
    return command


def overriding(request: Request) -> dict[str, Any]:
    """Variables that win over every inventory: host keys are always checked."""
    told: dict[str, Any] = {
        "ansible_ssh_args": "-o StrictHostKeyChecking=yes -o ControlMaster=auto "
        "-o ControlPersist=30s"
    }
    if request.user:
        told |= {"ansible_user": request.user, "ansible_ssh_user": request.user}
    return told | ({"remove_purge": True} if request.purge else {})


def check_users(hosts: Sequence[Host], user: str | None) -> None:
    """Raise InventoryError where `user` logs in for now, and nobody says who deploys later."""
    without = [host.name for host in hosts if not connection_spec(host).user]
    if user is not None and without:
        raise InventoryError(
            f"{names(without)}: --user {user} is for this time, and no ansible_user says who logs "
            "in for deploys",
            hint="Set ansible_user in the inventory; the user is made where it does not exist.",
        )


def check_passwords(hosts: Sequence[Host], request: Request) -> None:
    """Raise InventoryError where a password was typed for `user`, and Ansible would not take it."""
    those = [host.name for host in hosts if connection_spec(host).become_password]
    if request.user and request.become_password and those:
        raise InventoryError(
            f"{names(those)}: the inventory has a password for sudo, which Ansible takes instead "
            f"of the one that was typed for {request.user}",
            hint="Take ansible_become_password out of the inventory for this time.",
        )


def _engines(profile: Profile | None) -> list[str]:
    wanted = engine_kinds(profile) if profile is not None else ()
    return [kind for kind in wanted if kind in ENGINES]
