"""known_hosts files as Paramiko can read them."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from paramiko.hostkeys import InvalidHostKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def load(path: Path, into: Callable[[str], object]) -> None:
    """Have `into`, such as `HostKeys.load`, read the file; nothing where there is none.

    Paramiko gives up at marked lines (`@cert-authority`, `@revoked`; sshd(8), "SSH_KNOWN_HOSTS
    FILE FORMAT"). They are left out then: what only they vouch for counts as unknown.
    """
    if not path.is_file():
        return
    try:
        into(str(path))
    except InvalidHostKey:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as plain:
            plain.writelines(line for line in lines if not line.startswith("@"))
            plain.flush()
            into(plain.name)
