"""Ways to a Docker Engine: a real one, a real sshd, and servers that are wrong on purpose."""

from __future__ import annotations

import contextlib
import ctypes
import datetime as dt
import http.server
import ipaddress
import json
import os
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import docker.errors
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from orchestrator.errors import (
    AuthError,
    CommandError,
    HostError,
    HostKeyError,
    InventoryError,
    UnreachableError,
)
from orchestrator.fleet.host import Host
from orchestrator.targets.connection import connection_spec
from orchestrator.targets.docker.endpoint import endpoint
from orchestrator.targets.docker.engine import explained, open_engine
from orchestrator.targets.docker.info import engine_facts
from tests.needs import find_program, needs_program
from tests.sshd import write_key_pair
from tests.waiting import wait_until

HOW_TO_GET_DOCKER = "apt-get install docker-cli, or docker.io"


def spec_of(docker_host, *, connect_timeout=10.0, **variables):
    own = {
        "ansible_connection": "docker",
        "orchestrate_docker_host": docker_host,
        "orchestrate_image": "sha256:" + "0" * 64,
    }
    host = Host("box-1", (), {**variables, **own})
    return connection_spec(host, connect_timeout=connect_timeout)


def refused(spec, kind=UnreachableError):
    """The error with which the engine is not opened."""
    with pytest.raises(kind) as caught:
        open_engine(spec).close()
    assert caught.value.message.startswith(("box-1: ", "box-1 ("))
    assert caught.value.hint
    return caught.value


@pytest.fixture(autouse=True)
def no_docker_settings(monkeypatch, tmp_path):
    """Whatever Docker knows of this machine counts for nothing."""
    for name in ("DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker-config"))


# -- by a Unix socket


def test_a_unix_socket_leads_to_the_engine_and_its_facts(docker_engine):
    spec = spec_of(docker_engine.url, orchestrate_container="nets")
    with open_engine(spec) as engine:
        facts = engine_facts(engine.api, spec)
        said = docker_engine.api.info()
        assert engine.url == docker_engine.url
        assert engine.api.ping()
    assert facts.version == said["ServerVersion"]
    assert facts.api == engine.api.api_version
    assert facts.storage_driver == said["Driver"]
    assert "runc" in facts.runtimes
    assert facts.container == "nets"
    assert not facts.rootless
    assert (facts.image, facts.image_id, facts.image_arch) == ("", "", "")


def test_a_socket_that_is_not_there(tmp_path):
    error = refused(spec_of(f"unix://{tmp_path}/docker.sock"))
    assert "there is no such socket" in error.message
    assert "systemctl start docker" in error.hint


def test_a_socket_that_nobody_listens_on(tmp_path):
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    assert "connection refused" in refused(spec_of(f"unix://{path}")).message


def test_a_socket_that_is_for_others(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    path = tmp_path / "docker.sock"

    def as_nobody():
        ctypes.CDLL(None).setfsuid(65534)  # of this thread alone
        return refused(spec_of(f"unix://{path}"), AuthError)

    with Answering(path, b"{}"):
        path.chmod(0o600)
        with ThreadPoolExecutor(1) as pool:
            error = pool.submit(as_nobody).result()
    assert "permission denied" in error.message
    assert "group docker" in error.hint


class Answering:
    """Something on a Unix socket that gives every HTTP request the same answer."""

    def __init__(self, path, body, status=200):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def address_string(self):
                return "unix"

            def log_message(self, *_args):
                pass

        self.server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_exc):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.mark.parametrize("version", ["1.39", "1.9"])
def test_an_engine_that_is_too_old(tmp_path, version):
    path = tmp_path / "docker.sock"
    with Answering(path, json.dumps({"ApiVersion": version, "MinAPIVersion": "1.8"}).encode()):
        error = refused(spec_of(f"unix://{path}"), HostError)
    assert error.as_dict()["code"] == "docker_too_old"
    assert f"has API {version}, 1.40 or newer (Docker 19.03) is needed" in error.message


