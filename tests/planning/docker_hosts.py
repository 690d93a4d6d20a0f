"""Docker hosts to plan for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.fleet.facts import DockerEngine
from orchestrator.fleet.profile import DockerSpec
from orchestrator.planning.render import Templates
from tests.planning import samples
from tests.planning.plans import ORT, TEMPLATES, inputs

if TYPE_CHECKING:
    from orchestrator.fleet.facts import Facts
    from orchestrator.planning.plan import PlanInputs

SHIPPED = Path(__file__).parents[2] / "templates"
COMPOSE = "docker-compose.yml.j2"
IMAGE_ID = "sha256:" + "1d" * 32
IMAGE = "registry.example.org/nets@sha256:" + "ab" * 32
ENGINE = DockerEngine(
    version="27.3.1",
    api="1.47",
    storage_driver="overlay2",
    runtimes=("runc",),
    container="orchestrate",
    image=IMAGE,
    image_id=IMAGE_ID,
    image_arch="amd64",
)
NVIDIA = dataclasses.replace(ENGINE, runtimes=("nvidia", "runc"))
CDI = dataclasses.replace(ENGINE, cdi=("nvidia.com/gpu=0", "nvidia.com/gpu=all", "x.org/y=z"))
CDI_EACH = dataclasses.replace(ENGINE, cdi=("nvidia.com/gpu=1", "nvidia.com/gpu=0"))


def facts(machine: str = "pc", engine: DockerEngine = ENGINE, **changes: object) -> Facts:
    found = samples.facts(machine, **({"python": samples.PYTHON} | changes))
    return dataclasses.replace(found, docker_engine=engine)


def shipped_templates() -> Templates:
    names = [p.relative_to(SHIPPED).as_posix() for p in SHIPPED.rglob("*") if p.is_file()]
    return Templates.of({name: (SHIPPED / name).read_text("utf-8") for name in names})


def docker_inputs(docker: DockerSpec | None = None, **changes) -> PlanInputs:
    """As `inputs`, of a Docker host with the compose template that is shipped."""
    profile = dataclasses.replace(ORT, docker=docker or DockerSpec())
    values = {
        "facts": facts(),
        "profiles": (profile,),
        "templates": TEMPLATES | {COMPOSE: (SHIPPED / COMPOSE).read_text("utf-8")},
    }
    return inputs(**(values | changes))
