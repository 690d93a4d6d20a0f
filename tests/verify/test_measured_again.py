"""How often a release is measured, what is waited for, and what is said meanwhile."""

from __future__ import annotations

import pytest

from orchestrator import verify
from orchestrator.errors import CommandError, UnreachableError
from orchestrator.fleet.facts import Facts, Load, Thermal
from orchestrator.fleet.profile import EngineSpec, VerifySpec
from orchestrator.verify.base import Subject
from orchestrator.verify.baseline import Baseline
from orchestrator.verify.conditions import trouble
from orchestrator.verify.repeat import Patience
from orchestrator.verify.result import Measurement

BASELINE = Baseline("rpi4", "evals_per_s", 10.8, 0.4, 9)
SUBJECT = Subject("/r", "m", "c", "", "onnx", EngineSpec("onnxruntime"), VerifySpec())
FIT = Facts(thermal=Thermal(60.0, throttled=False), load=Load(0.3, cores=4))
HOT = Facts(thermal=Thermal(82.4, throttled=True, detail="throttled"), load=Load(0.3, cores=4))
BUSY = Facts(load=Load(7.9, cores=4))


@pytest.fixture
def verified(monkeypatch):
    """Verifies a release that measures one thing after the other on a host in changing condition.

    Returns the verification and everything that happened, in order.
    """

    def run(measured, conditions=(), *, baseline=BASELINE, spec=None, tries=3):
        happened = []
        speeds = iter(measured)
        states = iter(conditions)

        def smoke(_target, _subject):
            happened.append("measure")
            latest = next(speeds)
            return latest if isinstance(latest, Measurement) else speed(latest)

        def read():
            happened.append("read")
            found = next(states, FIT)
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(verify, "smoke_benchmark", lambda _kind: smoke)
        result = verify.verify(
            None,
            SUBJECT,
            baseline,
            conditions=read,
            announce=happened.append,
            patience=Patience(tries, 7.0, lambda seconds: happened.append(f"wait {seconds:g}")),
        )
        assert next(speeds, None) is None, "not all was measured"
        return result, happened

    return run


def speed(value, **more):
    return Measurement({"evals_per_s": value, **more})


@pytest.mark.parametrize(
    ("measured", "verdict", "reason"),
    [
        ([10.5], "pass", "10.5 evals/s, 97 % of the rpi4 baseline (10.8 ± 0.4)"),
        ([4.0, 10.5], "pass", "10.5 evals/s (2 measurements, 95 % sure above 80 %), 97 % of"),
        ([9.0, 9.3, 9.31], "pass", "9.3 evals/s (3 measurements, 95 % sure above 80 %), 86 %"),
        (
            [4.0, 4.2, 4.1],
            "fail",
            (
                "too slow: 4.1 evals/s (3 measurements, 95 % sure below 80 %), 38 % of the rpi4 "
                "baseline (10.8 ± 0.4)"
            ),
        ),
        (
            [8.5, 9.2, 8.1, 8.8, 8.4],
            "inconclusive",
            (
                "8.4 evals/s (5 measurements, from 8.1 to 9.2), 78 % of the rpi4 baseline "
                "(10.8 ± 0.4): neither above nor below 80 % for sure"
            ),
        ),
    ],
)
def test_it_is_measured_until_that_is_sure(verified, measured, verdict, reason):
    result, happened = verified(measured)
    assert result.verdict == verdict
    assert result.reason.startswith(reason)
    assert result.metrics["measurements"] == len(measured) == happened.count("measure")
    assert not [what for what in happened if what.startswith("wait")]


def test_everybody_hears_why_it_takes_longer(verified):
    _, happened = verified([4.1, 4.2, 4.1])
    assert happened == [
        "measure",
        "read",
        "measuring again: 2 of 5, 38 % of the rpi4 baseline (10.8 ± 0.4)",
        "measure",
        "read",
        "measuring again: 3 of 5, 39 % of the rpi4 baseline (10.8 ± 0.4)",
        "measure",
        "read",
    ]


@pytest.mark.parametrize(
    "measured",
    [
        [Measurement(failure="does not load")],
        [speed(1.0, golden_max_error=0.5)],
        [speed(1.0, load_s=-1.0)],
        [4.0, Measurement(failure="crashed")],
        [4.0, Measurement({"load_s": 1.0})],
        [4.0, speed(10.5, golden_max_error=0.5)],
    ],
)
def test_what_is_wrong_fails_at_once_whatever_the_host_is_in(verified, measured):
    result, happened = verified(measured)
    assert result.verdict == "fail"
    assert result.metrics["measurements"] == len(measured)
    assert happened[-1] == "measure"


