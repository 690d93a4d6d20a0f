"""What is run on a host, as text; nothing here runs anything.

A script is the helper (`host/*.sh`) with calls behind it, fed to `sh -s` on the host. Its answers
are the lines that start with `MARK` (see `answers`).
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from shlex import quote
from typing import TYPE_CHECKING

from orchestrator.errors import (
    CommandError,
    HostError,
    LockedError,
    PreflightError,
    ServiceError,
    TransferError,
)
from orchestrator.fleet import probe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.planning.release import Release
    from orchestrator.targets.base import Completed, Part

SHELL = "sh -s"
TIMED_OUT = 124  # the exit status of timeout(1)
QUIET = 60  # seconds without a sign of life that are worth telling
NOT_OURS = 77  # the exit status of `receive` without the lock
# What a file or a banner on the host cannot know beforehand, so that it cannot pass for an answer.
MARK = f"@{secrets.token_hex(4)} "


# Fed to sh in a release's folder before a benchmark, so that it can be stopped (`stop_work`).
SIGN_WORK = (
    "if [ -d ../../lock ]; then { read -r process </proc/$$/stat; set -- ${process##*) }; "
    'echo "$$ ${20}" >../../lock/work; } 2>/dev/null; fi; '
)
PARTS = ("root", "state", "lock", "stage", "switch", "service")
GUARD_END = "END_OF_GUARD"


@cache
def helper() -> str:
    """The text of the helper."""
    folder = files(__package__).joinpath("host")
    return "".join(folder.joinpath(f"{part}.sh").read_text(encoding="utf-8") for part in PARTS)


def script(*calls: str, with_probe: bool = False) -> bytes:
    """The helper followed by `calls`, whose stdin is empty, ready to be fed to `sh -s`."""
    parts = [f"at={quote(MARK)}", helper()]
    if with_probe:
        parts.append(probe.script())
    parts.append("main() {\n" + "\n".join(calls) + "\n}\nmain </dev/null\nexit 0\n")
    return "\n".join(parts).encode()


def call(function: str, *arguments: str) -> str:
    """A line that calls a function of the helper with quoted arguments."""
    return " ".join([function, *map(quote, arguments)])


def survey(root: str, python: str) -> bytes:
    """Report state and facts; touch nothing."""
    return script(call("survey", root), f'probe "$root" {quote(python)}', with_probe=True)


def state(root: str) -> bytes:
    """Report the state alone; touch nothing."""
    return script(call("survey", root))


def take_lock(root: str, run: str, owner: Mapping[str, object]) -> bytes:
    """Take the lock and report the state again, now that nobody else can change it."""
    return script(call("take_lock", root, run, json_line(owner)))


def seize(root: str, run: str, owner: Mapping[str, object], from_run: str, seconds: int) -> bytes:
    """Take the lock over from a run that gives no sign of life for `seconds`, and its switch."""
    return script(call("seize", root, run, json_line(owner), from_run, str(seconds)))


def drop_lock(root: str, run: str) -> bytes:
    """Let go of the lock if `run` holds it and has nothing unconfirmed."""
    return script(call("drop_lock", root, run))


def break_lock(root: str, reason: str) -> bytes:
    """Remove the lock, whoever's it is, after undoing what they left unconfirmed."""
    return script(call("break_lock", root, reason))


def halt(root: str, run: str, reason: str) -> bytes:
    """Stop what `run` has running, undo what it left unconfirmed, let go, report the state."""
    return script(call("halt", root, run, reason))


def beats(root: str, run: str) -> str:
    """The command that takes each line of its stdin, a number, for a sign of life of `run`.

    It exits with 3 when the lock is not held by `run` any more.
    """
    beat = f"lock/beat-{run}"
    return (
        f"cd {quote(root)} && while read -r n; do [ -f {quote(beat)} ] || exit 3; "
        f"printf '%010d\\n' \"$n\" 1<>{quote(beat)}; done"
    )


