"""Builds of a small net: what is made, what the catalog then says of it, what stays as it was."""

from __future__ import annotations

import errno
import functools
import os

import numpy as np
import onnxruntime
import pytest

from orchestrator.errors import ModelError
from orchestrator.models.catalog import Catalog, NewArtifact
from orchestrator.pipeline import formats, onnx_graph, positions, runners
from orchestrator.pipeline.build import Builder as SlowBuilder
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.katago.random_net import random_net
from orchestrator.pipeline.katago.writer import write
from orchestrator.pipeline.positions import Positions
from orchestrator.pipeline.recipes import Request, recipes, variant_of

# Speed is measured for a moment only: nobody reads it here.
Builder = functools.partial(SlowBuilder, seconds=0.01)
NET = random_net(seed=5, kind="ordinary+gpool", version=14)
BOTH = Request(wishes=(("onnx", "fp16"), ("onnx", "fp32")))


@pytest.fixture(scope="module")
def few() -> Positions:
    """A few positions of each board, so that builds take a moment."""
    return Positions(tuple(batch.rows(slice(0, 3)) for batch in positions.standard()))


@pytest.fixture
def catalog(tmp_path) -> Catalog:
    """A catalog with the KataGo net go@v1."""
    write(NET, tmp_path / "go.bin.gz")
    made = Catalog(tmp_path / "artifacts")
    made.add("go@v1", NewArtifact(str(tmp_path / "go.bin.gz")))
    return made


def test_artifacts_come_with_their_proof(catalog, few):
    with Builder(catalog, "go@v1", check=few) as builder:
        built = list(builder.build(recipes(BOTH)))
    assert [(each.recipe.name, each.outcome) for each in built] == [
        ("onnx fp32", "new"),
        ("onnx fp16", "new"),
    ]
    source, *made = catalog.get("go@v1").artifacts
    assert [each.kind for each in made] == ["onnx fp32", "onnx fp16"]
    for each in made:
        catalog.store.verify(each.sha256, each.size)
        assert each.accuracy["gate"] == "pass"
        assert each.accuracy["positions"] == few.count
        assert set(each.accuracy["boards"]) == {"9x9", "10x14", "13x13", "19x19"}
        assert each.provenance["source_sha256"] == source.sha256
        assert each.provenance["options"]["board"] == "19x19"
        assert {"orchestrate", "onnx", "onnxruntime"} <= set(each.provenance["tools"])
        assert each.measured["evals_per_s"] > 0
        assert each.memory_mb == round(each.measured["peak_rss_mb"])
        assert not each.source
    exact, half = (each.accuracy["metrics"]["winrate"]["max"] for each in made)
    assert exact < 1e-5 < half


def test_golden_answers_are_those_that_the_file_gives(catalog, few):
    with Builder(catalog, "go@v1", check=few) as builder:
        (built,) = builder.build(recipes(Request(wishes=(("onnx", "fp32"),))))
    session = onnxruntime.InferenceSession(catalog.store.path(built.artifact.sha256))
    with np.load(catalog.store.path(built.artifact.golden.sha256)) as golden:
        names = [each.name for each in session.get_outputs()]
        fed = {each.name: golden[f"input:{each.name}"] for each in session.get_inputs()}
        for name, values in zip(names, session.run(names, fed), strict=True):
            wanted = golden[f"output:{name}"]
            assert np.abs(values - wanted).max() <= 1e-5 * max(1, np.abs(wanted).max())
        points = fed["input"][:, 0].sum((1, 2))
        assert set(points) == {81, 140, 169, 361}


def test_what_is_there_is_not_made_again(catalog, few):
    for wanted in ("new", "unchanged"):
        with Builder(catalog, "go@v1", check=few) as builder:
            assert {each.outcome for each in builder.build(recipes(BOTH))} == {wanted}
    with Builder(catalog, "go@v1", check=few, again=True) as builder:
        assert {each.outcome for each in builder.build(recipes(BOTH))} == {"new"}
    assert len(catalog.get("go@v1").artifacts) == 3


