"""A net as a LiteRT (TensorFlow Lite) file, by way of PyTorch.

The batch and the board are fixed when the file is made. Inputs and outputs are those of `tensors`,
in FP32 and in NCHW whatever is inside; they are named in the one signature, `serving_default`.
Softplus is never used, for XNNPACK and the GPU delegates have none. What `metadata` tells lies in a
ZIP archive behind the model, as TensorFlow Lite puts associated files: `unzip -p FILE
metadata.json` prints it, and the runtime does not mind. The same net and the same shape give the
same bytes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import warnings
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.pipeline.extras import need
from orchestrator.pipeline.formats.metadata import metadata
from orchestrator.pipeline.katago.net import GLOBAL_INPUTS, META_INPUTS, SPATIAL_INPUTS
from orchestrator.pipeline.tensors import INPUTS, OUTPUTS

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
        keep = stem_and_heads(net) if keep is None else keep
        model = _rounded(model, keep, dynamic=dynamic)
    path.write_bytes(model)
    with zipfile.ZipFile(path, "a") as archive:
        said = json.dumps(metadata(net, shape, precision), indent=2, ensure_ascii=False)
        archive.writestr(zipfile.ZipInfo(METADATA, _NO_TIME), f"{said}\n")


def convert(net: Net, shape: Shape, batch: int = 1) -> bytes:
    """The net as an FP32 model without metadata."""
    with _quiet():
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


def stem_and_heads(net: Net) -> frozenset[str]:
    """The names of the layers before the blocks and after them, where rounding costs most."""
    head, value = net.policy, net.value
    layers = (
        net.trunk.initial_conv,
        net.trunk.initial_mul,
        *(getattr(net.trunk.meta, name) for name in ("mul1", "mul2", "mul3") if net.trunk.meta),
        *(head.p1_conv, head.g1_conv, head.gpool_to_bias, head.p2_conv, head.gpool_to_pass),
        *([head.pass_mul2] if head.pass_mul2 else []),
        *(value.v1_conv, value.v2_mul, value.v3_mul, value.sv3_mul, value.ownership_conv),
    )
    return frozenset(layer.name for layer in layers)
