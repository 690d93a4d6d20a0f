"""Answers against those of the engine itself, and the errors between answers against tables."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.errors import ModelError
from orchestrator.pipeline import accuracy, gate, positions, runners
from orchestrator.pipeline.accuracy import Answers, Report, Spread
from orchestrator.pipeline.interpreters.numpy import Reference
from orchestrator.pipeline.katago import reader
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.katago.random_net import random_net
from orchestrator.pipeline.tensors import Inputs, Outputs
from tests import golden_sets

SMALL = golden_sets.NAMES[:3]


@pytest.fixture(scope="module")
def net(tiny):
    return reader.read(tiny)


@pytest.fixture(scope="module")
def some():
    """A few positions on each board."""
    golden = golden_sets.load(SMALL[0], 4)
    return positions.Positions(tuple(part.batch for part in golden))


class Framed:
    """The reference in one frame; `spoil` makes another net of it."""

    name = "framed"

    def __init__(self, net, shape, spoil=lambda outputs: outputs):
        self.shape, self.reference, self.spoil = shape, Reference(net, shape), spoil

    def __call__(self, inputs):
        return self.spoil(self.reference(inputs))


class TestAnswers:
    @pytest.mark.parametrize("name", SMALL)
    def test_they_are_the_engines(self, name):
        net = reader.read(golden_sets.net(name))
        for golden in golden_sets.load(name, 4):
            outputs = runners.reference(net)(golden.batch.inputs)
            found = accuracy.answers(outputs, golden.batch.inputs, net)
            np.testing.assert_allclose(found.policy, golden.policy, atol=1e-5)
            np.testing.assert_allclose(found.value, golden.value, atol=1e-5)
            np.testing.assert_allclose(found.lead, golden.lead, atol=1e-3)  # 3 digits are stored
            ownership = found.ownership.reshape(golden.ownership.shape)
            np.testing.assert_allclose(ownership, golden.ownership, atol=5e-5)

    @pytest.mark.parametrize("name", golden_sets.NAMES)
    def test_legal_moves_are_the_engines(self, name):
        for golden in golden_sets.load(name, 100):
            assert np.array_equal(accuracy.legal_moves(golden.batch.inputs), golden.legal)

    def test_suicide_of_several_stones_is_legal_where_the_rules_say_so(self):
        stones = np.array(
            [list("OX..."), list("O.X.."), list("OX..."), list("X...."), list(".....")]
        )
        spatial = np.zeros((2, 22, 5, 5), np.float32)
        spatial[:, 0], spatial[:, 1], spatial[:, 2] = 1, stones == "O", stones == "X"
        spatial[:, 3] = stones == "O"
        globals_ = np.zeros((2, 19), np.float32)
        globals_[1, 8] = 1
        legal = accuracy.legal_moves(Inputs(spatial, globals_))[:, 6]
        assert legal.tolist() == [False, True]

    def test_a_board_in_a_frame_is_answered_as_without(self, net, some):
        exact = accuracy.evaluate(runners.reference(net), some, net)
        framed = accuracy.evaluate(Framed(net, Shape(19, 19)), some, net)
        for one, other in zip(exact, framed, strict=True):
            for name, values in accuracy.errors(one, other).items():
                assert values.max() < 2e-5, name

    def test_a_given_legality_is_taken(self, net, some):
        batch = next(iter(some))
        outputs = runners.reference(net)(batch.inputs)
        legal = np.zeros(outputs.policy.shape, bool)
        legal[:, [3, -1]] = True
        found = accuracy.answers(outputs, batch.inputs, net, legal)
        assert found.policy[:, [3, -1]].sum(axis=1) == pytest.approx(1)
        assert found.policy[0, 4] == 0

    @pytest.mark.parametrize(
        ("ko", "territory", "possible"),
        [(0, 0, True), (1, 0, False), (1, 1, True), (0, 1, True)],
    )
    def test_no_result_is_possible_only_under_rules_that_know_it(
        self, net, ko, territory, possible
    ):
        globals_ = np.zeros((1, 19), np.float32)
        globals_[0, 6], globals_[0, 9] = ko, territory
        found = accuracy.answers(raw(value=[[1, 0, 3]]), board(globals_), net)
        assert (found.value[0, 2] > 0.5) == possible
        assert found.value.sum() == pytest.approx(1)

    def test_scores_in_points(self, net):
        globals_ = np.zeros((1, 19), np.float32)
        globals_[0, 6] = 1
        found = accuracy.answers(raw(misc=[[0.5, 0, -0.25, 0, 0, 0]]), board(globals_), net)
        assert found.score_mean == pytest.approx([10])
        assert found.score_stdev == pytest.approx([20 * math.log(2)])
        assert found.lead == pytest.approx([-5])

    def test_scores_count_less_where_there_may_be_no_result(self, net):
        outputs = raw(value=[[0, 0, math.log(2)]], misc=[[0.5, 0, -0.25, 0, 0, 0]])
        found = accuracy.answers(outputs, board(np.zeros((1, 19), np.float32)), net)
        assert found.value[0, 2] == pytest.approx(0.5)
        assert found.score_mean == pytest.approx([5])
        assert found.lead == pytest.approx([-2.5])
        square = 0.5 * (10**2 + (20 * math.log(2)) ** 2)
        assert found.score_stdev == pytest.approx([math.sqrt(square - 5**2)])

    @pytest.mark.parametrize(
        ("version", "channels", "winloss", "score"),
        [
            (8, 4, -1, -1),
            (9, 6, math.log(2), 10 * math.log(2)),
            (10, 6, math.sqrt(math.log(2) * 0.25), math.sqrt(math.log(2) * 30)),
            (14, 6, 0.5 * math.log(2), math.sqrt(30) * math.log(2)),
        ],
    )
    def test_expected_errors_by_version(self, net, version, channels, winloss, score):
        factors = replace(net.post_process, shortterm_score_error=30.0)
        older = replace(net, version=version, post_process=factors)
        outputs = raw(misc=np.zeros((1, channels)))
        found = accuracy.answers(outputs, board(np.zeros((1, 19), np.float32)), older)
        assert found.shortterm_winloss_error == pytest.approx([winloss])
        assert found.shortterm_score_error == pytest.approx([score])


class TestErrors:
    def test_by_hand(self):
        found = accuracy.errors(
            known(
                policy=[[0.5, 0.25, 0.25, 0, 0]],
                value=[[0.6, 0.3, 0.1]],
                lead=[3.0],
                score_mean=[1.0],
                score_stdev=[5.0],
                shortterm_winloss_error=[0.2],
                shortterm_score_error=[2.0],
                ownership=[[[1, 0], [-1, 0.5]]],
            ),
            known(
                policy=[[0.25, 0.125, 0.625, 0, 0]],
                value=[[0.4, 0.4, 0.2]],
                lead=[2.5],
                score_mean=[1.25],
                score_stdev=[7.0],
                shortterm_winloss_error=[0.1],
                shortterm_score_error=[2.5],
                ownership=[[[1, 0.5], [-0.75, 0.5]]],
            ),
        )
        assert {name: values.tolist() for name, values in found.items()} == {
            "winrate": [pytest.approx(0.5 * 0.2 + 0.5 * 0.1 + 0.1)],
            "lead": [0.5],
            "score_mean": [0.25],
            "score_stdev": [2.0],
            "top_policy": [0.25],
            "policy_kl": [pytest.approx(0.75 * math.log(2) + 0.25 * math.log(0.4))],
            "shortterm_winloss_error": [0.1],
            "shortterm_score_error": [0.5],
            "ownership": [0, 0.5, 0.25, 0],
        }

    def test_a_move_that_is_ruled_out_is_infinitely_far(self):
        found = accuracy.errors(
            known(policy=[[0.5, 0.5, 0, 0, 0]]), known(policy=[[1, 0, 0, 0, 0]])
        )
        assert found["policy_kl"].tolist() == [math.inf]

    def test_percentiles_are_those_of_katago(self):
        values = np.arange(200.0)[::-1]
        found = dict.fromkeys(accuracy.METRICS, values)
        spread = accuracy.report([found], boards={"9x9": 200}).metrics["lead"]
        assert spread == Spread(mean=99.5, p90=199 * 90 // 100, p99=199 * 99 // 100, max=199)

    def test_all_boards_count_together(self):
        parts = [{name: np.array([v]) for name in accuracy.METRICS} for v in (1.0, 3.0)]
        found = accuracy.report(parts, boards={"9x9": 1, "19x19": 1})
        assert found.positions == 2
        assert found.metrics["ownership"] == Spread(2, 1, 1, 3)


class TestReport:
    def test_a_net_is_as_good_as_itself(self, net, some):
        found = accuracy.compare(runners.reference(net), Framed(net, Shape(13, 13)), some, net)
        assert found.boards == {"7x7": 4, "9x9": 4, "13x13": 4}
        assert found.positions == 12
        assert gate.judge(found).passed

    def test_answers_that_are_known_are_not_asked_for_again(self, net, some):
        known_ = accuracy.evaluate(runners.reference(net), some, net)
        runner = Framed(net, Shape(9, 9, masked=False))
        found = accuracy.compare(known_, runner, some, net)
        assert found == accuracy.compare(runners.reference(net), runner, some, net)
        assert found.boards == {"9x9": 4}

    def test_a_humansl_net_is_told_of_players(self, some):
        net = random_net(seed=1, version=15, meta=True)
        found = accuracy.compare(runners.reference(net), Framed(net, Shape()), some, net)
        assert found.positions == 16
        assert gate.judge(found).passed

    def test_no_position_fits(self, net, some):
        runner = Framed(net, Shape(11, 12, masked=False))
        with pytest.raises(ModelError, match="framed takes a 12x11 board, and no position"):
            accuracy.compare(runners.reference(net), runner, some, net)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("output", ["policy", "value", "misc", "ownership"])
    def test_what_is_no_number_never_passes(self, net, some, bad, output):
        def spoil(outputs):
            values = getattr(outputs, output).copy()
            values.reshape(len(values), -1)[1, 0] = bad
            return replace(outputs, **{output: values})

        runner = Framed(net, Shape(9, 9, masked=False), spoil)
        found = accuracy.compare(runners.reference(net), runner, some, net)
        verdict = gate.judge(found)
        assert not verdict.passed
        assert verdict.reason == "NaN or infinite outputs at 1 of 4 positions"
        assert found.metrics["lead"].max < 1e-4

    def test_nothing_but_nan(self, net, some):
        def spoil(outputs):
            return replace(outputs, value=np.full_like(outputs.value, np.nan))

        runner = Framed(net, Shape(9, 9, masked=False), spoil)
        found = accuracy.compare(runners.reference(net), runner, some, net)
        assert not gate.judge(found).passed
        assert found.document()["metrics"]["lead"]["max"] is None

    def test_as_json_and_back(self):
        spread = Spread(0.123456, 0.00001234567, 1e-9, math.inf)
        found = Report(dict.fromkeys(accuracy.METRICS, spread), 3, {"9x9": 3}, 1)
        data = json.loads(json.dumps(found.document(), allow_nan=False))
        assert data["metrics"]["winrate"] == {
            "mean": 0.1235,
            "p90": 1.235e-05,
            "p99": 1e-9,
            "max": None,
        }
        again = Report.from_document(data)
        assert (again.positions, again.boards, again.not_finite) == (3, {"9x9": 3}, 1)
        assert again.metrics["lead"].p99 == 1e-9
        assert not gate.judge(again).passed

    def test_what_a_manifest_says(self, net, some):
        found = accuracy.compare(runners.reference(net), Framed(net, Shape()), some, net)
        data = gate.document(
            found, gate.judge(found), positions_sha256=some.sha256, reference="net.bin.gz"
        )
        assert list(data) == [
            *("gate", "reason", "positions", "boards", "positions_sha256", "reference", "metrics")
        ]
        assert data["gate"] == "pass"
        assert list(data["metrics"]) == list(accuracy.METRICS)
        assert Report.from_document(data).boards == found.boards


def board(globals_):
    spatial = np.zeros((1, 22, 2, 2), np.float32)
    spatial[:, 0] = 1
    return Inputs(spatial, globals_)


def raw(*, value=((0, 0, 0),), misc=((0, 0, 0, 0, 0, 0),)):
    return Outputs(
        np.zeros((1, 5), np.float32),
        np.array(value, np.float32),
        np.array(misc, np.float32),
        np.zeros((1, 1, 2, 2), np.float32),
    )


def known(**answers):
    """Answers to one position on a 2x2 board."""
    usual = {
        "policy": [[0.2] * 5],
        "legal": [[True] * 5],
        "value": [[0.5, 0.5, 0]],
        "lead": [0],
        "score_mean": [0],
        "score_stdev": [1],
        "shortterm_winloss_error": [0],
        "shortterm_score_error": [0],
        "ownership": [[[0, 0], [0, 0]]],
        "finite": [True],
    }
    return Answers(**{name: np.array(values) for name, values in (usual | answers).items()})
