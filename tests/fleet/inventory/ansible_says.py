"""What the real `ansible-inventory` says of an inventory, each asked once in a session."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path

from tests.needs import needs_program

HOW_TO_GET = "pip install ansible-core"
CASES = Path(__file__).parent / "cases"


def inventory_of(case: str) -> Path:
    """The case's inventory: its folder `inventory`, or else its file `hosts*`."""
    folder = CASES / case / "inventory"
    return folder if folder.is_dir() else next((CASES / case).glob("hosts*"))


@cache
def listing(path: Path) -> dict:
    """The document of `ansible-inventory --list`, its marks of unsafe text taken off."""
    output = run("ansible-inventory", "-i", str(path), "--list")
    return json.loads(output, object_hook=_plain)


def run(program: str, *arguments: str) -> str:
    """What the program prints, run with Ansible's defaults whatever this machine sets."""
    found = needs_program(program, HOW_TO_GET)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
    done = subprocess.run(
        [str(found), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=CASES,
        env=environment | {"ANSIBLE_NOCOLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def hostvars(document: dict) -> dict[str, dict]:
    """Variables of the hosts that have any."""
    return document["_meta"]["hostvars"]


def members(document: dict) -> dict[str, set[str]]:
    """Each group's hosts, those of its children included; groups without hosts as well."""
    names = {"all"}
    for body in document.values():
        names.update(body.get("children", ()))

    def below(name: str) -> set[str]:
        body = document.get(name, {})
        return set(body.get("hosts", ())).union(*map(below, body.get("children", ())))

    return {name: below(name) for name in names}


def _plain(value: dict) -> object:
    return value["__ansible_unsafe"] if value.keys() == {"__ansible_unsafe"} else value
