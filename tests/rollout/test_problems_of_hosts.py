"""All hosts' problems are told before any byte moves, and what blocks keeps a host untouched."""

from __future__ import annotations

import pytest

from tests.rollout.file_project import file_project


@pytest.fixture
def fleet(sshd_fleet, tmp_path):
    """A host that is well, one that is hot, and one whose root cannot be made."""
    zone = tmp_path / "hot" / "sys" / "class" / "thermal" / "thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("91000\n")
    fleet = sshd_fleet(0)
    fleet.add("well")
    fleet.add("hot", environment={"ORCHESTRATE_SYSROOT": str(tmp_path / "hot")})
    blocked = fleet.add("blocked")
    (blocked.folder / "file").write_text("no folder\n")
    blocked.root = str(blocked.folder / "file" / "root")
    return fleet


HOT = {
    "what": "temperature",
    "message": "the host is 91 °C",
    "hint": "A slow result would be inconclusive: let it cool, or look at its power supply.",
    "blocks": False,
}
BLOCKED = {
    "what": "permission",
    "message": "the root cannot be written",
    "hint": "Set orchestrate_root to a folder the user may write, or ansible_become: true.",
    "blocks": True,
}


def test_problems_are_told_before_anything_is_touched(fleet, tmp_path):
    project = file_project(tmp_path, fleet)
    answer = project.run("plan")
    assert answer.code == 0
    problems = {name: host["problems"] for name, host in answer.hosts.items()}
    assert problems == {"well": [], "hot": [HOT], "blocked": [BLOCKED]}
    for words in (["plan"], ["deploy", "--check"]):
        said = project.text(*words).stdout
        assert said.index("the root cannot be written") < said.index("the host is 91 °C")
        assert "1 cannot take the release: blocked; 1 with warnings only" in said
    assert not any(host.root_here.exists() for host in fleet)

    answer = project.run("deploy", "--yes")
    assert answer.code == 3
    assert answer.statuses() == {"well": "deployed", "hot": "deployed", "blocked": "failed"}
    assert "1 cannot take the release: blocked" in answer.stderr
    error = answer.hosts["blocked"]["error"]
    assert error == {
        "code": "permission",
        "message": "blocked cannot take the release: the root cannot be written",
        "hint": BLOCKED["hint"],
    }
    assert project.run("deploy", "--yes", "--limit", "!blocked").stderr.count("cannot take") == 0
