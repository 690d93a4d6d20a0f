"""A real Docker Engine of the tests' own: its daemon, containerd, images, networks, certificates.

    def test_something(docker_engine, docker_names):
        container = docker_engine.api.create_container(image, name=f"{docker_names}-one")

Every test that asks for `docker_engine` is in the xdist group "docker", if in no other, so that one
worker starts it.

Another dockerd may run on the machine. Measured with Docker 20.10: two daemons with iptables on
share the chains DOCKER and DOCKER-ISOLATION-*, and the one that starts later empties them, so the
published ports of the first no longer get through; both also want the bridge docker0 and give its
addresses away twice; and a daemon with address pools of its own deletes docker0 when it starts
again. Hence this one runs with `--iptables=false`, with a bridge of its own, and with the usual
pools, of which Docker takes what no route of the machine touches. Ports published on loopback need
no rule: docker-proxy carries them. Where the machine sends bridged packets through iptables, the
`FORWARD DROP` of the other daemon would part the containers of one network; one rule lets bridged
packets through, and stop() takes it away.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import os
import random
import shutil
import socket
import subprocess
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.needs import SYSTEM_FOLDERS, missing, needs_program
from tests.proxy import random_loopback_address
from tests.sshd import descendants, free_port, kill
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

HOW_TO_GET_DOCKERD = "apt-get install docker.io"
READY_WITHIN = 60.0  # seconds for the daemon to answer
ENDED_WITHIN = 40.0  # seconds for it to end, containers included
ATTEMPTS = 20  # ports tried when another process takes the one that was free
BRIDGED_PACKETS_FILTERED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


@dataclass
class Dockerd:
    """One Docker Engine; `settings` are further arguments of dockerd."""

    folder: Path
    settings: Sequence[str] = ()
    address: str = field(default_factory=random_loopback_address)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.certificates = self.folder / "certificates"
        self.network = free_network()
        self.bridge = f"dt{uuid.uuid4().hex[:10]}"
        write_certificates(self.certificates, self.folder / "server", self.address)
        (self.folder / "daemon.json").write_text("{}\n")
        self._api: docker.APIClient | None = None

    # -- where it is

    @property
    def url(self) -> str:
        """The address of its Unix socket."""
        return f"unix://{self.folder / 'docker.sock'}"

    @property
    def tls_url(self) -> str:
        """The address of its TCP port, where clients show a certificate."""
        return f"tcp://{self.address}:{self.port}"

    @property
    def api(self) -> docker.APIClient:
        """A client of the Engine's API."""
        if self._api is None:
            self._api = docker.APIClient(base_url=self.url, version="auto", timeout=60)
        return self._api

    @property
    def log(self) -> str:
        """All that the daemon has logged."""
        return (self.folder / "dockerd.log").read_text(errors="replace")

    def environment(self) -> dict[str, str]:
        """The variables that lead a Docker client here by the Unix socket."""
        return {"DOCKER_HOST": self.url}

    def tls_environment(self) -> dict[str, str]:
        """The variables that lead a Docker client here by TLS."""
        return {
            "DOCKER_HOST": self.tls_url,
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(self.certificates),
        }

    # -- the daemon

    def start(self) -> None:
        """Start the daemon and wait until it answers; containers that restart do so."""
        self._make_bridge()
        self._let_bridged_packets_through("-I")
        fixed = self.port != 0
        for _ in range(ATTEMPTS):
            if not fixed:
                self.port = free_port(self.address)
            seen = len(self.log) if (self.folder / "dockerd.log").exists() else 0
            self._launch()
            with contextlib.suppress(ChildProcessError):
                self.wait_until_ready()
                return
            said = self.log[seen:]
            if fixed or "address already in use" not in said:
                break
        raise RuntimeError(f"dockerd does not start: {said[-2000:]}")

    def wait_until_ready(self) -> None:
        """Return once the daemon answers; ChildProcessError when it ended instead."""

        def answers() -> bool:
            if self.process is None or self.process.poll() is not None:
                raise ChildProcessError("dockerd has ended")
            with contextlib.suppress(docker.errors.DockerException, OSError):
                # docker-py leaves a socket open when nobody listens, so look before.
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(self.url.removeprefix("unix://"))
                return bool(self.api.ping())
            return False

        wait_until(answers, "dockerd answers", seconds=READY_WITHIN)

    def kill(self) -> None:
        """SIGKILL to dockerd, as when it crashes: containerd dies with it, containers go on.

        The next start ends those containers, and starts again those whose policy is `always`.
        Docker 20.10 leaves those down whose policy is `unless-stopped`: to it, they were stopped.
        """
        assert self.process is not None, "not started"
        self.process.kill()
        self.process.wait()
        self.process = None
        # The next dockerd takes a containerd that nobody has reaped yet for one that runs.
        pid_file = self.folder / "exec" / "containerd" / "containerd.pid"
        containerd = int(pid_file.read_text())
        wait_until(lambda: has_ended(containerd), "containerd ends along with dockerd")
        pid_file.unlink()

    def lose_power(self) -> None:
        """SIGKILL to dockerd and to all that runs in containers."""
        others = self._processes()
        self.kill()
        kill(others)
        wait_until(lambda: all(map(has_ended, others)), "the containers end")

    def restart(self) -> None:
        """End the daemon as `systemctl restart docker` does, containers included; start it."""
        self._terminate()
        self.start()

    def stop(self) -> None:
        """End the daemon and all that is its own: processes, mounts, bridges, the iptables rule."""
        with contextlib.suppress(docker.errors.DockerException, OSError, RuntimeError):
            if self.process is None:
                self.start()
            self.remove("")
        self._terminate()
        if self._api is not None:
            self._api.close()
        kill(self._processes())
        wait_until(lambda: not self._processes(), "the Docker Engine's processes end")
        for mount in self._mounts():
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", self.bridge], check=False, capture_output=True)
        self._let_bridged_packets_through("-D")

    # -- what it holds

    def remove(self, prefix: str) -> None:
        """Remove each container, network, volume and tag whose name starts with `prefix`."""
        for each in self.api.containers(all=True):
            if any(name.removeprefix("/").startswith(prefix) for name in each["Names"] or [""]):
                with contextlib.suppress(docker.errors.NotFound):
                    self.api.remove_container(each["Id"], force=True, v=True)
        for each in self.api.networks():
            if each["Name"].startswith(prefix) and each["Name"] not in {"bridge", "host", "none"}:
                # An engine that was killed may remember endpoints of containers that are gone.
                with contextlib.suppress(docker.errors.APIError):
                    self.api.remove_network(each["Id"])
        for each in self.api.volumes()["Volumes"] or []:
            if each["Name"].startswith(prefix):
                self.api.remove_volume(each["Name"], force=True)
        for each in self.api.images() if prefix else []:
            for tag in each["RepoTags"] or []:
                if tag.startswith(prefix):
                    self.api.remove_image(tag, force=True, noprune=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    # -- inside

    def _launch(self) -> None:
        command = [
            needs_program("dockerd", HOW_TO_GET_DOCKERD),
            f"--host={self.url}",
            f"--host={self.tls_url}",
            f"--data-root={self.folder / 'data'}",
            f"--exec-root={self.folder / 'exec'}",
            f"--pidfile={self.folder / 'pid'}",
            f"--config-file={self.folder / 'daemon.json'}",
            *self._pools(),
            "--tlsverify",
            f"--tlscacert={self.folder / 'server' / 'ca.pem'}",
            f"--tlscert={self.folder / 'server' / 'cert.pem'}",
            f"--tlskey={self.folder / 'server' / 'key.pem'}",
            "--iptables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            f"--bridge={self.bridge}",
            "--shutdown-timeout=5",
            *self.settings,
        ]
        path = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("DOCKER_")}
        with (self.folder / "dockerd.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment, "PATH": path},
                start_new_session=True,
            )

    def _pools(self) -> list[str]:
        """Addresses of its own for 256 networks, where no other daemon has its docker0 here.

        The usual pools hold 31 networks, shared by all daemons of the machine. Pools of the
        settings are all it has: dockerd adds up what it is given.
        """
        given = any(each.startswith("--default-address-pool") for each in self.settings)
        if given or os.environ.get("CI", "").lower() != "true":
            return []
        return [f"--default-address-pool=base={self.network.supernet(new_prefix=16)},size=24"]

    def _terminate(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(ENDED_WITHIN)
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
        self.process = None

    def _make_bridge(self) -> None:
        if Path("/sys/class/net", self.bridge).exists():
            return
        subprocess.run(["ip", "link", "add", self.bridge, "type", "bridge"], check=True)
        first = f"{self.network[1]}/{self.network.prefixlen}"
        subprocess.run(["ip", "address", "add", first, "dev", self.bridge], check=True)
        subprocess.run(["ip", "link", "set", self.bridge, "up"], check=True)

    def _let_bridged_packets_through(self, action: str) -> None:
        with contextlib.suppress(OSError):
            if BRIDGED_PACKETS_FILTERED.read_text().strip() != "1":
                return
            rule = ["FORWARD", "-m", "physdev", "--physdev-is-bridged", "-j", "ACCEPT"]
            rule += ["-m", "comment", "--comment", self.bridge]
            there = subprocess.run(["iptables", "-C", *rule], check=False, capture_output=True)
            if (there.returncode == 0) == (action == "-D"):
                subprocess.run(["iptables", "-w", action, *rule], check=True, capture_output=True)

    def _processes(self) -> list[int]:
        """containerd and the shims of this engine, and what runs in containers below them."""
        own = f"{self.folder / 'exec'}/"
        found = []
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                said = command.read_bytes().decode(errors="replace")
                if own in said and "containerd" in said.partition("\0")[0]:
                    found.append(int(command.parent.name))
        return [*found, *(pid for parent in found for pid in descendants(parent))]

    def _mounts(self) -> list[str]:
        """Mount points inside the folder, the deepest first."""
        points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        own = f"{self.folder}/"
        return sorted((each for each in points if each.startswith(own)), reverse=True)


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[Dockerd]:
    """A Docker Engine that runs, one for all tests of the process."""
    with running_engine() as engine:
        yield engine


@pytest.fixture
def docker_names(docker_engine: Dockerd) -> Iterator[str]:
    """A prefix for names of containers, networks, volumes and tags, removed when the test ends."""
    prefix = f"t{uuid.uuid4().hex[:8]}"
    yield prefix
    if docker_engine.process is None:
        docker_engine.start()
    docker_engine.remove(prefix)


@contextlib.contextmanager
def running_engine(settings: Sequence[str] = ()) -> Iterator[Dockerd]:
    """A Docker Engine of one's own, for tests that kill it or need other settings."""
    needs_program("dockerd", HOW_TO_GET_DOCKERD)
    needs_program("ip", "apt-get install iproute2")
    if os.geteuid() != 0:
        missing("a Docker Engine of the tests' own is started by root; run the tests as root")
    mount_cgroups()
    # Not pytest's folder: the path of a Unix socket has 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="dockerd-"))
    try:
        with Dockerd(folder, settings) as engine:
            yield engine
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def mount_cgroups() -> None:
    """Mount the control groups as Debian does, where no init system has."""
    if not Path("/sys/fs/cgroup").is_mount():
        program = needs_program("cgroupfs-mount", "apt-get install cgroupfs-mount")
        subprocess.run([program], check=True, capture_output=True)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups when it is asked itself
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what asks for the engine in one xdist group, so that one worker starts it."""
    for item in items:
        grouped = item.get_closest_marker("xdist_group")
        if "docker_engine" in getattr(item, "fixturenames", ()) and grouped is None:
            item.add_marker(pytest.mark.xdist_group("docker"))


def has_ended(pid: int) -> bool:
    """Whether the process is gone, or waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except OSError:
        return True


def free_network() -> ipaddress.IPv4Network:
    """A network that no route of this machine touches."""
    said = subprocess.run(["ip", "-o", "-4", "route"], check=True, capture_output=True, text=True)
    taken = [line.split()[0] for line in said.stdout.splitlines() if line[:1].isdigit()]
    networks = [ipaddress.ip_network(each) for each in taken]
    chosen = random.SystemRandom()
    while True:
        found = ipaddress.ip_network(f"10.{chosen.randrange(256)}.{chosen.randrange(256)}.0/24")
        if not any(found.overlaps(each) for each in networks):
            return found


def write_certificates(client: Path, server: Path, address: str) -> None:
    """Write ca.pem, cert.pem, key.pem to both folders: one authority, made now, for both ends."""
    authority_key, authority = _issue("tests", None, [x509.BasicConstraints(True, 0)])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    for folder, usage, extensions in (
        (client, ExtendedKeyUsageOID.CLIENT_AUTH, []),
        (server, ExtendedKeyUsageOID.SERVER_AUTH, [names]),
    ):
        folder.mkdir()
        usages = x509.ExtendedKeyUsage([usage])
        key, certificate = _issue(folder.name, (authority_key, authority), [usages, *extensions])
        (folder / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
        (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (folder / "key.pem").touch(mode=0o600)
        (folder / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


def _issue(
    name: str,
    issuer: tuple[ec.EllipticCurvePrivateKey, x509.Certificate] | None,
    extensions: Sequence[x509.ExtensionType],
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """A new key and its certificate, by `issuer` or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer, issuer_name = (issuer[0], issuer[1].subject) if issuer else (key, subject)
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    for extension in extensions:
        builder = builder.add_extension(
            extension, critical=isinstance(extension, x509.BasicConstraints)
        )
    return key, builder.sign(signer, hashes.SHA256())
