"""What `plan`, `explain` and `deploy` say and ask of Docker hosts."""

from __future__ import annotations

import hashlib
import io
import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from orchestrator.cli import plan, root
from orchestrator.fleet.profile import DockerSpec
from orchestrator.models.catalog import Catalog
from orchestrator.planning.plan import plan_host
from orchestrator.rollout.fleet_run import FleetRun
from tests.cli.test_explain import NET, project  # noqa: F401 - a fixture
from tests.planning.docker_hosts import docker_inputs
from tests.planning.plans import on_host


@pytest.fixture
def allowed(monkeypatch):
    """Whether tags are allowed in each run that begins."""
    seen = []
    survey = FleetRun.survey

    def noted(run, *arguments):
        seen.append(run.allow_tag)
        return survey(run, *arguments)

    monkeypatch.setattr(FleetRun, "survey", noted)
    return seen


COMMANDS = [["plan"], ["explain", "here"], ["deploy", "--check"], ["deploy", "--yes"]]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_tags_are_taken_only_where_that_is_allowed(words, project, allowed):  # noqa: F811
    runner = CliRunner()
    runner.invoke(root, ["--project", str(project), *words])
    runner.invoke(root, ["--project", str(project), *words, "--allow-tag"])
    assert allowed == [False, True]


def test_a_resumed_deploy_takes_tags_as_its_run_did(project, allowed):  # noqa: F811
    def run(*words):
        return CliRunner().invoke(root, ["--project", str(project), "--json", "deploy", *words])

    net = Catalog(project / "artifacts").store.path(hashlib.sha256(NET).hexdigest())
    net.parent.mkdir(parents=True)
    net.write_bytes(NET)
    first = run("--yes", "--allow-tag")
    assert json.loads(first.stdout)["hosts"]["here"]["status"] == "failed", first.output
    again = run("--resume", "last", "--yes")
    assert allowed == [True, True], again.output
    refused = CliRunner().invoke(
        root, ["--project", str(project), "deploy", "--resume", "last", "--allow-tag"]
    )
    assert "--allow-tag" in str(refused.output) + str(refused.exception)
    assert allowed == [True, True]


def test_plan_tells_which_container_comes_first():
    before = plan_host(docker_inputs()).release
    changed = docker_inputs(DockerSpec(strategy="recreate"), present=on_host(before))
    text = io.StringIO()
    plan.show(Console(file=text, width=300), [plan_host(changed)])
    told = "docker changes; the old container is stopped first (recreate): the profile says so"
    assert told in text.getvalue()
    document = plan.document([plan_host(changed)], {}, ())
    assert json.loads(json.dumps(document))["hosts"]["pi-1"]["strategy"] == "recreate"
