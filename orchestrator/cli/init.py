"""`orchestrate init DIR`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.common import Context, pass_context


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@pass_context
def command(context: Context, folder: Path) -> None:
    """Make a fleet project in DIR: settings, inventory, templates, playbooks.

    Files that are there already stay as they are.
    """
    from orchestrator.fleet import skeleton

    written = skeleton.create(folder)
    context.emit({"project": str(folder.resolve()), "written": [str(path) for path in written]})
    for path in written:
        click.echo(f"  wrote {folder / path}", err=context.json)
    click.echo(
        f"\nNext: name your hosts in {folder / 'inventory/hosts.yml'}, then", err=context.json
    )
    click.echo(f"  orchestrate --project {folder} inventory --check", err=context.json)
