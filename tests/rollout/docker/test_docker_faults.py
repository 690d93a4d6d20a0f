"""What is left of a Docker host when a rollout goes wrong: one verified engine, which answers."""

from __future__ import annotations

import contextlib
import signal
import socket
import uuid
from typing import TYPE_CHECKING

import pytest

from orchestrator.targets.docker import names
from tests.docker_images import busybox_tree
from tests.rollout.docker.docker_fault_cases import (
    BLUE_GREEN,
    KILLED,
    RECREATE,
    Case,
    begin,
    error_of,
    put_right,
)
from tests.rollout.docker.docker_fault_lab import Lab, at_once
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.controller import Answer

# On an engine of their own, beside that of the other tests: they take long.
pytestmark = [pytest.mark.xdist_group("docker_faults"), pytest.mark.slow]


# -- the controller is killed


@pytest.mark.parametrize(
    ("strategy", "steps"),
    [
        (BLUE_GREEN, ["stage", "activate 2", "verify", "verify 2", "commit", "after commit"]),
        (RECREATE, ["activate 2", "activate 3", "verify 2", "commit"]),
    ],
)
def test_controller_killed(strategy, steps, hosts, aftermath):
    """The host goes back by itself, and the candidate's engine ends."""
    plans = [(strategy, step, "") for step in steps]
    cases = begin(hosts, [*plans, (strategy, "revert", "wrong")], revert_after=5)
    killed = [case.command.kill() for case in cases]

    def check(pair: tuple[Case, Answer]) -> None:
        case, answer = pair
        ends = case.lab.wanted if case.plan[1] == "after commit" else case.before
        aftermath(case, answer, "controller killed", codes={KILLED}, ends=ends, resume=True)

    at_once(check, zip(cases, killed, strict=True))


# -- containers are killed and removed


def kill_candidate(lab: Lab) -> None:
    lab.api.kill(lab.candidate())


def remove_candidate(lab: Lab) -> None:
    lab.api.remove_container(lab.candidate(), force=True)


def kill_keeper(lab: Lab) -> None:
    lab.api.kill(names.keeper(lab.name))


def remove_keeper(lab: Lab) -> None:
    lab.api.remove_container(names.keeper(lab.name), force=True)


def kill_front(lab: Lab) -> None:
    lab.api.kill(names.front(lab.name))


def remove_front(lab: Lab) -> None:
    lab.api.remove_container(names.front(lab.name), force=True)


@pytest.mark.parametrize("step", ["verify", "verify 2"])
def test_containers_killed_and_removed(step, hosts, aftermath):
    """A switch survives its front if that goes before it is needed, and nothing else."""
    faults = [
        kill_candidate,
        remove_candidate,
        kill_keeper,
        remove_keeper,
        kill_front,
        remove_front,
    ]
    cases = begin(hosts, [(BLUE_GREEN, step, "")] * len(faults))

    def check(pair: tuple[Callable[[Lab], None], Case]) -> None:
        fault, case = pair
        fault(case.lab)
        answer = case.finish()
        done = step == "verify" and fault in {kill_front, remove_front}
        ends = case.lab.wanted if done else case.before
        verb, what = fault.__name__.split("_")
        told = f"{what} {verb.removesuffix('e')}ed"
        aftermath(case, answer, told, codes={0 if done else 3}, ends=ends)
        if fault is kill_candidate:
            assert error_of(case.lab, answer)["code"] == "container_ended"

    at_once(check, zip(faults, cases, strict=True))


def test_a_front_that_was_stopped_or_removed(hosts):
    """Nobody reaches the engine then: status says so, and the next deploy mends it."""

    def check(pair: tuple[Lab, Callable[[Lab], None]]) -> None:
        lab, fault = pair
        lab.sound = False
        fault(lab)
        told = lab.run("status", "--check")
        assert told.code == 3
        assert f"{lab.name}-front, which holds its ports, does not run" in str(told.document)
        assert lab.run("deploy", "--yes").code == 0
        put_right(lab)

    at_once(check, zip(hosts(2), [kill_front, remove_front], strict=True))


# -- candidates that misbehave


def test_candidates_that_misbehave(hosts, aftermath):
    """The reason, and the last that the engine printed, is told."""
    expected = {
        "sick": ("unhealthy", "its container is not healthy after 5 s"),
        "exits": ("container_ended", "its container ended: exit 3: no such weights"),
        "wrong": ("verify_failed", "the check says no"),
        "dies": ("container_ended", "its container ended: exit 9: out of memory"),
    }
    sick, *others = [(BLUE_GREEN, "activate", version) for version in expected]
    # However slow the machine is, what dies while it is watched is to do so within that time.
    cases = begin(hosts, [sick], healthy_within=5) + begin(hosts, others, watch=30)

    def check(case: Case) -> None:
        answer = case.finish()
        version = case.plan[2]
        code, said = expected[version]
        error = error_of(case.lab, answer)
        assert (error["code"], said in error["message"]) == (code, True), error
        fault = f"the candidate {version}" if version.endswith("s") else f"a {version} candidate"
        aftermath(case, answer, fault, codes={3}, ends=case.before)

    at_once(check, cases)


# -- Ctrl-C


