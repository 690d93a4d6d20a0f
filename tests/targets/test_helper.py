"""The helper, run for real under every shell a host may have."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import (
    CommandError,
    LockedError,
    PreflightError,
    ServiceError,
    TransferError,
)
from orchestrator.fleet.profile import EngineSpec, ServiceSpec, VerifySpec
from orchestrator.models.manifest import Artifact
from orchestrator.planning.present import Armed
from orchestrator.planning.release import Blob, Release, canonical
from orchestrator.rollout.host_state import host_state
from orchestrator.targets import commands
from orchestrator.targets.base import Completed, Part
from tests.needs import needs_program

MODEL = b"\x00\x01model\n" * 1000
DIGEST = hashlib.sha256(MODEL).hexdigest()
PACKAGES = {"dash": "dash", "bash": "bash", "busybox": "busybox-static"}
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}


class Host:
    """A root with odd letters, on a host with the given shell."""

    def __init__(self, folder, shell, path):
        self.root = str(folder / 'it\'s a "root" $HOME')
        self.home = str(folder / "home")
        self.shell = shell
        self.search_path = path

    def run(self, script):
        done = subprocess.run(
            [*self.shell, "-s"],
            input=script,
            capture_output=True,
            env={"PATH": self.search_path, "HOME": self.home},
            check=False,
        )
        assert done.stderr == b"", done.stderr.decode()
        return commands.answers(
            Completed(done.returncode, done.stdout.decode(), done.stderr.decode()), "pi-1"
        )

    def lock(self, run="r1"):
        return host_state(self.run(commands.take_lock(self.root, run, owner(run)))).present

    def receive(self, data, offset=0, run="r1"):
        done = subprocess.run(
            [*self.shell, "-c", commands.receive(Part(self.root, run, DIGEST, offset, 0))],
            input=data,
            env={"PATH": self.search_path},
            capture_output=True,
            check=False,
        )
        return done.returncode

    def state(self):
        return host_state(self.run(commands.script(commands.call("survey", self.root))))

    def present(self):
        return self.state().present

    def stage(self, name="net-v1-abc", **changes):
        new = release(name, **changes)
        self.receive(MODEL)
        self.run(commands.stage(self.root, "r1", new))
        return new

    def activate(self, new, back=None, run="r1", patience=60, check=None):
        line = {"what": "activate", "release": new.id}
        self.run(commands.activate(self.root, run, new, back, line, patience=patience, check=check))

    def commit(self, new, run="r1", superseded=()):
        line = {"what": "commit", "release": new.id, "verdict": "pass"}
        return self.run(commands.commit(self.root, run, line, superseded))

    def revert(self, run="r1"):
        return self.run(commands.revert(self.root, run, {"what": "revert"}))

    def committed(self, name, **changes):
        """A release that is active and passed; the lock is taken anew by r1."""
        self.lock()
        new = self.stage(name, **changes)
        self.activate(new)
        self.commit(new)
        self.lock()
        return new

    def stage_as(self, run, name):
        new = release(name)
        self.run(commands.stage(self.root, run, new))
        return new

    def here(self, name):
        return Path(self.path(name))

    def path(self, name):
        return os.path.join(self.root, name)


@pytest.fixture(params=SHELLS)
def host(request, tmp_path):
    """`run(script)` on a host whose shell is the parameter."""
    shell = SHELLS[request.param]
    which = needs_program(shell[0], f"apt-get install {PACKAGES[request.param]}")
    path = os.environ["PATH"]
    if request.param == "busybox":
        path = str(tmp_path / "applets")
        os.mkdir(path)
        subprocess.run(["busybox", "--install", "-s", path], check=True)
    yield (made := Host(tmp_path, [which, *shell[1:]], path))
    for timer in Path(made.root).glob("lock/*/timer"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(timer.read_text().split()[0]), signal.SIGKILL)


def eventually(condition, what):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


def owner(run):
    return {"run": run, "who": "me@here", "since": "2026-01-01T00:00:00+00:00", "command": "deploy"}


def release(name="net-v1-abc", config="numSearchThreads = 2\nEND\n$HOME `id` 'q'\n", service=None):
    texts = {
        **(service or {}),
        "rpi.cfg": config,
        "run": "#!/bin/sh\nexec true\n",
        "manifest.json": canonical({"config": "rpi.cfg", "model": "net", "id": DIGEST}) + "\n",
    }
    artifact = Artifact("onnx", "fp32", "model.onnx", DIGEST, len(MODEL))
    return Release(
        name, "net", "v1", "p", artifact, EngineSpec("command"), VerifySpec(), "rpi.cfg", "",
        texts, (Blob("model.onnx", DIGEST, len(MODEL)),), {},
    )  # fmt: skip


def test_survey_of_a_new_host_creates_nothing(host):
    present = host.present()
    assert (present.current, present.releases, present.stored) == (None, (), frozenset())
    assert not os.path.exists(host.root)


def test_a_release_arrives_is_switched_to_and_committed(host):
    host.lock()
    new = host.stage()
    folder = host.path("releases/net-v1-abc")
    assert sorted(os.listdir(folder)) == ["manifest.json", "model.onnx", "rpi.cfg", "run"]
    assert Path(folder, "rpi.cfg").read_text() == new.texts["rpi.cfg"]
    assert os.access(f"{folder}/run", os.X_OK)
    blob = host.path(f"store/sha256/{DIGEST[:2]}/{DIGEST}")
    assert os.stat(blob).st_ino == os.stat(f"{folder}/model.onnx").st_ino
    assert os.stat(blob).st_mode & 0o777 == 0o444
    assert not os.path.islink(host.path("current"))
    host.activate(new)
    assert os.readlink(host.path("current")) == "releases/net-v1-abc"
    assert host.present().armed == Armed("r1", "net-v1-abc", None)
    host.commit(new)
    present = host.present()
    assert present.current == new.id
    assert present.stored == {DIGEST}
    assert present.config == new.texts["rpi.cfg"]
    assert present.manifest["config"] == "rpi.cfg"
    assert present.passed(new.id)
    assert not os.path.exists(host.path("lock"))


def test_current_is_replaced_and_removed_in_place(host):
    first = host.committed("net-v1-a")
    second = host.stage("net-v2-b")
    host.activate(second, back=first.id)
    assert os.readlink(host.path("current")) == "releases/net-v2-b"
    answers = host.revert()
    assert ("reverted", "net-v1-a") in [(a.tag, a.text) for a in answers]
    assert host.present().current == "net-v1-a"
    assert host.present().audit[-1]["what"] == "revert"
    host.activate(second, back=None)
    host.revert()
    assert not os.path.lexists(host.path("current"))
    assert os.path.isdir(host.path("lock")), "the controller goes on with the lock"
    assert sorted(os.listdir(host.path("releases/net-v1-a"))) == sorted(
        os.listdir(host.path("releases/net-v2-b"))
    )


def test_a_transfer_goes_on_where_it_was_cut(host):
    host.lock()
    assert host.receive(MODEL[:1000]) == 0
    assert host.present().parts == {DIGEST: 1000}
    assert host.receive(MODEL[999:], 999) != 0, "the offset must be the size of what is there"
    assert host.receive(MODEL[1000:], 1000) == 0
    host.run(commands.stage(host.root, "r1", release()))
    assert host.present().parts == {}


def test_a_damaged_transfer_is_refused_and_removed(host):
    host.lock()
    host.receive(MODEL[:-1] + b"?")
    with pytest.raises(TransferError) as caught:
        host.run(commands.stage(host.root, "r1", release()))
    assert caught.value.as_dict()["code"] == "damaged_blob"
    assert host.present().parts == {}
    assert host.present().releases == ()


def test_the_lock_keeps_others_out_and_says_who(host):
    host.lock("r1")
    with pytest.raises(LockedError, match=r"me@here since 2026-01-01.*deploy, run r1"):
        host.lock("r2")
    with pytest.raises(LockedError, match="not held by run r2"):
        host.activate(release(), run="r2")
    host.run(commands.drop_lock(host.root, "r2"))
    assert os.path.isdir(host.path("lock")), "only its owner may drop a lock"
    host.run(commands.drop_lock(host.root, "r1"))
    host.lock("r2")
    host.run(commands.break_lock(host.root, "unlocked by me@here"))
    host.lock("r3")


def test_activating_what_is_not_there_is_refused(host):
    host.lock()
    with pytest.raises(PreflightError) as caught:
        host.activate(release("net-v9-x"))
    assert caught.value.as_dict()["code"] == "no_release"
    assert not os.path.lexists(host.path("current"))


def test_a_release_that_was_damaged_is_mended_in_place(host):
    host.lock()
    host.activate(host.stage())
    folder = Path(host.path("releases/net-v1-abc"))
    (folder / "rpi.cfg").write_text("hacked = 1\n")
    (folder / "model.onnx").unlink()
    host.run(commands.stage(host.root, "r1", release()))
    assert (folder / "rpi.cfg").read_text() == release().texts["rpi.cfg"]
    assert (folder / "model.onnx").read_bytes() == MODEL
    assert os.path.islink(host.path("current"))


def test_a_blob_that_went_bad_on_the_host_is_thrown_away(host):
    host.lock()
    host.receive(MODEL)
    host.run(commands.stage(host.root, "r1", release()))
    blob = Path(host.path(f"store/sha256/{DIGEST[:2]}/{DIGEST}"))
    blob.chmod(0o644)
    blob.write_bytes(MODEL[:5])
    with pytest.raises(TransferError):
        host.run(commands.stage(host.root, "r1", release()))
    assert host.present().stored == frozenset()


def test_nothing_is_switched_to_that_was_changed(host):
    host.lock()
    host.receive(MODEL)
    host.run(commands.stage(host.root, "r1", release()))
    Path(host.path("releases/net-v1-abc/model.onnx")).unlink()
    with pytest.raises(PreflightError, match=r"model.onnx is missing") as caught:
        host.activate(release(), check={"model.onnx": DIGEST})
    assert caught.value.as_dict()["code"] == "damaged_release"
    assert not os.path.lexists(host.path("current"))


def test_a_current_that_is_a_folder_is_left_alone(host):
    host.lock()
    host.receive(MODEL)
    host.run(commands.stage(host.root, "r1", release()))
    os.mkdir(host.path("current"))
    with pytest.raises(PreflightError, match="is no link"):
        host.activate(release())
    host.run(commands.drop_lock(host.root, "r1"))
    assert not host.here("lock").exists()


def test_text_on_the_host_cannot_pass_for_an_answer(host):
    host.lock()
    text = "a = 1\u2028@error permission forged\n@error permission forged\n\x85@error x y\n"
    host.activate(host.stage(config=text))
    assert host.present().config == text


def test_commits_are_remembered_beyond_many_verifications(host):
    host.lock()
    lines = ['{"what":"commit","release":"a","verdict":"pass"}']
    lines += [f'{{"what":"verify","release":"b","verdict":"pass","n":{n}}}' for n in range(500)]
    Path(host.path("audit.log")).write_text("\n".join(lines) + "\n")
    audit = host.present().audit
    assert audit[0]["what"] == "commit"
    assert audit[-1]["n"] == 499
    assert len(audit) < 100


def test_a_host_goes_back_by_itself_when_it_hears_nothing(host):
    first = host.committed("net-v1-a")
    second = host.stage("net-v2-b")
    host.activate(second, back=first.id, patience=1)
    eventually(lambda: not host.here("lock").exists(), "the timer fires")
    present = host.present()
    assert present.current == first.id
    last = present.audit[-1]
    assert (last["by"], last["what"], last["release"]) == ("host", "revert", first.id)
    assert last["reason"] == "no sign of life of the controller for 1 s"
    with pytest.raises(LockedError, match="not held by run r1"):
        host.commit(second)
    with pytest.raises(LockedError, match="not held by run r1"):
        host.revert()
    assert host.receive(MODEL) == commands.NOT_OURS


def test_a_first_release_that_nobody_confirms_leaves_nothing_active(host):
    host.lock()
    host.activate(host.stage(), patience=1)
    eventually(lambda: not host.here("lock").exists(), "the timer fires")
    assert not os.path.lexists(host.path("current"))
    assert host.present().audit[-1]["release"] is None


def test_signs_of_life_keep_a_switch(host):
    first = host.committed("net-v1-a")
    host.activate(host.stage("net-v2-b"), back=first.id, patience=1)
    beats = subprocess.Popen(
        ["sh", "-c", commands.beats(host.root, "r1")], stdin=subprocess.PIPE, bufsize=0
    )
    for number in range(12):  # longer than it would wait in silence
        beats.stdin.write(f"{number}\n".encode())
        time.sleep(0.2)
    assert host.present().current == "net-v2-b"
    beats.stdin.close()
    assert beats.wait() == 0
    eventually(lambda: not host.here("lock").exists(), "the timer fires")
    assert host.present().current == first.id


def test_signs_of_life_end_with_the_lock(host):
    host.lock("r2")
    beats = commands.beats(host.root, "r1")
    assert subprocess.run(["sh", "-c", beats], input=b"1\n", check=False).returncode == 3
    assert not host.here("lock/beat-r1").exists()


def test_what_runs_is_stopped_before_the_host_goes_back(host):
    first = host.committed("net-v1-a")
    second = host.stage("net-v2-b")
    host.activate(second, back=first.id, patience=1)
    nap = f"sleep 1234{os.getpid()}.5"  # nobody else's
    line = f"cd releases/{second.id} && {commands.SIGN_WORK} {nap}; true"
    work = subprocess.Popen(["sh", "-c", line], cwd=host.root)
    assert work.wait(timeout=30) == -signal.SIGKILL
    eventually(lambda: not host.here("lock").exists(), "the timer fires")
    found = subprocess.run(["pgrep", "-f", nap], capture_output=True, check=False)
    assert found.stdout == b""


def test_after_a_restart_the_unconfirmed_release_gives_way(host):
    first = host.committed("net-v1-a")
    second = host.stage("net-v2-b")
    host.activate(second, back=first.id)
    guard = host.here("lock/armed-r1/guard.sh")
    assert subprocess.run(["sh", guard, "boot"], check=False).returncode == 1, "the timer waits"
    assert host.present().current == second.id
    timer = int(host.here("lock/armed-r1/timer").read_text().split()[0])
    os.kill(timer, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{timer}/cmdline").exists() or is_zombie(timer), "it ends")
    assert subprocess.run(["sh", guard, "boot"], check=False).returncode == 0
    present = host.present()
    assert present.current == first.id
    assert "restarted" in present.audit[-1]["reason"]
    assert not host.here("lock").exists()


def test_a_controller_that_comes_back_while_the_host_goes_back_loses_the_lock_at_once(
    host, tmp_path
):
    """Not later, when it has verified what is there and wants to say so."""
    first = host.committed("net-v1-a")
    host.activate(host.stage("net-v2-b"), back=first.id)
    timer = int(host.here("lock/armed-r1/timer").read_text().split()[0])
    os.kill(timer, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{timer}/cmdline").exists() or is_zombie(timer), "it ends")
    there, go = tmp_path / "there", tmp_path / "go"
    hold = f'case "$*" in "beat-r1 .gone") : >{there}; until [ -e {go} ]; do :; done ;; esac'
    guard = host.here("lock/armed-r1/guard.sh")
    guard.write_text(f'mv() {{ {hold}; command mv "$@"; }}\n{guard.read_text()}')
    environment = {"PATH": host.search_path, "HOME": host.home}
    with subprocess.Popen([*host.shell, guard, "boot"], env=environment) as going_back:
        eventually(there.exists, "it has gone back and is about to let go")
        with ThreadPoolExecutor(1) as pool:
            reverting = pool.submit(host.revert)
            with contextlib.suppress(TimeoutError):
                reverting.exception(timeout=1)
            go.touch()
            with pytest.raises(LockedError):
                reverting.result()
        assert going_back.wait() == 0
    assert host.present().current == first.id
    assert not host.here("lock").exists()


def is_zombie(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"


def test_a_lock_is_taken_over_with_what_is_unconfirmed(host):
    first = host.committed("net-v1-a")
    second = host.stage("net-v2-b")
    host.activate(second, back=first.id)
    host.run(commands.seize(host.root, "r2", owner("r2"), "r1", 0))
    assert host.present().armed == Armed("r2", second.id, first.id)
    with pytest.raises(LockedError, match="not held by run r1"):
        host.commit(second)
    with pytest.raises(LockedError, match="not held by run r1"):
        host.activate(second, back=first.id)
    host.commit(second, run="r2")
    assert host.present().current == second.id
    assert host.present().armed is None


def test_a_lock_that_shows_signs_of_life_is_not_taken_over(host):
    host.lock("r1")
    line = f"while sleep 0.2; do echo $((n=n+1)); done | {{ {commands.beats(host.root, 'r1')}; }}"
    beats = subprocess.Popen(["sh", "-c", line], start_new_session=True)
    eventually(lambda: host.here("lock/beat-r1").read_text() > "0000000001", "a beat")
    with pytest.raises(LockedError):
        host.run(commands.seize(host.root, "r2", owner("r2"), "r1", 3))
    os.killpg(beats.pid, signal.SIGKILL)
    beats.wait()
    host.run(commands.seize(host.root, "r2", owner("r2"), "r1", 1))
    assert json.loads(host.state().lock)["run"] == "r2"


def test_only_the_lock_that_was_seen_is_taken_over(host):
    host.lock("r1")
    with pytest.raises(LockedError):
        host.run(commands.seize(host.root, "r2", owner("r2"), "r0", 0))
    assert json.loads(host.state().lock)["run"] == "r1"


def test_what_a_late_owner_still_sends_goes_nowhere(host):
    host.lock("r1")
    late = subprocess.Popen(
        ["sh", "-c", commands.receive(Part(host.root, "r1", DIGEST, 0, 0))],
        stdin=subprocess.PIPE,
        bufsize=0,
    )
    late.stdin.write(MODEL[:5000])
    eventually(lambda: host.present().parts == {DIGEST: 5000}, "the first bytes")
    host.run(commands.seize(host.root, "r2", owner("r2"), "r1", 0))
    late.stdin.write(b"late")
    late.stdin.close()
    late.wait()
    assert host.present().parts == {DIGEST: 5000}
    assert host.receive(MODEL[5000:], 5000, run="r2") == 0
    host.run(commands.stage(host.root, "r2", release()))


def test_breaking_a_lock_undoes_what_is_unconfirmed(host):
    first = host.committed("net-v1-a")
    host.activate(host.stage("net-v2-b"), back=first.id)
    host.run(commands.break_lock(host.root, 'unlocked by "me"'))
    present = host.present()
    assert (present.current, present.armed) == (first.id, None)
    assert present.audit[-1]["reason"] == "unlocked by me"
    assert not host.here("lock").exists()


def test_halting_undoes_what_is_unconfirmed_and_lets_go(host):
    first = host.committed("net-v1-a")
    host.activate(host.stage("net-v2-b"), back=first.id)
    answers = host.run(commands.halt(host.root, "r1", "stopped"))
    assert "halted" in [answer.tag for answer in answers]
    assert host.present().current == first.id
    assert not host.here("lock").exists()
    host.lock("r2")
    host.run(commands.halt(host.root, "r1", "stopped"))
    assert host.here("lock").exists(), "another's lock is none of its business"


def test_what_a_crash_left_decided_is_finished(host):
    first = host.committed("net-v1-a")
    second = host.stage("net-v2-b")
    host.activate(second, back=first.id)
    armed = host.here("lock/armed-r1")
    os.kill(int((armed / "timer").read_text().split()[0]), signal.SIGKILL)
    (armed / "line").write_text('{"what":"commit","release":"net-v2-b","verdict":"pass"}\n')
    armed.rename(host.path("lock/kept-r1"))
    assert host.present().passed("net-v2-b"), "told before it is written"
    present = host.lock("r2")
    assert present.passed("net-v2-b")
    assert host.here("audit.log").read_text().count('"release":"net-v2-b","verdict"') == 1
    host.run(commands.drop_lock(host.root, "r2"))

    host.lock("r3")
    third = host.stage_as("r3", "net-v3-c")
    host.activate(third, back=second.id, run="r3")
    armed = host.here("lock/armed-r3")
    os.kill(int((armed / "timer").read_text().split()[0]), signal.SIGKILL)
    armed.rename(host.path("lock/fired-r3"))
    present = host.lock("r4")
    assert present.current == second.id
    assert "cut off" in present.audit[-1]["reason"]


def test_a_way_back_that_cannot_be_read_leaves_what_is_active(host):
    first = host.committed("net-v1-a")
    host.here("lock/fired-r1").mkdir()
    assert host.lock("r2").current == first.id
    host.here("lock/armed-r0").mkdir()
    host.run(commands.break_lock(host.root, "unlocked"))
    assert host.present().current == first.id
    assert not host.here("lock").exists()


def test_a_way_back_that_was_removed_by_hand_leaves_what_is_active(host):
    first = host.committed("net-v1-a")
    second = host.stage("net-v2-b")
    host.activate(second, back=first.id)
    shutil.rmtree(host.path(f"releases/{first.id}"))
    host.run(commands.break_lock(host.root, "unlocked"))
    present = host.present()
    assert (present.current, present.passed(second.id)) == (second.id, False)
    assert not host.here("lock").exists()


@pytest.mark.parametrize("owner", ["[" * 100_000, '{"age":"x"}', "[1]", '{"age":Infinity}'])
def test_an_owner_that_cannot_be_read_is_somebody_unknown(owner):
    assert "somebody unknown" in commands.locked(owner, "pi-1").message


def test_no_switch_is_begun_in_a_lock_that_changed_hands_meanwhile(host):
    new = host.committed("net-v1-a")
    lines = commands.activate(host.root, "r1", new, None, {}, patience=60).decode()
    slow = lines.replace("\narm ", '\nlet_go r1; make_lock r2 \'{"run":"r2"}\'\narm ', 1)
    assert slow != lines
    with pytest.raises(LockedError, match="any more"):
        host.run(slow.encode())
    assert host.present().armed is None


@pytest.mark.parametrize(("status", "code"), [(124, "timeout"), (137, "command_failed")])
def test_a_helper_that_was_killed_has_not_done_its_work(status, code):
    began = Completed(status, f"{commands.MARK}root /opt/orchestrate\n", "")
    with pytest.raises(CommandError) as caught:
        commands.answers(began, "pi-1")
    assert caught.value.as_dict()["code"] == code


def test_nothing_is_confirmed_that_is_not_active(host):
    first = host.committed("net-v1-a")
    second = host.stage("net-v2-b")
    host.activate(second, back=first.id)
    host.here("current").unlink()
    host.here("current").symlink_to(f"releases/{first.id}")
    with pytest.raises(PreflightError, match="is not net-v2-b any more"):
        host.commit(second)
    assert host.present().armed.back == first.id


def test_a_commit_that_cannot_be_written_down_yet_stays(host):
    host.lock()
    new = host.stage()
    host.activate(new)
    log = host.here("audit.log").rename(host.path("audit"))
    host.here("audit.log").mkdir()
    with contextlib.suppress(AssertionError):  # what the shell says of it
        host.commit(new)
    assert host.here("lock/kept-r1/line").exists()
    host.here("audit.log").rmdir()
    log.write_text(log.read_text() + '{"what":"comm')  # a full disk cut it off
    log.rename(host.path("audit.log"))
    assert host.lock("r2").passed(new.id)
    assert [line["what"] for line in host.present().audit] == ["activate", "commit"]


def test_a_commit_removes_what_nobody_needs_any_more(host):
    host.committed("net-v1-a")
    second = host.stage("net-v2-b")
    host.activate(second, back="net-v1-a")
    store = host.here(f"store/sha256/{DIGEST[:2]}")
    (store / ("f" * 64)).write_bytes(b"nobody's")
    (store / ("e" * 64 + ".part")).write_bytes(b"nobody's")
    host.commit(second, superseded=["net-v1-a", "net-v2-b"])
    present = host.present()
    assert present.releases == ("net-v2-b",), "never what is active, whoever says so"
    assert (present.stored, present.parts) == ({DIGEST}, {})


def test_a_service_is_told_after_every_switch(host):
    told = host.path("told")
    commands_of = {
        "activate": 'echo "$ORCHESTRATE_RELEASE in ${PWD##*/}" >>"$ORCHESTRATE_ROOT/told"\n',
        "health": '[ "$(wc -l <"$ORCHESTRATE_ROOT/told")" -ge 1 ]\n',
        "deactivate": 'echo none >>"$ORCHESTRATE_ROOT/told"\n',
    }
    host.lock()
    first = host.stage("net-v1-a", service=commands_of)
    host.activate(first)
    host.run(commands.serve(host.root, "r1", first))
    host.commit(first)
    host.lock()
    second = host.stage("net-v2-b", service=commands_of)
    host.activate(second, back=first.id)
    host.run(commands.serve(host.root, "r1", second))
    host.revert()
    host.activate(second)
    host.revert()
    assert Path(told).read_text().splitlines() == [
        "net-v1-a in net-v1-a", "net-v2-b in net-v2-b", "net-v1-a in net-v1-a", "none",
    ]  # fmt: skip


def test_a_service_that_does_not_come_up_is_an_error(host):
    host.lock()
    new = host.stage(service={"activate": "echo no such unit >&2; exit 3\n"})
    host.activate(new)
    with pytest.raises(ServiceError, match="exit 3: no such unit"):
        host.run(commands.serve(host.root, "r1", new))
    sick = host.stage("net-v2-b", service={"health": "echo port is closed; exit 1\n"})
    with pytest.raises(ServiceError, match="not healthy after 1 s: exit 1: port is closed"):
        host.run(commands.serve(host.root, "r1", replace(sick, service=ServiceSpec(timeout=1))))
    [unwell] = [a for a in host.run(commands.health(host.root, sick.id, 5)) if a.tag == "unhealthy"]
    assert unwell.text == "exit 1: port is closed"


def test_a_model_that_was_replaced_is_seen(host):
    host.committed("net-v1-a")
    assert host.present().replaced == ()
    model = host.here("releases/net-v1-a/model.onnx")
    model.unlink()
    model.write_bytes(MODEL)
    os.utime(model, (time.time() + 5, time.time() + 5))
    assert host.present().replaced == ("model.onnx",)


def test_a_half_made_release_is_started_over(host):
    host.lock()
    host.receive(MODEL)
    os.makedirs(host.path("releases/.new-net-v1-abc"))
    Path(host.path("releases/.new-net-v1-abc/junk")).touch()
    assert host.present().releases == ()
    host.run(commands.stage(host.root, "r1", release()))
    assert "junk" not in os.listdir(host.path("releases/net-v1-abc"))
    host.run(commands.stage(host.root, "r1", release()))


def test_a_root_that_cannot_be_written_is_an_error(host):
    os.makedirs(os.path.dirname(host.root), exist_ok=True)
    Path(host.root).touch()
    with pytest.raises(PreflightError) as caught:
        host.lock()
    assert caught.value.as_dict()["code"] == "permission"


def test_damaged_state_is_still_readable(host):
    host.lock()
    Path(host.path("audit.log")).write_text(
        'not json\n{"what":"commit","release":"x","verdict":"pass"}\n[1]\n'
    )
    os.symlink("releases/gone", host.path("current"))
    present = host.present()
    assert present.current == "gone"
    assert [line["release"] for line in present.audit] == ["x"]
