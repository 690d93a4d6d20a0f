"""A real KataGo in containers: judged inside them, a damaged net caught, asked through stdin."""

from __future__ import annotations

import io
import json
import tarfile

import docker.utils.socket as streams
import pytest

from orchestrator.engines.katago import golden
from tests.katago_engine import TUNER
from tests.project import FleetProject
from tests.rollout.docker_project import docker_vars

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]

POCL = "/state/pocl"
QUERY = {
    "id": "asked",
    "moves": [["B", "D4"]],
    "rules": "tromp-taylor",
    "komi": 7.5,
    "boardXSize": 9,
    "boardYSize": 9,
    "maxVisits": 2,
}


class KatagoHost:
    """A Docker host whose profile runs KataGo's analysis engine, with kata@v1 and a damaged v2."""

    def __init__(self, engine, name, image, folder):
        self.api, self.name = engine.api, name
        self.project = FleetProject(
            folder / "project",
            {
                "all": {
                    "hosts": {"go-1": docker_vars(engine.url, name, image)},
                    "vars": {"orchestrate_model": "kata@v1"},
                }
            },
        )
        self.profile = {
            **self.project.settings["profiles"]["gpu-server"],
            "when": "true",
            "vars": {"katago_opencl_tuner_file": f"/state/{TUNER.name}"},
            "verify": {"visits": 10, "min_ratio": 0.01, "timeout": 300},
            "docker": {"watch": 1, "drain": 1},
        }
        self.project.settings["profiles"] = {"gpu-server": self.profile}
        self.project.write_settings()

    def inspect(self):
        return self.api.inspect_container(self.name)

    def runs(self):
        """What tells one run of the container from any other; nothing when it does not run."""
        found = self.inspect()
        return (found["Id"], found["State"]["StartedAt"]) if found["State"]["Running"] else None

    def release(self, release):
        """The bytes of a release in the volume."""
        chunks, _ = self.api.get_archive(self.name, f"/opt/orchestrate/releases/{release}")
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            files = [each for each in archive if each.isfile()]
            return {each.name: archive.extractfile(each).read() for each in files}

    def ask(self, line, ends):
        """What the engine prints when its container's stdin is given a line, until `ends` holds."""
        wanted = {"stdin": 1, "stdout": 1, "stream": 1}
        attached = self.api.attach_socket(self.name, wanted)
        try:
            attached._sock.sendall(f"{line}\n".encode())
            heard = b""
            for stream, piece in streams.frames_iter(attached, tty=False):
                heard += piece if stream == 1 else b""
                if ends(heard):
                    return heard.decode()
        finally:
            attached._sock.close()
            attached.close()
        raise AssertionError(f"it hung up after {heard!r}")


@pytest.fixture
def tuned_image(docker_engine, docker_names, katago_image):
    """KataGo's image with what OpenCL was tuned to and has compiled: /state begins with it."""
    api = docker_engine.api
    command = ["sh", "-c", f"mkdir /state && cp -r /opt/katago/pocl {POCL}"]
    made = api.create_container(katago_image, command, name=f"{docker_names}-tuning")
    api.start(made["Id"])
    assert api.wait(made["Id"])["StatusCode"] == 0
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(TUNER, TUNER.name)
    api.put_archive(made["Id"], "/state", packed.getvalue())
    environment = f"ENV POCL_CACHE_DIR {POCL}"
    tag = f"{docker_names}-katago"
    return api.commit(made["Id"], repository=tag, changes=[environment])["Id"]


@pytest.fixture
def host(docker_engine, docker_names, tuned_image, katago, tiny, tiny_scrambled, tmp_path):
    made = KatagoHost(docker_engine, docker_names, tuned_image, tmp_path)
    answers = tmp_path / "golden.json"
    settings = {"openclTunerFile": str(TUNER)}
    answers.write_text(json.dumps(golden.record(katago, tiny, settings=settings)))
    for version, net in (("v1", tiny), ("v2", tiny_scrambled)):
        made.project.add(f"kata@{version}", net, "--golden", str(answers))
    return made


def test_katago_in_containers_from_first_deploy_to_rollback(host):
    project = host.project
    first = project.run("deploy", "--yes")
    assert first.code == 0, first.stderr + json.dumps(first.document)
    entry = first.hosts["go-1"]
    assert entry["verify"]["verdict"] == "pass"
    assert entry["verify"]["metrics"]["visits_per_s"] > 0
    assert entry["verify"]["metrics"]["golden_max_error"] < 1e-3
    v1 = entry["release"]
    content, running, container = host.release(v1), host.runs(), host.inspect()
    assert container["Config"]["Labels"]["orchestrate.version"] == "kata@v1"
    assert container["HostConfig"]["NetworkMode"] == "none"

    said = host.ask(json.dumps(QUERY), lambda heard: heard.endswith(b"\n"))
    answer = json.loads(said)
    assert (answer["id"], answer["turnNumber"]) == ("asked", 1)
    assert 0 <= answer["rootInfo"]["winrate"] <= 1

    again = project.run("deploy", "--yes")
    assert (again.code, again.document["outcome"]) == (0, "unchanged")
    assert again.hosts["go-1"]["bytes_sent"] == 0
    assert host.runs() == running

    bad = project.run("deploy", "--yes", "--model", "kata@v2")
    assert bad.code == 3
    assert bad.statuses() == {"go-1": "rolled_back"}
    assert bad.hosts["go-1"]["active"] == "kata@v1"
    assert bad.hosts["go-1"]["verify"]["metrics"]["golden_max_error"] > 0.05
    assert host.runs() == running, "it ran all along"
    assert host.release(v1) == content

    host.profile |= {"config": "cpu.cfg.j2", "engine": {"kind": "katago", "command": "gtp"}}
    project.write_settings()
    gtp = project.run("deploy", "--yes")
    assert gtp.code == 0, gtp.stderr + json.dumps(gtp.document)
    assert gtp.hosts["go-1"]["release"] != v1
    assert gtp.hosts["go-1"]["verify"]["metrics"]["golden_max_error"] < 1e-3
    assert host.ask("name", lambda heard: heard.endswith(b"\n\n")).strip() == "= KataGo"

    back = project.run("rollback", "--yes")
    assert back.code == 0, back.stderr
    assert back.hosts["go-1"]["bytes_sent"] == 0
    assert host.release(v1) == content
    assert host.inspect()["Config"]["Labels"]["orchestrate.release"] == v1
    assert host.runs()

    (status,) = project.run("status").hosts.values()
    assert (status["release"], status["active"]) == (v1, "kata@v1")
    runs = project.run("history").document["runs"]
    told = [(run["command"], run["outcome"]) for run in runs]
    assert told == [
        ("rollback", "rolled_back"),
        ("deploy", "deployed"),
        ("deploy", "failed"),
        ("deploy", "unchanged"),
        ("deploy", "deployed"),
    ]
