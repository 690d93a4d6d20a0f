"""KataGo itself agrees with the table: what `check` refuses, it refuses or leaves unused."""

from __future__ import annotations

import re
import subprocess

import pytest

from orchestrator.engines.katago import keys
from orchestrator.engines.katago.check import RULES, check
from tests.katago_engine import NO_NET, TUNER

REQUIRED = {
    "gtp": {
        "logAllGTPCommunication": "false",
        "logSearchInfo": "false",
        "numSearchThreads": "2",
        "rules": "chinese",
    },
    "analysis": {
        "numAnalysisThreads": "2",
        "numSearchThreadsPerAnalysisThread": "2",
        "nnMaxBatchSize": "4",
    },
}
SPLIT = {"rules": None, "koRule": "SIMPLE", "scoringRule": "AREA", "multiStoneSuicideLegal": "true"}
PATTERNS = {"avoidSgfPatternUtility": "0.1", "avoidSgfPatternDirs": "."}
REPEATS = {
    "autoAvoidRepeatUtility": "0.1",
    "autoAvoidRepeatLambda": "1",
    "autoAvoidRepeatMinTurnNumber": "0",
    "autoAvoidRepeatMaxTurnNumber": "9",
    "autoAvoidRepeatMaxPoses": "9",
    "autoAvoidRepeatDir": ".",
}
RESIGN = {"allowResignation": "true", "resignThreshold": "-0.9"}
# Keys that KataGo reads only beside others.
COMPANIONS = {
    **dict.fromkeys(
        ("koRule", "scoringRule", "multiStoneSuicideLegal", "taxRule", "hasButton"), SPLIT
    ),
    **dict.fromkeys(("friendlyPassOk", "whiteHandicapBonus", "whiteBonusPerHandicapStone"), SPLIT),
    **{key.name: PATTERNS for key in keys.KEYS.values() if key.name.startswith("avoidSgf")},
    **{key.name: RESIGN for key in keys.KEYS.values() if key.name.startswith(("resign", "allowR"))},
    "fpuParentWeight": {"fpuParentWeightByVisitedPolicy": "false"},
    "numSearchThreads": {"numSearchThreadsPerAnalysisThread": None},
}
# Read from files that the first game writes, or from files whose names it must know: by hand.
NOT_ASKED = set(REPEATS) | {
    "autoAvoidRepeatSaveChunkSize",
    "avoidSgfPatternAllowedNames",
    "avoidSgfPatternDirs",
    "homeDataDir",
    "humanSLProfile",
    "logDir",
    "logDirDated",
    "logFile",
    "nnRandSeed",
    "openclTunerFile",
    "searchRandSeed",
    "openclReTunePerBoardSize",
    # KataGo's own range begins at -1, which it then refuses in other words.
    "nnMutexPoolSizePowerOfTwo",
}
ASKED = [
    (command, key)
    for key in keys.KEYS.values()
    for command in key.commands
    if key.name not in NOT_ASKED and not key.refused and key.only in {(), ("opencl",)}
]


def config(command, settings):
    merged = {**REQUIRED[command], **settings}
    return "".join(f"{key} = {value}\n" for key, value in merged.items() if value is not None)


