"""Two controllers at once, one that sleeps and wakes up late, and Ctrl-C."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.rollout.faults.fault_lab import deploying, stopped
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.controller import Controller

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("step", ["connect", "verify"])
def test_second_controller_of_the_project(step, make_lab, aftermath):
    lab = make_lab()
    controller = stopped(lab, step, *deploying("v2"))
    second = lab.run(*deploying("v3"))
    assert second.code == 6, second.document
    assert second.error["code"] == "project_locked"
    controller.go()
    fault = "second controller, same project"
    aftermath(lab, controller.finish(), fault, step, code=0, ends="v2")


@pytest.mark.parametrize("step", ["stage", "commit"])
def test_second_controller_of_another_project(step, make_lab, aftermath):
    lab = make_lab()
    controller = stopped(lab, step, *deploying("v2"))
    second = lab.run(*deploying("v3"), project=lab.other_project())
    assert second.code == 6, second.document
    assert second.statuses() == {lab.host.name: "locked"}
    controller.go()
    fault = "second controller, other project"
    aftermath(lab, controller.finish(), fault, step, code=0, ends="v2")


def test_two_controllers_race(make_lab, aftermath):
    lab = make_lab()
    first = stopped(lab, "lock", *deploying("v2"))
    second = stopped(lab, "lock", *deploying("v2"), project=lab.other_project())
    first.go()
    second.go()
    answers = [first.finish(), second.finish()]
    assert {answer.code for answer in answers} <= {0, 6}, answers
    check = lab.run("verify")
    assert check.code == 0, check.stderr
    won = next(answer for answer in answers if answer.code == 0)
    aftermath(lab, won, "two controllers at once", "lock", code=0, ends="v2")


@pytest.mark.parametrize("step", ["stage", "activate", "verify", "commit"])
def test_controller_wakes_up_late(step, make_lab, aftermath):
    """Asleep for longer than it may, it finds the host in other hands and changes nothing."""
    lab = make_lab()
    other = lab.other_project()
    controller = stopped(lab, step, *deploying("v2"))
    controller.signal(signal.SIGSTOP)
    lab.wait_for_the_host()
    if step == "stage":
        assert lab.run("unlock", "--yes", lab.host.name, project=other).code == 0
    else:
        wait_until(lambda: lab.silence() > 4, "its lease is over")
    second = lab.run(*deploying("v3"), project=other)
    assert second.code == 0, second.document
    before = lab.audit()
    controller.go()
    controller.signal(signal.SIGCONT)
    answer = controller.finish()
    assert lab.audit() == before, answer.document
    fault = "controller asleep, another deploys"
    aftermath(lab, answer, fault, step, code=6, status="locked", ends="v3")


# -- Ctrl-C


def press_ctrl_c(controller: Controller, heard: str) -> None:
    controller.signal(signal.SIGINT)
    wait_until(lambda: heard in controller.said(), "the command heard Ctrl-C")


@pytest.mark.parametrize("step", ["lock", "stage", "verify", "commit"])
def test_ctrl_c(step, make_lab, aftermath):
    """What is in flight is finished."""
    lab = make_lab(revert_after=10)
    controller = stopped(lab, step, *deploying("v2"))
    press_ctrl_c(controller, "Stopping:")
    controller.go()
    answer = controller.finish()
    aftermath(lab, answer, "Ctrl-C", step, code=130, status="deployed", ends="v2")


def test_ctrl_c_before_anything_is_touched(make_lab, aftermath):
    lab = make_lab()
    controller = stopped(lab, "facts", *deploying("v2"))
    press_ctrl_c(controller, "Stopping:")
    controller.go()
    answer = controller.finish()
    aftermath(lab, answer, "Ctrl-C", "facts", code=130, status="interrupted", ends="v1")


@pytest.mark.parametrize(
    ("what", "step"),
    [("large", "stage"), ("hangs", "verify"), ("ignores-term", "verify")],
)
def test_ctrl_c_twice(what, step, make_lab, aftermath):
    """Everything ends at once: the transfer, the benchmark, the switch."""
    lab = make_lab(link=True, revert_after=30, timeout=60)
    lab.link.bytes_per_second = 1_000_000
    controller = stopped(lab, step, *deploying(what))
    controller.go()
    if step == "stage":
        wait_until(lambda: any(lab.root.glob("store/sha256/*/*.part")), "something arrived")
    else:
        wait_until(lambda: f"sh {what}.sh" in str(lab.processes()), "the benchmark runs")
    press_ctrl_c(controller, "Stopping:")
    press_ctrl_c(controller, "Stopping at once")
    answer = controller.finish()
    wait_until(lambda: not lab.processes(), f"{lab.processes()} end", seconds=5)
    step = f"{step} ({what})"
    aftermath(lab, answer, "Ctrl-C twice", step, code=130, status="failed", ends="v1")


@pytest.mark.parametrize("step", ["lock", "after activate", "commit"])
def test_ctrl_c_twice_in_between(step, make_lab, aftermath):
    lab = make_lab(revert_after=30)
    controller = stopped(lab, step, *deploying("v2"))
    press_ctrl_c(controller, "Stopping:")
    press_ctrl_c(controller, "Stopping at once")
    wait_until(lambda: not lab.locked(), "the host is told")
    controller.go()
    answer = controller.finish()
    aftermath(lab, answer, "Ctrl-C twice", step, code=130, status="failed", ends="v1")
