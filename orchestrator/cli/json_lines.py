"""`--json-lines`: each event of a run on stdout, when it happens."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING

import click

from orchestrator.events import as_dict

if TYPE_CHECKING:
    from orchestrator.events import Event


class JsonLines:
    """A subscriber that writes one JSON object a line and flushes it.

    A reader who goes away costs one warning; hosts in flight must not suffer from it.
    """

    def __init__(self) -> None:
        self._out = sys.stdout  # the live table puts something else in its place while it draws
        self._gone = False

    def on_event(self, event: Event) -> None:
        """See Subscriber."""
        if self._gone:
            return
        try:
            self._out.write(json.dumps(as_dict(event), default=str) + "\n")
            self._out.flush()
        except OSError as exc:
            self._gone = True
            self._drop()
            click.secho(f"warning: no more --json-lines: {exc.strerror}", fg="yellow", err=True)

    def _drop(self) -> None:
        """Have what is still buffered go nowhere: written at the exit it would fail once more."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._out.fileno())
            os.close(nowhere)
