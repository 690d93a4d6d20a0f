"""Engines by kind and by format."""

from __future__ import annotations

import pytest

from orchestrator import engines
from orchestrator.errors import SettingsError
from orchestrator.fleet.profile import EngineSpec


@pytest.mark.parametrize("kind", engines.SUPPORTED)
def test_every_supported_kind_has_an_engine(kind):
    assert engines.get(kind).formats


def test_the_usual_engine_of_a_format_runs_it():
    for artifact_format in ("katago", "onnx"):
        spec = engines.usual(artifact_format)
        assert artifact_format in engines.get(spec.kind).formats
    assert engines.usual("onnx") == EngineSpec("onnxruntime")
    assert engines.usual("tensorrt") is None
    assert engines.usual("file") is None


@pytest.mark.parametrize(
    ("kind", "message", "hint"),
    [
        ("tensorrt", "engine kind tensorrt is not supported yet", "command, katago, onnxruntime"),
        ("litert", "engine kind litert is not supported yet", "command, katago, onnxruntime"),
        ("onnxruntme", "there is no engine kind 'onnxruntme'", "Did you mean 'onnxruntime'?"),
        ("os", "there is no engine kind 'os'", "Supported: command, katago, onnxruntime"),
    ],
)
def test_unknown_kinds_are_told_what_there_is(kind, message, hint):
    with pytest.raises(SettingsError) as caught:
        engines.get(kind)
    assert caught.value.message == message
    assert hint in caught.value.hint
