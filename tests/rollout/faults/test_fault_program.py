"""What came with the release misbehaves: its service's commands, its benchmark."""

from __future__ import annotations

import pytest

from tests.rollout.faults.fault_checks import check_history, check_quiet
from tests.rollout.faults.fault_lab import MISBEHAVING, serving

pytestmark = pytest.mark.slow

IN_TIME = 30  # seconds that no case here comes near
HOOKS = {
    "activate fails": "exit 7",
    "activate hangs": "sleep 1000",
    "activate hangs and ignores TERM": "trap '' TERM; sleep 1000",
    "health never good": "exit 1",
    "health hangs": "sleep 1000",
}


@pytest.mark.parametrize("hook", HOOKS)
def test_service(hook, make_lab, aftermath):
    lab = make_lab(revert_after=IN_TIME, service_timeout=20 if "fails" in hook else 1)
    lab.hook(f'case "$1 $(pwd -P)" in "{hook.split()[0]} "*/m-v2-*) {HOOKS[hook]};; esac')
    answer = lab.deploy("v2")
    aftermath(lab, answer, "service", hook, code=3, status="rolled_back", ends="v1")


def test_service_of_the_way_back(make_lab, record_property):
    """The old release is active but not served: that is told as an emergency, and can be mended."""
    lab = make_lab(revert_after=IN_TIME)
    lab.hook('case "$1 $(pwd -P)" in "activate "*/m-v1-*) exit 7;; esac')
    answer = lab.deploy("bad")
    assert answer.code == 4
    assert lab.version == "v1"
    assert serving(lab) != lab.current
    lab.hook("")
    again = lab.deploy("v1")
    assert again.code == 0, again.stderr
    assert serving(lab) == lab.current
    check_quiet(lab)
    check_history(lab)


@pytest.mark.parametrize("version", MISBEHAVING)
def test_benchmark(version, make_lab, aftermath):
    lab = make_lab(revert_after=IN_TIME, timeout=1 if version in {"hangs", "ignores-term"} else 20)
    answer = lab.deploy(version)
    aftermath(lab, answer, "benchmark", version, code=3, status="rolled_back", ends="v1")


@pytest.mark.parametrize("version", ["hangs", "bad"])
def test_benchmark_of_a_first_deploy(version, make_lab, aftermath):
    lab = make_lab(None, revert_after=IN_TIME, timeout=1 if "hangs" in version else 20)
    answer = lab.deploy(version)
    fault = "benchmark, first deploy"
    aftermath(lab, answer, fault, version, code=3, status="failed", ends="none")
