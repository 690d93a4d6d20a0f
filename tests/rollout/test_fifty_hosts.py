"""Fifty hosts of seven hardware classes: a bad version, a good one, and three hosts that were away.

All are SSH servers of a lab on this machine. The six GPU servers run a real ONNX net and its smoke
benchmark; a file and a shell command stand for net and benchmark on the others, since fifty times
ONNX Runtime is more than two cores do in a minute.
"""

from __future__ import annotations

import random
import re
import stat
import time
from typing import TYPE_CHECKING

import pytest

from orchestrator.lab.layout import Layout
from tests.project import FleetProject

if TYPE_CHECKING:
    from pathlib import Path

    from tests.controller import Answer

pytestmark = pytest.mark.slow

HOSTS = "rpi:20,jetson:14,cpu:10,gpu:6"
AWAY = 3
BATCHES = ["20%", "100%"]
PASSES = """grep -q good net.bin && echo '{"ok": true, "metrics": {}}'"""
FILE_PROFILE = {
    "artifacts": [{"format": "file"}],
    "engine": {"kind": "command", "run": "true"},
    "verify": {"command": PASSES},
}


@pytest.fixture
def project(tmp_path, nets):
    """A project over the lab with net@v1, a bad net@v2 and net@v3."""
    project = FleetProject(tmp_path / "project", {})
    project.settings["rollout"] = {"batches": BATCHES}  # and by default a canary of each class
    for name, profile in project.settings["profiles"].items():
        if name == "gpu-server":
            # This machine plays all hosts at once: only what is slower by far may count as slow.
            profile["verify"]["min_ratio"] = 0.05
        else:
            profile.update(FILE_PROFILE)
    project.write_settings()
    for version, net, text in (("v1", "v1", "good"), ("v2", "bad", "bad"), ("v3", "v3", "good")):
        file = tmp_path / version / "net.bin"
        file.parent.mkdir()
        file.write_text(f"{text} {version}")
        golden = str(nets.golden("v2" if net == "bad" else net))
        project.add(f"net@{version}", nets.path(net), "--golden", golden)
        project.add(f"net@{version}", file, "--format", "file")
    try:
        answer = project.run("lab", "up", "--hosts", HOSTS)
        assert answer.code == 0, answer.stderr
        yield project
    finally:
        project.run("lab", "down")


def want(project: FleetProject, ref: str) -> None:
    """Write into the inventory what all hosts should run."""
    project.write_inventory({"all": {"children": {"lab": {"vars": {"orchestrate_model": ref}}}}})


def root(project: FleetProject, host: str) -> Path:
    return Layout(project.root).host(host) / "home" / "orchestrate"


def active(project: FleetProject, host: str) -> str:
    return (root(project, host) / "current").readlink().name.rpartition("-")[0]


def locked(project: FleetProject, hosts: list[str]) -> list[str]:
    return [host for host in hosts if (root(project, host) / "lock").exists()]


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Mode, time of the last change and content of all below; a lock that is gone shows, too."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        there = path.lstat()
        content = b""
        if stat.S_ISLNK(there.st_mode):
            content = bytes(path.readlink())
        elif stat.S_ISREG(there.st_mode):
            content = path.read_bytes()
        found[str(path.relative_to(folder))] = (there.st_mode, there.st_mtime_ns, content)
    return found


def first_of_each_class(hosts: list[str], classes: dict[str, str]) -> list[str]:
    firsts: dict[str, str] = {}
    for host in hosts:
        firsts.setdefault(classes[host], host)
    return list(firsts.values())


def having(answer: Answer, status: str) -> list[str]:
    return [host for host, found in answer.statuses().items() if found == status]


@pytest.mark.timeout(400)
def test_a_bad_version_stops_at_the_canaries_and_a_good_one_reaches_all(project):
    want(project, "net@v1")
    answer = project.run("deploy", "--yes")
    assert answer.code == 0, answer.stderr
    hosts = having(answer, "deployed")
    classes = {host: answer.hosts[host]["hardware_class"] for host in hosts}
    assert (len(hosts), len(set(classes.values()))) == (50, 7)

    chosen = random.sample(hosts, AWAY)
    away = [host for host in hosts if host in chosen]
    print("away:", *away)
    assert project.run("lab", "down", *away).code == 0
    reachable = [host for host in hosts if host not in away]
    canaries = first_of_each_class(reachable, classes)
    others = [host for host in reachable if host not in canaries]
    before = {host: everything(root(project, host)) for host in hosts}

    want(project, "net@v2")
    answer = project.run("deploy", "--yes")
    assert answer.code == answer.document["exit_code"] == 3
    assert having(answer, "rolled_back") == canaries
    assert having(answer, "unreachable") == away
    assert having(answer, "skipped") == others
    aborted = answer.document["aborted"]
    assert aborted.startswith(f"{len(canaries)} of {len(canaries)} canaries did not pass: ")
    for host in others:
        error = answer.hosts[host]["error"]
        assert (error["code"], error["message"]) == ("aborted", f"not begun: {aborted}")
    assert {(answer.hosts[host]["active"], active(project, host)) for host in canaries} == {
        ("net@v1", "net-v1")
    }
    assert project.run("reconcile", "--list").document == {"wishes": []}

    # The same for a person, who goes on as the first run advised though nothing was mended.
    shown = project.text("deploy", "--yes", "--resume", answer.document["run"])
    assert shown.returncode == 3
    *lines, empty, told, total, next_command = shown.stdout.splitlines()
    assert [re.split(r" {2,}", line)[1] for line in lines] == (
        ["rolled back"] * len(canaries) + ["unreachable"] * AWAY + ["skipped"] * len(others)
    )
    assert (empty, told) == ("", f"aborted: {aborted}")
    counts = f"{len(others)} skipped, {len(canaries)} rolled back, {AWAY} unreachable"
    again = re.fullmatch(rf"{counts} · run (\S+) · exit 3", total)
    assert again, total
    assert next_command.endswith(f": orchestrate deploy --resume {again[1]}")
    assert [h for h in (*others, *away) if everything(root(project, h)) != before[h]] == []
    assert not locked(project, hosts)

    want(project, "net@v3")
    began = time.monotonic()
    answer = project.run("deploy", "--yes")
    print(f"net@v3 on {len(reachable)} hosts: {time.monotonic() - began:.1f} s")
    assert (answer.code, answer.document["aborted"]) == (5, None), answer.stderr
    assert having(answer, "deployed") == reachable
    assert having(answer, "unreachable") == away
    steps = project.run("history", answer.document["run"]).document["milestones"]
    assert [step["document"]["hosts"] for step in steps] == [canaries, others[:10], others[10:]]

    waiting = project.run("reconcile", "--list").document["wishes"]
    assert {wish["host"]: wish["model"] for wish in waiting} == dict.fromkeys(away, "net@v3")
    assert project.run("lab", "up", *away).code == 0
    assert [host for host in away if everything(root(project, host)) != before[host]] == []
    answer = project.run("reconcile")
    assert answer.code == 0, answer.stderr
    assert answer.statuses() == dict.fromkeys(away, "deployed")
    assert project.run("reconcile", "--list").document == {"wishes": []}

    answer = project.run("status", "--check")
    assert answer.code == 0, answer.document
    found = {host: (row["state"], row["active"]) for host, row in answer.hosts.items()}
    assert found == dict.fromkeys(hosts, ("ok", "net@v3"))
    assert {active(project, host) for host in hosts} == {"net-v3"}
    assert not locked(project, hosts)
