"""The whole life of a net on a lab fleet, narrated: `python -m orchestrator.lab.demo`.

Everything happens in a throw-away fleet project, by the same commands that an operator types. The
demo checks what they did, and ends with 0 only when all of it went as told.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from orchestrator.errors import ModelError
from orchestrator.lab import nets
from orchestrator.lab.hosts import lab_hosts, parse_hosts
from orchestrator.lab.layout import Layout
from orchestrator.pipeline import onnx_graph, positions
from orchestrator.pipeline.katago import reader
from orchestrator.pipeline.katago.network import Shape

if TYPE_CHECKING:
    from collections.abc import Sequence

HOSTS = "rpi:4,jetson:1,gpu:1"
# The first of each hardware class; lab-rpi-3 and lab-rpi-4 are of the same two as those before.
CANARIES = {"lab-rpi-1", "lab-rpi-2", "lab-jetson-1", "lab-gpu-1"}
FLEET = ("--group", "lab")
# Hosts of ONNX Runtime are all that the demo has; INT8 by rounding alone, which is quick.
BUILD = ("--format", "onnx", "--mode", "weights-groups")
GOOD, ROLLED_BACK = 0, 3
COMMAND_SECONDS = 300
WIDE_ENOUGH = 110


class DemoError(Exception):
    """Something did not go as told."""


class Active(NamedTuple):
    """What a host runs: the version, the release, and a digest of the release's files."""

    version: str
    release: str
    digest: str


@dataclass(slots=True)
class Demo:
    """A fleet project in `folder` and what has been told so far."""

    folder: Path
    chapter: int = 0
    facts: list[str] = field(default_factory=list)

    @property
    def project(self) -> Path:
        """The fleet project; `orchestrate init` makes it."""
        return self.folder / "fleet"

    def tell(self, title: str, *sentences: str) -> None:
        """Begin a chapter: what comes and what to look for."""
        self.chapter += 1
        click.secho(f"\n━━ {self.chapter}. {title}", fg="cyan", bold=True)
        for sentence in sentences:
            click.echo(f"   {sentence}")

    def run(self, *arguments: str, expect: int = GOOD, show: bool = True) -> None:
        """Run `orchestrate` with its output shown; raises DemoError for another exit code."""
        click.secho(f"\n$ orchestrate {shlex.join(arguments)}", bold=True)
        done = self._call(arguments, stdout=None if show else subprocess.DEVNULL)
        if done.returncode != expect:
            raise DemoError(
                f"`orchestrate {shlex.join(arguments)}` ended with {done.returncode}, "
                f"{expect} was expected"
            )
        if expect != GOOD:
            click.echo(f"(exit {done.returncode}, as it must be)")

    def active(self) -> dict[str, Active]:
        """What each host runs; raises DemoError for one that `status` does not call ok."""
        done = self._call(("status", *FLEET, "--json"), stdout=subprocess.PIPE)
        hosts: dict[str, dict[str, Any]] = json.loads(done.stdout)["hosts"]
        for name, host in hosts.items():
            if host["state"] != "ok":
                raise DemoError(f"{name} is not ok: {host}")
        return {
            name: Active(host["active"], host["release"], self._digest(name))
            for name, host in hosts.items()
        }

    def kinds(self) -> dict[str, str]:
        """The format and precision that each host runs."""
        found = {}
        for host in lab_hosts(parse_hosts(HOSTS)):
            manifest = self._root(host.name) / "current" / "manifest.json"
            artifact = json.loads(manifest.read_text(encoding="utf-8"))["artifact"]
            found[host.name] = f"{artifact['format']} {artifact['precision']}"
        return found

    def met(self, release: str) -> set[str]:
        """The hosts whose own audit.log names a release that begins like this."""
        hosts = (host.name for host in lab_hosts(parse_hosts(HOSTS)))
        return {name for name in hosts if release in (self._root(name) / "audit.log").read_text()}

    def _root(self, host: str) -> Path:
        return Layout(self.project).host(host) / "home" / "orchestrate"

    def _digest(self, host: str) -> str:
        """SHA-256 of the names and bytes of all files of the host's active release."""
        digest = hashlib.sha256()
        for path in sorted((self._root(host) / "current").resolve().iterdir()):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()

    def check(self, fact: str, *, holds: bool) -> None:
        """Note what has been shown; raises DemoError when it has not."""
        if not holds:
            raise DemoError(f"this does not hold: {fact}")
        click.secho(f"✓ {fact}", fg="green")
        self.facts.append(fact)

    def down(self) -> None:
        """Take the lab down if there is one."""
        if self.project.exists():
            self._call(("lab", "down"), stdout=subprocess.DEVNULL)

    def _call(
        self, arguments: Sequence[str], *, stdout: int | None
    ) -> subprocess.CompletedProcess[bytes]:
        program = Path(sysconfig.get_path("scripts")) / "orchestrate"
        sys.stdout.flush()
        return subprocess.run(
            [str(program), *arguments],
            cwd=self.project if self.project.exists() else self.folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            timeout=COMMAND_SECONDS,
            check=False,
        )


