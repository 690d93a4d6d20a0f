"""Whether a file is a whole ONNX model, told from its protobuf frame alone.

The weights are skipped, so this needs neither the onnx package nor memory for them. Field numbers
are those of onnx.proto (ModelProto, GraphProto, TensorProto); the wire format is in
https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO

from orchestrator.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_IR_VERSION, _GRAPH = 1, 7  # of ModelProto
_INITIALIZER = 5  # of GraphProto
_DATA_LOCATION, _EXTERNAL = 14, 1  # of TensorProto


class _NotProtobufError(Exception):
    """The bytes are no protobuf message, or a part of one."""


def check(path: Path, name: str) -> None:
    """Pass when the file is an ONNX model in one piece; raises ModelError."""
    try:
        with path.open("rb") as file:
            external = _has_external_weights(file, path.stat().st_size)
    except _NotProtobufError as exc:
        raise ModelError(
            f"{name} is no whole ONNX model: {exc}",
            hint="Export or download it again, or give another --format.",
        ) from exc
    if external:
        raise ModelError(
            f"{name} keeps its weights in another file",
            hint="Save it as one file: onnx.save_model(model, path, save_as_external_data=False)",
        )


def _has_external_weights(file: BinaryIO, size: int) -> bool:
    seen: set[int] = set()
    external = False
    for number, start, end in _fields(file, 0, size):
        seen.add(number)
        if number == _GRAPH:
            external = external or _graph_has_external_weights(file, start, end)
    if not {_IR_VERSION, _GRAPH} <= seen:
        raise _NotProtobufError("it has no graph")
    return external


def _graph_has_external_weights(file: BinaryIO, start: int, end: int) -> bool:
    for number, begin, stop in _fields(file, start, end):
        if number == _INITIALIZER:
            for inner, value, _ in _fields(file, begin, stop):
                if inner == _DATA_LOCATION and _varint_at(file, value) == _EXTERNAL:
                    return True
    return False


def _fields(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of the value of each field of the message in `start:end`."""
    at = start
    while at < end:
        file.seek(at)
        tag = _varint(file)
        number, kind = tag >> 3, tag & 7
        if kind == _BYTES:
            length = _varint(file)
            value = file.tell()
            at = value + length
        elif kind == _VARINT:
            value = file.tell()
            _varint(file)
            at = file.tell()
        elif kind in {_FIXED32, _FIXED64}:
            value = file.tell()
            at = value + (4 if kind == _FIXED32 else 8)
        else:
            raise _NotProtobufError(f"byte {start} starts no protobuf field")
        if not number:
            raise _NotProtobufError(f"a field at byte {value} has no number")
        if at > end:
            raise _NotProtobufError(f"it ends at byte {end}, in the middle of a field")
        yield number, value, at


def _varint_at(file: BinaryIO, at: int) -> int:
    file.seek(at, io.SEEK_SET)
    return _varint(file)


def _varint(file: BinaryIO) -> int:
    value = shift = 0
    while True:
        byte = file.read(1)
        if not byte:
            raise _NotProtobufError("it ends in the middle of a field")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:  # noqa: PLR2004 - the continuation bit
            return value
        shift += 7
        if shift > 63:  # noqa: PLR2004 - ten bytes at most
            raise _NotProtobufError("a number has more than 64 bits")
