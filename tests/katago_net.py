"""KataGo nets for tests: tiny ones made from a seed, and damaged copies of given ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.lab.nets import scrambled
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
    write(scrambled(read(source)), out)
    return out
