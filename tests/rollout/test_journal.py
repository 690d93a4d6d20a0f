"""What a run that was cut off had begun, as the history tells it."""

from __future__ import annotations

import pytest

from orchestrator.events import EventBus, HostFinished, RunFinished, RunStarted, StateEntered
from orchestrator.history import open_history
from orchestrator.rollout import journal

V2 = "go-v2-0123456789ab"


@pytest.fixture
def history(tmp_path):
    with open_history(f"sqlite:///{tmp_path / 'h.db'}", pytest.fail) as opened:
        yield opened


def told(run, *lines, command="deploy", at=100.0, ended=None, request=None, hosts="abcd"):
    """Events: `a verify` is a state, `a =deployed` an outcome; a second lies between them."""
    yield RunStarted(
        run=run, time=at, command=command, hosts=tuple(hosts), user="me", request=request or {}
    )
    for second, line in enumerate(lines, 1):
        host, word = line.split()
        time = at + second
        if word.startswith("="):
            outcome = {"status": word[1:], "release": V2, "host_of": run}
            yield HostFinished(run=run, time=time, host=host, outcome=outcome)
        else:
            release = V2 if word in {"stage", "activate", "verify", "commit"} else None
            yield StateEntered(run=run, time=time, host=host, state=word, release=release)
    if ended is not None:
        end = at + len(lines) + 1
        yield RunFinished(run=run, time=end, outcome=ended, exit_code=0)


def publish(history, *runs):
    bus = EventBus([history])
    for events in runs:
        for event in events:
            bus.publish(event)


PLACES = [
    # what is known of host a, where it is
    (["a connect", "a facts", "a plan"], "never_begun"),
    (["a lock"], "in_flight"),
    (["a lock", "a stage", "a activate", "a verify"], "in_flight"),
    (["a lock", "a verify", "a =deployed"], "done"),
    (["a =unreachable"], "done"),
    (["a =unchanged"], "done"),
    (["a lock", "a verify", "a =deployed", "a activate"], "in_flight"),  # it was to be put back
    ([], "never_begun"),
]


@pytest.mark.parametrize(("lines", "place"), PLACES)
def test_where_a_host_was(history, lines, place):
    publish(history, told("r1", *lines))
    (cut,) = journal.cut_off(history)
    places = {"in_flight": cut.in_flight, "done": cut.done, "never_begun": cut.never_begun}
    assert [name for name, hosts in places.items() if "a" in hosts] == [place]
    assert set(cut.never_begun) == set("abcd") - ({"a"} if place != "never_begun" else set())
    assert cut.last == 100.0 + len(lines)
    if place == "in_flight":
        assert f"a {cut.in_flight['a'].state}" == lines[-1]


@pytest.mark.parametrize(
    ("later", "settled"),
    [
        (told("r2", "a lock", "a =deployed", at=200.0, ended="deployed"), True),
        (told("r2", "a lock", "a =rolled_back", at=200.0), True),
        (told("r2", "a =verified", at=200.0, command="verify", ended="verified"), True),
        (told("r2", "a =unreachable", at=200.0, ended="failed"), False),
        (told("r2", "a =locked", at=200.0, ended="failed"), False),
        (told("r2", "a =skipped", at=200.0, ended="interrupted"), False),
        (told("r2", "b =deployed", at=200.0, ended="deployed"), False),
        (told("r0", "a =deployed", at=50.0, ended="deployed"), False),
    ],
)
def test_a_later_run_settles_a_host(history, later, settled):
    publish(history, told("r1", "a lock", "a activate"), later)
    cut = next(each for each in journal.cut_off(history) if each.run.id == "r1")
    assert (set(cut.in_flight), set(cut.settled)) == ((set(), {"a"}) if settled else ({"a"}, set()))


def test_what_was_not_cut_off(history):
    publish(
        history,
        told("r1", "a lock", "a =deployed", ended="deployed"),
        told("r2", "a lock", command="verify"),
        told("r3", command="unlock"),
    )
    assert journal.cut_off(history) == []


def test_the_latest_comes_first(history):
    publish(history, told("r1", "a lock"), told("r2", "b lock", command="rollback", at=300.0))
    assert [cut.run.id for cut in journal.cut_off(history)] == ["r2", "r1"]


def test_a_resume_that_was_cut_off_belongs_to_its_run(history):
    again = {"resumes": "r1"}
    publish(
        history,
        told("r1", "a lock", "b lock"),
        told("r2", "a lock", "a =deployed", "b lock", command="resume", at=200.0, request=again),
    )
    (cut,) = journal.cut_off(history)
    assert (cut.run.id, cut.resumed_by) == ("r1", ("r2",))
    assert (set(cut.in_flight), set(cut.settled)) == ({"b"}, {"a"})


