"""Exit codes and outcomes of whole runs, and runners that stop when asked."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from orchestrator.rollout import runner as runners
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


def test_no_more_are_begun_once_that_is_said():
    done = []

    def work(number):
        done.append(number)
        return number

    runner = ThreadRunner(1)
    assert runner.run(work, [0, 1, 2], go_on=lambda: len(done) < 2) == [0, 1, None]
    assert not runner.interrupted


def test_a_defect_is_raised_after_the_others_have_ended():
    ended = []

    def work(number):
        if number == 0:
            raise ZeroDivisionError
        ended.append(number)

    with pytest.raises(ZeroDivisionError):
        ThreadRunner(1).run(work, [0, 1])
    assert ended == []


def test_a_second_interrupt_ends_what_is_in_flight_and_leaves_what_hangs(monkeypatch):
    monkeypatch.setattr(runners, "HALT_SECONDS", 0.3)
    said = []
    runner = ThreadRunner(2, lambda: said.append("stop"), lambda: said.append("halt"))
    begun, released, never = threading.Barrier(3), threading.Event(), threading.Event()

    def signals():
        begun.wait(10)
        os.kill(os.getpid(), signal.SIGINT)
        while "stop" not in said:
            never.wait(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    def work(name):
        begun.wait(10)
        (released if name == "ends" else never).wait(10)
        return name

    def halt(name):
        assert runner.halted.is_set()
        if name == "ends":
            released.set()
        raise ConnectionError  # of no matter: that host goes back by itself

    sender = threading.Thread(target=signals)
    sender.start()
    assert runner.run(work, ["ends", "hangs", "waits"], halt=halt) == ["ends", None, None]
    sender.join()
    never.set()
    assert said == ["stop", "halt"]
    assert runner.run(work, ["waits"]) == [None], "it is remembered"


def test_a_pause_ends_when_it_is_interrupted():
    runner = ThreadRunner(1)
    with runner.guard():
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        runner.wait(600)
    assert runner.interrupted


def test_what_nohup_started_does_not_heed_the_end_of_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    runner = ThreadRunner(1)
    try:
        with runner.guard():
            os.kill(os.getpid(), signal.SIGHUP)
        assert not runner.interrupted
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_question_is_ended_by_an_interrupt():
    runner = ThreadRunner(1)
    before = signal.getsignal(signal.SIGINT)

    def question():
        with runner.unguarded():
            assert signal.getsignal(signal.SIGINT) is before
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(10)

    with runner.guard():
        with pytest.raises(KeyboardInterrupt):
            question()
        os.kill(os.getpid(), signal.SIGINT)
        assert runner.interrupted
    assert signal.getsignal(signal.SIGINT) is before
