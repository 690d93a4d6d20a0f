"""Debian roots for bare hosts: made once by mmdebstrap, kept in `.cache/roots/`.

    python -m tests.provision.roots         makes those that are missing, for both architectures

A root is what a fresh machine has: OpenSSH, systemd, sudo, Python. Beside that it has the package
lists and the .debs that roles install, because hosts in tests reach no mirror: apt installs from
its cache. The recipe's digest is in the folder's name, so a changed recipe makes a new root.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.needs import missing, needs_program

CACHE = Path(__file__).parents[2] / ".cache" / "roots"
SUITE = "bookworm"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
INSTALLED = (
    "openssh-server", "systemd", "systemd-sysv", "sudo", "python3", "ca-certificates",
)  # fmt: skip
# What roles install: these lie in apt's cache. Python does too, for hosts that have none.
PYTHON = (
    "python3", "python3-minimal", "python3.11", "python3.11-minimal", "libpython3-stdlib",
    "libpython3.11-stdlib", "libpython3.11-minimal", "media-types",
)  # fmt: skip
DOWNLOADED = ("python3-apt", "python3-venv")
DOWNLOADED_FOR = {"x86_64": ("ocl-icd-libopencl1", "pocl-opencl-icd"), "aarch64": ()}
BINFMT = Path("/proc/sys/fs/binfmt_misc")
HOW_TO_GET_MMDEBSTRAP = "apt-get install mmdebstrap"
HOW_TO_GET_QEMU = "apt-get install qemu-user-static binfmt-support"


def root_of(arch: str) -> Path:
    """The root folder of a bare Debian of that machine type, as `uname -m` says it.

    Nobody may write into it. The first that asks makes it, which takes minutes for a foreign
    architecture; others wait.
    """
    if os.geteuid() != 0:
        missing("bare hosts are Debian roots of their own; that needs root")
    if arch != platform.machine():
        run_foreign_programs(arch)
    recipe = recipe_of(arch)
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]
    name = f"debian-{SUITE}-{ARCHITECTURES[arch]}"
    root = CACHE / f"{name}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            for old in CACHE.glob(f"{name}-*"):
                shutil.rmtree(old)
            make(recipe, root)
    return root


def recipe_of(arch: str) -> list[str]:
    """The command that makes a root, but for where and from which mirror."""
    kept = " ".join((*DOWNLOADED, *DOWNLOADED_FOR[arch]))
    # mmdebstrap's own apt: it runs on this machine, also for a foreign root.
    apt = 'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --yes --download-only install'
    hooks = [
        'rm -f "$1"/var/cache/apt/archives/*.deb',
        f"{apt} {kept} >/dev/null",
        f"{apt} --reinstall {' '.join(PYTHON)} >/dev/null",
        # Services stay off: no systemd runs that could start them.
        'printf "#!/bin/sh\\nexit 101\\n" >"$1"/usr/sbin/policy-rc.d',
        'chmod 755 "$1"/usr/sbin/policy-rc.d',
        'rm -f "$1"/etc/ssh/ssh_host_*_key* "$1"/etc/resolv.conf',
        'chroot "$1" apt-cache gencaches',
    ]
    return [
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--format=directory",
        "--variant=minbase",
        f"--architectures={ARCHITECTURES[arch]}",
        f"--include={','.join(INSTALLED)}",
        "--aptopt=APT::Install-Recommends false",
        "--aptopt=Acquire::Languages none",
        "--skip=cleanup/apt",
        *(f"--customize-hook={hook}" for hook in hooks),
    ]


def make(recipe: list[str], root: Path) -> None:
    """Make the root at that path, all of it or nothing."""
    needs_program("mmdebstrap", HOW_TO_GET_MMDEBSTRAP)
    part = root.with_name(f"part-{root.name}")
    shutil.rmtree(part, ignore_errors=True)
    command = [*recipe, SUITE, str(part), *mirror()]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode != 0:
        shutil.rmtree(part, ignore_errors=True)
        missing(f"a Debian root could not be made: {said.stderr.strip()[-2000:]}")
    part.rename(root)


def mirror() -> list[str]:
    """The mirror of Debian that this machine's apt uses; nothing when it uses none."""
    said = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in said.stdout.splitlines():
        label, _, uri = line.partition(" ")
        if label == "Debian":
            return [f"deb {uri} {SUITE} main"]
    return []


def run_foreign_programs(arch: str) -> None:
    """Have the kernel run programs of that machine type by QEMU; skip where it cannot.

    The kernel must hold the interpreter open (flag F): a root has no QEMU inside.
    """
    needs_program(f"qemu-{arch}-static", HOW_TO_GET_QEMU)
    entry = BINFMT / f"qemu-{arch}"
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=False)
    if not entry.exists():
        needs_program("update-binfmts", HOW_TO_GET_QEMU)
        subprocess.run(["update-binfmts", "--enable", entry.name], check=False)
    if not entry.exists() or "F" not in entry.read_text().partition("flags: ")[2].split("\n")[0]:
        missing(f"the kernel does not run {arch} programs; get it by: {HOW_TO_GET_QEMU}")


def main() -> None:
    """Make every root that is missing."""
    with ThreadPoolExecutor() as pool:
        for root in pool.map(root_of, ARCHITECTURES):
            sys.stdout.write(f"{root}\n")


if __name__ == "__main__":
    main()
