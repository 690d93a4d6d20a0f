"""Which source a word means, files of this machine, and members of wheels fetched by pip."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile

import pytest

from orchestrator.errors import ModelError
from orchestrator.models import sources
from orchestrator.models.sources import wheel
from tests.needs import find_program, missing
from tests.web import Site, serve

DATA = b"a net\n" * 5000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def incoming(tmp_path):
    folder = tmp_path / "incoming"
    folder.mkdir()
    return folder


def test_a_file_is_copied(tmp_path, incoming):
    (tmp_path / "net.onnx").write_bytes(DATA)
    told = []
    fetched = sources.fetch(
        str(tmp_path / "net.onnx"), incoming, progress=lambda *step: told.append(step)
    )
    assert fetched.path.parent == incoming
    assert fetched.path.read_bytes() == DATA
    assert (fetched.filename, fetched.sha256, fetched.size) == ("net.onnx", DIGEST, len(DATA))
    assert fetched.source == str(tmp_path / "net.onnx")
    assert told[-1] == (len(DATA), len(DATA))


def test_a_relative_path_starts_at_the_base_or_here(tmp_path, incoming, monkeypatch):
    (tmp_path / "net.onnx").write_bytes(DATA)
    assert sources.fetch("net.onnx", incoming, base=tmp_path).sha256 == DIGEST
    monkeypatch.chdir(tmp_path)
    assert sources.fetch("net.onnx", incoming).sha256 == DIGEST
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sources.fetch("~/net.onnx", incoming, base=incoming).sha256 == DIGEST


def test_a_link_keeps_its_own_name(tmp_path, incoming):
    (tmp_path / "blob").write_bytes(DATA)
    (tmp_path / "net.onnx").symlink_to("blob")
    assert sources.fetch(str(tmp_path / "net.onnx"), incoming).filename == "net.onnx"


@pytest.mark.parametrize(
    ("name", "message"), [("none.onnx", "does not exist"), ("", "is a folder")]
)
def test_no_file(tmp_path, incoming, name, message):
    with pytest.raises(ModelError, match=message):
        sources.fetch(str(tmp_path / name), incoming)


@pytest.mark.parametrize(("fragment", "sha256"), [("", "0" * 64), ("#sha256=" + "0" * 64, None)])
def test_another_file_than_meant_is_not_kept(tmp_path, incoming, fragment, sha256):
    (tmp_path / "net.onnx").write_bytes(DATA)
    with pytest.raises(ModelError, match=f"expected {'0' * 64}, found {DIGEST}"):
        sources.fetch(f"{tmp_path / 'net.onnx'}{fragment}", incoming, sha256=sha256)
    assert list(incoming.iterdir()) == []


def test_two_different_sha256_are_refused(incoming):
    with pytest.raises(ModelError, match="two different"):
        sources.fetch(f"https://h/x#sha256={'0' * 64}", incoming, sha256="1" * 64)


def test_no_sha256(incoming):
    with pytest.raises(ModelError, match="'123' is not a sha256"):
        sources.fetch("x", incoming, sha256="123")


def test_a_url_may_carry_its_sha256(incoming):
    with serve(Site(DATA)) as site:
        fetched = sources.fetch(site.url(f"/a/net.onnx#sha256={DIGEST.upper()}"), incoming)
    assert fetched.path.read_bytes() == DATA
    assert fetched.source == site.url("/a/net.onnx")


def test_a_server_that_is_not_there(incoming, monkeypatch):
    monkeypatch.setattr("orchestrator.models.sources.http.ATTEMPTS", 1)
    with serve(Site(DATA)) as site:
        url = site.url("/net.onnx")
    with pytest.raises(ModelError, match="cannot be fetched"):
        sources.fetch(url, incoming, sha256=DIGEST)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("https://h/a/my%20net.onnx?x=1#sha256=" + "0" * 64, "my net.onnx"),
        ("https://h", ""),
        ("../nets/net.onnx", "net.onnx"),
        ("wheel:a==1!b/net.bin.gz", "net.bin.gz"),
        ("wheel:a==1!b/*.bin.gz", ""),
    ],
)
def test_names_before_fetching(source, name):
    assert sources.name_of(source) == name


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder with one wheel, which is all that pip is allowed to see."""
    folder = tmp_path / "index"
    folder.mkdir()
    info = "netpack-1.2.dist-info"
    members = {
        "netpack/nets/small.bin.gz": DATA,
        "netpack/nets/large.bin.gz": DATA * 2,
        "netpack/only.onnx": DATA,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: netpack\nVersion: 1.2\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    with zipfile.ZipFile(folder / "netpack-1.2-py3-none-any.whl", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    if not any((wheel.importlib.util.find_spec("pip"), find_program("pip"))):
        missing("pip is missing; get it by: python -m ensurepip")
    return folder


@pytest.mark.parametrize("member", ["netpack/only.onnx", "*.onnx", "netpack/nets/s*"])
def test_a_member_of_a_wheel(index, incoming, member):
    source = f"wheel:netpack==1.2!{member}"
    fetched = sources.fetch(source, incoming)
    assert fetched.path.read_bytes() == DATA
    assert fetched.sha256 == DIGEST
    assert fetched.filename in {"only.onnx", "small.bin.gz"}
    assert fetched.source == source
    assert list(incoming.iterdir()) == [fetched.path]


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        ("wheel:netpack==1.2!*.bin.gz", "2 members of netpack-1.2", "netpack/nets/small.bin.gz"),
        ("wheel:netpack==1.2!none", "has no member none", "netpack/nets/large.bin.gz"),
        ("wheel:netpack==9!x", "pip could not get netpack==9", "version"),
        ("wheel:nosuchpack==1!x", "pip could not get nosuchpack==1", "name"),
        ("wheel:netpack!x", "names no member of a wheel", "wheel:PACKAGE==VERSION!member"),
        ("wheel:--index-url==1!x", "names no member of a wheel", "wheel:PACKAGE"),
    ],
)
def test_what_pip_does_not_give(index, incoming, source, message, hint):
    with pytest.raises(ModelError, match=message) as caught:
        sources.fetch(source, incoming)
    assert hint in caught.value.hint
    assert list(incoming.iterdir()) == []


def test_a_damaged_wheel(index, incoming):
    (path,) = index.iterdir()
    data = bytearray(path.read_bytes())
    at = data.index(DATA[:100])
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="netpack"):
        sources.fetch("wheel:netpack==1.2!netpack/nets/small.bin.gz", incoming)
    assert list(incoming.iterdir()) == []


def test_pip_comes_from_this_python_or_path_or_uv(tmp_path, monkeypatch):
    def command():
        return wheel.download_command("a==1", tmp_path)

    monkeypatch.setattr(wheel.importlib.util, "find_spec", lambda name: name)
    assert command()[:4] == [sys.executable, "-m", "pip", "download"]
    assert command()[-2:] == ["--", "a==1"]
    monkeypatch.setattr(wheel.importlib.util, "find_spec", lambda _: None)
    programs = {"pip", "uv"}
    monkeypatch.setattr(wheel.shutil, "which", lambda name: name if name in programs else None)
    assert command()[:2] == ["pip", "download"]
    programs.remove("pip")
    assert command()[:5] == ["uv", "tool", "run", "pip", "download"]
    programs.remove("uv")
    with pytest.raises(ModelError, match="neither") as caught:
        command()
    assert "ensurepip" in caught.value.hint
