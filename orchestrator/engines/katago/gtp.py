"""The GTP of `katago gtp`: commands with ids, and responses that end with an empty line.

KataGo's docs/GTP_Extensions.md. `OVERRIDES` let it change the board size without loading the net
again, and make its answers those of the raw net.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.engines.katago.answers import (
    SKIP,
    Answer,
    Position,
    UnusableAnswerError,
    vertices,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OVERRIDES = {
    "gtpForceMaxNNSize": "true",
    "requireMaxBoardSize": "false",
    "playoutDoublingAdvantage": "0",
    "dynamicPlayoutDoublingAdvantageCapPerOppLead": "0",
    "ponderingEnabled": "false",
    "logToStderr": "true",
}
RAW_NET = "kata-raw-nn 0 0"
_VALUES = frozenset({"whiteWin", "whiteLoss", "whiteLead", "policyPass"})
_HEAD = re.compile(r"(?P<mark>[=?])(?P<id>\d+)(?: (?P<text>.*))?")
_VISITS = re.compile(r"\brootInfo\b.*?\bvisits (\d+)")
_EDGE_VISITS = re.compile(r"\bedgeVisits (\d+)")


@dataclass(frozen=True, slots=True)
class Response:
    """The response to command `id`; `time` is when its last line arrived."""

    id: int
    ok: bool
    lines: tuple[str, ...]
    time: float


def setup(position: Position) -> Iterator[str]:
    """The commands that bring the position onto the board."""
    yield f"boardsize {position.board_x_size}:{position.board_y_size}"
    yield f"kata-set-rules {position.rules}"
    yield f"komi {position.komi:g}"
    yield "clear_board"
    for colour, vertex in position.moves:
        yield f"play {colour} {vertex}"


def search(position: Position) -> str:
    """The command that searches within the configured limits and reports the visits."""
    return f"kata-search_analyze {position.to_move} rootInfo true"


def responses(lines: Iterable[tuple[float, str]]) -> Iterator[Response]:
    """The complete responses among timed lines of stdout."""
    head: re.Match[str] | None = None
    body: list[str] = []
    for time, raw in lines:
        line = raw.rstrip("\r")
        if head is None:
            head = _HEAD.fullmatch(line)
            body = [head["text"] or ""] if head else []
        elif line:
            body.append(line)
        else:
            yield Response(int(head["id"]), head["mark"] == "=", tuple(body), time)
            head = None


def answer(response: Response, position: Position) -> Answer:
    """What the raw net says, from the response to `kata-raw-nn`.

    Raises UnusableAnswerError for a refusal or one without numbers.
    """
    if not response.ok:
        raise UnusableAnswerError(response.lines[0])
    values: dict[str, float] = {}
    rows: list[str] = []
    lines = iter(response.lines)
    for line in lines:
        name, _, value = line.partition(" ")
        if name == "policy":
            rows = [next(lines, "") for _ in range(position.board_y_size)]
        elif name in _VALUES:
            values[name] = _number(value)
    policy = [_number(word) for row in rows for word in row.split()]
    moves = list(vertices(position.board_x_size, position.board_y_size))
    if len(policy) != len(moves) or not values.keys() >= _VALUES:
        raise UnusableAnswerError(f"the response lacks one of policy, {', '.join(sorted(_VALUES))}")
    if not all(map(math.isfinite, values.values())):
        raise UnusableAnswerError("the net's winrate, lead or policy is no number")
    legal = {move: p for move, p in zip(moves, policy, strict=True) if not math.isnan(p)}
    legal[SKIP] = values["policyPass"]
    winrate = 0.5 * (1.0 - (values["whiteWin"] - values["whiteLoss"]))
    return Answer(winrate, -values["whiteLead"], legal)


def visits(response: Response) -> int:
    """Visits of the search that `search` started; raises UnusableAnswerError for a refusal."""
    text = " ".join(response.lines)
    if not response.ok:
        raise UnusableAnswerError(text)
    root = _VISITS.search(text)
    if root:
        return int(root[1])
    edges = [int(n) for n in _EDGE_VISITS.findall(text)]
    if not edges:
        raise UnusableAnswerError("the search reported no visits")
    return 1 + sum(edges)


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError as exc:
        raise UnusableAnswerError(f"`{word[:40]}` is no number") from exc
