"""Positions, what a net says of them, and how far two answers lie apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COLUMNS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"
SKIP = "pass"  # the move that places no stone


class UnusableAnswerError(Exception):
    """The engine answered with an error, or with something that is no answer."""


@dataclass(frozen=True, slots=True)
class Position:
    """A position by its moves from the empty board, as KataGo's analysis engine takes it."""

    id: str
    board_x_size: int
    board_y_size: int
    rules: str
    komi: float
    moves: tuple[tuple[str, str], ...]

    @property
    def to_move(self) -> str:
        """`B` or `W`, by turns from the last move on."""
        return "W" if self.moves and self.moves[-1][0] == "B" else "B"

    @property
    def size(self) -> int:
        """The longer side of the board."""
        return max(self.board_x_size, self.board_y_size)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the raw net says: symmetry 0, no policy optimism, no search.

    `winrate_black` in [0, 1], no result counted half; `lead_black` in points; `policy` gives
    probabilities by move (`Q16`, `pass`) for the side to move.
    """

    winrate_black: float
    lead_black: float
    policy: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Difference:
    """`probability` is the largest difference of winrate and policy, `lead` that in points."""

    probability: float
    lead: float


def difference(expected: Answer, given: Answer, *, floor: float) -> Difference:
    """How far `given` is from `expected`, whose policy leaves out moves below `floor`."""
    apart = [abs(expected.winrate_black - given.winrate_black)]
    for move in expected.policy.keys() | given.policy.keys():
        has = given.policy.get(move, 0.0)
        if move in expected.policy:
            apart.append(abs(expected.policy[move] - has))
        else:
            apart.append(max(0.0, has - floor))
    return Difference(max(apart), abs(expected.lead_black - given.lead_black))


def vertices(board_x_size: int, board_y_size: int) -> Iterator[str]:
    """The points in the order of KataGo's policy: rows from the top, `A` on the left."""
    for y in range(board_y_size, 0, -1):
        for x in range(board_x_size):
            yield f"{column(x)}{y}"


def column(x: int) -> str:
    """The letters of a column counted from 0: `A` to `Z` without `I`, then `AA`, `AB`."""
    times, letter = divmod(x, len(COLUMNS))
    return (COLUMNS[times - 1] if times else "") + COLUMNS[letter]


def legal_policy(row: Sequence[float], board_x_size: int, board_y_size: int) -> dict[str, float]:
    """Probabilities by move (`Q16`, `pass`) from KataGo's row of them, where -1 is illegal.

    Raises ValueError for a row that is not as long as the board has points and one pass.
    """
    moves = [*vertices(board_x_size, board_y_size), SKIP]
    if len(row) != len(moves):
        raise ValueError(f"{len(row)} policy values for {len(moves)} moves")
    return {move: float(p) for move, p in zip(moves, row, strict=True) if p >= 0}
