"""What KataGo's engine makes of a net's raw outputs: probabilities, points, ownership.

Source: NNEvaluator::evaluate in KataGo's cpp/neuralnet/nneval.cpp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.tensors import InputArrays, OutputArrays

    Doubles = NDArray[np.float64]
    Flags = NDArray[np.bool_]

ON_BOARD, OWN_STONES, OPPONENTS_STONES, IN_ATARI, KO_BANNED = 0, 1, 2, 3, 6  # planes
KO_IS_NOT_SIMPLE, SUICIDE_IS_LEGAL, TERRITORY_SCORING = 6, 8, 9  # global features
NO_RESULT = 2
RULED_OUT = -100_000.0
FIRST_WITH_ERROR_ROOTS = 10
FIRST_WITH_HALVED_ERRORS = 14
VERSION_8_CHANNELS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Answers to N positions on one board size, float64, for the side to move.

    The engine turns them to White's side; differences between two nets' answers are the same.
    """

    policy: Doubles
    """[N, H*W + 1] probabilities over legal moves, the pass last; 0 where illegal."""
    legal: Flags
    """[N, H*W + 1]."""
    value: Doubles
    """[N, 3] probabilities of win, loss, no result."""
    lead: Doubles
    """[N] points."""
    score_mean: Doubles
    """[N] points."""
    score_stdev: Doubles
    """[N] points."""
    shortterm_winloss_error: Doubles
    """[N], -1 of nets of version 8, which do not tell."""
    shortterm_score_error: Doubles
    """[N] points, -1 of nets of version 8."""
    ownership: Doubles
    """[N, H, W], -1 to 1."""
    finite: Flags
    """[N]; False where a raw output was NaN or infinite, and the answers mean nothing."""

    def rows(self, chosen: Flags) -> Answers:
        """The answers to some of the positions."""
        return Answers(*(getattr(self, field.name)[chosen] for field in fields(self)))


def answers(
    outputs: OutputArrays, inputs: InputArrays, net: Net, legal: Flags | None = None
) -> Answers:
    """What the engine makes of raw `outputs` for rows of full boards.

    `legal` [N, H*W + 1] are the legal moves where they are known better than `legal_moves` can
    tell. The policy is taken as it is: optimism is in it already.
    """
    finite = np.ones(len(outputs.value), bool)
    arrays = []
    for raw in (outputs.policy, outputs.value, outputs.misc, outputs.ownership):
        finite &= np.isfinite(raw).reshape(len(raw), -1).all(axis=1)
        arrays.append(np.nan_to_num(raw.astype(np.float64), posinf=0.0, neginf=0.0))
    policy, value, misc, ownership = arrays
    if legal is None:
        legal = legal_moves(inputs)
    value = _softmax(value + _ruled_out(inputs))
    factors, share = net.post_process, 1 - value[:, NO_RESULT]
    mean = misc[:, 0] * factors.score_mean
    stdev = _softplus(misc[:, 1]) * factors.score_stdev
    square = (mean**2 + stdev**2) * share
    mean = mean * share
    winloss_error, score_error = _shortterm_errors(misc, net)
    return Answers(
        policy=_softmax(np.where(legal, policy, -np.inf)),
        legal=legal,
        value=value,
        lead=misc[:, 2] * factors.lead * share,
        score_mean=mean,
        score_stdev=np.sqrt(np.maximum(square - mean**2, 0)),
        shortterm_winloss_error=winloss_error,
        shortterm_score_error=score_error,
        ownership=ownership[:, 0],
        finite=finite,
    )


def legal_moves(inputs: InputArrays) -> Flags:
    """[N, H*W + 1]: empty points that neither a ko nor the rule on suicide forbids, and the pass.

    A move is suicide where no empty point, no chain of one's own with a second liberty and no
    opponent's chain in atari is next to it; of more stones than one it may be legal.
    """
    planes, suicide_is_legal = inputs.spatial.astype(bool), inputs.global_[:, SUICIDE_IS_LEGAL] != 0
    own, opponents, atari = planes[:, OWN_STONES], planes[:, OPPONENTS_STONES], planes[:, IN_ATARI]
    empty = planes[:, ON_BOARD] & ~own & ~opponents
    breathes = _beside(empty | (own & ~atari) | (opponents & atari))
    several = _beside(own) & suicide_is_legal[:, None, None]
    points = empty & ~planes[:, KO_BANNED] & (breathes | several)
    return np.concatenate([points.reshape(len(points), -1), np.ones((len(points), 1), bool)], 1)


def _beside(points: Flags) -> Flags:
    """[N, H, W]: whether one of the four neighbours is among `points`."""
    beside = np.zeros_like(points)
    beside[:, 1:] |= points[:, :-1]
    beside[:, :-1] |= points[:, 1:]
    beside[:, :, 1:] |= points[:, :, :-1]
    beside[:, :, :-1] |= points[:, :, 1:]
    return beside


def _ruled_out(inputs: InputArrays) -> Doubles:
    """[N, 3] to be added to the logits: rules may know no game without result."""
    ko, scoring = inputs.global_[:, KO_IS_NOT_SIMPLE], inputs.global_[:, TERRITORY_SCORING]
    summands = np.zeros((len(ko), 3))
    summands[(ko != 0) & (scoring == 0), NO_RESULT] = RULED_OUT
    return summands


def _shortterm_errors(misc: Doubles, net: Net) -> tuple[Doubles, Doubles]:
    """How wrong the net holds itself to be, of winning and of the score, each [N]."""
    if misc.shape[1] == VERSION_8_CHANNELS:
        unknown = np.full(len(misc), -1.0)
        return unknown, unknown
    factors = net.post_process
    winloss, score = misc[:, 4], misc[:, 5]
    by, points = factors.shortterm_value_error, factors.shortterm_score_error
    if net.version >= FIRST_WITH_HALVED_ERRORS:
        return (
            math.sqrt(by) * _softplus(winloss / 2),
            math.sqrt(points) * _softplus(score / 2),
        )
    if net.version >= FIRST_WITH_ERROR_ROOTS:
        return np.sqrt(_softplus(winloss) * by), np.sqrt(_softplus(score) * points)
    return _softplus(winloss), _softplus(score) * 10


def _softmax(logits: Doubles) -> Doubles:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def _softplus(x: Doubles) -> Doubles:
    return np.logaddexp(x, 0.0)
