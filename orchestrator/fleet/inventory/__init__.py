"""Ansible's inventory: read, checked, selected from and edited."""

from orchestrator.fleet.inventory.loading import load

__all__ = ["load"]
