"""Inventories in forms that only Ansible reads, by way of its programs and ansible-runner.

`ansible-inventory --list` is the format of
https://docs.ansible.com/ansible/latest/dev_guide/developing_inventory.html
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InventoryError
from orchestrator.fleet.host import Host, Inventory
from orchestrator.fleet.inventory.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT = 300
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def load(path: Path, reason: str) -> Inventory:
    """The inventory as `ansible-inventory` reads it; encrypted values are decrypted.

    `reason` says why Ansible is needed, for the error when it is not installed. Raises
    InventoryError with what Ansible said when it cannot read the inventory.
    """
    program = find("ansible-inventory", reason)
    output = _run(program, ["--list", "-i", str(path.absolute())], path)
    document = json.loads(output)
    tree = _tree(document)
    variables = _plain(document["_meta"]["hostvars"], path)
    groups_of = tree.groups_of_hosts()
    return Inventory(
        hosts={
            name: Host(name, tuple(sorted(groups_of[name] - {"all"})), variables.get(name, {}))
            for name in tree.members("all")
        },
        groups={name: tree.members(name) for name in tree.groups},
    )


def find(name: str, reason: str) -> str:
    """The path of a program of Ansible's: beside this Python, else on PATH."""
    beside = shutil.which(name, path=str(Path(sys.executable).parent))
    if program := beside or shutil.which(name):
        return program
    raise InventoryError(
        f"{reason}, and the program {name} is not installed",
        hint="pip install ansible-core",
    )


def _run(program: str, arguments: list[str], path: Path) -> str:
    """What the program prints; its complaints become an InventoryError."""
    import ansible_runner  # noqa: PLC0415  # only inventories that need Ansible pay for it

    with (
        tempfile.TemporaryDirectory(prefix="orchestrate-ansible-") as scratch,
        Path(os.devnull).open(encoding="utf-8") as no_input,
    ):
        output, complaint, code = ansible_runner.run_command(
            executable_cmd=program,
            cmdline_args=arguments,
            private_data_dir=scratch,
            host_cwd=str(working_folder(path)),
            input_fd=no_input,
            envvars=locale()
            | {
                "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
                "ANSIBLE_NOCOLOR": "true",
                "ANSIBLE_DEPRECATION_WARNINGS": "false",
                # The operator's log would get what was decrypted.
                "ANSIBLE_LOG_PATH": str(Path(scratch) / "log"),
            },
            quiet=True,
            timeout=_TIMEOUT,
        )
    if not code:
        return str(output)
    cause = _cause(complaint or output)
    if "vault" in cause.lower() or "EOFError" in cause:
        message = f"{path} holds encrypted values, and no vault password opens them"
        hint = "Set ANSIBLE_VAULT_PASSWORD_FILE, or vault_password_file in ansible.cfg."
    else:
        message = f"{path}: {Path(program).name} cannot read it: {cause}"
        hint = f"Run: ansible-inventory --list -i {path}"
    raise InventoryError(message, hint=hint)


def locale() -> dict[str, str]:
    """What Ansible needs in its environment: it starts in locales of UTF-8 only."""
    chosen = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), "")
    return {} if re.search(r"utf-?8", chosen, re.IGNORECASE) else {"LC_ALL": "C.UTF-8"}


def working_folder(path: Path) -> Path:
    """Where Ansible looks for ansible.cfg: the nearest folder above the inventory that has one."""
    base = path.absolute() if path.is_dir() else path.absolute().parent
    return next((folder for folder in (base, *base.parents) if _has_config(folder)), base)


def _has_config(folder: Path) -> bool:
    return os.access(folder / "ansible.cfg", os.R_OK)


def _cause(complaint: str) -> str:
    """The first line in which Ansible says what is wrong, without its label."""
    lines = [_ANSI.sub("", line).strip() for line in complaint.splitlines()]
    labelled = [line.partition("]: ")[2] for line in lines if line.startswith("[ERROR]: ")]
    failures = [line for line in lines if line.startswith("Failed to parse inventory: ")]
    said = failures or labelled or [line.removeprefix("ERROR! ") for line in lines if line]
    return said[0].removeprefix("Failed to parse inventory: ") if said else "no reason given"


def _tree(document: dict[str, Any]) -> Tree:
    """The groups and hosts of a `--list` document; empty groups are named by their parents only."""
    tree = Tree()
    for name, child in _edges(document, "all"):
        tree.add_child(name, child)
    for name in tree.groups:
        for host in document.get(name, {}).get("hosts", ()):
            tree.add_host(host, name)
    return tree


def _edges(document: dict[str, Any], top: str) -> Iterator[tuple[str, str]]:
    seen, waiting = {top}, [top]
    for name in waiting:
        for child in document.get(name, {}).get("children", ()):
            yield name, child
            if child not in seen:
                seen.add(child)
                waiting.append(child)


def _plain(value: Any, path: Path) -> Any:
    """The value without Ansible's wrappers: unsafe text as text, encrypted text decrypted."""
    if isinstance(value, list):
        return [_plain(item, path) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"__ansible_unsafe"}:
        return value["__ansible_unsafe"]
    if value.keys() == {"__ansible_vault"}:
        return _decrypted(value["__ansible_vault"], path)
    return {key: _plain(item, path) for key, item in value.items()}


def _decrypted(ciphertext: str, path: Path) -> str:
    program = find("ansible-vault", f"{path} holds encrypted values")
    with tempfile.TemporaryDirectory(prefix="orchestrate-vault-") as scratch:
        encrypted, plain = Path(scratch) / "encrypted", Path(scratch) / "plain"
        encrypted.write_text(ciphertext, encoding="utf-8")
        _run(program, ["decrypt", "--output", str(plain), str(encrypted)], path)
        return plain.read_text(encoding="utf-8")
