"""The seam for what runs a net: one implementation for each engine kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from orchestrator.fleet.facts import Facts
    from orchestrator.fleet.profile import EngineSpec
    from orchestrator.models.manifest import Artifact


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """Why the engine would refuse a rendered config; `line` counts from 1, 0 for the whole file."""

    line: int
    key: str
    reason: str


class Engine(Protocol):
    """What planning has to know of an engine kind. Pure: no network, no disk."""

    @property
    def formats(self) -> frozenset[str]:
        """The artifact formats it runs."""

    def resolve(self, spec: EngineSpec, facts: Facts) -> EngineSpec:
        """`spec` with `path` filled in from the facts where the operator gave none."""

    def lacks(self, spec: EngineSpec, facts: Facts) -> str:
        """What the host lacks to run this engine at all, whatever the artifact; empty for nothing.

        `spec` is resolved. One clause, such as `onnxruntime is not installed in /usr/bin/python3`.
        """

    def unfit(self, spec: EngineSpec, facts: Facts, artifact: Artifact) -> str:
        """Why this host cannot run the artifact with this engine; empty when it can.

        `spec` is resolved. One clause: what the host lacks, or what speaks against the artifact.
        """

    def check_config(self, text: str, spec: EngineSpec, facts: Facts) -> list[ConfigProblem]:
        """Everything that would make the engine refuse or ignore part of the rendered config."""

    def run_line(self, spec: EngineSpec, *, model: str, config: str) -> str:
        """The sh command line, without `exec`, that runs the engine from the release folder.

        `model` and `config` are file names inside the release; what is pasted is quoted.
        """
