"""KataGo nets for tests: tiny ones made from a seed, and damaged copies of given ones."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.pipeline.katago.random_net import random_net
from orchestrator.pipeline.katago.reader import read
from orchestrator.pipeline.katago.writer import write

if TYPE_CHECKING:
    from pathlib import Path


def tiny_net(path: Path, *, seed: int) -> Path:
    """A net of random weights at `path`, which KataGo loads in a moment."""
    write(random_net(seed=seed, name="tiny"), path)
    return path


def scramble(source: Path, out: Path) -> Path:
    """A copy of `source` whose weights are permuted in each array: loads, answers wrong."""
    write(_permuted(read(source), np.random.default_rng(1)), out)
    return out


def _permuted(part: Any, rng: np.random.Generator) -> Any:
    if isinstance(part, np.ndarray):
        return rng.permutation(part.reshape(-1)).reshape(part.shape)
    if isinstance(part, tuple):
        return tuple(_permuted(each, rng) for each in part)
    if not is_dataclass(part):
        return part
    changed = {field.name: _permuted(getattr(part, field.name), rng) for field in fields(part)}
    return replace(part, **changed)
