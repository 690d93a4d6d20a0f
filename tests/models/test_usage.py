"""Which blobs hosts use, from the history and the inventory."""

from __future__ import annotations

import pytest

from orchestrator.models.manifest import Artifact, Golden, ModelVersion
from orchestrator.models.usage import digests_in_use


def version(name, digit):
    golden = Golden("g.npz", f"{digit}b" * 32, 1)
    artifact = Artifact("onnx", "fp32", "n.onnx", f"{digit}a" * 32, 1, golden=golden)
    return ModelVersion("net", name, (artifact,))


VERSIONS = [version(f"v{digit}", digit) for digit in range(1, 6)]


def outcome(status, release, previous=None):
    """What became of a host, as `deploy --json` tells it."""
    artifact = {"model": "net", "version": release, "sha256": f"{release[1:]}a" * 32}
    old = f"net-{previous}-0123456789ab" if previous else None
    return {
        "status": status,
        "release": f"net-{release}-ba9876543210",
        "previous": old,
        "artifact": artifact,
    }


NOTHING = {"status": "unreachable", "release": None, "previous": None, "artifact": None}


@pytest.mark.parametrize(
    ("wanted", "outcomes", "used"),
    [
        ([], [], []),
        (["net@v2", "", "other@v1"], [], [2]),
        ([], [[outcome("deployed", "v3", "v2")]], [2, 3]),
        ([], [[outcome("deployed", "v3", "v2"), outcome("deployed", "v2", "v1")]], [2, 3]),
        ([], [[outcome("rolled_back", "v4", "v3"), outcome("deployed", "v1")]], [3, 4]),
        ([], [[outcome("failed", "v4", "v3"), outcome("deployed", "v1")]], [1, 3, 4]),
        ([], [[NOTHING, NOTHING, outcome("unchanged", "v5")]], [5]),
        (["net@v1"], [[outcome("deployed", "v3")], [outcome("deployed", "v4")]], [1, 3, 4]),
    ],
)
def test_the_files_of_every_version_that_a_host_has_or_is_to_get(wanted, outcomes, used):
    expected = {f"{digit}{file}" * 32 for digit in used for file in "ab"}
    assert digests_in_use(VERSIONS, wanted, outcomes) == expected


def test_a_version_that_is_in_no_catalog_any_more_keeps_its_blob():
    assert digests_in_use([], [], [[outcome("deployed", "v3")]]) == {"3a" * 32}
