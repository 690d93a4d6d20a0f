"""A fleet project on disk and the real `orchestrate` command working in it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.controller import Controller, environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.controller import Answer

ORCHESTRATE = Path(sys.executable).with_name("orchestrate")
SHIPPED = Path(__file__).parents[1]


class FleetProject:
    """A fleet project in `root` with the shipped settings and templates.

    Its deploys go to all hosts at once and to the end, whatever fails: no canary, no threshold.
    """

    def __init__(self, root: Path, inventory: Mapping[str, Any]) -> None:
        self.root = root
        (root / "inventory").mkdir(parents=True)
        (root / "templates").symlink_to(SHIPPED / "templates")
        self.settings = yaml.safe_load((SHIPPED / "orchestrate.yml").read_text())
        self.settings["rollout"] = {"canary": "none", "max_failed": "100%"}
        self.write_settings()
        self.write_inventory(inventory)

    def write_settings(self) -> None:
        (self.root / "orchestrate.yml").write_text(yaml.safe_dump(self.settings, sort_keys=False))

    def write_inventory(self, inventory: Mapping[str, Any]) -> None:
        (self.root / "inventory" / "hosts.yml").write_text(yaml.safe_dump(dict(inventory)))

    def own_templates(self) -> Path:
        """The templates as files of this project, to be changed."""
        folder = self.root / "templates"
        folder.unlink()
        folder.mkdir()
        for path in (SHIPPED / "templates").rglob("*"):
            copy = folder / path.relative_to(SHIPPED / "templates")
            if path.is_dir():
                copy.mkdir(exist_ok=True)
            else:
                copy.write_bytes(path.read_bytes())
        return folder

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """The command, running."""
        return subprocess.Popen(
            self._argv(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )

    def run(self, *words: str) -> Answer:
        """The command's answer, with --json."""
        with tempfile.TemporaryDirectory(prefix="orchestrate-said-") as said:
            command = Controller(["--json", "--project", str(self.root), *words], Path(said))
            return command.finish(patience=None)

    def text(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command as a person sees it, in a wide terminal's text."""
        return subprocess.run(
            self._argv(words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=environment() | {"COLUMNS": "200"},
        )

    def add(self, ref: str, source: Path, *options: str) -> Answer:
        answer = self.run("models", "add", ref, str(source), *options)
        assert answer.code == 0, answer.stderr
        return answer

    def _argv(self, words: Sequence[str]) -> list[str]:
        return [str(ORCHESTRATE), "--project", str(self.root), *words]
