"""The fleet project: the folder that the operator works in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import TemplateError, UsageError

if TYPE_CHECKING:
    from orchestrator.fleet.settings import Settings

SETTINGS_FILE = "orchestrate.yml"
SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Project:
    """A fleet project: where things are, and its settings, read when first asked for.

    `root` is absolute.
    """

    root: Path

    @property
    def settings_file(self) -> Path:
        """orchestrate.yml."""
        return self.root / SETTINGS_FILE

    @cached_property
    def settings(self) -> Settings:
        """What orchestrate.yml says; raises SettingsError."""
        from orchestrator.fleet import settings  # noqa: PLC0415 - Jinja and JSON Schema are slow

        return settings.load(self.settings_file, templates=self.templates)

    @property
    def inventory(self) -> Path:
        """The inventory's file or folder."""
        return self.root / self.settings.inventory

    @property
    def templates(self) -> Path:
        """The folder of config templates."""
        return self.root / "templates"

    @property
    def playbooks(self) -> Path:
        """The folder of playbooks."""
        return self.root / "playbooks"

    @property
    def artifacts(self) -> Path:
        """The folder of manifests, and of the store with the files themselves."""
        return self.root / "artifacts"

    @property
    def state(self) -> Path:
        """The folder of what can be lost: facts, history, journal. It may not exist yet."""
        return self.root / ".orchestrate"

    @property
    def history_url(self) -> str:
        """The history's SQLAlchemy URL; a relative SQLite path starts in the project."""
        url = self.settings.history
        path = url.removeprefix(SQLITE)
        relative = url.startswith(SQLITE) and path not in {"", ":memory:"} and path[0] != "/"
        return f"{SQLITE}{self.root / path}" if relative else url

    def template_texts(self) -> dict[str, str]:
        """Every file below templates/ by its name there; raises TemplateError for non-UTF-8."""
        texts = {}
        for path in sorted(self.templates.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                name = path.relative_to(self.templates).as_posix()
                try:
                    texts[name] = path.read_text(encoding="utf-8")
                except UnicodeDecodeError as exc:
                    raise TemplateError(
                        f"templates/{name}: not UTF-8 at byte {exc.start}",
                        hint="Save the template as UTF-8.",
                    ) from exc
        return texts


def find(start: Path | None = None, explicit: Path | None = None) -> Project:
    """The project in `explicit`, or else the nearest one at or above `start`.

    `start` is the working folder when not given. Raises UsageError when there is none.
    """
    if explicit is not None:
        root = explicit.resolve()
        if not (root / SETTINGS_FILE).is_file():
            raise UsageError(
                f"no fleet project in {explicit}: there is no {SETTINGS_FILE}",
                hint=f"orchestrate init {explicit}",
            )
        return Project(root)
    here = (start or Path.cwd()).resolve()
    for root in (here, *here.parents):
        if (root / SETTINGS_FILE).is_file():
            return Project(root)
    raise UsageError(
        f"no fleet project: no {SETTINGS_FILE} in {here} or above it",
        hint="orchestrate init DIR makes one; --project DIR names one.",
    )
