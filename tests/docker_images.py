"""Images for tests, made of what this machine has: busybox, Python with ONNX Runtime, KataGo.

Each is one layer, imported into the tests' Docker Engine when the first test asks for it.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime as ort
import pytest

from tests import katago_engine
from tests.needs import find_program, missing, needs_program
from tests.sshd import HOW_TO_GET_BUSYBOX, is_static

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.dockerd import Dockerd

HOW_TO_GET_SOCAT = "apt-get install socat"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
KATAGO = "/opt/katago"
# Of the standard library and the packages: what no test runs.
LEFT_OUT = {
    "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "dist-packages", "test",
    "tests", "tkinter", "turtledemo", "distutils", "f2py", "tools", "transformers",
    "quantization", "datasets",
}  # fmt: skip
POCL_PACKAGES = ("libpocl2", "libpocl2-common", "pocl-opencl-icd")
LINKER_SCRIPTS = ("libc.so", "libm.so")  # they name the files to link with


@pytest.fixture(scope="session")
def busybox_image(docker_engine: Dockerd) -> str:
    """The id of an image of static busybox and socat."""
    return busybox_tree().import_into(docker_engine)


@pytest.fixture(scope="session")
def python_image(docker_engine: Dockerd) -> str:
    """The id of an image of busybox, socat, and this Python with NumPy and ONNX Runtime."""
    tree = busybox_tree()
    add_python(tree)
    return tree.import_into(docker_engine)


@pytest.fixture(scope="session")
def katago_image(docker_engine: Dockerd, katago: Path, tiny: Path) -> str:
    """The id of an image of busybox, socat, and the tests' KataGo with OpenCL on the CPU."""
    warm_kernels(katago, tiny)
    tree = busybox_tree()
    add_katago(tree)
    return tree.import_into(docker_engine)


