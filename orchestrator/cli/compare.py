"""`orchestrate compare`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.common import Context, pass_context, table
from orchestrator.cli.models import say, split_pairs
from orchestrator.listing import count, names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table
    from rich.text import Text

    from orchestrator.models.manifest import ModelVersion
    from orchestrator.pipeline.comparison import Comparison, Row

STYLES = {"pass": "green", "fail": "bold red"}
UNKNOWN = "–"
UNLIMITED = 10_000  # columns
THREE_DIGITS = 1000
NEXT_TO_NOTHING = 1e-3  # of the limit


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table; a narrow terminal goes without those of the highest `rank` first."""

    header: str
    cells: list[Text]
    rank: int = 0
    left: bool = False


@click.command("compare")
@click.argument("ref", metavar="NAME@VERSION")
@click.option("--measure", is_flag=True, help="Measure speed and memory here, now.")
@click.option(
    "--katago",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --measure: a KataGo on this machine, for KataGo nets.",
)
@click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="A config key for it; repeatable."
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Draw it into a .png or .svg as well.",
)
@pass_context
def command(
    context: Context,
    ref: str,
    measure: bool,
    katago: Path | None,
    settings: tuple[str, ...],
    plot: Path | None,
) -> None:
    """What each artifact of a version costs and loses: size, speed, accuracy, side by side.

    Errors are those at the 99th percentile of the positions that the build checked with; -v adds
    the largest. An artifact with an error beyond its limit has a failed gate and is not deployed.
    With --measure, speed and memory are measured on this machine now, one position at a time: ONNX
    and LiteRT where their runtimes are installed, KataGo nets by the KataGo that --katago names.
    What does not run here is measured on hosts, by `orchestrate verify`.
    """
    from orchestrator.cli import fleet
    from orchestrator.pipeline.comparison import compare

    catalog = fleet.catalog(context)
    version = catalog.get(ref)
    pairs = split_pairs("--set", settings)
    if (katago or pairs) and not measure:
        raise click.UsageError("--katago and --set go with --measure")
    if plot is not None:
        from orchestrator.pipeline.plot import check, draw

        check(plot)
    measured, missed = _measured(context, version, katago, pairs) if measure else ({}, {})
    comparison = compare(version, measured)
    if plot is not None:
        draw(comparison, plot)
    context.emit(
        comparison.document()
        | {
            "yanked": version.yanked,
            "not_measured": missed,
            "plot": str(plot) if plot else None,
        }
    )
    if not context.json:
        if version.yanked:
            say(context, f"yanked: {version.yanked}", "yellow")
        show(context, comparison, missed)
        if plot is not None:
            say(context, f"Drawn: {plot}")


