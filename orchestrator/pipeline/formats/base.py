"""The seam for file formats: one module for each, with a `FORMAT` in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.pipeline.katago.network import Shape

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.positions import Positions
    from orchestrator.pipeline.runners import Runner

OnStep = Callable[[str, int, int], None]
"""Told what is being done, how much of it is, and how much there is."""


@dataclass(frozen=True, slots=True)
class Finetune:
    """How long a net is taught to live with INT8; the first bound that is reached ends it."""

    steps: int = 400
    minutes: float = 20.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """One artifact to be made.

    `mode` is how INT8 is reached, `finetune` whether the net is trained for it.
    `compute_capability` and `batch_sizes` (smallest, usual, largest) are for engines that are
    built for one GPU.
    """

    format: str
    precision: str
    shape: Shape = field(default_factory=Shape)
    variant: str = ""
    mode: str = "auto"
    finetune: Finetune | None = None
    compute_capability: str = ""
    batch_sizes: tuple[int, int, int] = (1, 8, 32)

    @property
    def name(self) -> str:
        """`onnx int8`, `tensorrt fp16 8.9`."""
        words = (self.format, self.precision, self.variant, self.compute_capability)
        return " ".join(word for word in words if word)

    @property
    def options(self) -> dict[str, Any]:
        """What was asked for, as the provenance tells it: only what matters to this artifact."""
        shape = asdict(self.shape)
        height, width = shape.pop("height"), shape.pop("width")
        said = {"board": f"{width}x{height}", **shape}
        if self.precision == "int8":
            said |= {"mode": self.mode}
            said |= {"finetune": asdict(self.finetune)} if self.finetune else {}
        if self.compute_capability:
            said |= {"compute_capability": self.compute_capability}
            said |= {"batch_sizes": list(self.batch_sizes)}
        return said


@dataclass(frozen=True, slots=True)
class Work:
    """What a build has at hand besides the net.

    `calibration` are the positions that INT8 may look at, `check` those that it is judged by: no
    position is in both. `folder` is for scratch files.
    """

    folder: Path
    calibration: Positions
    check: Positions
    progress: OnStep


@dataclass(frozen=True, slots=True)
class Made:
    """What a format says of the file that it wrote.

    `chosen` is what was found out on the way, such as which layers stayed in float. `stand_in` is
    an ONNX file of the same arithmetic, where the file itself cannot be run on this machine.
    """

    chosen: Mapping[str, Any] = field(default_factory=dict)
    requires: Mapping[str, str] = field(default_factory=dict)
    stand_in: Path | None = None


class Format(Protocol):
    """A file format that nets can be written in."""

    @property
    def suffix(self) -> str:
        """The end of its files' names."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions it can be written in."""

    @property
    def extra(self) -> str:
        """The extra of this package that installs what it needs."""

    @property
    def libraries(self) -> tuple[str, ...]:
        """The modules it needs, whose versions the provenance names."""

    def write(self, net: Net, path: Path, recipe: Recipe, work: Work) -> Made:
        """Write the net to `path`. Raises ModelError where it cannot be done."""

    def runner(
        self, path: Path, shape: Shape, *, threads: int = 0, batch: int = 16
    ) -> Runner | None:
        """What runs the file here, `batch` rows at a time; None where this machine cannot.

        `threads` 0 leaves their number to the runtime.
        """