def test_another_shape_is_a_variant_beside_the_usual_one(catalog, few):
    exact = Request(wishes=(("onnx", "fp32"),), shape=Shape(9, 9, masked=False))
    with Builder(catalog, "go@v1", check=few) as builder:
        list(builder.build([*recipes(BOTH), *recipes(exact)]))
    kinds = {each.kind: each for each in catalog.get("go@v1").artifacts}
    assert set(kinds) == {"katago fp32", "onnx fp32", "onnx fp16", "onnx fp32 9x9-exact"}
    assert kinds["onnx fp32 9x9-exact"].accuracy["boards"] == {"9x9": 3}


def test_a_failure_does_not_end_the_others_and_leaves_nothing(catalog, few, monkeypatch):
    right = formats.get("onnx").write

    def write_or_fail(net, path, recipe, work):
        if recipe.precision == "fp32":
            path.write_bytes(b"half of it")
            raise ModelError("no room", hint="Make some.")
        return right(net, path, recipe, work)

    monkeypatch.setattr(formats.get("onnx"), "write", write_or_fail)
    with Builder(catalog, "go@v1", check=few) as builder:
        failed, made = builder.build(recipes(BOTH))
        folder = builder.folder
    assert (failed.outcome, failed.error.message, made.outcome) == ("failed", "no room", "new")
    assert [each.kind for each in catalog.get("go@v1").artifacts] == ["katago fp32", "onnx fp16"]
    assert not folder.exists()


def test_an_artifact_that_plays_otherwise_is_kept_and_marked(catalog, few, monkeypatch):
    other = random_net(seed=6, kind="ordinary+gpool", version=14)
    right = formats.get("onnx").write

    def write_another(_net, path, recipe, work):
        return right(other, path, recipe, work)

    monkeypatch.setattr(formats.get("onnx"), "write", write_another)
    with Builder(catalog, "go@v1", check=few) as builder:
        (built,) = builder.build(recipes(Request(wishes=(("onnx", "fp32"),))))
    assert built.outcome == "new"
    assert built.artifact.accuracy["gate"] == "fail"
    assert "allowed" in built.artifact.accuracy["reason"]


def test_no_position_calibrates_and_checks(catalog):
    check = positions.standard()
    with Builder(catalog, "go@v1", check=Positions(check.batches[:1])) as builder:
        (int8,) = recipes(Request(wishes=(("onnx", "int8"),)))
        builder.calibration = check
        work = builder.work(int8)
        assert set(work.calibration.boards) == set(check.boards) - set(work.check.boards)
        builder.check = check
        with pytest.raises(ModelError, match="every position to calibrate with is also one to ch"):
            list(builder.build([*recipes(BOTH), int8]))
    assert [each.kind for each in catalog.get("go@v1").artifacts] == ["katago fp32"]


def test_long_steps_tell_how_far_they_are(catalog, few):
    told = []
    with Builder(catalog, "go@v1", check=few, progress=lambda *step: told.append(step)) as builder:
        list(builder.build(recipes(Request(wishes=(("onnx", "fp32"),)))))
    asked = [step[1:] for step in told if "asking the reference" in step[0]]
    assert asked == [(done, few.count) for done in (0, 3, 6, 9, 12)]
    compared = [step[1:] for step in told if "comparing with the reference" in step[0]]
    assert compared == asked


def test_a_humansl_net_is_built_and_checked(tmp_path, few):
    write(random_net(seed=5, version=15, meta=True), tmp_path / "human.bin.gz")
    catalog = Catalog(tmp_path / "artifacts")
    catalog.add("human@v1", NewArtifact(str(tmp_path / "human.bin.gz")))
    with Builder(catalog, "human@v1", check=few) as builder:
        (built,) = builder.build(recipes(Request(wishes=(("onnx", "fp16"),))))
    assert built.error is None
    with np.load(catalog.store.path(built.artifact.golden.sha256)) as golden:
        assert golden["input:input_meta"].shape[1] == 192