def receive(part: Part) -> str:
    """The command that appends its stdin to a blob's `.part`.

    It refuses to when the lock is not held by the part's run.
    """
    folder = quote(part.folder)
    path = quote(f"{part.folder}/{part.digest}.part")
    held = f"[ -f {quote(f'{part.root}/lock/beat-{part.run}')} ] || exit {NOT_OURS}"
    if part.offset:
        ready = f'[ "$(wc -c <{path})" -eq {part.offset} ]'
        return f"umask 022; {held}; {ready} && exec cat >>{path}"
    return f"umask 022; {held}; mkdir -p {folder} && exec cat >{path}"


def append_rest(part: Part) -> str:
    """The command that appends what arrived beside a blob's `.part`, as `.rest.part`."""
    rest = f"{part.folder}/{part.digest}.rest.part"
    return f"sh -c {quote(receive(part))} <{quote(rest)} && rm -f {quote(rest)}"


def stage(root: str, run: str, release: Release) -> bytes:
    """Check the blobs that arrived and put the release folder together."""
    lines = [call("begin_stage", root, run, release.id)]
    lines += [call("stage_blob", blob.sha256, blob.name) for blob in release.blobs]
    for name, text in release.texts.items():
        end = "END_" + hashlib.sha256(text.encode()).hexdigest()[:16]
        mode = "755" if name == "run" else "644"
        lines.append(f"{call('stage_text', name, mode)} <<'{end}'\n{text}{end}")
    return script(*lines, "end_stage")


def activate(
    root: str,
    run: str,
    release: Release,
    back: str | None,
    audit: Mapping[str, object],
    *,
    patience: int,
    check: Mapping[str, str] | None = None,
) -> bytes:
    """Point `current` at a staged release, after leaving on the host what goes back to `back`.

    That happens after `patience` seconds without a sign of life. `check` maps file names of the
    release to the sha256 that they must have, or nothing is done.
    """
    checks = [
        call("check_file", release.id, name, sha256) for name, sha256 in (check or {}).items()
    ]
    wait = f'guard "$1" {patience}'
    seconds = str(whole_seconds(release.service.timeout))
    return script(
        call("own_lock", root, run),
        *checks,
        f"{call('arm', release.id, back or '', seconds)} <<'{GUARD_END}'\n"
        f"{helper()}{wait}\n{GUARD_END}",
        call("activate", release.id, json_line(audit)),
    )


def mark(root: str, run: str, name: str) -> str:
    """The command that leaves a mark in the unconfirmed switch of `run`, for who looks at it.

    `serving`: the release was verified and answers; `alone`: it needs the machine for itself.
    """
    switch = quote(f"{root}/lock/armed-{run}")
    return f"[ -d {switch} ] || exit {NOT_OURS}; : >{switch}/{quote(name)}"


def serve(root: str, run: str, release: Release) -> bytes:
    """Run the release's activate command and wait until its health command is content."""
    seconds = str(whole_seconds(release.service.timeout))
    return script(call("serve", root, run, release.id, seconds))


def health(root: str, release: str, seconds: float) -> bytes:
    """Report what the release's health command says now."""
    return script(call("health", root, release, str(whole_seconds(seconds))))


def revert(root: str, run: str, *audit: Mapping[str, object]) -> bytes:
    """Undo the unconfirmed switch of `run`; the lock stays."""
    return script(call("revert", root, run, "\n".join(json_line(line) for line in audit)))


def commit(
    root: str,
    run: str,
    audit: Mapping[str, object],
    superseded: Iterable[str] = (),
    *,
    hold: bool = False,
) -> bytes:
    """Confirm the switch of `run`, remove releases that are `superseded`, let go of the lock.

    With `hold` the lock stays.
    """
    function = "confirm" if hold else "commit"
    return script(call(function, root, run, json_line(audit), *superseded))


def conclude(root: str, run: str, audit: Mapping[str, object]) -> bytes:
    """Write a verdict on what is active to the audit log and let go of the lock."""
    return script(call("conclude", root, run, json_line(audit)))


def whole_seconds(seconds: float) -> int:
    """Seconds as sh counts them: whole, and at least one."""
    return max(1, math.ceil(seconds))


def read_file(path: str) -> str:
    """The command that prints a file."""
    return f"cat {quote(path)}"


