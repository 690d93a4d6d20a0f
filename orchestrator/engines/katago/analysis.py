"""The JSON protocol of `katago analysis`: one query and one response a line.

KataGo's docs/Analysis_Engine.md. Whoever talks to the engine writes the lines of `Query` and
`action`, and gives every line that comes back to an `Exchange`. `OVERRIDES` make the answers those
of the raw net.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from orchestrator.engines.katago.answers import Answer, Position, UnusableAnswerError, legal_policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
_OWN_FIELDS = frozenset({"id", "action", "analyzeTurns", "priorities", "reportDuringSearchEvery"})


@dataclass(frozen=True, slots=True)
class Query:
    """A position to analyse and how, in KataGo's own terms.

    `moves` and `initial_stones` are pairs as `("B", "Q16")`, `rules` a name or an object as in
    KataGo's docs/GTP_Extensions.md. `visits` of None leaves the config's. `settings` override the
    config for this query; `more` holds further fields of the protocol under its own names, such
    as `avoidMoves`.
    """

    moves: Sequence[tuple[str, str]] = ()
    rules: str | Mapping[str, Any] = "tromp-taylor"
    komi: float | None = None
    board_x_size: int = 19
    board_y_size: int = 19
    visits: int | None = None
    initial_stones: Sequence[tuple[str, str]] = ()
    initial_player: str | None = None
    policy: bool = False
    ownership: bool = False
    priority: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, position: Position, *, visits: int, **further: Any) -> Query:
        """The query for a position; at one visit its answer is that of the raw net."""
        return cls(
            moves=position.moves,
            rules=position.rules,
            komi=position.komi,
            board_x_size=position.board_x_size,
            board_y_size=position.board_y_size,
            visits=visits,
            policy=visits == 1,
            **further,
        )

    def line(self, name: str, *, report_every: float | None = None) -> str:
        """The line that asks it under the id `name`, with partial results every so many seconds.

        Raises ValueError or TypeError for what is no JSON, or no further field.
        """
        reserved = sorted(_OWN_FIELDS & self.more.keys())
        if reserved:
            raise ValueError(f"{reserved[0]} cannot be given among the further fields")
        given: dict[str, Any] = {
            "komi": self.komi,
            "maxVisits": self.visits,
            "initialStones": list(self.initial_stones) or None,
            "initialPlayer": self.initial_player,
            "overrideSettings": dict(self.settings) or None,
            "reportDuringSearchEvery": report_every,
        }
        document = {
            "id": name,
            "moves": list(self.moves),
            "rules": self.rules,
            "boardXSize": self.board_x_size,
            "boardYSize": self.board_y_size,
            "includePolicy": self.policy,
            "includeOwnership": self.ownership,
            "priority": self.priority,
            **{key: value for key, value in given.items() if value is not None},
            **self.more,
        }
        return json.dumps(document, allow_nan=False)


def action(name: str, what: str, **fields: Any) -> str:
    """The line of an action under the id `name`: `query_version`, `terminate` and the like."""
    return json.dumps({"id": name, "action": what, **fields}, allow_nan=False)


def ready_query() -> str:
    """A query that is answered as soon as the net is loaded, with id `READY`."""
    return action(READY, "query_version")


def query(position: Position, *, visits: int, seconds: float | None = None, urgent: int = 0) -> str:
    """The line for one position, under its id.

    Of the queries that wait, those with the highest `urgent` go first.
    """
    settings = {} if seconds is None else {"maxTime": seconds}
    return Query.of(position, visits=visits, priority=urgent, settings=settings).line(position.id)


class Kind(Enum):
    """What a response is; after `FINAL` or `ERROR` nothing more comes for its query."""

    FINAL = "final"
    PARTIAL = "partial"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Response:
    """One line of the engine about the query `id`, which is empty where it names none."""

    kind: Kind
    id: str
    document: Mapping[str, Any]


def parse(line: str | bytes) -> Response | None:
    """The response that a line is; None for any other line, however broken."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    name = document.get("id")
    if "error" in document:
        return Response(Kind.ERROR, name if isinstance(name, str) else "", document)
    return Response(_kind(document), name, document) if isinstance(name, str) else None


def _kind(document: Mapping[str, Any]) -> Kind:
    if "warning" in document:
        return Kind.WARNING
    return Kind.PARTIAL if document.get("isDuringSearch") is True else Kind.FINAL


@dataclass(frozen=True, slots=True)
class Warned:
    """What the engine says against the `field` of a query that it answers all the same."""

    message: str
    field: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What came for a query: a partial result, or the last word on it; the warnings until then."""

    id: str
    kind: Kind
    document: Mapping[str, Any]
    warnings: tuple[Warned, ...]


class Exchange:
    """Which queries of one run of the engine are open, and what was said of each.

    Knows nothing of processes or time. For one thread.
    """

    def __init__(self, asked: Iterable[str] = ()) -> None:
        self._warnings: dict[str, list[Warned]] = {name: [] for name in asked}

    @property
    def open(self) -> tuple[str, ...]:
        """The ids that wait for their last response, in the order in which they were asked."""
        return tuple(self._warnings)

    def ask(self, name: str) -> None:
        """From now on the query of that id is open."""
        self._warnings[name] = []

    def hear(self, line: str | bytes) -> Reply | None:
        """The reply to an open query that a line of the engine is; None for other lines."""
        response = parse(line)
        if response is None or response.id not in self._warnings:
            return None
        if response.kind is Kind.WARNING:
            self._warnings[response.id].append(_warned(response.document))
            return None
        warnings = tuple(self._warnings[response.id])
        if response.kind is not Kind.PARTIAL:
            del self._warnings[response.id]
        return Reply(response.id, response.kind, response.document, warnings)


def _warned(document: Mapping[str, Any]) -> Warned:
    return Warned(str(document["warning"]), str(document.get("field", "")))


def answer(document: Mapping[str, Any], position: Position) -> Answer:
    """What the raw net says, from a response with `includePolicy`.

    Raises UnusableAnswerError for an error response or one without numbers.
    """
    if "error" in document:
        raise UnusableAnswerError(f"{document['error']} ({document.get('field', '')})")
    try:
        root, row = document["rootInfo"], document["policy"]
        winrate, lead = float(root["rawWinrate"]), float(root["rawLead"])
        numbers = [float(p) for p in row]
    except (KeyError, TypeError, ValueError, OverflowError) as exc:
        raise UnusableAnswerError("the response lacks rawWinrate, rawLead or policy") from exc
    try:
        policy = legal_policy(numbers, position.board_x_size, position.board_y_size)
    except ValueError as exc:
        raise UnusableAnswerError(str(exc)) from exc
    return Answer(winrate, lead, policy)


def visits(document: Mapping[str, Any]) -> int:
    """Visits of the search that the response reports.

    Raises UnusableAnswerError for an error response.
    """
    root = document.get("rootInfo")
    if not isinstance(root, dict) or not isinstance(root.get("visits"), int):
        raise UnusableAnswerError(str(document.get("error", "the response has no rootInfo")))
    return int(root["visits"])
