"""What every command shares: the fleet project, how to print, and how hosts are chosen."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import click

from orchestrator.cli.terminal import answer, may_be_gone

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from orchestrator.events import Subscriber
    from orchestrator.fleet.project import Project
    from orchestrator.rollout.project_lock import ProjectLock

WIDTH_OF_A_LOG = 200
F = TypeVar("F", bound="Callable[..., Any]")


@dataclass
class Context:
    """The global options, and what follows from them when it is first asked for."""

    project_dir: Path | None = None
    json: bool = False
    verbose: bool = False
    json_lines: bool = False
    _lock: ProjectLock | None = None

    @property
    def for_people(self) -> bool:
        """Whether people read stdout; else programs do, and people read stderr."""
        return not (self.json or self.json_lines)

    @cached_property
    def project(self) -> Project:
        """The fleet project; raises UsageError when there is none."""
        from orchestrator.fleet import project

        return project.find(explicit=self.project_dir)

    @cached_property
    def console(self) -> Console:
        """Where people read: stdout, or stderr when stdout carries JSON."""
        from rich.console import Console

        console = Console(stderr=not self.for_people, highlight=False)
        told = os.environ.get("COLUMNS", "0") != "0"  # 0: whoever set it does not know either
        if not console.width or not (console.is_terminal or told):
            console.width = WIDTH_OF_A_LOG
        return console

    def project_lock(self, command: str) -> ProjectLock:
        """The lock of the fleet project, held until the command ends; LockedError at once."""
        from orchestrator.rollout import project_lock

        if self._lock is None or not self._lock.held:
            self._lock = project_lock.take(self.project.state, command)
            click.get_current_context().call_on_close(self._lock.release)
        return self._lock

    def emit(self, document: Any) -> None:
        """Print the JSON document when --json was given."""
        if self.json:
            import json

            click.echo(json.dumps(document, indent=2, default=str))

    def tell(self, text: str) -> None:
        """Print a line for people."""
        click.echo(text, err=not self.for_people)

    def listeners(self) -> list[Subscriber]:
        """Who else hears a run's events: stdout, when --json-lines was given."""
        if not self.json_lines:
            return []
        from orchestrator.cli.json_lines import JsonLines

        return [JsonLines()]


class Group(click.Group):
    """A group whose help tells what each subcommand does in a whole sentence, wrapped, not cut."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the first sentence of each subcommand's help."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        told = [(name, each.get_short_help_str(limit=10_000)) for name, each in commands if each]
        with formatter.section("Commands"):
            formatter.write_dl(told)


pass_context = click.make_pass_decorator(Context)


def host_options(function: F) -> F:
    """Give a command `--group G` (repeatable, as `groups`) and `--limit PATTERN` (as `limit`)."""
    function = click.option(
        "--limit", metavar="PATTERN", help="Ansible host pattern, such as 'jetsons:!jetson-3'."
    )(function)
    return click.option(
        "--group", "groups", multiple=True, metavar="GROUP", help="Hosts of GROUP; repeatable."
    )(function)


def allow_tag_option(function: F) -> F:
    """Give a command `--allow-tag`, for images of Docker hosts that are named by a tag."""
    return click.option(
        "--allow-tag", is_flag=True, help="Take the digest that the image's tag has now."
    )(function)


def table(*columns: str) -> Table:
    """An empty table without lines, as every command prints them."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, header_style="dim")
    return made


def one_line(message: str, hint: str) -> str:
    """An error and its hint, as one line of a table shows them."""
    return f"{message.rstrip('.')}. {hint}" if hint else message


class DeclinedError(click.Abort):
    """The operator said no before anything was touched."""


def confirm(question: str) -> None:
    """Ask before anything is touched; a no, or Ctrl-C, raises DeclinedError.

    Raises UsageError where nobody can answer.
    """
    try:
        yes = agreed(question)
    except click.Abort as exc:
        with may_be_gone():
            click.echo(err=True)
        raise DeclinedError from exc
    if not yes:
        raise DeclinedError


def agreed(question: str) -> bool:
    """What the operator answers to a question; raises UsageError where nobody can answer."""
    import sys

    from orchestrator.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", hint="Give --yes to go ahead unasked.")
    return answer(question)