class Tree:
    """The files of an image: paths there, and where on this machine their contents lie."""

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}
        self.texts: dict[str, tuple[bytes, int]] = {}
        self.links: dict[str, str] = {}
        self.programs: set[Path] = set()

    def add(self, source: Path, path: str = "") -> None:
        """A file of this machine, at the same path or another; a link becomes its target."""
        self.files[path or str(source)] = source.resolve()
        if source.name.endswith(".so") or ".so." in source.name or source.stat().st_mode & 0o111:
            self.programs.add(source)

    def add_folder(self, source: Path, path: str = "", *, left_out: Iterable[str] = ()) -> None:
        """A folder with all below it but the folders of the names in `left_out`."""
        for each in sorted(source.iterdir()):
            there = f"{path or source}/{each.name}"
            if each.is_dir():
                if each.name not in left_out and not each.name.startswith("config-"):
                    self.add_folder(each, there, left_out=left_out)
            elif each.is_file():
                self.add(each, there)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file of this text."""
        self.texts[path] = (text.encode(), mode)

    def link(self, path: str, target: str) -> None:
        """A symbolic link."""
        self.links[path] = target

    def add_libraries(self) -> None:
        """The shared libraries that the programs and libraries added so far are linked with."""
        listed = subprocess.run(
            ["ldd", *sorted(map(str, self.programs))], capture_output=True, text=True, check=False
        )
        there = set(self.files.values())
        for line in listed.stdout.splitlines():
            library = Path(line.split(" (0x")[0].rpartition("=>")[2].strip())
            resolved = line.startswith("\t") and " (0x" in line and library.is_absolute()
            # What lies in a package's own folder came with that folder.
            if resolved and library.resolve() not in there:
                self.files[os.path.normpath(library)] = library.resolve()

    def import_into(self, engine: Dockerd) -> str:
        """The id of the image of these files, made now."""
        with tempfile.TemporaryFile() as file:
            with tarfile.open(fileobj=file, mode="w") as archive:
                self._pack(archive)
            file.seek(0)
            chunks = iter(lambda: file.read(1 << 20), b"")
            said = engine.api.import_image_from_stream(chunks, changes=[f"ENV PATH {PATH}"])
        return str(json.loads(said.splitlines()[-1])["status"])

    def _pack(self, archive: tarfile.TarFile) -> None:
        for path in ("tmp", "var/tmp"):
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            archive.addfile(entry)
        for path, target in self.links.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
        for path, (text, mode) in self.texts.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(text), mode
            archive.addfile(entry, io.BytesIO(text))
        for path, source in self.files.items():
            entry = archive.gettarinfo(source, path.lstrip("/"))
            entry.type, entry.linkname, entry.size = tarfile.REGTYPE, "", source.stat().st_size
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            with source.open("rb") as content:
                archive.addfile(entry, content)


def busybox_tree() -> Tree:
    """Static busybox under all its names, socat, and the files by which users have names."""
    busybox = needs_program("busybox", HOW_TO_GET_BUSYBOX)
    if not is_static(busybox):
        missing(f"{busybox} is not static; get it by: {HOW_TO_GET_BUSYBOX}")
    tree = Tree()
    tree.add(busybox, "/bin/busybox")
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for applet in set(listed.stdout.split()) - {"busybox"}:
        tree.link(f"/bin/{applet}", "busybox")
    tree.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    tree.write("/etc/group", "root:x:0:\nnogroup:x:65534:\n")
    tree.add(needs_program("socat", HOW_TO_GET_SOCAT), "/usr/bin/socat")
    tree.add_libraries()
    return tree


def add_python(tree: Tree) -> None:
    """This Python at its own place, `python3` on PATH, NumPy and ONNX Runtime beside it."""
    interpreter = Path(sys.executable).resolve()
    tree.add(interpreter)
    tree.link("/usr/local/bin/python3", str(interpreter))
    places = {"base": sys.base_prefix, "platbase": sys.base_prefix}
    for library in {sysconfig.get_path(each, vars=places) for each in ("stdlib", "platstdlib")}:
        tree.add_folder(Path(library), left_out=LEFT_OUT)
    ask = "import site; print(site.getsitepackages()[0])"
    said = subprocess.run([interpreter, "-Ic", ask], capture_output=True, text=True, check=True)
    for package in (np, ort):
        home = Path(package.__file__).parent
        described = home.parent.glob(f"{home.name}-*.dist-info")
        for folder in (home, home.with_name(f"{home.name}.libs"), *described):
            if folder.is_dir():
                place = f"{said.stdout.strip()}/{folder.name}"
                tree.add_folder(folder, place, left_out=LEFT_OUT)
    # ONNX Runtime's own library for other languages; its module for Python has it inside.
    for path in [each for each in tree.files if "/libonnxruntime.so" in each]:
        del tree.files[path]
    tree.add_libraries()


def add_katago(tree: Tree) -> None:
    """The tests' KataGo, PoCL, and the linker by which PoCL makes kernels."""
    usr = katago_engine.CACHE / "squashfs-root" / "usr"
    tree.add(usr / "bin" / "katago", f"{KATAGO}/katago")
    for library in sorted((usr / "lib").glob("*.so*")):
        tree.add(library, f"{KATAGO}/lib/{library.name}")
    tree.add_folder(katago_engine.CACHE / "pocl", f"{KATAGO}/pocl")
    tree.write(
        "/usr/local/bin/katago",
        f"#!/bin/sh\nPOCL_CACHE_DIR=${{POCL_CACHE_DIR:-{KATAGO}/pocl}} "
        f'LD_LIBRARY_PATH={KATAGO}/lib exec {KATAGO}/katago "$@"\n',
        0o755,
    )
    listed = subprocess.run(
        ["dpkg-query", "-L", *POCL_PACKAGES], capture_output=True, text=True, check=True
    )
    for path in map(Path, listed.stdout.splitlines()):
        if path.is_file() and "/doc/" not in str(path):
            tree.add(path)
    linker = find_program("ld")
    assert linker is not None, katago_engine.OPENCL
    tree.add(linker, "/usr/bin/ld")
    triple = sysconfig.get_config_var("MULTIARCH")
    for script in (Path("/usr/lib", triple, name) for name in LINKER_SCRIPTS):
        tree.add(script)
        for path in map(Path, re.findall(r"/\S+", script.read_text())):
            if path.is_file():
                tree.add(path)
    for compiler in Path("/usr/lib/gcc", triple).iterdir():
        for name in ("crtbegin.o", "crtbeginS.o", "crtendS.o", "libgcc.a", "libgcc_s.so"):
            tree.add(compiler / name)
    tree.add_libraries()


def warm_kernels(katago: Path, net: Path) -> None:
    """Have PoCL compile the kernels into the folder that the image takes along."""
    query = {"id": "warm", "moves": [], "rules": "tromp-taylor", "komi": 7, "maxVisits": 2}
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "logDir": folder,
            "homeDataDir": folder,
            "numAnalysisThreads": 1,
            "numSearchThreadsPerAnalysisThread": 1,
            "nnMaxBatchSize": 1,
            "openclTunerFile": katago_engine.TUNER,
        }
        config = Path(folder, "analysis.cfg")
        config.write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
        subprocess.run(
            [katago, "analysis", "-model", net, "-config", config],
            input=json.dumps(query | {"boardXSize": 19, "boardYSize": 19}) + "\n",
            capture_output=True,
            text=True,
            check=True,
        )
