"""Ansible for real, on this machine: what is heard of it, what is kept, how it is stopped."""

from __future__ import annotations

import os
import stat
import sys
import threading
from pathlib import Path

import pytest
import yaml

from orchestrator.errors import InventoryError, UsageError
from orchestrator.provision import ansible
from orchestrator.provision.ansible import KEPT_RUNS, Playbook
from tests.waiting import wait_until

HERE = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
PASSWORD = "correct-horse"


@pytest.fixture
def play(tmp_path):
    """`play(tasks, **options)`: how a playbook of these tasks ended on the host `here`."""
    inventory = tmp_path / "inventory" / "hosts.yml"
    inventory.parent.mkdir()
    hosts = {"here": {**HERE, "ansible_become_password": PASSWORD}, "there": HERE}
    inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts}}))

    def play(tasks, *, hosts=("here",), stopped=lambda: False, run="run-1", **options):
        path = tmp_path / "play.yml"
        book = [{"hosts": "all", "gather_facts": False, "strategy": "free", "tasks": tasks}]
        path.write_text(tasks if isinstance(tasks, str) else yaml.safe_dump(book))
        steps = []
        ended = ansible.run(
            Playbook(
                path,
                inventory,
                hosts,
                {"here": {"host_root": "/srv"}},
                secrets=frozenset({PASSWORD}),
                **options,
            ),
            run=run,
            kept=tmp_path / "kept",
            on_step=steps.append,
            stopped=stopped,
        )
        return ended, steps

    return play


def debug(text, **more):
    return {"name": "Speak", "ansible.builtin.debug": {"msg": text}, **more}


def command(*argv, name="Run", **more):
    return {"name": name, "ansible.builtin.command": {"argv": list(argv)}, **more}


def test_steps_changes_and_advice_come_from_the_events(play, tmp_path):
    ended, steps = play(
        [
            command("true", name="Do it"),
            debug("root is {{ host_root }}, {{ more }}"),
        ],
        extra={"more": "given"},
    )
    told = ended.progress.hosts["here"]
    assert ended.code == 0
    assert [step.task for step in steps] == ["Do it"]
    assert [change.task for change in told.changed] == ["Do it"]
    assert told.advice == ["root is /srv, given"]
    assert told.done


def test_nothing_that_is_kept_has_a_secret_in_it(play, tmp_path, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "token-in-the-environment")
    ended, _ = play(
        [
            command("sh", "-c", "echo {{ ansible_become_password }}", name="Leak {{ 1 }}"),
            command("sh", "-c", "echo hidden-by-no-log; false", no_log=True),
        ]
    )
    assert str(ended.progress.hosts["here"].failure).endswith("hidden (no_log)")
    kept = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert any(path.parent.name == "job_events" for path in kept)
    for path in kept:
        text = path.read_text()
        assert PASSWORD not in text, path
        assert "token-in-the-environment" not in text, path
        assert "hidden-by-no-log" not in text, path
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700


def test_a_project_that_cannot_be_written_is_told(play, tmp_path):
    (tmp_path / "kept").write_text("a file in the way")
    with pytest.raises(UsageError, match="kept cannot be made: File exists"):
        play([debug("x")])


def test_old_runs_are_pruned(play, tmp_path):
    for number in range(KEPT_RUNS + 3):
        folder = tmp_path / "kept" / f"old-{number}"
        folder.mkdir(parents=True)
        os.utime(folder, (number, number))
    play([debug("x")], run="new")
    left = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert len(left) <= KEPT_RUNS + 1
    assert "new" in left
    assert "old-0" not in left


def test_only_the_hosts_that_are_named_are_worked_on(play):
    ended, _ = play([debug("{{ inventory_hostname }}")], hosts=("there",))
    assert list(ended.progress.hosts) == ["there"]
    assert ended.progress.hosts["there"].advice == ["there"]


def test_check_changes_nothing_and_diff_tells_what_would(play, tmp_path):
    path = tmp_path / "written"
    write = {"ansible.builtin.copy": {"content": "new\n", "dest": str(path), "mode": "0644"}}
    ended, _ = play([{"name": "Write", **write}], check=True, diff=True)
    (change,) = ended.progress.hosts["here"].changed
    assert "+new" in change.diff
    assert not path.exists()


def test_a_stopped_run_ends_ansible_at_once(play, tmp_path):
    begun, stop = tmp_path / "begun", threading.Event()
    answers = []
    sleeps = command("sh", "-c", f"touch {begun}; exec sleep 100", name="Sleep")
    thread = threading.Thread(
        target=lambda: answers.append(play([sleeps], stopped=stop.is_set)), daemon=True
    )
    thread.start()
    wait_until(begun.exists, "the task has begun")
    stop.set()
    thread.join(60)
    ended, _ = answers[0]
    assert not ended.progress.hosts["here"].done
    assert ended.progress.hosts["here"].last.task == "Sleep"


def test_an_ansible_that_was_killed_has_ended_early(play):
    kill = """p=$$
        while [ "$p" -gt 1 ]; do
            if grep -qa ansible-playbook /proc/$p/cmdline; then its=$p; fi
            p=$(ps -o ppid= -p $p | tr -d ' ')
        done
        kill -9 $its"""
    ended, _ = play([command("sh", "-c", kill, name="Kill")])
    assert ended.code == 137
    assert not ended.progress.hosts["here"].done
    assert ended.progress.hosts["here"].last.task == "Kill"


def test_what_a_killed_run_left_of_events_is_gone_after_the_next(play, tmp_path):
    left = tmp_path / "kept" / "killed" / "job_events" / "1-partial.json"
    left.parent.mkdir(parents=True)
    left.write_text(PASSWORD)
    os.utime(left, (0, 0))
    play([debug("x")])
    assert not left.exists()


@pytest.mark.parametrize("callback", ["yaml", "json", "minimal", "no_such_callback"])
def test_the_operators_choice_of_output_does_not_matter(play, monkeypatch, callback):
    monkeypatch.setenv("ANSIBLE_STDOUT_CALLBACK", callback)
    ended, _ = play([debug("heard")])
    assert ended.progress.hosts["here"].advice == ["heard"]


def test_ansible_runs_in_any_locale(play, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    ended, _ = play([debug("Grüße")])
    assert ended.progress.hosts["here"].advice == ["Grüße"]


@pytest.mark.parametrize(
    ("playbook", "cause"),
    [
        ("- hosts: [", "YAML"),
        (yaml.safe_dump([{"hosts": "all", "tasks": [{"no_such_module": {}}]}]), "no_such_module"),
    ],
)
def test_a_playbook_that_ansible_refuses_is_bad_input(play, playbook, cause):
    with pytest.raises(UsageError, match=rf"^play.yml: Ansible refuses it: .*{cause}"):
        play(playbook)


def test_without_ansible_it_says_how_to_get_it(play, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(InventoryError, match="ansible-playbook is not installed") as caught:
        play([debug("x")])
    assert "pip install" in caught.value.hint


def test_the_password_of_sudo_is_typed_and_stored_nowhere(play, tmp_path):
    typed = "typed-by-the-operator"
    ended, _ = play(
        [
            debug(
                "{{ (lookup('ansible.builtin.vars', 'ansible_become_pass', default='') | length) }}"
            )
        ],
        become_password=typed,
    )
    assert ended.code == 0
    for path in Path(tmp_path / "kept").rglob("*"):
        assert not path.is_file() or typed not in path.read_text()
