"""What `orchestrate facts` shows of Docker hosts."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from orchestrator.cli import facts as command
from orchestrator.fleet.facts import DockerEngine, Facts
from orchestrator.planning.readiness import Readiness

ID = "sha256:" + "5" * 64
ENGINE = DockerEngine(
    version="28.0.1",
    api="1.48",
    storage_driver="overlay2",
    runtimes=("nvidia", "runc"),
    container="nets",
    image="kata@sha256:" + "7" * 64,
    image_id=ID,
)
READY = Readiness("cpu", ready=True, runs=("onnx fp32",))


def shown(facts):
    console = Console(file=io.StringIO(), width=400)
    command.show(console, {"box-1": facts}, {}, {"box-1": READY})
    return console.file.getvalue()


def test_a_docker_host_has_a_line_on_its_engine():
    (line,) = [line for line in shown(Facts(docker_engine=ENGINE)).splitlines() if ": " in line]
    assert line.split("; ") == [
        "box-1: Docker Engine 28.0.1 (API 1.48), overlay2",
        "NVIDIA GPUs by runtime nvidia",
        "container nets",
        "image kata@sha256:" + "7" * 64 + " (sha256:555555555555)",
    ]


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (DockerEngine("28.0", cdi=("nvidia.com/gpu=all",)), "NVIDIA GPUs by CDI;"),
        (
            DockerEngine("28.0", cdi=("nvidia.com/gpu=0",), runtimes=("nvidia",)),
            "NVIDIA GPUs by CDI or runtime nvidia;",
        ),
        (DockerEngine("28.0", cdi=("intel.com/gpu=0",)), "no known way to NVIDIA GPUs;"),
        (DockerEngine("28.0", storage_driver="vfs", rootless=True), "vfs, rootless;"),
        (DockerEngine("28.0", image=ID, image_id=ID), f"image {ID}\n"),
    ],
)
def test_what_an_engine_offers(engine, said):
    assert said in shown(Facts(docker_engine=engine))


def test_other_hosts_have_none():
    assert "Docker Engine" not in shown(Facts(docker="28.0.1"))


def test_programs_get_all_of_it():
    document = command.document({"box-1": Facts(docker_engine=ENGINE)}, {}, {"box-1": READY})
    assert document["hosts"]["box-1"]["docker_engine"] == {
        "version": "28.0.1",
        "api": "1.48",
        "storage_driver": "overlay2",
        "runtimes": ["nvidia", "runc"],
        "cdi": [],
        "rootless": False,
        "container": "nets",
        "image": ENGINE.image,
        "image_id": ID,
        "image_arch": "",
        "arch": "",
    }
