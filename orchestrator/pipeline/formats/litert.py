"""A net as a LiteRT (TensorFlow Lite) file, by way of PyTorch.

The batch and the board are fixed when the file is made. Inputs and outputs are those of `tensors`,
in FP32 and in NCHW whatever is inside; they are named in the one signature, `serving_default`.
Softplus is never used, for XNNPACK and the GPU delegates have none. What `metadata` tells lies in a
ZIP archive behind the model, as TensorFlow Lite puts associated files: `unzip -p FILE
metadata.json` prints it, and the runtime does not mind. The same net and the same shape give the
same bytes.
"""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.errors import ModelError
from orchestrator.pipeline.extras import need
from orchestrator.pipeline.formats.base import Made
from orchestrator.pipeline.formats.quiet import quiet
from orchestrator.pipeline.formats.stored import each_by_itself, rounded
from orchestrator.pipeline.interpreters.outputs_first import outputs_first
from orchestrator.pipeline.katago.net import GLOBAL_INPUTS, META_INPUTS, SPATIAL_INPUTS
from orchestrator.pipeline.metadata import metadata
from orchestrator.pipeline.runners_litert import LiteRT
from orchestrator.pipeline.tensors import INPUTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from orchestrator.pipeline.formats.base import Recipe, Work
    from orchestrator.pipeline.interpreters.onnx import StoredWeight
    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.katago.network import Shape
    from orchestrator.pipeline.runners import Runner

    Floats = NDArray[np.float32]

SIGNATURE = "serving_default"
PRECISIONS = ("fp32", "fp16", "int8")
METADATA = "metadata.json"
EXTRA = "build"

# ZIP archives cannot tell an earlier time.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
# How the converter names the weights of a layer of TorchNet.
_LAYER = re.compile(r"(?:Conv2d|Linear)_([^;]+);")
_WEIGHED = ("CONV_2D", "FULLY_CONNECTED")


