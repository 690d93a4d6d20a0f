"""Whatever is added, yanked and cleared in whatever order: no blob that is needed is lost."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from orchestrator.errors import ModelError
from orchestrator.models.catalog import Catalog, NewArtifact

VERSIONS = st.sampled_from(["v1", "v2", "v3", "v10"])
CONTENTS = st.sampled_from([b"one", b"two", b"three"])
ORDER = ["v1", "v2", "v3", "v10"]


class CatalogStates(RuleBasedStateMachine):
    """The catalog beside a model of it: what each version holds, and which blobs must be there."""

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp())
        self.catalog = Catalog(self.folder / "artifacts")
        self.contents: dict[str, bytes] = {}
        self.digests: dict[str, str] = {}
        self.yanked: set[str] = set()
        self.here: set[str] = set()

    def teardown(self):
        shutil.rmtree(self.folder)

    @rule(version=VERSIONS, content=CONTENTS)
    def add(self, version, content):
        path = self.folder / "thing.bin"
        path.write_bytes(content)
        new = NewArtifact(str(path), format="file")
        if version in self.yanked or self.contents.get(version, content) != content:
            with pytest.raises(ModelError):
                self.catalog.add(f"thing@{version}", new)
            return
        added = self.catalog.add(f"thing@{version}", new)
        assert added.new == (version not in self.contents)
        self.contents[version] = content
        self.digests[version] = added.artifact.sha256
        self.here.add(added.artifact.sha256)

    @rule(version=VERSIONS)
    def yank(self, version):
        if version in self.contents:
            self.catalog.yank(f"thing@{version}", "bad")
            self.yanked.add(version)

    @rule(version=VERSIONS)
    def unyank(self, version):
        if version in self.contents:
            self.catalog.unyank(f"thing@{version}")
            self.yanked.discard(version)

    @rule(keep=st.integers(0, 3), used=st.sets(VERSIONS), dry_run=st.booleans())
    def gc(self, keep, used, dry_run):
        in_use = {self.digests[v] for v in used if v in self.digests}
        removed = {g.sha256 for g in self.catalog.gc(keep, in_use, dry_run=dry_run)}
        there = [v for v in ORDER if v in self.contents]
        fine = [v for v in there if v not in self.yanked]
        last = {
            *there[len(there) - min(keep, len(there)) :],
            *fine[len(fine) - min(keep, len(fine)) :],
        }
        needed = in_use | {self.digests[v] for v in last}
        assert not removed & needed
        assert removed <= self.here
        if not dry_run:
            self.here -= removed

    @invariant()
    def everything_is_as_remembered(self):
        if not hasattr(self, "catalog"):
            return
        assert {blob.sha256 for blob in self.catalog.store} == self.here
        versions = self.catalog.versions("thing")
        assert [v.version for v in versions] == [v for v in ORDER if v in self.contents]
        assert {v.version for v in versions if v.yanked} == self.yanked
        for version in versions:
            (artifact,) = version.artifacts
            assert artifact.sha256 == self.digests[version.version]
            if artifact.sha256 in self.here:
                path = self.catalog.store.check(artifact.sha256, artifact.size)
                assert path.read_bytes() == self.contents[version.version]


TestCatalogStates = CatalogStates.TestCase
TestCatalogStates.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
