"""The engine kind `command`."""

from __future__ import annotations

import subprocess

from orchestrator.engines.command import ENGINE
from orchestrator.fleet.facts import Facts
from orchestrator.fleet.profile import EngineSpec
from orchestrator.models.manifest import FORMATS, Artifact

ANY = Artifact("file", "fp32", "net.bin", "0" * 64, 1)


def test_it_runs_everything_and_needs_a_run_line():
    assert ENGINE.formats == set(FORMATS)
    assert ENGINE.unfit(EngineSpec("command", run="serve"), Facts(), ANY) == ""
    assert "no `run:` line" in ENGINE.unfit(EngineSpec("command"), Facts(), ANY)


def test_the_line_may_be_any_shell_and_follows_exec():
    spec = EngineSpec("command", run='echo "[$MODEL]" && echo "[$CONFIG]" | tr a-z A-Z')
    line = ENGINE.run_line(spec, model="a net's $file.bin", config="my config")
    done = subprocess.run(["sh", "-c", f"exec {line}"], capture_output=True, text=True, check=True)
    assert done.stdout == "[a net's $file.bin]\n[MY CONFIG]\n"
