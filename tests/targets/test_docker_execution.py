"""Commands in containers over a link that breaks: what was cut off has no exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.errors import UnreachableError
from orchestrator.targets.connection import ConnectionSpec
from orchestrator.targets.docker.engine import open_engine
from orchestrator.targets.docker.execution import ContainerTarget
from tests import proxy

if TYPE_CHECKING:
    from tests.dockerd import Dockerd

HALF = 1 << 19


@pytest.mark.parametrize("cut", [{"after": HALF}, {"after_back": HALF}], ids=["there", "back"])
def test_a_command_whose_link_by_tls_was_cut_has_not_ended(
    docker_engine: Dockerd,
    docker_names: str,
    busybox_image: str,
    monkeypatch: pytest.MonkeyPatch,
    cut: dict[str, int],
) -> None:
    api = docker_engine.api
    container = api.create_container(busybox_image, ["sleep", "600"], name=docker_names)["Id"]
    api.start(container)
    # The engine's certificate is for this address.
    monkeypatch.setattr(proxy, "random_loopback_address", lambda: docker_engine.address)
    with proxy.Cut(docker_engine, **cut) as link:
        spec = ConnectionSpec(
            name="gpu-1",
            kind="docker",
            docker_host=f"tcp://{link.address}:{link.port}",
            docker_tls=str(docker_engine.certificates),
        )
        with open_engine(spec) as engine:
            target = ContainerTarget(engine.api, "gpu-1", container)
            with pytest.raises(UnreachableError) as caught:
                target.run("cat", stdin=b"#" * (2 * HALF), timeout=30)
            assert link.happened.is_set()
            whole = target.run("cat", stdin=b"#" * (2 * HALF), timeout=30)
            assert (whole.exit_status, len(whole.stdout)) == (0, 2 * HALF)
    assert "gpu-1: the connection broke" in caught.value.message
