"""Which hosts ONNX Runtime runs on, and the config it takes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engines.base import ConfigProblem
from orchestrator.engines.onnxruntime import ENGINE, KEYS, PROVIDERS
from orchestrator.fleet.facts import Cpu, Facts, Gpu, Python
from orchestrator.fleet.profile import EngineSpec
from orchestrator.models.manifest import Artifact
from orchestrator.verify import onnxruntime_smoke
from tests.onnx_models import small_net

PYTHON = Python(
    path="/usr/bin/python3",
    version="3.11.2",
    numpy="2.1.0",
    onnxruntime="1.20.1",
    execution_providers=("CPUExecutionProvider",),
)
PI = Facts(arch="aarch64", system="Linux", python=PYTHON, cpu=Cpu(cores=4))
ON_GPU = replace(PYTHON, execution_providers=("CUDAExecutionProvider", "CPUExecutionProvider"))
SERVER = replace(PI, arch="x86_64", python=ON_GPU, gpus=(Gpu("NVIDIA RTX 3090", 8.6),))
SPEC = EngineSpec("onnxruntime", path="/usr/bin/python3")


def artifact(precision):
    return Artifact("onnx", precision, "net.onnx", "0" * 64, 1)


def with_python(**changes):
    return replace(PI, python=replace(PYTHON, **changes))


def test_the_python_is_the_facts_unless_the_operator_names_one():
    assert ENGINE.resolve(EngineSpec("onnxruntime"), PI).path == "/usr/bin/python3"
    own = EngineSpec("onnxruntime", path="/opt/venv/bin/python")
    assert ENGINE.resolve(own, PI) == own


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (PI, ""),
        (with_python(onnxruntime=""), "onnxruntime is not installed in /usr/bin/python3"),
        (with_python(numpy=""), "numpy is not installed in /usr/bin/python3"),
        (
            with_python(onnxruntime="1.9.0"),
            "onnxruntime 1.9.0 in /usr/bin/python3 is older than 1.12",
        ),
        (with_python(onnxruntime="1.12", numpy="1.17"), ""),
        (with_python(onnxruntime="1.12.0rc1"), ""),
        (with_python(numpy="1.16.6"), "numpy 1.16.6 in /usr/bin/python3 is older than 1.17"),
        (Facts(), "there is no python3"),
    ],
)
def test_what_a_host_lacks(facts, reason):
    assert ENGINE.unfit(
        ENGINE.resolve(EngineSpec("onnxruntime"), facts), facts, artifact("fp32")
    ) == (reason)


def test_of_another_python_nothing_is_known():
    own = EngineSpec("onnxruntime", path="/opt/venv/bin/python")
    assert ENGINE.unfit(own, with_python(onnxruntime=""), artifact("fp32")) == ""


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (PI, "no fast FP16: no GPU, and a CPU without FP16 arithmetic"),
        (replace(PI, cpu=Cpu(flags=frozenset({"fphp", "asimdhp", "asimd"}))), ""),
        (
            replace(PI, cpu=Cpu(flags=frozenset({"fphp"}))),
            "no fast FP16: no GPU, and a CPU without FP16 arithmetic",
        ),
        (SERVER, ""),
        (
            replace(SERVER, gpus=(Gpu("GeForce GTX 1080", 6.1),)),
            "no fast FP16: GeForce GTX 1080 (compute capability 6.1)",
        ),
        (
            replace(SERVER, python=PYTHON),
            "no fast FP16: the onnxruntime of this host cannot use its GPU",
        ),
    ],
)
def test_fp16_goes_where_it_is_fast(facts, reason):
    assert ENGINE.unfit(SPEC, facts, artifact("fp16")) == reason
    assert ENGINE.unfit(SPEC, facts, artifact("fp32")) == ""
    assert ENGINE.unfit(SPEC, facts, artifact("int8")) == ""


GOOD = """\
# for a Raspberry Pi
execution_provider = cpu
intra_op_threads=4   # all cores
batch_size = 8
graph_optimization = extended
"""


def test_a_good_config_has_no_problems():
    assert ENGINE.check_config(GOOD, SPEC, PI) == []
    assert ENGINE.check_config("execution_provider = cuda\n", SPEC, SERVER) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ConfigProblem(0, "execution_provider", "is missing")),
        (
            "execution_provider = cpu\nintra_op_thread = 4",
            ConfigProblem(2, "intra_op_thread", "is no key, did you mean 'intra_op_threads'?"),
        ),
        (
            "execution_provider = cpu\nxyz = 4",
            ConfigProblem(2, "xyz", f"is no key: {', '.join(KEYS)}"),
        ),
        ("execution_provider = # cpu", ConfigProblem(1, "execution_provider", "has no value")),
        ("execution_provider", ConfigProblem(1, "execution_provider", "has no value")),
        (
            "execution_provider = CPU",
            ConfigProblem(
                1, "execution_provider", f"must be one of {', '.join(PROVIDERS)}, not CPU"
            ),
        ),
        (
            "execution_provider = cpu\nbatch_size = 1\nbatch_size = 2",
            ConfigProblem(3, "batch_size", "is already set in line 2"),
        ),
        (
            "execution_provider = cpu\nbatch_size = 0",
            ConfigProblem(2, "batch_size", "must be 1 to 4096, not 0"),
        ),
        (
            "execution_provider = cpu\nintra_op_threads = 1025",
            ConfigProblem(2, "intra_op_threads", "must be 0 to 1024, not 1025"),
        ),
        (
            "execution_provider = cpu\nintra_op_threads = -1",
            ConfigProblem(2, "intra_op_threads", "must be 0 to 1024, not -1"),
        ),
        (
            "execution_provider = cpu\nintra_op_threads = ٣",
            ConfigProblem(2, "intra_op_threads", "must be 0 to 1024, not ٣"),
        ),
        (
            "execution_provider = cuda",
            ConfigProblem(1, "execution_provider", "cuda needs an NVIDIA GPU, the host has none"),
        ),
        (
            "execution_provider = openvino",
            ConfigProblem(
                1,
                "execution_provider",
                "the onnxruntime of /usr/bin/python3 has no OpenVINOExecutionProvider",
            ),
        ),
        (
            "execution_provider = coreml",
            ConfigProblem(1, "execution_provider", "coreml needs Darwin"),
        ),
    ],
)
def test_what_is_wrong_with_a_config(text, problem):
    assert ENGINE.check_config(text, SPEC, PI) == [problem]


def test_a_gpu_that_onnxruntime_cannot_use():
    (problem,) = ENGINE.check_config(
        "execution_provider = cuda", SPEC, replace(SERVER, python=PYTHON)
    )
    assert problem.reason == "the onnxruntime of /usr/bin/python3 has no CUDAExecutionProvider"


@given(st.text())
def test_any_text_is_judged_without_an_error(text):
    lines = len(text.splitlines())
    assert all(0 <= p.line <= lines and p.reason for p in ENGINE.check_config(text, SPEC, PI))


@given(
    threads=st.integers(0, 1024),
    batch=st.integers(1, 4096),
    level=st.sampled_from(KEYS["graph_optimization"].words),
    order=st.permutations(range(4)),
)
def test_what_passes_the_check_is_what_the_smoke_benchmark_reads(
    tmp_path_factory, threads, batch, level, order
):
    wanted = {
        "execution_provider": "cpu",
        "intra_op_threads": str(threads),
        "batch_size": str(batch),
        "graph_optimization": level,
    }
    lines = [f" {key}  = {value} # {key}\n" for key, value in wanted.items()]
    text = "\n".join(lines[i] for i in order)
    assert ENGINE.check_config(text, SPEC, PI) == []
    path = tmp_path_factory.mktemp("config") / "ort.cfg"
    path.write_text(text)
    assert onnxruntime_smoke.read_config(str(path)) == wanted


def test_engine_and_smoke_benchmark_know_the_same_words():
    assert onnxruntime_smoke.PROVIDERS == PROVIDERS
    assert tuple(onnxruntime_smoke.OPTIMIZATION) == KEYS["graph_optimization"].words


def test_run_without_a_program_says_what_the_net_takes_and_gives(tmp_path):
    small_net(tmp_path / "it's a net.onnx")
    spec = EngineSpec("onnxruntime", path=sys.executable)
    line = ENGINE.run_line(spec, model="it's a net.onnx", config="ort.cfg")
    done = subprocess.run(
        ["sh", "-c", f"exec {line}"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "input input_global ['N', 19] tensor(float)\n" in done.stdout
    assert "output value ['N', 3] tensor(float)\n" in done.stdout


def test_run_starts_the_operators_program_on_the_net(tmp_path):
    spec = EngineSpec("onnxruntime", path=sys.executable, run='echo serve "$MODEL" "$CONFIG"')
    line = ENGINE.run_line(spec, model="net.onnx", config="ort.cfg")
    done = subprocess.run(
        ["sh", "-c", f"exec {line}"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "serve net.onnx ort.cfg\n"
