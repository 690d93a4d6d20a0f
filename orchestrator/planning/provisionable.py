"""What `orchestrate provision` can bring to which hosts."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.fleet.facts import Facts

# Distributions that the playbooks know, by the ID of os-release(5).
DISTRIBUTIONS = {"debian": "Debian", "ubuntu": "Ubuntu", "raspbian": "Raspberry Pi OS"}
# Machines, as the kernel names them, that there are wheels of ONNX Runtime for.
WHEELS = frozenset({"x86_64", "aarch64"})


def provision_command(hosts: Sequence[str]) -> str:
    """`orchestrate provision --limit 'pi-3,pi-4'`."""
    pattern = ",".join(hosts)
    quoted = shlex.quote(pattern) if len(hosts) == 1 else f"'{pattern}'"
    return f"orchestrate provision --limit {quoted}"


def unsupported(facts: Facts) -> str:
    """Why `orchestrate provision` cannot work on a host; empty when it can."""
    there = facts.distribution
    linux = facts.system in {"", "Linux"}
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
