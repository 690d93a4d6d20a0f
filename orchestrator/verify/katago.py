"""The smoke benchmark of KataGo: the host's own engine runs the shipped net and config.

Two commands on the host. The first reads the config and the golden answers; the second starts the
engine once, feeds it everything over stdin and times its answers as they arrive. Metrics:

* `load_s`: seconds from the start of the process to its first answer
* `visits_per_s`, `evals_per_s`: of searches of `visits` visits each on several positions
* `golden_max_error`: largest difference of winrate or policy from the golden answers, in
  probability; `golden_lead_error`: the same for the lead, in points; `positions`: how many
* `peak_rss_mb`: MiB that the engine held at most, where the host has a Linux /proc
"""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass, replace
from shlex import quote
from typing import TYPE_CHECKING

from orchestrator.engines.katago import analysis, cfg, gtp
from orchestrator.engines.katago import cause as engine_cause
from orchestrator.engines.katago import golden as golden_answers
from orchestrator.engines.katago.answers import (
    Answer,
    Position,
    UnusableAnswerError,
    difference,
)
from orchestrator.errors import CommandError, ModelError
from orchestrator.last_words import one_line
from orchestrator.verify.program import DETAIL_CHARACTERS, TIMED_OUT
from orchestrator.verify.result import Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator.engines.katago.golden import Golden
    from orchestrator.targets.base import Completed, Target
    from orchestrator.verify.base import Subject

SEARCHES = (2, 16)  # fewest and most positions that are searched for the speed
SEARCH_SHARE = 0.4  # of the timeout, for all searches together
FULL_BOARD = 19
_BOUNDARY = "--- golden ---"
_BOARD_KEYS = ("maxBoardXSizeForNNBuffer", "maxBoardYSizeForNNBuffer", "maxBoardSizeForNNBuffer")

# The engine reads what the script was given. VmHWM is the peak of its resident memory in KiB; the
# last value before it ends counts. One line, with a space behind every `!`: the login shell may be
# csh, which cannot quote a newline, nor a `!` before anything else.
_PEAK = (
    """now=$(sed -n 's/^VmHWM:[^0-9]*\\([0-9]*\\).*/\\1/p' "/proc/$pid/status" 2>/dev/null)"""
    """ && [ -n "$now" ]"""
)
_RUN = " ; ".join(
    [
        "cd {folder} || exit 125",
        "exec 3<&0",
        "{engine} <&3 3<&- & pid=$! ",
        "peak=",
        f"while {_PEAK} ; do peak=$now ; sleep 0.2 2>/dev/null || sleep 1 ; done",
        "code=0",
        'wait "$pid" || code=$?',
        'echo "peak_rss_kb=$peak" >&2',
        'exit "$code"',
    ]
)

Timed = tuple[float, str]


@dataclass(frozen=True, slots=True)
class Task:
    """What the engine is asked: `golden` with one evaluation each, `searches` for the speed."""

    golden: tuple[Position, ...]
    searches: tuple[Position, ...]
    visits: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """What it answered: when it was ready, and the golden answers by position id.

    `visits` were made in `seconds`; `untimed` evaluations were made outside of them.
    """

    ready: float
    answers: Mapping[str, Answer]
    visits: int
    seconds: float
    untimed: int


class SmokeFailedError(Exception):
    """Why the engine did not load or answer, in one line."""


def smoke(target: Target, subject: Subject) -> Measurement:
    """See SmokeBenchmark."""
    try:
        config, golden = _fetch(target, subject)
        task = plan(config, golden, subject)
    except SmokeFailedError as exc:
        return Measurement(failure=str(exc))
    lines: list[Timed] = []
    start = time.monotonic()
    try:
        completed = target.run(
            command(subject, task),
            stdin=script(subject.engine.command, task).encode(),
            timeout=subject.verify.timeout,
            on_line=lambda line: lines.append((time.monotonic() - start, line)),
        )
    except CommandError as exc:
        return Measurement(failure=f"katago: {exc.message}", detail=_tail(lines, ""))
    detail = _tail(lines, completed.stderr)
    if completed.exit_status:
        why = cause(completed, subject.verify.timeout)
        return Measurement(failure=f"katago: {why}", detail=detail)
    try:
        transcript = read(subject.engine.command, lines, task)
    except UnusableAnswerError as exc:
        return Measurement(failure=f"katago: {one_line(str(exc))}", detail=detail)
    return Measurement(metrics(transcript, golden, completed.stderr, task), detail=detail)


