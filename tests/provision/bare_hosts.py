"""Bare Debian machines to provision: a root, processes, network and OpenSSH of their own.

    with Bench(tmp_path) as bench:
        host = bench.add("pi", "aarch64", board="raspberry-pi-4")
        write_inventory({"all": {"hosts": {host.name: host.inventory_vars()}}})

A host is a Debian root (`roots.py`) under an overlay, in namespaces of its own, with Debian's own
sshd as its first process and a link to this machine as its only network. An aarch64 host runs
aarch64 programs by QEMU; the setuid bit does nothing there, so sudo is no use but to root.
What hosts leave behind when a run is killed: nothing. They die with the process that started them,
and the kernel takes their mounts and links away.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import platform
import random
import shutil
import signal
import subprocess
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from tests.needs import missing, needs_program
from tests.provision.roots import root_of
from tests.proxy import known_hosts_option
from tests.sshd import speaks_ssh, write_key_pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Self

SAMPLES = Path(__file__).parents[1] / "fleet" / "samples"
BOARD = "/usr/share/board"  # where a simulated board's hardware lies on the host
# Set aside for tests of networks (RFC 2544): no other route leads there.
NETWORKS = ipaddress.ip_network("198.18.0.0/15")
READY_WITHIN = 60.0  # seconds for sshd to answer, under QEMU too
LISTENING = "Server listening on 0.0.0.0"
# What a role must not be able to do to this machine.
WITHHELD = "-sys_module,-sys_time,-sys_boot,-sys_rawio"

# Runs in the new namespaces: waits for the link, mounts, becomes the host's sshd. It lets go of the
# mounts of this machine: a copy would keep what is unmounted here, a dead container's network say.
ENTRY = """
set -e
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
root=$1 upper=$2 work=$3 lower=$4 address=$5 name=$6
echo namespaces
read -r go
hostname "$name"
ip link set lo up
ip address add "$address" dev eth0
ip link set eth0 up
mount -t overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work" overlay "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
[ -z "$processors" ] || mount --bind "$processors" "$root/proc/cpuinfo"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 dev "$root/dev"
for each in null zero full random urandom tty; do
  : >"$root/dev/$each"
  mount --bind "/dev/$each" "$root/dev/$each"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"
mount -t tmpfs -o mode=755 run "$root/run"
mkdir -p "$root/run/sshd" "$root/run/lock" "$root/run/machine"
cd "$root"
pivot_root . run/machine
exec chroot . /bin/sh -ec '
  umount -l /run/machine
  rmdir /run/machine
  exec env -i PATH="$PATH" LANG=C.UTF-8 /usr/sbin/sshd -D -e
