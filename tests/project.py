"""A fleet project on disk and the real `orchestrate` command working in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ORCHESTRATE = Path(sys.executable).with_name("orchestrate")
SHIPPED = Path(__file__).parents[1]


@dataclass(frozen=True)
class Answer:
    """What a command came to: exit status, its JSON document, and what it said on stderr."""

    code: int
    document: Any
    stderr: str

    @property
    def hosts(self) -> dict[str, Any]:
        return self.document["hosts"]

    @property
    def error(self) -> dict[str, str]:
        return self.document["error"]

    def statuses(self) -> dict[str, str]:
        return {name: host["status"] for name, host in self.hosts.items()}


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
            env=self._environment(),
        )

    def run(self, *words: str) -> Answer:
        """The command's answer, with --json."""
        done = subprocess.run(
            self._argv(["--json", *words]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=self._environment(),
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Answer(
            done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr
        )

    def text(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command as a person sees it, in a wide terminal's text."""
        return subprocess.run(
            self._argv(words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=self._environment() | {"COLUMNS": "200"},
        )

    def add(self, ref: str, source: Path, *options: str) -> Answer:
        answer = self.run("models", "add", ref, str(source), *options)
        assert answer.code == 0, answer.stderr
        return answer

    def _argv(self, words: Sequence[str]) -> list[str]:
        return [str(ORCHESTRATE), "--project", str(self.root), *words]

    def _environment(self) -> dict[str, str]:
        return {k: v for k, v in os.environ.items() if not k.startswith(("SSH_", "ORCHESTRATE_"))}
