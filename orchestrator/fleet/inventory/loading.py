"""An inventory that commands may work with: read, and without mistyped variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.fleet.inventory import reading
from orchestrator.fleet.inventory.problems import FileError

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.fleet.host import Inventory


def load(path: Path) -> Inventory:
    """The hosts and groups of an inventory file or folder, as `reading.read` gives them.

    Raises InventoryError for what is wrong, a mistyped variable of ours included.
    """
    inventory = reading.read(path)
    if reading.misspelt_names(inventory):
        from orchestrator.fleet.inventory import check  # noqa: PLC0415 - only to say where it is

        raise FileError(check.misspelt_variables(path, inventory)[0])
    return inventory
