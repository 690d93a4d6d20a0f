"""One Docker host, a fleet project, and engines that misbehave in every way.

A model is a shell script that is its own engine: it says its version to whoever connects. What a
candidate does, and when, is in its text, so that no test waits for luck.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import docker
from docker.errors import APIError

from orchestrator.targets.docker import names
from tests.controller import Controller
from tests.project import FleetProject
from tests.proxy import random_loopback_address
from tests.rollout.docker_project import ask, docker_vars
from tests.rollout.root_here import RootHere, version_of
from tests.sshd import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.controller import Answer
    from tests.dockerd import Dockerd

SERVE = "exec socat -t 60 TCP-LISTEN:8080,fork,reuseaddr,backlog=100 SYSTEM:'echo VERSION'\n"
ONCE_IT_ANSWERS = "until ls ../../lock/armed-*/serving >/dev/null 2>&1; do sleep 0.1; done\n"
ENGINES = {
    "v1": SERVE,
    "v2": SERVE,
    "v3": SERVE,
    "wrong": SERVE.replace("VERSION", "nonsense"),
    "exits": "echo no such weights >&2\nexit 3\n",
    "sick": "touch /tmp/sick\n" + SERVE,
    "dies": f"( {SERVE.strip()} ) &\n{ONCE_IT_ANSWERS}kill $!\necho out of memory >&2\nexit 9\n",
    "large": SERVE,
}
LARGE = 1 << 20
# Waits as long as a test has put a file there.
VERIFY = (
    "while [ -e /state/hold ]; do sleep 0.1; done; "
    "answer=$(socat -t 30 - TCP:127.0.0.1:8080,retry=200,interval=0.1 </dev/null); "
    "case $answer in v*|dies|large) ok=true ;; *) ok=false ;; esac; "
    'echo "{\\"ok\\": $ok, \\"metrics\\": {\\"answers_per_s\\": 100}}"'
)
SETTINGS: dict[str, Any] = {
    "connect_timeout": 20,
    "command_timeout": 30,
    "rollout": {"revert_after": 20, "canary": "none", "max_failed": "100%"},
    "profiles": {
        "any": {
            "artifacts": [{"format": "file"}],
            "config": "any.cfg.j2",
            "engine": {"kind": "command", "run": 'exec sh "$MODEL"'},
            "verify": {"command": VERIFY, "timeout": 30},
            "service": {"health": "sh turn --healthy && [ ! -e /tmp/sick ]", "timeout": 30},
            "docker": {"watch": 1, "drain": 1},
        }
    },
}
One, Other = TypeVar("One"), TypeVar("Other")


def make_seed(folder: Path) -> FleetProject:
    """A fleet project with all models, for no host yet."""
    project = FleetProject(folder / "project", {"all": {"hosts": {}}})
    project.settings |= json.loads(json.dumps(SETTINGS))
    project.write_settings()
    (project.own_templates() / "any.cfg.j2").write_text("x = 1\n")
    for version, text in ENGINES.items():
        path = folder / f"{version}.sh"
        padding = "#" * LARGE if version == "large" else ""
        path.write_text(text.replace("VERSION", version) + padding)
        words = ["models", "add", f"m@{version}", str(path), "--format", "file"]
        answer = Controller(["--json", "--project", str(project.root), *words], folder).finish()
        assert answer.code == 0, answer.stderr
    return project


def at_once(work: Callable[[One], Other], items: Iterable[One]) -> list[Other]:
    """What `work` makes of each, all at the same time; what goes wrong is raised when all ended."""
    items = list(items)
    with ThreadPoolExecutor(len(items)) as pool:
        begun = [pool.submit(work, each) for each in items]
    wrong = []
    for each, item in zip(begun, items, strict=True):
        if (exc := each.exception()) is not None:
            exc.add_note(f"this was {item}")
            wrong.append(exc)
    if wrong:
        raise BaseExceptionGroup("of what was done at once", wrong)
    return [each.result() for each in begun]


@dataclass(repr=False)
class Lab(RootHere):
    """A Docker host of its own on the engine, and its project.

    `before` counts the lines that audit.log had when a fault began, `sound` says that nothing is
    wrong with the host. `host` is what checks of other hosts ask for.
    """

    engine: Dockerd
    name: str
    project: Path
    image: str
    address: tuple[str, int]
    api: Any
    before: int = 0
    sound: bool = True
    wanted: str = "v1"
    host: Any = field(default_factory=lambda: SimpleNamespace(name="box"))

    @classmethod
    def make(cls, engine: Dockerd, name: str, folder: Path, seed: FleetProject, image: str) -> Lab:
        """A copy of the seed's project over a host that nothing was deployed to."""
        loopback = random_loopback_address()
        address = (loopback, free_port(loopback))
        api = docker.APIClient(base_url=engine.url, version=engine.api.api_version, timeout=60)
        lab = cls(engine, name, folder / name, image, address, api)
        shutil.copytree(seed.root, lab.project, symlinks=True)
        lab.set()
        lab.want("v1")
        return lab

    def __repr__(self) -> str:
        return f"host {self.name}"

    # -- the project

    def set(self, revert_after: float = 20, healthy_within: float = 30, **section: Any) -> None:
        """Write orchestrate.yml, with this in the profile's `docker:`."""
        document = json.loads(json.dumps(SETTINGS))
        published = f"{self.address[0]}:{self.address[1]}:8080"
        document["rollout"]["revert_after"] = revert_after
        document["profiles"]["any"]["service"]["timeout"] = healthy_within
        document["profiles"]["any"]["docker"] |= {"ports": [published], **section}
        (self.project / "orchestrate.yml").write_text(json.dumps(document))

    def want(self, version: str, image: str = "") -> None:
        """Write the inventory: which version is wanted, on which image."""
        self.wanted, self.image = version, image or self.image
        model = f"m@{version}"
        host = docker_vars(self.engine.url, self.name, self.image, orchestrate_model=model)
        inventory = {"all": {"hosts": {self.host.name: host}}}
        (self.project / "inventory" / "hosts.yml").write_text(json.dumps(inventory))

    # -- commands

    def start(self, *words: str, step: str = "") -> Controller:
        """The command, which will wait at `step`."""
        said = self.project / ".said"
        said.mkdir(exist_ok=True)
        return Controller(["--json", "--project", str(self.project), *words], said, step)

    def stopped(self, step: str, *words: str) -> Controller:
        """The command, standing at a step."""
        command = self.start(*words, step=step)
        if not command.reached():
            raise AssertionError(f"it ended before {step}: {command.finish()}")
        return command

    def run(self, *words: str) -> Answer:
        """What the command comes to."""
        return self.start(*words).finish()

    def deploy(self, version: str) -> Answer:
        """What a deploy of this version comes to, which is wanted from now on."""
        self.want(version)
        return self.run("deploy", "--yes")

    # -- the host

    @property
    def root(self) -> Path:
        """The orchestrator's root, in the host's volume."""
        return self.engine.folder / "data" / "volumes" / self.name / "_data"

    @property
    def state(self) -> Path:
        """What is /state in the host's containers."""
        return self.root.parents[1] / names.state_volume(self.name) / "_data"

    def answers(self) -> str:
        """Who answers on the published port; empty when nobody does."""
        with contextlib.suppress(OSError):
            return ask(self.address)
        return ""

    def containers(self, role: names.Role = "engine") -> list[dict[str, Any]]:
        """The host's containers of a role, as the engine lists them."""
        found: list[dict[str, Any]] = self.api.containers(
            all=True, filters=names.filters(self.name, role)
        )
        return found

    def engines(self) -> list[str]:
        """The releases whose engines run; a container that waits for its turn has none."""
        found = []
        for each in self.containers():
            with contextlib.suppress(APIError):  # it does not run, or just ended
                processes = self.api.top(each["Id"])["Processes"] or ()
                if any("socat" in words[-1] for words in processes):
                    found.append(each["Labels"][names.RELEASE])
        return found

    def candidate(self) -> str:
        """The container beside the one that has the host's name, which runs."""
        (found,) = (
            each["Id"]
            for each in self.containers()
            if each["State"] == "running" and each["Names"] != [f"/{self.name}"]
        )
        return str(found)

    def settled(self) -> bool:
        """Whether nothing is undecided, and what is active, and nothing else, runs and answers."""
        current = self.current
        if self.undecided() or current is None:
            return False
        return self.answers() == version_of(current) and self.engines() == [current]

    def wait_until_settled(self) -> None:
        """Return when what was verified runs alone and answers."""
        try:
            wait_until(self.settled, f"{self} is settled", seconds=40)
        except AssertionError as exc:
            exc.add_note(self.picture())
            raise

    def picture(self) -> str:
        """What is there, for whom it is not as it should be."""
        own = {"label": f"{names.CONTAINER}={self.name}"}
        listed = [
            (each["Names"], each["State"], each["Status"], each["Labels"].get(names.RELEASE, ""))
            for each in self.api.containers(all=True, filters=own)
        ]
        return json.dumps(
            {
                "current": self.current,
                "undecided": self.undecided(),
                "answers": self.answers(),
                "engines": self.engines(),
                "containers": listed,
                "dockerd": [line for line in self.engine.log.splitlines() if "error" in line][-20:],
            },
            indent=1,
            default=str,
        )
