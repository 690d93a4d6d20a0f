"""The history, and every way to lose it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.events import (
    BatchStarted,
    EventBus,
    HostFinished,
    Progress,
    RolloutAborted,
    RunFinished,
    RunStarted,
    StateEntered,
)
from orchestrator.history import open_history, schema
from orchestrator.history.recording import insert_benchmark
from orchestrator.history.records import Benchmark, BenchmarkKey
from orchestrator.verify.baseline import from_samples

PI4 = BenchmarkKey("rpi4", "go", "onnx", "int8", "onnxruntime")


def url(path):
    return f"sqlite:///{path}"


@pytest.fixture
def warnings():
    """What the history complained of."""
    return []


@pytest.fixture
def history(tmp_path, warnings):
    """An empty history in a folder that is not there yet."""
    with open_history(
        url(tmp_path / "project" / ".orchestrate" / "history.db"), warnings.append
    ) as h:
        yield h
    assert warnings == []


def outcome(status="deployed", *, verdict="pass", speed=10.0, key=PI4, version="v1", **more):
    return {
        "status": status,
        "release": f"go-{version}-0123456789ab",
        "previous": None,
        "hardware_class": key.hardware_class,
        "artifact": {
            "model": key.model,
            "version": version,
            "format": key.format,
            "precision": key.precision,
            "sha256": "0" * 64,
        },
        "engine": key.engine,
        "verify": {
            "verdict": verdict,
            "reason": f"{speed} evals/s",
            "metrics": {"evals_per_s": speed, "load_s": 0.1},
        },
        "error": None,
        **more,
    }


def run_of(run, *hosts, time=1000.0, result="deployed", exit_code=0):
    """The events of a run; `hosts` are (name, outcome)."""
    yield RunStarted(
        run=run, time=time, command="deploy", hosts=tuple(n for n, _ in hosts), user="me@here"
    )
    for name, host_outcome in hosts:
        for step, state in enumerate(("connect", "stage", "activate", "verify")):
            yield StateEntered(run=run, time=time + step, host=name, state=state, release="go-v1")
        yield Progress(run=run, time=time + 3, host=name, what="blob", done=1, total=2)
        yield HostFinished(run=run, time=time + 4, host=name, outcome=host_outcome)
    yield RunFinished(run=run, time=time + 5, outcome=result, exit_code=exit_code)


def publish(history, *runs):
    bus = EventBus([history])
    for events in runs:
        for event in events:
            bus.publish(event)


def test_a_run_is_told_again(history):
    document = outcome()
    publish(history, run_of("r1", ("pi-1", document), ("pi-2", outcome("failed", verdict="fail"))))
    (run,) = history.runs()
    assert (run.id, run.command, run.user, run.hosts) == ("r1", "deploy", "me@here", 2)
    assert (run.started, run.finished, run.outcome, run.exit_code) == (
        1000.0,
        1005.0,
        "deployed",
        0,
    )
    detail = history.run("r1")
    assert detail.run == run
    assert [(h.host, h.status) for h in detail.hosts] == [("pi-1", "deployed"), ("pi-2", "failed")]
    assert detail.hosts[0].outcome == document
    assert [(t.host, t.state) for t in detail.transitions[3:5]] == [
        ("pi-1", "verify"),
        ("pi-2", "connect"),
    ]


def batches(run, time=1000.5):
    """The milestones of a run that was aborted after its canary."""
    yield BatchStarted(run=run, time=time, kind="canary", batch=1, batches=2, hosts=("pi-1",))
    yield RolloutAborted(run=run, time=time + 4, reason="the canary failed", not_begun=("pi-2",))


def test_what_happens_to_a_run_as_a_whole(history):
    publish(history, run_of("r1", ("pi-1", outcome())), batches("r1"), run_of("r2"))
    canary, aborted = history.run("r1").milestones
    assert (canary.event, canary.time) == ("batch_started", 1000.5)
    assert canary.document == {"kind": "canary", "batch": 1, "batches": 2, "hosts": ["pi-1"]}
    assert (aborted.event, aborted.run) == ("rollout_aborted", "r1")
    assert aborted.document == {"reason": "the canary failed", "not_begun": ["pi-2"]}
    assert history.run("r2").milestones == ()


def test_a_request_is_told_with_the_hosts(history):
    asked = {"model": "go@v2", "allow_inexact": False}
    started = RunStarted(
        run="r1", time=1.0, command="deploy", hosts=("a", "b"), user="me", request=asked
    )
    publish(history, [started])
    assert history.runs()[0].request == {"hosts": ["a", "b"], **asked}


def test_runs_are_newest_first_and_without_those_that_only_looked(history):
    publish(
        history,
        run_of("r1", time=1000.0),
        run_of("r3", time=3000.0, result="abandoned"),
        run_of("r2", time=2000.0),
        [RunStarted(run="r4", time=4000.0, command="deploy", hosts=("pi-1",), user="me@here")],
    )
    assert [run.id for run in history.runs()] == ["r4", "r2", "r1"]
    assert [run.id for run in history.runs(limit=1)] == ["r4"]
    assert (history.runs()[0].finished, history.runs()[0].outcome) == (None, None)


def test_a_run_by_the_start_of_its_id(history):
    publish(history, run_of("2026-a"), run_of("2026-ab"), run_of("20%6-c"))
    assert history.run("2026-a").run.id == "2026-a"
    assert history.run("2026-ab").run.id == "2026-ab"
    assert history.run("2026") is None
    assert history.run("20%").run.id == "20%6-c"
    assert history.run("x") is None


def test_a_host_through_its_runs(history):
    publish(
        history,
        run_of("r1", ("pi-1", outcome()), ("pi-2", outcome()), time=1000.0),
        run_of("r2", ("pi-1", outcome("rolled_back", verdict="fail")), time=2000.0),
    )
    assert [(h.run, h.status) for h in history.host("pi-1")] == [
        ("r2", "rolled_back"),
        ("r1", "deployed"),
    ]
    assert history.host("pi-3") == []
    assert history.host_names() == ["pi-1", "pi-2"]


def test_benchmarks_and_the_baseline_of_what_passed(history):
    publish(
        history,
        run_of("r1", ("pi-1", outcome(speed=10.0)), ("pi-2", outcome(speed=12.0)), time=1000.0),
        run_of("r2", ("pi-1", outcome(speed=99.0, verdict="fail")), time=2000.0),
        run_of("r3", ("pi-1", outcome(speed=11.0, version="v2")), time=3000.0),
        run_of("r4", ("pi-9", outcome("unreachable", verify=None)), time=4000.0),
    )
    measured = history.benchmarks()
    assert [(b.run, b.host, b.value) for b in measured] == [
        ("r3", "pi-1", 11.0),
        ("r2", "pi-1", 99.0),
        ("r1", "pi-2", 12.0),
        ("r1", "pi-1", 10.0),
    ]
    assert (measured[0].key, measured[0].version) == (PI4, "v2")
    assert [b.run for b in history.benchmarks(host="pi-1", limit=2)] == ["r3", "r2"]
    baseline = history.baselines()[PI4]
    assert baseline == from_samples("rpi4", "evals_per_s", [10.0, 11.0, 12.0])
    assert history.baselines() == {PI4: baseline}


@pytest.mark.parametrize("field", BenchmarkKey._fields)
def test_baselines_do_not_mix(history, field):
    other = PI4._replace(**{field: "other"})
    publish(
        history, run_of("r1", ("a", outcome(speed=10.0)), ("b", outcome(speed=50.0, key=other)))
    )
    assert history.baselines()[PI4].median == 10.0
    assert history.baselines()[other].median == 50.0
    assert set(history.baselines()) == {PI4, other}


def test_there_is_no_baseline_before_anything_passed(history):
    publish(history, run_of("r1", ("pi-1", outcome(verdict="fail"))))
    assert history.baselines() == {}


def test_a_baseline_is_in_the_metric_that_was_measured_last(history):
    def measured(metric, value, time):
        values = {metric: value}
        benchmark = Benchmark("r", "h", time, PI4, "v1", "pass", "", metric, value, values)
        history._write(lambda connection: insert_benchmark(connection, benchmark))

    for number in range(3):
        measured("evals_per_s", 10.0, float(number))
    measured("visits_per_s", 80.0, 9.0)
    measured("", None, 10.0)
    assert history.baselines()[PI4] == from_samples("rpi4", "visits_per_s", [80.0])


SPEEDS = st.lists(
    st.tuples(
        st.sampled_from(["rpi4", "rpi5"]),
        st.sampled_from(["pass", "fail", "inconclusive"]),
        st.floats(0.1, 1e6),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(SPEEDS)
def test_baselines_are_those_of_the_passing_samples(tmp_path_factory, speeds):
    folder = tmp_path_factory.mktemp("history")
    said = []
    with open_history(url(folder / "h.db"), said.append) as history:
        publish(
            history,
            *(
                run_of(
                    f"r{n}",
                    ("h", outcome(verdict=v, speed=s, key=PI4._replace(hardware_class=c))),
                    time=n,
                )
                for n, (c, v, s) in enumerate(speeds)
            ),
        )
        for hardware_class in ("rpi4", "rpi5"):
            passed = [s for c, v, s in speeds if (c, v) == (hardware_class, "pass")]
            expected = from_samples(hardware_class, "evals_per_s", passed)
            assert history.baselines().get(PI4._replace(hardware_class=hardware_class)) == expected
        assert len(history.benchmarks()) == len(history.runs()) == len(speeds)
    assert said == []


def test_it_is_there_after_it_was_closed(tmp_path, warnings):
    path = tmp_path / "history.db"
    for number in (1, 2):
        with open_history(url(path), warnings.append) as history:
            publish(history, run_of(f"r{number}", ("pi-1", outcome()), time=number))
    with open_history(url(path), warnings.append) as history:
        assert [run.id for run in history.runs()] == ["r2", "r1"]
        history.close()
        history.close()
    assert warnings == []


def whole_run(history):
    """Everything a deploy does with its history; nothing may raise."""
    publish(history, run_of("r1", ("pi-1", outcome())))
    found = (history.runs(), history.run("r1"), history.host("pi-1"), history.benchmarks())
    assert history.baselines().keys() <= {PI4}
    history.close()
    return found


NOTHING = ([], None, [], [])


def test_a_damaged_file(tmp_path, warnings):
    path = tmp_path / "history.db"
    path.write_bytes(b"this is no database at all" * 100)
    assert whole_run(open_history(url(path), warnings.append)) == NOTHING
    assert warnings == ["the history cannot be opened: file is not a database"]
    assert path.read_bytes() == b"this is no database at all" * 100


def test_a_file_damaged_behind_its_first_page(tmp_path, warnings):
    path = tmp_path / "history.db"
    with open_history(url(path), warnings.append) as history:
        for number in range(20):
            publish(history, run_of(f"r{number}", ("pi-1", outcome()), time=number))
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    whole_run(open_history(url(path), warnings.append))
    assert len(warnings) == 1
    assert "malformed" in warnings[0]


def test_a_newer_schema(tmp_path, warnings):
    path = tmp_path / "history.db"
    open_history(url(path), warnings.append).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    assert whole_run(open_history(url(path), warnings.append)) == NOTHING
    assert warnings == ["the history cannot be opened: its schema is 7, this version knows 2"]


def test_an_older_schema_is_brought_forward(tmp_path, warnings, monkeypatch):
    path = tmp_path / "history.db"
    with open_history(url(path), warnings.append) as history:
        publish(history, run_of("r1", ("pi-1", outcome())))
    steps = ("ALTER TABLE runs ADD COLUMN note TEXT", "UPDATE runs SET note = 'old'")
    later = (steps, ("UPDATE runs SET note = note || '!'",))
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS + later)
    for _ in range(2):
        schema.open_database(url(path)).dispose()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT id, note FROM runs").fetchall() == [("r1", "old!")]
    assert connection.execute("PRAGMA user_version").fetchone() == (4,)
    connection.close()


def test_a_file_of_version_1_keeps_all_it_knew(tmp_path, warnings):
    path = tmp_path / "history.db"
    connection = sqlite3.connect(path)
    connection.executescript(Path(__file__).with_name("version_1.sql").read_text())
    connection.close()
    with open_history(url(path), warnings.append) as history:
        (run,) = history.runs()
        assert (run.id, run.exit_code, run.request) == ("r1", 0, None)
        detail = history.run("r1")
        assert [h.outcome for h in detail.hosts] == [outcome()]
        assert len(detail.transitions) == 4
        assert history.baselines()[PI4].median == 10.0
        publish(history, run_of("r2", ("pi-1", outcome()), time=2000.0))
        assert [run.id for run in history.runs()] == ["r2", "r1"]
        assert history.run("r2").run.request == {"hosts": ["pi-1"]}
    new = tmp_path / "new.db"
    open_history(url(new), warnings.append).close()
    assert columns(path) == columns(new)
    assert warnings == []


def columns(path):
    """Every column of every table, by name."""
    connection = sqlite3.connect(path)
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema")]
    found = {
        (table, *row[1:3])
        for table in tables
        for row in connection.execute(f"PRAGMA table_info({table})")
    }
    connection.close()
    return found


def test_a_failed_migration_changes_nothing(tmp_path, warnings, monkeypatch):
    path = tmp_path / "history.db"
    open_history(url(path), warnings.append).close()
    steps = ("ALTER TABLE runs ADD COLUMN note TEXT", "UPDATE nowhere SET x = 1")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, steps))
    assert whole_run(open_history(url(path), warnings.append)) == NOTHING
    assert warnings == ["the history cannot be opened: no such table: nowhere"]
    connection = sqlite3.connect(path)
    assert "note" not in [row[1] for row in connection.execute("PRAGMA table_info(runs)")]
    connection.close()


def test_a_folder_that_cannot_be_made(tmp_path, warnings):
    (tmp_path / ".orchestrate").write_text("a file where the folder should be")
    assert whole_run(open_history(url(tmp_path / ".orchestrate" / "h.db"), warnings.append)) == (
        NOTHING
    )
    assert len(warnings) == 1


@pytest.mark.parametrize("bad", ["", "nonsense", "nodialect:///x", "postgresql://nowhere/x"])
def test_a_url_that_leads_nowhere(warnings, bad):
    assert whole_run(open_history(bad, warnings.append)) == NOTHING
    assert len(warnings) == 1


def test_a_file_that_somebody_holds_locked(tmp_path, warnings, monkeypatch):
    monkeypatch.setattr(schema, "BUSY_MS", 50)
    path = tmp_path / "history.db"
    history = open_history(url(path), warnings.append)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert whole_run(history) == NOTHING
    holder.execute("ROLLBACK")
    holder.close()
    assert warnings == ["the history cannot be written: database is locked"]


def test_a_database_that_became_read_only(tmp_path, warnings):
    path = tmp_path / "history.db"
    open_history(url(path), warnings.append).close()
    read_only = open_history(f"sqlite:///file:{path}?mode=ro&uri=true", warnings.append)
    whole_run(read_only)
    assert len(warnings) == 1
    assert "readonly" in warnings[0]


def test_the_table_is_dropped_under_a_run(tmp_path, warnings):
    path = tmp_path / "history.db"
    history = open_history(url(path), warnings.append)
    other = sqlite3.connect(path)
    other.execute("DROP TABLE transitions")
    other.commit()
    other.close()
    assert whole_run(history) == NOTHING
    assert warnings == ["the history cannot be written: no such table: transitions"]


def test_the_file_is_removed_under_a_run(tmp_path, warnings):
    path = tmp_path / "history.db"
    history = open_history(url(path), warnings.append)
    for part in tmp_path.iterdir():
        part.unlink()
    whole_run(history)
    assert len(warnings) <= 1


def test_events_from_many_threads(history):
    bus = EventBus([history])
    names = [f"pi-{n}" for n in range(8)]

    def one(name):
        for event in run_of("r1", (name, outcome())):
            if not isinstance(event, (RunStarted, RunFinished)):
                bus.publish(event)

    threads = [threading.Thread(target=one, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(b.host for b in history.benchmarks()) == names
    assert [h.run for n in names for h in history.host(n)] == ["r1"] * len(names)


WRITER = """
import sys
from orchestrator.history import open_history
from tests.history.test_history import outcome, publish, run_of

def fail(message):
    raise SystemExit(message)

with open_history(sys.argv[1], fail) as history:
    for n in range(10):
        publish(history, run_of(f"{sys.argv[2]}-{n}", ("pi-1", outcome()), time=n))
"""


def test_processes_that_write_at_once_from_the_first_moment_on(tmp_path, warnings):
    path = tmp_path / "history.db"
    root = Path(__file__).parents[2]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url(path), name], cwd=root)
        for name in ("a", "b", "c")
    ]
    assert [writer.wait(100) for writer in writers] == [0, 0, 0]
    with open_history(url(path), warnings.append) as history:
        assert len(history.runs(limit=100)) == 30
        assert history.baselines()[PI4].samples == 30
    assert warnings == []


def test_sqlalchemy_is_imported_when_the_history_is_opened():
    program = (
        "import sys; from orchestrator import history; import orchestrator.cli.history;"
        "print([m for m in ('sqlalchemy', 'rich') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
