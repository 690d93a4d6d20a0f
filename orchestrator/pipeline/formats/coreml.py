"""A net as a Core ML package (`.mlpackage`) in a ZIP archive, for iOS 16, macOS 13 and newer.

It is an ML Program, written without a detour through another framework. Inputs and outputs are
those of `tensors`, in FP32 whatever the precision inside. The package's metadata tell what
`metadata` tells. The same net and the same shape give the same bytes.
"""

from __future__ import annotations

import json
import uuid
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.pipeline import onnx_graph
from orchestrator.pipeline.extras import need
from orchestrator.pipeline.formats.base import Made
from orchestrator.pipeline.formats.quiet import quiet
from orchestrator.pipeline.formats.stored import each_by_itself, rounded
from orchestrator.pipeline.katago.net import (
    GLOBAL_INPUTS,
    META_INPUTS,
    SPATIAL_INPUTS,
    AttentionBlock,
    NestedBottleneckBlock,
)
from orchestrator.pipeline.katago.network import forward
from orchestrator.pipeline.metadata import metadata
from orchestrator.pipeline.tensors import INPUTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.pipeline.formats.base import Recipe, Work
    from orchestrator.pipeline.interpreters.onnx import StoredWeight
    from orchestrator.pipeline.katago.net import Block, Net
    from orchestrator.pipeline.katago.network import Shape
    from orchestrator.pipeline.runners import Runner

PRECISIONS = ("fp32", "fp16", "int8")
EXTRA = "build"
# Transformers narrower than this lose too much in FP16 on Apple's Neural Engine, as the authors of
# KataGo's own converter measured: they are computed in FP32.
FP16_CHANNELS = 320

_MODEL, _WEIGHTS = "com.apple.CoreML/model.mlmodel", "com.apple.CoreML/weights"
# It adds an epsilon of 1e-5 to what it fuses, and takes FP32 only.
_INEXACT = "common::fuse_elementwise_to_batchnorm"
# ZIP archives cannot tell an earlier time.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o100644 << 16