@pytest.mark.parametrize("which", ["artifact", "golden"])
def test_a_lost_file_says_how_it_is_built_again(catalog, few, which):
    with Builder(catalog, "go@v1", check=few) as builder:
        (built,) = builder.build(recipes(Request(wishes=(("onnx", "fp32"),))))
    lost = built.artifact if which == "artifact" else built.artifact.golden
    catalog.store.remove(lost.sha256)
    with pytest.raises(ModelError, match="was built, not fetched") as raised:
        catalog.fetch("go@v1")
    assert "orchestrate build go@v1 --format onnx --precision fp32" in raised.value.hint
    with Builder(catalog, "go@v1", check=few) as builder:
        (again,) = builder.build(recipes(Request(wishes=(("onnx", "fp32"),))))
    assert again.artifact.sha256 == built.artifact.sha256
    assert catalog.store.has(built.artifact.sha256)


def test_a_lost_variant_is_built_again_as_it_was(catalog, few):
    shape = Shape(9, 9, masked=False, optimism=0.5, softplus=False)
    with Builder(catalog, "go@v1", check=few) as builder:
        (built,) = builder.build(recipes(Request((("onnx", "fp32"),), shape, variant="phone")))
    catalog.store.remove(built.artifact.sha256)
    with pytest.raises(ModelError) as raised:
        catalog.fetch("go@v1")
    assert raised.value.hint == (
        "orchestrate build go@v1 --format onnx --precision fp32 --variant phone --board 9x9 "
        "--optimism 0.5 --exact --without-softplus builds it again."
    )


def test_a_version_without_a_katago_net_is_refused(tmp_path, catalog):
    catalog.yank("go@v1", "loses ladders")
    with pytest.raises(ModelError, match="go@v1 is yanked: loses ladders"):
        Builder(catalog, "go@v1")
    (tmp_path / "other").write_bytes(b"x")
    catalog.add("tool@v1", NewArtifact(str(tmp_path / "other"), format="file"))
    with pytest.raises(ModelError, match="tool@v1 has no KataGo net to build from: it has file"):
        Builder(catalog, "tool@v1")


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        (Shape(), ""),
        (Shape(9, 9), "9x9"),
        (Shape(9, 9, masked=False), "9x9-exact"),
        (Shape(14, 10), "10x14"),
        (Shape(masked=False), "19x19-exact"),
        (Shape(optimism=0.5, softplus=False), "optimism-0.5-no-softplus"),
    ],
)
def test_variants_are_named_after_what_is_not_usual(shape, name):
    assert variant_of(shape) == name


