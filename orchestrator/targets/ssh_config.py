"""ssh_config files with what they include (ssh_config(5)); Paramiko passes over `Include`."""

from __future__ import annotations

import re
import shlex
from functools import cache
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from paramiko import SSHConfig
from paramiko.ssh_exception import ConfigParseError

from orchestrator.errors import InventoryError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEEPEST = 16  # OpenSSH's limit on files that include files
_INCLUDE = re.compile(r"\s*include\b\s*=?\s*(.*)", re.IGNORECASE)
_BLOCK = re.compile(r"\s*(host|match)\b", re.IGNORECASE)
_SYSTEM = Path("/etc/ssh/ssh_config")


@cache
def read(path: str) -> SSHConfig:
    """What the user's and the system's ssh_config say, or the file `path`.

    Files are read once a process. Raises InventoryError for a `path` that is not there and for
    what cannot be parsed.
    """
    if path and not Path(path).expanduser().is_file():
        raise InventoryError(
            f"the ssh_config '{path}' is not there",
            hint="Mend the -F of ansible_ssh_common_args, or create the file.",
        )
    config = SSHConfig()
    for file in [Path(path)] if path else [Path("~/.ssh/config"), _SYSTEM]:
        folder = _SYSTEM.parent if file == _SYSTEM else Path("~/.ssh").expanduser()
        try:
            config.parse(StringIO("\n".join(_lines(file.expanduser(), folder, 0))))
        except (ConfigParseError, ValueError) as exc:
            raise InventoryError(f"{file}: {exc}", hint=f"See: ssh -G -F {file} HOST") from exc
    return config


def _lines(file: Path, folder: Path, depth: int) -> Iterator[str]:
    """The file's lines, those of included files in place of each `Include`.

    Blocks of a file that is included inside a block count for themselves, whereas OpenSSH wants
    the outer block to match too.
    """
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    block = "Host *"
    for line in text.splitlines():
        if _BLOCK.match(line):
            block = line
        if not (found := _INCLUDE.match(line)):
            yield line
        elif depth < _DEEPEST:
            for pattern in shlex.split(found[1], comments=True):
                for included in _named(pattern, folder):
                    yield from _lines(included, folder, depth + 1)
                    yield block


def _named(pattern: str, folder: Path) -> list[Path]:
    """The files that an `Include` means; relative names are those of `folder`."""
    whole = folder / Path(pattern).expanduser()
    return sorted(Path(whole.anchor).glob(str(whole.relative_to(whole.anchor))))
