"""Any program as an engine: the operator says how it is started and how it is checked."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from orchestrator.models.manifest import FORMATS

if TYPE_CHECKING:
    from orchestrator.engines.base import ConfigProblem, Engine
    from orchestrator.fleet.facts import Facts
    from orchestrator.fleet.profile import EngineSpec
    from orchestrator.models.manifest import Artifact


class CommandEngine:
    """See Engine. Takes every format; what the program needs is the operator's to know."""

    @property
    def formats(self) -> frozenset[str]:
        """See Engine."""
        return frozenset(FORMATS)

    def resolve(self, spec: EngineSpec, facts: Facts) -> EngineSpec:  # noqa: ARG002 - the seam
        """See Engine; there is nothing to look up."""
        return spec

    def lacks(self, spec: EngineSpec, facts: Facts) -> str:  # noqa: ARG002 - the seam
        """See Engine; what the program needs of the host is not known."""
        return ""

    def unfit(self, spec: EngineSpec, facts: Facts, artifact: Artifact) -> str:  # noqa: ARG002
        """See Engine."""
        return "" if spec.run else "engine kind command has no `run:` line"

    def check_config(self, text: str, spec: EngineSpec, facts: Facts) -> list[ConfigProblem]:  # noqa: ARG002
        """See Engine; the program's own format is not known, so nothing is wrong with it."""
        return []

    def run_line(self, spec: EngineSpec, *, model: str, config: str) -> str:
        """See Engine."""
        return operators_line(spec.run, model=model, config=config)


def operators_line(line: str, *, model: str, config: str) -> str:
    """The operator's sh command line, given the file names as `$MODEL` and `$CONFIG`.

    A simple command, so that `exec` may stand before it; whatever sh understands (pipes, `&&`) may
    stand inside `line`.
    """
    return f"env MODEL={quote(model)} CONFIG={quote(config)} sh -c {quote(line)}"


ENGINE: Engine = CommandEngine()
