"""The variables that mean something to the orchestrator, and the nearest name to a mistyped one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable, what kind of value it takes and what it is for."""

    name: str
    kind: Literal["text", "port", "password", "window", "any"]


OURS = {
    name: Variable(name, "text")
    for name in (
        "orchestrate_model",
        "orchestrate_root",
        "orchestrate_profile",
        "orchestrate_python",
        "orchestrate_site",
        "orchestrate_docker_host",
        "orchestrate_docker_tls",
        "orchestrate_container",
        "orchestrate_image",
    )
} | {"orchestrate_window": Variable("orchestrate_window", "window")}

CONNECTION = {
    variable.name: variable
    for variable in (
        Variable("ansible_host", "text"),
        Variable("ansible_port", "port"),
        Variable("ansible_user", "text"),
        Variable("ansible_password", "password"),
        Variable("ansible_connection", "text"),
        Variable("ansible_ssh_host", "text"),
        Variable("ansible_ssh_port", "port"),
        Variable("ansible_ssh_user", "text"),
        Variable("ansible_ssh_pass", "password"),
        Variable("ansible_ssh_password", "password"),
        Variable("ansible_private_key_file", "text"),
        Variable("ansible_ssh_private_key_file", "text"),
        Variable("ansible_ssh_private_key_passphrase", "password"),
        Variable("ansible_ssh_common_args", "text"),
        Variable("ansible_ssh_extra_args", "text"),
        Variable("ansible_ssh_args", "text"),
        Variable("ansible_sftp_extra_args", "text"),
        Variable("ansible_scp_extra_args", "text"),
        Variable("ansible_ssh_pipelining", "any"),
        Variable("ansible_pipelining", "any"),
        Variable("ansible_ssh_executable", "text"),
        Variable("ansible_ssh_timeout", "any"),
        Variable("ansible_timeout", "any"),
        Variable("ansible_ssh_retries", "any"),
        Variable("ansible_host_key_checking", "any"),
        Variable("ansible_ssh_host_key_checking", "any"),
        Variable("ansible_become", "any"),
        Variable("ansible_become_user", "text"),
        Variable("ansible_become_method", "text"),
        Variable("ansible_become_exe", "text"),
        Variable("ansible_become_flags", "text"),
        Variable("ansible_become_pass", "password"),
        Variable("ansible_become_password", "password"),
        Variable("ansible_sudo_pass", "password"),
        Variable("ansible_shell_type", "text"),
        Variable("ansible_shell_executable", "text"),
        Variable("ansible_remote_tmp", "text"),
        Variable("ansible_python_interpreter", "text"),
        Variable("ansible_docker_extra_args", "text"),
        Variable("ansible_docker_host", "text"),
        Variable("ansible_group_priority", "any"),
    )
}

_SHOWN = 8
KNOWN = OURS | CONNECTION


def suggestion(name: str, among: Iterable[str]) -> str:
    """A hint: the name that was probably meant, or else the names there are."""
    known = sorted(among)
    if question := did_you_mean(name, known):
        return question
    if not known:
        return "There are none."
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"There are: {', '.join(known[:_SHOWN])}{more}."


def misspelt(name: str) -> str:
    """What is wrong with a variable's name, as a hint; an empty string when nothing is.

    Every `orchestrate_` name is ours, so an unknown one is a mistake. Ansible's names are open:
    only one that nearly spells a connection variable counts.
    """
    if name in KNOWN or not name.startswith(("orc", "ans")):
        return ""
    if name.startswith("orchestrate_"):
        return suggestion(name, OURS)
    return did_you_mean(name, KNOWN, cutoff=0.9)
