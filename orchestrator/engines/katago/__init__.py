"""KataGo: the engine that plays and analyses Go with the project's first-class nets."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.engines.katago.check import check

if TYPE_CHECKING:
    from orchestrator.engines.base import ConfigProblem
    from orchestrator.fleet.facts import Facts
    from orchestrator.fleet.profile import EngineSpec
    from orchestrator.models.manifest import Artifact

COMMANDS = ("gtp", "analysis")
SUFFIXES = (".bin.gz", ".txt.gz", ".bin", ".txt")


class KatagoEngine:
    """Knows KataGo's command line, its config dialect and what a host needs to run it."""

    @property
    def formats(self) -> frozenset[str]:
        """Only KataGo's own format."""
        return frozenset({"katago"})

    def resolve(self, spec: EngineSpec, facts: Facts) -> EngineSpec:
        """`spec` with the katago of the host and the command `gtp` where none is given."""
        return replace(
            spec, command=spec.command or COMMANDS[0], path=spec.path or facts.katago.path
        )

    def lacks(self, spec: EngineSpec, facts: Facts) -> str:  # noqa: ARG002 - resolved already
        """That katago is not installed; empty when it is, or is said to be."""
        return "" if spec.path else "katago is not installed"

    def unfit(self, spec: EngineSpec, facts: Facts, artifact: Artifact) -> str:
        """Why this host's katago cannot run the artifact; empty when it can."""
        if spec.command not in COMMANDS:
            return f"katago has no command `{spec.command}` here; use {' or '.join(COMMANDS)}"
        lack = self.lacks(spec, facts)
        if lack:
            return lack
        if not artifact.filename.endswith(SUFFIXES):
            return f"katago loads {', '.join(SUFFIXES)}, not {artifact.filename}"
        return _too_old(facts, artifact) if spec.path == facts.katago.path else ""

    def check_config(self, text: str, spec: EngineSpec, facts: Facts) -> list[ConfigProblem]:
        """Everything that would make katago abort on the config or ignore part of it."""
        return check(text, command=spec.command or COMMANDS[0], backend=facts.katago.backend)

    def run_line(self, spec: EngineSpec, *, model: str, config: str) -> str:
        """`katago gtp -model ... -config ...`, quoted."""
        command = [spec.path or "katago", spec.command or COMMANDS[0]]
        return shlex.join([*command, "-model", model, "-config", config])


def _too_old(facts: Facts, artifact: Artifact) -> str:
    """`requires: {katago: "1.15"}` names the first katago that reads the net's version."""
    wanted = str(artifact.requires.get("katago", ""))
    version = version_tuple(facts.katago.version)
    if not wanted or not version or version >= version_tuple(wanted):
        return ""
    return f"the net needs katago {wanted}, the host has {facts.katago.version}"


def version_tuple(version: str) -> tuple[int, ...]:
    """(1, 18, 1) for `1.18.1`; empty when there is no version to read."""
    parts = []
    for part in version.removeprefix("v").split("."):
        if not part.isdigit():
            break
        parts.append(int(part))
    return tuple(parts)


ENGINE = KatagoEngine()
