"""The operator's own check, run for real in a release's folder."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import SettingsError
from orchestrator.fleet.profile import EngineSpec, VerifySpec
from orchestrator.targets import connect
from orchestrator.targets.connection import ConnectionSpec
from orchestrator.verify import smoke_benchmark, verify
from orchestrator.verify.base import Subject
from orchestrator.verify.command import read, smoke
from orchestrator.verify.program import last_object
from orchestrator.verify.result import Verdict


@pytest.fixture
def check(tmp_path):
    """Runs a check command in a release's folder."""
    target = connect(ConnectionSpec("here", kind="local"))
    folder = tmp_path / "it's a release"
    folder.mkdir()
    (folder / "net.bin").write_text("weights")

    def run(line, *, timeout=20.0):
        spec = VerifySpec(command=line, timeout=timeout)
        engine = EngineSpec("command", run="true")
        return target, Subject(str(folder), "net.bin", "net.cfg", "", "file", engine, spec)

    return run


def test_the_check_sees_the_release_and_its_last_json_object_counts(check):
    line = """echo starting; echo '{"ok": false}'
        printf '{"ok": true, "metrics": {"evals_per_s": %d}}\\n' $(wc -c <"$MODEL")
        echo "$CONFIG" is fine"""
    measured = smoke(*check(line))
    assert (measured.failure, measured.metrics) == ("", {"evals_per_s": 7.0})
    assert "net.cfg is fine" in measured.detail
    result = verify(*check(line), None)
    assert (result.verdict, result.reason.split(";")[0]) == (Verdict.PASS, "7 evals/s")


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ("echo hello", "`echo hello`: printed no JSON object"),
        ("exit 3", "`exit 3`: exit 3"),
        (
            """echo '{"ok": true}'; exit 1""",
            """`echo '{"ok": true}'; exit 1`: exit 1: {"ok": true}""",
        ),
        ("""printf '%s' '{"ok": false, "reason": "no\\nGPU"}'""", "no GPU"),
        ("""echo '{"ok": false}'""", "the check says no, without a reason"),
        ("""echo '{"metrics": {}}'""", 'the check printed neither "ok": true nor "ok": false'),
        ("""echo '{"ok": "yes"}'""", 'the check printed neither "ok": true nor "ok": false'),
        ("""echo '{"ok": true, "metrics": 3}'""", "the check's `metrics` is no object"),
        (
            """echo '{"ok": true, "metrics": {"a": 1, "b": "2"}}'""",
            "the check's metric b is no finite number",
        ),
        (
            """echo '{"ok": true, "metrics": {"b": NaN}}'""",
            "the check's metric b is no finite number",
        ),
    ],
)
def test_what_a_check_may_do_wrong(check, line, failure):
    assert smoke(*check(line)).failure == failure
    assert verify(*check(line), None).verdict is Verdict.FAIL


def test_a_check_that_hangs(check):
    assert smoke(*check("sleep 60", timeout=1.0)).failure == "`sleep 60`: no answer within 1 s"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.sampled_from(["ok", "metrics", "reason", "x"]), JSON))
def test_any_object_is_read_without_an_error(document):
    metrics, failure = read(document)
    assert failure or document["ok"] is True
    assert all(isinstance(value, float) for value in metrics.values())


@given(st.text(), JSON)
def test_the_last_object_is_found_in_any_output(noise, value):
    line = json.dumps({"value": value})
    quiet = "".join(c for c in noise if c not in "{}")
    found = last_object(f"{{}}\n{quiet}\n{line}\n{quiet}")
    assert json.dumps(found) == line
    assert last_object(quiet) is None


def test_kinds_without_a_smoke_benchmark():
    with pytest.raises(SettingsError, match="no smoke benchmark for engine kind 'tensorrt'"):
        smoke_benchmark("tensorrt")