def _measured(
    context: Context, version: ModelVersion, katago: Path | None, settings: dict[str, str]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """New measurements by sha256, and the reasons why others have none, by artifact."""
    from rich.console import Console

    from orchestrator.cli import fleet
    from orchestrator.pipeline.extras import need

    need("numpy", "onnx")
    from orchestrator.pipeline.comparison import name_of
    from orchestrator.pipeline.remeasure import Engine, remeasure

    measured, missed = {}, {}
    engine = Engine(katago, settings) if katago else None
    store = fleet.catalog(context).store
    with Console(stderr=True).status(f"Measuring {version.ref}"):
        for artifact, found in remeasure(version, store, katago=engine):
            if isinstance(found, str):
                missed[name_of(artifact)] = found
            else:
                measured[artifact.sha256] = found
    return measured, missed


def show(context: Context, comparison: Comparison, missed: dict[str, str]) -> None:
    """Print the table, what its numbers are against, and what has no room in it."""
    from rich.text import Text

    console = context.console
    if not comparison.rows:
        console.print(
            f"{comparison.ref} has no artifacts: orchestrate models add NAME@VERSION SOURCE"
        )
        return
    kinds = ("p99", "max") if context.verbose else ("p99",)
    console.print(Text(comparison.ref, "bold"))
    made, dropped = fitted(context, columns(comparison, kinds))
    console.print(made)
    console.print()
    for row in comparison.rows:
        if "why" in dropped and row.gate == "fail":
            console.print(Text.assemble((f"{row.name} ", "bold"), _gate(row), f": {row.reason}"))
    for line in notes(comparison, kinds, len(dropped) - ("why" in dropped), missed):
        console.print(Text(line, "dim"))


def columns(comparison: Comparison, kinds: Sequence[str]) -> list[Column]:
    """Every column there is something for, those that matter most with the lowest rank."""
    from rich.text import Text

    from orchestrator.sizes import human_size

    rows, telling = comparison.rows, comparison.telling
    made = [
        Column("artifact", [Text(row.name, "bold") for row in rows], left=True),
        Column("size", [Text(human_size(row.artifact.size)) for row in rows], 1),
        Column("size ×", [_ratio(row.size_ratio) for row in rows], 3),
        Column("evals/s", [_number(row.evals_per_s) for row in rows], 2),
        Column("speed ×", [_ratio(row.speed_ratio) for row in rows], 4),
        Column("memory", [_number(row.peak_rss_mb, " MiB") for row in rows], 5),
        *(
            Column(metric, [_error(row, metric, kinds) for row in rows], 6 + place)
            for metric in comparison.metrics
            for place in [telling.index(metric)]
        ),
        Column("gate", [_gate(row) for row in rows], left=True),
        Column("why", [Text(row.reason) for row in rows], 100, left=True),
    ]
    return [
        column for column in made if any(cell.plain not in {"", UNKNOWN} for cell in column.cells)
    ]


def fitted(context: Context, wanted: list[Column]) -> tuple[Table, list[str]]:
    """The table of as many columns as the terminal has room for, and the names of the others."""
    console, kept = context.console, list(wanted)
    while True:
        made = _table(kept)
        room = console.options.update(width=UNLIMITED, max_width=UNLIMITED)
        last = max(kept, key=lambda column: column.rank)
        if console.measure(made, options=room).maximum <= console.width or not last.rank:
            return made, [column.header for column in wanted if column not in kept]
        kept.remove(last)


def _table(kept: Sequence[Column]) -> Table:
    made = table()
    for column in kept:
        made.add_column(
            column.header.replace("_", "\n"),
            header_style="dim",
            justify="left" if column.left else "right",
            no_wrap=True,
            min_width=None if column is kept[0] else max(cell.cell_len for cell in column.cells),
        )
    for cells in zip(*(column.cells for column in kept), strict=True):
        made.add_row(*cells)
    return made


def notes(
    comparison: Comparison, kinds: Sequence[str], dropped: int, missed: dict[str, str]
) -> list[str]:
    """What the numbers are against, where they are from, and what is not shown."""
    from orchestrator.pipeline.gate import UNITS

    lines = []
    if comparison.reference is not None:
        lines.append(f"×: times that of {comparison.reference.kind}")
    if not any(row.gate for row in comparison.rows):
        lines.append("accuracy is measured of what `orchestrate build` makes")
    if comparison.metrics:
        spread = " and largest" if len(kinds) > 1 else ""
        against = f" against {', '.join(comparison.accuracy_of)}" if comparison.accuracy_of else ""
        points = ", ".join(name for name, unit in UNITS.items() if unit == "points")
        lines.append(f"errors: 99th percentile{spread}{against}; !: it or the largest is too much")
        lines.append(f"in points: {points}; ≈ 0: below a thousandth of the limit")
    machines = comparison.measured_on
    for conditions, measured in machines.items():
        whose = f" of {names(measured)}" if len(machines) > 1 else ""
        lines.append(f"speed{whose}: {conditions}")
    lines += [f"not measured now: {name}: {why}" for name, why in missed.items()]
    if any(row.evals_per_s is None or not row.gate for row in comparison.rows):
        lines.append(f"{UNKNOWN}: not measured")
    if dropped:
        lines.append(f"no room for {count(dropped, 'column')}: a wider terminal or --json has more")
    return lines


def _error(row: Row, metric: str, kinds: Sequence[str]) -> Text:
    from rich.text import Text

    errors = row.errors.get(metric)
    if errors is None:
        return Text(UNKNOWN, "dim")
    beyond = row.shares[metric] > 1
    words = " / ".join(_told(metric, kind, errors[kind]) for kind in kinds)
    return Text(words + (" !" if beyond else ""), "bold red" if beyond else "")


def _told(metric: str, kind: str, error: float) -> str:
    """The error with its unit, but for points; what is next to nothing has no digits."""
    from orchestrator.pipeline.gate import FP16_LIMITS, told

    if not math.isfinite(error):
        return "none"
    if error < NEXT_TO_NOTHING * getattr(FP16_LIMITS[metric], kind):
        return "≈ 0"
    return told(metric, error).removesuffix(" points").removesuffix(" point")


def _gate(row: Row) -> Text:
    from rich.text import Text

    return Text(row.gate or UNKNOWN, STYLES.get(row.gate, "dim"))


def _ratio(value: float | None) -> Text:
    from rich.text import Text

    return Text(UNKNOWN, "dim") if value is None else Text(f"{value:.2f}")


def _number(value: float | None, unit: str = "") -> Text:
    """Three digits, never as a power of ten."""
    from rich.text import Text

    if value is None:
        return Text(UNKNOWN, "dim")
    return Text(f"{value:.3g}{unit}" if value < THREE_DIGITS else f"{value:.0f}{unit}")
