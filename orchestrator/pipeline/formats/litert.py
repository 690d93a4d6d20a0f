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

from orchestrator.pipeline.extras import need
from orchestrator.pipeline.formats.metadata import metadata
from orchestrator.pipeline.formats.quiet import quiet
from orchestrator.pipeline.katago.net import GLOBAL_INPUTS, META_INPUTS, SPATIAL_INPUTS
from orchestrator.pipeline.quantize.layers import ends
from orchestrator.pipeline.tensors import INPUTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.katago.network import Shape

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
    keep: Collection[str] | None = None,
) -> None:
    """Write the net to `path` for `batch` rows at once.

    `fp16` and `int8` are how weights are stored, `int8` by channel; the layers named in `keep`,
    unless told the stem and the heads, stay FP32 in `int8`. The CPU computes in FP32, or, with
    `dynamic`, in INT8 with activations rounded by their range in each run.

    Raises ModelError without the `build` extra.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"no precision is called {precision}")
    shape = replace(shape, softplus=False)
    model = convert(net, shape, batch)
    if precision == "fp16":
        model = _halved(model)
    elif precision == "int8":
        keep = ends(net) if keep is None else keep
        model = _rounded(model, keep, dynamic=dynamic)
    path.write_bytes(model)
    with zipfile.ZipFile(path, "a") as archive:
        said = json.dumps(metadata(net, shape, precision), indent=2, ensure_ascii=False)
        archive.writestr(zipfile.ZipInfo(METADATA, _NO_TIME), f"{said}\n")


def convert(net: Net, shape: Shape, batch: int = 1) -> bytes:
    """The net as an FP32 model without metadata."""
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
        named = module.NamedOutputs(module.TorchNet(net, shape)).eval()
        made = litert_torch.signature(SIGNATURE, named, sample_kwargs=rows).convert()
        return bytes(made.model_content())


def _halved(model: bytes) -> bytes:
    """The model with weights in FP16."""
    with quiet():
        quantizer = need("ai_edge_quantizer.quantizer", EXTRA)
        work = quantizer.Quantizer(model)
        for operation in _WEIGHED:
            work.add_weight_only_config(
                ".*",
                quantizer.qtyping.TFLOperationName(operation),
                num_bits=16,
                algorithm_key=quantizer.AlgorithmName.FLOAT_CASTING,
            )
        return bytes(_made(work))


def _rounded(model: bytes, keep: Collection[str], *, dynamic: bool) -> bytes:
    """The model with weights in INT8, but for the layers in `keep`."""
    with quiet():
        quantizer = need("ai_edge_quantizer.quantizer", EXTRA)
        keys = need("orchestrator.pipeline.interpreters.torch", EXTRA)
        work = quantizer.Quantizer(model)
        add = work.add_dynamic_config if dynamic else work.add_weight_only_config
        for operation in _WEIGHED:
            add(".*", quantizer.qtyping.TFLOperationName(operation), num_bits=8)
        for output in _outputs_of(model, {keys.layer_key(name) for name in keep}):
            work.update_quantization_recipe(
                f"^{re.escape(output)};$",
                quantizer.qtyping.TFLOperationName.ALL_SUPPORTED,
                algorithm_key=quantizer.AlgorithmName.NO_QUANTIZE,
            )
        return bytes(_made(work))


def _made(quantizer: Any) -> bytes:
    made = quantizer.quantize(enable_progress_bar=False, enable_progress_report=False)
    return made.quantized_model


def _outputs_of(model: bytes, keys: Collection[str]) -> Iterator[str]:
    """The names of what the layers called `keys` give, by which the quantizer knows them."""
    schema = need("ai_edge_litert.schema_py_generated", EXTRA)
    graph = schema.ModelT.InitFromPackedBuf(model, 0).subgraphs[0]
    names = [tensor.name.decode() for tensor in graph.tensors]
    for operator in graph.operators:
        weights = [names[tensor] for tensor in operator.inputs[1:2]]
        if any(layer in keys for name in weights for layer in _LAYER.findall(name)):
            yield names[operator.outputs[0]]
