"""What a test needs from the machine: there, or a skip that says exactly what is missing."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path
from typing import NoReturn

import pytest

SYSTEM_FOLDERS = ("/usr/sbin", "/sbin", "/usr/local/sbin")


def find_program(name: str) -> Path | None:
    """The program's path: from PATH, the folders of system daemons, or this environment's bin."""
    folders = (os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS, sysconfig.get_path("scripts"))
    found = shutil.which(name, path=os.pathsep.join(folders))
    return Path(found) if found else None


def needs_program(name: str, how_to_get: str) -> Path:
    """The program's path; without it the test is skipped, or fails under CI=true."""
    program = find_program(name)
    if program is None:
        missing(f"the program '{name}' is missing; get it by: {how_to_get}")
    return program


def missing(reason: str) -> NoReturn:
    """End the test: `reason` says what is missing. A skip at home, a failure under CI=true."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
