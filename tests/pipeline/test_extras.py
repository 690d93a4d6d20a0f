"""A library that is not there is told in one line."""

import sys

import pytest

from orchestrator.errors import ModelError
from orchestrator.pipeline import extras


def test_a_module_that_is_there():
    assert extras.need("json.decoder", "lab") is sys.modules["json.decoder"]


@pytest.mark.parametrize("module", ["no_such_library", "no_such_library.part"])
def test_a_module_that_is_not_installed(module):
    with pytest.raises(ModelError, match=f"needs the tensorrt extra: {module} is not") as caught:
        extras.need(module, "tensorrt")
    assert caught.value.hint == "pip install 'orchestrate-nets[tensorrt]'"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("import another_missing_library", "No module named 'another_missing_library'"),
        ("raise OSError('libcuda.so.1: cannot open shared object file')", "libcuda.so.1"),
    ],
)
def test_a_module_that_lacks_something_of_its_own(tmp_path, monkeypatch, body, why):
    (tmp_path / "broken_library.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=f"broken_library cannot be loaded: .*{why}"):
        extras.need("broken_library", "tensorrt")