def write(
    net: Net,
    path: Path,
    shape: Shape,
    precision: str = "fp32",
    *,
    batch: int = 1,
    free_batch: bool = False,
    stored: Mapping[str, StoredWeight] | None = None,
) -> None:
    """Write the net to `path`, which ends in `.mlpackage.zip`, for `batch` rows at once.

    `fp16` computes in FP16, but for the statistics of RMSNorm, the trunk's tip and the heads; a
    transformer narrower than `FP16_CHANNELS` is stored in FP16 and computed in FP32. `int8` is
    `fp16` with weights in INT8 by channel: those that `stored` gives by layer name, or, unless
    told, all but the stem's and the heads', to the nearest step. `free_batch` takes 1 to `batch`
    rows, which keeps Core ML off the Neural Engine.

    Raises ModelError without the `build` extra.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"no precision is called {precision}")
    with quiet():
        if stored is None:
            stored = each_by_itself(net, precision, shape.optimism)
        model = _model(net, shape, precision, (1 if free_batch else batch, batch), stored)
    spec = model.get_spec()
    about = spec.description.metadata
    about.shortDescription, about.versionString = net.name, str(net.version)
    about.userDefined.clear()
    about.userDefined.update(metadata(net, shape, precision))
    _pack(path, spec.SerializeToString(deterministic=True), Path(model.weights_dir))


def _model(
    net: Net,
    shape: Shape,
    precision: str,
    batches: tuple[int, int],
    stored: Mapping[str, StoredWeight],
) -> Any:
    """The net as a coremltools model."""
    coremltools = need("coremltools", EXTRA)
    interpreter = need("orchestrator.pipeline.interpreters.mil", EXTRA)
    widths = {
        "input": (SPATIAL_INPUTS, shape.height, shape.width),
        "input_global": (GLOBAL_INPUTS,),
        **({"input_meta": (META_INPUTS,)} if net.has_meta else {}),
    }
    least, most = batches
    rows = most if least == most else coremltools.RangeDim(least, most, default=least)
    types = [
        coremltools.TensorType(name=name, shape=(rows, *widths[name]))
        for name in INPUTS
        if name in widths
    ]
    computed = _computed(net, precision)
    ops = interpreter.MilOperations(computed, stored)
    program = interpreter.program(
        {name: (most if least == most else None, *lengths) for name, lengths in widths.items()},
        lambda inputs: forward(net, ops, inputs, shape, computed),
    )
    passes = coremltools.PassPipeline()
    passes.remove_passes({_INEXACT})
    return coremltools.convert(
        program,
        source="milinternal",
        convert_to="mlprogram",
        inputs=types,
        compute_precision=coremltools.precision.FLOAT32,  # the program says itself what is FP16
        pass_pipeline=passes,
        minimum_deployment_target=coremltools.target.iOS16,
        skip_model_load=True,
    )


def _computed(net: Net, precision: str) -> str:
    """What a package of that precision computes in: `fp32` or `fp16`."""
    narrow = net.trunk.channels < FP16_CHANNELS and _attends(net.trunk.blocks)
    return "fp32" if precision == "fp32" or narrow else "fp16"


def _attends(blocks: Sequence[Block]) -> bool:
    return any(
        isinstance(block, AttentionBlock)
        or (isinstance(block, NestedBottleneckBlock) and _attends(block.blocks))
        for block in blocks
    )


def _pack(path: Path, model: bytes, weights: Path) -> None:
    """The package of a model and its folder of weights: the same bytes from the same ones."""
    name = path.name.removesuffix(".zip")
    files = {f"Data/{_MODEL}": model}
    for file in sorted(weights.iterdir()):
        files[f"Data/{_WEIGHTS}/{file.name}"] = file.read_bytes()
    files["Manifest.json"] = json.dumps(_manifest(), indent=4, sort_keys=True).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for inside in sorted(files):
            entry = zipfile.ZipInfo(f"{name}/{inside}", _NO_TIME)
            entry.external_attr = _FILE_MODE
            archive.writestr(entry, files[inside])


def _manifest() -> dict[str, Any]:
    """The package's list of its parts, as coremltools writes it but for its random identifiers."""
    entries = {}
    for place, name in ((_MODEL, "model.mlmodel"), (_WEIGHTS, "weights")):
        identifier = str(uuid.uuid5(uuid.NAMESPACE_URL, place)).upper()
        entries[identifier] = {
            "author": "com.apple.CoreML",
            "description": "CoreML Model Specification"
            if name in _MODEL
            else "CoreML Model Weights",
            "name": name,
            "path": place,
        }
    root = next(key for key, entry in entries.items() if entry["path"] == _MODEL)
    return {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": root,
    }


class CoreMLFormat:
    """See Format. Packages for one position at a time; they run on Apple's machines alone.

    An ONNX file with the same weights, computed in the same precision, stands in for them.
    """

    suffix = ".mlpackage.zip"
    precisions = PRECISIONS
    extra = EXTRA
    libraries = ("onnx", "coremltools")

    def write(self, net: Net, path: Path, recipe: Recipe, work: Work) -> Made:
        """See Format."""
        shape, precision = recipe.shape, recipe.precision
        stored, chosen = rounded(net, recipe, work)
        if stored is None:
            stored = each_by_itself(net, precision, shape.optimism)
        write(net, path, shape, precision, stored=stored)
        stand_in = work.folder / f"{path.name}.onnx"
        onnx_graph.write(net, stand_in, shape, _computed(net, precision), stored)
        return Made(chosen, stand_in=stand_in)

    def runner(
        self,
        path: Path,  # noqa: ARG002 - nothing runs it here
        shape: Shape,  # noqa: ARG002
        *,
        threads: int = 0,  # noqa: ARG002
        batch: int = 1,  # noqa: ARG002
    ) -> Runner | None:
        """None: Core ML is part of Apple's systems."""
        return None


FORMAT = CoreMLFormat()
