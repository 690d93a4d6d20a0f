"""What the cases share: a host with a first release, and what must hold when a fault is over."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.proxy import Cut
from tests.rollout.faults.fault_checks import check_history, check_host, check_quiet
from tests.rollout.faults.fault_lab import Lab, make_project, mount
from tests.rollout.faults.fault_table import PROPERTY, Row
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.controller import Answer
    from tests.project import FleetProject


@pytest.fixture(scope="session")
def seed(tmp_path_factory) -> FleetProject:
    return make_project(tmp_path_factory.mktemp("faults"))


@pytest.fixture
def make_lab(tmp_path, seed, sshd_fleet) -> Iterator[Callable[..., Lab]]:
    """`make_lab(active="v1", link=False, environment={}, **settings)`: see Lab.set.

    The host has that version, or none.
    """
    with contextlib.ExitStack() as stack:

        def make(active: str | None = "v1", *, link=False, environment=None, **settings) -> Lab:
            fleet = sshd_fleet(1, environment=environment or {})
            lab = Lab.make(tmp_path, fleet, seed, settings, Cut if link else None)
            if lab.link:
                stack.enter_context(lab.link)
            stack.callback(lab.power_off)
            if active:
                lab.begin_with(active)
            return lab

        yield make


@pytest.fixture
def small_disk(make_lab) -> Iterator[Lab]:
    """A host whose root is a file system of its own, of 48 MB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    lab = make_lab(None)
    lab.root.mkdir()
    mounted = mount("-t", "tmpfs", "-o", "size=48m,nr_inodes=4000", "tmpfs", str(lab.root))
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr}")
    try:
        lab.begin_with("v1")
        wait_until(lambda: not lab.processes(), "the timer ends")
        yield lab
    finally:
        lab.power_off()
        subprocess.run(["umount", "-l", str(lab.root)], check=True)


@pytest.fixture
def aftermath(record_property) -> Callable[..., None]:
    """`aftermath(lab, answer, fault, step, ...)`: what must hold from then on, and a table's row.

    `code` and `status` are the answer that is right, `ends` the version that the host is on before
    anybody comes back to it, "none" for none. `left` says that the next command finds a lock: only
    where nothing was switched, which the host cannot tell from a controller that takes its time.
    With `resume` the run was cut off, and `orchestrate resume` settles it before the next deploy.
    """

    def check(
        lab: Lab,
        answer: Answer,
        fault: str,
        step: str,
        *,
        code: int,
        ends: str,
        status: str | None = None,
        left: bool = False,
        resume: bool = False,
    ) -> None:
        lab.wait_for_the_host()
        if not left:
            with contextlib.suppress(AssertionError):
                wait_until(lambda: not lab.locked(), "the lock goes", seconds=5)
        lock = "left" if lab.locked() else "gone"
        said = status_of(lab, answer)
        row = Row(fault, step, str(answer.code), said, lab.version, how(lab), lock)
        record_property(PROPERTY, dataclasses.astuple(row))

        assert answer.code == code, answer.document or answer.stderr
        assert status is None or said.split()[0] == status
        assert lab.version == ends
        assert lab.locked() == left
        check_host(lab)
        if resume:
            resumed = lab.run("resume")
            assert resumed.code in {0, 3}, resumed.stderr
            check_host(lab)
            check_quiet(lab)
        if resume or said.split()[0] in TOLD:
            check_history(lab)
        next_deploy(lab)

    return check


# Statuses of hosts that the controller had the last word of.
TOLD = {"deployed", "rolled_back", "failed"}


def next_deploy(lab: Lab) -> None:
    """Nothing is in the way of the next deploy, and nothing of the last run is left after it."""
    working = lab.work()
    lab.set(revert_after=30)
    answer = lab.deploy("v3")
    assert answer.code == 0, answer.stderr
    assert lab.version == "v3"
    check_host(lab)
    check_quiet(lab)
    check_history(lab)
    left = working.keys() & lab.work().keys()
    assert not left, f"of {working} these have not ended: {left}"


def status_of(lab: Lab, answer: Answer) -> str:
    """The host's status and error in the command's document."""
    if not answer.document:
        return "-"
    if "hosts" not in answer.document:
        return str(answer.document["error"]["code"])
    host = answer.document["hosts"][lab.host.name]
    code = (host["error"] or {}).get("code", "")
    return f"{host['status']} ({code})" if code else str(host["status"])


def how(lab: Lab) -> str:
    """How the host came to where it is, by its own audit log."""
    since = lab.audit()[lab.before :]
    words = [
        f"{line['what']} {'by itself' if line.get('by') == 'host' else ''}".strip()
        for line in since
    ]
    return ", ".join(words) or "never left it"