def test_the_end_of_a_run(history):
    again = {"resumes": "r1"}
    publish(
        history,
        told("r1", "a lock", "a verify", "b =failed"),
        told("r2", command="resume", at=150.0, request=again),
        told("r3", "a =rolled_back", command="resume", at=200.0, request=again, ended="failed"),
    )
    measured = len(history.benchmarks())
    (cut,) = journal.cut_off(history)
    journal.end(history, cut)
    assert journal.cut_off(history) == []
    for run in ("r1", "r2"):
        ended = history.run(run).run
        assert (ended.outcome, ended.exit_code, ended.finished) == ("interrupted", 130, 103.0)
    outcomes = {record.host: record for record in history.run("r1").hosts}
    assert {host: record.status for host, record in outcomes.items()} == {
        "a": "rolled_back",
        "b": "failed",
    }
    assert outcomes["a"].outcome["host_of"] == "r3"
    assert outcomes["a"].time == 201.0
    assert len(history.benchmarks()) == measured
    assert history.run("r2").hosts == ()


UNREACHED = [
    (["a =deployed"], False),
    (["a =unchanged"], False),
    (["a =verified"], False),
    (["a =failed"], True),
    (["a =rolled_back"], True),
    (["a =locked"], True),
    (["a =unreachable"], True),
    (["a =skipped"], True),
    (["a lock"], True),
    ([], True),
    # Settled as unchanged: at the release it was about, or not yet there.
    (["a lock", "a stage", "a activate", "a commit", "a =unchanged"], False),
    (["a lock", "a =unchanged"], True),
]


@pytest.mark.parametrize(("lines", "left"), UNREACHED)
def test_what_a_run_has_left_to_do(history, lines, left):
    publish(history, told("r1", *lines, ended="failed"))
    found = journal.left(history, history.run("r1"))
    assert found == journal.Left((*(["a"] if left else []), "b", "c", "d"), {})


V1_V2 = {"wanted": dict.fromkeys("abcd", "go@v1")}, {"wanted": dict.fromkeys("abcd", "go@v2")}
LATER = [
    # of a host that was cut off in its switch: what came later, and whether it is left or overruled
    (["r2 deploy v1 a =deployed"], "overruled"),
    (["r2 deploy v1 a =unchanged"], "overruled"),
    (["r2 deploy v1 a =rolled_back"], "overruled"),
    (["r2 deploy v1 a =unreachable"], "left"),
    (["r2 deploy v1 a =skipped"], "left"),
    (["r2 rollback - a =unreachable"], "overruled"),
    (["r2 verify - a =verified"], "left"),
    (["r2 deploy v2 a =deployed"], "there"),
    (["r2 deploy v2 a =unchanged"], "there"),
    (["r2 deploy v2 a =rolled_back"], "left"),
    (["r2 reconcile v2 a =deployed"], "there"),
    (["r2 resume r1 a =deployed"], "there"),
    (["r2 resume r1 a =unchanged"], "there"),
    (["r2 resume r1 a =rolled_back"], "left"),
    (["r2 deploy v2 a verify", "r3 resume r2 a =deployed"], "there"),
    (["r2 deploy v1 a verify", "r3 resume r2 a =deployed"], "overruled"),
    (["r2 resume r0 a =deployed"], "left"),  # of a run before
    (["r2 deploy v1 a =deployed", "r3 deploy v2 a =rolled_back"], "left"),
    (["r2 deploy v1 a =deployed", "r3 deploy v2 a =deployed"], "there"),
]


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize(("runs", "place"), LATER)
def test_what_later_runs_make_of_what_is_left(history, runs, place, closed):
    v1, v2 = V1_V2
    requests = {"v1": v1, "v2": v2, "-": {}}
    publish(
        history,
        told("r1", "a lock", "a activate", "a verify", "d =deployed", request=v2, hosts="ad"),
    )
    for number, line in enumerate(runs, 2):
        run, command, asked, host, word = line.split()
        request = requests.get(asked, {"resumes": asked})
        at = number * 100.0
        events = told(run, f"{host} {word}", at=at, command=command, request=request, ended="x")
        publish(history, events)
    if closed:
        (cut,) = (each for each in journal.cut_off(history) if each.run.id == "r1")
        journal.end(history, cut)
        if "verify - a =verified" in runs[0]:
            place = "there"  # as it says itself
    last = runs[-1].split()[0] if "resume" in runs[-1] else runs[0].split()[0]
    assert journal.left(history, history.run("r1")) == journal.Left(
        ("a",) if place == "left" else (), {"a": last} if place == "overruled" else {}
    )


def test_who_was_brought_there_is_neither_left_nor_overruled(history):
    v1, v2 = V1_V2
    publish(
        history,
        told("r1", "a =deployed", "b =failed", request=v2, hosts="ab", ended="failed"),
        told("r2", "a =deployed", at=200.0, request=v1, hosts="a", ended="deployed"),
    )
    assert journal.left(history, history.run("r1")) == journal.Left(("b",), {})


def test_a_run_of_a_version_that_named_no_hosts(history):
    publish(history, told("r1", "a lock", "b =failed"))
    history._write(lambda connection: connection.exec_driver_sql("UPDATE runs SET request = NULL"))
    (cut,) = journal.cut_off(history)
    assert (set(cut.in_flight), set(cut.done), cut.never_begun) == ({"a"}, {"b"}, ())
    assert journal.left(history, history.run("r1")).hosts == ("a", "b")
