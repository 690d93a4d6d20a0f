"""What a file's name tells of its format and precision."""

from __future__ import annotations

import re

from orchestrator.errors import ModelError
from orchestrator.models.manifest import FORMATS, PRECISIONS
from orchestrator.spelling import did_you_mean

SUFFIXES = {
    ".bin.gz": "katago",
    ".txt.gz": "katago",
    ".onnx": "onnx",
    ".engine": "tensorrt",
    ".plan": "tensorrt",
    ".tflite": "litert",
    ".mlpackage.zip": "coreml",
}
_FILENAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
_TAKEN = frozenset({"run", "manifest.json", "golden.npz", "golden.json"})
_SPELLINGS = {
    "fp32": "fp32",
    "float32": "fp32",
    "fp16": "fp16",
    "float16": "fp16",
    "half": "fp16",
    "int8": "int8",
    "uint8": "int8",
}


def format_of(filename: str, given: str | None) -> str:
    """The format that was given, or the one that the name's suffix stands for.

    Raises ModelError where the name does not tell.
    """
    if given is not None:
        return _one_of(given, FORMATS, "format")
    for suffix, name in SUFFIXES.items():
        if filename.lower().endswith(suffix):
            return name
    known = ", ".join(f"*{suffix} ({name})" for suffix, name in SUFFIXES.items())
    raise ModelError(
        f"the format of {filename} cannot be told from its name; known are {known}",
        hint=f"Give --format {'|'.join(FORMATS)}, or a --filename with one of these suffixes.",
    )


def precision_of(filename: str, format_name: str, given: str | None) -> str:
    """The precision that was given, or that the name says, or that is usual for the format.

    A KataGo net holds FP32 weights. A TensorRT engine must be told apart by the operator: raises
    ModelError.
    """
    if given is not None:
        return _one_of(given, PRECISIONS, "precision")
    if format_name == "katago":
        return "fp32"
    words = re.split(r"[^a-z0-9]+", filename.lower())
    named = {_SPELLINGS[word] for word in words if word in _SPELLINGS}
    if len(named) == 1:
        return named.pop()
    if named or format_name == "tensorrt":
        raise ModelError(
            f"the precision of {filename} cannot be told from its name",
            hint=f"Give --precision {'|'.join(PRECISIONS)}.",
        )
    return "fp32"


def release_name(filename: str) -> str:
    """The name, which a file can have in a release on any host; raises ModelError."""
    if not _FILENAME.fullmatch(filename):
        raise ModelError(
            f"{filename!r} is no name for a file in a release",
            hint="Give --filename: letters, digits, '.', '_', '+' and '-', no folder.",
        )
    if filename in _TAKEN:
        raise ModelError(
            f"a release has another file named {filename}", hint="Give another --filename."
        )
    return filename


def _one_of(word: str, choices: tuple[str, ...], what: str) -> str:
    if word in choices:
        return word
    near = did_you_mean(word, choices)
    raise ModelError(f"no such {what}: {word!r} (there are {', '.join(choices)})", hint=near)