@pytest.mark.parametrize(
    ("wishes", "capabilities", "names"),
    [
        ([("onnx", "int8"), ("onnx", "fp32")], (), ["onnx fp32", "onnx int8"]),
        ([("onnx", "fp32"), ("onnx", "fp32")], (), ["onnx fp32"]),
        (
            [("tensorrt", "fp16"), ("onnx", "fp16")],
            ("8.9", "8.6"),
            ["onnx fp16", "tensorrt fp16 8.6", "tensorrt fp16 8.9"],
        ),
    ],
)
def test_recipes_come_in_the_order_in_which_they_are_made(wishes, capabilities, names):
    request = Request(wishes=tuple(wishes), compute_capabilities=capabilities)
    assert [each.name for each in recipes(request)] == names


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (("tensorrt", "fp16"), "a TensorRT engine is built for one kind of GPU"),
        (("tensorrt", "int8"), "tensorrt cannot be built in int8"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is(wish, message):
    with pytest.raises(ModelError, match=message):
        recipes(Request(wishes=(wish,)))


def test_a_full_disk_is_a_failure_that_leaves_nothing(catalog, few, monkeypatch):
    def write_too_much(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(formats.get("onnx"), "write", write_too_much)
    with Builder(catalog, "go@v1", check=few) as builder:
        (built,) = builder.build(recipes(Request(wishes=(("onnx", "fp32"),))))
    assert "could not be written: No space left" in built.error.message
    assert "are free in" in built.error.hint
    assert list(catalog.store.incoming.iterdir()) == []


@pytest.fixture
def unwritten(monkeypatch):
    """Nothing may be written."""

    def write_nothing(*_):
        raise AssertionError("an hour's work for nothing")

    monkeypatch.setattr(formats.get("onnx"), "write", write_nothing)


@pytest.mark.parametrize("masked", [True, False])
def test_a_board_that_no_position_is_on_is_refused_before_the_work(catalog, few, unwritten, masked):
    small = Request(wishes=(("onnx", "fp32"),), shape=Shape(7, 7, masked=masked))
    with Builder(catalog, "go@v1", check=few) as builder:
        (built,) = builder.build(recipes(small))
    assert "7x7: 9x9, 10x14" in built.error.message
    assert "--check" in built.error.hint


def test_what_was_added_by_hand_is_not_replaced(catalog, few, tmp_path, unwritten):
    onnx_graph.write(NET, tmp_path / "mine-fp32.onnx", Shape(9, 9))
    catalog.add("go@v1", NewArtifact(str(tmp_path / "mine-fp32.onnx")))
    for again in (False, True):
        with Builder(catalog, "go@v1", check=few, again=again) as builder:
            (built,) = builder.build(recipes(Request(wishes=(("onnx", "fp32"),))))
        assert "added, not built: mine-fp32.onnx" in built.error.message


def test_what_was_built_otherwise_is_replaced_only_when_asked(catalog, few, monkeypatch):
    wishes = (("onnx", "fp32"),)
    with Builder(catalog, "go@v1", check=few) as builder:
        list(builder.build(recipes(Request(wishes, Shape(9, 9), variant="mine"))))
    other = recipes(Request(wishes, Shape(13, 13), variant="mine"))
    with Builder(catalog, "go@v1", check=few) as builder, monkeypatch.context() as patched:
        patched.setattr(builder, "_make", None)
        (built,) = builder.build(other)
    assert "built or checked otherwise" in built.error.message
    with Builder(catalog, "go@v1", check=few, again=True) as builder:
        (built,) = builder.build(other)
    assert built.artifact.provenance["options"]["board"] == "13x13"
    assert len(catalog.get("go@v1").artifacts) == 2


def test_builds_agree_whatever_memory_they_took(catalog, few, monkeypatch):
    wanted, shas = recipes(Request(wishes=(("onnx", "fp32"),))), set()
    for megabytes in (70.0, 99.0):
        measured = {"evals_per_s": 1.0, "peak_rss_mb": megabytes}
        monkeypatch.setattr(runners, "measure", lambda *_, measured=measured, **__: measured)
        with Builder(catalog, "go@v1", check=few) as builder:
            (built,) = builder.build(wanted)
        assert built.error is None
        shas.add(built.artifact.sha256)
        catalog.store.remove(built.artifact.sha256)
    assert len(shas) == 1


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_damaged_net_ends_the_build(catalog, few, precision):
    blob = catalog.store.path(catalog.get("go@v1").artifacts[0].sha256)
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes()[:-9] + b"some more")
    with (
        Builder(catalog, "go@v1", check=few) as builder,
        pytest.raises(ModelError, match="is damaged"),
    ):
        list(builder.build(recipes(Request(wishes=(("onnx", precision),)))))


@pytest.mark.parametrize("which", ["artifact", "golden"])
def test_a_damaged_file_is_built_again(catalog, few, which):
    wanted = recipes(Request(wishes=(("onnx", "fp32"),)))
    with Builder(catalog, "go@v1", check=few) as builder:
        (built,) = builder.build(wanted)
    file = built.artifact if which == "artifact" else built.artifact.golden
    path = catalog.store.path(file.sha256)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[::-1])
    with Builder(catalog, "go@v1", check=few) as builder:
        (again,) = builder.build(wanted)
    assert again.error is None
    assert not [state.problem for state in catalog.verify("go@v1") if state.problem]


def test_a_lost_file_keeps_no_other_from_being_fetched(catalog, few, tmp_path):
    with Builder(catalog, "go@v1", check=few) as builder:
        (built,) = builder.build(recipes(Request(wishes=(("onnx", "fp32"),))))
    write(random_net(seed=7, kind="ordinary+gpool", version=14), tmp_path / "two.bin.gz")
    other = catalog.add("later@v1", NewArtifact(str(tmp_path / "two.bin.gz"))).artifact
    for lost in (built.artifact, other):
        catalog.store.remove(lost.sha256)
    with pytest.raises(ModelError, match="was built, not fetched"):
        catalog.fetch()
    assert catalog.store.has(other.sha256)
