"""Golden answers: what a trusted KataGo says of fixed positions, as a JSON file.

    {"schema": 1, "policy_floor": 0.001, "positions": [
      {"id": "9x9-1", "board_x_size": 9, "board_y_size": 9, "rules": "chinese", "komi": 7.0,
       "moves": [["B", "E5"], ["W", "C3"]],
       "expected": {"winrate_black": 0.5, "lead_black": 0.1,
                    "policy": {"D4": 0.27, "pass": 0.01}}}]}

The answers are the raw net's (symmetry 0, no optimism, one evaluation), see `Answer`. Moves less
likely than `policy_floor` are left out.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from orchestrator.engines.katago import analysis
from orchestrator.engines.katago.analysis import Query
from orchestrator.engines.katago.answers import Answer, Position, UnusableAnswerError
from orchestrator.engines.katago.client import KataGo
from orchestrator.errors import EngineError, ModelError, QueryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from orchestrator.engines.katago.client import Search

SCHEMA = 1
POLICY_FLOOR = 0.001
_DIGITS = 6
_CONFIG = {
    "numAnalysisThreads": "1",
    "numSearchThreadsPerAnalysisThread": "1",
    "nnMaxBatchSize": "1",
    "nnCacheSizePowerOfTwo": "10",
    "nnMutexPoolSizePowerOfTwo": "8",
    **analysis.OVERRIDES,
}


@dataclass(frozen=True, slots=True)
class Golden:
    """Positions with the answers that are expected of the net."""

    policy_floor: float
    answers: tuple[tuple[Position, Answer], ...]


def positions() -> tuple[Position, ...]:
    """A dozen positions on 9x9, 13x13 and 19x19 under several rules."""
    text = files(__package__).joinpath("positions.json").read_text("utf-8")
    return tuple(_position(entry) for entry in json.loads(text)["positions"])


def read(text: str) -> Golden:
    """The golden answers of a file's text.

    Raises ModelError naming the entry that is not as the format says.
    """
    where = "the file"
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise ModelError(
                f"golden answers of schema {document['schema']}, this version reads {SCHEMA}",
                hint="Record them again.",
            )
        floor = _finite(document.get("policy_floor", 0.0))
        answers = []
        for number, entry in enumerate(document["positions"]):
            where = f"position {number}"
            answers.append((_position(entry), _answer(entry["expected"])))
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ModelError(
            f"golden answers: {where}: {type(exc).__name__}: {exc}",
            hint="Record them with a trusted katago.",
        ) from exc
    return Golden(floor, tuple(answers))


def document(golden: Golden) -> dict[str, Any]:
    """The JSON document of golden answers, what `read` reads."""
    return {
        "schema": SCHEMA,
        "policy_floor": golden.policy_floor,
        "positions": [
            {
                "id": position.id,
                "board_x_size": position.board_x_size,
                "board_y_size": position.board_y_size,
                "rules": position.rules,
                "komi": position.komi,
                "moves": [list(move) for move in position.moves],
                "expected": {
                    "winrate_black": round(answer.winrate_black, _DIGITS),
                    "lead_black": round(answer.lead_black, _DIGITS),
                    "policy": {
                        move: round(probability, _DIGITS)
                        for move, probability in sorted(answer.policy.items(), key=_likely_first)
                        if probability >= golden.policy_floor
                    },
                },
            }
            for position, answer in golden.answers
        ],
    }


def record(
    engine: Path,
    model: Path,
    wanted: Iterable[Position] = (),
    *,
    settings: Mapping[str, str] | None = None,
    timeout: float = 600.0,
) -> dict[str, Any]:
    """The document that a trusted katago on this machine makes, by default of `positions()`.

    `settings` are further config keys, such as `openclTunerFile`; `timeout` is in seconds.
    Raises ModelError when the engine does not answer every position.
    """
    asked = tuple(wanted) or positions()
    config = {**_CONFIG, **(settings or {})}
    deadline = time.monotonic() + timeout
    try:
        with KataGo(model, config, engine=engine, start_timeout=timeout, restarts=0) as katago:
            searches = [katago.submit(Query.of(position, visits=1)) for position in asked]
            answers = [
                (position, _recorded(position, search, deadline))
                for position, search in zip(asked, searches, strict=True)
            ]
    except EngineError as exc:
        raise ModelError(f"{engine}: {exc.message}", hint="Name a katago that runs here.") from exc
    return document(Golden(POLICY_FLOOR, tuple(answers)))


def _recorded(position: Position, search: Search, deadline: float) -> Answer:
    """The answer of a search; raises ModelError naming its position."""
    try:
        found = search.result(max(0.0, deadline - time.monotonic()))
        return analysis.answer(found.document, position)
    except TimeoutError as exc:
        raise ModelError(f"{position.id}: no answer in time", hint="Give it more time.") from exc
    except (QueryError, UnusableAnswerError) as exc:
        raise ModelError(f"{position.id}: {exc}", hint="Mend the position.") from exc


def _position(entry: Mapping[str, Any]) -> Position:
    return Position(
        str(entry["id"]),
        int(entry["board_x_size"]),
        int(entry["board_y_size"]),
        str(entry["rules"]),
        _finite(entry["komi"]),
        tuple((str(colour), str(vertex)) for colour, vertex in entry["moves"]),
    )


def _answer(entry: Mapping[str, Any]) -> Answer:
    policy = {str(move): _finite(p) for move, p in entry["policy"].items()}
    return Answer(_finite(entry["winrate_black"]), _finite(entry["lead_black"]), policy)


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no number")
    return number


def _likely_first(item: tuple[str, float]) -> tuple[float, str]:
    return -item[1], item[0]
