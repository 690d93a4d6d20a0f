"""How long one file takes to many OpenSSH hosts: orchestrate, Ansible, pyinfra and bare ssh.

    python bench/fanout.py --hosts 16 --size-mb 40 --rounds 3

Every host is an OpenSSH daemon of its own on loopback, so client and hosts share this machine's
cores. The peers take turns within each round, each round starts with fresh roots on the hosts, and
after each delivery the file on every host is hashed and its config read.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench import measure
from tests.needs import find_program
from tests.sshd import Fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.measure import Sample
    from tests.sshd import Sshd

HERE = Path(__file__).parent / "peers"
MODEL = "model.bin"
CONFIG = "net.cfg"


@dataclass(frozen=True)
class Delivery:
    """One peer's turn in one round: what goes where. `scratch` is empty at its start."""

    fleet: Fleet
    net: Path
    digest: str
    folder: str
    scratch: Path

    def root(self, host: Sshd) -> Path:
        """The fresh folder on `host` that this turn delivers to."""
        return host.folder / self.folder

    @property
    def environment(self) -> dict[str, str]:
        """An environment in which the user's own settings play no part."""
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        return {**kept, "HOME": str(self.scratch), "LC_ALL": "C.UTF-8"}

    def run(
        self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None
    ) -> Sample:
        """What one program took."""
        env = {**self.environment, **(environment or {})}
        return measure.run([command], log=self.scratch / "log", env=env)

    def make_release_folders(self) -> None:
        """The folder that peers without one of their own put the release into."""
        for host in self.fleet:
            (self.root(host) / "releases" / "v1").mkdir(parents=True)

    def variables(self, host: Sshd) -> dict[str, str]:
        """What the peers' scripts ask of a host."""
        return {
            "root": str(self.root(host)),
            "net": str(self.net),
            "digest": self.digest,
            "label": host.name,
        }

    def check(self, *, config: bool) -> None:
        """Raise when a host has not got exactly the file, or not its own config."""
        for host in self.fleet:
            current = self.root(host) / "current"
            if sha256(current / MODEL) != self.digest:
                sys.exit(f"{self.folder}: {host.name} has a damaged file")
            if config and host.name not in (current / CONFIG).read_text():
                sys.exit(f"{self.folder}: {host.name} has not its config")


def raw_ssh(delivery: Delivery, *options: str) -> list[Sample]:
    """`ssh host 'cat > f; sha256sum f'` to all hosts at the same time."""
    commands = []
    for host in delivery.fleet:
        folder = delivery.root(host) / "current"
        remote = f"mkdir -p {folder} && cat > {folder}/{MODEL}; sha256sum {folder}/{MODEL}"
        commands.append([*ssh_command(host), *options, host.address, remote])
    sample = measure.run(
        commands, log=delivery.scratch / "log", env=delivery.environment, stdin=delivery.net
    )
    delivery.check(config=False)
    return [sample]


def raw_ssh_gcm(delivery: Delivery) -> list[Sample]:
    """The same with AES-128-GCM in place of OpenSSH's own first choice."""
    return raw_ssh(delivery, "-c", "aes128-gcm@openssh.com")


def ansible(delivery: Delivery, **settings: str) -> list[Sample]:
    """`ansible-playbook` with pipelining and a fork a host, else as it comes; then again."""
    delivery.make_release_folders()
    inventory = delivery.fleet.inventory()
    for host in delivery.fleet:
        variables = inventory["all"]["hosts"][host.name]
        variables["ansible_ssh_common_args"] += " -F none"
        variables.update(delivery.variables(host))
    file = write_yaml(delivery.scratch / "hosts.yml", inventory)
    command: list[str | Path] = [program("ansible-playbook"), "-i", file, HERE / "playbook.yml"]
    environment = {
        "ANSIBLE_CONFIG": str(HERE / "ansible.cfg"),
        "ANSIBLE_FORKS": str(len(delivery.fleet)),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(delivery.scratch / "cp"),
        **settings,
    }
    return twice(delivery, command, environment)


def ansible_tuned(delivery: Delivery) -> list[Sample]:
    """The same without gathering facts and without compression, which Ansible has on."""
    return ansible(
        delivery,
        ANSIBLE_GATHERING="explicit",
        ANSIBLE_SSH_ARGS="-o ControlMaster=auto -o ControlPersist=60s",
    )