@pytest.mark.parametrize("presses", [1, 2])
def test_interrupted_while_it_verifies(presses, hosts, aftermath):
    """Once lets what is in flight come to its end, twice undoes it at once."""
    (lab,) = hosts(1)
    (lab.state / "hold").touch()
    case = Case.begin(lab, (BLUE_GREEN, "verify", ""))
    case.command.go()
    candidate = lab.candidate()
    wait_until(lambda: "-e /state/hold" in str(lab.api.top(candidate)), "it is being verified")
    case.command.signal(signal.SIGINT)
    wait_until(lambda: "Once more" in case.command.said(), "the first Ctrl-C is heard")
    if presses == 2:
        case.command.signal(signal.SIGINT)
    else:
        (lab.state / "hold").unlink()
    answer = case.command.finish()
    (lab.state / "hold").unlink(missing_ok=True)
    ends = lab.wanted if presses == 1 else case.before
    aftermath(case, answer, f"Ctrl-C, {presses} x", codes={130}, ends=ends)


# -- the disk is full


def test_disk_full(empty_host, aftermath):
    lab = empty_host
    lab.api.create_volume(
        lab.name,
        driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "size=16m"},
        labels={names.CONTAINER: lab.name},
    )
    assert lab.deploy("v1").code == 0
    for step, code, version in [
        ("stage", "transfer_stopped", "large"),
        ("activate", "space", "v2"),
        ("verify 2", "audit", "v2"),
    ]:
        case = Case.begin(lab, (BLUE_GREEN, step, version))
        fill(lab)
        answer = case.finish()
        assert error_of(lab, answer)["code"] == code, answer.document
        lab.wait_until_settled()
        verified = lab.run("verify")
        assert verified.code == 0, "a full disk keeps nobody from looking"
        (lab.root / "filler").unlink()
        lab.want("v1")
        aftermath(case, answer, "disk full", codes={3, 4}, ends="v1")


def fill(lab: Lab) -> None:
    """Leave no byte free on the host's volume."""
    with contextlib.suppress(OSError), (lab.root / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


# -- the image is gone


def test_image_removed(empty_host, docker_engine, tmp_path):
    """An id cannot be brought back and is refused; an archive is loaded again."""
    lab = empty_host
    ids, archives = {}, {}
    for name in ("one", "two"):
        tree = busybox_tree()
        tree.texts["/etc/which"] = (f"{name} {uuid.uuid4()}".encode(), 0o644)
        ids[name] = tree.import_into(docker_engine)
        path = tmp_path / f"{name}.tar"
        with path.open("wb") as file:
            file.writelines(lab.api.get_image(ids[name]))
        archives[name] = f"archive:{path}"
    lab.want("v1", ids["one"])
    assert lab.deploy("v1").code == 0

    purge(lab, ids["one"])
    for version in ("v1", "v2"):
        answer = lab.deploy(version)
        assert (answer.code, error_of(lab, answer)["code"]) == (3, "image_missing")
    refused = lab.run("rollback", "--yes")
    assert refused.code == 3
    assert "image_missing" in str(refused.document)

    lab.want("v1", archives["one"])
    assert lab.deploy("v1").code == 0
    put_right(lab)
    purge(lab, ids["one"])
    assert lab.deploy("v1").code == 0
    put_right(lab)

    lab.want("v2", archives["two"])
    assert lab.deploy("v2").code == 0
    (old,) = (c["Id"] for c in lab.containers() if c["Names"] != [f"/{lab.name}"])
    for each in (old, names.front(lab.name)):  # a front stays on the image that it began with
        lab.api.remove_container(each, force=True)
    lab.api.remove_image(ids["one"], force=True, noprune=True)
    back = lab.run("rollback", "--yes")
    assert (back.code, error_of(lab, back)["code"]) == (3, "image_missing")
    assert lab.version == "v2"
    put_right(lab)
    purge(lab, ids["two"])


def purge(lab: Lab, image: str) -> None:
    """Remove the host's containers, as `docker system prune --all` and a hasty hand do."""
    for role in ("engine", "front", "keeper"):
        for each in lab.containers(role):
            lab.api.remove_container(each["Id"], force=True)
    lab.api.remove_image(image, force=True, noprune=True)


# -- names and ports are taken


@pytest.mark.parametrize("suffix", ["", "-keeper", "-front"])
def test_a_name_is_taken(suffix, empty_host):
    """A container of somebody else is never touched."""
    lab, name = empty_host, empty_host.name + suffix
    made = lab.api.create_container(lab.image, ["sleep", "1000"], name=name)
    lab.api.start(made["Id"])
    answer = lab.deploy("v1")
    error = error_of(lab, answer)
    assert (answer.code, error["code"]) == (3, "name_taken")
    assert f"'{name}'" in error["message"]
    assert lab.api.inspect_container(name)["Id"] == made["Id"]
    assert lab.api.inspect_container(name)["State"]["Running"]


def test_a_port_is_taken(hosts, aftermath):
    """By a program or by another container; who had it keeps it, the host keeps what it had."""
    first, second, other = hosts(3)
    with socket.create_server((first.address[0], 0)) as program:
        taken = [program.getsockname(), other.address]

        def check(pair: tuple[Lab, tuple[str, int]]) -> None:
            lab, address = pair
            case = Case.planned(lab, (BLUE_GREEN, "verify", ""))
            own, lab.address = lab.address, address
            lab.set()
            answer = lab.run("deploy", "--yes")
            lab.address = own
            error = error_of(lab, answer)
            assert error["code"] == "port_taken"
            assert f"{address[0]}:{address[1]}" in error["message"]
            assert "end it" in error["hint"]
            aftermath(case, answer, "the port is taken", codes={3}, ends=case.before)

        at_once(check, zip([first, second], taken, strict=True))
    assert other.settled()
