"""What is wrong with a config, by table; test_katago_real_engine.py asks KataGo itself."""

from __future__ import annotations

import pytest

from orchestrator.engines.katago import ENGINE, keys
from orchestrator.engines.katago.check import check
from orchestrator.fleet.facts import Facts, Katago
from orchestrator.fleet.profile import EngineSpec
from orchestrator.models.manifest import Artifact

GTP = (
    "logAllGTPCommunication = false\nlogSearchInfo = false\nnumSearchThreads = 4\nrules = chinese\n"
)
ANALYSIS = "numAnalysisThreads = 2\nnumSearchThreadsPerAnalysisThread = 2\nnnMaxBatchSize = 4\n"


def reasons(text, command="gtp", backend="opencl"):
    return {p.key: p.reason for p in check(text, command=command, backend=backend)}


@pytest.mark.parametrize("backend", [*keys.BACKEND_PREFIXES, ""])
@pytest.mark.parametrize(("text", "command"), [(GTP, "gtp"), (ANALYSIS, "analysis")])
def test_smallest_good_configs(text, command, backend):
    assert reasons(text, command, backend) == {}


def test_the_widely_copied_three_lines_miss_what_katago_needs():
    text = "numSearchThreads = 4\nmaxVisits = 100\nnnMaxBatchSize = 1\n"
    missing = reasons(text, backend="eigen")
    assert set(missing) == {"logAllGTPCommunication", "logSearchInfo", "rules"}


CASES = [
    # backend, added line, key, part of the reason
    ("opencl", "maxVisit = 5", "maxVisit", "did you mean `maxVisits`?"),
    ("opencl", "useFP16Storage = true", "useFP16Storage", "no key of KataGo"),
    ("opencl", "openclUseFP16Storage = true", "openclUseFP16Storage", "no key of KataGo"),
    ("opencl", "maxVisits = 0", "maxVisits", "from 1 to 1125899906842624"),
    ("opencl", "maxVisits = 5.5", "maxVisits", "integer"),
    ("opencl", "maxVisits = 1e3", "maxVisits", "integer"),
    ("opencl", "maxTime = inf", "maxTime", "number"),
    ("opencl", "maxTime = nan", "maxTime", "number"),
    ("opencl", "maxTime = 1e400", "maxTime", "from 0 to 1e+20"),
    ("opencl", "ponderingEnabled = 1", "ponderingEnabled", "true or false"),
    ("opencl", "useFP16 = maybe", "useFP16", "true, false or auto"),
    ("opencl", "koRule = SIMPLE", "koRule", "beside `rules`"),
    ("opencl", "reportAnalysisWinratesAs = me", "reportAnalysisWinratesAs", "one of"),
    ("opencl", "numAnalysisThreads = 2", "numAnalysisThreads", "not read by `katago gtp`"),
    ("opencl", "numBots = 2", "numBots", "match configs"),
    ("opencl", "humanSLCpuctExploration = 1", "humanSLCpuctExploration", "second net"),
    ("opencl", "komi = 7.5", "komi", "GTP command"),
    ("opencl", "logDir = a\nlogFile = b", "logDir", "beside `logFile`"),
    ("opencl", "resignThreshold = -0.9", "resignThreshold", "allowResignation"),
    ("opencl", "allowResignation = false", "resignThreshold", "is missing"),
    ("opencl", "deviceToUseThread1 = 1", "deviceToUseThread1", "starts fewer threads"),
    ("eigen", "useFP16 = true", "useFP16", "no FP16"),
    ("eigen", "eigenUseFP16 = true", "eigenUseFP16", "no FP16"),
    ("eigen", "useFP16-0 = 1", "useFP16-0", "no FP16"),
    ("eigen", "cudaUseFP16 = true", "cudaUseFP16", "cuda backend; this host has eigen"),
    ("eigen", "openclTunerFile = x", "openclTunerFile", "opencl backend; this host has eigen"),
    ("tensorrt", "cudaUseFP16 = true", "cudaUseFP16", "cuda backend; this host has tensorrt"),
    ("cuda", "trtUseFP16 = true", "trtUseFP16", "tensorrt backend; this host has cuda"),
    ("cuda", "metalAnything = 1", "metalAnything", "metal backend; this host has cuda"),
    ("cuda", "numEigenThreadsPerModel = 2", "numEigenThreadsPerModel", "eigen backend"),
    ("cuda", "cudaUseFP17 = true", "cudaUseFP17", "no key of KataGo"),
]


@pytest.mark.parametrize(("backend", "line", "key", "part"), CASES)
def test_names_the_key_and_the_reason(backend, line, key, part):
    found = reasons(GTP + line + "\n", backend=backend)
    assert set(found) == {key}
    assert part in found[key]