def pyinfra(delivery: Delivery) -> list[Sample]:
    """`pyinfra` with all hosts in parallel; then again."""
    delivery.make_release_folders()
    hosts = [
        (
            host.name,
            {
                "ssh_hostname": host.address,
                "ssh_port": host.port,
                "ssh_user": host.inventory_vars()["ansible_user"],
                "ssh_key": str(host.client_key),
                "ssh_known_hosts_file": str(host.known_hosts),
                "ssh_strict_host_key_checking": "yes",
                **delivery.variables(host),
            },
        )
        for host in delivery.fleet
    ]
    inventory = delivery.scratch / "inventory.py"
    inventory.write_text(f"hosts = {hosts!r}\n")
    parallel = str(len(delivery.fleet))
    options = ["-y", "--parallel", parallel]
    return twice(delivery, [program("pyinfra"), *options, inventory, HERE / "deploy.py"], {})


def orchestrate(delivery: Delivery) -> list[Sample]:
    """`orchestrate deploy` with probe, lock, verify and history; then again, unchanged."""
    project = delivery.scratch / "project"
    shutil.copytree(HERE / "project", project)
    shutil.copy(HERE.parents[1] / "templates" / "run.sh.j2", project / "templates")
    (project / "inventory").mkdir()
    inventory = delivery.fleet.inventory(orchestrate_model="net@v1")
    for host in delivery.fleet:
        variables = inventory["all"]["hosts"][host.name]
        variables |= {"orchestrate_root": str(delivery.root(host)), "label": host.name}
    write_yaml(project / "inventory" / "hosts.yml", inventory)
    command: list[str | Path] = [program("orchestrate"), "--project", project]
    delivery.run([*command, "models", "add", "net@v1", delivery.net, "--format", "file"])
    deploy: list[str | Path] = [*command, "--json", "deploy", "--yes"]
    samples = []
    for expected in ("deployed", "unchanged"):
        samples.append(delivery.run(deploy))
        outcome = json.loads((delivery.scratch / "log").read_text())["outcome"]
        if outcome != expected:
            sys.exit(f"{delivery.folder}: the outcome is {outcome}, not {expected}")
        delivery.check(config=True)
    return samples


PEERS: dict[str, Callable[[Delivery], list[Sample]]] = {
    "raw": raw_ssh,
    "raw-gcm": raw_ssh_gcm,
    "ansible": ansible,
    "ansible-tuned": ansible_tuned,
    "pyinfra": pyinfra,
    "orchestrate": orchestrate,
}


def twice(
    delivery: Delivery, command: Sequence[str | Path], environment: Mapping[str, str]
) -> list[Sample]:
    """The delivery, then the same command with nothing left to change."""
    samples = []
    for _ in range(2):
        samples.append(delivery.run(command, environment))
        delivery.check(config=True)
    return samples