def _environment() -> dict[str, str]:
    """The operator's, with room for tables where the output is no terminal."""
    wide = {} if sys.stdout.isatty() else {"COLUMNS": str(WIDE_ENOUGH)}
    return {**wide, **os.environ}


def tell_story(demo: Demo, net: Path) -> None:
    """Deploy a good version, a bad one and a good one, go back, and look at what is left."""
    demo.tell(
        "A fleet project and six hosts",
        "Four Raspberry Pis of two models, a Jetson, a GPU server: real SSH servers on this",
        "machine, each with its own key and files. Only the hardware is simulated; nets run for",
        "real.",
    )
    demo.run("init", "fleet", show=False)
    _allow_for_one_machine(demo.project)
    demo.run("lab", "up", "--hosts", HOSTS)
    demo.tell("What the hosts are", "One probe a host, over SSH. Look at the hardware classes.")
    demo.run("facts", *FLEET)

    demo.tell(
        "A net arrives: go@v1",
        "One file, as KataGo has it. No host here has a KataGo: each needs something else of it.",
    )
    demo.run("models", "add", "go@v1", str(net), "--filename", "go-v1.bin.gz")
    demo.tell(
        "Artifacts for unlike hosts",
        "FP32, FP16 and INT8 for ONNX Runtime. Each is compared with the net itself, on positions",
        "of four board sizes, in KataGo's own metrics and against KataGo's own limits. (Sixteen",
        "here, to be quick; unless told otherwise there are 140.)",
    )
    few = _few_positions(demo.folder)
    demo.run("build", "go@v1", *BUILD, "--check", few)
    demo.run("compare", "go@v1")
    demo.tell(
        "Why a host gets what it gets",
        "A GPU server would like FP16. Look at why this one gets FP32, and at what speaks for or",
        "against INT8 on a Raspberry Pi.",
    )
    demo.run("explain", "lab-gpu-1", "--model", "go@v1")
    demo.run("explain", "lab-rpi-1", "--model", "go@v1")
    demo.tell(
        "Deploy v1",
        "Each host gets the artifact and the config that fit it, switches to them in one step,",
        "and proves there that the net loads, answers right and is fast enough. One host of each",
        "hardware class goes first. (Speed is judged mildly here: six hosts share one machine.)",
    )
    demo.run("deploy", *FLEET, "--model", "go@v1", "--yes")
    first = demo.active()
    demo.check("all six hosts run v1, verified there", holds=_all_run(first, "go@v1"))
    kinds = demo.kinds()
    demo.check(
        f"unlike hosts run unlike artifacts: {', '.join(sorted(set(kinds.values())))}",
        holds=len(set(kinds.values())) > 1,
    )
    demo.tell("Deploy v1 again", "Nothing is to be done, so nothing is sent.")
    demo.run("deploy", *FLEET, "--model", "go@v1", "--yes")
    demo.check("a second deploy changed nothing", holds=demo.active() == first)

    demo.tell(
        "A bad version: go@v2",
        "The file is well-formed and loads, but its weights were scrambled on the way here.",
        "Look at the golden error: the first host of each hardware class refuses it and is put",
        "back on v1, so that no other host is begun. Exit code 3.",
    )
    _add_damaged(demo, net)
    demo.run("deploy", *FLEET, "--model", "go@v2", "--yes", expect=ROLLED_BACK)
    demo.check(
        "v2 was caught by the canaries, and v1 is back there, net and config byte for byte",
        holds=demo.active() == first,
    )
    demo.check("v2 never reached the other hosts", holds=demo.met("go-v2-") == CANARIES)

    demo.tell(
        "A good version: go@v3", "The net, trained a little further, with its weights in order."
    )
    newer = nets.trained_further(net, demo.folder / "go-v3.bin.gz")
    demo.run("models", "add", "go@v3", os.path.relpath(newer, demo.project), show=False)
    demo.run("build", "go@v3", *BUILD, "--check", few, show=False)
    demo.run("deploy", *FLEET, "--model", "go@v3", "--yes")
    demo.check("all six hosts run v3, verified there", holds=_all_run(demo.active(), "go@v3"))

    demo.tell(
        "Changed your mind?",
        "Rollback puts net and config back as one, from what lies on the host: nothing is sent.",
    )
    demo.run("rollback", *FLEET, "--yes")
    demo.check("rollback restored v1, net and config byte for byte", holds=demo.active() == first)

    demo.tell("What is where, and what happened")
    demo.run("status", *FLEET)
    demo.run("history")

    demo.tell("Clean up", "The hosts, their files, their keys: all goes.")
    demo.run("lab", "down")
    left = (demo.project / ".orchestrate" / "lab", demo.project / "inventory" / "lab.yml")
    demo.check("the lab left nothing behind", holds=not any(path.exists() for path in left))


