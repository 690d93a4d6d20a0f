"""What a deploy could not bring is wished for until the host was reached."""

from __future__ import annotations

import pytest

from orchestrator.events import HostFinished, RolloutAborted, RunFinished, RunStarted
from orchestrator.history import open_history
from orchestrator.history.records import LOST_IN_SWITCH


@pytest.fixture
def history(tmp_path):
    def refuse(problem):
        raise AssertionError(problem)

    with open_history(f"sqlite:///{tmp_path}/history.db", refuse) as opened:
        yield opened


def tell(history, run, command, outcomes, *, version="v1", aborted=False, time=1000.0, **request):
    """The events of a run that wanted net@version for all of its hosts."""
    hosts = tuple(outcomes)
    wanted = {} if command in {"rollback", "verify"} else dict.fromkeys(hosts, f"net@{version}")
    request = {"wanted": wanted, **request} if wanted else request
    history.on_event(
        RunStarted(run=run, time=time, command=command, hosts=hosts, user="me", request=request)
    )
    for host, told in outcomes.items():
        status = "unreachable" if told == LOST_IN_SWITCH else told
        error = {"code": told, "message": f"{host} {told}", "hint": ""}
        outcome = {"status": status, "error": error, "verify": None, "artifact": None}
        history.on_event(HostFinished(run=run, time=time + 1, host=host, outcome=outcome))
    if aborted:
        history.on_event(RolloutAborted(run=run, time=time + 2, reason="bad", not_begun=()))
    history.on_event(RunFinished(run=run, time=time + 3, outcome="failed", exit_code=5))


def wished(history):
    return {wish.host: wish.model for wish in history.wishes()}


def test_an_unreachable_host_is_wished_what_the_deploy_wanted(history):
    outcomes = {"a": "deployed", "b": "unreachable", "c": "failed", "d": "skipped", "e": "locked"}
    tell(history, "r1", "deploy", outcomes, allow_inexact=True)
    (wish,) = history.wishes()
    assert (wish.host, wish.model, wish.allow_inexact, wish.run) == ("b", "net@v1", True, "r1")
    assert (wish.since, wish.next_attempt, wish.attempts) == (1003.0, 1003.0, 0)
    assert wish.last_error == "b unreachable"


def test_an_aborted_rollout_wishes_nothing_and_keeps_what_was_wished(history):
    tell(history, "r1", "deploy", {"a": "unreachable", "b": "unreachable"}, aborted=True)
    assert wished(history) == {}
    tell(history, "r2", "deploy", {"a": "unreachable"}, version="v2")
    tell(history, "r3", "deploy", {"a": "unreachable"}, version="v3", aborted=True)
    assert wished(history) == {"a": "net@v2"}


def test_a_later_deploy_replaces_a_wish(history):
    tell(history, "r1", "deploy", {"a": "unreachable"}, allow_inexact=True)
    history.postpone("a", until=5000.0, error="still away")
    tell(history, "r2", "deploy", {"a": "unreachable"}, version="v2", time=2000.0)
    (wish,) = history.wishes()
    assert (wish.model, wish.run, wish.allow_inexact) == ("net@v2", "r2", False)
    assert (wish.attempts, wish.next_attempt) == (0, 2003.0)


@pytest.mark.parametrize(
    ("command", "status", "stays"),
    [
        *[("deploy", status, False) for status in ("deployed", "unchanged", "rolled_back")],
        ("deploy", "failed", False),
        ("deploy", "locked", True),
        ("deploy", "skipped", True),
        ("reconcile", "deployed", False),
        ("reconcile", "rolled_back", False),
        ("reconcile", "unreachable", True),
        ("reconcile", "skipped", True),
        # The version may be what took the host down.
        ("reconcile", LOST_IN_SWITCH, False),
        ("deploy", LOST_IN_SWITCH, False),
        ("resume", "deployed", False),
        ("rollback", "rolled_back", False),
        ("rollback", "unreachable", False),  # whoever goes back wants no newer version there
        ("verify", "verified", True),
        ("verify", "failed", True),
    ],
)
def test_what_ends_a_wish(history, command, status, stays):
    tell(history, "r1", "deploy", {"a": "unreachable", "b": "unreachable"})
    tell(history, "r2", command, {"a": status}, time=2000.0)
    assert wished(history) == ({"a": "net@v1"} if stays else {}) | {"b": "net@v1"}
    if stays:
        assert history.wishes()[0].run == "r1"


def test_a_host_that_was_reached_is_not_wished_for_though_the_run_never_ended(history):
    tell(history, "r1", "deploy", {"a": "unreachable"})
    history.on_event(RunStarted(run="r2", command="deploy", hosts=("a",), user="me"))
    outcome = {"status": "deployed", "verify": None, "artifact": None}
    history.on_event(HostFinished(run="r2", host="a", outcome=outcome))
    assert wished(history) == {}


def test_attempts_are_counted_and_wishes_forgotten(history):
    tell(history, "r1", "deploy", {"a": "unreachable", "b": "unreachable"})
    history.postpone("a", until=5000.0, error="first")
    history.postpone("a", until=6000.0, error="second")
    wish = history.wishes()[0]
    assert (wish.attempts, wish.next_attempt, wish.last_error) == (2, 6000.0, "second")
    history.forget("a")
    history.forget("a")
    assert wished(history) == {"b": "net@v1"}


def test_a_host_lost_in_its_switch_is_not_wished_for(history):
    tell(history, "r1", "deploy", {"a": LOST_IN_SWITCH, "b": "unreachable"})
    assert wished(history) == {"b": "net@v1"}