'
"""


@dataclass(eq=False)
class BareHost:
    """One machine with Debian and an SSH key, and nothing else.

    `sudo` names a user who may use sudo, with `password` or, when that is empty, without one.
    `board` is a sample of tests/fleet/samples that it poses as. `files` are texts by path. `space`
    limits its disk, as `64m` does, and that disk is gone when it stops. `python` False takes
    Python off.
    """

    name: str
    arch: str
    folder: Path
    client_key: Path
    known_hosts: Path
    sudo: str = ""
    password: str = ""
    board: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    space: str = ""
    python: bool = True
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        needs_program("ip", "apt-get install iproute2")
        needs_program("unshare", "apt-get install util-linux")
        self.bare = root_of(self.arch)
        self.link = f"bare{uuid.uuid4().hex[:10]}"
        self.network = free_network()
        for folder in ("disk", "merged"):
            (self.folder / folder).mkdir(parents=True)
        if self.space:
            options = f"mode=755,size={self.space}"
            command = ["mount", "-t", "tmpfs", "-o", options, "disk", self.folder / "disk"]
            subprocess.run(command, check=True)
        for folder in ("upper", "work"):
            (self.folder / "disk" / folder).mkdir(mode=0o755)
        write_key_pair(self.folder / "host_key")
        self._equip()

    # -- where things are

    @property
    def address(self) -> str:
        """The host's address, at port 22."""
        return str(self.network[2])

    @property
    def controller(self) -> str:
        """This machine's address at its end of the link: the only one that the host reaches."""
        return str(self.network[1])

    @property
    def changes(self) -> Path:
        """What differs from the bare root, as the overlay keeps it: a deletion is a device."""
        return self.folder / "disk" / "upper"

    @property
    def tree(self) -> Path:
        """The host's file system as it sees it, while it runs."""
        assert self.process is not None, "not started"
        return Path(f"/proc/{self.init}/root")

    @property
    def init(self) -> int:
        """The pid of its first process, as this machine counts."""
        assert self.process is not None, "not started"
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(children.split()[0])

    def here(self, path: str) -> Path:
        """Where the host's absolute `path` lies on this machine, while the host runs."""
        return self.tree / path.lstrip("/")

    @property
    def log(self) -> str:
        """All that sshd has logged."""
        return (self.folder / "sshd.log").read_text(errors="replace")

    def known_hosts_line(self) -> str:
        """The line by which a client knows this host."""
        key = (self.folder / "host_key.pub").read_text().split()
        return f"{self.address} {key[0]} {key[1]}\n"

    def inventory_vars(self) -> dict[str, Any]:
        """The host's variables in an inventory, but for who logs in."""
        return {
            "ansible_host": self.address,
            "ansible_ssh_private_key_file": str(self.client_key),
            "ansible_ssh_common_args": known_hosts_option(self.known_hosts),
            # The lists that came with the root are what apt has to do with.
            "packages_cache_valid_time": 10**9,
        }

    # -- the machine

    def start(self) -> None:
        """Switch it on and wait until its sshd answers."""
        entry = [
            "setpriv", "--pdeathsig", "KILL", "--",
            "unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child",
            "setpriv", "--bounding-set", WITHHELD, "sh", "-c", ENTRY, "host",
            self.folder / "merged", self.folder / "disk" / "upper", self.folder / "disk" / "work",
            self.bare, f"{self.address}/{self.network.prefixlen}", self.name,
        ]  # fmt: skip
        seen = len(self.log) if (self.folder / "sshd.log").exists() else 0
        with (self.folder / "sshd.log").open("a") as log:
            self.process = subprocess.Popen(
                entry,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "processors": str(self._processors)},
                start_new_session=True,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "namespaces\n":
            self.stop()
            missing(f"namespaces for bare hosts are not permitted here: {self.log[-500:]}")
        if self.space:  # its namespace has the mount
            subprocess.run(["umount", "--lazy", self.folder / "disk"], check=True)
        self._plug_in()
        self.process.stdin.write("go\n")
        self.process.stdin.close()
        self.process.stdout.close()
        deadline = time.monotonic() + READY_WITHIN
        while LISTENING not in self.log[seen:] or not speaks_ssh(self.address, 22):
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = self.log[-2000:]
                self.stop()
                raise RuntimeError(f"the bare host {self.name} does not start: {said}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Switch it off: all of its processes end, its disk stays. Safe to call twice."""
        if self.process is None:
            return
        with contextlib.suppress(OSError, IndexError):
            os.kill(self.init, signal.SIGKILL)  # with it, all that runs there
            self.process.wait(READY_WITHIN)
        self.process.kill()
        self.process.wait()
        delete = ["ip", "link", "delete", self.link]
        subprocess.run(delete, check=False, capture_output=True)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        self.process = None

    def scrap(self) -> None:
        """Switch it off for good: its disk is gone."""
        self.stop()
        shutil.rmtree(self.folder / "disk", ignore_errors=True)

    def run(self, *command: str) -> str:
        """What a command prints when root runs it on the host, past SSH."""
        entered = ["nsenter", "--all", f"--target={self.init}", f"--root={self.tree}", "--wd=/"]
        said = subprocess.run(
            [*entered, *command], capture_output=True, text=True, check=False, timeout=300
        )
        assert said.returncode == 0, f"{command}: {said.stdout}{said.stderr}"
        return said.stdout

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Within it, the host cannot be reached: its end of the link is down."""
        link = ["nsenter", f"--target={self.init}", "--net", "ip", "link", "set", "eth0"]
        subprocess.run([*link, "down"], check=True)
        try:
            yield
        finally:
            subprocess.run([*link, "up"], check=True)

    # -- inside

    @property
    def _processors(self) -> Path | str:
        """What tells the processors of a foreign machine; QEMU shows this machine's own."""
        if self.arch == platform.machine():
            return ""
        return SAMPLES / (self.board or "raspberry-pi-4") / "sysroot" / "proc" / "cpuinfo"

    def _plug_in(self) -> None:
        assert self.process is not None
        there = str(self.process.pid)
        add = ["link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", there]
        address = f"{self.controller}/{self.network.prefixlen}"
        for words in (
            add,
            ["address", "add", address, "dev", self.link],
            ["link", "set", self.link, "up"],
        ):
            subprocess.run(["ip", *words], check=True)

    def _equip(self) -> None:
        """Give its disk what somebody who sets up a machine does: keys, a user, names."""
        with self._disk() as disk:
            key = self.client_key.with_name(f"{self.client_key.name}.pub").read_text()
            lines = [
                "HostKey /etc/ssh/host_key",
                "PidFile none",
                "PasswordAuthentication no",
                "PermitRootLogin prohibit-password",
                "PrintMotd no",
                "MaxStartups 200",
                "Subsystem sftp internal-sftp",
                *([f"SetEnv ORCHESTRATE_SYSROOT={BOARD}"] if self.board else []),
            ]
            self._write(disk, "/etc/ssh/sshd_config", "\n".join([*lines, "UsePAM yes", ""]))
            self._write(disk, "/etc/ssh/host_key", (self.folder / "host_key").read_text(), 0o600)
            self._write(disk, "/etc/hostname", f"{self.name}\n")
            self._write(disk, "/etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n")
            self._write(disk, "/root/.ssh/authorized_keys", key, 0o600)
            if self.sudo:
                self._add_user(disk, key)
            if self.board:
                self._make_board(disk)
            if not self.python:
                purge = "dpkg --purge $(dpkg-query -W -f '${Package} ' '*python3*') 2>&1"
                subprocess.run(
                    ["chroot", disk, "sh", "-c", purge], check=True, stdout=subprocess.DEVNULL
                )
            for path, text in self.files.items():
                self._write(disk, path, text)

    @contextlib.contextmanager
    def _disk(self) -> Iterator[Path]:
        """The disk, mounted while the machine is off."""
        disk, store = self.folder / "merged", self.folder / "disk"
        options = f"lowerdir={self.bare},upperdir={store / 'upper'},workdir={store / 'work'}"
        mounted = subprocess.run(
            ["mount", "-t", "overlay", "-o", options, "overlay", disk],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode != 0:
            missing(f"an overlay cannot be mounted in {self.folder}: {mounted.stderr.strip()}")
        try:
            yield disk
        finally:
            subprocess.run(["umount", disk], check=True)

    def _write(self, disk: Path, path: str, text: str, mode: int = 0o644) -> None:
        file = disk / path.lstrip("/")
        if not file.parent.exists():
            file.parent.mkdir(parents=True, mode=0o755)
        file.unlink(missing_ok=True)
        file.touch(mode=mode)
        file.write_text(text)

    def _add_user(self, disk: Path, key: str) -> None:
        home = f"/home/{self.sudo}"
        add = f"useradd --create-home --shell /bin/bash {self.sudo} && "
        add += f"install -d -m 700 -o {self.sudo} -g {self.sudo} {home}/.ssh"
        if self.password:
            add += f" && echo {quote(f'{self.sudo}:{self.password}')} | chpasswd"
        subprocess.run(["chroot", disk, "sh", "-c", add], check=True)
        self._write(disk, f"{home}/.ssh/authorized_keys", key)
        allowed = "ALL" if self.password else "NOPASSWD: ALL"
        self._write(disk, "/etc/sudoers.d/first-user", f"{self.sudo} ALL=(ALL) {allowed}\n", 0o440)

    def _make_board(self, disk: Path) -> None:
        sample = SAMPLES / self.board
        shutil.copytree(sample / "sysroot", disk / BOARD.lstrip("/"), symlinks=True)
        for program in (sample / "bin").glob("*"):
            if not (disk / "usr" / "bin" / program.name).exists():
                shutil.copy(program, disk / "usr" / "bin" / program.name)


class Bench:
    """Bare hosts that share a client key and a known_hosts file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hosts: list[BareHost] = []
        self.client_key = folder / "client_key"
        self.known_hosts = folder / "known_hosts"
        folder.mkdir(parents=True, exist_ok=True)
        write_key_pair(self.client_key)
        self.known_hosts.touch()

    def add(self, name: str, arch: str, **options: Any) -> BareHost:
        """A started host; `options` are the fields of BareHost."""
        folder = self.folder / name
        host = BareHost(name, arch, folder, self.client_key, self.known_hosts, **options)
        self.hosts.append(host)
        host.start()
        with self.known_hosts.open("a") as file:
            file.write(host.known_hosts_line())
        return host

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        for host in self.hosts:
            host.scrap()


def free_network() -> ipaddress.IPv4Network:
    """Four addresses that no route of this machine touches: one for each end of a link."""
    said = subprocess.run(["ip", "-o", "-4", "route"], check=True, capture_output=True, text=True)
    taken = {line.split()[0] for line in said.stdout.splitlines()}
    chosen = random.SystemRandom()
    while True:
        first = NETWORKS[4 * chosen.randrange(NETWORKS.num_addresses // 4)]
        network = ipaddress.ip_network(f"{first}/30")
        if str(network) not in taken:
            return network
