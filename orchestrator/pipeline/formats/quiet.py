"""Converters made to keep to themselves what is no news to who runs them."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Of the LiteRT converter: the log of its C++, and what that says before it reads the first.
_SILENCE = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
# litert-torch copies the tree of arguments by a part of PyTorch that is going away.
_DEPRECATED = r"`isinstance\(treespec, LeafSpec\)`"
# coremltools leaves the removal of a folder of its own to Python.
_LEFT = "Implicitly cleaning up <TemporaryDirectory"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, no notes on versions of libraries, no warnings that are not for users."""
    for name, value in _SILENCE.items():
        os.environ.setdefault(name, value)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    nowhere = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            warnings.filterwarnings("ignore", _DEPRECATED, FutureWarning)
            warnings.filterwarnings("ignore", _LEFT, ResourceWarning)
            yield
    finally:
        logging.disable(before)
