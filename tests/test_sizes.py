"""Bytes as people read them."""

import pytest

from orchestrator.sizes import human_size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (97_878_277, "97.9 MB"),
        (1_000_000_000, "1.0 GB"),
        (12_345_000_000_000, "12345.0 GB"),
    ],
)
def test_human_size(size, text):
    assert human_size(size) == text
