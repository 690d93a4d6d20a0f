"""The JSON protocol of `katago analysis`: one query and one answer a line.

KataGo's docs/Analysis_Engine.md. `OVERRIDES` make its answers those of the raw net.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from orchestrator.engines.katago.answers import (
    SKIP,
    Answer,
    Position,
    UnusableAnswerError,
    vertices,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

READY = "ready"
OVERRIDES = {
    "nnForcedSymmetry": "0",
    "nnPolicyTemperature": "1",
    "rootPolicyOptimism": "0",
    "rootNumSymmetriesToSample": "1",
    "ignorePreRootHistory": "false",
    "playoutDoublingAdvantage": "0",
    "reportAnalysisWinratesAs": "BLACK",
    "logToStderr": "true",
}


def ready_query() -> str:
    """A query that is answered as soon as the net is loaded, with id `READY`."""
    return json.dumps({"id": READY, "action": "query_version"})


def query(position: Position, *, visits: int, seconds: float | None = None, urgent: int = 0) -> str:
    """The query for one position; at one visit the answer is that of the raw net.

    Of the queries that wait, those with the highest `urgent` go first.
    """
    document: dict[str, Any] = {
        "id": position.id,
        "moves": position.moves,
        "rules": position.rules,
        "komi": position.komi,
        "boardXSize": position.board_x_size,
        "boardYSize": position.board_y_size,
        "maxVisits": visits,
        "priority": urgent,
        "includePolicy": visits == 1,
    }
    if seconds is not None:
        document["overrideSettings"] = {"maxTime": seconds}
    return json.dumps(document)


def parse(line: str) -> dict[str, Any] | None:
    """The JSON object of a line that has an id; None for other lines."""
    try:
        document = json.loads(line)
    except ValueError:
        return None
    return document if isinstance(document, dict) and isinstance(document.get("id"), str) else None


def answer(document: Mapping[str, Any], position: Position) -> Answer:
    """What the raw net says, from a response with `includePolicy`.

    Raises UnusableAnswerError for an error response or one without numbers.
    """
    if "error" in document:
        raise UnusableAnswerError(f"{document['error']} ({document.get('field', '')})")
    moves = [*vertices(position.board_x_size, position.board_y_size), SKIP]
    try:
        root = document["rootInfo"]
        policy = [float(p) for p in document["policy"]]
        winrate, lead = float(root["rawWinrate"]), float(root["rawLead"])
    except (KeyError, TypeError, ValueError) as exc:
        raise UnusableAnswerError("the response lacks rawWinrate, rawLead or policy") from exc
    if len(policy) != len(moves):
        raise UnusableAnswerError(f"{len(policy)} policy values for {len(moves)} moves")
    legal = {move: p for move, p in zip(moves, policy, strict=True) if p >= 0}
    return Answer(winrate, lead, legal)


def visits(document: Mapping[str, Any]) -> int:
    """Visits of the search that the response reports.

    Raises UnusableAnswerError for an error response.
    """
    root = document.get("rootInfo")
    if not isinstance(root, dict) or not isinstance(root.get("visits"), int):
        raise UnusableAnswerError(str(document.get("error", "the response has no rootInfo")))
    return int(root["visits"])
