"""What a HumanSL net is told of a game, against values worked out from KataGo's definition."""

import datetime as dt
import math

import numpy as np
import pytest

from orchestrator.pipeline import humansl, positions
from tests import golden_sets


def test_a_profile():
    row = humansl.profile("5k", 81)
    assert row.shape == (192,)
    assert row[:6].tolist() == [1, 1, 0, 0, 0, 0]  # both human, neither unranked nor unknown
    for start in (6, 40):
        assert row[start : start + 34].tolist() == [1] * 14 + [0] * 20  # 9d is 1, 5k is 14
    assert row[74] == 0.5
    assert row[75:82].tolist() == [0, 0, 0, 0, 1, 0, 0]  # Japanese byo-yomi
    assert row[82:87].tolist() == pytest.approx(
        [0.2555, 0.1302, 0.2230, -0.2017, 0.5 * math.log(81 / 361)], abs=1e-4
    )
    assert row[151:].tolist() == [0, 0, 1] + [0] * 38  # KGS


def test_the_day_as_turns_of_ever_longer_periods():
    row = humansl.profile("1d", 361, dt.date(1970, 1, 8))  # one turn of the first, 7 days
    turns = [7 / (7 * 80_000 ** (i / 31)) for i in range(32)]
    cosines = [math.cos(2 * math.pi * turn) for turn in turns]
    sines = [math.sin(2 * math.pi * turn) for turn in turns]
    assert row[87:151:2].tolist() == pytest.approx(cosines, abs=1e-6)
    assert row[88:151:2].tolist() == pytest.approx(sines, abs=1e-6)


def test_positions_get_players_of_all_ranks():
    batch = golden_sets.load("g170-b6c96", 45)[3].batch
    found = positions.with_profiles(positions.Positions((batch,)))
    metas = next(iter(found)).inputs.meta
    assert metas.shape == (45, 192)
    assert len(np.unique(metas, axis=0)) == len(humansl.RANKS) == 29
    again = positions.with_profiles(found)
    assert again.sha256 == found.sha256 != positions.Positions((batch,)).sha256
