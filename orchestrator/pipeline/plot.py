"""A figure of a comparison, for a report: size, speed and accuracy of every artifact."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ModelError, UsageError
from orchestrator.pipeline.extras import need
from orchestrator.pipeline.gate import FP16_LIMITS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.pipeline.comparison import Comparison, Row

SUFFIXES = (".png", ".svg")
# Okabe and Ito's colours, told apart by people with any colour vision.
PASS, FAIL, UNKNOWN = "#0072B2", "#D55E00", "#8C8C8C"
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "<", ">")
# Shares of limits are shown down to a ten-thousandth; smaller ones and zero stand there.
LEAST, MOST = 1e-4, 1e4
INCHES_WIDE, INCHES_A_ROW, INCHES_BESIDE = 13.0, 0.36, 2.6
STYLE = {
    "svg.hashsalt": "orchestrate",
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def check(path: Path) -> None:
    """Raise UsageError for a file that is no .png or .svg, ModelError without matplotlib."""
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{path}: a figure is written as {' or '.join(SUFFIXES)}",
            hint=f"Name it {path.with_suffix('.png').name}.",
        )
    need("matplotlib", "onnx")


def draw(comparison: Comparison, path: Path) -> None:
    """Write the figure to `path`, .png or .svg; the same comparison gives the same bytes.

    Raises as `check`, and ModelError for a version without artifacts and where the file cannot be
    written.
    """
    check(path)
    if not comparison.rows:
        raise ModelError(f"{comparison.ref} has no artifacts to draw")
    # SVG tells the day it was made unless told not to; PNG tells no time.
    told = {"Date": None} if path.suffix.lower() == ".svg" else {}
    with need("matplotlib", "onnx").rc_context(STYLE):
        try:
            _figure(comparison).savefig(path, dpi=150, metadata=told)
        except OSError as exc:
            raise ModelError(f"{path} cannot be written: {exc.strerror or exc}") from exc


def _figure(comparison: Comparison) -> Any:
    figures = need("matplotlib.figure", "onnx")
    rows = comparison.rows
    figure = figures.Figure(
        figsize=(INCHES_WIDE, INCHES_BESIDE + INCHES_A_ROW * len(rows)), layout="constrained"
    )
    sizes, speeds, shares = figure.subplots(
        1, 3, sharey=True, gridspec_kw={"width_ratios": (2, 2, 5)}
    )
    _bars(sizes, rows, [row.artifact.size / 1e6 for row in rows], "size, MB")
    _bars(speeds, rows, [row.evals_per_s for row in rows], "evals/s")
    _shares(shares, rows)
    sizes.set_yticks(range(len(rows)), [row.name for row in rows])
    sizes.set_ylim(len(rows) - 0.4, -0.6)
    figure.suptitle(comparison.ref, fontsize=12, fontweight="bold")
    figure.legend(
        handles=[*_colours(), *_metrics(shares)], loc="outside lower center", ncols=6, frameon=False
    )
    return figure


def _bars(axes: Any, rows: Sequence[Row], values: Sequence[float | None], label: str) -> None:
    """One bar a row with its value behind it."""
    bars = axes.barh(
        range(len(rows)),
        [value or 0.0 for value in values],
        height=0.62,
        color=[_colour(row) for row in rows],
    )
    axes.bar_label(
        bars,
        labels=["not measured" if value is None else _told(value) for value in values],
        padding=3,
        fontsize=8,
    )
    axes.set_xlabel(label)
    most = max((value for value in values if value), default=0.0)
    axes.set_xlim(0, 1.35 * most or 1)
    if not most:
        axes.set_xticks([])
    axes.tick_params(axis="y", length=0)


def _shares(axes: Any, rows: Sequence[Row]) -> None:
    """Each metric of a row as its share of the limit, and the verdict behind them."""
    axes.set_xscale("log")
    for place, row in enumerate(rows):
        for metric, share in row.shares.items():
            axes.plot(
                min(max(share, LEAST), MOST),
                place,
                MARKERS[list(FP16_LIMITS).index(metric)],
                color=FAIL if share > 1 else PASS,
                markersize=6,
                alpha=0.8,
                clip_on=False,
            )
        axes.annotate(
            _verdict(row),
            (1.02, place),
            xycoords=("axes fraction", "data"),
            verticalalignment="center",
            color=_colour(row) if row.gate else "#595959",
            fontsize=8,
        )
    known = [min(max(s, LEAST), MOST) for row in rows for s in row.shares.values()]
    axes.set_xlim(min([0.01, *known]) / 1.5, max([3.0, *known]) * 1.5)
    axes.axvline(1, color="black", linewidth=1, linestyle="--", zorder=0)
    axes.set_xlabel("error in units of its limit, p99 or maximum (1: all that is allowed)")
    axes.grid(axis="y", color="#E5E5E5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}" if x > LEAST else f"≤ {LEAST:g}")
    axes.tick_params(axis="y", length=0)


def _told(value: float) -> str:
    """Three digits, never as a power of ten."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"  # noqa: PLR2004 - three digits


def _verdict(row: Row) -> str:
    """`fail: policy_kl 4.1 x`; the metric is the one nearest to, or furthest beyond, its limit."""
    if not row.gate:
        return "the net itself" if row.artifact.format == "katago" else "not measured"
    if not row.shares:
        return row.gate
    metric = max(row.shares, key=lambda name: row.shares[name])
    share = row.shares[metric]
    if not math.isfinite(share):
        return f"{row.gate}: {metric} not finite"
    return f"{row.gate}: {metric} {f'{share:.2g}' if share > LEAST else f'≤ {LEAST:g}'}×"


def _colour(row: Row) -> str:
    return {"pass": PASS, "fail": FAIL}.get(row.gate, UNKNOWN)


def _colours() -> list[Any]:
    patches = need("matplotlib.patches", "onnx")
    words = {"within the limits": PASS, "beyond a limit": FAIL, "accuracy not measured": UNKNOWN}
    return [patches.Patch(color=colour, label=word) for word, colour in words.items()]


def _metrics(axes: Any) -> list[Any]:
    """What each marker stands for."""
    return [
        axes.plot([], [], marker, color="#333333", markersize=6, linestyle="none", label=metric)[0]
        for marker, metric in zip(MARKERS, FP16_LIMITS, strict=True)
    ]
