"""The Docker Engine of the tests is a real one, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import subprocess
import urllib.request

import docker
import pytest
import requests

from tests.docker_images import busybox_tree
from tests.dockerd import running_engine
from tests.katago_engine import TUNER, VERSION
from tests.waiting import wait_until

SERVE = "echo here >/tmp/index.html && exec httpd -f -p 80 -h /tmp"


def run(engine, name, image, *command, **host_config):
    """A started container."""
    config = engine.api.create_host_config(**host_config)
    engine.api.create_container(
        image, list(command), name=name, host_config=config, ports=[80], stop_signal="SIGKILL"
    )
    engine.api.start(name)


def said_by(engine, name):
    """What the container wrote until it ended well."""
    status = engine.api.wait(name)["StatusCode"]
    said = engine.api.logs(name).decode()
    assert status == 0, said
    return said


def test_names_are_removed(docker_engine, docker_names):
    docker_engine.api.create_volume(docker_names)
    docker_engine.api.create_network(docker_names)
    docker_engine.remove(docker_names)
    assert not docker_engine.api.volumes(filters={"name": docker_names})["Volumes"]
    assert not docker_engine.api.networks(names=[docker_names])


@contextlib.contextmanager
def tls_client(engine, **settings):
    tls = docker.tls.TLSConfig(ca_cert=str(engine.certificates / "ca.pem"), verify=True, **settings)
    client = docker.APIClient(engine.tls_url, version=engine.api.api_version, tls=tls)
    client.trust_env = False  # REQUESTS_CA_BUNDLE would take the place of ca.pem
    with contextlib.closing(client):
        yield client


def test_tls_wants_the_certificate(docker_engine):
    own = (str(docker_engine.certificates / each) for each in ("cert.pem", "key.pem"))
    with tls_client(docker_engine, client_cert=tuple(own)) as client:
        assert client.ping()
    with (
        tls_client(docker_engine) as stranger,
        pytest.raises(
            requests.exceptions.ConnectionError, match=r"bad certificate|certificate req"
        ),
    ):
        stranger.ping()


def test_a_published_port_is_reached(docker_engine, docker_names, busybox_image):
    published = {80: ("127.0.0.1", None)}
    run(docker_engine, docker_names, busybox_image, "sh", "-c", SERVE, port_bindings=published)
    (bound,) = docker_engine.api.port(docker_names, 80)
    url = f"http://127.0.0.1:{bound['HostPort']}/"

    def page():
        with contextlib.suppress(OSError), urllib.request.urlopen(url) as answer:
            return answer.read() == b"here\n"

    wait_until(page, "the page comes")


def test_containers_of_a_network_find_each_other(docker_engine, docker_names, busybox_image):
    docker_engine.api.create_network(docker_names)
    server, client = f"{docker_names}-server", f"{docker_names}-client"
    run(docker_engine, server, busybox_image, "sh", "-c", SERVE, network_mode=docker_names)
    get = f"until wget -q -O - http://{server}/; do sleep 0.1; done"
    run(docker_engine, client, busybox_image, "sh", "-c", get, network_mode=docker_names)
    assert said_by(docker_engine, client).endswith("here\n")


def test_the_python_image_runs_onnx_runtime(docker_engine, docker_names, python_image):
    script = "import json, numpy, onnxruntime; print(onnxruntime.get_available_providers())"
    run(docker_engine, docker_names, python_image, "python3", "-c", script)
    assert "CPUExecutionProvider" in said_by(docker_engine, docker_names)


def test_the_katago_image_plays(docker_engine, docker_names, katago_image, tiny):
    lines = {
        "maxVisits": 2,
        "numAnalysisThreads": 1,
        "numSearchThreadsPerAnalysisThread": 1,
        "nnMaxBatchSize": 1,
        "logDir": "/tmp/logs",
        "openclTunerFile": "/tuner",
    }
    settings = ",".join(f"{key}={value}" for key, value in lines.items())
    query = '{"id":"q","moves":[],"rules":"tromp-taylor","komi":7,"boardXSize":19,"boardYSize":19}'
    command = (
        f"katago version && touch /tmp/empty && echo '{query}' | "
        f"katago analysis -model /net.bin.gz -config /tmp/empty -override-config {settings}"
    )
    binds = [f"{tiny}:/net.bin.gz:ro", f"{TUNER}:/tuner:ro"]
    run(docker_engine, docker_names, katago_image, "sh", "-c", command, binds=binds)
    said = said_by(docker_engine, docker_names)
    assert f"KataGo v{VERSION}" in said
    assert '"rootInfo"' in said


def test_the_katago_image_links_kernels(docker_engine, docker_names, katago_image):
    command = (
        "cd /usr/lib/gcc/*/* && ld -shared -o /tmp/kernel.so crtbeginS.o crtendS.o -L. "
        "-L/usr/lib/$(cd .. && basename $PWD) -lm -lgcc --as-needed -lgcc_s --no-as-needed -lc"
    )
    run(docker_engine, docker_names, katago_image, "sh", "-c", command)
    said_by(docker_engine, docker_names)


@pytest.mark.parametrize(
    ("accident", "policy"),
    [("kill", "always"), ("lose_power", "unless-stopped"), ("restart", "unless-stopped")],
)
def test_what_restarts_is_back(docker_engine, docker_names, busybox_image, accident, policy):
    back, gone = f"{docker_names}-back", f"{docker_names}-gone"
    run(docker_engine, back, busybox_image, "sleep", "999", restart_policy={"Name": policy})
    run(docker_engine, gone, busybox_image, "sleep", "999")
    before = docker_engine.api.inspect_container(back)["State"]["Pid"]

    getattr(docker_engine, accident)()
    if docker_engine.process is None:
        docker_engine.start()

    def state(name):
        return docker_engine.api.inspect_container(name)["State"]

    wait_until(lambda: state(back)["Running"], "the container is back")
    assert state(back)["Pid"] != before
    assert not state(gone)["Running"]


@pytest.mark.parametrize("crashed", [False, True], ids=["stopped", "crashed"])
def test_nothing_is_left(docker_engine, crashed):
    with running_engine() as engine:
        image = busybox_tree().import_into(engine)
        network = engine.api.create_network("one")["Id"]
        run(engine, "one", image, "sleep", "999", network_mode="one")
        own = {str(engine.folder), engine.bridge, f"br-{network[:12]}"}
        assert traces(own) == own
        if crashed:
            engine.kill()
    assert not engine.folder.exists()
    assert not traces(own)


def traces(names):
    """Those of the names that some process, mount, interface or iptables rule has."""
    commands = (["ps", "-eo", "args"], ["ip", "link"], ["iptables-save"], ["cat", "/proc/mounts"])
    said = "".join(
        subprocess.run(each, check=True, capture_output=True, text=True).stdout for each in commands
    )
    return {each for each in names if each in said}
