"""What names tell: references, the order of versions, formats and precisions."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ModelError
from orchestrator.models.formats import format_of, precision_of, release_name
from orchestrator.models.refs import parse_ref, version_key
from orchestrator.models.requirements import check_requires


def test_a_reference():
    assert parse_ref("kata-b18@v2.1") == ("kata-b18", "v2.1")


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("net", "names no version"),
        ("net@", "names no version"),
        ("@v1", "'' is no name"),
        ("a@b@c", "'b@c' is no name"),
        ("../net@v1", "'../net' is no name"),
        ("net@..", "'..' is no name"),
        ("-net@v1", "'-net' is no name"),
        ("n" * 65 + "@v1", "is no name"),
        ("store@v1", "cannot be named 'store'"),
    ],
)
def test_what_is_no_reference(ref, message):
    with pytest.raises(ModelError, match=message) as caught:
        parse_ref(ref)
    assert caught.value.hint


@pytest.mark.parametrize(
    "ordered",
    [
        ["v1", "v2", "v9", "v10"],
        ["1.0-alpha", "1.0-beta.2", "1.0-beta.11", "1.0-rc1", "1.0", "1.0.1", "1.1"],
        ["1", "v2", "3"],
        ["2024-12-31", "2025-01-02"],
        ["s100-d5", "s9996604416-d4316597426"],
    ],
)
def test_versions_in_their_order(ordered):
    shuffled = random.Random(1).sample(ordered, len(ordered))
    assert sorted(shuffled, key=version_key) == ordered


@given(st.lists(st.text("v01a-.rc", min_size=1, max_size=6), unique=True), st.randoms())
def test_any_versions_have_one_order(versions, rng):
    shuffled = rng.sample(versions, len(versions))
    assert sorted(versions, key=version_key) == sorted(shuffled, key=version_key)


@pytest.mark.parametrize(
    ("filename", "format_name", "precision"),
    [
        ("kata1-b18.bin.gz", "katago", "fp32"),
        ("g170-fp16.txt.gz", "katago", "fp32"),
        ("net.onnx", "onnx", "fp32"),
        ("net-fp16.onnx", "onnx", "fp16"),
        ("net_int8.ONNX", "onnx", "int8"),
        ("net.float16.tflite", "litert", "fp16"),
        ("sharp16.onnx", "onnx", "fp32"),
        ("net-fp16.engine", "tensorrt", "fp16"),
        ("net_half.plan", "tensorrt", "fp16"),
        ("Net.mlpackage.zip", "coreml", "fp32"),
    ],
)
def test_format_and_precision_from_a_name(filename, format_name, precision):
    assert format_of(filename, None) == format_name
    assert precision_of(filename, format_name, None) == precision


@pytest.mark.parametrize("filename", ["net.gz", "net", "net.pt", "net.zip"])
def test_a_name_that_tells_no_format(filename):
    with pytest.raises(ModelError, match=r"\*\.onnx \(onnx\)") as caught:
        format_of(filename, None)
    assert "--format" in caught.value.hint
    assert format_of(filename, "file") == "file"


@pytest.mark.parametrize("filename", ["net.engine", "net-fp16-int8.onnx"])
def test_a_name_that_tells_no_precision(filename):
    with pytest.raises(ModelError, match="precision") as caught:
        precision_of(filename, format_of(filename, None), None)
    assert "--precision" in caught.value.hint


def test_given_words_are_checked():
    with pytest.raises(ModelError) as caught:
        format_of("x", "onxx")
    assert caught.value.hint == "Did you mean 'onnx'?"
    with pytest.raises(ModelError, match="no such precision"):
        precision_of("x", "onnx", "fp8")


@pytest.mark.parametrize("filename", ["a b.onnx", "-x", ".hidden", "a/b", "run", "golden.npz", ""])
def test_names_that_a_release_cannot_have(filename):
    with pytest.raises(ModelError) as caught:
        release_name(filename)
    assert "--filename" in caught.value.hint


@pytest.mark.parametrize(
    ("requires", "format_name", "message"),
    [
        ({"tensort": "10"}, "onnx", "cannot require 'tensort'"),
        ({"compute_capability": "ada"}, "tensorrt", "compute_capability=ada"),
        ({"tensorrt": ""}, "tensorrt", "cannot require tensorrt="),
        ({}, "tensorrt", "only on the GPU and TensorRT that built it"),
        ({"arch": "x86_64"}, "tensorrt", "only on the GPU and TensorRT that built it"),
        ({"driver": "new"}, "tensorrt", "cannot require driver=new"),
        ({"tensorrt_rtx": "1.7."}, "tensorrt", "cannot require tensorrt_rtx=1.7."),
    ],
)
def test_requirements_that_no_host_can_meet(requires, format_name, message):
    with pytest.raises(ModelError, match=message):
        check_requires(requires, format_name)


def test_requirements():
    assert check_requires({"compute_capability": "8.7"}, "tensorrt") == {
        "compute_capability": "8.7"
    }
    assert check_requires({}, "onnx") == {}
