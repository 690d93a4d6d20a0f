"""What the events of ansible-runner mean."""

from __future__ import annotations

import pytest

from orchestrator.provision.outcome import Change
from orchestrator.provision.progress import (
    LONGEST,
    LONGEST_DIFF,
    Failure,
    Progress,
    Step,
    cause_of,
    diff_of,
)

DEBUG = "ansible.builtin.debug"
COPY = "ansible.builtin.copy"


def event(kind, host="pi-1", role="base", task="Write the rule", action=COPY, **more):
    data = {"host": host, "role": role, "task": task, "task_action": action, **more}
    return {"event": kind, "event_data": data}


def stats(processed=("pi-1",), failures=(), dark=()):
    return {
        "event": "playbook_on_stats",
        "event_data": {
            "processed": dict.fromkeys(processed, 1),
            "failures": dict.fromkeys(failures, 1),
            "dark": dict.fromkeys(dark, 1),
        },
    }


def told(*events, host="pi-1"):
    progress = Progress([host])
    for each in events:
        list(progress.take(each))
    return progress.hosts[host]


def test_a_task_that_begins_is_a_step():
    progress = Progress(["pi-1"])
    assert list(progress.take(event("runner_on_start"))) == [Step("pi-1", "base", "Write the rule")]
    assert progress.hosts["pi-1"].last == Step("pi-1", "base", "Write the rule")


@pytest.mark.parametrize("action", [DEBUG, "ansible.builtin.include_role", "include_tasks"])
def test_tasks_that_only_speak_or_include_are_no_steps(action):
    assert list(Progress([]).take(event("runner_on_start", action=action))) == []


def test_changed_tasks_are_changes_in_order_with_their_diff():
    diff = [{"before": "", "after": "a\n", "after_header": "/etc/x"}]
    found = told(
        event("runner_on_ok", res={"changed": False}),
        event("runner_on_ok", res={"changed": True, "diff": diff}),
        event("runner_on_ok", role="service", task="Enable", res={"changed": True}),
        stats(),
    )
    assert [(c.role, c.task) for c in found.changed] == [
        ("base", "Write the rule"),
        ("service", "Enable"),
    ]
    assert "+a\n" in found.changed[0].diff
    assert found.done


def test_debug_that_changes_is_a_predicted_change_and_else_advice():
    found = told(
        event("runner_on_ok", action=DEBUG, res={"changed": True, "msg": "Install python3-venv"}),
        event("runner_on_ok", action=DEBUG, res={"changed": False, "msg": "The clock is late."}),
        event("runner_on_ok", action=DEBUG, res={"changed": False, "msg": "The clock is late."}),
    )
    assert found.changed == [Change("base", "Install python3-venv")]
    assert found.advice == ["The clock is late."]


def test_advice_of_a_loop_is_each_items():
    results = [{"msg": "one"}, {"msg": "two", "skipped": True}, {"msg": "three"}]
    found = told(event("runner_on_ok", action=DEBUG, res={"results": results}))
    assert found.advice == ["one", "three"]


def test_a_failure_is_kept_unless_ignored_or_rescued():
    failed = event("runner_on_failed", res={"msg": "no such package"}, ignore_errors=False)
    assert told(failed, stats(failures=["pi-1"])).failure == Failure(
        "base", "Write the rule", "no such package"
    )
    assert told(failed, stats()).failure is None
    ignored = event("runner_on_failed", res={"msg": "x"}, ignore_errors=True)
    assert told(ignored, stats()).failure is None


def test_a_host_that_is_lost():
    lost = event("runner_on_unreachable", res={"msg": "Task failed: Data could not be sent"})
    found = told(lost, stats(dark=["pi-1"]))
    assert str(found.unreachable) == "base: Write the rule: Data could not be sent"


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (
            "ssh: connect to host 192.0.2.1 port 22: No route",
            "connect to host 192.0.2.1 port 22: No route",
        ),
        ("@@@\n@ WARNING @\nHost key verification failed.", "Host key verification failed."),
    ],
)
def test_of_what_ssh_says_the_last_line_counts(said, cause):
    message = f"Task failed: Failed to connect to the host via ssh: {said}"
    assert cause_of({"msg": message}) == f"no connection: {cause}"