def plan(config: str, golden: Golden | None, subject: Subject) -> Task:
    """What to ask an engine of that config; raises SmokeFailedError when no golden fits its board.

    Without golden answers one position is evaluated all the same, so that the net must answer.
    """
    settings, _ = cfg.parse(config)
    board = min(_whole(settings, key, FULL_BOARD) for key in _BOARD_KEYS)
    wanted = [p for p, _ in golden.answers] if golden else golden_answers.positions()[:1]
    named = [replace(p, id=_golden_id(number)) for number, p in enumerate(wanted)]
    fitting = [p for p in named if p.size <= board]
    if golden and not fitting:
        raise SmokeFailedError(
            f"no golden position fits the config's board of {board}x{board}: nothing to compare"
        )
    known = [p for p in golden_answers.positions() if p.size <= board and p.moves]
    largest = [p for p in known if p.size == max(k.size for k in known)] or fitting
    fewest, most = SEARCHES
    count = max(fewest, min(most, _whole(settings, "numAnalysisThreads", 1)))
    return Task(
        golden=tuple(fitting),
        searches=tuple(_searches(largest, count)),
        visits=subject.verify.visits,
        seconds=SEARCH_SHARE * subject.verify.timeout / fewest,
    )


def command(subject: Subject, task: Task) -> str:
    """The sh script that runs the engine in the release's folder and reports its peak memory."""
    if subject.engine.command == "analysis":
        overrides = analysis.OVERRIDES
    else:
        limits = {"maxVisits": str(task.visits), "maxTime": f"{task.seconds:g}"}
        overrides = gtp.OVERRIDES | limits
    words = [subject.engine.path, subject.engine.command]
    words += ["-model", subject.model, "-config", subject.config]
    words += ["-override-config", ",".join(f"{k}={v}" for k, v in overrides.items())]
    return _RUN.format(folder=quote(subject.folder), engine=" ".join(map(quote, words)))


def script(engine_command: str, task: Task) -> str:
    """What is fed to the engine's stdin."""
    if engine_command == "analysis":
        lines = [
            analysis.ready_query(),
            *(analysis.query(p, visits=1, urgent=1) for p in task.golden),
            *(analysis.query(p, visits=task.visits, seconds=task.seconds) for p in task.searches),
        ]
        return "\n".join([*lines, ""])
    commands = _gtp_commands(task)
    return "".join(f"{number} {line}\n" for number, (line, _) in enumerate(commands, start=1))


def read(engine_command: str, lines: Sequence[Timed], task: Task) -> Transcript:
    """What the engine answered; raises UnusableAnswerError for a missing or useless answer."""
    try:
        transcript = (_read_analysis if engine_command == "analysis" else _read_gtp)(lines, task)
    except (ValueError, OverflowError, RecursionError) as exc:  # numbers and nesting without end
        raise UnusableAnswerError(f"an answer cannot be read: {exc}") from exc
    for name, given in transcript.answers.items():
        if not math.isfinite(given.winrate_black) or not math.isfinite(given.lead_black):
            raise UnusableAnswerError(f"winrate or lead of {name} is no number")
    return transcript


def metrics(
    transcript: Transcript, golden: Golden | None, stderr: str, task: Task
) -> dict[str, float]:
    """The metrics of a run that went well."""
    measured = {
        "load_s": transcript.ready,
        "visits_per_s": transcript.visits / transcript.seconds,
        "positions": float(len(task.golden)) if golden else 0.0,
    }
    rows = [int(n) for n in re.findall(r"processed (\d{1,15}) rows", stderr)]
    if rows:
        timed = max(0, sum(rows) - transcript.untimed)
        measured["evals_per_s"] = timed / transcript.seconds
    peak = re.search(r"^peak_rss_kb=(\d{1,15})$", stderr, re.MULTILINE)
    if peak:
        measured["peak_rss_mb"] = int(peak[1]) / 1024
    if golden:
        expected = {_golden_id(n): answer for n, (_, answer) in enumerate(golden.answers)}
        apart = [
            difference(expected[name], given, floor=golden.policy_floor)
            for name, given in transcript.answers.items()
        ]
        measured["golden_max_error"] = max(d.probability for d in apart)
        measured["golden_lead_error"] = max(d.lead for d in apart)
    return measured


def cause(completed: Completed, timeout: float) -> str:
    """Why the engine ended with a non-zero status, in one line."""
    if completed.exit_status == TIMED_OUT:
        return f"no answer within {timeout:g} s"
    text = completed.stderr.strip() or completed.stdout
    kept = [line for line in text.splitlines() if not line.startswith("peak_rss_kb=")]
    return engine_cause.cause(completed.exit_status, "\n".join(kept))


