"""A project whose model is a small file that needs no engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.project import FleetProject

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sshd import Fleet

TEMPLATE = "threads = {{ vars.threads | default(1) }}\n"


def file_project(folder: Path, fleet: Fleet, **profile: Any) -> FleetProject:
    """A project over the fleet with file@v1, wanted everywhere, and file@v2.

    Its config any.cfg has the host variable `threads`; `profile` is laid over its only profile.
    """
    project = FleetProject(folder / "project", fleet.inventory(orchestrate_model="file@v1"))
    project.settings["profiles"] = {
        "any": {
            "artifacts": [{"format": "file"}],
            "config": "any.cfg.j2",
            "engine": {"kind": "command", "run": "true"},
            "verify": {"command": 'echo "{\\"ok\\": true, \\"metrics\\": {}}"'},
            **profile,
        }
    }
    project.write_settings()
    (project.own_templates() / "any.cfg.j2").write_text(TEMPLATE)
    for version in ("v1", "v2"):
        (folder / f"{version}.bin").write_bytes(version.encode() * 500)
        project.add(f"file@{version}", folder / f"{version}.bin", "--format", "file")
    return project
