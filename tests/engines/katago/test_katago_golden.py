from __future__ import annotations

import copy
import json

import pytest

from orchestrator.engines.katago import golden
from orchestrator.engines.katago.answers import Position, difference
from orchestrator.errors import ModelError
from tests.katago_engine import TUNER

SETTINGS = {"openclTunerFile": str(TUNER)}


@pytest.fixture(scope="module")
def recorded(katago, tiny):
    return golden.record(katago, tiny, settings=SETTINGS)


def test_the_positions_are_of_all_sizes_and_several_rules():
    positions = golden.positions()
    assert len(positions) == len({p.id for p in positions}) == 12
    assert {p.board_x_size for p in positions} == {9, 13, 19}
    assert len({p.rules for p in positions}) >= 6
    assert all(c == "BW"[n % 2] for p in positions for n, (c, _) in enumerate(p.moves))


def test_recording_answers_every_position(recorded):
    read = golden.read(json.dumps(recorded))
    assert [p for p, _ in read.answers] == list(golden.positions())
    for _, answer in read.answers:
        assert 0 <= answer.winrate_black <= 1
        assert 0.5 < sum(answer.policy.values()) <= 1 + 1e-5
        assert min(answer.policy.values()) >= golden.POLICY_FLOOR - 1e-6


def test_recording_twice_gives_the_same(katago, tiny, recorded):
    again = golden.record(katago, tiny, settings=SETTINGS)
    for (_, one), (_, two) in zip(
        golden.read(json.dumps(recorded)).answers,
        golden.read(json.dumps(again)).answers,
        strict=True,
    ):
        assert difference(one, two, floor=recorded["policy_floor"]).probability < 1e-4


def test_what_is_written_is_read(recorded):
    assert golden.document(golden.read(json.dumps(recorded))) == recorded


def test_an_illegal_move_is_an_error(katago, tiny):
    wrong = Position("wrong", 9, 9, "chinese", 7.0, (("B", "E5"), ("W", "E5")))
    with pytest.raises(ModelError, match=r"wrong: .*Illegal move"):
        golden.record(katago, tiny, [wrong], settings=SETTINGS)


def test_a_net_that_does_not_load_is_an_error(katago, tmp_path):
    (tmp_path / "broken.bin.gz").write_bytes(b"no net")
    with pytest.raises(ModelError, match=r"broken\.bin\.gz"):
        golden.record(katago, tmp_path / "broken.bin.gz", settings=SETTINGS)


def test_no_engine_is_an_error(tmp_path, tiny):
    with pytest.raises(ModelError, match="katago"):
        golden.record(tmp_path / "katago", tiny)


GOOD = {
    "schema": 1,
    "policy_floor": 0.001,
    "positions": [
        {
            "id": "a",
            "board_x_size": 9,
            "board_y_size": 9,
            "rules": "chinese",
            "komi": 7.0,
            "moves": [["B", "E5"]],
            "expected": {"winrate_black": 0.5, "lead_black": 0.1, "policy": {"D4": 0.27}},
        }
    ],
}


def broken(path, value):
    document = copy.deepcopy(GOOD)
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value", "part"),
    [
        (["schema"], 2, "schema 2"),
        (["schema"], None, "schema"),
        (["positions"], 5, "the file"),
        (["positions", 0, "komi"], "x", "position 0"),
        (["positions", 0, "moves"], [["B"]], "position 0"),
        (["positions", 0, "expected"], None, "expected"),
        (["positions", 0, "expected", "policy"], [], "position 0"),
        (["positions", 0, "expected", "winrate_black"], float("nan"), "nan is no number"),
    ],
)
def test_reading_names_what_is_wrong(path, value, part):
    assert golden.read(json.dumps(GOOD)).answers
    with pytest.raises(ModelError, match=part):
        golden.read(broken(path, value))


def test_text_that_is_no_json():
    with pytest.raises(ModelError, match="golden answers"):
        golden.read("{")
