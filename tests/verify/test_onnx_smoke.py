"""ONNX nets measured for real, by this Python's onnxruntime, in a release's folder."""

from __future__ import annotations

import ast
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from orchestrator.errors import UnreachableError
from orchestrator.fleet.profile import EngineSpec, VerifySpec
from orchestrator.targets import connect
from orchestrator.targets.connection import ConnectionSpec
from orchestrator.verify import onnxruntime_smoke, verify
from orchestrator.verify.base import Subject
from orchestrator.verify.baseline import Baseline
from orchestrator.verify.onnxruntime import command, smoke
from orchestrator.verify.result import Verdict
from tests import lab_nets as nets
from tests.onnx_models import other_inputs, small_net, with_nan

CONFIG = "execution_provider = cpu\nintra_op_threads = 1\nbatch_size = 3\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An FP32 net `fp32.onnx`, what is made of it, and its golden answers `golden.npz`."""
    folder = tmp_path_factory.mktemp("nets")
    source = small_net(folder / "fp32.onnx")
    nets.golden(source, folder / "golden.npz", count=4)
    nets.to_fp16(source, folder / "fp16.onnx")
    nets.to_int8(source, folder / "int8.onnx")
    nets.scramble(source, folder / "scrambled.onnx")
    nets.scramble(folder / "int8.onnx", folder / "scrambled-int8.onnx")
    with_nan(source, folder / "nan.onnx")
    return folder


@pytest.fixture
def target():
    """This machine."""
    return connect(ConnectionSpec("here", kind="local"))


@pytest.fixture
def release(trained, tmp_path):
    """Makes the subject of a release folder whose name needs quoting."""
    folder = tmp_path / "it's a release"
    folder.mkdir()

    def make(model="fp32.onnx", *, golden="golden.npz", config=CONFIG, precision="fp32", **spec):
        (folder / "ort.cfg").write_text(config)
        for name in filter(None, (model, golden)):
            if (trained / name).exists():
                (folder / name).write_bytes((trained / name).read_bytes())
        return Subject(
            folder=str(folder),
            model=model,
            config="ort.cfg",
            golden=golden,
            format="onnx",
            engine=EngineSpec("onnxruntime", path=sys.executable),
            verify=VerifySpec(**spec),
            precision=precision,
        )

    return make


def test_a_good_net_is_measured(target, release):
    measured = smoke(target, release())
    assert measured.failure == ""
    assert set(measured.metrics) == {
        "load_s",
        "golden_max_error",
        "positions",
        "latency_p50_ms",
        "latency_p95_ms",
        "evals_per_s",
        "peak_rss_mb",
    }
    metrics = measured.metrics
    assert metrics["golden_max_error"] < 1e-5
    assert metrics["positions"] == 4
    assert 0 < metrics["latency_p50_ms"] <= metrics["latency_p95_ms"]
    assert metrics["evals_per_s"] == pytest.approx(3e3 / metrics["latency_p50_ms"])
    assert 10 < metrics["peak_rss_mb"] < 2000
    assert "on CPUExecutionProvider" in measured.detail
    assert "runs of batch size 3" in measured.detail


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_precision_passes_within_its_own_limit(target, release, precision):
    result = verify(target, release(f"{precision}.onnx", precision=precision), None)
    assert result.verdict is Verdict.PASS, result.reason


@pytest.mark.parametrize(
    ("model", "precision"), [("scrambled.onnx", "fp32"), ("scrambled-int8.onnx", "int8")]
)
def test_scrambled_weights_are_wrong_answers(target, release, trained, model, precision):
    good = trained / f"{precision}.onnx"
    assert onnx.load(trained / model).graph.node == onnx.load(good).graph.node
    result = verify(target, release(model, precision=precision), None)
    assert result.verdict is Verdict.FAIL
    assert result.reason.startswith("wrong answers: golden error")


def test_a_precision_is_held_to_its_limit(target, release):
    result = verify(target, release("int8.onnx", precision="fp32"), None)
    assert result.verdict is Verdict.FAIL
    loose = verify(target, release("int8.onnx", precision="fp32", max_error=0.5), None)
    assert loose.verdict is Verdict.PASS


@pytest.mark.parametrize("golden", ["golden.npz", ""])
def test_nan_is_found_with_and_without_golden_answers(target, release, golden):
    result = verify(target, release("nan.onnx", golden=golden), None)
    assert result.verdict is Verdict.FAIL
    assert result.reason.startswith("output value has ")
    assert result.reason.endswith(" values NaN or infinite")


def test_a_net_without_golden_answers_is_fed_made_up_inputs(target, release):
    measured = smoke(target, release(golden=""))
    assert measured.failure == ""
    assert measured.metrics["evals_per_s"] > 0
    assert "golden_max_error" not in measured.metrics


def test_a_fixed_batch_and_other_input_types(target, release, tmp_path):
    subject = release("ids.onnx", golden="")
    other_inputs(Path(subject.folder) / "ids.onnx")
    measured = smoke(target, subject)
    assert measured.failure == ""
    assert "runs of batch size 2" in measured.detail


