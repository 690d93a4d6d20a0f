"""What a build is asked to make, as one recipe for each artifact."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator.errors import ModelError
from orchestrator.pipeline import formats
from orchestrator.pipeline.formats.base import Finetune, Recipe
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.quantize.int8 import CHOICES

if TYPE_CHECKING:
    from collections.abc import Iterator

USUAL = (("onnx", "fp32"), ("onnx", "fp16"), ("onnx", "int8"))
INT8 = "int8"
VARIANT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Request:
    """What the operator asks for. `wishes` are pairs of format and precision.

    An empty `variant` is named after the shape where that is not the usual one.
    """

    wishes: tuple[tuple[str, str], ...] = USUAL
    shape: Shape = field(default_factory=Shape)
    variant: str = ""
    mode: str = "auto"
    finetune: Finetune | None = None
    compute_capabilities: tuple[str, ...] = ()
    batch_sizes: tuple[int, int, int] = (1, 8, 32)


def recipes(request: Request) -> tuple[Recipe, ...]:
    """One recipe for each artifact that is asked for, what others are made from first.

    Raises ModelError for a precision that a format does not have, a mode that there is not, a
    variant that is no name, fine-tuning of what is not fine-tuned, and for a TensorRT engine
    without a compute capability.
    """
    if request.finetune is not None and ("onnx", INT8) not in request.wishes:
        raise ModelError(
            "fine-tuning is for onnx int8, which is not among what is to be built",
            hint="Add --format onnx --precision int8, or leave out --finetune.",
        )
    if request.variant and not VARIANT.fullmatch(request.variant):
        raise ModelError(
            f"{request.variant!r} is no name for a variant",
            hint="Up to 64 small letters, digits, '.', '_' and '-', the first a letter or digit.",
        )
    if request.mode not in CHOICES:
        raise ModelError(
            f"no INT8 mode is called {request.mode}", hint=f"Modes: {', '.join(CHOICES)}."
        )
    made = []
    for name, precision in request.wishes:
        kinds = formats.get(name).precisions
        if precision not in kinds:
            raise ModelError(
                f"{name} cannot be built in {precision}", hint=f"It can in {', '.join(kinds)}."
            )
        recipe = Recipe(
            name,
            precision,
            request.shape,
            request.variant or variant_of(request.shape),
            request.mode,
            request.finetune if precision == INT8 and name == "onnx" else None,
        )
        made += list(_for_gpus(recipe, request)) if name == "tensorrt" else [recipe]
    return tuple(sorted(set(made), key=_order))


def variant_of(shape: Shape) -> str:
    """What tells artifacts of that shape from the usual ones: `9x9-exact`; empty for the usual."""
    usual = Shape()
    words = []
    if (shape.height, shape.width, shape.masked) != (usual.height, usual.width, usual.masked):
        words.append(f"{shape.width}x{shape.height}" + ("" if shape.masked else "-exact"))
    if shape.optimism != usual.optimism:
        words.append(f"optimism-{shape.optimism:g}")
    if not shape.softplus:
        words.append("no-softplus")
    return "-".join(words)


def _for_gpus(recipe: Recipe, request: Request) -> Iterator[Recipe]:
    if not request.compute_capabilities:
        raise ModelError(
            "a TensorRT engine is built for one kind of GPU",
            hint="Name it with --compute-capability, such as 8.6 for an RTX 30; `orchestrate "
            "facts` tells those of your hosts.",
        )
    for capability in request.compute_capabilities:
        yield replace(recipe, compute_capability=capability, batch_sizes=request.batch_sizes)


def _order(recipe: Recipe) -> tuple[int, int, str]:
    """ONNX before what is made of it, the quick ones before INT8."""
    precisions = ("fp32", "fp16", INT8)
    return (
        formats.FORMATS.index(recipe.format),
        precisions.index(recipe.precision),
        recipe.compute_capability,
    )
