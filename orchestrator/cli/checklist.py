"""`orchestrate checklist`."""

from __future__ import annotations

from dataclasses import asdict
from textwrap import TextWrapper
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.common import Context, pass_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.models.manifest import ModelVersion
    from orchestrator.pipeline.checklist import Point

STYLES = {"yes": "green", "partly": "yellow", "no": "bold red"}
INDENT = 11
NOT_READY = 3  # the exit code of --strict


@click.command("checklist")
@click.argument("ref", metavar="NAME@VERSION")
@click.option("--strict", is_flag=True, help="Exit 3 when an answer is no.")
@pass_context
def command(context: Context, ref: str, strict: bool) -> int:
    """Whether a version is ready for the fleet: seven questions, their answers and the evidence.

    The answers come from the manifest, the profiles, the inventory and the history; no host is
    asked. Exit status: 0 whatever the answers are; with --strict 3 when one of them is no.
    """
    from orchestrator.cli import fleet
    from orchestrator.cli.known_fleet import known_fleet
    from orchestrator.pipeline.checklist import checklist

    version = fleet.catalog(context).get(ref)
    known = known_fleet(context, version)
    points = checklist(version, known)
    code = NOT_READY if strict and any(point.answer == "no" for point in points) else 0
    if context.json:
        context.emit(
            {
                "ref": version.ref,
                "yanked": version.yanked,
                "exit_code": code,
                "answers": [row(point) for point in points],
                "hosts": {host.name: asdict(host) for host in known.concerned},
            }
        )
    else:
        show(context, version, points)
    return code


def show(context: Context, version: ModelVersion, points: Sequence[Point]) -> None:
    """Print each question with its answer, then what that rests on and what to do next."""
    from rich.text import Text

    console = context.console
    indented = TextWrapper(
        console.width,
        initial_indent=" " * INDENT,
        subsequent_indent=" " * INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
    yanked = f"  yanked: {version.yanked}" if version.yanked else ""
    console.print(Text.assemble((version.ref, "bold"), (yanked, "yellow")))
    for number, point in enumerate(points, 1):
        answer = (f"{point.answer:6}", STYLES[point.answer])
        console.print(Text.assemble(f"{number}  ", answer, "  ", (point.question, "bold")))
        for line in point.evidence:
            console.print(Text(indented.fill(line)), soft_wrap=True)
        if point.next:
            console.print(Text(f"{'':{INDENT}}next: {point.next}", "cyan"), soft_wrap=True)


def row(point: Point) -> dict[str, Any]:
    """A point as --json shows it."""
    return {
        "question": point.question,
        "answer": str(point.answer),
        "evidence": list(point.evidence),
        "next": point.next or None,
    }