def take_turn(name: str, number: int, fleet: Fleet, net: Path) -> list[Sample]:
    """What one peer took in one round; its traces are removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="fanout-") as scratch:
        turn = Delivery(fleet, net, sha256(net), f"{name}-{number}", Path(scratch))
        try:
            return PEERS[name](turn)
        finally:
            for host in fleet:
                # Connections that a peer keeps for later would help it in the next round.
                host.kill_sessions()
                shutil.rmtree(turn.root(host), ignore_errors=True)


def compare(hosts: int, size: int, rounds: int, names: Sequence[str]) -> dict[str, list[Any]]:
    """Per peer the samples of every round: `[[first, again], ...]`."""
    taken: dict[str, list[Any]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="fleet-") as folder:
        net = Path(folder) / MODEL
        measure.make_incompressible(net, size)
        with Fleet(Path(folder) / "hosts") as fleet:
            for _ in range(hosts):
                fleet.add(log_level="INFO")
            for number in range(1, rounds + 1):
                for name in names:
                    samples = take_turn(name, number, fleet, net)
                    taken[name].append(samples)
                    walls = ", then ".join(f"{sample.wall_s:.2f} s" for sample in samples)
                    print(f"round {number}: {name:14} {walls}", file=sys.stderr)
    return taken


def summarize(taken: Mapping[str, list[Any]], sent: int) -> dict[str, dict[str, Any]]:
    """Per peer: spreads of both runs, and medians as ratios to the raw ssh of the same rounds."""
    summary: dict[str, dict[str, Any]] = {}
    for name, rounds in taken.items():
        first = [samples[0] for samples in rounds]
        entry: dict[str, Any] = {
            "first_s": measure.spread([sample.wall_s for sample in first]),
            "cpu_s": measure.spread([sample.cpu_s for sample in first])["median"],
            "peak_mb": max(sample.peak_mb for samples in rounds for sample in samples),
        }
        entry["mb_per_s"] = sent / measure.MB / entry["first_s"]["median"]
        if len(rounds[0]) > 1:
            entry["again_s"] = measure.spread([samples[1].wall_s for samples in rounds])
        summary[name] = entry
    if "raw" in summary:
        raw = summary["raw"]["first_s"]["median"]
        for entry in summary.values():
            entry["times_raw"] = entry["first_s"]["median"] / raw
    return summary


def print_table(summary: Mapping[str, Mapping[str, Any]]) -> None:
    """The summary for people."""
    columns = ("peer", "deliver s", "min-max", "x raw", "MB/s", "again s", "min-max", "peak MB")
    rows = []
    for name, entry in summary.items():
        first, again = entry["first_s"], entry.get("again_s")
        rows.append(
            (
                name,
                f"{first['median']:.2f}",
                f"{first['min']:.2f}-{first['max']:.2f}",
                f"{entry['times_raw']:.2f}" if "times_raw" in entry else "",
                f"{entry['mb_per_s']:.0f}",
                f"{again['median']:.2f}" if again else "",
                f"{again['min']:.2f}-{again['max']:.2f}" if again else "",
                f"{entry['peak_mb']:.0f}",
            )
        )
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    for row in (columns, *rows):
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    print(f"(peak of the largest process; the floor of the method is {measure.own_peak_mb():.0f})")
    ours = summary.get("orchestrate")
    for name, entry in summary.items():
        if ours and name != "orchestrate":
            ratio = entry["first_s"]["median"] / ours["first_s"]["median"]
            said = f"orchestrate is {ratio:.2f} x as fast as {name}"
            if "again_s" in entry:
                ratio = entry["again_s"]["median"] / ours["again_s"]["median"]
                said += f", unchanged {ratio:.1f} x"
            print(said)


def ssh_command(host: Sshd) -> list[str | Path]:
    """OpenSSH's client to `host`, with none of the user's settings."""
    known_hosts = f"UserKnownHostsFile={host.known_hosts}"
    options = ["-F", "none", "-T", "-o", "BatchMode=yes", "-o", known_hosts]
    return ["ssh", *options, "-i", host.client_key, "-p", str(host.port)]


def program(name: str) -> Path:
    """Where a peer's program is; ends the benchmark when it is missing."""
    found = find_program(name)
    if found is None:
        sys.exit(f"{name} is missing; get all of them by: uv sync --group bench")
    return found


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_yaml(path: Path, document: Any) -> Path:
    """`path`, with `document` written to it."""
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def versions() -> dict[str, str]:
    """The versions of the peers that are installed."""
    names = [name for name in ("ansible-playbook", "pyinfra", "orchestrate") if find_program(name)]
    return {name: measure.first_line([program(name), "--version"]) for name in names}


def main() -> None:
    """Compare the peers and print a table, or the samples and the summary as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hosts", type=int, default=16)
    parser.add_argument("--size-mb", type=float, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    size = int(options.size_mb * measure.MB)
    taken = compare(options.hosts, size, options.rounds, options.only)
    summary = summarize(taken, options.hosts * size)
    if not options.json:
        print_table(summary)
        return
    document = {
        "machine": measure.machine(),
        "versions": versions(),
        "hosts": options.hosts,
        "bytes": size,
        "floor_mb": measure.own_peak_mb(),
        "summary": summary,
        "samples": {
            name: [[asdict(sample) for sample in samples] for samples in rounds]
            for name, rounds in taken.items()
        },
    }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