def json_line(value: Mapping[str, object]) -> str:
    """Compact JSON on one line; the helper looks for `"run":"..."` in it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """One marked `tag text` line of the helper."""

    tag: str
    text: str


def answers(completed: Completed, host: str) -> list[Answer]:
    """The helper's answers; raises the HostError that its `error` line stands for.

    Raises CommandError when the helper did not run, or was killed before it came to its end.
    """
    found = [
        Answer(tag, text)
        for line in completed.stdout.split("\n")
        if line.startswith(MARK)
        for tag, _, text in [line.removeprefix(MARK).partition(" ")]
    ]
    for answer in found:
        if answer.tag == "error":
            raise _error(answer.text, found, host)
    if completed.exit_status == TIMED_OUT:
        raise CommandError(
            f"{host} did not end the helper in time",
            code="timeout",
            hint="Raise command_timeout in orchestrate.yml if the host is only slow.",
        )
    if not found or completed.exit_status != 0:
        last = (completed.stderr.strip() or completed.stdout.strip()).splitlines()[-1:]
        what = "come to its end" if found else "run"
        raise CommandError(
            f"the helper did not {what} on {host}: exit {completed.exit_status}"
            + (f", {last[0]}" if last else ""),
            hint="Does the login shell there run `sh -s`, and is sudo allowed where it is needed?",
        )
    return found


def _error(text: str, found: Iterable[Answer], host: str) -> HostError:
    code, _, message = text.partition(" ")
    if code == "locked":
        said = {answer.tag: answer.text for answer in found}
        return locked(said.get("lock", "{}"), host, said.get("lock_age"))
    if code == "lock_lost":
        return LockedError(
            f"{message}: the host went back by itself meanwhile, or somebody broke it",
            code="lock_lost",
            hint=f"See what is there, and who has it: orchestrate status --limit {host}",
        )
    if code == "service":
        return ServiceError(
            f"the service on {host} does not run the release: {message}",
            hint="Look at `service:` of its profile in orchestrate.yml, and at the service's log.",
        )
    if code == "damaged_blob":
        digest, _, got = message.partition(" ")
        return TransferError(
            f"what arrived on {host} has sha256 {got[:12]}…, not {digest[:12]}…; it was removed",
            code="damaged_blob",
            hint="Deploy again. If it happens twice, look at the host's disk and memory.",
        )
    if code == "damaged_release":
        release, _, what = message.partition(" ")
        return PreflightError(
            f"release {release} on {host} is damaged: {what}",
            code=code,
            hint="Deploy that version again: what is there is checked and mended.",
        )
    hints = {
        "no_timer": "Can the user start processes there that outlive the session?",
        "permission": "Set orchestrate_root to a folder the user may write, "
        "or ansible_become: true.",
        "space": f"Look at the disk: orchestrate facts --limit {host} --refresh",
        "no_rename": "Install coreutils, or busybox 1.33 or newer, on the host.",
        "changed_meanwhile": "Somebody else switched it, without the lock.",
        "current_is_no_link": "Move it away: orchestrate makes it a link to the active release.",
        "audit": f"Look at the disk: orchestrate facts --limit {host} --refresh",
        "no_release": f"See what is there: orchestrate status --limit {host}",
    }
    return PreflightError(f"{message} on {host}", code=code, hint=hints.get(code, ""))


def locked(owner_json: str, host: str, age: str | None = None) -> LockedError:
    """The error that says who holds a host's lock, since when, and how to break it.

    `age` is for how many seconds nothing was heard of them, by the host's clock.
    """
    try:
        owner = json.loads(owner_json)
    except (ValueError, RecursionError):
        owner = {}
    owner = owner if isinstance(owner, dict) else {}
    owner.pop("age", None)
    if age is not None and age.lstrip("-").isdecimal():
        owner["age"] = int(age)
    told = {
        key: _printable(owner[key]) for key in ("who", "since", "command", "run") if key in owner
    }
    who = told.get("who", "somebody unknown")
    since = f" since {told['since']}" if "since" in told else ""
    what = f" ({told['command']}, run {told.get('run')})" if "command" in told else ""
    quiet = f", silent for {owner['age']} s" if owner.get("age", 0) > QUIET else ""
    return LockedError(
        f"{host} is locked by {who}{since}{what}{quiet}",
        hint=f"Wait, or if that run is dead: orchestrate unlock {host}",
        owner=owner,
    )


def _printable(value: object) -> str:
    """The value as text that does nothing to a terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(value))[:200]
