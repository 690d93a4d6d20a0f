"""Events as documents."""

from __future__ import annotations

import json

import pytest

from orchestrator import events
from orchestrator.events import (
    BatchStarted,
    HostFinished,
    Progress,
    RolloutAborted,
    RunFinished,
    RunStarted,
    StateEntered,
)

EACH = [
    (
        RunStarted(run="r", time=1.5, command="deploy", hosts=("a",), user="me@here", request={}),
        {
            "event": "run_started",
            "command": "deploy",
            "hosts": ["a"],
            "user": "me@here",
            "request": {},
        },
    ),
    (
        StateEntered(run="r", time=1.5, host="a", state="stage", release="m-v1"),
        {
            "event": "state_entered",
            "host": "a",
            "state": "stage",
            "release": "m-v1",
            "detail": "",
        },
    ),
    (
        Progress(run="r", time=1.5, host="a", what="m.onnx", done=1, total=2),
        {"event": "progress", "host": "a", "what": "m.onnx", "done": 1, "total": 2},
    ),
    (
        HostFinished(run="r", time=1.5, host="a", outcome={"status": "deployed"}),
        {"event": "host_finished", "host": "a", "outcome": {"status": "deployed"}},
    ),
    (
        BatchStarted(run="r", time=1.5, kind="canary", batch=1, batches=2, hosts=("a", "b")),
        {
            "event": "batch_started",
            "kind": "canary",
            "batch": 1,
            "batches": 2,
            "hosts": ["a", "b"],
        },
    ),
    (
        RolloutAborted(run="r", time=1.5, reason="2 failed", not_begun=("c",)),
        {"event": "rollout_aborted", "reason": "2 failed", "not_begun": ["c"]},
    ),
    (
        RunFinished(run="r", time=1.5, outcome="failed", exit_code=3),
        {"event": "run_finished", "outcome": "failed", "exit_code": 3},
    ),
]


@pytest.mark.parametrize(("event", "told"), EACH, ids=lambda case: type(case).__name__)
def test_an_event_as_a_document(event, told):
    document = json.loads(json.dumps(events.as_dict(event)))
    assert document == {"time": 1.5, "run": "r"} | told
    assert list(document)[:3] == ["event", "time", "run"]


def test_every_kind_of_event_is_in_the_table():
    known = {kind.__name__ for kind in events.Event.__subclasses__()}
    assert {type(event).__name__ for event, _ in EACH} == known
