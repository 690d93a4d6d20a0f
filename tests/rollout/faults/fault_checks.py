"""What must be true of a host and of the history, whatever was done to a rollout."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from orchestrator.history.store import History
from tests.rollout.faults.fault_lab import serving
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rollout.faults.fault_lab import Lab

# Audit lines that say which release is active from then on.
TELLING = {"activate", "commit", "revert", "verify"}


def check_host(lab: Lab) -> None:
    """A host that nobody has come back to: on a complete and verified release, nothing half done.

    No `current` is as good where there was none before.
    """
    current = lab.current
    if current is None:
        assert lab.before == 0, "there is no `current`"
    else:
        assert broken(lab.root / "releases" / current) == [], f"{current} is incomplete"
        assert last_verdict(lab.audit(), current) == "pass", f"{current} was not verified here"
    assert false_blobs(lab.root) == [], "no file of the store has another content than its name"
    assert serving(lab) == current, "the service runs what is active"
    assert not lab.undecided()


def check_quiet(lab: Lab) -> None:
    """A host that a command has come back to: no lock and nothing temporary."""
    # The host's own timer may be about to end when the command does.
    wait_until(lambda: not lab.locked(), "the lock is let go of", seconds=5)
    strays = [
        path
        for pattern in ("*", "releases/*", "store/sha256/*/*")
        for path in lab.root.glob(f"{pattern[:-1]}.*")
    ]
    assert strays == [], "nothing temporary is left"


def check_history(lab: Lab) -> None:
    """The controller's history says of the host what its audit.log says."""
    audit = lab.audit()
    said = [line for line in audit if line["what"] in TELLING]
    told = said[-1]["release"] if said else None
    with history(lab.project) as told_here:
        records = told_here.host(lab.host.name, limit=100)
        runs = {run.id: run for run in told_here.runs(limit=100)}
    assert lab.current == told, "audit.log says what is active"
    assert records[0].outcome["release"] == told, "so does the history"
    by_run = {record.run: record for record in records}
    for line in audit:
        if line["what"] == "commit" and line["run"] in runs:
            outcome = by_run[line["run"]].outcome
            assert outcome["status"] in {"deployed", "rolled_back"}, line
            assert outcome["release"] == line["release"], line
    unfinished = [run.id for run in runs.values() if run.finished is None]
    assert unfinished == [], "every run has an end"


def broken(release: Path) -> list[str]:
    """The files of a release that are missing or not as its manifest says."""
    manifest = release / "manifest.json"
    if not manifest.is_file():
        return ["manifest.json"]
    files: dict[str, Any] = json.loads(manifest.read_text())["files"]
    return [
        name
        for name, entry in files.items()
        if not (release / name).is_file() or digest(release / name) != entry["sha256"]
    ]


def false_blobs(root: Path) -> list[str]:
    """Files of the store that are named as blobs and are none."""
    return [
        path.name
        for path in root.glob("store/sha256/*/*")
        if path.suffix != ".part" and digest(path) != path.name
    ]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def last_verdict(audit: list[dict[str, Any]], release: str) -> str | None:
    """What was last found about a release on the host."""
    found = [
        line["verdict"] for line in audit if line["release"] == release and line.get("verdict")
    ]
    return found[-1] if found else None


def history(project: Path) -> History:
    """The history of a fleet project; that it cannot be read is a failure."""

    def fail(message: str) -> None:
        raise AssertionError(message)

    return History(f"sqlite:///{project / '.orchestrate' / 'history.db'}", fail)
