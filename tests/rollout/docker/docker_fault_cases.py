"""A deploy that a fault meets at a step, and what must hold of its host afterwards.

Where nothing else is said the host has a version and is brought to another one. A step is one of
those that `tests/controller.py` tells of; with `recreate` a step comes between `activate` (the
switch) and the start of the new container, in which the old one's engine ends.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.rollout.docker.docker_fault_lab import Lab, at_once
from tests.rollout.faults.fault_checks import broken, check_history, check_quiet, last_verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.controller import Answer, Controller

KILLED = -signal.SIGKILL
BLUE_GREEN, RECREATE = "blue-green", "recreate"
Plan = tuple[str, str, str]  # strategy, step, version


@dataclass
class Case:
    """A deploy that stands at a step, on a host that has version `before`."""

    lab: Lab
    plan: Plan
    before: str
    command: Controller | None = None

    @classmethod
    def planned(cls, lab: Lab, plan: Plan, **settings: float) -> Case:
        """One that was not begun; for `settings` see Lab.set."""
        strategy, _, version = plan
        lab.set(strategy=strategy, **settings)
        before = lab.version
        lab.sound, lab.before = False, len(lab.audit())
        lab.want(version or ("v2" if before == "v1" else "v1"))
        return cls(lab, plan, before)

    @classmethod
    def begin(cls, lab: Lab, plan: Plan, **settings: float) -> Case:
        made = cls.planned(lab, plan, **settings)
        made.command = lab.stopped(plan[1], "deploy", "--yes")
        return made

    def finish(self) -> Answer:
        self.command.go()
        return self.command.finish()

    def __repr__(self) -> str:
        return f"{self.plan} on {self.lab}"


def begin(hosts: Callable, plans: list[Plan], **settings: float) -> list[Case]:
    """A deploy for each plan, standing at its step."""
    pairs = list(zip(hosts(len(plans)), plans, strict=True))
    return at_once(lambda pair: Case.begin(*pair, **settings), pairs)


def put_right(lab: Lab) -> None:
    """Nothing is in the way of the next commands, which leave nothing of the last run."""
    verified = lab.run("verify")
    assert verified.code == 0, verified.document or verified.stderr
    lab.set()
    if lab.wanted not in {"v1", "v2", "v3"}:
        lab.want(lab.version)
    deployed = lab.run("deploy", "--yes")
    assert deployed.code == 0, deployed.document or deployed.stderr
    checked = lab.run("status", "--check")
    assert checked.code == 0, checked.document
    assert lab.version == lab.wanted
    lab.wait_until_settled()
    check_host(lab)
    check_quiet(lab)
    check_history(lab)
    lab.sound = True


def check_host(lab: Lab) -> None:
    """The active release is complete, was verified, and is the only one that is restarted."""
    current = lab.current
    assert current is not None
    assert broken(lab.root / "releases" / current) == []
    assert last_verdict(lab.audit(), current) == "pass", f"{current} was not verified here"
    assert lab.engines() == [current]


def status_of(lab: Lab, answer: Answer) -> str:
    """The host's status and error in the command's document."""
    if not answer.document:
        return "-"
    host = answer.document["hosts"][lab.host.name]
    code = (host["error"] or {}).get("code", "")
    return f"{host['status']} ({code})" if code else str(host["status"])


def how(lab: Lab) -> str:
    """How the host came to where it is, by its own audit log."""
    since = lab.audit()[lab.before :]
    words = [f"{x['what']}{' by itself' if x.get('by') == 'host' else ''}" for x in since]
    return ", ".join(words) or "never left it"


def error_of(lab: Lab, answer: Answer) -> dict[str, str]:
    error: dict[str, str] = answer.hosts[lab.host.name]["error"]
    return error
