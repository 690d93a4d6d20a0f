"""The Docker Engine of the tests is a real one, and leaves nothing behind."""

from __future__ import annotations

import contextlib

import docker
import pytest
import requests


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
        pytest.raises(requests.exceptions.ConnectionError, match="bad certificate|certificate required"),
    ):
        stranger.ping()
