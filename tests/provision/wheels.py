"""ONNX Runtime's pinned wheels for bare hosts: a wheelhouse, or an index on the host's own link.

They are fetched once, into `.cache/wheels/`, under a name with the digest of the pins.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import shutil
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import ModelError
from orchestrator.models.sources.wheel import download_command
from tests.needs import missing

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
CACHE = REPOSITORY / ".cache" / "wheels"
PYTHON = "3.11"  # of the roots
PINS = REPOSITORY / "playbooks/roles/onnxruntime/files/pins" / f"python{PYTHON}.txt"
GLIBCS = ("2_17", "2_27", "2_28", "2_34", "2_35", "2_36")  # up to that of the roots


def wheelhouse(arch: str) -> Path:
    """A folder with the pinned wheels for the bare hosts of that machine type."""
    digest = hashlib.sha256(PINS.read_bytes()).hexdigest()[:12]
    folder = CACHE / f"{arch}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{arch}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for old in CACHE.glob(f"*{arch}-*"):
                shutil.rmtree(old)
            _download(arch, folder)
    return folder


@contextlib.contextmanager
def index(wheels: Path, folder: Path, address: str) -> Iterator[str]:
    """The URL of a package index (PEP 503) of these wheels at that address of this machine.

    `folder` is made to hold it.
    """
    for wheel in wheels.glob("*.whl"):
        project = folder / "simple" / wheel.name.partition("-")[0].lower().replace("_", "-")
        project.mkdir(parents=True, exist_ok=True)
        (project / wheel.name).symlink_to(wheel)
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer((address, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{address}:{server.server_port}/simple/"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    """A listing of a folder is what a package index is."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def _download(arch: str, folder: Path) -> None:
    part = folder.with_name(f"part-{folder.name}")
    shutil.rmtree(part, ignore_errors=True)
    platforms = [f"--platform=manylinux_{glibc}_{arch}" for glibc in GLIBCS]
    options = ["--no-deps", "--only-binary=:all:", f"--python-version={PYTHON}", "--quiet"]
    try:
        command = download_command("", part)
        pip = command[: command.index("download") + 1]
        subprocess.run(
            [*pip, *options, *platforms, "--dest", part, "--requirement", PINS],
            check=True,
            capture_output=True,
            text=True,
        )
    except (ModelError, OSError, subprocess.CalledProcessError) as exc:
        reason = str(getattr(exc, "stderr", "") or exc).strip()[-500:]
        missing(f"the wheels of {PINS.name} cannot be got for {arch}: {reason}")
    part.rename(folder)