def _fetch(target: Target, subject: Subject) -> tuple[str, Golden | None]:
    """The config's text and the golden answers; raises SmokeFailedError."""
    line = f"cd {quote(subject.folder)} && cat ./{quote(subject.config)}"
    if subject.golden:
        line += f" && printf '\\n%s\\n' {quote(_BOUNDARY)} && cat ./{quote(subject.golden)}"
    try:
        completed = target.run(line, timeout=subject.verify.timeout)
    except CommandError as exc:
        raise SmokeFailedError(f"cannot read the release: {exc.message}") from exc
    if completed.exit_status:
        raise SmokeFailedError(f"cannot read the release: {completed.stderr.strip()[-300:]}")
    config, _, text = completed.stdout.partition(f"\n{_BOUNDARY}\n")
    if not subject.golden:
        return config, None
    try:
        return config, golden_answers.read(text)
    except ModelError as exc:
        raise SmokeFailedError(exc.message) from exc


def _searches(positions: Sequence[Position], count: int) -> Iterator[Position]:
    """`count` positions that differ, so that none is answered from the engine's cache."""
    for number in range(count):
        position = positions[number % len(positions)]
        shorter = number // len(positions)
        moves = position.moves[: max(0, len(position.moves) - shorter)]
        yield replace(position, id=f"search-{number}", moves=moves)


def _golden_id(number: int) -> str:
    """The id under which the golden position of that number in the file is asked."""
    return f"golden-{number}"


def _whole(settings: Mapping[str, cfg.Setting], key: str, otherwise: int) -> int:
    setting = settings.get(key)
    number = re.fullmatch(r"[0-9]{1,9}", setting.value) if setting else None
    return int(number[0]) if number else otherwise


def _gtp_commands(task: Task) -> list[tuple[str, str]]:
    """Commands, each with the id of the position whose answer is its response, if it has one."""
    commands = [("name", "")]
    for position in task.golden:
        commands += [(line, "") for line in gtp.setup(position)] + [(gtp.RAW_NET, position.id)]
    for position in task.searches:
        commands += [(line, "") for line in gtp.setup(position)]
        commands += [("clear_cache", ""), (gtp.search(position), position.id)]
    return [*commands, ("quit", "")]


def _read_gtp(lines: Sequence[Timed], task: Task) -> Transcript:
    responses = {response.id: response for response in gtp.responses(lines)}
    positions = {p.id: p for p in (*task.golden, *task.searches)}
    searches = {p.id for p in task.searches}
    answers: dict[str, Answer] = {}
    visits, seconds = 0, 0.0
    for number, (line, position_id) in enumerate(_gtp_commands(task), start=1):
        response = responses.get(number)
        if response is None:
            raise UnusableAnswerError(f"no response to `{line}`")
        if not response.ok:
            raise UnusableAnswerError(f"`{line}`: {' '.join(response.lines)}")
        if position_id in searches:
            visits += gtp.visits(response)
            seconds += response.time - responses[number - 1].time
        elif position_id:
            answers[position_id] = gtp.answer(response, positions[position_id])
    return Transcript(responses[1].time, answers, visits, max(seconds, 1e-6), len(task.golden))


def _read_analysis(lines: Sequence[Timed], task: Task) -> Transcript:
    exchange = analysis.Exchange([analysis.READY, *(p.id for p in (*task.golden, *task.searches))])
    documents = {}
    for moment, line in lines:
        reply = exchange.hear(line)
        if reply is not None and reply.kind is not analysis.Kind.PARTIAL:
            documents[reply.id] = (moment, reply.document)
    for name in exchange.open:
        raise UnusableAnswerError(f"no response to query {name}")
    ready, _ = documents[analysis.READY]
    answers = {p.id: analysis.answer(documents[p.id][1], p) for p in task.golden}
    warm = max(documents[p.id][0] for p in task.golden)
    ends = [documents[p.id][0] for p in task.searches]
    counted = task.searches
    if min(ends) <= warm:  # they ran beside each other: time them all
        warm, counted = ready, (*task.golden, *task.searches)
    visits = sum(analysis.visits(documents[p.id][1]) for p in counted)
    untimed = len(task.golden) if counted is task.searches else 0
    return Transcript(ready, answers, visits, max(max(ends) - warm, 1e-6), untimed)


def _tail(lines: Sequence[Timed], stderr: str) -> str:
    text = stderr or "\n".join(line for _, line in lines)
    return text.strip()[-DETAIL_CHARACTERS:]
