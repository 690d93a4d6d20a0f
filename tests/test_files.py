"""Files that are there whole or not at all."""

import pytest

from orchestrator import files


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_with_its_mode(tmp_path, durable):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    files.write_atomically(path, b"new", mode=0o640, durable=durable)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(_handle):
        raise OSError("No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