@pytest.mark.parametrize(
    ("said", "spoken"),
    [
        ({"ApiVersion": "1.40", "MinAPIVersion": "1.12"}, "1.40"),
        ({"ApiVersion": "1.41"}, "1.41"),
        ({"ApiVersion": "1.99", "MinAPIVersion": "1.44"}, "1.51"),
        ({"ApiVersion": "1.99", "MinAPIVersion": "1.60"}, "1.60"),
    ],
)
def test_the_newest_version_that_both_know_is_spoken(tmp_path, said, spoken):
    path = tmp_path / "docker.sock"
    with Answering(path, json.dumps(said).encode()), open_engine(spec_of(f"unix://{path}")) as made:
        assert made.api.api_version == spoken


@pytest.mark.parametrize(
    ("body", "status"), [(b"<html>", 200), (b"[]", 200), (b"{}", 200), (b"{}", 404), (b"", 500)]
)
def test_what_is_no_docker_engine(tmp_path, body, status):
    path = tmp_path / "docker.sock"
    with Answering(path, body, status):
        assert "is no Docker Engine" in refused(spec_of(f"unix://{path}")).message


def test_an_engine_that_says_nothing_is_not_waited_for(tmp_path):
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        error = refused(spec_of(f"unix://{path}", connect_timeout=0.2))
    assert error.as_dict()["code"] == "timeout"


def test_answers_have_their_own_limit_of_time(docker_engine, container):
    spec = spec_of(docker_engine.url, connect_timeout=60)
    with (
        open_engine(spec, timeout=0.2) as engine,
        pytest.raises(UnreachableError, match="no answer in time while waiting") as caught,
        explained(spec, "waiting"),
    ):
        engine.api.wait(container, timeout=engine.api.timeout)
    assert caught.value.as_dict()["code"] == "timeout"


# -- what the engine answers


def test_the_engines_own_words_are_told_in_one_line(docker_engine):
    spec = spec_of(docker_engine.url)
    with (
        open_engine(spec) as engine,
        pytest.raises(CommandError) as caught,
        explained(spec, "creating the volume"),
    ):
        engine.api.create_volume("none\nsuch")
    assert caught.value.message.startswith("box-1: creating the volume: ")
    assert "such" in caught.value.message
    assert "\n" not in caught.value.message


def test_what_somebody_removed_is_told(docker_engine):
    spec = spec_of(docker_engine.url)
    with (
        open_engine(spec) as engine,
        pytest.raises(CommandError, match=r"^box-1: .*no-such-container"),
        explained(spec),
    ):
        engine.api.inspect_container("no-such-container")


def test_a_local_file_that_is_missing_is_no_trouble_of_the_engine(tmp_path):
    with pytest.raises(FileNotFoundError), explained(spec_of("unix:///x")):
        (tmp_path / "image.tar").read_bytes()


# -- by TLS


def test_tls_leads_to_the_engine(docker_engine, monkeypatch, tmp_path):
    variables = {"orchestrate_docker_tls": str(docker_engine.certificates)}
    with open_engine(spec_of(docker_engine.tls_url, **variables)) as engine:
        assert engine.url == docker_engine.tls_url
        assert engine.api.info()["ID"] == docker_engine.api.info()["ID"]
    monkeypatch.setenv("DOCKER_CERT_PATH", str(docker_engine.certificates))
    open_engine(spec_of(docker_engine.tls_url)).close()
    monkeypatch.delenv("DOCKER_CERT_PATH")
    shutil.copytree(docker_engine.certificates, tmp_path / "docker-config")
    open_engine(spec_of(docker_engine.tls_url)).close()


def test_settings_for_web_sites_do_not_count(docker_engine, monkeypatch, tmp_path):
    authority = Authority("web")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.write_ca(tmp_path / "web.pem")))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    spec = spec_of(docker_engine.tls_url, orchestrate_docker_tls=str(docker_engine.certificates))
    with open_engine(spec) as engine:
        assert engine.api.ping()