def _allow_for_one_machine(project: Path) -> None:
    """Set `min_ratio` low: six hosts on the same cores slow each other down by chance."""
    settings = project / "orchestrate.yml"
    text = settings.read_text(encoding="utf-8")
    mild = re.sub(r"\bmin_ratio: [\d.]+", "min_ratio: 0.05", text)
    settings.write_text(mild, encoding="utf-8")


def _add_damaged(demo: Demo, net: Path) -> None:
    """Add go@v2: the ONNX file of `net` with its weights scrambled, and v1's golden answers."""
    manifest = demo.project / "artifacts" / "go" / "v1" / "manifest.json"
    artifacts = json.loads(manifest.read_text(encoding="utf-8"))["artifacts"]
    digest = next(each["golden"]["sha256"] for each in artifacts if "golden" in each)
    golden = demo.folder / "go-v2.npz"
    shutil.copy(demo.project / "artifacts/store/sha256" / digest[:2] / digest, golden)
    for precision in ("fp32", "fp16"):
        path = demo.folder / f"go-v2-{precision}.onnx"
        onnx_graph.write(nets.scrambled(reader.read(net)), path, Shape(), precision)
        sources = [os.path.relpath(file, demo.project) for file in (path, golden)]
        demo.run("models", "add", "go@v2", sources[0], "--golden", sources[1], show=False)


def _few_positions(folder: Path) -> str:
    """A file with some of the standard positions of each board."""
    path = folder / "positions.npz"
    few = tuple(batch.rows(slice(0, 4)) for batch in positions.standard())
    positions.write(path, positions.Positions(few))
    return str(path)


def _net(folder: Path, *, tiny: bool) -> Path:
    """A real net, fetched once; a tiny one where that is asked for or there is no other."""
    if not tiny:
        try:
            return nets.real_net()
        except ModelError as exc:
            click.echo(
                f"No real net is to be had ({exc.message}): a tiny one of random weights it is."
            )
    return nets.tiny_net(folder / "go-v1.bin.gz")


def _all_run(active: dict[str, Active], ref: str) -> bool:
    count = sum(parse_hosts(HOSTS).values())
    return [host.version for host in active.values()] == [ref] * count


@click.command()
@click.option("--tiny", is_flag=True, help="With a tiny net of random weights: needs no download.")
@click.pass_context
def main(context: click.Context, *, tiny: bool) -> None:
    """Show the whole life of a net on a fleet of local hosts.

    Ends with 0 when all of it came true, 1 when not, 130 when interrupted.
    """
    context.exit(show(tiny=tiny))


def show(*, tiny: bool) -> int:
    """Tell the story; the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="orchestrate-demo-") as name:
        demo = Demo(Path(name))
        try:
            tell_story(demo, _net(demo.folder, tiny=tiny))
        except KeyboardInterrupt:
            click.echo("\nInterrupted: taking the lab down.", err=True)
            return 130
        except (DemoError, subprocess.TimeoutExpired) as exc:
            click.secho(f"\n✗ {exc}", fg="red", bold=True, err=True)
            return 1
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            demo.down()
    click.secho(f"\nIn {time.monotonic() - started:.0f} seconds you saw that", bold=True)
    for fact in demo.facts:
        click.echo(f"  ✓ {fact}")
    click.echo("Your own hosts: orchestrate init my-fleet, then name them in inventory/hosts.yml.")
    return 0


if __name__ == "__main__":
    main()
