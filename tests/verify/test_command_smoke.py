"""The operator's own check, run for real in a release's folder."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import SettingsError
from orchestrator.fleet.host import Host
from orchestrator.fleet.profile import EngineSpec, VerifySpec
from orchestrator.targets import connect
from orchestrator.targets.connection import ConnectionSpec, connection_spec
from orchestrator.verify import smoke_benchmark, verify
from orchestrator.verify.base import Subject
from orchestrator.verify.command import read, smoke
from orchestrator.verify.program import last_object
from orchestrator.verify.result import Verdict
from tests.needs import needs_program


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
        (
            """printf '{"ok": true, "metrics": {"b": %0400d}}\\n' 1 | sed 's/b": 0/b": 9/'""",
            "the check's metric b is no finite number",
        ),
        (
            """echo '{"ok": true, "metrics": {"b": 1e999}}'""",
            "the check's metric b is no finite number",
        ),
        (
            """echo '{"ok": true, "metrics": {"\\ud800": 1}}'""",
            "the check's metric name '\\ud800' is not readable",
        ),
        ("""echo '{"ok": false, "reason": "bad \\ud800"}'""", "bad \N{REPLACEMENT CHARACTER}"),
        ("""echo '{"ok": false, "reason": [1]}'""", "the check says no, without a reason"),
    ],
)
def test_what_a_check_may_do_wrong(check, line, failure):
    assert smoke(*check(line)).failure == failure
    assert verify(*check(line), None).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "noise",
    [
        "head -c 200000 /dev/zero | tr '\\0' '['; echo",
        "yes '{\"a\":' | head -n 20000 | tr -d '\\n'; echo",
        """printf '{"ok": false, "reason": "%0200000d"}\\n' 1""",
        "head -c 100000 /dev/urandom; echo",
    ],
)
def test_a_line_that_is_no_answer_is_passed_over(check, noise):
    measured = smoke(*check("""echo '{"ok": true, "metrics": {"x": 2}}'\n""" + noise))
    assert (measured.failure, measured.metrics) == ("", {"x": 2.0})


@pytest.mark.parametrize("speed", ["-5", "0"])
def test_a_speed_that_cannot_be_does_not_pass(check, speed):
    result = verify(
        *check(f"""echo '{{"ok": true, "metrics": {{"evals_per_s": {speed}}}}}'"""), None
    )
    assert result.verdict is Verdict.FAIL
    assert result.reason == f"evals_per_s is {speed}: that is no speed"


def test_a_reason_without_end_is_cut(check):
    assert len(smoke(*check("""printf '{"ok": false, "reason": "%09999d"}' 1""")).failure) == 300


CHECK = """\
if ! grep -q weights "$MODEL"
then echo '{"ok": false}'; exit 0
fi
cat  # nothing is there to be read
printf '%s\\n' '{"ok": true, "metrics": {"it'"'"'s\\\\ a!b": 1}}'
"""


def test_a_check_of_many_lines_on_a_host_whose_login_shell_is_csh(check, sshd_fleet):
    needs_program("tcsh", "apt-get install tcsh")
    _, subject = check(CHECK)
    (host,) = sshd_fleet(1, force_command='exec tcsh -f -c "$SSH_ORIGINAL_COMMAND"')
    with connect(connection_spec(Host(host.name, (), host.inventory_vars()))) as target:
        measured = smoke(target, subject)
    assert (measured.failure, measured.metrics) == ("", {"it's\\ a!b": 1.0})


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
