"""LiteRT files answer as the net does, by name, and the same net gives the same file."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.errors import ModelError
from orchestrator.pipeline.interpreters.numpy import Reference
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.katago.random_net import random_net
from orchestrator.pipeline.katago.reader import read
from orchestrator.pipeline.quantize.layers import ends
from orchestrator.pipeline.quantize.weights import nearest
from orchestrator.pipeline.tensors import OUTPUTS, Inputs
from tests import nets
from tests.needs import missing

pytestmark = pytest.mark.slow

try:
    import ai_edge_litert  # noqa: F401 - whether it is there

    from orchestrator.pipeline.formats import litert
    from orchestrator.pipeline.runners_litert import LiteRT
except ImportError:
    litert = None

SHAPE = Shape(7, 9)
REAL = Shape(9, 9)


@pytest.fixture(autouse=True, scope="module")
def needs_litert():
    if litert is None:
        missing("LiteRT is missing; get it by: pip install 'orchestrate-nets[build]'")


@pytest.fixture(scope="module")
def net():
    return random_net(seed=1, version=15, kind="gpool+transformer-learned", channels=16, meta=True)


@pytest.fixture(scope="module")
def plain():
    return random_net(seed=2, version=8, channels=32, blocks=1)


@pytest.fixture(scope="module")
def files(plain, tmp_path_factory):
    folder = tmp_path_factory.mktemp("litert")
    for precision in litert.PRECISIONS:
        litert.write(plain, folder / f"{precision}.tflite", SHAPE, precision)
    return folder


def rows_for(shape, count, *, meta=False):
    rng = np.random.default_rng(5)
    spatial = (rng.random((count, 22, shape.height, shape.width)) < 0.3).astype(np.float32)
    spatial[:, 0] = 1
    spatial[-1, :, 5:] = 0
    global_ = rng.normal(size=(count, 19)).astype(np.float32)
    return Inputs(spatial, global_, rng.random((count, 192), np.float32) if meta else None)


def furthest(expected, found):
    differences = [getattr(expected, name) - getattr(found, name) for name in OUTPUTS]
    return max(float(np.abs(difference).max()) for difference in differences)


def test_answers_as_the_reference_whatever_the_number_of_rows(net, tmp_path):
    path = tmp_path / "net.tflite"
    litert.write(net, path, SHAPE, batch=2)
    rows = rows_for(SHAPE, 3, meta=True)

    runner = LiteRT(path, SHAPE, threads=1)

    assert runner.batch == 2
    assert furthest(Reference(net, SHAPE)(rows), runner(rows)) < 1e-5
    with pytest.raises(ModelError, match="takes input_meta"):
        runner(rows_for(SHAPE, 3))


def test_a_real_net_answers_as_the_reference(tmp_path):
    net, path = read(nets.real_net(nets.B6C96)), tmp_path / "net.tflite"
    litert.write(net, path, REAL)
    rows = rows_for(REAL, 4)

    assert furthest(Reference(net, REAL)(rows), LiteRT(path, REAL, threads=1)(rows)) < 1e-4


@pytest.mark.parametrize(("precision", "off"), [("fp32", 1e-5), ("fp16", 5e-3), ("int8", 5e-2)])
def test_smaller_weights_answer_nearly_as_the_reference(files, plain, precision, off):
    rows = rows_for(SHAPE, 3)

    found = LiteRT(files / f"{precision}.tflite", SHAPE, threads=1)(rows)

    away = furthest(Reference(plain, SHAPE)(rows), found)
    assert away < off
    assert (away > 1e-5) == (precision != "fp32")


def test_int8_is_what_the_quantization_rounded(files, plain):
    stored = nearest(plain, kept=ends(plain), group=None)
    (block,) = plain.trunk.blocks
    rounded = replace(block, conv1=_dequantized(block.conv1, stored))
    rounded = replace(rounded, conv2=_dequantized(block.conv2, stored))
    as_rounded = replace(plain, trunk=replace(plain.trunk, blocks=(rounded,)))
    rows = rows_for(SHAPE, 3)

    found = LiteRT(files / "int8.tflite", SHAPE, threads=1)(rows)

    # What remains is the FP16 of the stem and the heads.
    assert furthest(Reference(as_rounded, SHAPE)(rows), found) < 5e-3


def _dequantized(conv, stored):
    weight = stored[conv.name]
    numbers = weight.numbers * weight.scale.astype(np.float32)
    return replace(conv, weights=numbers.transpose(2, 3, 1, 0))


def test_smaller_weights_make_smaller_files(files):
    fp32, fp16, int8 = (
        (files / f"{precision}.tflite").stat().st_size for precision in litert.PRECISIONS
    )
    assert int8 < fp16 < 0.75 * fp32


def test_the_same_net_gives_the_same_bytes(files, plain, tmp_path):
    path = tmp_path / "again.tflite"
    litert.write(plain, path, SHAPE)
    assert path.read_bytes() == (files / "fp32.tflite").read_bytes()


def test_says_what_it_was_made_from(files, plain):
    with zipfile.ZipFile(files / "fp16.tflite") as archive:
        said = json.loads(archive.read(litert.METADATA))
    assert said["name"] == plain.name
    assert (said["board"], said["precision"], said["softplus"]) == ("9x7", "fp16", "false")


def test_what_is_no_litert_file_is_told(tmp_path):
    path = tmp_path / "broken.tflite"
    path.write_bytes(b"TFL3" * 20)
    with pytest.raises(ModelError, match=r"broken\.tflite does not load"):
        LiteRT(path, SHAPE)
