"""The machine that artifacts are built and measured on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def processor() -> str:
    """The CPU and its cores, for people: `AMD EPYC 7763, 2 cores`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", errors="replace")
    except OSError:
        text = ""
    named = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    name = named[1].strip() if named else platform.processor() or platform.machine()
    return f"{name}, {cores} {'core' if cores == 1 else 'cores'}"
