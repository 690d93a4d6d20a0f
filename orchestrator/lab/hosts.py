"""Which hosts a lab has, from the text of `--hosts`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from orchestrator.lab.identities import KINDS
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from orchestrator.lab.identities import Identity

MOST_HOSTS = 200
EXAMPLE = "rpi:2,jetson:2,gpu:2"


@dataclass(frozen=True, slots=True)
class LabHost:
    """A host of the lab: `name` as in the inventory, `kind` as in `--hosts`."""

    name: str
    kind: str
    identity: Identity

    @property
    def group(self) -> str:
        """Its group in inventory/lab.yml, itself a child of group `lab`."""
        return KINDS[self.kind].group


def lab_hosts(counts: dict[str, int]) -> tuple[LabHost, ...]:
    """The hosts of so many of each kind, their identities taken in turn."""
    return tuple(
        LabHost(f"lab-{kind}-{number + 1}", kind, identities[number % len(identities)])
        for kind, count in counts.items()
        for identities in [KINDS[kind].identities]
        for number in range(count)
    )


def parse_hosts(text: str) -> dict[str, int]:
    """How many hosts of each kind `rpi:2,jetson:2` asks for; a kind alone means one.

    Raises UsageError for an unknown kind, a bad or repeated count, or too many hosts.
    """
    counts: dict[str, int] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        kind, _, number = item.partition(":")
        if kind not in KINDS:
            raise UsageError(
                f"--hosts: no kind of host is called '{kind}'",
                hint=did_you_mean(kind, KINDS) or f"One of: {', '.join(KINDS)}.",
            )
        if kind in counts:
            raise UsageError(
                f"--hosts: '{kind}' is named twice", hint=f"Give each kind once, as in {EXAMPLE}."
            )
        if not (number or "1").isascii() or not (number or "1").isdigit() or number == "0":
            raise UsageError(
                f"--hosts: '{item}' wants a whole number of hosts, at least 1",
                hint=f"Write it as in {EXAMPLE}.",
            )
        counts[kind] = int(number or "1")
    if not counts:
        raise UsageError("--hosts names no host", hint=f"Write it as in {EXAMPLE}.")
    if sum(counts.values()) > MOST_HOSTS:
        raise UsageError(
            f"--hosts asks for {sum(counts.values())} hosts, a lab has at most {MOST_HOSTS}",
            hint="One process serves them all; ask for fewer.",
        )
    return counts
