"""What became of a host, from what Ansible told of it."""

from __future__ import annotations

import pytest

from orchestrator.provision.outcome import (
    Change,
    ProvisionOutcome,
    ProvisionResult,
    Status,
)
from orchestrator.provision.progress import Failure, Step, Told
from orchestrator.provision.request import Request
from orchestrator.provision.verdict import outcome_of

CHANGED = [Change("base", "Write the rule")]
FAILED = Failure("katago", "Fetch the engine", "wrong sha256")


@pytest.mark.parametrize(
    ("told", "request_", "code", "interrupted", "status", "exit_code"),
    [
        (Told(done=True), Request(), 0, False, "unchanged", 0),
        (Told(done=True, changed=CHANGED), Request(), 0, False, "provisioned", 0),
        (Told(done=True, changed=CHANGED), Request(check=True), 0, False, "would_change", 0),
        (Told(done=True, changed=CHANGED), Request(remove=True), 0, False, "removed", 0),
        (
            Told(done=True, changed=CHANGED),
            Request(remove=True, check=True),
            0,
            False,
            "would_change",
            0,
        ),
        (Told(done=True, failure=FAILED), Request(), 2, False, "failed", 3),
        (Told(done=True, unreachable=FAILED), Request(), 4, False, "unreachable", 5),
        (Told(), Request(), 0, False, "skipped", 0),
        (Told(), Request(), 250, False, "failed", 4),
        (Told(last=Step("pi-1", "base", "x")), Request(), 254, True, "skipped", 0),
        (Told(failure=FAILED), Request(), 254, True, "failed", 3),
    ],
)
def test_outcomes(told, request_, code, interrupted, status, exit_code):
    outcome = outcome_of("pi-1", told, request_, code=code, interrupted=interrupted)
    assert (outcome.status, outcome.exit_code) == (status, exit_code)
    assert outcome.changed == tuple(told.changed)
    assert (outcome.error is None) == (status not in {"failed", "unreachable", "skipped"})


def test_a_failure_is_one_line_with_what_to_do_next():
    told = Told(done=True, failure=FAILED)
    request = Request(user="pi", become_password="hunter2", tags=("katago",))
    error = outcome_of("pi-3", told, request, code=2, interrupted=False).error
    assert error.message == "katago: Fetch the engine: wrong sha256"
    assert error.hint == (
        "When that is mended: orchestrate provision --user pi --ask-become-pass --limit pi-3"
    )
    assert "hunter2" not in repr(request)


def test_a_login_that_may_not_become_root_is_told_how_to():
    told = Told(done=True, failure=Failure("base", "Look", "Missing sudo password"))
    error = outcome_of("pi-3", told, Request(), code=2, interrupted=False).error
    assert "--user" in error.hint
    assert "-K" in error.hint


def test_a_sudo_that_wants_a_terminal_is_told_how_to_let_it_be():
    cause = "sudo: sorry, you must have a tty to run sudo"
    told = Told(done=True, failure=Failure("base", "Make the root folder", cause))
    error = outcome_of("pi-3", told, Request(), code=2, interrupted=False).error
    assert "requiretty" in error.hint


def test_where_ansible_ended_itself_its_own_words_are_told():
    told = Told(last=Step("pi-1", "base", "Write the rule"))
    error = outcome_of(
        "pi-1", told, Request(), code=4, interrupted=False, complaint="no role base"
    ).error
    assert error.message == (
        "Ansible itself ended (status 4) before it was done with pi-1, "
        "in base: Write the rule: no role base"
    )


def test_what_was_stopped_says_where():
    told = Told(last=Step("pi-1", "base", "Write the rule"))
    error = outcome_of("pi-1", told, Request(), code=254, interrupted=True).error
    assert error.message == "stopped in base: Write the rule"


@pytest.mark.parametrize(
    ("statuses", "interrupted", "outcome", "exit_code"),
    [
        ([], False, "unchanged", 0),
        ([(Status.UNCHANGED, 0)], False, "unchanged", 0),
        ([(Status.UNCHANGED, 0), (Status.PROVISIONED, 0)], False, "provisioned", 0),
        ([(Status.REMOVED, 0)], False, "removed", 0),
        ([(Status.WOULD_CHANGE, 0)], False, "would_change", 0),
        ([(Status.PROVISIONED, 0), (Status.FAILED, 3)], False, "failed", 3),
        ([(Status.UNREACHABLE, 5), (Status.LOCKED, 6)], False, "failed", 6),
        ([(Status.FAILED, 4), (Status.FAILED, 3)], False, "failed", 4),
        ([(Status.PROVISIONED, 0)], True, "interrupted", 130),
    ],
)
def test_what_a_run_came_to(statuses, interrupted, outcome, exit_code):
    hosts = tuple(
        ProvisionOutcome(f"pi-{n}", status, exit_code=code)
        for n, (status, code) in enumerate(statuses)
    )
    result = ProvisionResult("r1", hosts, interrupted=interrupted)
    assert (result.outcome, result.exit_code) == (outcome, exit_code)
    assert list(result.as_dict()["hosts"]) == [host.host for host in hosts]
