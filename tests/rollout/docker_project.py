"""A project of Docker hosts whose engine answers every connection with its model's version."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from tests.project import FleetProject

if TYPE_CHECKING:
    from pathlib import Path

# Answers each connection with the first word of the model file, and what it was sent.
RUN = "exec socat -t 60 TCP-LISTEN:8080,fork,reuseaddr,backlog=100 SYSTEM:'head -n 1 $MODEL'"
# Asks the engine that runs, and holds its answer against the golden one.
VERIFY = (
    "answer=$(socat -t 30 - TCP:127.0.0.1:8080 </dev/null) && "
    "case $answer in good*) ok=true ;; *) ok=false ;; esac; "
    'echo "{\\"ok\\": $ok, \\"metrics\\": {\\"evals_per_s\\": $(cat speed)}}"'
)


def docker_vars(url: str, container: str, image: str, **more: Any) -> dict[str, Any]:
    """The variables of a Docker host."""
    return {
        "ansible_connection": "docker",
        "orchestrate_docker_host": url,
        "orchestrate_container": container,
        "orchestrate_image": image,
        **more,
    }


def docker_project(
    folder: Path, hosts: dict[str, dict[str, Any]], docker: dict[str, Any] | None = None
) -> FleetProject:
    """A project with words@v1, wanted everywhere, and words@v2, both good, and words@bad."""
    inventory = {"all": {"hosts": hosts, "vars": {"orchestrate_model": "words@v1"}}}
    project = FleetProject(folder / "project", inventory)
    project.settings["profiles"] = {
        "words": {
            "artifacts": [{"format": "file"}],
            "config": "speed.j2",
            "engine": {"kind": "command", "run": RUN},
            "verify": {"command": VERIFY},
            "docker": {"watch": 1, "drain": 5, **(docker or {})},
        }
    }
    project.write_settings()
    (project.own_templates() / "speed.j2").write_text("{{ vars.speed | default(100) }}\n")
    for version, word in {"v1": "good one", "v2": "good two", "bad": "wrong"}.items():
        path = folder / f"{version}.txt"
        path.write_text(f"{word}\n" * 100)
        project.add(f"words@{version}", path, "--format", "file")
    return project


def ask(address: tuple[str, int], timeout: float = 5.0) -> str:
    """What the engine behind a port answers to one connection; empty when it answers nothing."""
    with socket.create_connection(address, timeout=timeout) as connection:
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    return answer.decode().strip()
