"""What is asked of a run of `provision`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

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
        """The host with the variables by which it is logged in to for this time."""
        given = {
            "ansible_user": self.user,
            "ansible_become_password": self.become_password,
        }
        return replace(host, vars={**host.vars, **{k: v for k, v in given.items() if v}})
