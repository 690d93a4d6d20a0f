"""Core ML packages: read back as coremltools reads them, and computed operation by operation.

Core ML itself runs on Apple's systems only; here NumPy carries out what the file says, with the
weights that lie in the file, each operation in the precision that the file names.
"""

import zipfile

import numpy as np
import pytest

from orchestrator.pipeline.formats.base import Recipe, Work
from orchestrator.pipeline.interpreters.numpy import NumpyOperations, Reference
from orchestrator.pipeline.katago.net import Conv
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.katago.random_net import random_net
from orchestrator.pipeline.katago.reader import read
from orchestrator.pipeline.positions import Positions
from orchestrator.pipeline.quantize.layers import ends, layers
from orchestrator.pipeline.quantize.weights import nearest
from orchestrator.pipeline.runners import OnnxRuntime
from orchestrator.pipeline.tensors import INPUTS, OUTPUTS, Inputs, Outputs
from tests import nets
from tests.needs import missing

pytestmark = pytest.mark.slow

try:
    from orchestrator.pipeline.formats import coreml
    from orchestrator.pipeline.formats.quiet import quiet

    with quiet():
        import coremltools
        from coremltools.converters.mil.frontend.milproto.load import load
except ImportError:
    coreml = None

SHAPE = Shape(7, 9)
PRECISIONS = ("fp32", "fp16", "int8")


@pytest.fixture(autouse=True, scope="module")
def needs_coremltools():
    if coreml is None:
        missing("coremltools is missing; get it by: pip install 'orchestrate-nets[build]'")


@pytest.fixture(scope="module")
def convnet():
    return random_net(seed=1, version=14, kind="nested+gpool", channels=32)


@pytest.fixture(scope="module")
def transformer():
    return random_net(
        seed=2, version=15, kind="transformer-learned", channels=16, tip="rms-spatial", meta=True
    )


