"""Ansible, run by ansible-runner: one playbook on some hosts, and what it told."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from orchestrator.errors import UsageError
from orchestrator.fleet.inventory import program
from orchestrator.provision import secrets
from orchestrator.provision.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.provision.progress import Step

KEPT_RUNS = 20
_PATIENCE = 5  # seconds that a connection gets to end
_AT_WORK = 60  # seconds in which a run that is at work has read an event
# What is kept of a run: what changed something, failed, or sums up.
_KEPT = frozenset({"runner_on_failed", "runner_on_unreachable", "playbook_on_stats"})
# As shells say it of a process that SIGKILL ended; ansible-runner has no status for one.
_KILLED = 137
_PROMPT = r"BECOME password.*:\s*?$"


@dataclass(frozen=True, slots=True)
class Playbook:
    """A playbook and everything that is asked of it.

    `inventory` is the project's own; `variables` of hosts win over it, what is said of hosts
    `everywhere` does not, `extra` wins over all. `become_password` is typed where sudo asks, and
    never stored.
    """

    path: Path
    inventory: Path
    hosts: Sequence[str]
    variables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    everywhere: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()
    check: bool = False
    diff: bool = False
    become_password: str = ""
    secrets: frozenset[str] = frozenset()
    forks: int = 5
    connect_timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How Ansible ended: `code` is its exit status, `progress` what it told."""

    code: int
    progress: Progress


