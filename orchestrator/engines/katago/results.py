"""What KataGo found, typed: the responses of its analysis engine as records.

Winrates and leads are Black's unless the engine was told another `reportAnalysisWinratesAs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.engines.katago.answers import legal_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.engines.katago.analysis import Query, Reply, Warned


@dataclass(frozen=True, slots=True)
class RawNet:
    """What the net itself says of the position, without search.

    `winrate` and `no_result` are probabilities, `lead` and `score_selfplay` points.
    """

    winrate: float
    lead: float
    score_selfplay: float
    no_result: float


@dataclass(frozen=True, slots=True)
class Root:
    """The position after its search.

    `player` (`B` or `W`) is to move; `winrate` in [0, 1], `lead` in points; `utility` is what the
    search maximizes. `raw` is None where the engine is too old to tell.
    """

    player: str
    winrate: float
    lead: float
    visits: int
    utility: float
    raw: RawNet | None


@dataclass(frozen=True, slots=True)
class Move:
    """A move that was searched; `order` 0 is the best, `pv` the play it expects, itself first.

    `prior` is its probability by the net's policy, `lcb` the lower bound of its winrate.
    """

    move: str
    order: int
    visits: int
    winrate: float
    lead: float
    prior: float
    lcb: float
    utility: float
    pv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """One result, `complete` when its search is over.

    `moves` are in KataGo's order, best first. `policy` gives the net's probabilities of the legal
    moves (`Q16`, `pass`) and `ownership` what each point belongs to in [-1, 1], row by row from
    the top left; both are None unless asked for. `document` is the response itself, for whatever
    has no field here.
    """

    turn: int
    complete: bool
    root: Root
    moves: tuple[Move, ...]
    policy: Mapping[str, float] | None
    ownership: tuple[float, ...] | None
    warnings: tuple[Warned, ...]
    document: Mapping[str, Any]

    @property
    def best(self) -> Move | None:
        """The first move; None where nothing was searched below the root."""
        return self.moves[0] if self.moves else None


def read(reply: Reply, query: Query) -> Analysis:
    """The result in a reply to the query.

    Raises ValueError for a reply that is no analysis.
    """
    document = reply.document
    try:
        return Analysis(
            turn=int(document.get("turnNumber", 0)),
            complete=document.get("isDuringSearch") is not True,
            root=_root(document["rootInfo"]),
            moves=tuple(sorted(map(_move, document["moveInfos"]), key=lambda move: move.order)),
            policy=_policy(document, query),
            ownership=_floats(document.get("ownership")),
            warnings=reply.warnings,
            document=document,
        )
    except KeyError as exc:
        raise ValueError(f"the response lacks {exc.args[0]}") from exc
    except (TypeError, AttributeError, OverflowError) as exc:
        raise ValueError(f"the response cannot be read: {exc}") from exc


def _root(info: Mapping[str, Any]) -> Root:
    return Root(
        player=str(info.get("currentPlayer", "")),
        winrate=float(info["winrate"]),
        lead=float(info["scoreLead"]),
        visits=int(info["visits"]),
        utility=float(info["utility"]),
        raw=_raw(info) if "rawWinrate" in info else None,
    )


def _raw(info: Mapping[str, Any]) -> RawNet:
    return RawNet(
        winrate=float(info["rawWinrate"]),
        lead=float(info["rawLead"]),
        score_selfplay=float(info["rawScoreSelfplay"]),
        no_result=float(info["rawNoResultProb"]),
    )


def _move(info: Mapping[str, Any]) -> Move:
    return Move(
        move=str(info["move"]),
        order=int(info["order"]),
        visits=int(info["visits"]),
        winrate=float(info["winrate"]),
        lead=float(info["scoreLead"]),
        prior=float(info["prior"]),
        lcb=float(info["lcb"]),
        utility=float(info["utility"]),
        pv=tuple(map(str, info["pv"])),
    )


def _policy(document: Mapping[str, Any], query: Query) -> Mapping[str, float] | None:
    row = document.get("policy")
    return None if row is None else legal_policy(row, query.board_x_size, query.board_y_size)


def _floats(row: Any) -> tuple[float, ...] | None:
    return None if row is None else tuple(map(float, row))
