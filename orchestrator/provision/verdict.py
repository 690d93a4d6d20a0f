"""What became of a host, from what Ansible told of it. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.errors import CommandError, OrchestrateError, ProvisionError, UnreachableError
from orchestrator.provision.outcome import ProvisionOutcome, Status, refused

if TYPE_CHECKING:
    from orchestrator.provision.progress import Told
    from orchestrator.provision.request import Request

LOOK_NOW = 4
# What Ansible and sudo say of a login that may not become root.
NO_SUDO = (
    *("Missing sudo password", "Incorrect sudo password", "sudo: a password is required"),
    *("is not in the sudoers file", "waiting for privilege escalation prompt"),
)
NO_ROOT = (
    "The login may not become root there so: name one that may with --user, or give sudo its "
    "password with -K."
)
NO_TTY = "you must have a tty to run sudo"
LET_IN = (
    "Its sudo wants a terminal, which neither Ansible nor deploys have: take requiretty out of "
    "/etc/sudoers, or add `Defaults:LOGIN !requiretty` for the login."
)


def outcome_of(
    host: str, told: Told, request: Request, *, code: int, interrupted: bool, complaint: str = ""
) -> ProvisionOutcome:
    """The host's outcome; `code` is Ansible's exit status for all hosts, `complaint` its own words.

    A host that Ansible did not come to the end with was stopped, or Ansible itself was ended, or
    the playbook is not for the host.
    """
    if code and not (told.done or told.failure or told.unreachable or interrupted):
        outcome = _left(host, told, request, f"status {code}", complaint)
    else:
        outcome = _outcome(host, told, request, interrupted=interrupted)
    return replace(outcome, changed=tuple(told.changed), advice=tuple(told.advice))


def _left(host: str, told: Told, request: Request, how: str, complaint: str) -> ProvisionOutcome:
    """The outcome of a host that Ansible left in the middle, since it ended itself."""
    where = f", in {told.last}" if told.last else ""
    why = f": {complaint}" if complaint else ""
    ended = f"Ansible itself ended ({how}) before it was done with {host}{where}{why}"
    hint = f"What was done is not done twice: {request.command(host)}"
    return refused(host, CommandError(ended, hint=hint), exit_code=LOOK_NOW)


def _outcome(host: str, told: Told, request: Request, *, interrupted: bool) -> ProvisionOutcome:
    again = request.command(host)
    if told.unreachable:
        lost = f"{host} was lost: {told.unreachable}"
        return refused(host, UnreachableError(lost, hint=f"When it is back: {again}"))
    if told.failure:
        hint = _becoming_root(told.failure.cause) or f"When that is mended: {again}"
        return refused(host, ProvisionError(str(told.failure), hint=hint))
    if told.done:
        return ProvisionOutcome(host, _status(request, changed=bool(told.changed)))
    if interrupted:
        where = f" in {told.last}" if told.last else " before the first task"
        return _skipped(host, ProvisionError(f"stopped{where}", hint=f"Go on: {again}"))
    hint = "Its `hosts:` names others."
    return _skipped(host, ProvisionError("the playbook is not for this host", hint=hint))


def _becoming_root(cause: str) -> str:
    """What lets a login become root that was refused it; empty for any other cause."""
    if NO_TTY in cause:
        return LET_IN
    return NO_ROOT if any(said in cause for said in NO_SUDO) else ""


def _status(request: Request, *, changed: bool) -> Status:
    if not changed:
        return Status.UNCHANGED
    if request.check:
        return Status.WOULD_CHANGE
    return Status.REMOVED if request.remove else Status.PROVISIONED


def _skipped(host: str, error: OrchestrateError) -> ProvisionOutcome:
    return ProvisionOutcome(host, Status.SKIPPED, error=error)
