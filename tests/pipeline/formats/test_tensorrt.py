"""Engines are built here for real, by TensorRT-RTX, which needs no GPU for it; see `needs_rtx`."""

import _thread
import importlib
import importlib.metadata
import importlib.util
import json
import platform
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import ModelError
from orchestrator.files import sha256_of
from orchestrator.models.requirements import check_requires
from orchestrator.pipeline.formats import nvidia_gpu
from orchestrator.pipeline.formats.tensorrt import FORMAT, EngineFile, build_engine
from tests.needs import missing

BOARD = 9
BATCH_SIZES = (1, 2, 4)
LIBRARY = "tensorrt-rtx-cu12-libs"
CAPABILITY_BITS = {"7.5": 1, "8.0": 2, "8.6": 4, "8.9": 8, "12.0": 16, "12.1": 32, "later": 64}
SHAPES = {
    "input": ((1, 22, 9, 9), (2, 22, 9, 9), (4, 22, 9, 9)),
    "input_global": ((1, 19), (2, 19), (4, 19)),
}


def header(path):
    """Version and compute capabilities in the first 64 bytes, as TensorRT-RTX 1.7 writes them."""
    head = path.read_bytes()[:64]
    assert head.startswith(b"vtrt")
    bits = int.from_bytes(head[32:36], "little")
    return ".".join(map(str, head[24:28])), {
        cc for cc, bit in CAPABILITY_BITS.items() if bits & bit
    }


@pytest.fixture(scope="session")
def needs_rtx():
    if importlib.util.find_spec("tensorrt_rtx_bindings") is None:
        missing("TensorRT-RTX is not installed; get it by: make build-extra")


@pytest.fixture(scope="session")
def net():
    pytest.importorskip("onnx")
    from orchestrator.pipeline.katago.random_net import random_net

    return random_net(seed=1, kind="gpool+transformer-learned", version=15, blocks=1)


@pytest.fixture(scope="session")
def onnx_file(net, tmp_path_factory):
    """The path of the net's ONNX file in a precision."""
    from orchestrator.pipeline import onnx_graph
    from orchestrator.pipeline.katago.network import Shape

    folder = tmp_path_factory.mktemp("onnx")

    def write(precision="fp32"):
        path = folder / f"net-{precision}.onnx"
        if not path.exists():
            onnx_graph.write(net, path, Shape(BOARD, BOARD), precision)
        return path

    return write