def write(
    net: Net,
    path: Path,
    shape: Shape,
    precision: str = "fp32",
    *,
    batch: int = 1,
    dynamic: bool = False,
    stored: Mapping[str, StoredWeight] | None = None,
) -> None:
    """Write the net to `path` for `batch` rows at once.

    `fp16` and `int8` are how weights are stored, `int8` by channel: those that `stored` gives by
    layer name, or, unless told, all but the stem's and the heads', to the nearest step. The CPU
    computes in FP32, or, with `dynamic`, in INT8 with activations rounded by their range in each
    run.

    Raises ModelError without the `build` extra, and for a net that the converter fails for.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"no precision is called {precision}")
    shape = replace(shape, softplus=False)
    if stored is None and precision == "int8":
        stored = each_by_itself(net, precision, shape.optimism)
    model = convert(net, shape, batch, stored)
    if precision == "fp16":
        model = _halved(model)
    elif precision == "int8":
        model = _rounded(model, stored or {}, dynamic=dynamic)
    path.write_bytes(model)
    with zipfile.ZipFile(path, "a") as archive:
        said = json.dumps(metadata(net, shape, precision), indent=2, ensure_ascii=False)
        archive.writestr(zipfile.ZipInfo(METADATA, _NO_TIME), f"{said}\n")


def convert(
    net: Net, shape: Shape, batch: int = 1, stored: Mapping[str, StoredWeight] | None = None
) -> bytes:
    """The net as an FP32 model without metadata, with the weights that `stored` stands for."""
    with quiet():
        torch, litert_torch = need("torch", EXTRA), need("litert_torch", EXTRA)
        module = need("orchestrator.pipeline.interpreters.torch", EXTRA)
        litert_torch.config.show_progress = False
        lengths = {
            "input": (SPATIAL_INPUTS, shape.height, shape.width),
            "input_global": (GLOBAL_INPUTS,),
            **({"input_meta": (META_INPUTS,)} if net.has_meta else {}),
        }
        rows = {name: torch.zeros(batch, *lengths[name]) for name in INPUTS if name in lengths}
        made = module.TorchNet(net, shape)
        for name, weight in (stored or {}).items():
            layer = made.layers[module.layer_key(name)]
            layer.weight.data = torch.from_numpy(_floats(name, weight))
        named = module.NamedOutputs(made).eval()
        try:
            model = litert_torch.signature(SIGNATURE, named, sample_kwargs=rows).convert()
        except (ValueError, RuntimeError) as exc:
            why = (str(exc).strip() or type(exc).__name__).splitlines()[0]
            raise ModelError(
                f"the LiteRT converter cannot convert {net.name}: {why}",
                hint="build another format of this net",
            ) from exc
        return bytes(model.model_content())


def _floats(name: str, stored: StoredWeight) -> Floats:
    """The weights in FP32, outputs first."""
    numbers, scale = outputs_first(name, stored)
    if scale is not None:
        numbers = numbers * scale.astype(np.float32).reshape(-1, *[1] * (numbers.ndim - 1))
    return np.ascontiguousarray(numbers, np.float32)


def _halved(model: bytes) -> bytes:
    """The model with weights in FP16."""
    with quiet():
        quantizer = need("ai_edge_quantizer.quantizer", EXTRA)
        work = quantizer.Quantizer(model)
        _halve(quantizer, work, ".*")
        return _made(work)


def _rounded(model: bytes, stored: Mapping[str, StoredWeight], *, dynamic: bool) -> bytes:
    """The model with weights kept as `stored` tells, from which it was converted.

    The converter has multiplied outputs by the norms that follow; the steps are found again from
    the weights themselves.
    """
    with quiet():
        quantizer = need("ai_edge_quantizer.quantizer", EXTRA)
        interpreter = need("orchestrator.pipeline.interpreters.torch", EXTRA)
        weights = {interpreter.layer_key(name): weight for name, weight in stored.items()}
        work = quantizer.Quantizer(model)
        add = work.add_dynamic_config if dynamic else work.add_weight_only_config
        for operation, output, layer in _layers(model, weights):
            scope = f"^{re.escape(output)};$"
            if weights[layer].scale is None:
                _halve(quantizer, work, scope)
            else:
                add(
                    scope,
                    quantizer.qtyping.TFLOperationName(operation),
                    num_bits=8,
                    algorithm_key=quantizer.AlgorithmName.DEQUANTIZED_WEIGHT_RECOVERY,
                )
        return _made(work)


def _halve(quantizer: Any, work: Any, scope: str) -> None:
    for operation in _WEIGHED:
        work.add_weight_only_config(
            scope,
            quantizer.qtyping.TFLOperationName(operation),
            num_bits=16,
            algorithm_key=quantizer.AlgorithmName.FLOAT_CASTING,
        )


def _made(quantizer: Any) -> bytes:
    made = quantizer.quantize(enable_progress_bar=False, enable_progress_report=False)
    return bytes(made.quantized_model)


def _layers(model: bytes, keys: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """The kind, the output's name, by which the quantizer knows it, and the key of each layer."""
    schema = need("ai_edge_litert.schema_py_generated", EXTRA)
    kinds = {getattr(schema.BuiltinOperator, kind): kind for kind in _WEIGHED}
    content = schema.ModelT.InitFromPackedBuf(model, 0)
    graph = content.subgraphs[0]
    names = [tensor.name.decode() for tensor in graph.tensors]
    for operator in graph.operators:
        kind = kinds.get(content.operatorCodes[operator.opcodeIndex].builtinCode)
        if kind is not None:
            for key in set(_LAYER.findall(names[operator.inputs[1]])).intersection(keys):
                yield kind, names[operator.outputs[0]], key


class LiteRTFormat:
    """See Format. Files for one position at a time; INT8 is that of the weights alone."""

    suffix = ".tflite"
    precisions = PRECISIONS
    extra = EXTRA
    libraries = ("torch", "litert_torch", "ai_edge_litert")

    def write(self, net: Net, path: Path, recipe: Recipe, work: Work) -> Made:
        """See Format."""
        stored, chosen = rounded(net, recipe, work)
        write(net, path, recipe.shape, recipe.precision, stored=stored)
        return Made(chosen)

    def runner(
        self,
        path: Path,
        shape: Shape,
        *,
        threads: int = 0,
        batch: int = 1,  # noqa: ARG002 - the file's own
    ) -> Runner | None:
        """See Format."""
        return LiteRT(path, shape, threads=threads)


FORMAT = LiteRTFormat()
