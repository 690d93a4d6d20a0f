"""Manifests next to each other, and the figure of them."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest

from orchestrator.errors import ModelError, UsageError
from orchestrator.pipeline import extras
from orchestrator.pipeline.comparison import compare, reference_of
from orchestrator.pipeline.gate import FP16_LIMITS
from orchestrator.pipeline.plot import draw
from tests.pipeline.built import MACHINE, accuracy, built, by_hand, version

BIG = 4_000_000
PLAN_86, PLAN_89 = ({"compute_capability": c, "tensorrt": "10.3"} for c in ("8.6", "8.9"))
TWELVE = (
    by_hand("katago fp32", BIG),
    built("onnx fp32", 1e-4, size=BIG),
    built("onnx fp16", 0.6),
    built("onnx int8", 4.2, speed=22.0),
    built("onnx int8 weights", 0.97),
    built("onnx fp32 9x9-exact", 0.003, size=BIG, speed=55.0),
    built("onnx int8 9x9-exact-optimism-0.5-no-softplus", 1.7, speed=1234.0),
    built("tensorrt fp16", 0.8, speed=None, requires=PLAN_86),
    by_hand("tensorrt fp16", requires=PLAN_89),
    built("litert fp32", 0.002, size=BIG),
    built("litert int8", 80),
    built("litert fp16", 0.5),
)


def rows(*artifacts, **more):
    return {row.name: row for row in compare(version(*artifacts), **more).rows}


def test_formats_then_precisions_then_variants():
    names = [row.name for row in compare(version(*reversed(TWELVE))).rows]
    assert names == [
        "katago fp32",
        "onnx fp32",
        "onnx fp32 9x9-exact",
        "onnx fp16",
        "onnx int8",
        "onnx int8 9x9-exact-optimism-0.5-no-softplus",
        "onnx int8 weights",
        "tensorrt fp16 8.6",
        "tensorrt fp16 8.9",
        "litert fp32",
        "litert fp16",
        "litert int8",
    ]


@pytest.mark.parametrize(
    ("kinds", "reference"),
    [
        ({"katago fp32": 9, "onnx fp32 9x9": 8, "onnx fp32": 7, "onnx int8": 6}, "onnx fp32"),
        ({"katago fp32": 9, "onnx fp32 9x9": 8}, "onnx fp32 9x9"),
        ({"katago fp32": 5, "litert fp32 9x9": 8, "litert fp32": 6}, "litert fp32 9x9"),
        ({"onnx int8": 5, "tensorrt fp16": 8}, None),
        ({}, None),
    ],
)
def test_what_ratios_are_against(kinds, reference):
    found = reference_of([by_hand(kind, size) for kind, size in kinds.items()])
    assert (found and found.kind) == reference


def test_ratios():
    found = rows(
        built("onnx fp32", size=BIG), built("onnx int8", speed=25.0), by_hand("katago fp32")
    )
    assert (found["onnx int8"].size_ratio, found["onnx int8"].speed_ratio) == (0.25, 2.5)
    assert (found["onnx fp32"].size_ratio, found["onnx fp32"].speed_ratio) == (1, 1)
    assert (found["katago fp32"].size_ratio, found["katago fp32"].speed_ratio) == (0.25, None)


@pytest.mark.parametrize(
    ("change", "comparable"),
    [({}, True), ({"batch_size": 8}, True), ({"cpu": "another"}, False), ({"threads": 1}, False)],
)
def test_speeds_of_unlike_machines_have_no_ratio(change, comparable):
    measured = {**MACHINE, "evals_per_s": 20.0} | change
    found = rows(built("onnx fp32"), built("onnx int8", measured=measured))["onnx int8"]
    assert found.evals_per_s == 20
    assert (found.speed_ratio is not None) is comparable


def test_what_is_measured_now_takes_the_place_of_the_manifests():
    one, other = built("onnx fp32"), built("onnx int8")
    now = {one.sha256: {"evals_per_s": 4.0, "cpu": "here"}}
    comparison = compare(version(one, other), now)
    assert [row.evals_per_s for row in comparison.rows] == [4, 10]
    assert comparison.rows[1].speed_ratio is None
    assert list(comparison.measured_on.values()) == [["onnx fp32"], ["onnx int8"]]


def test_shares_of_limits_are_the_larger_of_both():
    report = accuracy(0.5)
    report["metrics"]["lead"] = {"p99": 0.1, "max": 6.0}
    report["metrics"]["winrate"] = {"p99": 0.03, "max": 0.05}
    row = rows(built("onnx int8", accuracy=report))["onnx int8"]
    assert (row.shares["lead"], row.shares["winrate"]) == (2.0, 1.5)
    assert compare(version(row.artifact)).telling[:2] == ["lead", "winrate"]


def test_an_artifact_added_by_hand_has_nothing_but_its_size():
    (row,) = compare(version(by_hand("onnx int8"))).rows
    assert (row.size_ratio, row.evals_per_s, row.speed_ratio, row.peak_rss_mb) == (None,) * 4
    assert (row.errors, row.shares, row.gate, row.reason) == ({}, {}, "", "")


@pytest.mark.parametrize(
    "odd",
    [
        {"accuracy": {"gate": "pass", "metrics": None}},
        {"accuracy": {"gate": "pass", "metrics": {"winrate": 3, "lead": {"p99": "low"}}}},
        {"accuracy": {"gate": "fail", "metrics": {"winrate": {"p99": None, "max": None}}}},
        {"measured": {"evals_per_s": "fast", "threads": [], "peak_rss_mb": None}},
        {"measured": {"evals_per_s": 0}},
    ],
)
def test_whatever_a_manifest_says_is_a_row(odd, tmp_path):
    comparison = compare(version(built("onnx fp32"), by_hand("onnx int8", **odd)))
    text = json.dumps(comparison.document(), allow_nan=False)
    assert json.loads(text)["artifacts"][1]["format"] == "onnx"
    draw(comparison, tmp_path / "figure.svg")


def test_errors_that_are_no_numbers_are_beyond_every_limit():
    report = {"gate": "fail", "metrics": {"winrate": {"p99": None, "max": None}}}
    comparison = compare(version(by_hand("onnx int8", accuracy=report)))
    assert comparison.rows[0].shares == {"winrate": math.inf}
    (document,) = comparison.document()["artifacts"]
    assert document["errors"]["winrate"] == {"p99": None, "max": None}


def test_the_document_names_every_metric_of_the_gate():
    document = compare(version(*TWELVE)).document()
    assert set(document["limits"]) == set(FP16_LIMITS) == set(document["artifacts"][1]["errors"])
    assert document["reference"]["artifact"] == "onnx fp32"
    assert document["accuracy_of"] == ["net.bin.gz in FP32 by NumPy"]


def test_figures_are_the_same_bytes_again(tmp_path, monkeypatch):
    comparison = compare(version(*TWELVE))
    one, other = tmp_path / "one.svg", tmp_path / "other.svg"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")
    draw(comparison, one)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "2000000000")
    draw(comparison, other)
    assert one.read_bytes() == other.read_bytes()


def test_a_figure_names_every_artifact_inside_its_edges(tmp_path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from orchestrator.pipeline import plot

    figure = plot._figure(compare(version(*TWELVE)))
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    labels = figure.axes[0].get_yticklabels()
    assert [label.get_text() for label in labels][:2] == ["katago fp32", "onnx fp32"]
    assert len(labels) == len(TWELVE)
    boxes = [label.get_window_extent(renderer) for label in labels]
    verdicts = [text.get_window_extent(renderer) for text in figure.axes[2].texts]
    assert len(verdicts) == len(TWELVE)
    for column in (boxes, verdicts):
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in column)
        assert not any(a.overlaps(b) for a, b in pairwise(column))


def test_a_figure_of_what_nobody_measured_is_a_png(tmp_path):
    path = tmp_path / "figure.PNG"
    draw(compare(version(by_hand("katago fp32"))), path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("figure.pdf", UsageError, "a figure is written as .png or .svg"),
        ("figure", UsageError, "a figure is written as .png or .svg"),
        ("nowhere/figure.png", ModelError, "cannot be written: No such file or directory"),
    ],
)
def test_where_no_figure_can_be_written(tmp_path, name, error, message):
    with pytest.raises(error, match=message):
        draw(compare(version(built("onnx fp32"))), tmp_path / name)


def test_no_figure_of_nothing(tmp_path):
    with pytest.raises(ModelError, match="go@v1 has no artifacts to draw"):
        draw(compare(version()), tmp_path / "figure.png")


def test_without_matplotlib_it_says_so_in_one_line(tmp_path, monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(extras.importlib, "import_module", absent)
    with pytest.raises(ModelError, match="needs the onnx extra: matplotlib is not installed"):
        draw(compare(version(built("onnx fp32"))), tmp_path / "figure.png")


def test_a_newer_measurement_of_another_file_changes_nothing():
    one = built("onnx fp32")
    assert compare(version(one), {replace(one, sha256="0" * 64).sha256: {}}).rows == (
        compare(version(one)).rows
    )
