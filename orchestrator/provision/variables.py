"""What the playbooks are told of each host, as a second inventory beside the project's own. Pure.

These are the names that `playbooks/README.md` explains; a variable of the operator's own inventory
always wins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.errors import InventoryError
from orchestrator.listing import names
from orchestrator.planning.readiness import engine_kinds
from orchestrator.targets.connection import connection_spec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.fleet.host import Host
    from orchestrator.fleet.profile import Profile
    from orchestrator.provision.request import Request
    from orchestrator.targets.connection import ConnectionSpec

# The engine kinds that a role brings.
ENGINES = ("katago", "onnxruntime")
UNIT = "orchestrate.service"


def of_host(host: Host, spec: ConnectionSpec, profile: Profile | None) -> dict[str, Any]:
    """The variables of one host: who deploys there, where to, and what its profile needs.

    `spec` is how deploys connect, whoever logs in for provisioning; `profile` None asks for no
    engine.
    """
    login = spec.user or ""
    told = {
        "host_login": login,
        "host_owner": spec.become_user if spec.become else login,
        "host_root": spec.root,
        "host_become": spec.become and not spec.become_password,
        "provision_engines": _engines(profile),
        "service_enabled": profile is not None and UNIT in profile.service.activate,
    }
    return {name: value for name, value in told.items() if name not in host.vars}


def inventory(
    hosts: Mapping[str, Mapping[str, Any]], everywhere: Mapping[str, Any]
) -> dict[str, Any]:
    """The second inventory: the variables of each host, and of all of them, in Ansible's YAML."""
    return {"all": {"hosts": {name: dict(own) for name, own in hosts.items()}, "vars": everywhere}}


def overriding(request: Request) -> dict[str, Any]:
    """Variables that win over every inventory: host keys are always checked."""
    told: dict[str, Any] = {
        "ansible_ssh_args": "-o StrictHostKeyChecking=yes -o ControlMaster=auto "
        "-o ControlPersist=60s"
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


def _engines(profile: Profile | None) -> list[str]:
    wanted = engine_kinds(profile) if profile is not None else ()
    return [kind for kind in wanted if kind in ENGINES]
