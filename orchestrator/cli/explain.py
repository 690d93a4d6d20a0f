"""`orchestrate explain HOST`."""

from __future__ import annotations

import click

from orchestrator.cli.common import Context, allow_tag_option, pass_context


@click.command("explain")
@click.argument("host")
@click.option("--model", metavar="NAME@VERSION", help="Instead of the inventory's.")
@click.option("--allow-inexact", is_flag=True, help="Take artifacts that fail the accuracy gate.")
@allow_tag_option
@pass_context
def command(
    context: Context, host: str, model: str | None, allow_inexact: bool, allow_tag: bool
) -> int:
    """Why HOST gets the artifact, config and engine that it gets, and what would be sent.

    HOST may be a pattern, as in --limit. Touches nothing that runs, like `plan`.
    Exit status: 0, 2 a host can get nothing of the version, 5 a host could not be reached.
    """
    from orchestrator.cli import fleet
    from orchestrator.errors import InputError
    from orchestrator.planning.explain import explain
    from orchestrator.rollout.outcome import worst

    inventory, hosts = fleet.choose(context, (), host)
    wanted = fleet.wanted(context, inventory, hosts, model, allow_inexact=allow_inexact)
    hosts = fleet.with_a_wish(hosts, wanted)
    survey = fleet.look(context, "explain", hosts, allow_tag=allow_tag)
    documents, codes = [], []
    for failed in survey.failed:
        name, error = failed.task.host.name, failed.error
        documents.append({"host": name, "error": error.as_dict()})
        codes.append(error.exit_code)
        click.secho(f"{name}: {error.message}", fg="red", err=True)
        click.echo(f"  hint: {error.hint}", err=True)
    for surveyed in survey.surveyed:
        asked, target = surveyed.task.host, wanted[surveyed.task.host.name]
        told = explain(target.inputs(asked, surveyed.facts, surveyed.present))
        documents.append(told.document)
        codes.append(told.error.exit_code if told.error else 0)
        if not context.json:
            context.tell("\n".join((*told.lines, "")))
    code = InputError.exit_code if InputError.exit_code in codes else worst(codes)
    context.emit({"exit_code": code, "hosts": {d["host"]: d for d in documents}})
    return code
