"""`orchestrate build`: artifacts out of a KataGo net."""

from __future__ import annotations

import contextlib
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli import fleet
from orchestrator.cli.common import Context, pass_context, table
from orchestrator.cli.models import gate, plain, say
from orchestrator.models.manifest import PRECISIONS
from orchestrator.pipeline.formats import FORMATS
from orchestrator.sizes import human_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.pipeline.build import Built
    from orchestrator.pipeline.formats.base import OnStep
    from orchestrator.pipeline.katago.network import Shape
    from orchestrator.pipeline.recipes import Request

FAILED = 3
THREE_DIGITS = 1000


class Number(click.FloatRange):
    """A number of a range; `nan` and `inf`, which Python reads as numbers, are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click.ParamType."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no number.", param, ctx)
        return number


@click.command()
@click.argument("ref", metavar="NAME@VERSION")
@click.option(
    "--format",
    "names",
    multiple=True,
    type=click.Choice(FORMATS),
    help="Repeatable; default: onnx, and others that the profiles ask for.",
)
@click.option(
    "--precision", "precisions", multiple=True, type=click.Choice(PRECISIONS), help="Repeatable."
)
@click.option("--board", metavar="WxH", default="19x19", show_default=True, help="Of the tensors.")
@click.option("--exact", is_flag=True, help="For that board only; else for any up to it.")
@click.option(
    "--optimism",
    type=Number(0, 1),
    default=0.0,
    show_default=True,
    help="Share of the optimistic policy.",
)
@click.option("--without-softplus", is_flag=True, help="For WebGPU and NPUs, which lack it.")
@click.option("--variant", default="", metavar="NAME", help="What to call what is not usual.")
@click.option(
    "--calibration",
    "calibration_sources",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="PATH",
    help="For int8: KataGo training rows (.npz) or games (.sgf), or folders of them; repeatable.",
)
@click.option(
    "--calibration-rows",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    metavar="N",
    help="So many of them.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Which rows are drawn."
)
@click.option(
    "--katago",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The engine that encodes the games of --calibration.",
)
@click.option(
    "--check",
    "check_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="NPZ",
    help="Positions to measure accuracy on; default: ours, on four board sizes.",
)
@click.option(
    "--mode",
    default="auto",
    show_default=True,
    metavar="MODE",
    help="How int8 is reached: auto (the first that passes), weights-nearest, weights-groups, "
    "weights-fine, weights, weights-mixed, static-minmax, static-entropy, static-percentile, "
    "static-mixed. LiteRT and Core ML have auto, weights-nearest and weights.",
)
@click.option("--finetune", is_flag=True, help="Train the net for int8 against its own answers.")
@click.option(
    "--finetune-steps",
    type=click.IntRange(1),
    default=400,
    show_default=True,
    metavar="N",
    help="It ends after these, or",
)
@click.option(
    "--finetune-minutes",
    type=Number(0.1),
    default=20.0,
    show_default=True,
    metavar="M",
    help="after these, whichever comes first.",
)
@click.option(
    "--compute-capability",
    "compute_capabilities",
    multiple=True,
    metavar="X.Y",
    help="Of the GPU of a TensorRT engine, such as 8.6; repeatable.",
)
@click.option(
    "--batch",
    metavar="MIN,USUAL,MAX",
    default="1,8,32",
    show_default=True,
    help="Of a TensorRT engine: positions that it takes at once.",
)
@click.option("--again", is_flag=True, help="Replace what an earlier build made.")
@pass_context
def command(
    context: Context,
    /,
    ref: str,
    names: tuple[str, ...],
    precisions: tuple[str, ...],
    calibration_sources: tuple[Path, ...],
    calibration_rows: int,
    seed: int,
    katago: Path | None,
    check_file: Path | None,
    again: bool,
    **asked: Any,
) -> int:
    """Make artifacts of the KataGo net of a version, and prove that they still play the same.

    Each is compared with the net itself over positions on several boards, in KataGo's own metrics,
    and judged by KataGo's own limits for FP16. One that fails stays in the catalog, marked: no
    host gets it unless deploy is told --allow-inexact. What is there already is not made again.
    """
    require(names, finetune=asked["finetune"])
    from orchestrator.pipeline import positions
    from orchestrator.pipeline.build import Builder
    from orchestrator.pipeline.calibration import load
    from orchestrator.pipeline.recipes import recipes

    fleet.catalog(context).get(ref)
    wanted = recipes(request(wishes(context, names, precisions, asked), asked))
    with (
        steps() as progress,
        Builder(
            fleet.catalog(context),
            ref,
            check=positions.read(check_file) if check_file else None,
            progress=progress,
            again=again,
        ) as builder,
    ):
        if calibration_sources and any(recipe.precision == "int8" for recipe in wanted):
            builder.calibration = load(
                calibration_sources,
                count=calibration_rows,
                seed=seed,
                engine=katago,
                model=builder.path,
                progress=progress,
            )
        built = list(builder.build(wanted))
    code = FAILED if any(each.error for each in built) else 0
    context.emit({"ref": ref, "exit_code": code, "artifacts": [row(each) for each in built]})
    if not context.json:
        tell(context, ref, built)
    return code


def require(names: Sequence[str], *, finetune: bool) -> None:
    """Raise ModelError, which says what to install, where a library that is needed is missing."""
    from orchestrator.pipeline.extras import need

    for library in ("numpy", "onnx", "onnxruntime"):
        need(library, "onnx")
    from orchestrator.pipeline import formats

    for name in names:
        formats.load(name)
    if finetune:
        need("torch", "build")


def wishes(
    context: Context,
    names: Sequence[str],
    precisions: Sequence[str],
    asked: dict[str, Any],
) -> tuple[tuple[str, str], ...]:
    """Formats with precisions: those named, or ONNX and whatever else the profiles ask for.

    Of what was not named, a format that lacks its libraries here or a compute capability is left
    out, and said to be.
    """
    from orchestrator.pipeline import formats

    pairs = [
        (name, precision)
        for name in names or FORMATS
        for precision in precisions or formats.get(name).precisions
        if precision in formats.get(name).precisions
    ]
    if names and precisions and not pairs:
        return tuple((name, precision) for name in names for precision in precisions)
    if names:
        return tuple(pairs)
    profiles = context.project.settings.profiles
    used = {(wish.format, wish.precision) for each in profiles for wish in each.artifacts}
    chosen = []
    for name, precision in pairs:
        if name != "onnx" and not {(name, precision), (name, None)} & used:
            continue
        lack = lacking(name, asked["compute_capabilities"])
        if lack:
            say(context, f"{name} {precision} is left out: {lack}", "dim")
        else:
            chosen.append((name, precision))
    return tuple(chosen)


def lacking(name: str, compute_capabilities: Sequence[str]) -> str:
    """Why a format cannot be built as things are; empty when it can."""
    from orchestrator.errors import ModelError
    from orchestrator.pipeline import formats

    if name == "tensorrt" and not compute_capabilities:
        return "no --compute-capability was named"
    try:
        formats.load(name)
    except ModelError as error:
        return error.message
    return ""


def request(wanted: tuple[tuple[str, str], ...], asked: dict[str, Any]) -> Request:
    """What the options ask for; raises a usage error for a board or batch that is none."""
    from orchestrator.pipeline.formats.base import Finetune
    from orchestrator.pipeline.recipes import Request

    finetune = Finetune(asked["finetune_steps"], asked["finetune_minutes"])
    return Request(
        wanted,
        board_shape(asked),
        asked["variant"],
        asked["mode"],
        finetune if asked["finetune"] else None,
        tuple(compute_capability(text) for text in asked["compute_capabilities"]),
        batch_sizes(asked["batch"]),
    )


def board_shape(asked: dict[str, Any]) -> Shape:
    """`9x13` is 9 points wide; `9` is 9x9."""
    from orchestrator.pipeline.katago.network import BOARD_LENGTHS, Shape

    found = re.fullmatch(r"([0-9]{1,2})(?:x([0-9]{1,2}))?", asked["board"])
    width, height = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if width not in BOARD_LENGTHS or height not in BOARD_LENGTHS:
        raise click.UsageError(
            f"--board {asked['board']!r} is none: two lengths from {BOARD_LENGTHS[0]} to "
            f"{BOARD_LENGTHS[-1]}, such as 19x19"
        )
    return Shape(
        height, width, not asked["exact"], asked["optimism"], not asked["without_softplus"]
    )


def compute_capability(text: str) -> str:
    """`8.6`; raises a usage error."""
    if not re.fullmatch(r"[0-9]{1,2}\.[0-9]", text):
        raise click.UsageError(f"--compute-capability {text!r} is none, such as 8.6")
    return text


def batch_sizes(text: str) -> tuple[int, int, int]:
    """Smallest, usual and largest batch; raises a usage error."""
    if re.fullmatch(r"[0-9]{1,4}(,[0-9]{1,4}){2}", text):
        least, usual, most = (int(word) for word in text.split(","))
        if 1 <= least <= usual <= most:
            return least, usual, most
    raise click.UsageError(f"--batch {text!r} is not MIN,USUAL,MAX such as 1,8,32")


def row(built: Built) -> dict[str, Any]:
    """What became of a recipe as --json shows it."""
    from orchestrator.models.manifest import entry

    return {
        "name": built.recipe.name,
        "outcome": built.outcome,
        "artifact": entry(built.artifact) if built.artifact else None,
        "error": built.error.as_dict() if built.error else None,
    }


def tell(context: Context, ref: str, built: Sequence[Built]) -> None:
    """A table of what was made, what failed first; and what to do next."""
    shown = table("artifact", "", "size", "evals/s", "gate")
    for each in sorted(built, key=lambda each: (each.error is None, passes(each))):
        if each.error is not None:
            why = plain(each.error.message, "red")
            shown.add_row(each.recipe.name, plain("failed", "red"), "", "", why)
        elif each.artifact is not None:
            artifact = each.artifact
            speed = artifact.measured.get("evals_per_s")
            verdict = gate(artifact.accuracy) or "not run here, so not measured"
            failed = artifact.accuracy.get("gate") == "fail"
            shown.add_row(
                each.recipe.name,
                each.outcome,
                human_size(artifact.size),
                per_second(speed),
                plain(verdict, "yellow" if failed else ""),
            )
    context.console.print(shown)
    hints = dict.fromkeys(each.error.hint for each in built if each.error and each.error.hint)
    for hint in hints:
        say(context, f"hint: {hint}")
    if any(each.artifact is not None for each in built):
        say(context, f"Next: orchestrate compare {ref}", "dim")


def per_second(speed: float | None) -> str:
    """`7.31`, `131`, `1204`; empty where it was not measured."""
    if speed is None:
        return ""
    return f"{speed:.3g}" if speed < THREE_DIGITS else f"{speed:.0f}"


def passes(built: Built) -> bool:
    """Whether the artifact passes its gate, or has none."""
    return built.artifact is None or built.artifact.accuracy.get("gate") != "fail"


@contextlib.contextmanager
def steps() -> Iterator[OnStep]:
    """A bar with the step that is being done, or a line for each step where nobody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TimeElapsedColumn(),
    )
    said: set[str] = set()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("starting", total=None)

        def advance(what: str, done: int, total: int) -> None:
            if not console.is_terminal and what not in said:
                said.add(what)
                click.echo(what, err=True)
            bar.update(task, description=what, completed=done, total=total if total > 1 else None)

        yield advance
