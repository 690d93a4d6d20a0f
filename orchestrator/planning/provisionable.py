"""What `orchestrate provision` can bring to which hosts."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.fleet.facts import Facts
    from orchestrator.fleet.host import Host
    from orchestrator.fleet.profile import Profile

# Distributions that the playbooks know, by the ID of os-release(5).
DISTRIBUTIONS = {"debian": "Debian", "ubuntu": "Ubuntu", "raspbian": "Raspberry Pi OS"}
# Machines, as the kernel names them, that there are wheels of ONNX Runtime for.
WHEELS = frozenset({"x86_64", "aarch64"})
DEFAULT_ROOT = "/opt/orchestrate"
SERVICE = "orchestrate"  # the unit's name, where service_name gives no other
# A service of the user's own manager is not the one that the role brings.
_OF_USER = re.compile(r"systemctl\s[^;&|\n]*--user(?!\S)[^;&|\n]*")


def provision_command(hosts: Sequence[str]) -> str:
    """`orchestrate provision --limit 'pi-3,pi-4'`."""
    pattern = ",".join(hosts)
    quoted = shlex.quote(pattern) if len(hosts) == 1 else f"'{pattern}'"
    return f"orchestrate provision --limit {quoted}"


def is_linux(facts: Facts) -> bool:
    """Whether the machine runs Linux; one that does not say so is taken to."""
    return facts.system in {"", "Linux"}


def own_python(host: Host) -> str:
    """The Python that the inventory names and provisioning leaves alone; empty for none."""
    python = str(host.vars.get("orchestrate_python") or "")
    root = str(host.vars.get("orchestrate_root") or DEFAULT_ROOT)
    return "" if python == f"{root}/venv/bin/python3" else python


def to_own_python(python: str) -> str:
    """How a Python that the inventory names gets what it lacks."""
    return (
        f"Install it there ({python} -m pip install numpy onnxruntime), or remove "
        "orchestrate_python from the inventory: orchestrate provision then brings it."
    )


def restarted_unit(host: Host, profile: Profile) -> str:
    """`orchestrate.service` where the profile's switches restart the unit of the role `service`.

    Empty where they do not. The command may name the unit with or without its `.service`.
    """
    unit = str(host.vars.get("service_name") or SERVICE)
    command = _OF_USER.sub("", profile.service.activate)
    named = rf"(?<![\w.@-]){re.escape(unit)}(\.service)?(?![\w.@-])"
    restarts = "systemctl" in command and re.search(named, command)
    return f"{unit}.service" if restarts else ""


def unsupported(facts: Facts) -> str:
    """Why `orchestrate provision` cannot work on a host; empty when it can."""
    there = facts.distribution
    linux = is_linux(facts)
    if linux and there.id in DISTRIBUTIONS:
        return ""
    named = (there.name or f"{there.id} {there.version}".strip()) if linux else facts.system
    *others, last = DISTRIBUTIONS.values()
    return (
        f"not supported: {named or 'a Linux that does not say which (no os-release)'}; "
        f"provisioning knows {', '.join(others)} and {last}. "
        "Install a python3 with numpy and onnxruntime, or a katago, by hand"
    )


def sentence(clause: str) -> str:
    """The clause with a capital letter and a full stop."""
    return f"{clause[:1].upper()}{clause[1:]}."
