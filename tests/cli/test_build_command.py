"""`orchestrate build` as an operator types it."""

from __future__ import annotations

import json
import sys

import click
import pytest
from click.testing import CliRunner

from orchestrator.cli import root
from orchestrator.errors import ModelError
from orchestrator.fleet import skeleton
from orchestrator.pipeline import formats, positions
from tests.katago_net import tiny_net

ONE = ("--format", "onnx", "--precision", "fp32")


@pytest.fixture
def project(tmp_path):
    """A project as `init` makes it, with the KataGo net go@v1."""
    folder = tmp_path / "fleet"
    skeleton.create(folder)
    return folder


@pytest.fixture
def few(tmp_path):
    """A file with one position of each board."""
    path = tmp_path / "few.npz"
    standard = positions.standard()
    one = positions.Positions(tuple(batch.rows(slice(0, 1)) for batch in standard))
    positions.write(path, one)
    return str(path)


@pytest.fixture
def orchestrate(project, tmp_path):
    def run(*words):
        arguments = ["--project", str(project), *words]
        return CliRunner(env={"COLUMNS": "200"}).invoke(root, arguments, standalone_mode=False)

    net = tiny_net(tmp_path / "net.bin.gz", seed=1)
    assert run("models", "add", "go@v1", str(net)).exception is None
    return run


def test_json_is_one_document_and_people_read_the_rest(orchestrate, few):
    done = orchestrate("--json", "build", "go@v1", *ONE, "--check", few)
    document = json.loads(done.stdout)
    (made,) = document["artifacts"]
    assert (document["ref"], document["exit_code"], done.return_value) == ("go@v1", 0, 0)
    assert (made["name"], made["outcome"], made["error"]) == ("onnx fp32", "new", None)
    assert made["artifact"]["accuracy"]["gate"] == "pass"
    assert "onnx fp32: writing" in done.stderr


def test_what_the_profiles_ask_for_and_cannot_be_had_is_said(orchestrate, few):
    done = orchestrate("build", "go@v1", "--precision", "fp16", "--check", few)
    assert "tensorrt fp16 is left out: no --compute-capability was named" in done.stdout
    assert "litert" not in done.stdout
    assert "onnx fp16" in done.stdout
    assert "pass, closest:" in done.stdout


def test_a_failure_is_told_first_and_ends_with_3(orchestrate, few, monkeypatch):
    def write(*_):
        raise ModelError("no room", hint="Make some.")

    orchestrate("build", "go@v1", *ONE, "--check", few)
    monkeypatch.setattr(formats.get("onnx"), "write", write)
    words = ("--precision", "fp32", "--precision", "fp16", "--check", few)
    done = orchestrate("build", "go@v1", "--format", "onnx", *words)
    assert done.return_value == 3
    rows = [line.split()[:3] for line in done.stdout.splitlines() if "onnx" in line]
    assert rows[0] == ["onnx", "fp16", "failed"]
    assert rows[1] == ["onnx", "fp32", "unchanged"]
    assert "hint: Make some." in done.stdout


def test_other_check_positions_are_not_passed_over(orchestrate, few, tmp_path):
    orchestrate("build", "go@v1", *ONE, "--check", few)
    assert "unchanged" in orchestrate("build", "go@v1", *ONE).stdout
    other = tmp_path / "other.npz"
    positions.write(other, positions.Positions(positions.standard().batches[:1]))
    done = orchestrate("build", "go@v1", *ONE, "--check", str(other))
    assert done.return_value == 3
    assert "go@v1 has an onnx fp32 that was built or checked otherwise" in done.stdout
    done = orchestrate("--json", "build", "go@v1", *ONE, "--check", str(other), "--again")
    (made,) = json.loads(done.stdout)["artifacts"]
    assert set(made["artifact"]["accuracy"]["boards"]) == {"9x9"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--board", "20x20"), "two lengths from 2 to 19"),
        (("--board", "nine"), "two lengths from 2 to 19"),
        (("--batch", "8,1,2"), "is not MIN,USUAL,MAX"),
        (("--compute-capability", "86"), "is none, such as 8.6"),
        (("--board", "\u0669x\u0669"), "two lengths from 2 to 19"),
        (("--batch", "\u0661,\u0668,\u0669"), "is not MIN,USUAL,MAX"),
        (("--compute-capability", "\u0668.\u0666"), "is none, such as 8.6"),
        (("--optimism", "1.5"), "not in the range"),
        (("--optimism", "nan"), "nan is no number"),
        (("--finetune-minutes", "inf"), "inf is no number"),
        (("--seed", "-1"), "not in the range"),
        (("--precision", "int4"), "is not one of"),
    ],
)
def test_mistyped_options_are_usage_errors(orchestrate, words, message):
    done = orchestrate("build", "go@v1", *words)
    assert isinstance(done.exception, click.UsageError)
    assert message in done.exception.format_message()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("go@v9",), "go has no version v9"),
        (("go@v1", "--format", "tensorrt", "--precision", "fp16"), "built for one kind of GPU"),
        (("go@v1", "--mode", "magic"), "no INT8 mode is called magic"),
        (("go@v1", *ONE, "--finetune"), "fine-tuning is for onnx int8"),
        (("go@v1", "--format", "tensorrt", "--precision", "int8"), "cannot be built in int8"),
        (("go@v1", "--variant", "../elsewhere"), "'../elsewhere' is no name for a variant"),
        (("go@v1", "--variant", "x" * 300), "is no name for a variant"),
    ],
)
def test_what_cannot_be_made_is_bad_input(orchestrate, words, message):
    done = orchestrate("build", *words)
    assert isinstance(done.exception, ModelError)
    assert message in done.exception.message


@pytest.mark.parametrize(
    ("missing", "words", "extra"),
    [
        ("numpy", (), "onnx"),
        ("onnx", (), "onnx"),
        ("onnxruntime", ("--precision", "fp32"), "onnx"),
        ("litert_torch", ("--format", "onnx", "--format", "litert"), "build"),
        ("coremltools", ("--format", "coreml"), "build"),
        ("torch", ("--precision", "int8", "--finetune"), "build"),
    ],
)
def test_what_is_not_installed_is_told_before_anything_is_made(
    orchestrate, project, monkeypatch, missing, words, extra
):
    monkeypatch.setitem(sys.modules, missing, None)
    done = orchestrate("build", "go@v1", *words)
    assert isinstance(done.exception, ModelError)
    assert done.exception.exit_code == 2
    assert f"this needs the {extra} extra: {missing}" in done.exception.message
    assert done.exception.hint == f"pip install 'orchestrate-nets[{extra}]'"
    assert not list((project / "artifacts").rglob("*.onnx"))
