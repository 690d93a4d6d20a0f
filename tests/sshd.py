"""Real OpenSSH daemons on loopback: one process, host key, address and folder a host.

    def test_something(sshd_fleet):
        fleet = sshd_fleet(4)
        write_inventory(fleet.inventory())

Each host listens on a loopback address of its own. What runs on it is this machine's userland with
HOME and `root` inside the host's folder, or, with `userland="busybox"`, a chroot whose only program
is busybox.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.needs import find_program, missing, needs_program
from tests.proxy import known_hosts_option, random_loopback_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, Self

HOW_TO_GET_SSHD = "apt-get install openssh-server"
HOW_TO_GET_BUSYBOX = "apt-get install busybox-static"
READY_WITHIN = 20.0  # seconds for a daemon to answer
ATTEMPTS = 20  # ports tried when another process takes the one that was free


@dataclass(frozen=True, slots=True)
class Process:
    """A process that serves a session: pid and argv."""

    pid: int
    argv: tuple[str, ...]


@dataclass
class Sshd:
    """One OpenSSH host. `root` is the path of the orchestrator's root as the host sees it."""

    name: str
    folder: Path
    client_key: Path
    known_hosts: Path
    log_level: str = "VERBOSE"  # INFO or more: the start is recognised by what is logged
    environment: Mapping[str, str] = field(default_factory=dict)
    userland: Literal["system", "busybox"] = "system"
    force_command: str = ""
    sftp: bool = True
    settings: Sequence[str] = ()
    address: str = ""
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.address = self.address or random_loopback_address()
        write_key_pair(self.folder / "host_key")
        if self.userland == "busybox":
            self.root = "/opt/orchestrate"
            make_busybox_tree(self.folder / "tree")
            self.force_command = f"exec {shlex.join(self._write_entry())}"
        else:
            self.root = str(self.folder / "root")
            (self.folder / "home").mkdir()

    # -- where things are

    def here(self, path: str) -> Path:
        """Where the host's absolute `path` lies on this machine."""
        if self.userland == "busybox":
            return self.folder / "tree" / path.lstrip("/")
        return Path(path)

    @property
    def root_here(self) -> Path:
        """The orchestrator's root on the host, as a path of this machine."""
        return self.here(self.root)

    @property
    def log(self) -> str:
        """All that the daemon has logged."""
        return (self.folder / "sshd.log").read_text(errors="replace")

    @property
    def host_key(self) -> str:
        """The public host key: type and base64."""
        return " ".join((self.folder / "host_key.pub").read_text().split()[:2])

    def known_hosts_line(self, address: str = "", port: int = 0) -> str:
        """The line by which a client knows this host at `address` and `port`."""
        return f"[{address or self.address}]:{port or self.port} {self.host_key}\n"

    def inventory_vars(self) -> dict[str, Any]:
        """The host's variables in an inventory."""
        return {
            "ansible_host": self.address,
            "ansible_port": self.port,
            "ansible_user": getpass.getuser(),
            "ansible_ssh_private_key_file": str(self.client_key),
            "ansible_ssh_common_args": known_hosts_option(self.known_hosts),
            "orchestrate_root": self.root,
        }

    # -- the daemon

    def start(self) -> None:
        """Start the daemon and wait until it answers with its banner."""
        fixed = self.port != 0
        for _ in range(ATTEMPTS):
            if not fixed:
                self.port = free_port(self.address)
            seen = len(self.log) if (self.folder / "sshd.log").exists() else 0
            self._launch()
            if self._answers(seen):
                return
            said = self.log[seen:]
            if fixed or "Address already in use" not in said:
                break
        raise RuntimeError(f"sshd of {self.name} does not start: {said}")

    def stop(self) -> None:
        """End the daemon and every session; safe to call twice."""
        if self.process is None:
            return
        sessions = [process.pid for process in self.processes()]
        self.process.terminate()
        self.process.wait()
        self.process = None
        kill([*sessions, *(pid for parent in sessions for pid in descendants(parent))])

    def restart(self) -> None:
        """Stop, then start on the same address and port."""
        self.stop()
        self.start()

    def rotate_host_key(self) -> None:
        """Give the host a new key, as a reinstalled machine has; known_hosts keeps the old one."""
        for name in ("host_key", "host_key.pub"):
            (self.folder / name).unlink()
        write_key_pair(self.folder / "host_key")
        self.restart()

    def processes(self) -> list[Process]:
        """Every process that serves a session now: sshd's own children, shells, commands."""
        assert self.process is not None, "not started"
        found = []
        for pid in descendants(self.process.pid):
            with contextlib.suppress(OSError):
                raw = Path(f"/proc/{pid}/cmdline").read_bytes()
                found.append(Process(pid, tuple(raw.decode(errors="replace").split("\0")[:-1])))
        return found

    def kill_sessions(self, matching: str = "") -> list[Process]:
        """The session processes killed with SIGKILL: those whose command line has `matching`."""
        chosen = [p for p in self.processes() if matching in " ".join(p.argv)]
        kill([process.pid for process in chosen])
        return chosen

    # -- inside

    def _launch(self) -> None:
        config = self.folder / "sshd_config"
        config.write_text("\n".join(self._config()) + "\n")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        program = find_program("sshd")
        assert program is not None, HOW_TO_GET_SSHD
        with (self.folder / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, "-D", "-e", "-f", config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _config(self) -> list[str]:
        lines = [
            f"ListenAddress {self.address}:{self.port}",
            f"HostKey {self.folder / 'host_key'}",
            f"AuthorizedKeysFile {self.client_key}.pub",
            "PidFile none",
            f"LogLevel {self.log_level}",
            "StrictModes no",
            "UsePAM no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "PrintMotd no",
        ]
        taken = {setting.split()[0].lower() for setting in self.settings}
        if "maxstartups" not in taken:
            lines.append("MaxStartups 200")
        if self.sftp:
            lines.append("Subsystem sftp internal-sftp")
        if self.force_command:
            lines.append(f"ForceCommand {self.force_command}")
        if openssh_version() >= (9, 8):
            lines.append("PerSourcePenalties no")
        environment = {"HOME": str(self.folder / "home"), **self.environment}
        if self.userland == "system":
            assignments = (f"{name}={value}" for name, value in environment.items())
            lines.append("SetEnv " + " ".join(quote_for_sshd(each) for each in assignments))
        return [*lines, *self.settings]

    def _answers(self, seen: int) -> bool:
        """Whether the daemon came up; False when it ended instead."""
        assert self.process is not None
        deadline = time.monotonic() + READY_WITHIN
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                return False
            if "Server listening on" in self.log[seen:] and speaks_ssh(self.address, self.port):
                return True
            time.sleep(0.005)
        self.stop()
        return False

    def _write_entry(self) -> list[str]:
        """The command that runs SSH_ORIGINAL_COMMAND inside the tree, in a mount namespace."""
        tree = self.folder / "tree"
        environment = {"HOME": "/root", "USER": "root", "PATH": "/bin", **self.environment}
        assignments = shlex.join(f"{name}={value}" for name, value in environment.items())
        entry = self.folder / "enter"
        entry.write_text(
            "#!/bin/sh -e\n"
            f"cd {shlex.quote(str(tree))}\n"
            "for folder in dev proc sys; do mount --rbind /$folder $folder; done\n"
            f'exec chroot . /bin/busybox env -i {assignments} /bin/sh -c "$SSH_ORIGINAL_COMMAND"\n'
        )
        entry.chmod(0o755)
        own_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        return ["unshare", *own_user, "--mount", str(entry)]


class Fleet:
    """OpenSSH hosts that share a client key and a known_hosts file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hosts: list[Sshd] = []
        self.client_key = folder / "client_key"
        self.known_hosts = folder / "known_hosts"
        folder.mkdir(parents=True)
        write_key_pair(self.client_key)
        self.known_hosts.touch()

    def add(self, name: str = "", **options: Any) -> Sshd:
        """A started host; `options` are the fields of Sshd."""
        name = name or f"host-{len(self.hosts) + 1}"
        host = Sshd(name, self.folder / name, self.client_key, self.known_hosts, **options)
        self.hosts.append(host)
        host.start()
        with self.known_hosts.open("a") as file:
            file.write(host.known_hosts_line())
        return host

    def inventory(self, **variables: Any) -> dict[str, Any]:
        """The fleet as an Ansible YAML inventory; `variables` are set for all hosts."""
        hosts = {host.name: host.inventory_vars() for host in self.hosts}
        return {"all": {"hosts": hosts, "vars": variables}}

    def __getitem__(self, index: int) -> Sshd:
        return self.hosts[index]

    def __iter__(self) -> Iterator[Sshd]:
        return iter(self.hosts)

    def __len__(self) -> int:
        return len(self.hosts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        for host in self.hosts:
            host.stop()


@pytest.fixture
def sshd_fleet(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """`sshd_fleet(count, **options)`: that many started hosts, stopped when the test ends.

    Further hosts, such as one with another userland, come from `fleet.add(name, **options)`.
    """
    needs_program("sshd", HOW_TO_GET_SSHD)
    with contextlib.ExitStack() as stack:
        made = 0

        def start(count: int = 1, **options: Any) -> Fleet:
            nonlocal made
            made += 1
            fleet = stack.enter_context(Fleet(tmp_path / f"fleet-{made}"))
            for _ in range(count):
                fleet.add(**options)
            return fleet

        yield start


@pytest.fixture(scope="session")
def needs_busybox() -> None:
    """Skip unless `userland="busybox"` can run: a static busybox, and a mount namespace."""
    busybox = needs_program("busybox", HOW_TO_GET_BUSYBOX)
    needs_program("unshare", "apt-get install util-linux")
    if not is_static(busybox):
        missing(f"{busybox} is not static; get it by: {HOW_TO_GET_BUSYBOX}")
    own_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    probe = ["unshare", *own_user, "--mount", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        missing("a mount namespace is not permitted here; run as root, or allow user namespaces")


def write_key_pair(path: Path) -> None:
    """Write a new Ed25519 key to `path` and its public half to `path`.pub."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    path.touch(mode=0o600)
    path.write_bytes(private)
    path.with_name(f"{path.name}.pub").write_bytes(public + b"\n")


def free_port(address: str) -> int:
    """A port that nobody uses now."""
    with socket.create_server((address, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def speaks_ssh(address: str, port: int) -> bool:
    """Whether an SSH banner comes from there."""
    try:
        with socket.create_connection((address, port), timeout=READY_WITHIN) as probe:
            return probe.recv(4) == b"SSH-"
    except OSError:
        return False


def openssh_version() -> tuple[int, int]:
    """Major and minor version of the OpenSSH daemon."""
    program = find_program("sshd")
    assert program is not None, HOW_TO_GET_SSHD
    said = subprocess.run([program, "-V"], capture_output=True, text=True, check=False)
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", said.stdout + said.stderr)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def quote_for_sshd(word: str) -> str:
    """One argument of an sshd_config line."""
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def make_busybox_tree(tree: Path) -> None:
    """A root file system with nothing but busybox, its applets, and a place to be."""
    busybox = find_program("busybox")
    assert busybox is not None, HOW_TO_GET_BUSYBOX
    for folder in ("bin", "dev", "proc", "sys", "etc", "root", "opt", "tmp"):
        (tree / folder).mkdir(parents=True)
    (tree / "tmp").chmod(0o1777)
    (tree / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tree / "etc" / "group").write_text("root:x:0:\n")
    shutil.copy(busybox, tree / "bin" / "busybox")
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for applet in set(listed.stdout.split()) - {"busybox"}:
        (tree / "bin" / applet).symlink_to("busybox")


def is_static(program: Path) -> bool:
    """Whether the ELF program asks for no dynamic loader, and so runs in an empty tree."""
    with program.open("rb") as file:
        return b"/ld-" not in file.read(4096)


def descendants(pid: int) -> list[int]:
    """Pids of the children of `pid`, their children and so on, parents first."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(stat.parent.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def kill(pids: Sequence[int]) -> None:
    """SIGKILL to each that still is there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
