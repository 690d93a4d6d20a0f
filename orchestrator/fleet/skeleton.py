"""A new fleet project, made from what the package brings along."""

from __future__ import annotations

from pathlib import Path

import orchestrator
from orchestrator.errors import UsageError
from orchestrator.fleet.project import SETTINGS_FILE

PACKAGE = Path(orchestrator.__file__).parent
SHARED = ("templates", "playbooks")


def create(folder: Path) -> tuple[Path, ...]:
    """Make a fleet project in `folder` and return the files written, relative to it.

    Files that are there already stay as they are. orchestrate.yml is written last, so that what
    was cut off is no project. Raises UsageError when the folder is a project already, or a file.
    """
    if (folder / SETTINGS_FILE).exists():
        raise UsageError(
            f"{folder} is a fleet project already: it has {SETTINGS_FILE}",
            hint=f"Name another folder, or remove {folder / SETTINGS_FILE} to start over.",
        )
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", hint="Name a folder that is new or empty.")
    written = []
    for name, source in _sources().items():
        target = folder / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
            written.append(Path(name))
    for name in ("inventory/group_vars", "inventory/host_vars", "artifacts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return tuple(written)


def _sources() -> dict[str, Path]:
    """The files of a new project; orchestrate.yml is the last."""
    files = {
        ".gitignore": PACKAGE / "skeleton" / "gitignore",
        "inventory/hosts.yml": PACKAGE / "skeleton" / "hosts.yml",
    }
    for folder in SHARED:
        root = shared(folder)
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                files[f"{folder}/{path.relative_to(root).as_posix()}"] = path
    return {**files, SETTINGS_FILE: shared(SETTINGS_FILE)}


def shared(name: str) -> Path:
    """What the repository has at its root: a wheel has it in the package, a checkout above it."""
    packaged = PACKAGE / "skeleton" / name
    return packaged if packaged.exists() else PACKAGE.parent / name
