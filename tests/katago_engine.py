"""A real KataGo for tests: 1.18.1 with OpenCL, out of the wheel that KaTrain publishes on PyPI.

It runs on the CPU by PoCL. The engine is unpacked once into `.cache/katago/` of the repository.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import zipfile
from pathlib import Path
from shlex import quote

import pytest

from orchestrator.errors import ModelError
from orchestrator.models.sources.wheel import download_command
from tests.katago_net import scramble, tiny_net
from tests.needs import missing

REPOSITORY = Path(__file__).parent.parent
CACHE = REPOSITORY / ".cache" / "katago"
TUNER = Path(__file__).parent / "data" / "opencl-tuning.txt"
WHEEL = "katrain==1.20.0"
ENGINE = "katrain/KataGo/katago"
NET = "katrain/models/b10c384h6nbttflrs.bin.gz"
VERSION = "1.18.1"
OPENCL = "OpenCL for CPUs is missing: apt-get install ocl-icd-libopencl1 pocl-opencl-icd"

# A net for protocol and config tests: KataGo answers at random without loading anything.
NO_NET = Path("/dev/null")


@pytest.fixture(scope="session")
def katago() -> Path:
    """The path of a KataGo 1.18.1 that runs here: a shell script that execs the engine."""
    program = CACHE / "katago"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _unpack(program)
    if not list(Path("/etc/OpenCL/vendors").glob("*.icd")):
        missing(OPENCL)
    said = subprocess.run([program, "version"], capture_output=True, text=True, check=False)
    if f"KataGo v{VERSION}" not in said.stdout:
        missing(f"{OPENCL} ({(said.stdout + said.stderr).strip()[-300:]})")
    return program


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net of random weights that KataGo loads and runs in a moment."""
    return tiny_net(tmp_path_factory.mktemp("tiny") / "tiny.bin.gz", seed=1)


@pytest.fixture(scope="session")
def tiny_scrambled(tiny: Path) -> Path:
    """`tiny` with its weights permuted: well-formed, and wrong."""
    return scramble(tiny, tiny.with_name("scrambled.bin.gz"))


def _unpack(program: Path) -> None:
    """Fetch the wheel and leave the engine, its libraries and the net; drop the rest."""
    work = CACHE / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        command = download_command(WHEEL, work)
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (ModelError, OSError, subprocess.CalledProcessError) as exc:
        reason = str(getattr(exc, "stderr", "") or exc).strip()[-300:]
        missing(f"KataGo {VERSION} is missing: {WHEEL}, which holds it, cannot be got: {reason}")
    (wheel,) = work.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        image = Path(archive.extract(ENGINE, work))
        Path(archive.extract(NET, work)).replace(CACHE / Path(NET).name)
    image.chmod(0o755)
    subprocess.run([image, "--appimage-extract"], cwd=work, check=True, capture_output=True)
    shutil.rmtree(CACHE / "squashfs-root", ignore_errors=True)
    (work / "squashfs-root").replace(CACHE / "squashfs-root")
    shutil.rmtree(work)
    usr = CACHE / "squashfs-root" / "usr"
    script = program.with_suffix(".part")
    script.write_text(
        "#!/bin/sh\n"
        f"LD_LIBRARY_PATH={quote(str(usr / 'lib'))} POCL_CACHE_DIR={quote(str(CACHE / 'pocl'))} "
        f'exec {quote(str(usr / "bin" / "katago"))} "$@"\n'
    )
    script.chmod(0o755)
    script.replace(program)
