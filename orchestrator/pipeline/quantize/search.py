"""The smallest INT8 file of a net that passes the gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.pipeline import accuracy, gate, onnx_graph, runners
from orchestrator.pipeline.quantize import modes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from orchestrator.pipeline.accuracy import Answers
    from orchestrator.pipeline.gate import Verdict
    from orchestrator.pipeline.positions import Positions
    from orchestrator.pipeline.quantize.modes import Source


@dataclass(frozen=True, slots=True)
class Trial:
    """What one mode came to: the layers kept in float, the file's size by that of FP32."""

    mode: str
    kept: tuple[str, ...]
    size: float
    verdict: Verdict

    @property
    def worst(self) -> float:
        """The error nearest to its limit, or farthest beyond, in units of the limit."""
        return max(self.verdict.margins.values())

    def document(self) -> dict[str, Any]:
        """The trial for a manifest."""
        return {
            "mode": self.mode,
            "size": round(self.size, 4),
            "gate": "pass" if self.verdict.passed else "fail",
            "reason": self.verdict.reason,
        }


@dataclass(frozen=True, slots=True)
class Choice:
    """The trial that was chosen, and all that were made, in their order."""

    chosen: Trial
    tried: tuple[Trial, ...]


def search(
    source: Source, path: Path, check: Positions, *, tries: Iterable[str] = modes.WEIGHTS
) -> Choice:
    """Try modes until one passes the gate at `check`, and leave its file at `path`.

    The default modes come in the order of their files' sizes: the first that passes is the
    smallest. Where none passes, it is the one that comes closest. Static modes are not among them:
    they are for hosts that gain from integer arithmetic, and to be asked for.

    Raises ModelError where no position of `check` fits the shape.
    """
    judge = Judge(source, check)
    tried: list[Trial] = []
    chosen: Trial | None = None
    scratch = path.with_name(f"{path.name}.trial")
    try:
        for mode in tries:
            kept = modes.write(source, scratch, mode)
            trial = judge.trial(mode, kept, scratch)
            tried.append(trial)
            if chosen is None or trial.verdict.passed or trial.worst < chosen.worst:
                chosen = trial
                scratch.replace(path)
            if trial.verdict.passed:
                break
    finally:
        scratch.unlink(missing_ok=True)
    if chosen is None:
        raise ValueError("no mode to try")
    return Choice(chosen, tuple(tried))


class Judge:
    """What holds files of one net to the answers of the net itself; `full` bytes is its FP32."""

    def __init__(self, source: Source, check: Positions) -> None:
        self._source, self._check = source, check
        self.full = onnx_graph.build(source.net, source.shape).ByteSize()
        self._answers: tuple[Answers, ...] | None = None

    def trial(self, mode: str, kept: tuple[str, ...], path: Path) -> Trial:
        """How the file at `path` does."""
        report = self.report(path)
        return Trial(mode, kept, path.stat().st_size / self.full, gate.judge(report))

    def report(self, path: Path) -> accuracy.Report:
        """The errors of the file at `path`."""
        net, shape, progress = self._source.net, self._source.shape, self._source.progress
        fitting = self._check.fitting(shape)
        runner = runners.OnnxRuntime(path, shape)
        progress("checking against the gate", 0, 1)
        if self._answers is None and fitting.count:
            reference = runners.reference(net, optimism=shape.optimism)
            self._answers = accuracy.evaluate(reference, fitting, net)
        report = accuracy.compare(self._answers or (), runner, fitting, net)
        progress("checking against the gate", 1, 1)
        return report