def test_an_engine_of_another_authority_is_not_trusted(docker_engine, tmp_path, monkeypatch):
    folder = shutil.copytree(docker_engine.certificates, tmp_path / "certificates")
    Authority("tests").write_ca(folder / "ca.pem")
    # That the web's bundle has the right one changes nothing.
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(docker_engine.certificates / "ca.pem"))
    error = refused(spec_of(docker_engine.tls_url, orchestrate_docker_tls=str(folder)), AuthError)
    assert "not from the authority in our ca.pem" in error.message
    assert error.as_dict()["code"] == "docker_server_certificate"


@pytest.mark.parametrize("wrong", ["authority", "expired", "for servers"])
def test_the_engine_refuses_our_certificate(docker_engine, tmp_path, wrong):
    """A real engine says so only after the handshake, and may hang up before it is heard."""
    own = Authority("somebody")
    folder = own.write_client(tmp_path / "client", server=wrong == "for servers")
    if wrong == "expired":
        folder = own.write_client(tmp_path / "expired", days=-1)
    shutil.copy(docker_engine.certificates / "ca.pem", folder / "ca.pem")
    spec = spec_of(docker_engine.tls_url, orchestrate_docker_tls=str(folder))
    for _ in range(10):
        error = refused(spec, AuthError)
        assert "it refused our certificate" in error.message
        assert error.as_dict()["code"] == "docker_client_certificate"


