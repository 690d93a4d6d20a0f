"""Docker hosts for tests of faults, and what must hold of them afterwards."""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.rollout.docker.docker_fault_cases import Case, check_host, how, put_right, status_of
from tests.rollout.docker.docker_fault_lab import Lab, at_once, make_seed
from tests.rollout.faults.fault_checks import check_quiet
from tests.rollout.faults.fault_table import PROPERTY, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.controller import Answer
    from tests.dockerd import Dockerd


@pytest.fixture(scope="module")
def hosts(docker_engine: Dockerd, busybox_image: str, tmp_path_factory) -> Iterator[Callable]:
    """`hosts(n)`: so many hosts on which a good version runs, those of earlier tests again."""
    folder = tmp_path_factory.mktemp("docker-faults")
    seed = make_seed(folder)
    made: list[Lab] = []
    prefix = f"t{uuid.uuid4().hex[:8]}"

    def have(count: int) -> list[Lab]:
        found = [lab for lab in made if lab.sound][:count]
        new = [
            Lab.make(docker_engine, f"{prefix}-{number}", folder, seed, busybox_image)
            for number in range(len(made), len(made) + count - len(found))
        ]
        made.extend(new)
        if new:
            assert {answer.code for answer in at_once(lambda lab: lab.deploy("v1"), new)} == {0}
        for lab in (*found, *new):
            lab.set()
        return [*found, *new]

    yield have
    if docker_engine.process is None:
        docker_engine.start()
    docker_engine.remove(prefix)
    for lab in made:
        lab.api.close()


@pytest.fixture
def empty_host(
    docker_engine: Dockerd, docker_names: str, busybox_image: str, tmp_path
) -> Iterator[Lab]:
    """A host that nothing was deployed to."""
    lab = Lab.make(docker_engine, docker_names, tmp_path, make_seed(tmp_path), busybox_image)
    yield lab
    lab.api.close()


@pytest.fixture
def aftermath(record_property) -> Callable[..., None]:
    """`aftermath(case, answer, fault, ...)`: what must hold from then on, and a table's row.

    `codes` are the exit codes that are right, `ends` the version that runs before anybody comes
    back to the host. With `resume` the run was cut off, and `orchestrate resume` settles it.
    """

    def check(
        case: Case, answer: Answer, fault: str, *, codes: set[int], ends: str, resume: bool = False
    ) -> None:
        lab, (strategy, step, _) = case.lab, case.plan
        lab.wait_until_settled()
        lock = "left" if lab.locked() else "gone"
        said = status_of(lab, answer)
        steps = f"{step}, {strategy}"
        row = Row(fault, steps, str(answer.code), said, lab.version, how(lab), lock)
        record_property(PROPERTY, dataclasses.astuple(row))
        assert answer.code in codes, answer.document or answer.stderr
        assert lab.version == ends
        check_host(lab)
        if resume:
            assert lab.run("resume").code in {0, 3}
            lab.wait_until_settled()
            check_quiet(lab)
        put_right(lab)

    return check
