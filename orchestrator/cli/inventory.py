"""`orchestrate inventory`: show, check and edit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.common import Context, Group, host_options, pass_context
from orchestrator.listing import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.fleet.host import Host
    from orchestrator.fleet.inventory.problems import Problem

_BAD_INPUT = 2


@click.group("inventory", cls=Group, invoke_without_command=True)
@host_options
@click.option("--check", is_flag=True, help="Find mistakes: file, line and fix. Exit 2 on errors.")
@pass_context
@click.pass_context
def command(
    ctx: click.Context, context: Context, groups: tuple[str, ...], limit: str | None, check: bool
) -> None:
    """Hosts, groups and wanted models; check and edit the inventory."""
    if ctx.invoked_subcommand is not None:
        if groups or limit is not None or check:
            raise click.UsageError("--group, --limit and --check go without a subcommand")
        return
    if check:
        if groups or limit is not None:
            raise click.UsageError("--check looks at the whole inventory")
        ctx.exit(_check(context))
    _show(context, groups, limit)


@command.command("add")
@click.argument("host")
@click.option("--group", "-g", "groups", multiple=True, metavar="GROUP", help="Repeatable.")
@click.option("--address", metavar="A", help="Where the host answers (ansible_host).")
@click.option("--user", metavar="U", help="Whom to log in as (ansible_user).")
@click.option("--port", metavar="N", type=click.IntRange(1, 65535), help="SSH port.")
@click.option("--var", "variables", multiple=True, metavar="K=V", help="A variable; repeatable.")
@click.option("--create-group", is_flag=True, help="Make the groups that do not exist.")
@pass_context
def add(
    context: Context,
    host: str,
    groups: tuple[str, ...],
    address: str | None,
    user: str | None,
    port: int | None,
    variables: tuple[str, ...],
    create_group: bool,
) -> None:
    """Put HOST into the YAML inventory, keeping its comments and order."""
    from orchestrator.fleet.inventory import edit

    given = {"ansible_host": address, "ansible_user": user, "ansible_port": port}
    wanted = {name: value for name, value in given.items() if value is not None}
    changed = edit.add_host(
        context.project.inventory,
        host,
        groups,
        wanted | dict(_assignment(text) for text in variables),
        create_groups=create_group,
    )
    _report_change(context, "added", host, changed)


@command.command("remove")
@click.argument("host")
@pass_context
def remove(context: Context, host: str) -> None:
    """Take HOST out of the YAML inventory, keeping its comments and order."""
    from orchestrator.fleet.inventory import edit, variables

    inventory = context.project.inventory
    changed = edit.remove_host(inventory, host)
    _report_change(context, "removed", host, changed)
    for file in variables.entity_files(variables.base_dir(inventory) / "host_vars", host):
        context.console.print(f"left: {_short(file)}, delete it when it is no longer needed")


def _show(context: Context, groups: Sequence[str], limit: str | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from orchestrator.fleet import inventory
    from orchestrator.fleet.inventory import patterns

    hosts = patterns.select(inventory.load(context.project.inventory), limit, groups)
    rows = {host.name: _row(host) for host in hosts}
    if context.json:
        context.emit({"hosts": rows})
        return
    table = Table(box=None, pad_edge=False)
    for title in ("HOST", "GROUPS", "ADDRESS", "MODEL", "PROFILE"):
        table.add_column(title, no_wrap=True)
    for name, row in rows.items():
        address = f"{row['address']}:{row['port']}" if row["port"] else row["address"]
        groups_of = ", ".join(row["groups"])
        model, profile = row["model"] or "-", row["profile"] or "by facts"
        table.add_row(*(Text(str(cell)) for cell in (name, groups_of, address, model, profile)))
    context.console.print(table, soft_wrap=True)


def _row(host: Host) -> dict[str, Any]:
    return {
        "groups": list(host.groups),
        "address": str(host.vars.get("ansible_host", host.name)),
        "port": host.vars.get("ansible_port"),
        "user": host.vars.get("ansible_user"),
        "model": host.vars.get("orchestrate_model"),
        "profile": host.vars.get("orchestrate_profile"),
    }


def _check(context: Context) -> int:
    from orchestrator.cli import fleet
    from orchestrator.fleet.inventory.check import check

    project = context.project
    profiles = [profile.name for profile in project.settings.profiles]
    models = [version.ref for version in fleet.catalog(context).all_versions()]
    problems = check(project.inventory, known_models=models or None, known_profiles=profiles)
    errors = sum(problem.level == "error" for problem in problems)
    exit_code = _BAD_INPUT if errors else 0
    if context.json:
        context.emit({"exit_code": exit_code, "problems": [_document(p) for p in problems]})
        return exit_code
    for problem in problems:
        click.echo(f"{_short(problem.file)}:{problem.line}: {problem.level}: {problem.message}")
        click.echo(f"  fix: {problem.hint}")
    warnings = len(problems) - errors
    told = f"{count(errors, 'error')}, {count(warnings, 'warning')}"
    click.echo(told if problems else "no mistakes found")
    return exit_code


def _document(problem: Problem) -> dict[str, Any]:
    return {
        "file": _short(problem.file),
        "line": problem.line,
        "level": problem.level,
        "message": problem.message,
        "hint": problem.hint,
    }


def _report_change(context: Context, done: str, host: str, changed: Sequence[Path]) -> None:
    files = [_short(file) for file in changed]
    context.emit({"host": host, "done": done, "files": files})
    if not context.json:
        click.echo(f"{done}: {host} ({', '.join(files)})")


def _assignment(text: str) -> tuple[str, Any]:
    """`k=v` as a name and a YAML value, so that numbers and true/false are what they look like."""
    import yaml

    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise click.UsageError(f"--var {text!r} is not of the form name=value")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        return name, value


def _short(file: Path) -> str:
    """The path from the working folder where it lies below it."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)
