"""Facts kept from the last probe, one file a host."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from dataclasses import fields
from typing import TYPE_CHECKING
from urllib.parse import quote

from orchestrator.files import write_atomically
from orchestrator.fleet.facts import Facts
from orchestrator.fleet.probe import from_dict, to_dict

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = 1
_LOG = logging.getLogger(__name__)


class FactsCache:
    """Facts by host name below `.orchestrate/facts/`; a damaged file counts as none."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the project's .orchestrate, made when the first facts are put."""
        self._folder = folder / "facts"
        self._writable = True

    def get(self, host: str) -> tuple[Facts, float] | None:
        """The host's facts and their age in seconds; None when there are none to be read.

        Facts that were kept when less was asked are infinitely old.
        """
        try:
            document = json.loads(self._path(host).read_text(encoding="utf-8"))
            if document["format"] != _FORMAT or document["host"] != host:
                return None
            facts, age = from_dict(document["facts"]), time.time() - float(document["probed"])
            whole = document["facts"].keys() >= {field.name for field in fields(Facts)}
            return facts, max(0.0, age) if whole else math.inf
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def put(self, host: str, facts: Facts) -> None:
        """Keep the facts, so that a reader never sees half of them.

        Where they cannot be kept a warning is logged once, and the old ones stay.
        """
        if not self._writable:
            return
        document = {
            "format": _FORMAT,
            "host": host,
            "probed": time.time(),
            "facts": to_dict(facts),
        }
        data = json.dumps(document, indent=1).encode()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path(host), data, durable=False)
        except OSError as exc:
            self._writable = False
            _LOG.warning("warning: facts cannot be kept: %s", exc)

    def forget(self, host: str) -> None:
        """Keep the host's facts no longer, so that it is asked the next time."""
        with contextlib.suppress(OSError):
            self._path(host).unlink()

    def _path(self, host: str) -> Path:
        return self._folder / f"{quote(host, safe='')}.json"
