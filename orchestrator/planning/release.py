"""The immutable set of files one host gets, named by its content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ModelError
from orchestrator.fleet.profile import DockerSpec, EngineSpec, ServiceSpec, VerifySpec
from orchestrator.models.manifest import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.fleet.profile import Profile
    from orchestrator.models.manifest import ModelVersion

MANIFEST_SCHEMA = 1
MANIFEST = "manifest.json"
RUN = "run"
# The files that releases of Docker hosts have instead.
COMPOSE = "docker-compose.yml"
TURN = "turn"
# The files that hold the profile's `service:` commands.
SERVICE_COMMANDS = ("activate", "health", "deactivate")


@dataclass(frozen=True, slots=True)
class Blob:
    """A large file of a release: it lives in the host's store and is hard-linked as `name`."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class DockerFiles:
    """What only the release of a Docker host has: its compose file, and what the container runs.

    `reference` is the image as the compose file names it, `image_id` what that stands for.
    """

    spec: DockerSpec
    reference: str
    image_id: str
    compose: str
    turn: str


@dataclass(frozen=True, slots=True)
class Release:
    """What a host gets: texts (config, run, manifest.json) and blobs (model, golden answers).

    A Docker host gets docker-compose.yml and turn instead of run; only its releases have an
    `image`, `reference` and `id`, and the profile's section `docker`.

    `id` is `<model>-<version>-<first 12 hex digits of the sha256 of manifest.json>`, so the same
    inputs give the same id on every host and every day. `config` and `golden` are file names,
    `golden` is empty when the artifact came without golden answers. `manifest` is manifest.json
    parsed, and all that a release says of itself.
    """

    id: str
    model: str
    version: str
    profile: str
    artifact: Artifact
    engine: EngineSpec
    verify: VerifySpec
    config: str
    golden: str
    texts: Mapping[str, str]
    blobs: tuple[Blob, ...]
    manifest: Mapping[str, Any]
    service: ServiceSpec = field(default_factory=ServiceSpec)
    image: Mapping[str, str] | None = None
    docker: DockerSpec | None = None

    @property
    def is_docker(self) -> bool:
        """Whether it is run in a container."""
        return self.docker is not None

    @property
    def has_service(self) -> bool:
        """Whether it came with commands that let a service run it."""
        return any(name in self.manifest["files"] for name in SERVICE_COMMANDS)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(b.size for b in self.blobs) + sum(len(t.encode()) for t in self.texts.values())


def build(
    version: ModelVersion,
    profile: Profile,
    artifact: Artifact,
    engine: EngineSpec,
    *,
    config: str,
    config_text: str,
    run_text: str = "",
    docker: DockerFiles | None = None,
) -> Release:
    """The release of these files; `engine` is resolved, `config` is the config's file name.

    With `docker` it is that of a Docker host, which has no `run_text` and no service's commands.

    Raises ModelError when two files of it would have the same name.
    """
    blobs = [Blob(artifact.filename, artifact.sha256, artifact.size)]
    golden = ""
    if artifact.golden is not None:
        golden = "golden" + PurePosixPath(artifact.golden.filename).suffix
        blobs.append(Blob(golden, artifact.golden.sha256, artifact.golden.size))
    texts = {config: config_text, **_texts(profile, run_text, docker)}
    names = [*texts, MANIFEST, *(blob.name for blob in blobs)]
    if len(set(names)) < len(names):
        raise ModelError(
            f"two files of a release of {version.ref} have the same name: {', '.join(names)}",
            hint="Give the artifact another filename in its manifest, or the config another name.",
        )
    manifest = {
        "schema": MANIFEST_SCHEMA,
        "model": version.model,
        "version": version.version,
        "profile": profile.name,
        "artifact": {
            "format": artifact.format,
            "precision": artifact.precision,
            "filename": artifact.filename,
            "sha256": artifact.sha256,
            "size": artifact.size,
        },
        "engine": asdict(engine),
        "verify": asdict(profile.verify),
        **_sections(profile, docker),
        "config": config,
        "golden": golden,
        "files": {
            **{name: _described(text) for name, text in texts.items()},
            **{blob.name: {"sha256": blob.sha256, "size": blob.size} for blob in blobs},
        },
    }
    text = canonical(manifest) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Release(
        id=f"{version.model}-{version.version}-{digest[:12]}",
        model=version.model,
        version=version.version,
        profile=profile.name,
        artifact=artifact,
        engine=engine,
        verify=profile.verify,
        config=config,
        golden=golden,
        texts={**texts, MANIFEST: text},
        blobs=tuple(blobs),
        manifest=manifest,
        service=profile.service,
        image=manifest.get("image"),
        docker=docker.spec if docker else None,
    )


def _texts(profile: Profile, run_text: str, docker: DockerFiles | None) -> dict[str, str]:
    """The texts besides the config: those that run the engine."""
    if docker is not None:
        return {COMPOSE: docker.compose, TURN: docker.turn}
    commands = {name: getattr(profile.service, name) for name in SERVICE_COMMANDS}
    return {RUN: run_text} | {name: f"{line.rstrip()}\n" for name, line in commands.items() if line}


def _sections(profile: Profile, docker: DockerFiles | None) -> dict[str, Any]:
    """What the manifest of some releases has besides what all have."""
    found: dict[str, Any] = {}
    if any(getattr(profile.service, name) for name in SERVICE_COMMANDS):
        found["service"] = asdict(profile.service)
    if docker is not None:
        found["image"] = {"reference": docker.reference, "id": docker.image_id}
        # As JSON has it, so that what is read back is the same.
        found["docker"] = json.loads(json.dumps(asdict(docker.spec)))
    return found


def read(release: str, text: str) -> Release:
    """A release as its manifest.json on a host describes it, to verify or to go back to.

    `texts` has manifest.json alone: the others lie on the host. Raises ModelError when the text
    is no manifest, or not the one that the id was made of.
    """
    hint = f"The release is damaged: deploy again, or remove releases/{release} on the host."
    if not release.endswith("-" + hashlib.sha256(text.encode()).hexdigest()[:12]):
        raise ModelError(f"{MANIFEST} of {release} is not the one it was made with", hint=hint)
    manifest = json.loads(text)
    if manifest["schema"] != MANIFEST_SCHEMA:
        raise ModelError(
            f"{MANIFEST} of {release} has schema {manifest['schema']}, known is {MANIFEST_SCHEMA}",
            hint="Use the version of orchestrate that made the release.",
        )
    artifact = Artifact(**manifest["artifact"])
    files = manifest["files"]
    blobs = [Blob(name, **files[name]) for name in (artifact.filename, manifest["golden"]) if name]
    return Release(
        id=release,
        model=manifest["model"],
        version=manifest["version"],
        profile=manifest["profile"],
        artifact=artifact,
        engine=EngineSpec(**manifest["engine"]),
        verify=VerifySpec(**manifest["verify"]),
        config=manifest["config"],
        golden=manifest["golden"],
        texts={MANIFEST: text},
        blobs=tuple(blobs),
        manifest=manifest,
        service=ServiceSpec(**manifest.get("service", {})),
        image=manifest.get("image"),
        docker=_docker(manifest.get("docker")),
    )


def _docker(section: Mapping[str, Any] | None) -> DockerSpec | None:
    if section is None:
        return None
    lists = {key: tuple(section[key]) for key in ("ports", "expose")}
    return DockerSpec(**{**section, **lists})


def canonical(document: Mapping[str, Any]) -> str:
    """The one JSON text of a document: sorted keys, no spaces, ASCII."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _described(text: str) -> dict[str, Any]:
    data = text.encode()
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
