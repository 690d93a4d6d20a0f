"""What happened: runs, hosts, transitions and benchmarks, in a database that may be lost.

The hosts are the truth. History that is lost, locked, read-only, damaged or from a newer version
costs one warning and never a deploy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.history.store import History


def open_history(url: str, warn: Callable[[str], None]) -> History:
    """The history at an SQLAlchemy URL, made or brought up to date where needed.

    What goes wrong, now or later, is said once to `warn`; from then on nothing is written and what
    is read is empty.
    """
    from orchestrator.history.store import History  # noqa: PLC0415 - SQLAlchemy is slow to import

    return History(url, warn)
