"""What a host gets of artifacts that were really built, one of which plays otherwise."""

from __future__ import annotations

import pytest

from orchestrator.errors import InputError
from orchestrator.models.catalog import Catalog, NewArtifact
from orchestrator.pipeline import formats, positions
from orchestrator.pipeline.build import Builder
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.katago.random_net import random_net
from orchestrator.pipeline.katago.writer import write
from orchestrator.pipeline.positions import Positions
from orchestrator.pipeline.recipes import Request, recipes
from orchestrator.planning.present import Present
from orchestrator.planning.select import select, weigh
from tests.planning import samples

EXACT = Request(wishes=(("onnx", "fp32"),), shape=Shape(9, 9, masked=False))
FLOAT, INT8 = (Request(wishes=(("onnx", p),), mode="weights-nearest") for p in ("fp32", "int8"))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    """go@v1: an exact FP32 for 9x9, and an INT8 that another net's weights have got into."""
    folder = tmp_path_factory.mktemp("built")
    write(random_net(seed=5), folder / "go.bin.gz")
    made = Catalog(folder / "artifacts")
    made.add("go@v1", NewArtifact(str(folder / "go.bin.gz")))
    build(made, EXACT)
    onnx = formats.get("onnx")
    right, other = onnx.write, random_net(seed=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx, "write", lambda _net, *rest: right(other, *rest))
        build(made, INT8)
    return made


def build(catalog, request):
    few = Positions(tuple(batch.rows(slice(0, 2)) for batch in positions.standard()))
    with Builder(catalog, "go@v1", check=few, seconds=0.01) as builder:
        assert [each.error for each in builder.build(recipes(request))] == [None]


def fates(catalog, *, allow_inexact=False):
    found, _ = weigh(*wanted(catalog), Present(), allow_inexact=allow_inexact)
    return {each.name: (each.taken, each.reason) for each in found}


def wanted(catalog):
    host = samples.facts("pi4", python=samples.PYTHON)
    return catalog.get("go@v1"), samples.profile("raspberry-pi"), host


def test_what_failed_its_gate_is_for_those_who_insist(catalog):
    (int8,) = [each for each in catalog.get("go@v1").artifacts if each.precision == "int8"]
    reason = int8.accuracy["reason"]
    assert "allowed" in reason
    assert fates(catalog)["onnx int8"] == (False, f"its accuracy gate failed: {reason}")
    with pytest.raises(InputError, match="onnx int8: its accuracy gate failed") as refused:
        select(*wanted(catalog))
    assert "--allow-inexact" in refused.value.hint
    taken, why = fates(catalog, allow_inexact=True)["onnx int8"]
    assert taken
    assert f"though its accuracy gate failed: {reason}" in why


def test_a_variant_is_for_those_who_ask_for_it_and_what_passed_is_taken(catalog):
    assert fates(catalog)["onnx fp32"] == (False, "go@v1 has no onnx fp32 artifact")
    build(catalog, FLOAT)
    taken, why = fates(catalog)["onnx fp32"]
    assert taken
    assert "accuracy gate passed, every error is below a thousandth of its limit" in why
