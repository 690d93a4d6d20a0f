"""The fleet commands on this machine, reached without SSH, with an engine of the operator's own."""

import json
import os

import pytest
import yaml
from click.testing import CliRunner

from orchestrator.cli import root
from orchestrator.errors import UsageError
from orchestrator.fleet import skeleton

CHECK = """grep -q good "$MODEL" && echo '{"ok": true, "metrics": {"evals_per_s": 9.5}}'"""


class Project:
    """A fleet project with the host `here`, which is to get word@v1."""

    def __init__(self, folder):
        self.folder = folder / "fleet"
        self.root = folder / "root"
        skeleton.create(self.folder)
        profile = {
            "artifacts": [{"format": "file"}],
            "config": "own.cfg.j2",
            "engine": {"kind": "command", "run": "cat $MODEL"},
            "verify": {"command": CHECK},
        }
        settings = {"profiles": {"own": profile}}
        (self.folder / "orchestrate.yml").write_text(yaml.safe_dump(settings))
        (self.folder / "templates" / "own.cfg.j2").write_text("host = {{ host.name }}\n")
        here = {"orchestrate_root": str(self.root), "orchestrate_model": "word@v1"}
        self.write_inventory(here={"ansible_connection": "local", **here})
        for version, text in (("v1", "good one"), ("v2", "bad"), ("v3", "good three")):
            net = folder / f"{version}.dat"
            net.write_text(text + "\n")
            self.run("models", "add", f"word@{version}", str(net), "--format", "file")

    def write_inventory(self, **hosts):
        text = yaml.safe_dump({"all": {"hosts": hosts}})
        (self.folder / "inventory" / "hosts.yml").write_text(text)

    def run(self, *words, code=0, **options):
        """What a person reads, or the JSON document with --json."""
        result = CliRunner().invoke(
            root, ["--project", str(self.folder), *words], standalone_mode=False, **options
        )
        if result.exception is not None:
            raise result.exception
        assert (result.return_value or 0) == code, result.output
        return json.loads(result.stdout) if "--json" in words else result.output

    def lock(self, who="eve@elsewhere"):
        folder = self.root / "lock"
        folder.mkdir(parents=True)
        (folder / "owner.json").write_text(json.dumps({"run": "r0", "who": who}) + "\n")


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(os, "getlogin", lambda: "operator", raising=False)
    return Project(tmp_path)


def test_plan_says_what_would_change_and_touches_nothing(project):
    said = project.run("plan")
    assert "nothing is active" in said
    assert "1 of 1 host would change, 1." in said
    document = project.run("--json", "plan", "--model", "word@v3")
    assert document["exit_code"] == 0
    planned = document["hosts"]["here"]
    assert planned["action"] == "deploy"
    assert planned["artifact"]["size"] == len("good three\n") < planned["bytes_to_send"]
    assert not project.root.exists()


def test_the_plan_tells_who_goes_first(project):
    assert "Order: canary: here." in project.run("plan")
    assert project.run("--json", "plan")["order"] == [{"kind": "canary", "hosts": ["here"]}]
    told = project.run("deploy", "--check", "--canary", "none")
    assert "Order: 1 host." in told
    project.run("deploy", "--yes")
    assert "Order:" not in project.run("plan")


def test_plan_offline_needs_facts_that_were_seen(project):
    with pytest.raises(UsageError, match="no cached facts of here"):
        project.run("plan", "--offline")
    project.run("facts")
    document = project.run("--json", "plan", "--offline")
    assert document["hosts"]["here"]["action"] == "deploy"


def test_a_plan_shows_how_the_config_differs(project):
    project.run("deploy", "--yes")
    template = project.folder / "templates" / "own.cfg.j2"
    template.write_text("host = {{ host.name }}\nthreads = 2\n")
    said = project.run("plan")
    assert "config of here" in said
    assert "+threads = 2" in said
    template.write_text("host = {{ host.name }}\n")
    assert "0 of 1 host would change, 0 B to send" in project.run("plan")


def test_facts_come_from_the_cache_until_they_are_refreshed(project):
    cores = f"{os.cpu_count()}x"
    assert cores in project.run("facts")
    document = project.run("--json", "facts")
    assert document["exit_code"] == 0
    facts = document["hosts"]["here"]
    (cached,) = (project.folder / ".orchestrate" / "facts").iterdir()
    kept = json.loads(cached.read_text())
    kept["facts"]["cpu"]["cores"] = 512
    cached.write_text(json.dumps(kept))
    assert "512x" in project.run("facts")
    assert project.run("--json", "facts", "--refresh")["hosts"]["here"]["cpu"] == facts["cpu"]


def test_the_life_of_a_host_as_a_person_reads_it(project):
    assert "empty" in project.run("status")
    first = project.run("deploy", "--yes")
    assert "word@v1" in first
    assert "file fp32, own.cfg" in first
    assert "9 B sent" in first
    assert "1 deployed" in first
    assert first.rstrip().endswith("exit 0")
    assert "1 unchanged" in project.run("deploy", "--yes")

    bad = project.run("deploy", "--yes", "--model", "word@v2", code=3)
    assert "rolled back" in bad
    assert "to word@v1" in bad
    assert bad.rstrip().endswith("exit 3")
    assert "1 verified" in project.run("verify")
    assert " ok " in project.run("status")

    project.run("deploy", "--yes", "--model", "word@v3")
    drifted = project.run("--json", "status")["hosts"]["here"]
    assert (drifted["state"], drifted["active"]) == ("drift", "word@v3")
    assert "1 rolled back" in project.run("rollback", "--yes")
    assert project.run("--json", "status")["hosts"]["here"]["state"] == "ok"


def test_verify_says_that_what_is_active_fails(project):
    project.run("deploy", "--yes")
    model = project.root / "current" / "v1.dat"
    model.unlink()
    model.write_text("worn out\n")
    said = project.run("verify", code=4)
    assert "failed" in said
    assert "orchestrate rollback --limit here" in said
    assert "failing" in project.run("status")


def test_status_of_hosts_that_do_not_answer(project):
    dead = {"ansible_host": "127.0.0.1", "ansible_port": 1, "orchestrate_model": "word@v1"}
    project.write_inventory(dead=dead)
    document = project.run("--json", "status", code=5)
    assert document["exit_code"] == 5
    assert document["hosts"]["dead"]["state"] == "unreachable"
    said = project.run("status", code=5)
    assert "dead  unreachable" in said
    assert "Is the host on" in said
    assert "cannot plan" in project.run("plan", code=5)
    assert "Is the host on" in project.run("facts", code=5)


def test_a_locked_host_is_left_alone(project):
    project.lock()
    said = project.run("deploy", "--yes", code=6)
    assert "1 locked" in said
    assert "orchestrate unlock here" in said


def test_trust_adds_a_key_once_and_only_when_told_to(project, sshd_fleet, tmp_path):
    (host,) = sshd_fleet(1)
    known = tmp_path / "known" / "hosts"
    option = f"-o UserKnownHostsFile={known}"
    project.write_inventory(pi={**host.inventory_vars(), "ansible_ssh_common_args": option})
    with pytest.raises(UsageError, match="no terminal"):
        project.run("trust", "pi")
    assert not known.exists()
    said = project.run("trust", "pi", "--yes")
    assert "SHA256:" in said
    assert host.host_key.split()[1] in known.read_text()
    assert "already in" in project.run("trust", "pi")
    assert project.run("--json", "trust", "pi", "--yes") == {"trusted": []}