def small_onnx(path, *nodes, shape=("N", 4), weights=()):
    """A file of a few nodes that make `y` of `x`."""
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(op, ["x", *more], ["y"], name=name) for op, name, *more in nodes],
        "small",
        [value("x", onnx.TensorProto.FLOAT, shape)],
        [value("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("compute_capability", "precision"),
    [("8.0", "fp16"), ("8.6", "fp32"), ("8.9", "fp16"), ("12.0", "fp32")],
)
def test_an_engine_says_what_it_is_for(
    needs_rtx, onnx_file, tmp_path, compute_capability, precision
):
    steps = []
    engine = build_engine(
        onnx_file(precision),
        tmp_path / "net.engine",
        compute_capability=compute_capability,
        batch_sizes=BATCH_SIZES,
        progress=lambda *step: steps.append(step),
    )
    assert engine.path.stat().st_size > 10_000
    assert header(engine.path) == (importlib.metadata.version(LIBRARY), {compute_capability})
    assert (engine.precision, engine.flavour) == (precision, "tensorrt-rtx")
    assert engine.shapes == SHAPES
    version = importlib.metadata.version(LIBRARY)
    assert engine.requires == {
        "arch": platform.machine(),
        "compute_capability": compute_capability,
        "tensorrt_rtx": version,
        "driver": "575.57.08",
    }
    assert check_requires(engine.requires, "tensorrt") == engine.requires
    said = json.loads(json.dumps(engine.provenance))
    assert said["library"] == f"tensorrt-rtx {version}"
    assert said["shapes"] == {
        "min": "input:1x22x9x9,input_global:1x19",
        "opt": "input:2x22x9x9,input_global:2x19",
        "max": "input:4x22x9x9,input_global:4x19",
    }
    assert len(said["onnx_sha256"]) == 64
    assert steps
    assert all(0 < done <= of for _, done, of in steps)


def test_the_format_writes_a_net_by_way_of_onnx(needs_rtx, net, onnx_file, tmp_path):
    from orchestrator.pipeline.formats.base import Recipe, Work
    from orchestrator.pipeline.katago.network import Shape
    from orchestrator.pipeline.positions import Positions

    recipe = Recipe(
        "tensorrt",
        "fp16",
        Shape(BOARD, BOARD),
        compute_capability="8.9",
        batch_sizes=BATCH_SIZES,
    )
    work = Work(tmp_path, Positions(()), Positions(()), lambda *_: None)
    path = tmp_path / f"net{FORMAT.suffix}"
    made = FORMAT.write(net, path, recipe, work)
    assert path.stat().st_size > 10_000
    assert made.requires["compute_capability"] == "8.9"
    assert made.stand_in is not None
    assert made.stand_in.suffix == ".onnx"
    assert made.stand_in.read_bytes() == onnx_file("fp16").read_bytes()
    assert FORMAT.runner(path, recipe.shape) is None


def test_the_libraries_it_names_can_be_imported(needs_rtx):
    versions = [importlib.import_module(name).__version__ for name in FORMAT.libraries]
    assert versions[-1] == importlib.metadata.version(LIBRARY)


@pytest.mark.parametrize("compute_capability", ["8.7", "9.0", "86", ""])
def test_a_gpu_that_it_does_not_build_for(needs_rtx, onnx_file, tmp_path, compute_capability):
    with pytest.raises(ModelError, match="does not build for compute capability") as caught:
        build_engine(onnx_file(), tmp_path / "e", compute_capability=compute_capability)
    assert "8.6, 8.9, 12.0" in caught.value.hint


def test_fp32_matrix_products_are_not_for_turing(needs_rtx, onnx_file, tmp_path):
    with pytest.raises(ModelError, match="FP32 GEMM is not supported") as caught:
        build_engine(onnx_file(), tmp_path / "e", compute_capability="7.5")
    assert "IBuilder" not in caught.value.message
    assert "build the net in fp16" in caught.value.hint
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize("kind", ["gpool", "gpool+transformer-learned"])
def test_turing_takes_nets_whose_heads_are_convolutions(needs_rtx, tmp_path, kind):
    made, path = written_for_turing(tmp_path, kind, "fp16")
    assert header(path)[1] == {"7.5"}
    assert made.requires["compute_capability"] == "7.5"
    assert made.chosen["linear_as_convolution"] > 0
    assert made.chosen["onnx_sha256"] == sha256_of(made.stand_in)


def test_turing_takes_no_transformers_in_fp32(needs_rtx, tmp_path):
    assert written_for_turing(tmp_path, "gpool", "fp32")[1].is_file()
    with pytest.raises(ModelError, match="FP32 GEMM is not supported") as caught:
        written_for_turing(tmp_path, "transformer", "fp32")
    assert "build the net in fp16" in caught.value.hint


def written_for_turing(folder, kind, precision):
    """What the format says of a random net that it wrote for Turing, and the path."""
    pytest.importorskip("onnx")
    from orchestrator.pipeline.formats.base import Recipe, Work
    from orchestrator.pipeline.katago.network import Shape
    from orchestrator.pipeline.katago.random_net import random_net
    from orchestrator.pipeline.positions import Positions

    net = random_net(seed=1, kind=kind, version=15, blocks=1)
    recipe = Recipe("tensorrt", precision, Shape(BOARD, BOARD), compute_capability="7.5")
    path = folder / f"{kind}{FORMAT.suffix}"
    work = Work(folder, Positions(()), Positions(()), lambda *_: None)
    return FORMAT.write(net, path, recipe, work), path


def test_turing_takes_a_net_without_them(needs_rtx, tmp_path):
    path = small_onnx(tmp_path / "net.onnx", ("Relu", "relu"))
    engine = build_engine(path, tmp_path / "e", compute_capability="7.5")
    assert engine.requires["compute_capability"] == "7.5"
    assert header(engine.path)[1] == {"7.5"}


def test_a_batch_that_is_not_free_is_the_only_one(needs_rtx, tmp_path):
    path = small_onnx(tmp_path / "net.onnx", ("Relu", "relu"), shape=(3, 4))
    engine = build_engine(path, tmp_path / "e", compute_capability="8.6")
    assert engine.shapes == {"x": ((3, 4), (3, 4), (3, 4))}


@pytest.mark.parametrize(
    ("op", "shape", "message"),
    [
        ("Unique", ("N", 4), r"does not take the operation Unique \(strange\)"),
        ("Nonsense", ("N", 4), r"does not take the operation Nonsense \(strange\)"),
        ("Relu", ("N", 4, "H"), "of input x more than the batch is free"),
    ],
)
def test_a_net_that_it_does_not_take(needs_rtx, tmp_path, op, shape, message):
    path = small_onnx(tmp_path / "odd.onnx", (op, "strange"), shape=shape)
    with pytest.raises(ModelError, match=message) as caught:
        build_engine(path, tmp_path / "e", compute_capability="8.6")
    assert caught.value.message.startswith("odd.onnx: ")
    assert caught.value.hint
    assert not (tmp_path / "e").exists()


def test_an_error_in_progress_ends_the_build(needs_rtx, onnx_file, tmp_path):
    def progress(phase, done, of):
        raise RuntimeError(f"{phase} was too much")

    with pytest.raises(RuntimeError, match="was too much"):
        build_engine(onnx_file(), tmp_path / "e", compute_capability="8.6", progress=progress)
    assert not (tmp_path / "e").exists()
    assert build_engine(onnx_file(), tmp_path / "e", compute_capability="8.6").path.exists()


def test_ctrl_c_ends_the_build(needs_rtx, onnx_file, tmp_path):
    said = []

    def progress(*step):
        if not said:
            _thread.interrupt_main()
        said.append(step)

    with pytest.raises(KeyboardInterrupt):
        build_engine(onnx_file(), tmp_path / "e", compute_capability="8.6", progress=progress)
    assert not (tmp_path / "e").exists()


def test_no_such_file_or_no_net(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        build_engine(tmp_path / "none.onnx", tmp_path / "e", compute_capability="8.6")
    (tmp_path / "odd.onnx").write_bytes(b"hello" * 100)
    with pytest.raises(ModelError, match="no whole ONNX model"):
        build_engine(tmp_path / "odd.onnx", tmp_path / "e", compute_capability="8.6")


@pytest.mark.parametrize("sizes", [(0, 1, 2), (2, 1, 4), (1, 8, 4)])
def test_batch_sizes_rise(onnx_file, tmp_path, sizes):
    with pytest.raises(ModelError, match="batch sizes must be"):
        build_engine(onnx_file(), tmp_path / "e", compute_capability="8.6", batch_sizes=sizes)


@pytest.mark.parametrize("flavour", ["tensorrt-rtx", "tensorrt"])
def test_a_library_that_is_not_installed(onnx_file, tmp_path, flavour):
    module = {"tensorrt-rtx": "tensorrt_rtx_bindings", "tensorrt": "tensorrt"}[flavour]
    if importlib.util.find_spec(module) is not None:
        pytest.skip(f"{module} is installed")
    with pytest.raises(ModelError, match="needs the tensorrt extra") as caught:
        build_engine(onnx_file(), tmp_path / "e", compute_capability="8.6", flavour=flavour)
    assert caught.value.hint == "pip install 'orchestrate-nets[tensorrt]'"


def test_what_an_engine_of_tensorrt_requires():
    engine = EngineFile(
        path=Path("net.engine"),
        flavour="tensorrt",
        version="10.3.0.26",
        arch="aarch64",
        compute_capability="8.7",
        precision="fp16",
        shapes=SHAPES,
        onnx_sha256="0" * 64,
        seconds=61.0,
        gpu="Orin",
        driver="540.4.0",
    )
    required = {"arch": "aarch64", "compute_capability": "8.7", "tensorrt": "10.3.0"}
    assert engine.requires == required
    assert (engine.provenance["gpu"], engine.provenance["driver"]) == ("Orin", "540.4.0")
    rtx = replace(engine, flavour="tensorrt-rtx", version="1.7.1.116", gpu="", driver="")
    assert rtx.requires == {
        "arch": "aarch64",
        "compute_capability": "8.7",
        "tensorrt_rtx": "1.7.1.116",
    }
    assert not {"gpu", "driver"} & set(rtx.provenance)


def test_the_gpu_of_this_machine_as_nvidia_smi_tells_it():
    query = ["nvidia-smi", "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    asked = (
        subprocess.run(query, capture_output=True, text=True, check=False)
        if shutil.which("nvidia-smi")
        else None
    )
    if asked is None or asked.returncode:
        assert nvidia_gpu.find() is None
    else:
        name, capability, driver = asked.stdout.splitlines()[0].split(", ")
        assert nvidia_gpu.find() == nvidia_gpu.NvidiaGpu(name, capability, driver)
