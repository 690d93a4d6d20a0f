"""Every key that KataGo reads in `gtp` and `analysis`, with its type, range and backends.

Types and ranges are those that KataGo 1.18.1 itself states when it refuses a value; the keys come
from cpp/program/setup.cpp, cpp/command/gtp.cpp, cpp/command/analysis.cpp, cpp/core/logger.cpp and
the comments of configs/gtp_example.cfg and configs/analysis_example.cfg. A value out of range, a
missing key and a value of the wrong type abort KataGo; an unknown key is ignored with a warning.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Type = Literal["whole", "number", "switch", "enabled", "text"]

COMMANDS = ("gtp", "analysis")
GTP = ("gtp",)
ANALYSIS = ("analysis",)

# Word that the facts have for a backend, and how its own keys begin.
BACKEND_PREFIXES = {
    "cuda": "cuda",
    "tensorrt": "trt",
    "opencl": "opencl",
    "eigen": "eigen",
    "metal": "metal",
    "onnx": "onnx",
    "rocm": "rocm",
}


@dataclass(frozen=True, slots=True)
class Key:
    """One key. `words` are the values a text may have, in lower case; empty means any.

    `only` are the backends that read it; empty means all. `refused` says why the key is always
    wrong in a release.
    """

    name: str
    type: Type
    low: float = 0
    high: float = 0
    commands: tuple[str, ...] = COMMANDS
    words: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    refused: str = ""


def whole(
    name: str,
    low: float,
    high: float,
    commands: tuple[str, ...] = COMMANDS,
    *,
    only: tuple[str, ...] = (),
) -> Key:
    """An integer between `low` and `high`."""
    return Key(name, "whole", low, high, commands, only=only)


def number(name: str, low: float, high: float, commands: tuple[str, ...] = COMMANDS) -> Key:
    """A real number between `low` and `high`."""
    return Key(name, "number", low, high, commands)


def switch(name: str, commands: tuple[str, ...] = COMMANDS, *, only: tuple[str, ...] = ()) -> Key:
    """`true` or `false`."""
    return Key(name, "switch", commands=commands, only=only)


def enabled(name: str, commands: tuple[str, ...] = COMMANDS, *, only: tuple[str, ...] = ()) -> Key:
    """`true`, `false` or `auto`."""
    return Key(name, "enabled", commands=commands, only=only)


def text(
    name: str,
    commands: tuple[str, ...] = COMMANDS,
    *,
    words: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
) -> Key:
    """Any text, or one of `words`."""
    return Key(name, "text", commands=commands, words=words, only=only)


def refused(name: str, reason: str) -> Key:
    """A key that is wrong whatever its value."""
    return Key(name, "text", refused=reason)


_HUMAN = "needs a second net (-human-model), which a release does not carry"
_BLACK_WHITE = ("b", "black", "w", "white")
_DEVICE = 1023

_TABLE: tuple[Key, ...] = (
    # Threads, limits, rules
    whole("numSearchThreads", 1, 4096),
    whole("numSearchThreadsPerAnalysisThread", 1, 4096, ANALYSIS),
    whole("numAnalysisThreads", 1, 16384, ANALYSIS),
    whole("maxVisits", 1, 2**50),
    whole("maxPlayouts", 1, 2**50),
    number("maxTime", 0, 1e20),
    switch("ponderingEnabled", GTP),
    text("rules", GTP),
    text("koRule", GTP, words=("positional", "simple", "situational", "spight")),
    text("scoringRule", GTP, words=("area", "territory")),
    text("taxRule", GTP, words=("all", "none", "seki")),
    switch("multiStoneSuicideLegal", GTP),
    switch("hasButton", GTP),
    switch("friendlyPassOk", GTP),
    text("whiteHandicapBonus", GTP, words=("0", "n", "n-1")),
    whole("whiteBonusPerHandicapStone", 0, 1, GTP),
    # Logs
    switch("logAllGTPCommunication", GTP),
    switch("logSearchInfo"),
    text("logDir"),
    text("logDirDated"),
    text("logFile"),
    # Net and backend
    whole("nnMaxBatchSize", 1, 65536),
    whole("numNNServerThreadsPerModel", 1, 1024),
    whole("numEigenThreadsPerModel", 1, 1024, only=("eigen",)),
    whole("nnMutexPoolSizePowerOfTwo", 0, 24),
    whole("maxBoardSizeForNNBuffer", 2, 19),
    whole("maxBoardXSizeForNNBuffer", 2, 19),
    whole("maxBoardYSizeForNNBuffer", 2, 19),
    switch("requireMaxBoardSize"),
    text("nnRandSeed"),
    enabled("useFP16"),
    switch("inputsUseNHWC"),
    whole("deviceToUse", 0, _DEVICE),
    whole("gpuToUse", 0, _DEVICE),
    text("homeDataDir"),
    text("openclTunerFile", only=("opencl",)),
    switch("openclReTunePerBoardSize", only=("opencl",)),
    enabled("cudaUseNHWC", only=("cuda",)),
    enabled("cudaUse1x1Matmul", only=("cuda",)),
    switch("cudaDisableGraphSDPA", only=("cuda",)),
    switch("cudaDisableWarmup", only=("cuda",)),
    enabled("rocmUseNHWC", only=("rocm",)),
    switch("trtDisableOnnx", only=("tensorrt",)),
    switch("trtTransformerNHWC", only=("tensorrt",)),
    text("trtDumpDebugPlanToDir", only=("tensorrt",)),
    text(
        "onnxProvider",
        words=("cpu", "openvino", "directml", "cuda", "tensorrt", "migraphx", "coreml"),
        only=("onnx",),
    ),
    text("onnxOpenVINODeviceType", only=("onnx",)),
    text("onnxOpenVINODeviceId", only=("onnx",)),
    text("onnxOpenVINOEnableNPUFastCompile", only=("onnx",)),
    text("onnxOpenVINOCacheDir", only=("onnx",)),
    text("onnxOpenVINOPrecision", only=("onnx",)),
    text("onnxOpenVINONumStreams", only=("onnx",)),
    text("onnxOpenVINONumOfThreads", only=("onnx",)),
    text("onnxOpenVINOModelPriority", only=("onnx",)),
    switch("onnxTransformerNHWC", only=("onnx",)),
    # Resignation
    switch("allowResignation", GTP),
    number("resignThreshold", -1, 0, GTP),
    whole("resignConsecTurns", 1, 100, GTP),
    number("resignMinScoreDifference", 0, 1000, GTP),
    number("resignMinMovesPerBoardArea", 0, 1, GTP),
    # Reports and seeds
    whole("analysisPVLen", 1, 1000),
    text("reportAnalysisWinratesAs", words=(*_BLACK_WHITE, "sidetomove")),
    text("playoutDoublingAdvantagePla", words=_BLACK_WHITE),
    text("searchRandSeed", GTP),
    text("humanSLProfile"),
    # Patterns to avoid
    text("autoAvoidRepeatDir", GTP),
    number("autoAvoidRepeatUtility", -3, 3, GTP),
    number("autoAvoidRepeatLambda", 0, 1, GTP),
    whole("autoAvoidRepeatMinTurnNumber", 0, 1000000, GTP),
    whole("autoAvoidRepeatMaxTurnNumber", 0, 1000000, GTP),
    whole("autoAvoidRepeatMaxPoses", 0, 10**12, GTP),
    whole("autoAvoidRepeatSaveChunkSize", 1, 10000, GTP),
    number("avoidSgfPatternUtility", -3, 3),
    number("avoidSgfPatternLambda", 0, 1),
    whole("avoidSgfPatternMinTurnNumber", 0, 1000000),
    whole("avoidSgfPatternMaxFiles", 1, 1000000),
    text("avoidSgfPatternAllowedNames"),
    text("avoidSgfPatternDirs"),
    # Search
    enabled("alwaysComputePassAliveUnderSuicideRules"),
    switch("analysisIgnorePreRootHistory", GTP),
    number("analysisWideRootNoise", 0, 5, GTP),
    switch("antiMirror"),
    switch("assumeMultipleStartingBlackMovesAreHandicap"),
    number("avoidRepeatedPatternUtility", -3, 3),
    number("chosenMovePrune", 0, 1e10),
    number("chosenMoveSubtract", 0, 1e10),
    number("chosenMoveTemperature", 0, 5),
    number("chosenMoveTemperatureEarly", 0, 5),
    number("chosenMoveTemperatureHalflife", 0.1, 100000),
    number("chosenMoveTemperatureOnlyBelowProb", 0, 1),
    enabled("cleanupBeforePass", GTP),
    switch("conservativePass"),
    number("cpuctExploration", 0, 10),
    number("cpuctExplorationBase", 10, 100000),
    number("cpuctExplorationLog", 0, 10),
    number("cpuctUtilityStdevPrior", 1e-08, 10),
    number("cpuctUtilityStdevPriorWeight", 0, 100),
    number("cpuctUtilityStdevScale", 0, 1),
    whole("defaultBoardSize", 2, 19, GTP),
    whole("defaultBoardXSize", 2, 19, GTP),
    whole("defaultBoardYSize", 2, 19, GTP),
    number("delayMoveMax", 0, 1e06, GTP),
    number("delayMoveScale", 0, 10000, GTP),
    number("drawEquivalentWinsForWhite", 0, 1),
    number("dynamicPlayoutDoublingAdvantageCapPerOppLead", 0, 0.5, GTP),
    number("dynamicScoreCenterScale", 0.2, 5),
    number("dynamicScoreCenterZeroWeight", 0, 1),
    number("dynamicScoreUtilityFactor", 0, 1),
    switch("enableMorePassingHacks"),
    switch("enablePassingHacks"),
    number("endgameTurnTimeDecay", 0, 1000),
    whole("evalCacheMinVisits", 1, 2**50),
    enabled("excludeTerritoryAdjacentToAtari"),
    switch("fillDameBeforePass"),
    switch("forDeterministicTesting"),
    number("fpuLossProp", 0, 1),
    switch("fpuParentWeightByVisitedPolicy"),
    number("fpuParentWeightByVisitedPolicyPow", 0, 5),
    number("fpuReductionMax", 0, 2),
    enabled("friendlyPass", GTP),
    number("futileVisitsThreshold", 0.01, 1),
    switch("genmoveAntiMirror", GTP),
    number("graphSearchCatchUpLeakProb", 0, 1),
    whole("graphSearchRepBound", 3, 50),
    switch("gtpForceMaxNNSize", GTP),
    switch("ignoreAllHistory"),
    number("ignoreGTPAndForceKomi", -400, 400, GTP),
    switch("ignorePreRootHistory"),
    number("lagBuffer", 0, 3600),
    number("lcbStdevs", 1, 12),
    switch("logAllRequests", ANALYSIS),
    switch("logAllResponses", ANALYSIS),
    switch("logConfigContents"),
    switch("logErrorsAndWarnings", ANALYSIS),
    switch("logSearchInfoForChosenMove", GTP),
    switch("logTimeStamp"),
    switch("logToStderr"),
    switch("logToStdout"),
    whole("maxPlayoutsPondering", 1, 2**50),
    number("maxTimePondering", 0, 1e20),
    whole("maxVisitsPondering", 1, 2**50),
    number("midgameTimeFactor", 0.01, 100),
    number("midgameTurnPeakTime", 0, 1000),
    number("minPlayoutsPerThread", 0, 1e20),
    number("minVisitPropForLCB", 0, 1),
    whole("nnCacheSizePowerOfTwo", -1, 48),
    whole("nnForcedSymmetry", 0, 7),
    number("nnPolicyTemperature", 0.01, 5),
    switch("nnRandomize"),
    whole("nodeTableShardsPowerOfTwo", 8, 24),
    number("noisePruneUtilityScale", 0.001, 10),
    number("noisePruningCap", 0, 1e50),
    number("noResultUtilityForWhite", -1, 1),
    number("numVirtualLossesPerThread", 0.01, 1000),
    number("obviousMovesPolicyEntropyTolerance", 0.001, 2),
    number("obviousMovesPolicySurpriseTolerance", 0.001, 2),
    number("obviousMovesTimeFactor", 0.01, 1),
    switch("ogsChatToStderr", GTP),
    number("overallocateTimeFactor", 0.01, 100),
    number("playoutDoublingAdvantage", -3, 3),
    number("policyOptimism", 0, 1),
    switch("preventCleanupPhase"),
    number("rootDesiredPerChildVisitsCoeff", 0, 100),
    number("rootDirichletNoiseTotalConcentration", 0.001, 10000),
    number("rootDirichletNoiseWeight", 0, 1),
    number("rootEndingBonusPoints", -1, 1),
    number("rootFpuLossProp", 0, 1),
    number("rootFpuReductionMax", 0, 2),
    switch("rootNoiseEnabled"),
    whole("rootNumSymmetriesToSample", 1, 8),
    number("rootPolicyOptimism", 0, 1),
    number("rootPolicyTemperature", 0.01, 100),
    number("rootPolicyTemperatureEarly", 0.01, 100),
    switch("rootPruneUselessMoves"),
    switch("rootSymmetryPruning"),
    number("searchFactorAfterOnePass", 0, 1),
    number("searchFactorAfterTwoPass", 0, 1),
    number("searchFactorWhenWinning", 0.01, 1, GTP),
    number("searchFactorWhenWinningThreshold", 0, 1, GTP),
    switch("startupPrintMessageToStderr", GTP),
    number("staticScoreUtilityFactor", 0, 1),
    number("subtreeValueBiasFactor", 0, 1),
    number("subtreeValueBiasFreeProp", 0, 1),
    number("subtreeValueBiasWeightExponent", 0, 1),
    number("treeReuseCarryOverTimeFactor", 0, 1),
    number("uncertaintyCoeff", 0.0001, 1),
    number("uncertaintyExponent", 0, 2),
    number("uncertaintyMaxWeight", 1, 100),
    switch("useEvalCache"),
    switch("useGraphSearch"),
    switch("useLcbForSelection"),
    switch("useNoisePruning"),
    switch("useNonBuggyLcb"),
    switch("useUncertainty"),
    number("valueWeightExponent", 0, 1),
    switch("warnUnusedFields", ANALYSIS),
    number("wideRootNoise", 0, 5),
    number("winLossUtilityFactor", 0, 1),
    number("fpuParentWeight", 0, 1),
    # Refused
    refused("numBots", "is for match configs: one engine runs one net"),
    refused("debugSkipNeuralNet", "makes KataGo answer at random without the net"),
    refused("useFP16Storage", "is no key of KataGo; did you mean `useFP16`?"),
    refused("openclUseFP16Storage", "is no key of KataGo; did you mean `openclUseFP16`?"),
    refused("komi", "is set by the GTP command `komi`, KataGo reads no such key here"),
    refused("humanSLChosenMoveIgnorePass", _HUMAN),
    refused("humanSLChosenMovePiklLambda", _HUMAN),
    refused("humanSLChosenMoveProp", _HUMAN),
    refused("humanSLCpuctExploration", _HUMAN),
    refused("humanSLCpuctPermanent", _HUMAN),
    refused("humanSLOppExploreProbWeightful", _HUMAN),
    refused("humanSLOppExploreProbWeightless", _HUMAN),
    refused("humanSLPlaExploreProbWeightful", _HUMAN),
    refused("humanSLPlaExploreProbWeightless", _HUMAN),
    refused("humanSLRootExploreProbWeightful", _HUMAN),
    refused("humanSLRootExploreProbWeightless", _HUMAN),
)

KEYS: dict[str, Key] = {key.name: key for key in _TABLE}

_PREFIXED = {"DeviceToUse": "deviceToUse", "GpuToUse": "gpuToUse"}
_PREFIXED |= {"UseFP16": "useFP16", "InputsUseNHWC": "inputsUseNHWC"}
_DEVICE_SUFFIX = re.compile(r"(?:Model0)?(?:Thread(?P<thread>\d{1,4}))?")
_MODEL_SUFFIX = re.compile(
    r"(?P<name>(?:.*[uU]seFP16)(?=-0$)|maxBoard[XY]?SizeForNNBuffer(?=0$)|requireMaxBoardSize(?=0$)"
    r"|nnRandSeed(?=0$)|(?:.*[iI]nputsUseNHWC)(?=0$))-?0"
)
_PATTERN_SET = re.compile(r"avoidSgf\d+(?P<rest>Pattern\w+)")


def find(name: str) -> Key | None:
    """The key of that name, prefixed by a backend or suffixed by model and thread as KataGo does.

    `cudaDeviceToUseThread0`, `openclGpuToUseModel0Thread1`, `trtUseFP16`, `useFP16-0`,
    `maxBoardXSizeForNNBuffer0`, `avoidSgf2PatternDirs`.
    """
    if name in KEYS:
        return KEYS[name]
    if match := _PATTERN_SET.fullmatch(name):
        return KEYS.get(f"avoidSgf{match['rest']}")
    if match := _MODEL_SUFFIX.fullmatch(name):
        return find(match["name"])
    for prefix in ("", *BACKEND_PREFIXES.values()):
        for ending, generic in _PREFIXED.items():
            start = f"{prefix}{ending}" if prefix else generic
            if name.startswith(start) and _fits(generic, name[len(start) :]):
                return KEYS[generic]
    return None


def bounds(key: Key, command: str) -> tuple[float, float]:
    """The lowest and the highest value that the command takes for a number."""
    if key.name == "analysisPVLen" and command == "analysis":
        return 1, 100
    return key.low, key.high


def thread_of(name: str) -> int | None:
    """The server thread that a device key such as `cudaDeviceToUseThread1` is for."""
    match = re.search(r"(?:Device|device|Gpu|gpu)ToUse(?:Model0)?Thread(\d{1,4})$", name)
    return int(match[1]) if match else None


def backend_of(name: str) -> str:
    """The backend whose name the key begins with, such as `tensorrt` for `trtUseFP16`."""
    for backend, prefix in BACKEND_PREFIXES.items():
        if re.match(rf"{prefix}[A-Z]", name):
            return backend
    return ""


def _fits(generic: str, suffix: str) -> bool:
    if generic in {"deviceToUse", "gpuToUse"}:
        return _DEVICE_SUFFIX.fullmatch(suffix) is not None
    return not suffix
