"""What every artifact of a KataGo net takes and gives, by name, whatever its format.

| name           | shape           | what |
|----------------|-----------------|------|
| `input`        | [N, 22, H, W]   | KataGo's V7 planes; plane 0 is 1 on the board, 0 beyond it |
| `input_global` | [N, 19]         | KataGo's V7 global features |
| `input_meta`   | [N, 192]        | of HumanSL nets only |
| `policy`       | [N, H*W + 1]    | logits of the moves, point y*W + x, and last of the pass |
| `value`        | [N, 3]          | logits of win, loss, no result, for the side to move |
| `misc`         | [N, 4 or 6]     | see `MISC` |
| `ownership`    | [N, 1, H, W]    | -1 to 1, for the side to move |

All are float32, the answers before the engine's post-processing (`accuracy.answers` does it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

INPUTS = ("input", "input_global", "input_meta")
OUTPUTS = ("policy", "value", "misc", "ownership")
# In units of PostProcess; the ones marked so go through softplus first. Version 8 has the first 4.
MISC = (
    "score_mean",
    "score_stdev before softplus",
    "lead",
    "variance_time before softplus",
    "shortterm_winloss_error before softplus",
    "shortterm_score_error before softplus",
)


@dataclass(frozen=True, slots=True)
class Inputs(Generic[T]):
    """`spatial` [N, 22, H, W], `global_` [N, 19], `meta` [N, 192] or None."""

    spatial: T
    global_: T
    meta: T | None = None


@dataclass(frozen=True, slots=True)
class Outputs(Generic[T]):
    """`policy` [N, H*W + 1], `value` [N, 3], `misc` [N, 4 or 6], `ownership` [N, 1, H, W]."""

    policy: T
    value: T
    misc: T
    ownership: T


if TYPE_CHECKING:
    InputArrays = Inputs[NDArray[np.float32]]
    OutputArrays = Outputs[NDArray[np.float32]]
