"""Files that are not what their format says, seen before they enter the store."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ModelError
from orchestrator.models import golden, sanity
from tests.katago_net import tiny_net
from tests.onnx_models import small_net


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nets")
    package = folder / "net.mlpackage.zip"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("net.mlpackage/Manifest.json", "{}" * 500)
    (folder / "net.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    (folder / "net.engine").write_bytes(b"ftrt")
    return {
        "katago": tiny_net(folder / "net.bin.gz", seed=1),
        "onnx": small_net(folder / "net.onnx"),
        "litert": folder / "net.tflite",
        "coreml": package,
        "tensorrt": folder / "net.engine",
        "file": folder / "net.engine",
    }


FORMATS = ["katago", "onnx", "litert", "coreml", "tensorrt", "file"]


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_good_file_passes(nets, format_name):
    sanity.check(nets[format_name], format_name, "net")


@pytest.mark.parametrize("format_name", FORMATS)
def test_an_empty_file_is_refused(tmp_path, format_name):
    (tmp_path / "net").write_bytes(b"")
    with pytest.raises(ModelError, match="net is empty"):
        sanity.check(tmp_path / "net", format_name, "net")


@pytest.mark.parametrize("format_name", ["katago", "onnx", "coreml"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(nets, tmp_path, format_name, share):
    data = nets[format_name].read_bytes()
    (tmp_path / "net").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError, match="net is"):
        sanity.check(tmp_path / "net", format_name, "net")


@pytest.mark.parametrize("format_name", ["katago", "onnx", "coreml", "litert"])
@pytest.mark.parametrize("other", ["katago", "onnx", "coreml", "litert"])
def test_another_format_is_refused(nets, format_name, other):
    if other != format_name:
        with pytest.raises(ModelError):
            sanity.check(nets[other], format_name, "net")


@pytest.mark.parametrize("format_name", ["katago", "onnx", "coreml", "litert"])
def test_an_error_page_is_refused(tmp_path, format_name):
    (tmp_path / "net").write_bytes(b"<!DOCTYPE html><title>404</title>")
    with pytest.raises(ModelError):
        sanity.check(tmp_path / "net", format_name, "net")


@pytest.mark.parametrize("content", [b"PK\3\4 zip", b"hello world and more", b"name\nx\n22\n"])
def test_gzip_of_something_else_is_no_katago_net(tmp_path, content):
    (tmp_path / "net").write_bytes(gzip.compress(content))
    with pytest.raises(ModelError, match="no KataGo net"):
        sanity.check(tmp_path / "net", "katago", "net")


def test_a_flipped_bit_in_a_katago_net_is_found(nets, tmp_path):
    data = bytearray(nets["katago"].read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "net").write_bytes(data)
    with pytest.raises(ModelError, match="no whole gzip file"):
        sanity.check(tmp_path / "net", "katago", "net")


def test_weights_in_another_file_are_refused(nets, tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save_model(onnx.load(nets["onnx"]), path, save_as_external_data=True, size_threshold=0)
    with pytest.raises(ModelError, match="keeps its weights in another file"):
        sanity.check(path, "onnx", "net.onnx")


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_as_onnx_are_judged_without_a_crash(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError):
        sanity.check(path, "onnx", "any.onnx")


def npz(path, **arrays):
    np.savez(path, **{name.replace("__", ":"): array for name, array in arrays.items()})
    return path


GOOD = {"input__x": np.zeros((4, 2)), "output__y": np.ones((4, 3))}


def test_good_golden_answers(tmp_path):
    golden.check(npz(tmp_path / "g.npz", **GOOD), "g.npz", "onnx")
    positions = tmp_path / "g.json"
    positions.write_text(json.dumps({"positions": [{"moves": []}]}))
    golden.check(positions, "g.json", "katago")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"input__x": GOOD["input__x"]}, "no array named output:<name>"),
        ({"output__y": GOOD["output__y"]}, "no array named input:<name>"),
        (GOOD | {"extra": np.zeros(4)}, "an array named 'extra'"),
        (GOOD | {"output__z": np.zeros((5, 1))}, "differ in their number of rows"),
        (GOOD | {"output__z": np.zeros((0, 1))}, "output:z has no rows"),
        (GOOD | {"output__z": np.float32(1)}, "output:z has no rows"),
    ],
)
def test_golden_arrays_that_are_not_answers(tmp_path, arrays, message):
    with pytest.raises(ModelError, match=message):
        golden.check(npz(tmp_path / "g.npz", **arrays), "g.npz", "onnx")


def test_golden_answers_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer, {"descr": "|O", "fortran_order": False, "shape": (4,)}
    )
    buffer.write(pickle.dumps(Trap()))
    npz(tmp_path / "g.npz", **GOOD)
    with zipfile.ZipFile(tmp_path / "g.npz", "a") as archive:
        archive.writestr("input:trap.npy", buffer.getvalue())
    with pytest.raises(ModelError, match="cannot be read"):
        golden.check(tmp_path / "g.npz", "g.npz", "onnx")
    assert not (tmp_path / "sprung").exists()


def test_a_truncated_golden_file(tmp_path):
    path = npz(tmp_path / "g.npz", **GOOD)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ModelError, match="no whole zip file"):
        golden.check(path, "g.npz", "onnx")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("\xff", "no positions|not valid"),
        ("[]", "no positions"),
        ('{"positions": []}', "no positions"),
        ('{"positions": {"a": 1}}', "no positions"),
    ],
)
def test_positions_that_are_none(tmp_path, text, message):
    (tmp_path / "g.json").write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match=message):
        golden.check(tmp_path / "g.json", "g.json", "katago")


@pytest.mark.parametrize(("name", "format_name"), [("g.npz", "katago"), ("g.json", "onnx")])
def test_golden_answers_of_another_engine(tmp_path, name, format_name):
    with pytest.raises(ModelError, match="golden answers of format"):
        golden.check(tmp_path / name, name, format_name)
