"""URLs that people write into inventories."""

from __future__ import annotations

import re

_PASSWORD = re.compile(r"(://[^/@:]*):[^/]*@")


def without_password(url: str) -> str:
    """The URL as it may be shown: `***` stands for a password that it holds."""
    return _PASSWORD.sub(r"\1:***@", url)
