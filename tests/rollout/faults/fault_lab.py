"""One real OpenSSH host, a fleet project, and models that misbehave in every way.

The model is a shell script: it is its own benchmark, so a version is as good or as bad as its text.
The host's service is `~/hook`, which notes what it serves and fails when a test says so.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.controller import Controller
from tests.project import FleetProject
from tests.rollout.root_here import RootHere
from tests.sshd import descendants
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.controller import Answer
    from tests.proxy import Cut
    from tests.sshd import Fleet, Sshd

GOOD = """echo '{"ok": true, "metrics": {"answers": 1}}'"""
LARGE = 2_000_000  # bytes of the model that takes a while to arrive
# What the benchmark of each version does.
MISBEHAVING = {
    "bad": """echo '{"ok": false, "reason": "answers wrong"}'""",
    "hangs": "sleep 1000 & sleep 1000",
    "ignores-term": "trap '' TERM; while :; do sleep 1; done",
    "crashes": "kill -SEGV $$",
    "killed": "kill -KILL $$",
    "starves": "ulimit -v 60000; head -c 300000000 /dev/zero | tail -n 1 || exit 1",
    "babbles": "head -c 300000 /dev/urandom; echo '{\"ok\": tr'",
    "silent": "exit 0",
    "not-a-number": """echo '{"ok": true, "metrics": {"answers": NaN}}'""",
}
MODELS = {"v1": GOOD, "v2": GOOD, "v3": GOOD, "large": GOOD, **MISBEHAVING}
# Steps at which the lock is held and nothing was switched, and those with everything confirmed.
HELD = ("after lock", "preflight", "stage", "after stage", "activate")
DONE = ("after commit", "finished", "ended")
SERVE = "case ${1:-} in serve) echo serving VERSION; exit;; esac\n"
NO_HISTORY = shutil.ignore_patterns(".orchestrate", ".said")
HOOK = """case $1 in
activate) basename "$(pwd -P)" >"$HOME/serving" ;;
deactivate) rm -f "$HOME/serving" ;;
health) [ "$(cat "$HOME/serving")" = "$(basename "$(pwd -P)")" ] ;;
esac
"""
SETTINGS: dict[str, Any] = {
    "connect_timeout": 3,
    "command_timeout": 4,
    "keepalive": 1,
    "rollout": {"revert_after": 2},
    "profiles": {
        "any": {
            "artifacts": [{"format": "file"}],
            "config": "any.cfg.j2",
            "engine": {"kind": "command", "run": 'sh "$MODEL" serve'},
            "verify": {"command": 'sh "$MODEL"', "timeout": 20},
            "service": {
                "activate": 'sh "$HOME/hook" activate',
                "health": 'sh "$HOME/hook" health',
                "deactivate": 'sh "$HOME/hook" deactivate',
                "timeout": 20,
            },
        }
    },
}


def make_project(folder: Path) -> FleetProject:
    """A fleet project with all models, for no host yet."""
    project = FleetProject(folder / "project", {"all": {"hosts": {}}})
    project.settings |= SETTINGS
    project.write_settings()
    (project.own_templates() / "any.cfg.j2").write_text("x = 1\n")
    for version, benchmark in MODELS.items():
        text = SERVE.replace("VERSION", version) + benchmark + "\nexit\n"
        if version == "large":
            text += os.urandom(LARGE // 2).hex()
        path = folder / f"{version}.sh"
        path.write_text(text)
        words = ["models", "add", f"m@{version}", str(path), "--format", "file"]
        answer = Controller(["--json", "--project", str(project.root), *words], folder).finish()
        assert answer.code == 0, answer.stderr
    return project


@dataclass
class Lab(RootHere):
    """The host and the project of one case; `link`, where there is one, is how it is reached."""

    folder: Path
    host: Sshd
    project: Path
    link: Cut | None = None
    before: int = field(default=0, init=False)  # lines that audit.log had when the fault began

    @classmethod
    def make(
        cls, folder: Path, fleet: Fleet, seed: FleetProject, settings: Mapping[str, Any], link: Any
    ) -> Lab:
        """A copy of the seed over the fleet's only host."""
        (host,) = fleet
        lab = cls(folder, host, folder / "project", link(host) if link else None)
        shutil.copytree(seed.root, lab.project, symlinks=True, ignore=NO_HISTORY)
        lab.set(**settings)
        variables = lab.link.inventory_vars() if lab.link else host.inventory_vars()
        lab.write_inventory(lab.project, variables)
        lab.hook("")
        return lab

    # -- the project

    def other_project(self) -> Path:
        """A project of somebody else with the same host, reached without a link in between."""
        other = self.folder / "other"
        shutil.copytree(self.project, other, symlinks=True, ignore=NO_HISTORY)
        self.write_inventory(other, self.host.inventory_vars())
        return other

    def set(self, **settings: Any) -> None:
        """Write orchestrate.yml; `timeout` is the benchmark's, `service_timeout` the hooks'."""
        path = self.project / "orchestrate.yml"
        document = json.loads(json.dumps(SETTINGS))
        profile = document["profiles"]["any"]
        profile["verify"]["timeout"] = settings.pop("timeout", 20)
        profile["service"]["timeout"] = settings.pop("service_timeout", 20)
        document["rollout"]["revert_after"] = settings.pop("revert_after", 2)
        path.write_text(json.dumps(document | settings))

    def be_impatient(self, **settings: Any) -> None:
        """Have commands soon give up on a host that does not answer."""
        self.set(connect_timeout=1, command_timeout=2, **settings)

    def write_inventory(self, project: Path, variables: Mapping[str, Any]) -> None:
        """Have a project's only host be reached so."""
        hosts = {self.host.name: {**variables, "orchestrate_model": "m@v1"}}
        path = project / "inventory" / "hosts.yml"
        path.write_text(json.dumps({"all": {"hosts": hosts}}))

    def hook(self, text: str) -> None:
        """What the host's service does before it does as it should; `$1` is the command's name."""
        (self.home / "hook").write_text(text + "\n" + HOOK)

    # -- commands

    def start(self, *words: str, step: str = "", project: Path | None = None) -> Controller:
        """The command, which will wait at `step`."""
        project = project or self.project
        (project / ".said").mkdir(exist_ok=True)
        return Controller(["--json", "--project", str(project), *words], project / ".said", step)

    def run(self, *words: str, project: Path | None = None) -> Answer:
        """What the command comes to."""
        return self.start(*words, project=project).finish()

    def begin_with(self, version: str) -> None:
        """Bring the host to a version, before anything happens to it."""
        first = self.deploy(version)
        assert first.code == 0, first
        self.before = len(self.audit())

    def deploy(self, version: str) -> Answer:
        """What a deploy of `m@version` comes to."""
        return self.run(*deploying(version))

    # -- the host

    @property
    def root(self) -> Path:
        """The orchestrator's root on the host."""
        return self.host.root_here

    @property
    def home(self) -> Path:
        """HOME on the host."""
        return self.host.folder / "home"

    def wait_for_the_host(self) -> None:
        """Return when the dead-man time is over: what is undecided now was decided."""
        wait_until(lambda: not self.undecided(), "the host goes back by itself", seconds=20)

    def silence(self) -> float:
        """Seconds since the last sign of life of the lock's owner; endless without a lock."""
        with contextlib.suppress(FileNotFoundError):
            owner = json.loads((self.root / "lock" / "owner.json").read_text())
            return time.time() - (self.root / "lock" / f"beat-{owner['run']}").stat().st_mtime
        return math.inf

    def processes(self) -> dict[int, str]:
        """Every process that works in the host's root, or was told of it: pid and command line."""
        mark = str(self.root)
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                argv = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                folder = str((entry / "cwd").readlink())
                if (mark in argv or folder.startswith(mark)) and int(entry.name) != os.getpid():
                    found[int(entry.name)] = argv
        return found

    def work(self) -> dict[int, str]:
        """The processes without timers, each of which ends within a second of the decision."""
        timers = ("guard.sh wait ", "sleep 1 ")
        return {p: argv for p, argv in self.processes().items() if not argv.endswith(timers)}

    def power_off(self) -> None:
        """End everything on the host at once."""
        sessions = descendants(self.host.process.pid) if self.host.process else []
        for pid in [*self.processes(), *sessions]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.host.stop()


def stopped(lab: Lab, step: str, *words: str, project: Path | None = None) -> Controller:
    """The command, standing at a step."""
    controller = lab.start(*words, step=step, project=project)
    assert controller.reached(), f"it ended before {step}: {controller.said()}"
    return controller


def start_service(lab: Lab) -> str:
    """What the service says when it is started as the host comes up."""
    started = subprocess.run(
        [lab.root / "current" / "run"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": str(lab.home)},
    )
    return started.stdout or started.stderr


def mount(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *words], capture_output=True, text=True, check=False)


def serving(lab: Lab) -> str | None:
    """The release that the service runs."""
    noted = lab.home / "serving"
    return noted.read_text().strip() if noted.exists() else None


def deploying(version: str) -> tuple[str, ...]:
    """The words of a deploy of `m@version`."""
    return ("deploy", "--yes", "--model", f"m@{version}")


def touch(folder: Path, seconds: float) -> None:
    """Set the time of every file in the folder that far from now."""
    when = time.time() + seconds
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (when, when))
