"""ONNX Runtime in containers behind a published port: slow and wrong versions never stay."""

from __future__ import annotations

import io
import json
import tarfile
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.project import FleetProject
from tests.proxy import random_loopback_address
from tests.rollout.docker_project import docker_vars
from tests.sshd import free_port

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

# GET tells the model. POST takes golden answers and tells how far the model's own are from them.
SERVER = """
import io, json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import numpy, onnxruntime

net = onnxruntime.InferenceSession(os.environ["MODEL"], providers=["CPUExecutionProvider"])
config = open(os.environ["CONFIG"]).read()

class Handler(BaseHTTPRequestHandler):
    def do_GET(self, error=None):
        answer = {"model": os.environ["MODEL"], "config": config, "error": error}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        golden = numpy.load(io.BytesIO(body))
        given = {value.name: golden["input:" + value.name] for value in net.get_inputs()}
        wanted = [golden["output:" + value.name] for value in net.get_outputs()]
        pairs = zip(net.run(None, given), wanted)
        self.do_GET(max(float(abs(ours - theirs).max()) for ours, theirs in pairs))

ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""


@pytest.fixture
def server_image(docker_engine, docker_names, python_image):
    """The image of Python with the server in it, and with a load average of 0."""
    api = docker_engine.api
    made = api.create_container(python_image, ["true"], name=f"{docker_names}-making")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        # The machine of the tests may be too busy to judge by.
        calm = {"calm/proc/loadavg": "0.00 0.00 0.00 1/100 1\n", "server.py": SERVER}
        for path, text in calm.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    api.put_archive(made["Id"], "/", packed.getvalue())
    changes = ["ENV ORCHESTRATE_SYSROOT /calm", "ENV ORT_DISABLE_TELEMETRY 1"]
    return api.commit(made["Id"], repository=f"{docker_names}-server", changes=changes)["Id"]


@pytest.fixture
def url():
    address = random_loopback_address()
    return f"http://{address}:{free_port(address)}"


def told(url: str, golden: Path | None = None):
    """What the server behind the published port says of itself, or to golden answers."""
    data = golden.read_bytes() if golden else None
    with urllib.request.urlopen(url, data=data, timeout=20) as answer:
        return json.load(answer)


@pytest.fixture
def project(docker_engine, docker_names, server_image, nets, url, tmp_path):
    """Of one Docker host: net@v1 and v3 are good, v2 answers wrong, v9 is large and slow."""
    from tests import lab_nets as lab

    host = docker_vars(docker_engine.url, docker_names, server_image)
    inventory = {"all": {"hosts": {"net-1": host}, "vars": {"orchestrate_model": "net@v1"}}}
    project = FleetProject(tmp_path / "project", inventory)
    project.settings["profiles"]["cpu"] |= {
        "engine": {"kind": "onnxruntime", "run": "exec python3 /server.py"},
        "service": {"health": "wget -q -O /dev/null http://127.0.0.1:8080/", "timeout": 60},
        # Only what is slower by far may count as slow on a noisy machine.
        "verify": {"min_ratio": 0.05},
        "docker": {"watch": 1, "drain": 1, "ports": [f"{url.removeprefix('http://')}:8080"]},
    }
    project.write_settings()
    slow = tmp_path / "slow.onnx"
    lab.make_net(slow, seed=9, channels=96, blocks=6)
    lab.golden(slow, slow.with_suffix(".npz"))
    for version, net, golden in (
        ("v1", nets.path("v1"), nets.golden("v1")),
        ("v2", nets.path("bad"), nets.golden("v2")),
        ("v3", nets.path("v3"), nets.golden("v3")),
        ("v9", slow, slow.with_suffix(".npz")),
    ):
        project.add(f"net@{version}", net, "--golden", str(golden))
    return project


def test_a_server_of_nets_goes_forward_and_back(project, url, nets):
    first = project.run("deploy", "--yes")
    assert first.code == 0, first.stderr + json.dumps(first.document)
    entry = first.hosts["net-1"]
    assert entry["verify"]["metrics"]["evals_per_s"] > 0
    assert entry["verify"]["metrics"]["golden_max_error"] < 1e-3
    v1 = told(url, nets.golden("v1"))
    assert v1["model"] == "v1.onnx"
    assert v1["error"] < 1e-3
    assert told(url, nets.golden("v3"))["error"] > 0.05

    bad = project.run("deploy", "--yes", "--model", "net@v2")
    assert (bad.code, bad.statuses()) == (3, {"net-1": "rolled_back"})
    assert "golden error" in bad.hosts["net-1"]["error"]["message"]
    assert told(url, nets.golden("v1")) == v1

    slow = project.run("deploy", "--yes", "--model", "net@v9")
    assert (slow.code, slow.statuses()) == (3, {"net-1": "rolled_back"})
    assert slow.hosts["net-1"]["verify"]["verdict"] == "fail"
    assert "too slow" in slow.hosts["net-1"]["error"]["message"]
    assert "cpu-x86_64 baseline" in slow.hosts["net-1"]["error"]["message"]
    assert slow.hosts["net-1"]["verify"]["metrics"]["golden_max_error"] < 1e-3
    assert told(url, nets.golden("v1")) == v1

    project.settings["profiles"]["cpu"]["vars"] = {"onnxruntime_threads": 1}
    project.write_settings()
    good = project.run("deploy", "--yes", "--model", "net@v3")
    assert good.code == 0, good.stderr + json.dumps(good.document)
    v3 = told(url, nets.golden("v3"))
    assert (v3["model"], v3["error"] < 1e-3) == ("v3.onnx", True)
    assert "intra_op_threads = 1\n" in v3["config"]

    back = project.run("rollback", "--yes")
    assert (back.code, back.statuses()) == (0, {"net-1": "rolled_back"}), back.stderr
    assert back.hosts["net-1"]["bytes_sent"] == 0
    assert back.hosts["net-1"]["release"] == entry["release"]
    assert told(url, nets.golden("v1")) == v1
