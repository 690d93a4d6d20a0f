"""`orchestrate compare` and `orchestrate checklist` in a fleet project with a past."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from orchestrator.cli import root
from orchestrator.errors import ModelError, UsageError
from orchestrator.events import HostFinished, RunFinished, RunStarted
from orchestrator.fleet.project import Project
from orchestrator.history import open_history
from orchestrator.history.records import BenchmarkKey
from orchestrator.models.catalog import Catalog, NewArtifact
from orchestrator.pipeline import onnx_graph
from orchestrator.pipeline.katago import reader
from orchestrator.pipeline.katago.network import Shape
from tests.history.test_history import outcome, publish, run_of
from tests.katago_engine import TUNER, VERSION
from tests.pipeline.built import MACHINE, built
from tests.project import FleetProject

REF = "go@v1"
NINE = {"board": "9x9", "masked": False, "optimism": 0.0, "softplus": True}
PI4, PI5 = (BenchmarkKey(c, "go", "onnx", "int8", "onnxruntime") for c in ("rpi4", "rpi5"))


@pytest.fixture(scope="module")
def net(tiny, tmp_path_factory):
    """The net itself, and the same for 9x9 in ONNX."""
    path = tmp_path_factory.mktemp("onnx") / "net-fp32.onnx"
    onnx_graph.write(reader.read(tiny), path, Shape(9, 9, masked=False))
    return tiny, path


@pytest.fixture
def project(tmp_path, net):
    """Two Pis that want a version, of a net, an ONNX and an INT8; nothing was deployed yet."""
    wants = {"orchestrate_model": REF}
    made = FleetProject(tmp_path / "fleet", {"all": {"hosts": {"pi-1": wants, "pi-2": wants}}})
    made.settings["profiles"] = {
        "pi": {
            "artifacts": [{"format": "onnx", "precision": "int8"}, {"format": "onnx"}],
            "config": "rpi.cfg.j2",
            "engine": {"kind": "onnxruntime"},
        }
    }
    made.write_settings()
    catalog = Catalog(made.root / "artifacts")
    source, file = net
    catalog.add(REF, NewArtifact(str(source)))
    options = {"options": NINE}
    full = built("onnx fp32", 1e-4)
    catalog.add(
        REF,
        NewArtifact(str(file), accuracy=full.accuracy, measured=MACHINE, provenance=options),
    )
    small = tmp_path / "net-int8.onnx"
    onnx_graph.write(reader.read(source), small, Shape(9, 9, masked=False, optimism=0.5))
    int8 = built("onnx int8", 2.5, speed=22.0)
    catalog.add(
        REF,
        NewArtifact(
            str(small),
            precision="int8",
            accuracy=int8.accuracy,
            measured=int8.measured,
            provenance={**int8.provenance, **options},
        ),
    )
    return made


@pytest.fixture
def orchestrate(project):
    def run(*words, width=200):
        arguments = ["--project", str(project.root), *words]
        result = CliRunner(env={"COLUMNS": str(width)}).invoke(
            root, arguments, standalone_mode=False
        )
        if result.exception:
            raise result.exception
        return result

    return run


def past(project, *events):
    with open_history(Project(project.root).history_url, pytest.fail) as history:
        publish(history, *events)


def test_a_table_of_what_each_costs_and_loses(orchestrate):
    lines = [line.split() for line in orchestrate("compare", REF).stdout.splitlines()]
    rows = {" ".join(line[:2]): line[2:] for line in lines if line[1:2] in (["fp32"], ["int8"])}
    assert rows["katago fp32"][-1] == "–"
    assert rows["onnx int8"][2:4] == ["1.00", "22"]
    assert rows["onnx fp32"][2:6] == ["1.00", "–", "–", "≈"], "its speed is not known"
    assert "5 % ! 2.5 ! 2.5 !" in " ".join(rows["onnx int8"])
    assert "fail winrate p99 5 %, 2 % allowed" in " ".join(rows["onnx int8"])
    said = "\n".join(" ".join(line) for line in lines)
    assert "×: times that of onnx fp32" in said
    assert "99th percentile against net.bin.gz in FP32 by NumPy" in said
    assert "speed: AMD EPYC 7763, 2 cores, 2 threads, batch of 1, onnxruntime 1.31.1" in said


def test_more_words_tell_the_largest_as_well(orchestrate):
    assert "5 % / 12.5 % !" in orchestrate("-v", "compare", REF, width=260).stdout


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
def test_a_narrow_terminal_has_fewer_columns_and_whole_cells(orchestrate, width):
    lines = orchestrate("compare", REF, width=width).stdout.splitlines()
    (row,) = (line for line in lines if line.startswith("onnx int8  "))
    assert max(map(len, lines)) <= width
    assert "…" not in "".join(lines)
    assert row.split()[-1] == "fail"
    assert any(line.startswith("no room for ") for line in lines)
    if width >= 80:
        assert "5 % !" in row or "2.5 !" in row


def test_a_version_that_is_yanked_says_so(orchestrate):
    orchestrate("models", "yank", REF, "--reason", "loses ladders")
    assert "yanked: loses ladders" in orchestrate("compare", REF).stdout
    assert "go@v1  yanked: loses ladders" in orchestrate("checklist", REF).stdout


def test_programs_get_everything(project, tmp_path):
    figure = tmp_path / "figure.svg"
    answer = project.run("compare", REF, "--plot", str(figure))
    assert (answer.code, answer.stderr) == (0, "")
    kinds = [entry["artifact"] for entry in answer.document["artifacts"]]
    assert kinds == ["katago fp32", "onnx fp32", "onnx int8"]
    int8 = answer.document["artifacts"][2]
    assert int8["sha256"] != answer.document["artifacts"][1]["sha256"]
    assert (int8["gate"], int8["evals_per_s"]) == ("fail", 22)
    assert int8["errors"]["winrate"] == {"p99": 0.05, "max": 0.125}
    assert int8["shares_of_limits"]["lead"] == 2.5
    assert answer.document["plot"] == str(figure)
    assert figure.read_text("utf-8").startswith("<?xml")


def test_what_this_machine_can_run_is_measured_now(orchestrate):
    document = json.loads(orchestrate("--json", "compare", REF, "--measure").stdout)
    katago, full, _ = document["artifacts"]
    assert katago["evals_per_s"] is None
    assert full["evals_per_s"] > 1
    assert full["peak_rss_mb"] > 1
    assert full["speed_ratio"] == 1
    assert list(document["not_measured"]) == ["katago fp32"]


def test_a_katago_on_this_machine_measures_its_nets(orchestrate, katago):
    words = ("--measure", "--katago", str(katago), "--set", f"openclTunerFile={TUNER}")
    document = json.loads(orchestrate("--json", "compare", REF, *words).stdout)
    net, full, _ = document["artifacts"]
    assert document["not_measured"] == {}
    assert net["evals_per_s"] > 1
    assert net["peak_rss_mb"] > 10
    assert net["measured_on"].endswith(f"KataGo {VERSION}")
    assert net["speed_ratio"] == pytest.approx(net["evals_per_s"] / full["evals_per_s"])


def test_what_cannot_be_measured_is_told(orchestrate, project, tmp_path):
    document = json.loads(orchestrate("--json", "compare", REF).stdout)
    for entry in document["artifacts"][1:]:
        digest = entry["sha256"]
        path = project.root / "artifacts" / "store" / "sha256" / digest[:2] / digest
        path.chmod(0o600)
        path.write_bytes(b"no net")
    program = tmp_path / "katago"
    program.write_text("#!/bin/sh\necho no such GPU >&2\nexit 1\n")
    program.chmod(0o755)
    words = ("--measure", "--katago", str(program))
    text = orchestrate("compare", REF, *words, width=1000).stdout
    assert f"katago fp32: {program} does not start: exit 1: no such GPU" in text
    assert "not measured now: onnx fp32: " in text
    assert "is damaged" in text


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["compare", "go@v2"], ModelError, "go has no version v2"),
        (["compare", REF, "--plot", "x.pdf"], UsageError, "a figure is written as"),
        (["compare", REF, "--set", "a=b"], click.UsageError, "go with --measure"),
        (["checklist", "go@v2"], ModelError, "go has no version v2"),
    ],
)
def test_bad_input(orchestrate, words, error, message):
    with pytest.raises(error, match=message):
        orchestrate(*words)


def checklist(orchestrate, *words):
    document = json.loads(orchestrate("--json", "checklist", REF, *words).stdout)
    return document, [answer["answer"] for answer in document["answers"]]


def test_before_anything_was_deployed(orchestrate):
    document, answers = checklist(orchestrate)
    assert answers == ["partly", "yes", "yes", "partly", "partly", "partly", "no"]
    assert document["hosts"]["pi-1"]["wants"] is True
    speed, deployed = document["answers"][4], document["answers"][6]
    assert speed["evidence"][1] == "where it was built: onnx int8 22 evals/s"
    assert deployed["evidence"] == ["wanted, not there: pi-1, pi-2"]
    assert deployed["next"] == "orchestrate deploy --limit pi-1,pi-2"


def test_after_a_deploy(orchestrate, project):
    metrics = {"evals_per_s": 4.25, "peak_rss_mb": 93.0}
    passed = {"verdict": "pass", "reason": "", "metrics": metrics}
    there = outcome(key=PI4, active=REF) | {"verify": passed}
    past(project, run_of("r1", ("pi-1", there), ("pi-2", there), time=1e9))
    document, answers = checklist(orchestrate)
    assert answers == ["yes", "yes", "yes", "partly", "yes", "yes", "yes"]
    evidence = [answer["evidence"] for answer in document["answers"]]
    assert evidence[0][1] == "onnx int8 runs on pi-1, pi-2"
    assert evidence[4] == ["rpi4: onnx int8 4.25 evals/s on pi-1, pi-2, 2001-09-09 01:46 UTC"]
    assert evidence[5] == ["rpi4: onnx int8 93 MiB at most on pi-1, pi-2, 2001-09-09 01:46 UTC"]
    assert evidence[6] == ["onnx int8, verified 2001-09-09 01:46 UTC: pi-1, pi-2"]


def test_a_host_that_went_back_does_not_have_it(orchestrate, project):
    bad = outcome("rolled_back", verdict="fail", key=PI5, active="go@v0")
    past(project, run_of("r1", ("pi-1", outcome(key=PI4)), ("pi-2", bad)))
    document, answers = checklist(orchestrate)
    assert (answers[4], answers[6]) == ("partly", "partly")
    assert document["hosts"]["pi-1"]["has"] == "onnx int8"
    assert document["hosts"]["pi-2"]["has"] == ""
    assert "rpi5: not measured" in document["answers"][4]["evidence"]
    assert document["answers"][6]["next"] == "orchestrate deploy --limit pi-2"


def test_a_host_that_failed_since_is_not_verified(orchestrate, project):
    failing = outcome("verified", verdict="fail", active=REF)
    past(
        project,
        run_of("r1", ("pi-1", outcome()), ("pi-2", outcome())),
        run_of("r2", ("pi-2", failing), time=2000.0),
    )
    document, answers = checklist(orchestrate)
    assert answers[6] == "partly"
    assert document["answers"][6]["evidence"][1] == "not verified there: pi-2"


def test_a_host_that_was_away_is_waited_for(orchestrate, project):
    away = outcome("unreachable") | {"verify": None, "release": None}
    start = RunStarted(
        run="r1",
        time=1000.0,
        command="deploy",
        hosts=("pi-1", "pi-2"),
        user="me",
        request={"wanted": {"pi-1": REF, "pi-2": REF}},
    )
    past(
        project,
        [
            start,
            HostFinished(run="r1", time=1001.0, host="pi-1", outcome=outcome()),
            HostFinished(run="r1", time=1001.0, host="pi-2", outcome=away),
            RunFinished(run="r1", time=1002.0, outcome="deployed", exit_code=5),
        ],
    )
    document, _ = checklist(orchestrate)
    assert document["hosts"]["pi-2"]["waits"] is True
    assert document["answers"][6]["next"] == "orchestrate reconcile"


def test_strict(orchestrate, project):
    assert orchestrate("checklist", REF).return_value == 0
    assert orchestrate("checklist", REF, "--strict").return_value == 3
    past(project, run_of("r1", ("pi-1", outcome())))
    assert orchestrate("checklist", REF, "--strict").return_value == 0


def test_checklist_on_a_terminal_of_no_width(orchestrate):
    assert "Is a precision chosen?" in orchestrate("checklist", REF, width=0).stdout


def test_people_read_questions_answers_and_what_to_do(orchestrate):
    lines = orchestrate("checklist", REF, width=60).stdout.splitlines()
    assert lines[1] == "1  partly  Is a precision chosen?"
    assert f"           next: orchestrate plan --model {REF}" in lines
    commands = [line for line in lines if "next: " in line]
    assert all(line.lstrip().startswith("next: orchestrate ") for line in commands)
    assert not [line for line in lines if line != line.rstrip()]


def test_a_history_that_cannot_be_read_is_a_warning(orchestrate, project):
    (project.root / ".orchestrate").mkdir(exist_ok=True)
    (project.root / ".orchestrate" / "history.db").write_text("no database " * 100)
    result = orchestrate("checklist", REF)
    assert "warning: the history cannot be opened" in result.stderr
    assert "7  no " in result.stdout
