"""What KataGo 1.17.2 (Eigen, FP32) answers with five real nets: positions, policy, value, lead.

`tests/data/golden/<net>.npz` has, for each board size S, `spatialS` [n, 22, S, S], `globalS`
[n, 19], `policyS` [n, S*S + 1] over legal moves (NaN where illegal), `valueS` [n, 3] for white,
`leadS` [n], `ownershipS` [n, S, S] for white and `black_to_moveS` [n]. Symmetry 0, no optimism.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.pipeline.positions import Batch
from orchestrator.pipeline.tensors import Inputs
from tests import nets

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "data" / "golden"
B18 = "kata1-b18c384nbt-s9996604416"
B10 = "b10c384h6nbttflrs"
FILES = {
    "g170-b6c96": nets.B6C96,
    "b7c96h3tfrs-test5-cnorm": nets.FIXED_ROPE,
    "b7c96h6kv3qk32v16tflrs-fson-bnh": nets.LEARNED_ROPE,
    B10: nets.B10C384H6NBTTFLRS,
    B18: nets.B18C384NBT,
}
NAMES = tuple(FILES)
BOARDS = (7, 9, 13, 19)


@dataclass(frozen=True)
class Golden:
    """Positions of one board size with the engine's answers, for the side to move."""

    batch: Batch
    legal: NDArray[np.bool_]
    policy: NDArray[np.float64]
    value: NDArray[np.float64]
    lead: NDArray[np.float64]
    ownership: NDArray[np.float64]


def net(name: str) -> Path:
    """The file of a net, fetched if it has to be."""
    file = FILES[name]
    return nets.real_net(file) if isinstance(file, str) else nets.wheel_net(*file)


def load(name: str, rows: int) -> list[Golden]:
    """The answers of a net, of at most `rows` positions of each board size."""
    with np.load(FOLDER / f"{name}.npz") as archive:
        return [_board(archive, size, rows) for size in BOARDS]


def _board(archive, size: int, rows: int) -> Golden:
    def array(name: str):
        return archive[f"{name}{size}"][:rows]

    inputs = Inputs(array("spatial").astype(np.float32), array("global"))
    black = array("black_to_move")
    policy, value = array("policy"), array("value")
    own = np.where(black[:, None], value[:, [1, 0, 2]], value)
    sign = np.where(black, -1.0, 1.0)
    return Golden(
        Batch(size, size, inputs),
        ~np.isnan(policy),
        np.nan_to_num(policy).astype(np.float64),
        own.astype(np.float64),
        array("lead") * sign,
        (array("ownership") * sign[:, None, None]).reshape(len(black), -1).astype(np.float64),
    )
