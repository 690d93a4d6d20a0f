"""The smallest INT8 file of a net that passes the gate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from orchestrator.pipeline import accuracy, gate, onnx_graph, runners
from orchestrator.pipeline.quantize import modes, static, weights
from orchestrator.pipeline.quantize.layers import ends, pooled
from orchestrator.pipeline.quantize.sensitivity import few, sensitivity

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from orchestrator.pipeline.accuracy import Answers
    from orchestrator.pipeline.gate import Verdict
    from orchestrator.pipeline.positions import Positions
    from orchestrator.pipeline.quantize.modes import Source

STATIC_MIXED = "static-mixed"


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

    The default modes come in the order of what they cost: minutes for large nets from `weights` on.
    So do their files' sizes, within 1 % of FP32's. Where none passes, it is the one that comes
    closest. Static modes are not among them: they are for hosts that gain from integer arithmetic,
    and to be asked for.

    Raises ModelError where no position of `check` fits the shape.
    """
    best = _Best(source, path, check)
    with best:
        for mode in tries:
            kept = modes.write(source, best.scratch, mode)
            if best.take(mode, kept).verdict.passed:
                break
    return best.choice


def most_static(source: Source, path: Path, check: Positions, *, method: str = "minmax") -> Choice:
    """Let as many layers compute with integers as the gate at `check` allows; a file at `path`.

    The layers that lose least do, found by bisection; all others compute in FP32 with 8-bit weights
    in groups, stem and heads with float16 ones. `Trial.kept` are all that compute in FP32. Where
    not even none passes, the trial that comes closest is chosen.
    """
    net, shape, optimism = source.net, source.shape, source.shape.optimism
    always = ends(net) | pooled(net)
    stored = weights.nearest(net, kept=always, group=weights.GROUP, optimism=optimism)
    costs = sensitivity(
        net,
        few(source.calibration),
        kept=always,
        optimism=optimism,
        group=None,
        activations=True,
        progress=source.progress,
    )
    order = sorted(costs, key=lambda name: costs[name])
    best, fits, too_many = _Best(source, path, check), -1, len(order) + 1
    with best:
        while too_many - fits > 1:
            count = (fits + too_many) // 2
            kept = always | set(order[count:])
            static.write_static(
                net,
                best.scratch,
                shape,
                source.calibration,
                method=method,
                kept=kept,
                stored=stored,
                progress=source.progress,
            )
            trial = best.take(STATIC_MIXED, tuple(name for name in stored if name in kept))
            if trial.verdict.passed:
                fits = count
            else:
                too_many = count
    return best.choice


class _Best:
    """Keeps, at `path`, the last file that passed, or else the one that came closest.

    `scratch` is where a file is put before it is judged; it goes when the block is left.
    """

    def __init__(self, source: Source, path: Path, check: Positions) -> None:
        self.scratch = path.with_name(f"{path.name}.trial")
        self._path, self._judge = path, Judge(source, check)
        self._tried: list[Trial] = []
        self._chosen: Trial | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.scratch.unlink(missing_ok=True)

    def take(self, mode: str, kept: tuple[str, ...]) -> Trial:
        """The trial of what lies at `scratch`."""
        trial, before = self._judge.trial(mode, kept, self.scratch), self._chosen
        self._tried.append(trial)
        closer = before is None or (not before.verdict.passed and trial.worst < before.worst)
        if trial.verdict.passed or closer:
            self._chosen = trial
            self.scratch.replace(self._path)
        return trial

    @property
    def choice(self) -> Choice:
        """What was kept; raises ValueError where nothing was tried."""
        if self._chosen is None:
            raise ValueError("no mode to try")
        return Choice(self._chosen, tuple(self._tried))


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
