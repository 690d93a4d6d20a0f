"""A host and a group as the inventory has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Host:
    """A host, the groups it is in (directly or through children) and its merged variables.

    `groups` is sorted as Ansible's `group_names` is: alphabetical, without `all`
    and without `ungrouped` unless the host is in no other group.
    """

    name: str
    groups: tuple[str, ...] = ()
    vars: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inventory:
    """Hosts by name in file order; groups map a name to all its hosts, children's included."""

    hosts: Mapping[str, Host]
    groups: Mapping[str, tuple[str, ...]]
