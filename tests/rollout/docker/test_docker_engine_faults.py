"""What is left of Docker hosts when their Docker Engine is killed: one verified engine each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rollout.docker.docker_fault_cases import BLUE_GREEN, KILLED, RECREATE, Case, begin
from tests.rollout.docker.docker_fault_lab import Lab, at_once
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.controller import Answer

# On an engine of their own, beside that of the other tests: they kill it, and take long.
pytestmark = [pytest.mark.xdist_group("docker_engine_faults"), pytest.mark.slow]


def keeper_runs(lab: Lab) -> bool:
    return [each["State"] for each in lab.containers("keeper")] == ["running"]


def test_engine_killed_while_the_controller_works(hosts, docker_engine, aftermath):
    """What was not switched stays as it was; what was is undone as soon as there is an engine."""
    early = begin(hosts, [(BLUE_GREEN, step, "") for step in ("facts", "lock", "stage")])
    late = begin(
        hosts,
        [
            (BLUE_GREEN, "activate 2", ""),
            (BLUE_GREEN, "verify", ""),
            (BLUE_GREEN, "verify 2", ""),
            (RECREATE, "activate 3", ""),
            (BLUE_GREEN, "revert", "wrong"),
        ],
    )
    docker_engine.kill()
    told = at_once(Case.finish, early)
    for case in late:
        case.command.go()
    docker_engine.start()
    told += at_once(lambda case: case.command.finish(), late)
    fault = "dockerd killed, back a moment later"

    def check(pair: tuple[Case, Answer]) -> None:
        case, answer = pair
        codes = {5} if case in early else {3}
        aftermath(case, answer, fault, codes=codes, ends=case.before)

    at_once(check, zip([*early, *late], told, strict=True))


def test_engine_restarted_while_the_controller_stands(hosts, docker_engine, aftermath):
    cases = begin(
        hosts,
        [
            (BLUE_GREEN, "connect", ""),
            (BLUE_GREEN, "activate", ""),
            (BLUE_GREEN, "commit", ""),
            (BLUE_GREEN, "after commit", ""),
            (RECREATE, "activate 2", ""),
            (RECREATE, "verify 2", ""),
        ],
    )
    docker_engine.kill()
    docker_engine.start()
    wait_until(lambda: all(keeper_runs(case.lab) for case in cases), "the keepers run")
    told = at_once(Case.finish, cases)

    def check(pair: tuple[Case, Answer]) -> None:
        case, answer = pair
        done = case.plan[1] in {"connect", "activate", "after commit"}
        ends = case.lab.wanted if done else case.before
        fault = "dockerd killed and back"
        aftermath(case, answer, fault, codes={0 if done else 3}, ends=ends)

    at_once(check, zip(cases, told, strict=True))


def test_controller_killed_and_engine_restarted(hosts, docker_engine, aftermath):
    cases = begin(
        hosts,
        [
            (BLUE_GREEN, "stage", ""),
            (BLUE_GREEN, "verify", ""),
            (BLUE_GREEN, "commit", ""),
            (BLUE_GREEN, "after commit", ""),
            (RECREATE, "activate 3", ""),
            (RECREATE, "verify 2", ""),
        ],
    )
    killed = [case.command.kill() for case in cases]
    docker_engine.kill()
    docker_engine.start()

    def check(pair: tuple[Case, Answer]) -> None:
        case, answer = pair
        ends = case.lab.wanted if case.plan[1] == "after commit" else case.before
        fault = "controller and dockerd killed"
        aftermath(case, answer, fault, codes={KILLED}, ends=ends, resume=True)

    at_once(check, zip(cases, killed, strict=True))