@pytest.mark.parametrize(
    ("backend", "lines"),
    [
        ("eigen", "useFP16 = auto\nnumEigenThreadsPerModel = 4"),
        ("eigen", "useFP16 = false"),
        (
            "cuda",
            "numNNServerThreadsPerModel = 2\ncudaDeviceToUseThread0 = 0\ncudaGpuToUseThread1 = 1",
        ),
        ("cuda", "cudaUseFP16 = auto\ncudaUseNHWC = true\ncudaDeviceToUseModel0Thread0 = 1"),
        ("tensorrt", "trtDeviceToUse = 1\ntrtUseFP16-0 = true\ntrtDisableOnnx = false"),
        ("opencl", 'openclTunerFile = "a b"\nopenclReTunePerBoardSize = true\ngpuToUse = 0'),
        ("onnx", "onnxProvider = openvino\nonnxOpenVINODeviceType = NPU"),
        ("opencl", "maxBoardXSizeForNNBuffer0 = 9\navoidSgf2PatternUtility = 0.1"),
        ("opencl", "allowResignation = true\nresignThreshold = -0.9\nresignConsecTurns = 3"),
        ("", "cudaUseFP16 = auto\ntrtUseFP16 = auto"),
    ],
)
def test_good_lines_of_each_backend(backend, lines):
    assert reasons(GTP + lines + "\n", backend=backend) == {}


def test_rules_may_be_split_and_then_all_three_are_needed():
    text = GTP.replace("rules = chinese\n", "koRule = SIMPLE\nscoringRule = AREA\n")
    assert set(reasons(text)) == {"multiStoneSuicideLegal"}
    assert reasons(text + "multiStoneSuicideLegal = false\ntaxRule = SEKI\n") == {}


def test_analysis_needs_its_threads_once_and_a_batch_size():
    assert set(reasons("", "analysis", "opencl")) == {
        "numAnalysisThreads",
        "numSearchThreadsPerAnalysisThread",
        "nnMaxBatchSize",
    }
    no_batch = ANALYSIS.replace("nnMaxBatchSize = 4\n", "")
    assert reasons(no_batch, "analysis", "eigen") == {}
    assert set(reasons(no_batch, "analysis", "cuda")) == {"nnMaxBatchSize"}
    twice = reasons(ANALYSIS + "numSearchThreads = 2\n", "analysis")
    assert "keep one" in twice["numSearchThreadsPerAnalysisThread"]
    assert reasons(ANALYSIS.replace("PerAnalysisThread", ""), "analysis") == {}


def test_problems_come_by_line():
    found = check(GTP + "b = 1\n\na = 1\n", command="gtp", backend="opencl")
    assert [(p.line, p.key) for p in found] == [(5, "b"), (7, "a")]


FACTS = Facts(katago=Katago("/usr/bin/katago", "1.15.3", "eigen"))
NET = Artifact("katago", "fp32", "model.bin.gz", "0" * 64, 1)


def test_resolve_fills_in_path_and_command():
    assert ENGINE.resolve(EngineSpec("katago"), FACTS) == EngineSpec(
        "katago", "gtp", path="/usr/bin/katago"
    )
    own = EngineSpec("katago", "analysis", path="/opt/katago")
    assert ENGINE.resolve(own, FACTS) == own


@pytest.mark.parametrize(
    ("spec", "artifact", "part"),
    [
        (EngineSpec("katago", "gtp", path="/usr/bin/katago"), NET, ""),
        (EngineSpec("katago", "gtp"), NET, "not installed"),
        (EngineSpec("katago", "match", path="/k"), NET, "no command `match`"),
        (
            EngineSpec("katago", "gtp", path="/k"),
            Artifact("katago", "fp32", "model.onnx", "0" * 64, 1),
            "not model.onnx",
        ),
        (
            EngineSpec("katago", "gtp", path="/usr/bin/katago"),
            Artifact("katago", "fp32", "m.bin.gz", "0" * 64, 1, requires={"katago": "1.16"}),
            "needs katago 1.16, the host has 1.15.3",
        ),
    ],
)
def test_unfit_says_why(spec, artifact, part):
    reason = ENGINE.unfit(spec, FACTS, artifact)
    assert part in reason
    assert bool(part) == bool(reason)


def test_run_line_is_quoted():
    spec = EngineSpec("katago", "gtp", path="/opt/my katago")
    line = ENGINE.run_line(spec, model="model.bin.gz", config="rpi.cfg")
    assert line == "'/opt/my katago' gtp -model model.bin.gz -config rpi.cfg"


def test_check_config_goes_by_the_hosts_backend():
    spec = EngineSpec("katago", "gtp", path="/usr/bin/katago")
    (problem,) = ENGINE.check_config(GTP + "useFP16 = true\n", spec, FACTS)
    assert (problem.line, problem.key) == (5, "useFP16")
