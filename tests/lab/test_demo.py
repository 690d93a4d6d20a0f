"""The demo, from a shell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.lab.processes import marked
from tests.lab.test_server import wait_until

DEMO = [sys.executable, "-u", "-m", "orchestrator.lab.demo", "--tiny"]


@pytest.mark.timeout(400)
def test_the_demo_does_what_it_tells(tmp_path):
    done = subprocess.run(
        DEMO,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=350,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wrong answers: golden error" in done.stdout
    assert "aborted: 4 of 4 canaries did not pass" in done.stdout
    assert "v2 never reached the other hosts" in done.stdout
    assert "unlike hosts run unlike artifacts" in done.stdout
    assert "the lab left nothing behind" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_cleans_up(tmp_path, number):
    demo = subprocess.Popen(
        DEMO,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with demo:
        for line in demo.stdout:
            if "inventory/lab.yml" in line:
                break
        plan = next(Path(tmp_path).glob("*/fleet/.orchestrate/lab/plan.json"))
        token = plan.read_text().split('"token": "')[1].split('"')[0]
        assert marked(token)
        demo.send_signal(number)
        demo.stdout.read()
        assert demo.wait(60) == 130
    wait_until(lambda: not marked(token))
    assert list(tmp_path.iterdir()) == []
