"""What `orchestrate facts` shows of Docker hosts, and of what hosts are ready for."""

from __future__ import annotations

import io
import json

import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console

from orchestrator.cli import facts as command
from orchestrator.cli import readiness as printing
from orchestrator.cli import root
from orchestrator.fleet.facts import DockerEngine, Facts
from orchestrator.planning.readiness import Lack, Readiness, provision_command

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
    assert document["hosts"]["box-1"]["readiness"] == READY.as_dict()


NO_RUNTIME = Lack("no onnxruntime", "onnxruntime", True)
NO_KATAGO = Lack("no katago", "", False)


def waiting(host, *lacks):
    """A Raspberry Pi that provisioning would make ready."""
    command = provision_command([host])
    return Readiness("raspberry-pi", False, (), lacks or (NO_RUNTIME,), command)


def printed(show, found):
    console = Console(file=io.StringIO(), width=80)
    show(console, found)
    return console.file.getvalue().splitlines()


def test_a_column_says_which_profile_a_host_serves():
    console = Console(file=io.StringIO(), width=400)
    found = {"pi-3": waiting("pi-3"), "pi-4": READY, "pi-5": Readiness("", ready=False)}
    command.show(console, dict.fromkeys(found, Facts()), {}, found)
    heading, *rows = console.file.getvalue().splitlines()
    start, end = heading.index("serves"), heading.index("heat")
    assert [row[start:end].strip() for row in rows[:3]] == [
        "raspberry-pi, not yet",
        "cpu",
        "no profile",
    ]
    assert [printing.serves(host).style for host in found.values()] == ["yellow", "green", "yellow"]
    told = "pi-3: not ready for raspberry-pi: no onnxruntime. "
    assert rows[3:] == [told + "Try: orchestrate provision --limit pi-3"]


def test_hosts_that_lack_the_same_are_told_of_in_one_line_those_not_ready_first():
    katago = Readiness("cpu", True, ("onnx fp32",), (NO_KATAGO,))
    found = {
        "box-1": katago,
        "pi-3": waiting("pi-3"),
        "box-2": katago,
        "pi-4": waiting("pi-4"),
        "pi-5": waiting("pi-5", NO_RUNTIME, NO_KATAGO),
        "box-3": READY,
    }
    waits = "not ready for raspberry-pi: no onnxruntime"
    provision = "Try: orchestrate provision --limit"
    assert printed(printing.tell, found) == [
        f"pi-3, pi-4: {waits}. {provision} 'pi-3,pi-4'",
        f"pi-5: {waits}; no katago. {provision} pi-5",
        "box-1, box-2: ready for cpu, but no katago.",
    ]


def test_those_not_ready_are_told_of_in_yellow():
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system="standard")
    katago = Readiness("cpu", True, ("onnx fp32",), (NO_KATAGO,))
    printing.tell(console, {"box": katago, "pi-3": waiting("pi-3")})
    first, second = console.file.getvalue().splitlines()
    assert first.startswith("\x1b[33mpi-3: ")
    assert second.startswith("box: ")


def test_of_many_hosts_five_are_named_and_all_are_in_the_command():
    names = [f"pi-{number}" for number in range(7)]
    (line,) = printed(printing.tell, {name: waiting(name) for name in names})
    assert line.startswith("pi-0, pi-1, pi-2, pi-3, pi-4 and 2 more: not ready")
    assert line.endswith("--limit 'pi-0,pi-1,pi-2,pi-3,pi-4,pi-5,pi-6'")


@pytest.mark.parametrize(
    ("host", "line"),
    [
        (
            Readiness("", False, (), (Lack("no profile matches", "", True),), "Add a profile."),
            "box: no profile matches. Add a profile.",
        ),
        (
            Readiness("cpu", False, (), (NO_RUNTIME,), "Put it into the image kata:1."),
            "box: not ready for cpu: no onnxruntime. Put it into the image kata:1.",
        ),
    ],
)
def test_what_provisioning_cannot_bring_is_told_in_a_sentence(host, line):
    assert printed(printing.tell, {"box": host}) == [line]


def test_a_table_of_its_own_says_what_hosts_run_now():
    found = {"box": READY, "pi-3": waiting("pi-3")}
    heading, *rows = printed(printing.show, found)
    assert heading.split() == ["host", "serves", "runs"]
    assert rows[0].split() == ["box", "cpu", "onnx", "fp32"]
    assert rows[1].split() == ["pi-3", "raspberry-pi,", "not", "yet", "nothing"]
    assert rows[2].startswith("pi-3: not ready for raspberry-pi: ")


def test_the_command_on_this_machine(tmp_path, monkeypatch):
    """With a profile for it, with none, and with one that does not exist."""
    monkeypatch.setenv("COLUMNS", "300")

    def fleet(profiles, **variables):
        (tmp_path / "orchestrate.yml").write_text(
            yaml.safe_dump({"profiles": profiles, "inventory": "inventory.yml"})
        )
        here = {"ansible_connection": "local", "orchestrate_root": str(tmp_path / "root")}
        hosts = {"here": here | variables}
        (tmp_path / "inventory.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))

    def run(*words):
        result = CliRunner().invoke(
            root, ["--project", str(tmp_path), *words], standalone_mode=False
        )
        assert result.exception is None, result.exception
        return result.stdout

    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "own.cfg.j2").write_text("")
    own = {
        "artifacts": [{"format": "file"}],
        "config": "own.cfg.j2",
        "engine": {"kind": "command", "run": "cat $MODEL"},
        "verify": {"command": "true"},
    }
    fleet({"own": own})
    told = run("--json", "facts")
    assert json.loads(told)["hosts"]["here"]["readiness"] == {
        "profile": "own",
        "ready": True,
        "runs": ["file"],
        "lacks": [],
        "command": "",
    }
    fleet({"own": own | {"when": "facts.arch == 'pdp11'"}})
    assert "here: no profile matches (own: no match: facts.arch == 'pdp11'). Add" in run("facts")
    fleet({"own": own}, orchestrate_profile="onw")
    assert "here: orchestrate_profile: there is no profile 'onw'. Did you mean 'own'?" in run(
        "facts"
    )
    fleet({"own": own | {"engine": {"kind": "litert"}}})
    assert "not ready for own: nothing that profile own wishes for" in run("facts")
