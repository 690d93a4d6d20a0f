"""Inputs of HumanSL nets: who is playing, where and when.

Source: SGFMetadata::fillMetadataRow and the rank profiles in KataGo's
cpp/neuralnet/sgfmetadata.cpp.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.pipeline.katago.net import META_INPUTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

RANKS = tuple(f"{n}d" for n in range(9, 0, -1)) + tuple(f"{n}k" for n in range(1, 21))
DAY = dt.date(2016, 9, 1)
MAIN_SECONDS, PERIOD_SECONDS, PERIODS = 1200, 30, 5

RANK, RANKS_LENGTH = 6, 34
RATEDNESS, BYO_YOMI, MAIN_TIME, BOARD, DATE, SERVER = 74, 79, 82, 86, 87, 151
DATE_LENGTH = 32
KGS = 2


def profile(rank: str, points: int, day: dt.date = DAY) -> NDArray[np.float32]:
    """[192]: a game on KGS between two people of a rank, on a board of so many points.

    It is KataGo's `humanSLProfile` `preaz_RANK`; with another day, `rank_RANK`. Raises ValueError
    for a rank that is not one of RANKS.
    """
    row = np.zeros(META_INPUTS)
    row[:2] = 1
    strength = RANKS.index(rank) + 1
    row[RANK : RANK + strength] = 1
    row[RANK + RANKS_LENGTH : RANK + RANKS_LENGTH + strength] = 1
    row[RATEDNESS] = 0.5
    row[BYO_YOMI] = 1
    row[MAIN_TIME : MAIN_TIME + 4] = (
        0.4 * (math.log(MAIN_SECONDS + 60) - 6.5),
        0.3 * (math.log(PERIOD_SECONDS + 1) - 3),
        0.5 * (math.log(PERIODS + 2) - 1.5),
        0.25 * (math.log(2) - 1.5),
    )
    row[BOARD] = 0.5 * math.log(points / 361)
    days = (day - dt.date(1970, 1, 1)).days
    periods = 7 * 80_000 ** (np.arange(DATE_LENGTH) / (DATE_LENGTH - 1))
    turns = 2 * math.pi * days / periods
    row[DATE : DATE + 2 * DATE_LENGTH : 2] = np.cos(turns)
    row[DATE + 1 : DATE + 2 * DATE_LENGTH : 2] = np.sin(turns)
    row[SERVER + KGS] = 1
    return row.astype(np.float32)


def profiles(count: int, points: int) -> NDArray[np.float32]:
    """[count, 192]: games of all ranks, one after the other."""
    return np.stack([profile(RANKS[row % len(RANKS)], points) for row in range(count)])
