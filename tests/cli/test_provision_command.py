"""`orchestrate provision`: what it refuses before anything is touched, and what it prints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.cli import provision_summary
from orchestrator.cli.common import Context
from orchestrator.errors import ProvisionError, UnreachableError
from orchestrator.planning.readiness import Lack, Readiness
from orchestrator.provision.outcome import (
    Change,
    ProvisionOutcome,
    ProvisionResult,
    Status,
    refused,
)
from tests.project import FleetProject

DOCKER = {
    "ansible_connection": "docker",
    "orchestrate_docker_host": "unix:///nowhere.sock",
    "orchestrate_image": "sha256:" + "0" * 64,
}
# Nobody listens there: whoever was asked after all would answer with exit 5.
NOWHERE = {"ansible_host": "127.0.0.1", "ansible_port": 1}


@pytest.fixture
def project(tmp_path):
    hosts = {
        "pi-1": {**NOWHERE, "ansible_user": "orchestrate"},
        "pi-2": NOWHERE,
        "box-1": DOCKER,
    }
    return FleetProject(tmp_path / "fleet", {"all": {"hosts": hosts}})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--purge"], "--purge goes with --remove"),
        (["--tags", "bas"], "the playbook has no tag 'bas'"),
        (["--limit", "pi-9"], "pi-9"),
        (["--limit", "box-1"], "box-1: a Docker host gets its engine by its image"),
        (["--limit", "pi-2", "--user", "pi"], "pi-2: --user pi is for this time"),
        (["--remove", "--purge", "--limit", "pi-1"], "there is no terminal to ask on"),
        (["--limit", "pi-1", "-K"], "--ask-become-pass got no password"),
    ],
)
def test_bad_input_touches_nothing(project, words, said):
    answer = project.run("provision", *words)
    assert answer.code == 2, answer.stderr
    assert said in answer.document["error"]["message"]
    assert not (project.root / ".orchestrate" / "provision").exists()


def test_a_hint_for_a_mistyped_tag(project):
    answer = project.run("provision", "--tags", "onnxruntim")
    assert answer.document["error"]["hint"] == "Did you mean 'onnxruntime'?"


def test_docker_hosts_are_left_alone_and_hosts_that_do_not_answer_exit_5(project):
    answer = project.run("provision", "--limit", "pi-1,box-1")
    assert answer.code == 5
    assert list(answer.document["hosts"]) == ["pi-1"]
    assert answer.document["hosts"]["pi-1"]["status"] == "unreachable"
    assert "Left alone, Docker hosts: box-1" in answer.stderr
    history = project.run("history").document["runs"]
    assert [(run["command"], run["exit_code"]) for run in history] == [("provision", 5)]


def test_a_prediction_is_not_recorded(project):
    assert project.run("provision", "--limit", "pi-1", "--check").code == 5
    assert project.run("history").document["runs"] == []


def said(capsys, *hosts, **more):
    provision_summary.show(Context(), ProvisionResult("r1", hosts, **more))
    return capsys.readouterr().out


def changes(*roles, diff=""):
    return tuple(Change(role, f"Task of {role}", diff) for role in roles)


def test_the_worst_host_comes_first_and_each_has_one_line(capsys):
    text = said(
        capsys,
        ProvisionOutcome("pi-1", Status.PROVISIONED, changed=changes("base", "base", "katago")),
        ProvisionOutcome("pi-2", Status.UNCHANGED),
        refused("pi-3", UnreachableError("pi-3: no answer in time", hint="Is it on?")),
        refused("pi-4", ProvisionError("base: Install: no such package", hint="Again.")),
    )
    assert text.splitlines()[5:] == [
        "pi-4  failed       base: Install: no such package. Again.",
        "pi-3  unreachable  pi-3: no answer in time. Is it on?",
        "pi-1  provisioned  3 changes: base, katago",
        "pi-2  unchanged    nothing to change",
        "",
        "1 failed, 1 unreachable, 1 provisioned, 1 unchanged · run r1 · exit 3",
    ]


def test_what_would_change_is_listed_once_for_hosts_that_are_alike(capsys):
    predicted = [
        ProvisionOutcome(name, Status.WOULD_CHANGE, changed=changes("base", "onnxruntime"))
        for name in ("pi-1", "pi-2")
    ]
    text = said(capsys, *predicted, check=True)
    assert text.startswith(
        "would change on pi-1, pi-2:\n"
        "  base         Task of base\n"
        "  onnxruntime  Task of onnxruntime\n"
    )
    assert "pi-1  would change  2 changes: base, onnxruntime" in text


def test_diffs_are_shown_below_their_change(capsys):
    host = ProvisionOutcome("pi-1", Status.PROVISIONED, changed=changes("base", diff="-a\n+b\n"))
    assert "changed on pi-1:\n  base  Task of base\n    -a\n    +b\n" in said(capsys, host)


def test_what_was_only_predicted_is_told_so_of_a_host_that_failed(capsys):
    failed = refused("pi-1", ProvisionError("katago: Look: no source", hint="Set one."))
    host = replace(failed, changed=changes("base", diff="-a\n+b\n"))
    assert "would change on pi-1:\n  base  Task of base\n" in said(capsys, host, check=True)


def test_advice_is_told_once_and_readiness_at_the_end(capsys):
    ready = Readiness("cpu", ready=True, runs=("onnx fp32",))
    lacking = Readiness(
        "cpu",
        ready=False,
        lacks=(Lack("onnxruntime is not installed", "onnxruntime", blocking=True),),
        command="orchestrate provision --limit pi-2",
    )
    text = said(
        capsys,
        ProvisionOutcome("pi-1", Status.UNCHANGED, advice=("Set the clock.",), readiness=ready),
        ProvisionOutcome("pi-2", Status.UNCHANGED, advice=("Set the clock.",), readiness=lacking),
    )
    assert text.count("Set the clock.") == 1
    assert "pi-1, pi-2: Set the clock." in text
    assert "not ready for cpu: onnxruntime is not installed" in text
    assert "Try: orchestrate provision --limit pi-2" in text


def test_an_interrupted_run_says_so(capsys):
    text = said(capsys, ProvisionOutcome("pi-1", Status.SKIPPED), interrupted=True)
    assert text.rstrip().endswith("interrupted: 1 skipped · run r1 · exit 130")
