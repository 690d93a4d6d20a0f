"""The terminal: questions that only an answer given to them answers, and one that is gone."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import termios
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator


def answer(question: str) -> bool:
    """What is answered on the terminal to a question; keys typed before it are no answer.

    Raises Abort for Ctrl-C, for the end of the input and where the terminal is gone.
    """
    try:
        if sys.stdin.isatty():
            termios.tcflush(sys.stdin, termios.TCIFLUSH)
        return click.confirm(question, err=True)
    except (OSError, termios.error) as exc:
        raise click.Abort from exc


@contextlib.contextmanager
def may_be_gone() -> Iterator[None]:
    """Let what is said go nowhere, now and from then on, when the terminal is gone."""
    try:
        yield
    except OSError as exc:
        if exc.errno != errno.EIO:
            raise
        _leave()


def _leave() -> None:
    """Have what is written to a terminal that is gone succeed: hosts are still in flight."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (1, 2):
        if stat.S_ISCHR(os.fstat(number).st_mode) and not os.isatty(number):
            os.dup2(nowhere, number)
    os.close(nowhere)
