"""What gets into the catalog, what does not, and what it takes to get a file back."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.errors import ModelError
from orchestrator.models.catalog import Catalog, NewArtifact
from tests.katago_net import tiny_net
from tests.onnx_models import small_net
from tests.web import Site, serve


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project" / "artifacts").mkdir(parents=True)
    return tmp_path / "project"


@pytest.fixture
def catalog(project):
    return Catalog(project / "artifacts")


@pytest.fixture
def net(tmp_path):
    return tiny_net(tmp_path / "net.bin.gz", seed=1)


@pytest.fixture
def other_net(tmp_path):
    return tiny_net(tmp_path / "other.bin.gz", seed=2)


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({"positions": [{"moves": []}]}))
    return path


def from_file(path, **words):
    return NewArtifact(str(path), **words)


def snapshot(catalog):
    """Every file below artifacts with its content."""
    files = (p for p in catalog.artifacts.rglob("*") if p.is_file() and p.name != "lock")
    return {str(p): p.read_bytes() for p in files}


def test_a_file_becomes_an_artifact(catalog, net, answers):
    added = catalog.add("kata@v1", from_file(net, golden=str(answers), memory_mb=300))
    assert added.new
    artifact = added.artifact
    assert (artifact.format, artifact.precision) == ("katago", "fp32")
    assert artifact.sha256 == hashlib.sha256(net.read_bytes()).hexdigest()
    assert artifact.size == net.stat().st_size
    assert artifact.memory_mb == 300
    assert artifact.golden.filename == "answers.json"
    assert catalog.get("kata@v1") == added.version
    assert catalog.store.check(artifact.sha256, artifact.size).read_bytes() == net.read_bytes()
    assert catalog.store.has(artifact.golden.sha256)
    assert list(catalog.store.incoming.iterdir()) == []
    assert (catalog.artifacts / "kata" / "v1" / "manifest.json").is_file()


def test_artifacts_of_several_kinds_make_one_version(catalog, net, tmp_path):
    catalog.add("kata@v1", from_file(net))
    catalog.add("kata@v1", from_file(small_net(tmp_path / "net.onnx")))
    catalog.add("kata@v1", from_file(small_net(tmp_path / "net-fp16.onnx", seed=2)))
    engine = tmp_path / "net-fp16.engine"
    engine.write_bytes(b"ftrt")
    for capability in ("8.7", "8.9"):
        requires = {"compute_capability": capability}
        catalog.add("kata@v1", from_file(engine, requires=requires))
    kinds = [(a.format, a.precision, dict(a.requires)) for a in catalog.get("kata@v1").artifacts]
    assert kinds == [
        ("katago", "fp32", {}),
        ("onnx", "fp32", {}),
        ("onnx", "fp16", {}),
        ("tensorrt", "fp16", {"compute_capability": "8.7"}),
        ("tensorrt", "fp16", {"compute_capability": "8.9"}),
    ]


def test_adding_the_same_again_changes_nothing_and_repairs(catalog, net, answers):
    first = catalog.add("kata@v1", from_file(net, golden=str(answers)))
    before = snapshot(catalog)
    catalog.store.remove(first.artifact.sha256)
    again = catalog.add("kata@v1", from_file(net))
    assert not again.new
    assert again.version == first.version
    assert snapshot(catalog) == before


def test_a_version_does_not_change(catalog, net, other_net, answers):
    catalog.add("kata@v1", from_file(net))
    before = snapshot(catalog)
    for new in (
        from_file(other_net),
        from_file(net, golden=str(answers)),
        from_file(net, memory_mb=5),
        from_file(net, filename="renamed.bin.gz"),
    ):
        with pytest.raises(ModelError, match="already has another artifact") as caught:
            catalog.add("kata@v1", new)
        assert "new version" in caught.value.hint
    assert snapshot(catalog) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"sha256": "0" * 64}, "another sha256"),
        ({"format": "onnx"}, "no whole ONNX model"),
        ({"filename": "net.xyz"}, "format of net.xyz cannot be told"),
        ({"filename": "../net.bin.gz"}, "no name for a file"),
        ({"precision": "fp64"}, "no such precision"),
        ({"requires": {"gpu": "1"}}, "cannot require 'gpu'"),
        ({"golden": "nowhere.json"}, "nowhere.json does not exist"),
    ],
)
def test_what_is_refused_leaves_the_catalog_as_it_was(catalog, net, other_net, words, message):
    catalog.add("kata@v1", from_file(net))
    before = snapshot(catalog)
    with pytest.raises(ModelError, match=message):
        catalog.add("kata@v2", replace(from_file(other_net), **words))
    assert snapshot(catalog) == before
    assert [v.version for v in catalog.versions("kata")] == ["v1"]


def test_golden_answers_of_the_wrong_form_are_refused(catalog, net, tmp_path):
    np.savez(tmp_path / "g.npz", **{"input:x": np.ones(2), "output:y": np.ones(2)})
    with pytest.raises(ModelError, match=r"golden answers of format katago are a \.json"):
        catalog.add("kata@v1", from_file(net, golden=str(tmp_path / "g.npz")))
    onnx = small_net(tmp_path / "net.onnx")
    added = catalog.add("net@v1", from_file(onnx, golden=str(tmp_path / "g.npz")))
    assert added.artifact.golden.filename == "g.npz"


def test_a_format_that_cannot_be_told_is_refused_before_anything_is_fetched(catalog, project):
    with serve(Site(b"x")) as site:
        new = NewArtifact(site.url("/download"), sha256="0" * 64)
        with pytest.raises(ModelError, match="format of download"):
            catalog.add("kata@v1", new)
        assert site.ranges_asked == []
    assert list(project.glob("artifacts/*")) == []


def test_versions_in_their_order_and_models_by_name(catalog, net):
    for ref in ("b@v10", "b@v9", "b@v10-rc1", "a@1"):
        catalog.add(ref, from_file(net))
    assert catalog.models() == ["a", "b"]
    assert [v.version for v in catalog.versions("b")] == ["v9", "v10-rc1", "v10"]
    assert catalog.versions("*") == []
    assert [v.ref for v in catalog.all_versions()] == ["a@1", "b@v9", "b@v10-rc1", "b@v10"]


@pytest.mark.parametrize(
    ("ref", "message", "hint"),
    [
        ("kat@v1", "no model is named kat", "Did you mean 'kata'?"),
        ("zzz@v1", "no model is named zzz", "The models are kata"),
        ("kata@v11", "kata has no version v11", "Did you mean 'v1'?"),
        ("kata@x", "kata has no version x", "Its versions are v1"),
        ("kata", "names no version", "kata@v1"),
    ],
)
def test_what_is_not_there(catalog, net, ref, message, hint):
    catalog.add("kata@v1", from_file(net))
    with pytest.raises(ModelError, match=message) as caught:
        catalog.get(ref)
    assert hint in caught.value.hint


def test_an_empty_catalog_says_how_to_begin(catalog):
    assert catalog.models() == []
    with pytest.raises(ModelError) as caught:
        catalog.get("kata@v1")
    assert "orchestrate models add" in caught.value.hint


def test_a_manifest_in_the_wrong_folder(catalog, net):
    catalog.add("kata@v1", from_file(net))
    (catalog.artifacts / "kata" / "v1").rename(catalog.artifacts / "kata" / "v2")
    with pytest.raises(ModelError, match=r"artifacts/kata/v2/manifest.json describes kata@v1"):
        catalog.get("kata@v2")


def test_a_yanked_version(catalog, net, other_net):
    catalog.add("kata@v1", from_file(net))
    assert catalog.yank("kata@v1", " loses ladders ").yanked == "loses ladders"
    assert catalog.get("kata@v1").yanked == "loses ladders"
    with pytest.raises(ModelError, match="kata@v1 is yanked: loses ladders") as caught:
        catalog.add("kata@v1", from_file(other_net))
    assert "unyank" in caught.value.hint
    catalog.unyank("kata@v1")
    assert catalog.get("kata@v1").yanked is None
    with pytest.raises(ModelError, match="reason"):
        catalog.yank("kata@v1", "  ")


def test_verify_tells_the_state_of_every_file(catalog, net, answers, other_net):
    artifact = catalog.add("kata@v1", from_file(net, golden=str(answers))).artifact
    catalog.add("kata@v2", from_file(other_net))
    assert [s.problem for s in catalog.verify()] == ["", "", ""]
    path = catalog.store.path(artifact.sha256)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    catalog.store.remove(artifact.golden.sha256)
    damaged, missing = catalog.verify("kata@v1")
    assert "is damaged" in damaged.problem
    assert "is missing" in missing.problem
    assert [s.problem for s in catalog.verify("kata@v2")] == [""]


def test_fetch_gets_what_is_missing_or_damaged_from_its_source(catalog, project, answers, net):
    answers.rename(project / "answers.json")
    content = net.read_bytes()
    with serve(Site(content)) as site:
        new = NewArtifact(
            site.url("/net.bin.gz"),
            sha256=hashlib.sha256(content).hexdigest(),
            golden=str(project / "answers.json"),
        )
        artifact = catalog.add("kata@v1", new).artifact
        assert artifact.golden.source == "answers.json"
        assert catalog.fetch() == []
        path = catalog.store.path(artifact.sha256)
        path.chmod(0o644)
        path.write_bytes(content[:-1])
        catalog.store.remove(artifact.golden.sha256)
        elsewhere = Catalog(catalog.artifacts)
        assert [s.file.filename for s in elsewhere.fetch()] == ["net.bin.gz", "answers.json"]
    assert [s.problem for s in catalog.verify()] == ["", ""]


def test_fetch_refuses_another_file_under_the_same_source(catalog, net, other_net):
    artifact = catalog.add("kata@v1", from_file(net)).artifact
    catalog.store.remove(artifact.sha256)
    net.write_bytes(other_net.read_bytes())
    with pytest.raises(ModelError, match="another sha256"):
        catalog.fetch("kata@v1")
    assert not catalog.store.has(artifact.sha256)


def test_fetch_without_a_source_says_what_to_do(catalog, net):
    artifact = catalog.add("kata@v1", from_file(net)).artifact
    manifest = catalog.artifacts / "kata" / "v1" / "manifest.json"
    document = json.loads(manifest.read_text())
    del document["artifacts"][0]["source"]
    manifest.write_text(json.dumps(document))
    catalog.store.remove(artifact.sha256)
    with pytest.raises(ModelError, match="names no source") as caught:
        catalog.fetch()
    assert "orchestrate models add kata@v1" in caught.value.hint


def test_yanked_versions_are_fetched_only_when_named(catalog, net):
    artifact = catalog.add("kata@v1", from_file(net)).artifact
    catalog.yank("kata@v1", "bad")
    catalog.store.remove(artifact.sha256)
    assert catalog.fetch() == []
    assert len(catalog.fetch("kata@v1")) == 1


@pytest.fixture
def five(catalog, tmp_path):
    """The digests of v1 to v5."""
    nets = [tiny_net(tmp_path / f"n{i}.bin.gz", seed=i) for i in range(1, 6)]
    return [catalog.add(f"kata@v{i}", from_file(n)).artifact.sha256 for i, n in enumerate(nets, 1)]


@pytest.mark.parametrize(
    ("keep", "in_use", "yanked", "stay"),
    [
        (2, [], [], [4, 5]),
        (2, [1], [], [1, 4, 5]),
        (0, [3], [], [3]),
        (0, [], [], []),
        (9, [], [], [1, 2, 3, 4, 5]),
        (2, [], [5], [3, 4, 5]),
        (2, [], [4], [3, 4, 5]),
        (2, [], [1], [4, 5]),
    ],
)
def test_gc_keeps_what_hosts_use_and_the_last_versions(catalog, five, keep, in_use, yanked, stay):
    for number in yanked:
        catalog.yank(f"kata@v{number}", "bad")
    used = {five[number - 1] for number in in_use}
    would = catalog.gc(keep, used, dry_run=True)
    assert all(catalog.store.has(digest) for digest in five)
    assert catalog.gc(keep, used) == would
    assert [n for n in range(1, 6) if catalog.store.has(five[n - 1])] == stay
    assert sorted(ref for g in would for ref in g.refs) == [
        f"kata@v{n}" for n in range(1, 6) if n not in stay
    ]


def test_gc_refuses_a_negative_number(catalog, five):
    with pytest.raises(ModelError, match="cannot keep -1"):
        catalog.gc(-1, set())
    assert all(catalog.store.has(digest) for digest in five)


def test_gc_removes_nothing_while_a_manifest_cannot_be_read(catalog, five):
    (catalog.artifacts / "kata" / "v2" / "manifest.json").write_text('{"schema": 99}')
    with pytest.raises(ModelError, match="newer orchestrate"):
        catalog.gc(0, set())
    assert all(catalog.store.has(digest) for digest in five)


def test_gc_removes_blobs_of_no_version_and_old_leftovers(catalog, five, tmp_path):
    with (tmp_path / "n1.bin.gz").open("rb") as stream:
        stream.seek(1)
        orphan = catalog.store.put(stream)
    old, new = (catalog.store.incoming / name for name in ("old.part", "new.part"))
    folder = catalog.store.incoming / "killed"
    folder.mkdir()
    for path in (old, new, folder / "x"):
        path.write_bytes(b"x")
    long_ago = time.time() - 2 * 24 * 3600
    for path in (old, folder):
        os.utime(path, (long_ago, long_ago))
    (garbage,) = catalog.gc(5, set())
    assert (garbage.sha256, garbage.refs) == (orphan.sha256, ())
    assert list(catalog.store.incoming.iterdir()) == [new]


def test_gc_removes_old_links_and_not_what_they_lead_to(catalog, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    for name, goal in (("gone", tmp_path / "nowhere"), ("folder", kept)):
        link = catalog.store.incoming / name
        link.symlink_to(goal)
        os.utime(link, (0, 0), follow_symlinks=False)
    catalog.gc(1, ())
    assert list(catalog.store.incoming.iterdir()) == []
    assert kept.is_dir()


def test_two_who_add_at_the_same_time_lose_nothing(catalog, tmp_path):
    files = [
        tiny_net(tmp_path / "net.bin.gz", seed=1),
        small_net(tmp_path / "net.onnx"),
        small_net(tmp_path / "net-fp16.onnx", seed=2),
        small_net(tmp_path / "net-int8.onnx", seed=3),
    ]
    start = threading.Barrier(len(files))

    def add(path):
        start.wait()
        Catalog(catalog.artifacts).add("kata@v1", from_file(path))

    threads = [threading.Thread(target=add, args=(path,)) for path in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {a.filename for a in catalog.get("kata@v1").artifacts} == {p.name for p in files}
    assert all(not s.problem for s in catalog.verify())
