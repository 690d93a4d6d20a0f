"""Fixtures that any test may ask for."""

from __future__ import annotations

import os
import signal

from tests.docker_images import busybox_image, katago_image, python_image
from tests.dockerd import docker_engine, docker_names, pytest_collection_modifyitems
from tests.katago_engine import katago, tiny, tiny_scrambled
from tests.rollout.faults.fault_table import pytest_terminal_summary
from tests.sshd import needs_busybox, sshd_fleet

__all__ = [
    "busybox_image",
    "docker_engine",
    "docker_names",
    "katago",
    "katago_image",
    "needs_busybox",
    "pytest_collection_modifyitems",
    "pytest_terminal_summary",
    "python_image",
    "sshd_fleet",
    "tiny",
    "tiny_scrambled",
]

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# A shell starts what runs in the background with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
