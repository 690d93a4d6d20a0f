"""`orchestrate history`."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from orchestrator.cli import root
from orchestrator.errors import UsageError
from orchestrator.events import HostFinished, RunFinished, RunStarted, StateEntered
from orchestrator.fleet.project import Project
from orchestrator.history import open_history
from orchestrator.history.records import BenchmarkKey
from orchestrator.rollout import journal
from tests.history.test_history import batches, outcome, publish, run_of

SETTINGS = """\
profiles:
  any:
    when: "true"
    artifacts: [{format: onnx}]
    config: ort.cfg.j2
    engine: {kind: onnxruntime}
"""


def fail(message):
    pytest.fail(message)


@pytest.fixture
def project(tmp_path):
    """A fleet project with a past of two runs."""
    (tmp_path / "orchestrate.yml").write_text(SETTINGS)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "ort.cfg.j2").write_text("execution_provider = cpu\n")
    error = {"code": "verify_failed", "message": "wrong answers [golden]", "hint": ""}
    with open_history(Project(tmp_path).history_url, fail) as history:
        publish(
            history,
            run_of("2026-a", ("pi-1", outcome()), ("pi-2", outcome(speed=12.0)), time=1000.0),
            run_of(
                "2026-b",
                ("pi-1", outcome("rolled_back", verdict="fail", speed=11.0, error=error)),
                time=2000.0,
                result="failed",
                exit_code=3,
            ),
            batches("2026-b", time=2000.5),
        )
    return tmp_path


@pytest.fixture
def orchestrate(project):
    """Runs `orchestrate history` and returns what it printed."""

    def run(*arguments, as_json=False):
        options = ["--json"] if as_json else []
        done = CliRunner(env={"COLUMNS": "200", "TZ": "UTC"}).invoke(
            root, ["--project", str(project), *options, "history", *arguments]
        )
        if done.exception is not None:
            raise done.exception
        return json.loads(done.stdout) if as_json else done.stdout

    return run


def test_the_runs(orchestrate):
    first, second = orchestrate().splitlines()[1:]
    assert first.split()[0] == "2026-b"
    assert "1970-01-01 00:33:20  deploy   1      failed    3     5.0 s" in first
    assert second.split()[0] == "2026-a"
    assert len(orchestrate("-n", "1").splitlines()) == 2
    document = orchestrate(as_json=True)
    assert [run["id"] for run in document["runs"]] == ["2026-b", "2026-a"]


def test_one_run(orchestrate):
    text = orchestrate("2026-b")
    assert "rolled back" in text
    assert "wrong answers [golden]" in text
    assert "3.00 s  pi-1  verify" in text
    after = [line.split()[0] for line in text.splitlines() if " s  " in line][1:]
    assert after == sorted(after, key=float)
    assert " ".join(text.split()).endswith("4.50 s aborted the canary failed; not begun: pi-2")
    assert "0.50 s        canary 1 of 2" in text
    document = orchestrate("2026-b", as_json=True)
    assert document["run"]["exit_code"] == 3
    assert document["hosts"]["pi-1"]["status"] == "rolled_back"
    assert [step["state"] for step in document["transitions"]] == [
        "connect",
        "stage",
        "activate",
        "verify",
    ]
    assert [step["event"] for step in document["milestones"]] == [
        "batch_started",
        "rollout_aborted",
    ]


def cut_off_run(run):
    """`a` was settled, `b` is in the middle, `c` was done and `d` never begun."""
    request = {"wanted": dict.fromkeys("dabc", "go@v1")}
    yield RunStarted(
        run=run, time=3000.0, command="deploy", hosts=tuple("dabc"), user="me", request=request
    )
    for second, host in enumerate("abc"):
        time = 3001.0 + second
        yield StateEntered(run=run, time=time, host=host, state="verify", release="go-v1")
    yield HostFinished(run=run, time=3005.0, host="c", outcome=outcome())


def settling_run(run, cut):
    request = {"resumes": cut}
    yield RunStarted(
        run=run, time=4000.0, command="resume", hosts=("a", "b"), user="me", request=request
    )
    yield HostFinished(run=run, time=4001.0, host="a", outcome=outcome())
    yield HostFinished(run=run, time=4002.0, host="b", outcome={"status": "unreachable"})
    yield RunFinished(run=run, time=4003.0, outcome="failed", exit_code=5)


def rest_of_run(run, cut):
    yield RunStarted(
        run=run, time=5000.0, command="deploy", hosts=("d",), user="me", request={"rest_of": cut}
    )


@pytest.mark.parametrize("closed", [False, True])
def test_a_run_that_was_cut_off(orchestrate, project, closed):
    with open_history(Project(project).history_url, fail) as history:
        publish(
            history,
            cut_off_run("2026-c"),
            settling_run("2026-d", "2026-c"),
            rest_of_run("2026-e", "2026-c"),
        )
        if closed:
            (cut,) = (each for each in journal.cut_off(history) if each.run.id == "2026-c")
            journal.end(history, cut)
    lines = [" ".join(line.split()) for line in orchestrate("2026-c").splitlines()]
    assert lines[2:4] == ["settled by run 2026-d: a", "gone on with by run 2026-e"]
    active = "go-v1-0123456789ab"
    assert lines[5:10] == [
        "host status tried active verdict",
        "d never begun",
        f"a deployed {active} pass 10.0 evals/s",
        "b unfinished go-v1 last in verify",
        f"c deployed {active} pass 10.0 evals/s",
    ]
    document = orchestrate("2026-c", as_json=True)
    assert (document["in_flight"], document["never_begun"]) == ({"b": "verify"}, ["d"])
    assert document["settled_by"] == {"a": "2026-d"}
    assert orchestrate("2026-d").splitlines()[2] == "resumes run 2026-c"
    assert orchestrate("2026-e").splitlines()[2] == "goes on with what run 2026-c left"


def test_a_run_that_touched_nothing_lists_no_hosts(orchestrate, project):
    with open_history(Project(project).history_url, fail) as history:
        publish(history, rest_of_run("2026-e", "2026-b"))
        history.on_event(RunFinished(run="2026-e", outcome="abandoned", exit_code=0))
    assert "never begun" not in orchestrate("2026-e")


def test_one_host(orchestrate):
    lines = orchestrate("--host", "pi-1").splitlines()
    assert ["2026-b" in lines[1], "2026-a" in lines[2], len(lines)] == [True, True, 3]
    document = orchestrate("--host", "pi-1", as_json=True)
    assert [run["status"] for run in document["runs"]] == ["rolled_back", "deployed"]


def test_on_a_narrow_terminal_run_ids_and_hosts_stay_whole(project):
    run, host = "20260101-120000-abcd", "jetson-orin-in-the-garage-3"
    error = {"code": "verify_failed", "message": f"{host}: wrong answers", "hint": ""}
    with open_history(Project(project).history_url, fail) as history:
        bad = outcome("rolled_back", verdict="fail", error=error) | {"tried": "kata-v2-1a2b3c4d"}
        publish(history, run_of(run, (host, bad), time=3000.0))
    for arguments in ([run], ["--host", host], [], ["--benchmarks"]):
        done = CliRunner(env={"COLUMNS": "80"}).invoke(
            root, ["--project", str(project), "history", *arguments]
        )
        assert max(map(len, done.stdout.splitlines())) <= 80
        assert (host if "--benchmarks" in arguments else run) in done.stdout
        assert "…" not in done.stdout
        if host in arguments:
            assert f"{run} {host}: wrong answers\n" in done.stdout


def test_the_benchmarks(orchestrate, project):
    text = orchestrate("--benchmarks")
    assert "go@v1  onnx int8  onnxruntime  fail     11.0 evals/s" in text
    assert "11 evals/s  ± 1.5   2" in text
    document = orchestrate("--benchmarks", "--host", "pi-2", as_json=True)
    (measured,) = document["benchmarks"]
    assert (measured["value"], measured["key"]["hardware_class"]) == (12.0, "rpi4")
    (baseline,) = document["baselines"]
    assert (baseline["median"], baseline["engine"]) == (11.0, "onnxruntime")
    with open_history(Project(project).history_url, fail) as history:
        alone = BenchmarkKey("jetson", "go", "onnx", "int8", "onnxruntime")
        publish(history, run_of("2026-c", ("jetson", outcome(key=alone)), time=3000.0))
    (line,) = (n for n in orchestrate("--benchmarks").splitlines() if n.startswith("jetson"))
    assert line.split()[-3:] == ["10", "evals/s", "1"], "one sample has no spread"


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["2027"], "no single run has an id that starts with 2027", "The latest: 2026-b, 2026-a"),
        (["2026"], "no single run has an id that starts with 2026", "The latest: 2026-b, 2026-a"),
        (["--host", "pi1"], "the history knows nothing of a host pi1", "Did you mean 'pi-1'?"),
        (["2026-a", "--host", "pi-1"], "RUN goes with neither --host nor --benchmarks", "Leave"),
    ],
)
def test_what_is_not_there(orchestrate, arguments, message, hint):
    with pytest.raises(UsageError) as caught:
        orchestrate(*arguments)
    assert caught.value.message == message
    assert caught.value.hint.startswith(hint)


def test_a_history_that_cannot_be_read_is_an_error_here(orchestrate, project):
    (project / ".orchestrate" / "history.db").write_bytes(b"no database" * 1000)
    for leftover in (project / ".orchestrate").glob("history.db-*"):
        leftover.unlink()
    with pytest.raises(UsageError, match="the history cannot be opened: file is not a database"):
        orchestrate()


def test_a_project_without_a_past(orchestrate, project):
    (project / ".orchestrate" / "history.db").unlink()
    assert orchestrate() == "No runs yet.\n"
    assert orchestrate("--benchmarks") == "No benchmarks yet.\n"