class Authority:
    """Makes certificates, also ones that are no good."""

    def __init__(self, name):
        self.name = name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._issue(name, self.key, [x509.BasicConstraints(True, 0)], days=30)

    def write_ca(self, path):
        path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def write_client(self, folder, *, days=30, server=False, names=(), password=b""):
        """ca.pem, cert.pem and key.pem in a new folder."""
        folder.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        extensions = [x509.ExtendedKeyUsage([usage])]
        if names:
            extensions.append(x509.SubjectAlternativeName(names))
        made = self._issue("it", key, extensions, days=days)
        self.write_ca(folder / "ca.pem")
        (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        locked = serialization.BestAvailableEncryption(password) if password else None
        (folder / "key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                locked or serialization.NoEncryption(),
            )
        )
        return folder

    def _issue(self, name, key, extensions, *, days):
        now = dt.datetime.now(dt.UTC)
        begins, ends = sorted((now - dt.timedelta(days=40), now))
        if days > 0:
            begins, ends = now - dt.timedelta(days=1), now + dt.timedelta(days=days)
        if days == 0:  # not yet
            begins, ends = now + dt.timedelta(days=1), now + dt.timedelta(days=2)
        own = self.key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own), False)
        )
        for each in extensions:
            builder = builder.add_extension(each, isinstance(each, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())


@contextlib.contextmanager
def tls_server(folder, *, clients=None):
    """The port of a server with the folder's certificate, which asks for one of `clients`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve():
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    plain, _ = listener.accept()
                    plain.settimeout(10)
                    with plain, context.wrap_socket(plain, server_side=True) as sock:
                        sock.recv(4096)
                        body = b'{"ApiVersion": "1.45"}'
                        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
                        sock.sendall(body)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            ended.set()
            with contextlib.suppress(OSError), socket.create_connection(listener.getsockname()):
                pass
            thread.join()


LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
ELSEWHERE = x509.IPAddress(ipaddress.ip_address("192.0.2.1"))


@pytest.mark.parametrize(
    ("host", "names", "days", "said"),
    [
        ("127.0.0.1", [LOOPBACK], -1, "its certificate has expired"),
        ("127.0.0.1", [LOOPBACK], 0, "its certificate is not valid yet"),
        ("127.0.0.1", [ELSEWHERE], 30, "for another name: .*127.0.0.1"),
        ("localhost", [x509.DNSName("box.example.com")], 30, "for another name: .*localhost"),
        ("localhost", [LOOPBACK], 30, "for another name"),
        ("localhost", [], 30, "for another name"),
    ],
)
def test_a_certificate_of_the_engine_that_does_not_do(tmp_path, host, names, days, said):
    authority = Authority("ours")
    client = authority.write_client(tmp_path / "client")
    server = authority.write_client(tmp_path / "server", server=True, names=names, days=days)
    with tls_server(server) as port:
        spec = spec_of(f"tcp://{host}:{port}", orchestrate_docker_tls=str(client))
        error = refused(spec, AuthError)
    assert error.as_dict()["code"] == "docker_server_certificate"
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(error.message)
    assert "docs/docker-certificates.md" in error.hint or "clocks" in error.hint


def test_a_certificate_that_is_right_passes(tmp_path):
    authority = Authority("ours")
    client = authority.write_client(tmp_path / "client")
    server = authority.write_client(tmp_path / "server", server=True, names=[LOOPBACK])
    with tls_server(server, clients=client / "ca.pem") as port:
        url = f"tcp://127.0.0.1:{port}"
        with open_engine(spec_of(url, orchestrate_docker_tls=str(client))) as engine:
            assert engine.api.api_version == "1.45"


def test_an_engine_without_tls_is_named_as_such(tmp_path):
    client = Authority("ours").write_client(tmp_path / "client")
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler
    ) as server:
        server.RequestHandlerClass.log_message = lambda *_args: None
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"tcp://127.0.0.1:{server.server_port}"
        try:
            error = refused(spec_of(url, orchestrate_docker_tls=str(client)))
        finally:
            server.shutdown()
            thread.join()
    assert "no TLS is spoken there" in error.message


def test_a_port_that_nobody_listens_on(tmp_path):
    client = Authority("ours").write_client(tmp_path / "client")
    error = refused(spec_of("tcp://127.0.0.1:1", orchestrate_docker_tls=str(client)))
    assert "connection refused" in error.message
    assert "docs/docker-certificates.md" in error.hint


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("tcp://box:2375", "plain TCP"),
        ("http://box:2376", "plain TCP"),
        ("tcp://box", "ca.pem, cert.pem, key.pem not found"),
        ("tcp://u:geheim@box:2376", "only a host and a port|password in it"),
        ("tcp://box:2376/path", "only a host and a port"),
        ("tcp://box:99999", "port|range"),
        ("npipe:////./pipe/docker_engine", "'npipe' is no way"),
        ("unix://docker.sock", "starts with /"),
        ("bogus", "'bogus' is the name of no docker context"),
    ],
)
def test_what_leads_nowhere_is_a_mistake_in_the_inventory(url, said):
    error = refused(spec_of(url), InventoryError)
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(error.message)
    assert "geheim" not in error.message + error.hint


def test_certificates_that_cannot_be_used_are_named(tmp_path):
    authority = Authority("ours")
    good = authority.write_client(tmp_path / "good")
    other = authority.write_client(tmp_path / "other")
    locked = authority.write_client(tmp_path / "locked", password=b"secret")

    def said(**files):
        folder = shutil.copytree(good, tmp_path / "-".join(files))
        for name, content in files.items():
            (folder / f"{name}.pem").write_bytes(content)
        spec = spec_of("tcp://127.0.0.1:1", orchestrate_docker_tls=str(folder))
        return refused(spec, InventoryError).message

    assert "key.pem is not the key of" in said(key=(other / "key.pem").read_bytes())
    assert "key.pem is encrypted" in said(cert=(locked / "cert.pem").read_bytes(),
                                          key=(locked / "key.pem").read_bytes())  # fmt: skip
    assert "ca.pem holds no certificate" in said(ca=b"nothing")
    assert "cert.pem or key.pem is not a PEM file" in said(cert=b"nothing")
    (good / "key.pem").unlink()
    spec = spec_of("tcp://127.0.0.1:1", orchestrate_docker_tls=str(good))
    assert "key.pem not found in" in refused(spec, InventoryError).message


# -- by a docker context


def create_context(name, endpoint):
    program = needs_program("docker", HOW_TO_GET_DOCKER)
    subprocess.run(
        [program, "context", "create", name, "--docker", endpoint], check=True, capture_output=True
    )


def test_a_context_leads_to_the_engine(docker_engine):
    create_context("near", f"host={docker_engine.url}")
    with open_engine(spec_of("near")) as engine:
        assert "docker context 'near'" in engine.url
        assert engine.api.ping()


def test_a_context_has_its_own_certificates(docker_engine):
    folder = docker_engine.certificates
    files = f"ca={folder}/ca.pem,cert={folder}/cert.pem,key={folder}/key.pem"
    create_context("far", f"host={docker_engine.tls_url},{files}")
    with open_engine(spec_of("far")) as engine:
        assert engine.api.info()["ID"] == docker_engine.api.info()["ID"]
    create_context("careless", f"host={docker_engine.tls_url},{files},skip-tls-verify=true")
    error = refused(spec_of("careless"), InventoryError)
    assert "does not check the certificate" in error.message
    create_context("open", "host=tcp://box:2375")
    assert "plain TCP" in refused(spec_of("open"), InventoryError).message
    create_context("bare", "host=tcp://box:2376")
    assert "not found in" in refused(spec_of("bare"), InventoryError).message
    error = refused(spec_of("fra"), InventoryError)
    assert "bare, careless, default, far, open" in error.hint


def test_the_default_context_is_the_environments(docker_engine, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", docker_engine.url)
    open_engine(spec_of("default")).close()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Endpoints": {"kubernetes": {}}}', "\udcff"])
def test_a_damaged_context_is_named(tmp_path, text):
    create_context("near", "host=unix:///nowhere")
    (file,) = tmp_path.glob("docker-config/contexts/meta/*/meta.json")
    file.write_bytes(text.encode(errors="surrogateescape"))
    error = refused(spec_of("near"), InventoryError)
    assert "docker context 'near' cannot be read" in error.message


# -- by SSH


@pytest.fixture
def far(sshd_fleet, docker_engine):
    """A machine behind SSH whose Docker Engine is the tests' one."""
    needs_program("docker", HOW_TO_GET_DOCKER)
    (host,) = sshd_fleet(environment={"DOCKER_HOST": docker_engine.url, **a_path()})
    return host


def a_path():
    program = find_program("docker")
    return {"PATH": f"{os.path.dirname(program or '/usr/bin/docker')}:/usr/bin:/bin"}


def far_spec(host, **variables):
    url = f"ssh://{host.inventory_vars()['ansible_user']}@{host.address}:{host.port}"
    own = {k: v for k, v in host.inventory_vars().items() if k != "orchestrate_root"}
    return spec_of(url, **{**own, "ansible_host": "elsewhere", "ansible_port": 1, **variables})


def an_image(docker_engine, prefix):
    """The name of an image with busybox in it, and nothing else."""
    busybox = needs_program("busybox", "apt-get install busybox-static")
    name = f"{prefix}-busybox"
    with contextlib.suppress(docker.errors.ImageNotFound):
        docker_engine.api.inspect_image(name)
        return name
    import io
    import tarfile

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(os.path.realpath(busybox), "bin/busybox")
        for applet in ("sh", "cat", "sleep", "dd"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    docker_engine.api.import_image_from_data(packed.getvalue(), repository=name)
    return name


@pytest.fixture
def container(docker_engine, docker_names):
    """The id of a container that waits."""
    api = docker_engine.api
    image = an_image(docker_engine, docker_names)
    made = api.create_container(image, ["sleep", "6000"], name=f"{docker_names}-one")["Id"]
    api.start(made)
    return made


def test_ssh_leads_to_the_engine(far, docker_engine):
    with open_engine(far_spec(far)) as engine:
        assert engine.api.info()["ID"] == docker_engine.api.info()["ID"]
        assert engine.url.startswith("ssh://")
        # One connection is enough for requests that follow each other.
        for _ in range(5):
            engine.api.containers()
            engine.api.version()
        assert len([p for p in far.processes() if "dial-stdio" in p.argv]) == 1


def test_nothing_is_left_when_the_engine_is_closed(far):
    threads, files = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    engine = open_engine(far_spec(far))
    with ThreadPoolExecutor(5) as pool:
        assert all(pool.map(lambda _: engine.api.ping(), range(20)))
    stream = engine.api.events()
    engine.close()
    engine.close()
    assert list(stream) == []
    stream._response.close()
    with pytest.raises(UnreachableError), explained(far_spec(far)):
        engine.api.ping()
    wait_until(lambda: set(threading.enumerate()) <= threads, "the threads end")
    wait_until(lambda: not far.processes(), "the processes on the host end")
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= files, "the files are closed")


@pytest.mark.parametrize("way", ["unix", "ssh", "tls"])
def test_stdin_of_an_exec_can_be_closed_while_the_answer_is_still_to_come(
    far, docker_engine, container, way
):
    spec = {
        "unix": spec_of(docker_engine.url),
        "ssh": far_spec(far),
        "tls": spec_of(
            docker_engine.tls_url, orchestrate_docker_tls=str(docker_engine.certificates)
        ),
    }[way]
    data = os.urandom(1 << 20)
    with open_engine(spec) as engine:
        made = engine.api.exec_create(container, ["cat"], stdin=True, tty=False)["Id"]
        stream = engine.api.exec_start(made, socket=True)
        sock = getattr(stream, "_sock", stream)
        received = bytearray()

        def read():
            while piece := sock.recv(65536):
                received.extend(piece)

        reader = threading.Thread(target=read)
        reader.start()
        sock.sendall(data)
        # The method of ssl.SSLSocket would also read without decrypting from here on.
        socket.socket.shutdown(sock, socket.SHUT_WR)
        reader.join(60)
        stream.close()
        sock.close()
        if response := getattr(sock, "_response", None):
            response.close()  # which holds the TLS socket, too
        assert not reader.is_alive()
    assert without_frames(bytes(received)) == data


def without_frames(raw):
    """What a multiplexed stream holds."""
    whole = b""
    while raw:
        size = int.from_bytes(raw[4:8], "big")
        whole, raw = whole + raw[8 : 8 + size], raw[8 + size :]
    return whole


def test_a_reader_that_leaves_ends_what_carried_it(far, container):
    with open_engine(far_spec(far)) as engine:
        made = engine.api.exec_create(container, ["sleep", "600"])["Id"]
        before = set(threading.enumerate())
        assert engine.api.ping()
        stream = engine.api.exec_start(made, socket=True)
        assert engine.api.ping()
        assert set(threading.enumerate()) > before
        stream._sock.shutdown(socket.SHUT_RDWR)
        stream._sock.close()
        stream.close()
        wait_until(lambda: len(threading.enumerate()) == len(before), "what carried it ends")
        assert engine.api.ping()


def leave(stream):
    """Close a stream of docker-py, which itself leaves the response's hold on the socket."""
    stream.close()
    stream._response.close()


def test_a_connection_that_dies_is_told(far, container):
    spec = far_spec(far)
    with open_engine(spec) as engine:
        far.kill_sessions()
        with pytest.raises(UnreachableError) as caught, explained(spec, "looking"):
            engine.api.inspect_container(container)
    assert "box-1" in caught.value.message
    assert caught.value.hint


def test_an_unknown_host_key_is_refused(far):
    far.known_hosts.write_text("")
    error = refused(far_spec(far), HostKeyError)
    assert "orchestrate trust box-1" in error.hint


def test_a_key_that_is_not_let_in(far, tmp_path):
    write_key_pair(tmp_path / "key")
    error = refused(far_spec(far, ansible_ssh_private_key_file=str(tmp_path / "key")), AuthError)
    assert "orchestrate_docker_host" in error.hint


def test_a_machine_without_docker(sshd_fleet, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to("/bin/sh")
    (host,) = sshd_fleet(environment={"PATH": str(tmp_path / "bin")})
    error = refused(far_spec(host))
    assert "docker" in error.message
    assert "not found" in error.message
    assert "Install Docker's command line" in error.hint


def test_a_machine_whose_engine_does_not_run(sshd_fleet, tmp_path):
    needs_program("docker", HOW_TO_GET_DOCKER)
    (host,) = sshd_fleet(environment={"DOCKER_HOST": f"unix://{tmp_path}/none", **a_path()})
    error = refused(far_spec(host))
    assert "Cannot connect to the Docker daemon" in error.message or "none: " in error.message
    assert "systemctl start docker" in error.hint


def context_spec(host, name, socket_path):
    create_context(
        name, f"host=ssh://{far_spec(host).user}@{host.address}:{host.port}{socket_path}"
    )
    own = {k: v for k, v in host.inventory_vars().items() if k != "orchestrate_root"}
    return spec_of(name, **{**own, "ansible_host": "elsewhere", "ansible_port": 1})


def test_a_context_by_ssh_goes_by_our_own_rules(far, docker_engine):
    spec = context_spec(far, "far", "")
    with open_engine(spec) as engine:
        assert engine.api.info()["ID"] == docker_engine.api.info()["ID"]
    far.known_hosts.write_text("")
    refused(spec, HostKeyError)


def test_become_takes_the_engine_as_another_user(sshd_fleet, docker_engine):
    needs_program("sudo", "apt-get install sudo")
    needs_program("docker", HOW_TO_GET_DOCKER)
    (host,) = sshd_fleet(environment=a_path())
    spec = context_spec(host, "with-path", docker_engine.url.removeprefix("unix://"))
    with open_engine(replace(spec, become=True, become_user="root")) as engine:
        assert engine.api.info()["ID"] == docker_engine.api.info()["ID"]
    error = refused(replace(spec, become=True, become_user="nobody"), AuthError)
    assert "permission denied" in error.message
    assert "group docker" in error.hint


def test_a_sudo_password_does_not_get_to_the_engine(sshd_fleet, docker_engine):
    """Where sudo asks for none, the line with it is still unread when dial-stdio starts."""
    needs_program("sudo", "apt-get install sudo")
    needs_program("docker", HOW_TO_GET_DOCKER)
    (host,) = sshd_fleet(environment=a_path())
    spec = context_spec(host, "with-path", docker_engine.url.removeprefix("unix://"))
    with open_engine(replace(spec, become=True, become_password="geheim")) as engine:
        assert engine.api.ping()


def test_sshd_that_refuses_more_sessions(sshd_fleet, docker_engine):
    needs_program("docker", HOW_TO_GET_DOCKER)
    (host,) = sshd_fleet(
        environment={"DOCKER_HOST": docker_engine.url, **a_path()}, settings=["MaxSessions 2"]
    )
    with open_engine(far_spec(host)) as engine:
        held = [engine.api.events() for _ in range(2)]
        with pytest.raises(UnreachableError, match="refuses one more session") as caught:
            engine.api.ping()
        for each in held:
            leave(each)
    assert "MaxSessions" in caught.value.hint


def test_the_machine_behind_a_context_is_known_without_asking_it(tmp_path):
    create_context("far", "host=ssh://me@box:2222/run/d.sock")
    found = endpoint(spec_of("far"))
    assert found.ssh is not None
    assert (found.ssh.address, found.ssh.port, found.ssh.user) == ("box", 2222, "me")
    assert found.socket == "/run/d.sock"
