"""The seam for smoke benchmarks: one implementation for each engine kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from orchestrator.fleet.profile import EngineSpec, VerifySpec
    from orchestrator.targets.base import Target
    from orchestrator.verify.result import Measurement


@dataclass(frozen=True, slots=True)
class Subject:
    """A release on a host, as its manifest.json describes it.

    `folder` is the absolute path of the release there; `model`, `config` and `golden` are file
    names in it (`golden` is empty when the artifact came without golden answers). `engine` is
    resolved: its `path` is the katago binary, or the Python that has onnxruntime. `precision` is
    the artifact's: it tells how far the answers may be off.
    """

    folder: str
    model: str
    config: str
    golden: str
    format: str
    engine: EngineSpec
    verify: VerifySpec
    precision: str = "fp32"


class SmokeBenchmark(Protocol):
    """Runs a release where it is and measures: does it load, answer right, how fast, how big."""

    def __call__(self, target: Target, subject: Subject) -> Measurement:
        """What was measured; an engine that fails to load or answer is a `failure`, not an error.

        Raises UnreachableError when the connection breaks.
        """