@pytest.fixture
def start(katago, tmp_path):
    def run(command, text, *, net=NO_NET):
        (tmp_path / "k.cfg").write_text(text)
        return subprocess.run(
            [katago, command, "-model", net, "-config", "k.cfg"],
            cwd=tmp_path,
            input="quit\n" if command == "gtp" else "",
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def unused(done):
    return set(re.findall(r"Unused key '([^']+)'", done.stderr))


def reasons(text, command):
    return {p.key for p in check(text, command=command, backend="opencl")}


@pytest.mark.parametrize("command", ["gtp", "analysis"])
def test_starts_on_the_required_keys_alone(start, command):
    text = config(command, {})
    done = start(command, text)
    assert done.returncode == 0, done.stderr
    assert not unused(done)
    assert not reasons(text, command)


@pytest.mark.parametrize(
    ("command", "key"), ASKED, ids=[f"{command}-{key.name}" for command, key in ASKED]
)
def test_katago_knows_the_key_and_its_range(start, command, key):
    company = COMPANIONS.get(key.name, {}) if command in key.commands else {}
    wrong = f"{int(key.high) + 1}" if key.type == "whole" else "nonsense"
    if key.type == "number":
        wrong = f"{key.high * 2 + 1:g}"
    text = config(command, {**company, key.name: wrong})
    done = start(command, text)
    assert done.returncode != 0
    assert key.name in done.stderr or wrong in done.stderr
    assert key.name in reasons(text, command)
    if key.type in {"whole", "number"}:
        low, high = re.search(r"must be in the range (\S+) to (\S+)", done.stderr).groups()
        assert (float(low), float(high)) == pytest.approx(keys.bounds(key, command))


@pytest.mark.parametrize("name", ["useFP16Storage", "openclUseFP16Storage", "maxVisit", "komi"])
def test_katago_leaves_unknown_keys_unused(start, tiny, name):
    text = config("gtp", {name: "1", "openclTunerFile": f'"{TUNER}"'})
    done = start("gtp", text, net=tiny)
    assert done.returncode == 0
    assert unused(done) == {name}
    assert reasons(text, "gtp") == {name}


@pytest.mark.parametrize("name", ["cudaUseFP16", "trtUseFP16", "eigenAnything", "onnxProvider"])
def test_katago_is_silent_about_other_backends_and_the_check_is_not(start, name):
    text = config("gtp", {name: "true"})
    done = start("gtp", text)
    assert done.returncode == 0
    assert not unused(done)
    assert reasons(text, "gtp") == {name}


@pytest.mark.parametrize("name", ["openclDeviceToUseThread1", "deviceToUseThread7"])
def test_katago_leaves_devices_of_threads_it_does_not_start_unused(start, name):
    text = config("gtp", {name: "0"})
    assert unused(start("gtp", text)) == {name} == reasons(text, "gtp")


@pytest.mark.parametrize(
    ("command", "name"), [(command, name) for command in REQUIRED for name in REQUIRED[command]]
)
def test_katago_aborts_without_each_required_key(start, command, name):
    text = config(command, {name: None})
    done = start(command, text)
    assert done.returncode != 0
    assert "Could not find key" in done.stderr
    assert name in reasons(text, command)


ABORTS = [
    ("gtp", "maxVisits = 5\nmaxVisits = 5", "multiple times", "maxVisits"),
    ("gtp", "maxVisits =", "Could not parse key value pair", "maxVisits"),
    ("gtp", "maxVisits 5", "Could not parse key value pair", ""),
    ("gtp", 'maxVisits = "5', "Could not parse key value pair", "maxVisits"),
    ("gtp", "@include other.cfg", "other.cfg", ""),
    ("gtp", "koRule = SIMPLE", "Cannot both specify", "koRule"),
    ("gtp", "logDir = a\nlogFile = b", "Cannot specify more than one", "logDir"),
    ("gtp", "allowResignation = false", "resignThreshold", "resignThreshold"),
    ("gtp", "humanSLCpuctExploration = 1", "no human model", "humanSLCpuctExploration"),
    ("gtp", "numBots = 2", "numBots", "numBots"),
    (
        "analysis",
        "numSearchThreads = 2",
        "Cannot specify both",
        "numSearchThreadsPerAnalysisThread",
    ),
]


@pytest.mark.parametrize(("command", "lines", "said", "key"), ABORTS)
def test_katago_aborts_on_what_is_refused(start, command, lines, said, key):
    text = config(command, {}) + lines + "\n"
    done = start(command, text)
    assert done.returncode != 0
    assert said in done.stderr
    assert reasons(text, command) == {key}


@pytest.mark.parametrize("rules", sorted(RULES))
def test_katago_knows_the_rules(start, rules):
    assert start("gtp", config("gtp", {"rules": rules})).returncode == 0


@pytest.mark.parametrize("value", ["TRUE", "yes", "on", "1", "t", "-1", "Auto"])
@pytest.mark.parametrize("name", ["useFP16", "useGraphSearch"])
def test_words_for_true_are_those_of_katago(start, name, value):
    text = config("gtp", {name: value})
    assert (start("gtp", text).returncode == 0) == (not reasons(text, "gtp"))
