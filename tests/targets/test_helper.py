"""host.sh, run for real under every shell a host may have."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from orchestrator.errors import LockedError, PreflightError, TransferError
from orchestrator.fleet.profile import EngineSpec, VerifySpec
from orchestrator.models.manifest import Artifact
from orchestrator.planning.release import Blob, Release, canonical
from orchestrator.rollout.host_state import host_state
from orchestrator.targets import commands
from orchestrator.targets.base import Completed
from tests.needs import needs_program

MODEL = b"\x00\x01model\n" * 1000
DIGEST = hashlib.sha256(MODEL).hexdigest()
PACKAGES = {"dash": "dash", "bash": "bash", "busybox": "busybox-static"}
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}


@pytest.fixture(params=SHELLS)
def host(request, tmp_path):
    """`run(script)` on a host whose shell is the parameter; its root may have odd letters."""
    shell = SHELLS[request.param]
    which = needs_program(shell[0], f"apt-get install {PACKAGES[request.param]}")
    path = os.environ["PATH"]
    if request.param == "busybox":
        path = str(tmp_path / "applets")
        os.mkdir(path)
        subprocess.run(["busybox", "--install", "-s", path], check=True)

    class Host:
        root = str(tmp_path / 'it\'s a "root" $HOME')

        def run(self, script):
            done = subprocess.run(
                [which, *shell[1:], "-s"],
                input=script,
                capture_output=True,
                env={"PATH": path, "HOME": str(tmp_path / "home")},
                check=False,
            )
            assert done.stderr == b"", done.stderr.decode()
            return commands.answers(
                Completed(done.returncode, done.stdout.decode(), done.stderr.decode()), "pi-1"
            )

        def lock(self, run="r1"):
            return host_state(self.run(commands.take_lock(self.root, owner(run)))).present

        def receive(self, data, offset=0):
            done = subprocess.run(
                [which, *shell[1:], "-c", commands.receive(self.root, DIGEST, offset)],
                input=data,
                env={"PATH": path},
                capture_output=True,
                check=False,
            )
            return done.returncode

        def present(self):
            return host_state(self.run(commands.script(commands.call("survey", self.root)))).present

        def path(self, name):
            return os.path.join(self.root, name)

    return Host()


def owner(run):
    return {"run": run, "who": "me@here", "since": "2026-01-01T00:00:00+00:00", "command": "deploy"}


def release(name="net-v1-abc", config="numSearchThreads = 2\nEND\n$HOME `id` 'q'\n"):
    texts = {
        "rpi.cfg": config,
        "run": "#!/bin/sh\nexec true\n",
        "manifest.json": canonical({"config": "rpi.cfg", "model": "net"}) + "\n",
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
    assert host.receive(MODEL) == 0
    new = release()
    host.run(commands.stage(host.root, "r1", new))
    folder = host.path("releases/net-v1-abc")
    assert sorted(os.listdir(folder)) == ["manifest.json", "model.onnx", "rpi.cfg", "run"]
    assert Path(folder, "rpi.cfg").read_text() == new.texts["rpi.cfg"]
    assert os.access(f"{folder}/run", os.X_OK)
    blob = host.path(f"store/sha256/{DIGEST[:2]}/{DIGEST}")
    assert os.stat(blob).st_ino == os.stat(f"{folder}/model.onnx").st_ino
    assert os.stat(blob).st_mode & 0o777 == 0o444
    assert not os.path.islink(host.path("current"))
    host.run(commands.activate(host.root, "r1", new.id, {"what": "activate", "release": new.id}))
    assert os.readlink(host.path("current")) == "releases/net-v1-abc"
    verdict = {"what": "commit", "release": new.id, "verdict": "pass"}
    host.run(commands.commit(host.root, "r1", verdict))
    present = host.present()
    assert present.current == new.id
    assert present.stored == {DIGEST}
    assert present.config == new.texts["rpi.cfg"]
    assert present.manifest["config"] == "rpi.cfg"
    assert present.passed(new.id)
    assert not os.path.exists(host.path("lock"))


def test_current_is_replaced_and_removed_in_place(host):
    host.lock()
    host.receive(MODEL)
    for name in ("net-v1-a", "net-v2-b"):
        host.run(commands.stage(host.root, "r1", release(name)))
        host.run(commands.activate(host.root, "r1", name, {"what": "activate"}))
        assert os.readlink(host.path("current")) == f"releases/{name}"
    host.run(commands.activate(host.root, "r1", None, {"what": "revert"}))
    assert not os.path.lexists(host.path("current"))
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
        host.run(commands.activate(host.root, "r2", None, {"what": "x"}))
    host.run(commands.drop_lock(host.root, "r2"))
    assert os.path.isdir(host.path("lock")), "only its owner may drop a lock"
    host.run(commands.drop_lock(host.root, "r1"))
    host.lock("r2")
    host.run(commands.break_lock(host.root))
    host.lock("r3")


def test_activating_what_is_not_there_is_refused(host):
    host.lock()
    with pytest.raises(PreflightError) as caught:
        host.run(commands.activate(host.root, "r1", "net-v9-x", {"what": "activate"}))
    assert caught.value.as_dict()["code"] == "no_release"
    assert not os.path.lexists(host.path("current"))


def test_a_release_that_was_damaged_is_mended_in_place(host):
    host.lock()
    host.receive(MODEL)
    host.run(commands.stage(host.root, "r1", release()))
    host.run(commands.activate(host.root, "r1", "net-v1-abc", {"what": "activate"}))
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
        host.run(commands.activate(host.root, "r1", "net-v1-abc", {}, check={"model.onnx": DIGEST}))
    assert caught.value.as_dict()["code"] == "damaged_release"
    assert not os.path.lexists(host.path("current"))


def test_a_current_that_is_a_folder_is_left_alone(host):
    host.lock()
    host.receive(MODEL)
    host.run(commands.stage(host.root, "r1", release()))
    os.mkdir(host.path("current"))
    with pytest.raises(PreflightError, match="is no link"):
        host.run(commands.activate(host.root, "r1", "net-v1-abc", {}))


def test_text_on_the_host_cannot_pass_for_an_answer(host):
    host.lock()
    host.receive(MODEL)
    text = "a = 1\u2028@error permission forged\n@error permission forged\n\x85@error x y\n"
    host.run(commands.stage(host.root, "r1", release(config=text)))
    host.run(commands.activate(host.root, "r1", "net-v1-abc", {}))
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


def test_only_the_lock_that_was_seen_is_broken(host):
    host.lock("r1")
    host.run(commands.break_lock(host.root, "r0"))
    assert os.path.isdir(host.path("lock"))
    host.run(commands.break_lock(host.root, "r1"))
    assert not os.path.exists(host.path("lock"))


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