def test_a_host_that_the_playbook_is_not_for_is_not_done():
    assert not told(stats(processed=["pi-2"])).done
    assert not told(event("runner_on_start")).done


@pytest.mark.parametrize(
    ("result", "cause"),
    [
        ({"msg": "wrong sha256"}, "wrong sha256"),
        ({"msg": "Task failed: ERROR: disk full\n  at line 3"}, "disk full at line 3"),
        ({"msg": "non-zero return code", "stderr": "a\n\nE: no package x\nnote\n"}, "no package x"),
        (
            {"msg": "non-zero return code", "stderr": "ERROR: no match\nWARNING: old pip"},
            "no match",
        ),
        ({"msg": "", "stdout": "out of space"}, "out of space"),
        (
            {
                "msg": "non-zero return code",
                "stdout": "Failed to stop it.\r\n",
                "stderr": "Shared connection to 192.0.2.1 closed.\r\n",
            },
            "Failed to stop it.",
        ),
        (
            {"msg": "'/usr/bin/apt-get -y install 'a=1' -o b=no' failed: E: Failed to fetch x"},
            "Failed to fetch x",
        ),
        (
            {"msg": "MODULE FAILURE\nsee stdout", "module_stderr": "Traceback\nOSError: x"},
            "OSError: x",
        ),
        ({"msg": "non-zero return code", "rc": 3}, "it ended with status 3"),
        ({}, "it gave no reason"),
        ({"reason": "the role 'base' was not found"}, "the role 'base' was not found"),
        ({"censored": "hidden"}, "what it said is hidden (no_log)"),
        (
            {
                "msg": "One or more items failed",
                "results": [
                    {"item": "a", "failed": False},
                    {"item": "b", "failed": True, "msg": "no b"},
                ],
            },
            "b: no b",
        ),
        (
            {"results": [{"item": {"name": "b"}, "failed": True, "msg": "no b"}], "msg": "x"},
            "no b",
        ),
        ({"msg": ["two", "parts"]}, "['two', 'parts']"),
        ({"msg": "red \x1b[31mtext\x1b[0m\x07"}, "red text?"),
    ],
)
def test_the_cause_is_one_line_that_says_most(result, cause):
    assert cause_of(result) == cause


def test_a_long_cause_is_cut():
    assert len(cause_of({"msg": "x" * 1000})) == LONGEST


def test_diffs_of_texts_of_attributes_and_ready_ones():
    text = diff_of({"diff": {"before": "a\n", "after": "b\n", "before_header": "/etc/x"}})
    assert "--- /etc/x" in text
    assert "-a\n+b\n" in text
    attributes = diff_of({"diff": {"before": {"mode": "0600"}, "after": {"mode": "0644"}}})
    assert "-mode: 0600\n+mode: 0644\n" in attributes
    assert diff_of({"diff": [{"prepared": "> x\n"}]}) == "> x\n"
    assert diff_of({"diff": None}) == diff_of({}) == ""


def test_a_diff_does_nothing_to_a_terminal():
    told = diff_of(
        {"diff": [{"before": "a\x1b[31m\tb\n", "after": "\x1b]0;c\x07\n"}, {"prepared": "\x1bc\n"}]}
    )
    assert told.endswith("-a\tb\n+?]0;c?\n?c\n")


def test_a_long_diff_is_cut():
    after = "".join(f"{n}\n" for n in range(10_000))
    lines = diff_of({"diff": {"before": "", "after": after}}).splitlines()
    assert len(lines) == LONGEST_DIFF + 1
    assert lines[-1].endswith("more lines")


def test_what_ansible_itself_complains_of_is_remembered_once():
    progress = Progress([])
    said = "\x1b[0;31m[ERROR]: YAML parsing failed: Colons\x1b[0m\r\nOrigin: x.yml:2\r\n"
    list(progress.take({"event": "error", "stdout": said}))
    list(progress.take({"event": "verbose", "stdout": "[ERROR]: another"}))
    assert progress.error == "YAML parsing failed: Colons"


def test_events_without_data_are_passed_over():
    progress = Progress(["pi-1"])
    for each in ({}, {"event": "playbook_on_start"}, {"event": "error"}):
        assert list(progress.take(each)) == []