def run(
    playbook: Playbook,
    *,
    run: str,
    kept: Path,
    on_step: Callable[[Step], None],
    stopped: Callable[[], bool],
) -> Ended:
    """The end of the playbook's run; `on_step` hears of each task as a host begins it.

    What is worth keeping of `run` goes to the folder of that name in `kept`, without secrets; the
    oldest such folders are removed. Ends early once `stopped`. Raises UsageError where Ansible is
    not installed or refuses the playbook or the inventory, and where `kept` cannot be made.
    """
    import ansible_runner  # noqa: PLC0415 - only provisioning pays for it

    found = program.find("ansible-playbook", "hosts are provisioned by Ansible")
    progress = Progress(playbook.hosts)

    def on_event(event: dict[str, Any]) -> bool:
        secrets.mask(event, playbook.secrets)
        for step in progress.take(event):
            on_step(step)
        return _worth_keeping(event)

    def on_status(_status: Mapping[str, Any], runner_config: Any) -> None:
        # It holds the whole environment, and with it whatever secrets stand there.
        Path(runner_config.artifact_dir, "command").unlink(missing_ok=True)

    _make(kept)
    for folder in kept.iterdir():
        _tidy(folder, older=_AT_WORK)
    with tempfile.TemporaryDirectory(prefix="orchestrate-provision-") as scratch:
        folder = Path(scratch)
        added = folder / "inventory"
        _write_inventory(added, playbook)
        _write_settings(folder)
        try:
            ended = ansible_runner.run(
                private_data_dir=scratch,
                project_dir=str(Path.cwd()),
                artifact_dir=str(kept),
                ident=run,
                rotate_artifacts=KEPT_RUNS,
                playbook=str(playbook.path.absolute()),
                inventory=[str(playbook.inventory.absolute()), str(added / "hosts.yml")],
                limit=",".join(playbook.hosts),
                extravars=dict(playbook.extra),
                tags=",".join(playbook.tags) or None,
                forks=playbook.forks,
                cmdline=_flags(playbook),
                passwords={_PROMPT: playbook.become_password} if playbook.become_password else {},
                envvars=_environment(playbook, Path(found).parent)
                | {"ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "ssh")},
                suppress_env_files=True,
                fact_cache_type="memory",
                quiet=True,
                event_handler=on_event,
                status_handler=on_status,
                cancel_callback=stopped,
            )
        finally:
            _tidy(kept / run)
            _disconnect(folder / "ssh")
    code = _KILLED if ended.rc is None else int(ended.rc)
    if code and not stopped() and not any(told.last for told in progress.hosts.values()):
        _refused(playbook, progress)
    return Ended(code, progress)


def _refused(playbook: Playbook, progress: Progress) -> None:
    """Raise for a run in which no host did anything, where the hosts are not the cause."""
    if all(told.unreachable for told in progress.hosts.values()):
        return
    cause = progress.error or "it ended before the first task"
    raise UsageError(
        f"{playbook.path.name}: Ansible refuses it: {cause}",
        hint=f"Try: ansible-playbook -i {playbook.inventory} --syntax-check {playbook.path}",
    )


def _make(kept: Path) -> None:
    try:
        kept.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise UsageError(
            f"{kept} cannot be made: {exc.strerror}",
            hint="What is kept of a run goes there: make the folder above it writable.",
        ) from exc


def _flags(playbook: Playbook) -> str | None:
    flags = {
        "--check": playbook.check,
        "--diff": playbook.diff,
        "--ask-become-pass": bool(playbook.become_password),
    }
    return " ".join(flag for flag, wanted in flags.items() if wanted) or None


def _environment(playbook: Playbook, programs: Path) -> dict[str, str]:
    """What is the same wherever Ansible is run, whatever the operator's ansible.cfg says."""
    paths = dict.fromkeys((str(programs), str(Path(sys.executable).parent)))
    told = {
        "PATH": os.pathsep.join([*paths, os.environ.get("PATH", os.defpath)]),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_NOCOLOR": "True",
        "ANSIBLE_PIPELINING": "True",
        "ANSIBLE_TIMEOUT": str(max(1, round(playbook.connect_timeout))),
        "ANSIBLE_INTERPRETER_PYTHON": "auto_silent",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
        # ansible-runner's own callback is built upon this one.
        "ANSIBLE_STDOUT_CALLBACK": "default",
    }
    told |= program.locale()
    if "ANSIBLE_CONFIG" not in os.environ:
        config = program.working_folder(playbook.inventory) / "ansible.cfg"
        if config.is_file():
            told["ANSIBLE_CONFIG"] = str(config)
    return told


def _write_inventory(folder: Path, playbook: Playbook) -> None:
    """A second inventory: its host_vars/ win over those of the first, its `all` over nothing."""
    (folder / "host_vars").mkdir(parents=True)
    hosts = {"all": {"hosts": dict.fromkeys(playbook.hosts), "vars": dict(playbook.everywhere)}}
    files = {"hosts.yml": hosts}
    files |= {f"host_vars/{name}.yml": dict(own) for name, own in playbook.variables.items()}
    for name, document in files.items():
        (folder / name).write_text(yaml.safe_dump(document), encoding="utf-8")


def _write_settings(folder: Path) -> None:
    """What ansible-runner reads of itself from a file: it heeds the operator's stop at once."""
    (folder / "env").mkdir()
    settings = {"suppress_output_file": True, "pexpect_timeout": 1}
    (folder / "env" / "settings").write_text(yaml.safe_dump(settings), encoding="utf-8")


def _worth_keeping(event: Mapping[str, Any]) -> bool:
    data = event.get("event_data") or {}
    changed = event.get("event") == "runner_on_ok" and (data.get("res") or {}).get("changed")
    return bool(changed) or event.get("event") in _KEPT


def _disconnect(folder: Path) -> None:
    """End the connections that ssh keeps open for the next task: nobody is logged in any more."""
    for socket in folder.glob("*"):
        command = ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "--", "host"]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)


def _tidy(folder: Path, *, older: float = 0) -> None:
    """Remove what a run that was stopped left of events that nobody masked, `older` seconds ago."""
    for path in folder.glob("job_events/*-partial.json"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime >= older:
                path.unlink()
    with contextlib.suppress(OSError):
        (folder / "command").unlink(missing_ok=True)
