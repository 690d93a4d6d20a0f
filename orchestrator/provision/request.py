"""What is asked of a run of `provision`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from orchestrator.targets.connection import connection_spec

if TYPE_CHECKING:
    from orchestrator.fleet.host import Host


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be done, and who logs in for it.

    `check` only predicts, `diff` tells what in files differs; `tags` are roles, empty for all.
    `remove` takes back what was installed, with `purge` data too. `user` logs in instead of the
    inventory's, for this time; `become_password` is what sudo asks for.
    """

    check: bool = False
    diff: bool = False
    tags: tuple[str, ...] = ()
    remove: bool = False
    purge: bool = False
    user: str | None = None
    become_password: str = field(default="", repr=False)

    def command(self, host: str) -> str:
        """What is typed to ask the same again for one host, whatever the tags were."""
        flags = {
            "--remove": self.remove,
            "--purge": self.purge,
            f"--user {self.user}": self.user,
            "--ask-become-pass": self.become_password,
        }
        words = [flag for flag, given in flags.items() if given]
        return " ".join(["orchestrate provision", *words, f"--limit {host}"])

    def login(self, host: Host) -> Host:
        """The host with the variables by which it is looked at before Ansible works on it.

        Without sudo: whom deploys become may not be there yet. The root stays that of deploys.
        """
        spec = connection_spec(host)
        owner = spec.become_user if spec.become else spec.user
        given: dict[str, Any] = {"ansible_become": False}
        if self.user:
            given["ansible_user"] = self.user
        if owner and owner != (self.user or spec.user):
            given["orchestrate_root"] = _root_of(owner, spec.root)
        return replace(host, vars={**host.vars, **given})


def _root_of(owner: str, root: str) -> str:
    """The root of another user's releases, whose home is where homes are."""
    home = "/root" if owner == "root" else f"/home/{owner}"
    if root:
        return home + root[1:] if root.startswith("~") else root
    return "/opt/orchestrate" if owner == "root" else f"{home}/.local/share/orchestrate"
