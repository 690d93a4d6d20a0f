"""The link is cut, goes down, swallows everything, or is slow; the host's sshd is restarted."""

from __future__ import annotations

import pytest

from tests.rollout.faults.fault_lab import DONE, HELD, LARGE, deploying, stopped
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

STATES = ("connect", "facts", "plan", "lock", "preflight", "stage", "activate", "verify", "commit")
# What a cut that is over at once comes to: from `commit` on the controller finds its way back.
AFTER_A_CUT = {"activate": 3, "after activate": 3, "verify": 3, "commit": 0, "after commit": 0}


@pytest.mark.parametrize("step", [*STATES, "after activate", "after commit"])
def test_link_gone(step, make_lab, aftermath):
    lab = make_lab(link=True)
    lab.be_impatient()
    controller = stopped(lab, step, *deploying("v2"))
    lab.link.down()
    controller.go()
    answer = controller.finish()
    lab.wait_for_the_host()
    lab.link.up()
    done = step in DONE
    aftermath(
        lab,
        answer,
        "link gone for good",
        step,
        code=0 if done else 5,
        status="deployed" if done else "unreachable",
        ends="v2" if done else "v1",
        left=step in HELD,
    )


@pytest.mark.parametrize("step", [*STATES[1:], "after activate", "after commit"])
def test_link_cut_for_a_moment(step, make_lab, aftermath):
    lab = make_lab(link=True, revert_after=10)
    controller = stopped(lab, step, *deploying("v2"))
    lab.link.cut()
    controller.go()
    code = AFTER_A_CUT.get(step, 5)
    aftermath(
        lab,
        controller.finish(),
        "link cut for a moment",
        step,
        code=code,
        ends="v1" if code else "v2",
    )


@pytest.mark.parametrize("step", ["revert", "after revert", "verify 2"])
def test_link_cut_for_a_moment_while_a_bad_version_is_undone(step, make_lab, aftermath):
    lab = make_lab(link=True, revert_after=10)
    controller = stopped(lab, step, *deploying("bad"))
    lab.link.cut()
    controller.go()
    fault = "link cut for a moment, bad version"
    aftermath(lab, controller.finish(), fault, step, code=3, status="rolled_back", ends="v1")


@pytest.mark.parametrize("step", ["revert", "after revert", "verify 2"])
def test_link_gone_while_a_bad_version_is_undone(step, make_lab, aftermath):
    lab = make_lab(link=True)
    lab.be_impatient()
    controller = stopped(lab, step, *deploying("bad"))
    lab.link.down()
    controller.go()
    answer = controller.finish()
    lab.wait_for_the_host()
    lab.link.up()
    fault = "link gone for good, bad version"
    aftermath(lab, answer, fault, step, code=5, ends="v1", left=step != "revert")


@pytest.mark.parametrize("percent", range(5, 100, 10))
def test_link_cut_in_the_transfer(percent, make_lab, aftermath):
    lab = make_lab(link=True)
    controller = stopped(lab, "stage", *deploying("large"))
    lab.link.after = lab.link.passed + LARGE * percent // 100
    controller.go()
    answer = controller.finish()
    assert lab.link.happened.is_set()
    arrived = sum(path.stat().st_size for path in lab.root.glob("store/sha256/*/*.part"))
    again = lab.deploy("large")
    assert again.code == 0, again.stderr
    assert again.hosts[lab.host.name]["bytes_sent"] <= LARGE + 1000 - arrived
    lab.before = len(lab.audit())
    step = f"stage, {percent} %"
    aftermath(lab, answer, "link cut in the transfer", step, code=5, ends="large")


@pytest.mark.parametrize("step", ["facts", "verify"])
def test_link_swallows_everything(step, make_lab, aftermath):
    lab = make_lab(link=True)
    lab.be_impatient()
    controller = stopped(lab, step, *deploying("v2"))
    lab.link.stall()
    controller.go()
    answer = controller.finish()
    lab.wait_for_the_host()
    lab.link.cut()
    lab.link.heal()
    fault = "link swallows everything"
    aftermath(lab, answer, fault, step, code=5, status="unreachable", ends="v1", left=step in HELD)


@pytest.mark.parametrize("step", ["stage", "activate", "commit"])
def test_what_the_link_held_up_arrives_late(step, make_lab, aftermath):
    """A command that comes when somebody else has the host already changes nothing."""
    lab = make_lab(link=True)
    other = lab.other_project()
    lab.be_impatient()
    controller = stopped(lab, step, *deploying("v2"))
    lab.link.stall()
    controller.go()
    answer = controller.finish()
    lab.wait_for_the_host()
    second = lab.run(*deploying("v3"), project=other)
    assert second.code == 0, second.document
    before = lab.audit()
    lab.link.heal()
    wait_until(lambda: not lab.host.processes(), "what was held up has arrived and was done")
    assert lab.audit() == before
    aftermath(lab, answer, "commands arrive late", step, code=5, ends="v3")


def test_link_slow_and_far(make_lab, aftermath):
    lab = make_lab(link=True)
    lab.link.bytes_per_second = 1_000_000
    lab.link.latency = 0.03
    answer = lab.deploy("large")
    fault = "link of 1 MB/s, 30 ms each way"
    aftermath(lab, answer, fault, "whole run", code=0, ends="large")


@pytest.mark.parametrize("step", ["stage", "verify", "commit"])
def test_sshd_killed_and_back(step, make_lab, aftermath):
    lab = make_lab(revert_after=10)
    controller = stopped(lab, step, *deploying("v2"))
    lab.host.restart()
    controller.go()
    code = AFTER_A_CUT.get(step, 5)
    aftermath(
        lab,
        controller.finish(),
        "sshd killed and back",
        step,
        code=code,
        ends="v1" if code else "v2",
    )


@pytest.mark.parametrize("step", ["stage", "verify", "commit"])
def test_host_loses_power_and_is_back(step, make_lab, aftermath):
    lab = make_lab(revert_after=10)
    controller = stopped(lab, step, *deploying("v2"))
    lab.power_off()
    lab.host.start()
    controller.go()
    code = AFTER_A_CUT.get(step, 5)
    aftermath(
        lab,
        controller.finish(),
        "host loses power and is back",
        step,
        code=code,
        ends="v1" if code else "v2",
    )
