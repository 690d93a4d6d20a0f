"""Exit codes and outcomes of whole runs, and runners that stop when asked."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from orchestrator.rollout.outcome import HostOutcome, RunResult, Status, worst
from orchestrator.rollout.runner import ThreadRunner


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([], 0), ([0, 0], 0), ([0, 5], 5), ([5, 6], 6), ([6, 3, 5], 3), ([3, 4, 6, 5, 0], 4)],
)
def test_the_worst_exit_code_applies(codes, expected):
    assert worst(codes) == expected


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([Status.UNCHANGED, Status.UNCHANGED], "unchanged"),
        ([Status.UNCHANGED, Status.DEPLOYED], "deployed"),
        ([Status.ROLLED_BACK], "rolled_back"),
        ([], "deployed"),
    ],
)
def test_the_outcome_of_a_run_that_went_well(statuses, expected):
    hosts = tuple(HostOutcome(str(i), status) for i, status in enumerate(statuses))
    assert RunResult("r", hosts).outcome == expected


def test_a_failed_host_makes_the_run_failed_and_an_interrupt_outranks_it():
    failed = (HostOutcome("h", Status.FAILED, exit_code=3),)
    assert (RunResult("r", failed).outcome, RunResult("r", failed).exit_code) == ("failed", 3)
    interrupted = RunResult("r", failed, interrupted=True)
    assert (interrupted.outcome, interrupted.exit_code) == ("interrupted", 130)


def test_results_come_in_the_order_of_the_work():
    first_waits = threading.Event()

    def work(number):
        if number == 0:
            assert first_waits.wait(10)
        else:
            first_waits.set()
        return number * 10

    assert ThreadRunner(2).run(work, [0, 1, 2]) == [0, 10, 20]
    assert ThreadRunner(2).run(work, []) == []


def test_an_interrupt_lets_the_running_finish_and_starts_no_more():
    runner = ThreadRunner(1)
    pause = threading.Event()
    before = signal.getsignal(signal.SIGTERM)
    started = []

    def work(number):
        started.append(number)
        if number == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            while not runner.interrupted:
                pause.wait(0.01)
        return number

    assert runner.run(work, [0, 1, 2]) == [0, None, None]
    assert started == [0]
    assert runner.interrupted
    assert signal.getsignal(signal.SIGTERM) is before
