"""Whether KataGo would start on a config and use all of it."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from orchestrator.engines.base import ConfigProblem
from orchestrator.engines.katago import cfg, keys
from orchestrator.spelling import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.engines.katago.cfg import Setting

_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_SWITCH = frozenset({"true", "false"})
_ENABLED = frozenset({"true", "t", "yes", "y", "1", "false", "f", "no", "n", "0", "auto"})
_TRUE = frozenset({"true", "t", "yes", "y", "1"})

# cpp/game/rules.cpp; KataGo compares them without case, '-', '_' and blanks.
RULES = frozenset({
    "tromptaylor", "chinese", "chineseogs", "chinesekgs", "japanese", "korean", "stonescoring",
    "ancientarea", "aga", "bga", "french", "nz", "newzealand", "goe", "ing", "agabutton",
})  # fmt: skip
_OWN_RULES = re.compile(r"ko[A-Z]|\{")
_SPLIT_RULES = ("koRule", "scoringRule", "multiStoneSuicideLegal")
_SPLIT_RULES_OPTIONAL = (
    "taxRule", "hasButton", "friendlyPassOk", "whiteHandicapBonus", "whiteBonusPerHandicapStone"
)  # fmt: skip
_REQUIRED = {
    "gtp": ("logAllGTPCommunication", "logSearchInfo", "numSearchThreads"),
    "analysis": ("numAnalysisThreads",),
}
_LOGS = ("logFile", "logDir", "logDirDated")


def check(text: str, *, command: str, backend: str) -> list[ConfigProblem]:
    """Every reason why KataGo would abort on the config or ignore part of it, by line.

    `command` is gtp or analysis. `backend` is as in the facts; with none known, what depends on
    the backend is not checked.
    """
    settings, problems = cfg.parse(text)
    for setting in settings.values():
        reason = _reason(setting, command, backend)
        if reason:
            problems.append(ConfigProblem(setting.line, setting.key, reason))
    problems += _missing(settings, command, backend)
    problems += _together(settings, command, backend)
    return sorted(problems, key=lambda p: (p.line, p.key))


def is_true(value: str) -> bool:
    """Whether KataGo takes the value of a switch for true."""
    return value.lower() in _TRUE


def _reason(setting: Setting, command: str, backend: str) -> str:
    key = keys.find(setting.key)
    own = keys.backend_of(setting.key) if key is None or not key.only else key.only[0]
    if key is not None and key.refused:
        return key.refused
    if own and backend and own != backend:
        return f"is for KataGo's {own} backend; this host has {backend}, which ignores it silently"
    if key is None:
        return _unknown(setting.key)
    if command not in key.commands:
        return f"is not read by `katago {command}`"
    return _value(key, setting.value, command)


def _unknown(name: str) -> str:
    meant = nearest(name, keys.KEYS)
    return "is no key of KataGo" + (f"; did you mean `{meant}`?" if meant else "")


def _value(key: keys.Key, value: str, command: str) -> str:
    match key.type:
        case "whole" if not _WHOLE.fullmatch(value):
            return f"must be an integer, not `{value}`"
        case "number" if not _NUMBER.fullmatch(value):
            return f"must be a number, not `{value}`"
        case "whole" | "number":
            return _range(float(value), *keys.bounds(key, command))
        case "switch":
            return "" if value.lower() in _SWITCH else f"must be true or false, not `{value}`"
        case "enabled":
            good = value.lower() in _ENABLED
            return "" if good else f"must be true, false or auto, not `{value}`"
    return _word(key, value)


def _range(value: float, low: float, high: float) -> str:
    if math.isfinite(value) and low <= value <= high:
        return ""
    return f"must be from {low:.16g} to {high:.16g}, not {value:.16g}"


def _word(key: keys.Key, value: str) -> str:
    if key.name == "rules":
        if _OWN_RULES.match(value) or re.sub(r"[-_ ]", "", value.lower()) in RULES:
            return ""
        return f"`{value}` is no set of rules that KataGo knows"
    if key.words and value.lower() not in key.words:
        return f"must be one of {', '.join(key.words)}, not `{value}`"
    return ""


def _missing(
    settings: Mapping[str, Setting], command: str, backend: str
) -> Iterator[ConfigProblem]:
    required = list(_REQUIRED[command])
    if command == "gtp" and "rules" not in settings:
        if any(key in settings for key in _SPLIT_RULES):
            required += _SPLIT_RULES
        else:
            required.append("rules")
    if command == "analysis":
        if "numSearchThreads" not in settings:
            required.append("numSearchThreadsPerAnalysisThread")
        if backend != "eigen":
            required.append("nnMaxBatchSize")
    if command == "gtp" and "allowResignation" in settings:
        required.append("resignThreshold")
    for key in required:
        if key not in settings:
            yield ConfigProblem(
                0, key, f"is missing, and `katago {command}` does not start without"
            )


def _together(
    settings: Mapping[str, Setting], command: str, backend: str
) -> Iterator[ConfigProblem]:
    """What is wrong only on this backend or in the company of another key."""
    for key, reason in (
        *_fp16_on_cpu(settings, backend),
        *_rules_twice(settings),
        *_threads_twice(settings, command),
        *_logs_twice(settings),
        *_idle_resignation(settings),
        *_device_threads(settings),
    ):
        yield ConfigProblem(settings[key].line, key, reason)


def _fp16_on_cpu(settings: Mapping[str, Setting], backend: str) -> Iterator[tuple[str, str]]:
    for key, setting in settings.items():
        own = keys.backend_of(key) in {"", "eigen"} and keys.find(key) is keys.KEYS["useFP16"]
        if backend == "eigen" and own and is_true(setting.value):
            yield key, "cannot be true: KataGo's eigen backend (CPU) has no FP16"


def _rules_twice(settings: Mapping[str, Setting]) -> Iterator[tuple[str, str]]:
    for key in (*_SPLIT_RULES, *_SPLIT_RULES_OPTIONAL):
        if key in settings and "rules" in settings:
            yield key, "cannot stand beside `rules`"


def _threads_twice(settings: Mapping[str, Setting], command: str) -> Iterator[tuple[str, str]]:
    key = "numSearchThreadsPerAnalysisThread"
    if command == "analysis" and key in settings and "numSearchThreads" in settings:
        yield key, "means the same as `numSearchThreads`; keep one of them"


def _logs_twice(settings: Mapping[str, Setting]) -> Iterator[tuple[str, str]]:
    logs = [key for key in _LOGS if key in settings]
    for key in logs[1:]:
        yield key, f"cannot stand beside `{logs[0]}`"


def _idle_resignation(settings: Mapping[str, Setting]) -> Iterator[tuple[str, str]]:
    if "resignThreshold" in settings and "allowResignation" not in settings:
        yield "resignThreshold", "is ignored without `allowResignation`"


def _device_threads(settings: Mapping[str, Setting]) -> Iterator[tuple[str, str]]:
    given = settings.get("numNNServerThreadsPerModel")
    if given is not None and not _WHOLE.fullmatch(given.value):
        return
    threads = int(given.value) if given else 1
    for key in settings:
        thread = keys.thread_of(key)
        if thread is not None and thread >= threads:
            yield key, f"is ignored: numNNServerThreadsPerModel = {threads} starts fewer threads"
