"""The controller is killed at every transition: of a deploy, of a way back, of a rollback."""

from __future__ import annotations

import signal

import pytest

from tests.rollout.faults.fault_checks import check_history, check_host, check_quiet
from tests.rollout.faults.fault_lab import DONE, HELD, deploying, start_service, stopped
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

KILLED = -signal.SIGKILL
UNTOUCHED = ("started", "connect", "facts", "plan", "lock")
UNCONFIRMED = ("after activate", "verify", "after verify", "commit")


@pytest.mark.parametrize("step", [*UNTOUCHED, *HELD, *UNCONFIRMED, *DONE])
def test_killed_in_a_good_deploy(step, make_lab, aftermath):
    lab = make_lab()
    answer = stopped(lab, step, *deploying("v2")).kill()
    aftermath(
        lab,
        answer,
        "controller killed, good version",
        step,
        code=KILLED,
        ends="v2" if step in DONE else "v1",
        left=step in HELD,
        resume=True,
    )


@pytest.mark.parametrize(
    ("step", "left"),
    [
        ("revert", False),
        ("after revert", True),
        ("verify 2", True),
        ("after verify 2", False),
        ("finished", False),
    ],
)
def test_killed_while_a_bad_version_is_undone(step, left, make_lab, aftermath):
    lab = make_lab()
    answer = stopped(lab, step, *deploying("bad")).kill()
    fault = "controller killed, bad version"
    aftermath(lab, answer, fault, step, code=KILLED, ends="v1", left=left, resume=True)


@pytest.mark.parametrize(
    "step", ["lock", "activate", "after activate", "verify", "commit", "after commit", "ended"]
)
def test_killed_in_a_rollback(step, make_lab, aftermath):
    lab = make_lab()
    lab.begin_with("v2")
    answer = stopped(lab, step, "rollback", "--yes").kill()
    aftermath(
        lab,
        answer,
        "controller killed, rollback",
        step,
        code=KILLED,
        ends="v1" if step in DONE else "v2",
        left=step == "activate",
        resume=True,
    )


@pytest.mark.parametrize("step", ["stage", "after activate", "after commit"])
def test_killed_in_a_first_deploy(step, make_lab, aftermath):
    lab = make_lab(None)
    answer = stopped(lab, step, *deploying("v2")).kill()
    aftermath(
        lab,
        answer,
        "controller killed, first deploy",
        step,
        code=KILLED,
        ends="v2" if step in DONE else "none",
        left=step == "stage",
        resume=True,
    )


def test_killed_while_resuming(make_lab, aftermath):
    lab = make_lab(revert_after=5)
    stopped(lab, "verify", *deploying("v2")).kill()
    answer = stopped(lab, "verify", "resume").kill()
    fault = "controller killed, its resume killed"
    aftermath(lab, answer, fault, "verify", code=KILLED, ends="v1", resume=True)


@pytest.mark.parametrize("step", ["stage", "after activate", "verify", "commit", "after commit"])
def test_power_lost(step, make_lab, aftermath):
    """The service's start finds what nobody confirmed, and runs what was there before."""
    lab = make_lab()
    controller = stopped(lab, step, *deploying("v2"))
    lab.power_off()
    answer = controller.kill()
    ends = "v2" if step in DONE else "v1"
    assert start_service(lab) == f"serving {ends}\n"
    lab.host.start()
    fault = "power lost on both sides, host restarted"
    aftermath(lab, answer, fault, step, code=KILLED, ends=ends, left=step in HELD, resume=True)


def test_power_lost_while_the_host_goes_back(make_lab, aftermath):
    """What was decided and cut off in the middle is brought to its end by the service's start."""
    lab = make_lab()
    controller = stopped(lab, "verify", *deploying("v2"))
    lab.hook('case "$1 $(pwd -P)" in "activate "*/m-v1-*) exec sleep 1000;; esac')
    answer = controller.kill()
    wait_until(lambda: "sleep 1000" in str(lab.processes()), "the service is told to go back")
    lab.power_off()
    lab.hook("")
    assert start_service(lab) == "serving v1\n"
    lab.host.start()
    fault = "power lost on both sides, host restarted"
    step = "while it goes back by itself"
    aftermath(lab, answer, fault, step, code=KILLED, ends="v1", resume=True)


def test_power_lost_and_no_service_started(make_lab):
    """What nobody confirmed is settled by the next command where nothing on the host could."""
    lab = make_lab()
    controller = stopped(lab, "verify", *deploying("v2"))
    lab.power_off()
    controller.kill()
    lab.host.start()
    assert lab.undecided()
    answer = lab.run("resume")
    assert answer.code == 0, answer.stderr
    assert lab.version == "v2"
    check_host(lab)
    check_quiet(lab)
    check_history(lab)