def test_golden_positions_that_do_not_fill_a_fixed_batch(target, release):
    subject = release("ids.onnx", golden="ids.npz")
    folder = Path(subject.folder)
    other_inputs(folder / "ids.onnx")
    ids = np.arange(15).reshape(5, 3)
    flags = np.array([True, False, True, True, False])
    wanted = ids.sum(axis=1) + flags
    arrays = {"input:ids": ids, "input:flag": flags, "output:y": wanted}
    np.savez(folder / "ids.npz", **arrays)
    measured = smoke(target, subject)
    assert (measured.failure, measured.metrics["golden_max_error"]) == ("", 0.0)
    assert measured.metrics["positions"] == 5
    off = np.array([0, 0, 0, 0, 14])
    np.savez(folder / "ids.npz", **(arrays | {"output:y": wanted + off}))
    worse = smoke(target, subject)
    assert worse.metrics["golden_max_error"] == pytest.approx(14 / (wanted[4] + 14))


def test_a_file_that_is_no_net_does_not_load(target, release):
    subject = release("broken.onnx")
    whole = Path(subject.folder, "golden.npz").read_bytes()
    Path(subject.folder, "broken.onnx").write_bytes(whole[: len(whole) // 2])
    result = verify(target, subject, None)
    assert result.verdict is Verdict.FAIL
    assert result.reason.startswith("the net does not load: ")
    assert "\n" not in result.reason


@pytest.mark.parametrize(
    ("arrays", "failure"),
    [
        ({"input:other": 1, "output:y": 1}, "golden inputs are other, the net's input, input_glo"),
        ({"x": 1}, "the golden file has no input:<name> and output:<name> arrays"),
    ],
)
def test_golden_answers_of_another_net(target, release, arrays, failure):
    subject = release(golden="other.npz")
    np.savez(Path(subject.folder) / "other.npz", **arrays)
    assert smoke(target, subject).failure.startswith(failure)


def test_golden_outputs_that_the_net_does_not_have(target, release, trained):
    subject = release(golden="more.npz")
    with np.load(trained / "golden.npz") as archive:
        arrays = dict(archive.items())
    np.savez(Path(subject.folder) / "more.npz", **arrays, **{"output:ownership": np.zeros(3)})
    assert smoke(target, subject).failure == "the net has no output ownership, the golden file has"


def test_a_damaged_golden_file_is_a_failure(target, release):
    subject = release(golden="damaged.npz")
    Path(subject.folder, "damaged.npz").write_bytes(b"PK\x03\x04 and no more")
    assert smoke(target, subject).failure.startswith("the golden file cannot be read: ")


def test_a_provider_that_is_not_there_is_no_silent_fallback(target, release):
    measured = smoke(target, release(config="execution_provider = cuda\n"))
    assert measured.failure.startswith("this onnxruntime has no CUDAExecutionProvider, only ")


def test_a_python_without_onnxruntime(target, release, tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S "$@"\n')
    bare.chmod(0o755)
    subject = replace(release(), engine=EngineSpec("onnxruntime", path=str(bare)))
    assert "cannot import numpy" in smoke(target, subject).failure


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        ("echo ImportError: broken >&2; exit 1", "exit 1: ImportError: broken"),
        ("kill -9 $$", "killed by SIGKILL (out of memory?)"),
        ("echo Hello", "printed no JSON object"),
        ("echo '{\"ok\": true}'", "printed another object"),
        ("exit 3", "exit 3"),
        ("exit 255", "exit 255"),
    ],
)
def test_a_python_that_breaks(target, release, tmp_path, script, failure):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncat >/dev/null\n{script}\n")
    python.chmod(0o755)
    subject = replace(release(), engine=EngineSpec("onnxruntime", path=str(python)))
    assert smoke(target, subject).failure == f"the smoke benchmark: {failure}"


def test_no_answer_in_time(target, release, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 60\n")
    python.chmod(0o755)
    subject = replace(release(timeout=1.0), engine=EngineSpec("onnxruntime", path=str(python)))
    assert smoke(target, subject).failure == "the smoke benchmark: no answer within 1 s"


def test_a_broken_connection_is_no_verdict(release):
    class Cut:
        def run(self, *args, **kwargs):
            raise UnreachableError("the link broke")

    with pytest.raises(UnreachableError):
        smoke(Cut(), release())


def test_slower_than_the_baseline(target, release):
    fast = Baseline("rpi4", "evals_per_s", median=1e9, spread=1.0, samples=5)
    result = verify(target, release(), fast)
    assert result.verdict is Verdict.FAIL
    assert result.reason.startswith("too slow: ")
    assert "95 % sure below 80 %), 0 % of the rpi4 baseline" in result.reason
    assert 3 <= result.metrics["measurements"] <= 5


def test_more_memory_than_the_profile_allows(target, release):
    result = verify(target, release(max_rss_mb=1), None)
    assert result.verdict is Verdict.FAIL
    assert "at most 1 are allowed" in result.reason


def test_the_command_line_is_quoted(release):
    subject = replace(release(), model="a b.onnx", golden="")
    python = shlex.quote(sys.executable)
    line = f"ORT_DISABLE_TELEMETRY=1 {python} - --model 'a b.onnx' --config ort.cfg"
    assert command(subject) == line


def test_the_program_stands_alone_and_is_python_3_8():
    text = Path(onnxruntime_smoke.__file__).read_text()
    tree = ast.parse(text, feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    allowed = {"__future__", "argparse", "json", "resource", "sys", "time", "pathlib", "typing"}
    assert imported == allowed | {"numpy", "onnxruntime"}
