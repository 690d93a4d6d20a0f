from __future__ import annotations

import json

import pytest

from orchestrator.engines.katago import analysis, gtp
from orchestrator.engines.katago.answers import (
    Answer,
    Position,
    UnusableAnswerError,
    difference,
    vertices,
)

SMALL = Position("p", 3, 2, "chinese", 7.0, (("B", "A1"),))
RAW_NN = """=7 symmetry 0
whiteWin 0.25
whiteLoss 0.7
noResult 0.05
whiteLead -1.5
varTimeLeft -1.000
policy
0.1 0.2 0.05
NAN 0.3 0.25
policyPass 0.1
whiteOwnership
0 0 0
0 0 0

"""


def timed(text):
    return [(float(n), line) for n, line in enumerate(text.split("\n"))]


def test_points_go_row_by_row_from_the_top_and_leave_out_i():
    assert list(vertices(3, 2)) == ["A2", "B2", "C2", "A1", "B1", "C1"]
    assert list(vertices(9, 1))[-1] == "J1"


def test_the_side_to_move_alternates():
    assert Position("p", 9, 9, "aga", 7, ()).to_move == "B"
    assert SMALL.to_move == "W"


def test_raw_nn_answer():
    (response,) = gtp.responses(timed(RAW_NN))
    answer = gtp.answer(response, SMALL)
    assert answer.winrate_black == pytest.approx(0.7 + 0.05 / 2)
    assert answer.lead_black == 1.5
    assert answer.policy == {"A2": 0.1, "B2": 0.2, "C2": 0.05, "B1": 0.3, "C1": 0.25, "pass": 0.1}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("whiteWin 0.25\n", ""),
        ("whiteWin 0.25", "whiteWin what"),
        ("whiteWin 0.25", "whiteWin -nan"),
        ("policyPass 0.1", "policyPass nan"),
        ("0.1 0.2 0.05\n", "0.1 0.2\n"),
        ("NAN 0.3 0.25\n", ""),
        ("=7 symmetry 0", "?7 unknown command"),
    ],
)
def test_raw_nn_answers_that_are_none(old, new):
    (response,) = gtp.responses(timed(RAW_NN.replace(old, new)))
    with pytest.raises(UnusableAnswerError):
        gtp.answer(response, SMALL)


def test_responses_have_the_time_of_their_last_line_and_survive_carriage_returns():
    search = "=2\ninfo move A1 edgeVisits 3 info move B1 edgeVisits 4\nplay A1\n\n"
    text = f"noise\n=1 KataGo\r\n\r\n{search}=3 "
    one, two = gtp.responses(timed(text))
    assert (one.id, one.lines, one.time) == (1, ("KataGo",), 2.0)
    assert (two.id, two.time, gtp.visits(two)) == (2, 6.0, 8)


def test_visits_of_the_root_come_first():
    info = "info move A1 visits 3 edgeVisits 3 rootInfo utility 0.1 visits 12 thisHash 00"
    text = f"=2\n{info}\nplay A1\n\n"
    (response,) = gtp.responses(timed(text))
    assert gtp.visits(response) == 12


@pytest.mark.parametrize("text", ["?2 board is full\n\n", "=2\nplay A1\n\n"])
def test_searches_without_visits(text):
    (response,) = gtp.responses(timed(text))
    with pytest.raises(UnusableAnswerError):
        gtp.visits(response)


DOCUMENT = {
    "id": "p",
    "rootInfo": {"rawWinrate": 0.7, "rawLead": 1.5, "visits": 1},
    "policy": [0.1, 0.2, 0.05, -1.0, 0.3, 0.25, 0.1],
}


def test_analysis_answer():
    answer = analysis.answer(DOCUMENT, SMALL)
    assert (answer.winrate_black, answer.lead_black) == (0.7, 1.5)
    assert answer.policy == {"A2": 0.1, "B2": 0.2, "C2": 0.05, "B1": 0.3, "C1": 0.25, "pass": 0.1}
    assert analysis.visits(DOCUMENT) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"error": "Illegal move", "field": "moves"},
        {"policy": None},
        {"policy": [0.5]},
        {"rootInfo": {"rawWinrate": None, "rawLead": 1.0}},
        {"rootInfo": {}},
    ],
)
def test_analysis_answers_that_are_none(change):
    with pytest.raises(UnusableAnswerError):
        analysis.answer(DOCUMENT | change, SMALL)


def test_an_error_of_a_search_is_passed_on():
    with pytest.raises(UnusableAnswerError, match="Illegal move"):
        analysis.visits({"id": "p", "error": "Illegal move"})


@pytest.mark.parametrize("line", ["", "log line", "[1]", '{"no": "id"}', '{"id": 1}', '{"id": "x"'])
def test_lines_that_are_no_responses(line):
    assert analysis.parse(line) is None


def test_queries_are_one_line_of_json():
    line = analysis.query(SMALL, visits=50, seconds=2.5, urgent=1)
    assert "\n" not in line
    document = json.loads(line)
    assert document["moves"] == [["B", "A1"]]
    assert document["overrideSettings"] == {"maxTime": 2.5}
    assert document["includePolicy"] is False


A = Answer(0.5, 2.0, {"A1": 0.6, "B1": 0.3})


@pytest.mark.parametrize(
    ("given", "probability", "lead"),
    [
        (Answer(0.5, 2.0, {"A1": 0.6, "B1": 0.3, "C1": 0.004}), 0.0, 0.0),
        (Answer(0.4, 2.0, {"A1": 0.6, "B1": 0.3}), 0.1, 0.0),
        (Answer(0.5, -1.0, {"A1": 0.6, "B1": 0.35}), 0.05, 3.0),
        (Answer(0.5, 2.0, {"A1": 0.6}), 0.3, 0.0),
        (Answer(0.5, 2.0, {"A1": 0.6, "B1": 0.3, "C1": 0.055}), 0.05, 0.0),
    ],
)
def test_difference(given, probability, lead):
    found = difference(A, given, floor=0.005)
    assert found.probability == pytest.approx(probability)
    assert found.lead == pytest.approx(lead)