@pytest.fixture(scope="module")
def packages(convnet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("coreml")
    for precision in PRECISIONS:
        coreml.write(convnet, folder / f"{precision}.mlpackage.zip", SHAPE, precision)
    return {name: Package(folder / f"{name}.mlpackage.zip") for name in PRECISIONS}


class Package:
    """A package as coremltools reads it; called, it computes what the program says."""

    def __init__(self, path):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(path.parent)
        with quiet():
            model = coremltools.models.MLModel(str(path.with_suffix("")), skip_model_load=True)
            self.spec = model.get_spec()
            program = load(
                self.spec, self.spec.specificationVersion, file_weights_dir=model.weights_dir
            )
        self.main = program.functions["main"]

    def __call__(self, inputs):
        rows = (inputs.spatial, inputs.global_, inputs.meta)
        found = dict(zip(INPUTS, rows, strict=True))
        for operation in self.main.operations:
            given = {
                name: [found[each.name] for each in value]
                if isinstance(value, (list, tuple))
                else found[value.name]
                for name, value in operation.inputs.items()
                if value is not None
            }
            (output,) = operation.outputs
            if operation.op_type == "const":
                found[output.name] = output.val
            else:
                found[output.name] = COMPUTE[operation.op_type](**given)
        return Outputs(*(found[name] for name in OUTPUTS))

    def precision(self, output):
        """What the operation that gives `output` computes in."""
        return coremltools.converters.mil.mil.types.builtin_to_string(output.dtype)

    def of(self, *kinds):
        return [each for each in self.main.operations if each.op_type in kinds]


def conv(x, weight, pad, dilations, **same):
    assert same["pad_type"] == "custom"
    assert same["groups"] == 1
    assert list(same["strides"]) == [1, 1]
    layer = Conv("", weight.transpose(2, 3, 1, 0).astype(np.float32), tuple(map(int, dilations)))
    assert list(pad[::2]) == [
        d * (s // 2) for d, s in zip(dilations, weight.shape[2:], strict=True)
    ]
    y = NumpyOperations().conv(x.astype(np.float32), layer).astype(x.dtype)
    return y + same["bias"].reshape(1, -1, 1, 1) if "bias" in same else y


def batch_norm(x, mean, variance, gamma, beta, epsilon):
    mean, variance, gamma, beta = (v.reshape(-1, 1, 1) for v in (mean, variance, gamma, beta))
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta


def slice_by_size(x, begin, size):
    ends = [b + s if s >= 0 else None for b, s in zip(begin, size, strict=True)]
    return x[tuple(slice(b, e) for b, e in zip(begin, ends, strict=True))]


def sigmoid(x):
    return (1 / (1 + np.exp(-x.astype(np.float32)))).astype(x.dtype)


def tanh(x):
    return np.tanh(x)


def sqrt(x):
    return np.sqrt(x)


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def matmul(x, y, transpose_x, transpose_y):
    x, y = (v.swapaxes(-1, -2) if t else v for v, t in ((x, transpose_x), (y, transpose_y)))
    return np.matmul(x.astype(np.float32), y.astype(np.float32)).astype(x.dtype)


def linear(x, weight, bias=0):
    return (x.astype(np.float32) @ weight.astype(np.float32).T + bias).astype(x.dtype)


NUMPY = {"fp16": np.float16, "fp32": np.float32}
COMPUTE = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "real_div": lambda x, y: x / y,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "tanh": tanh,
    "softplus": lambda x: np.logaddexp(x, x.dtype.type(0)),
    "sqrt": sqrt,
    "softmax": softmax,
    "identity": lambda x: x,
    "cast": lambda x, dtype: x.astype(NUMPY[dtype]),
    "reduce_mean": lambda x, axes, keep_dims: x.mean(
        tuple(axes), np.float32, keepdims=bool(keep_dims)
    ).astype(x.dtype),
    "reduce_max": lambda x, axes, keep_dims: x.max(tuple(axes), keepdims=bool(keep_dims)),
    "reshape": lambda x, shape: x.reshape(tuple(shape)),
    "transpose": lambda x, perm: x.transpose(tuple(perm)),
    "concat": lambda values, axis, interleave: np.concatenate(values, axis),
    "slice_by_size": slice_by_size,
    "conv": conv,
    "linear": linear,
    "matmul": matmul,
    "batch_norm": batch_norm,
    "constexpr_cast": lambda source_val, output_dtype: source_val.astype(NUMPY[output_dtype]),
    "constexpr_affine_dequantize": lambda quantized_data, zero_point, scale, axis: (
        (quantized_data.astype(np.float32) - zero_point)
        * scale.reshape(-1, *[1] * (quantized_data.ndim - 1))
    ).astype(scale.dtype),
}


def rows_for(shape, count=1, *, meta=False):
    rng = np.random.default_rng(5)
    spatial = (rng.random((count, 22, shape.height, shape.width)) < 0.3).astype(np.float32)
    spatial[:, 0] = 1
    spatial[0, :, 5:] = 0
    global_ = rng.normal(size=(count, 19)).astype(np.float32)
    return Inputs(spatial, global_, rng.random((count, 192), np.float32) if meta else None)


def furthest(expected, found):
    differences = [getattr(expected, name) - getattr(found, name) for name in OUTPUTS]
    return max(float(np.abs(difference).max()) for difference in differences)


@pytest.mark.parametrize(("precision", "off"), [("fp32", 1e-5), ("fp16", 1e-2), ("int8", 1e-1)])
def test_a_convnets_program_computes_the_net(packages, convnet, precision, off):
    rows = rows_for(SHAPE)

    away = furthest(Reference(convnet, SHAPE)(rows), packages[precision](rows))

    assert away < off
    assert (away > 1e-5) == (precision != "fp32")


def test_a_transformers_program_computes_the_net_for_any_batch(transformer, tmp_path):
    path = tmp_path / "net.mlpackage.zip"
    coreml.write(transformer, path, SHAPE, batch=8, free_batch=True)
    package = Package(path)

    for count in (1, 3):
        rows = rows_for(SHAPE, count, meta=True)
        assert furthest(Reference(transformer, SHAPE)(rows), package(rows)) < 1e-5
    (spatial, *_) = package.spec.description.input
    sizes = spatial.type.multiArrayType.shapeRange.sizeRanges
    assert (sizes[0].lowerBound, sizes[0].upperBound) == (1, 8)


@pytest.mark.parametrize(
    ("name", "precision"), [("convnet", "int8"), ("transformer", "fp16"), ("transformer", "int8")]
)
def test_what_stands_in_for_a_package_computes_as_it_does(name, precision, request, tmp_path):
    net, path = request.getfixturevalue(name), tmp_path / "net.mlpackage.zip"
    recipe = Recipe("coreml", precision, SHAPE, mode="weights-nearest")
    work = Work(tmp_path, Positions(()), Positions(()), lambda *_: None)
    made = coreml.FORMAT.write(net, path, recipe, work)
    rows = rows_for(SHAPE, meta=net.has_meta)
    ours, theirs = Package(path)(rows), OnnxRuntime(made.stand_in, SHAPE)(rows)

    away = furthest(Reference(net, SHAPE)(rows), ours)
    assert furthest(ours, theirs) < max(1e-5, away / 3)


def test_a_real_nets_program_computes_the_net(tmp_path):
    net, path, shape = read(nets.real_net(nets.B6C96)), tmp_path / "net.mlpackage.zip", Shape(9, 9)
    coreml.write(net, path, shape, "fp16")
    rows = rows_for(shape)

    assert furthest(Reference(net, shape)(rows), Package(path)(rows)) < 0.1


def test_inputs_and_outputs_are_documented_and_fp32(packages):
    for package in packages.values():
        described = package.spec.description
        assert [each.name for each in described.input] == list(INPUTS[:2])
        assert [each.name for each in described.output] == list(OUTPUTS)
        arrays = [each.type.multiArrayType for each in (*described.input, *described.output)]
        assert {array.dataType for array in arrays} == {arrays[0].FLOAT32}
        assert list(arrays[0].shape) == [1, 22, 7, 9]
        assert package.spec.specificationVersion == 7


def test_fp16_keeps_the_tip_and_the_heads_in_fp32(packages, convnet):
    package = packages["fp16"]
    found = [package.precision(each.outputs[0]) for each in package.of("conv", "linear")]
    heads = ends(convnet) - {convnet.trunk.initial_conv.name, convnet.trunk.initial_mul.name}
    # Both heads come last, behind the tip, which is cast to FP32 with the trunk.
    assert found == ["fp16"] * (len(found) - len(heads)) + ["fp32"] * len(heads)
    assert len(found) == len(layers(convnet))


def test_a_narrow_transformer_is_stored_in_fp16_and_computed_in_fp32(transformer, tmp_path):
    path = tmp_path / "net.mlpackage.zip"
    coreml.write(transformer, path, SHAPE, "fp16")
    package = Package(path)

    assert {package.precision(each.outputs[0]) for each in package.of("conv", "linear")} == {"fp32"}
    assert len(package.of("constexpr_cast")) == len(package.of("conv", "linear"))


def test_int8_weights_are_those_that_the_quantization_rounded(packages, convnet):
    from orchestrator.pipeline.interpreters.mil import weight_name

    stored = nearest(convnet, kept=ends(convnet), group=None)
    found = {each.name: each for each in packages["int8"].of("constexpr_affine_dequantize")}
    rounded = {weight_name(name): each for name, each in stored.items() if each.scale is not None}
    assert found.keys() == rounded.keys()
    for name, weight in rounded.items():
        numbers = weight.numbers if weight.numbers.ndim == 4 else weight.numbers.T
        np.testing.assert_array_equal(found[name].inputs["quantized_data"].val, numbers)


def test_the_same_net_gives_the_same_bytes_and_says_what_it_is(packages, convnet, tmp_path):
    paths = [tmp_path / each / "net.mlpackage.zip" for each in "ab"]
    for path in paths:
        path.parent.mkdir()
        coreml.write(convnet, path, SHAPE, "fp16")
    assert paths[0].read_bytes() == paths[1].read_bytes()

    said = packages["fp16"].spec.description.metadata.userDefined
    assert (said["name"], said["board"], said["precision"]) == (convnet.name, "9x7", "fp16")
