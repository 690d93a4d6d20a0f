"""`explain` on this machine, reached without SSH."""

import hashlib
import json
import sys

import pytest
import yaml
from click.testing import CliRunner

from orchestrator.cli import root
from orchestrator.fleet import skeleton

NET = b"a net of an own format\n"


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "fleet"
    skeleton.create(folder)
    here = {
        "ansible_connection": "local",
        "orchestrate_root": str(tmp_path / "root"),
        "orchestrate_python": sys.executable,
        "orchestrate_model": "thing@v1",
    }
    inventory = {"all": {"hosts": {"here": here}}}
    (folder / "inventory" / "hosts.yml").write_text(yaml.safe_dump(inventory))
    (folder / "templates" / "own.cfg.j2").write_text("cores = {{ facts.cpu.cores }}\n")
    profile = {
        "artifacts": [{"format": "onnx"}, {"format": "file"}],
        "config": "own.cfg.j2",
        "engine": {"kind": "command", "run": "./serve"},
    }
    (folder / "orchestrate.yml").write_text(yaml.safe_dump({"profiles": {"own": profile}}))
    manifest = {
        "schema": 1,
        "model": "thing",
        "version": "v1",
        "artifacts": [
            {
                "format": "file",
                "precision": "fp32",
                "filename": "thing.dat",
                "sha256": hashlib.sha256(NET).hexdigest(),
                "size": len(NET),
            }
        ],
    }
    version = folder / "artifacts" / "thing" / "v1"
    version.mkdir(parents=True)
    (version / "manifest.json").write_text(json.dumps(manifest))
    return folder


def run(project, *words: str):
    return CliRunner().invoke(root, ["--project", str(project), *words], standalone_mode=False)


def test_tells_people(project):
    result = run(project, "explain", "here")
    assert result.exception is None, result.output
    assert result.return_value == 0
    lines = result.stdout.splitlines()
    assert "  wanted    thing@v1" in lines
    assert "  ✓ own  chosen: true" in lines
    assert "  ✗ onnx       thing@v1 has no onnx artifact" in lines
    assert "  ✓ file fp32  runs with command" in lines
    assert "            because nothing is active" in lines


def test_tells_programs(project):
    result = run(project, "--json", "explain", "here")
    assert result.exception is None, result.output
    document = json.loads(result.stdout)
    assert document["exit_code"] == 0
    assert document["hosts"]["here"]["action"] == "deploy"
    assert document["hosts"]["here"]["artifact"]["format"] == "file"


def test_says_why_nothing_fits_with_exit_2(project):
    settings = (project / "orchestrate.yml").read_text().replace("format: file", "format: litert")
    (project / "orchestrate.yml").write_text(settings)
    result = run(project, "explain", "here")
    assert result.return_value == 2, result.output
    assert "thing@v1 has no litert artifact" in result.stdout
    assert not (project.parent / "root" / "releases").exists()
