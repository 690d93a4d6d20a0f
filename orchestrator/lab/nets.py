"""The nets of the demo: a real one out of a wheel, a tiny one where that cannot be had."""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.models import sources
from orchestrator.pipeline.katago.random_net import random_net
from orchestrator.pipeline.katago.reader import read
from orchestrator.pipeline.katago.writer import write

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from orchestrator.pipeline.katago.net import Net

    Floats = NDArray[np.float32]

# g170e-b15c192: 15 blocks of 192 channels, 37 MB, a dozen evaluations a second on two cores.
SOURCE = "wheel:katrain==1.13.0!katrain/models/g170e-b15c192-s1672170752-d466197061.bin.gz"
SHA256 = "1579a64e6190c3a8d73eeb96feb4dee1879f9e5e114279b15d6c56dbab3b0f78"
NAME = "g170e-b15c192.bin.gz"
# Of the weights' own size: a net that was trained a little longer.
TRAINED_FURTHER = 1e-3


def real_net(progress: Callable[[int, int | None], None] = lambda _done, _total: None) -> Path:
    """A real net, fetched once into the user's cache folder; raises ModelError where that fails."""
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orchestrate" / "nets"
    )
    path = cache / NAME
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        fetched = sources.fetch(SOURCE, cache, sha256=SHA256, progress=progress)
        fetched.path.replace(path)
    return path


def tiny_net(path: Path) -> Path:
    """A net of random weights at `path`, which is built and runs in a moment."""
    write(random_net(seed=1, kind="ordinary+gpool", channels=32, blocks=4, name="tiny"), path)
    return path


def scrambled(net: Net) -> Net:
    """The net with the weights of each layer permuted: well-formed, and wrong."""
    rng = np.random.default_rng(1)

    def permuted(values: Floats) -> Floats:
        return rng.permutation(values.reshape(-1)).reshape(values.shape)

    found: Net = _changed(net, permuted)
    return found


def trained_further(source: Path, path: Path) -> Path:
    """A newer net at `path`: that of `source` with its weights moved a little."""
    rng = np.random.default_rng(2)

    def moved(values: Floats) -> Floats:
        return values * (1 + TRAINED_FURTHER * rng.standard_normal(values.shape, np.float32))

    write(_changed(read(source), moved), path)
    return path


def _changed(part: Any, change: Callable[[Floats], Floats]) -> Any:
    """The record with `change` made to every array in it."""
    if isinstance(part, np.ndarray):
        return change(part)
    if isinstance(part, tuple):
        return tuple(_changed(each, change) for each in part)
    if not is_dataclass(part) or isinstance(part, type):
        return part
    said = {each.name: _changed(getattr(part, each.name), change) for each in fields(part)}
    return replace(part, **said)
