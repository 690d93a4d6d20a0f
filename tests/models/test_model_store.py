"""The content-addressed store, and files that went bad in it."""

from __future__ import annotations

import hashlib
import io
import os
import tracemalloc

import pytest

from orchestrator.errors import ModelError
from orchestrator.models import store as store_module
from orchestrator.models.store import Store, Stored

DATA = b"weights " * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def damage(path, data):
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_blob_is_named_by_its_content_and_read_only(store, tmp_path):
    assert store.put(io.BytesIO(DATA)) == Stored(DIGEST, len(DATA))
    path = tmp_path / "store" / "sha256" / DIGEST[:2] / DIGEST
    assert store.path(DIGEST) == path
    assert path.read_bytes() == DATA
    assert path.stat().st_mode & 0o777 == 0o444
    assert store.has(DIGEST)
    assert list(store) == [Stored(DIGEST, len(DATA))]
    assert list(store.incoming.iterdir()) == []


def test_putting_it_again_repairs_it(store):
    store.put(io.BytesIO(DATA))
    damage(store.path(DIGEST), b"rot")
    store.put(io.BytesIO(DATA))
    store.verify(DIGEST)


def test_a_stream_that_breaks_leaves_nothing(store):
    class Broken(io.RawIOBase):
        def read(self, size=-1):
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        store.put(Broken())
    assert list(store.incoming.iterdir()) == []
    assert list(store) == []


def test_memory_does_not_grow_with_the_file(store):
    size = 64 << 20

    class Zeros(io.RawIOBase):
        left = size

        def read(self, wanted=-1):
            count = min(wanted, self.left)
            self.left -= count
            return bytes(count)

    tracemalloc.start()
    try:
        assert store.put(Zeros()).size == size
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (DATA[:-1], f"expected {len(DATA)} bytes, found {len(DATA) - 1} bytes"),
        (b"", f"expected {len(DATA)} bytes, found 0 bytes"),
        (b"W" + DATA[1:], f"found sha256 {hashlib.sha256(b'W' + DATA[1:]).hexdigest()}"),
    ],
)
@pytest.mark.parametrize("call", ["verify", "check"])
def test_damage_is_found_and_named(store, data, found, call):
    store.put(io.BytesIO(DATA))
    damage(store.path(DIGEST), data)
    with pytest.raises(ModelError) as caught:
        getattr(store, call)(DIGEST, len(DATA))
    assert str(store.path(DIGEST)) in caught.value.message
    assert found in caught.value.message
    assert "models fetch" in caught.value.hint


def test_a_missing_blob(store):
    with pytest.raises(ModelError, match="is missing") as caught:
        store.check(DIGEST, len(DATA))
    assert "models fetch" in caught.value.hint


def test_check_hashes_once_and_again_after_a_change(store, monkeypatch):
    hashed = []
    original = store_module.files.sha256_of
    monkeypatch.setattr(
        store_module.files, "sha256_of", lambda path: hashed.append(path) or original(path)
    )
    store.put(io.BytesIO(DATA))
    for _ in range(500):
        assert store.check(DIGEST, len(DATA)) == store.path(DIGEST)
    assert len(hashed) == 1
    damage(store.path(DIGEST), b"W" + DATA[1:])
    os.utime(store.path(DIGEST), ns=(1, 1))
    with pytest.raises(ModelError, match="damaged"):
        store.check(DIGEST, len(DATA))
    assert len(hashed) == 2


@pytest.mark.parametrize("name", ["", "abc", "../" * 22, "A" * 64, DIGEST + "0"])
def test_only_a_digest_is_a_name(store, name):
    with pytest.raises(ModelError, match="not a sha256"):
        store.path(name)


def test_removing_what_is_not_there_is_no_error(store):
    store.put(io.BytesIO(DATA))
    store.remove(DIGEST)
    store.remove(DIGEST)
    assert not store.has(DIGEST)


def test_a_store_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere" / "at" / "all")
    with pytest.raises(ModelError, match=r"cannot write to .*gone/incoming: File exists"):
        _ = Store(tmp_path / "gone").incoming