def test_without_a_baseline_one_measurement_starts_it(verified):
    result, happened = verified([0.1], [HOT], baseline=None)
    assert (result.verdict, happened) == ("pass", ["measure"])


def test_a_hot_host_is_waited_for_and_its_slow_results_do_not_count(verified):
    result, happened = verified([4.1, 4.1, 10.6], [HOT, HOT])
    assert result.verdict == "pass"
    assert result.metrics["evals_per_s"] == 10.6
    assert result.metrics["measurements"] == 3
    assert happened == [
        "measure",
        "read",
        (
            "38 % of the rpi4 baseline (10.8 ± 0.4), but the host is throttled at 82 °C: "
            "measuring again in 7 s (1 of 3)"
        ),
        "wait 7",
        "measure",
        "read",
        (
            "38 % of the rpi4 baseline (10.8 ± 0.4), but the host is throttled at 82 °C: "
            "measuring again in 7 s (2 of 3)"
        ),
        "wait 7",
        "measure",
    ]


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (HOT, "the host is throttled at 82 °C"),
        (BUSY, "the host is under a load of 7.9 on 4 cores"),
        (CommandError("no answer", hint=""), "the host's condition cannot be read: no answer"),
    ],
)
def test_in_bad_conditions_slow_is_neither_pass_nor_fail(verified, state, why):
    result, happened = verified([4.1] * 4, [state] * 4)
    assert result.verdict == "inconclusive"
    assert result.reason == f"4.1 evals/s, 38 % of the rpi4 baseline (10.8 ± 0.4), but {why}"
    assert happened.count("wait 7") == 3


def test_trouble_in_the_middle_costs_only_the_measurement_it_spoilt(verified):
    result, happened = verified([4.1, 4.2, 1.0, 4.1], [FIT, FIT, BUSY, FIT])
    assert result.verdict == "fail"
    assert result.reason.startswith("too slow: 4.1 evals/s (3 measurements, 95 % sure below 80 %)")
    assert result.metrics["measurements"] == happened.count("measure") == 4


def test_measured_at_most_so_often_whatever_the_host_is_in(verified):
    unclear = [8.5, 9.2, 8.1, 8.8]
    result, _ = verified([1.0, *unclear, 1.0, 1.0, 8.4], [BUSY, FIT, FIT, HOT, HOT, FIT])
    assert (result.verdict, result.metrics["measurements"]) == ("inconclusive", 8)


def test_fast_enough_is_fast_enough_on_a_hot_host(verified):
    result, happened = verified([10.5], [HOT])
    assert (result.verdict, happened) == ("pass", ["measure"])


def test_a_link_that_breaks_while_conditions_are_read_is_no_verdict(verified):
    with pytest.raises(UnreachableError):
        verified([4.1], [UnreachableError("the link broke")])


@pytest.mark.parametrize(
    ("facts", "busy", "said"),
    [
        (Facts(), 5, ""),
        (FIT, 5, ""),
        (Facts(thermal=Thermal(79.9)), 5, ""),
        (Facts(thermal=Thermal(80.0)), 5, "the host is at 80 °C"),
        (Facts(thermal=Thermal(None, throttled=True)), 5, "the host is throttled"),
        (
            Facts(thermal=Thermal(50.0, throttled=False, detail="throttling has occurred")),
            5,
            "",
        ),
        (
            Facts(
                thermal=Thermal(
                    82.0,
                    throttled=True,
                    detail="under-voltage, throttled, under-voltage has occurred",
                )
            ),
            5,
            "the host is throttled at 82 °C (under-voltage)",
        ),
        # What the benchmark has made itself in a second is little, in a minute 63 % of all cores.
        (Facts(load=Load(2.1, cores=4)), 1, "the host is under a load of 2.1 on 4 cores"),
        (Facts(load=Load(1.9, cores=4)), 1, ""),
        (Facts(load=Load(4.0, cores=4)), 60, ""),
        (Facts(load=Load(4.6, cores=4)), 60, "the host is under a load of 4.6 on 4 cores"),
        (Facts(load=Load(1.0, cores=1)), 1, "the host is under a load of 1.0 on 1 core"),
        (
            Facts(thermal=Thermal(91.0), load=Load(9.0, cores=4)),
            1,
            "the host is at 91 °C and under a load of 9.0 on 4 cores",
        ),
    ],
)
def test_what_counts_as_trouble(facts, busy, said):
    assert trouble(lambda: facts, busy) == said
