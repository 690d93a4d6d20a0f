"""What a run came to, as a person reads it."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from orchestrator.cli import summary
from orchestrator.cli.common import Context
from orchestrator.errors import HostError, UnreachableError, VerifyError
from orchestrator.rollout.outcome import HostOutcome, RunResult, Status

SLOW = VerifyError("too slow.", hint="Look at it.")
HOSTS = (
    HostOutcome("pi-1", Status.DEPLOYED, release="a-1", active="kata@v2", bytes_sent=40_000_000),
    HostOutcome("pi-2", Status.UNREACHABLE, exit_code=5, error=UnreachableError("no answer")),
    HostOutcome(
        "pi-3", Status.ROLLED_BACK, exit_code=3, release="b-1", active="kata@v1", error=SLOW
    ),
)
RESULT = RunResult("r1", HOSTS)


def test_a_log_has_one_line_a_host_worst_first(capsys):
    summary.show(Context(), RESULT)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "pi-3  rolled back  to kata@v1: too slow. Look at it.",
        "pi-2  unreachable  no answer",
        "pi-1  deployed     kata@v2 (a-1) · 40.0 MB sent",
    ]
    assert lines[-1] == "1 rolled back, 1 unreachable, 1 deployed · run r1 · exit 3"


GO_ON = "go on with the hosts that are left: orchestrate deploy --resume r1"
SKIPPED = HostOutcome(
    "pi-4", Status.SKIPPED, error=HostError("not begun: why", code="aborted", hint="Do it.")
)


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (
            {"aborted": "why"},
            [
                "pi-4  skipped  not begun",
                "",
                "aborted: why",
                "1 skipped · run r1 · exit 0",
                f"When it is mended, {GO_ON}",
            ],
        ),
        (
            {"interrupted": True},
            [
                "pi-4  skipped  not begun",
                "",
                "interrupted: 1 skipped · run r1 · exit 130",
                GO_ON.capitalize(),
            ],
        ),
        (
            {"interrupted": True, "aborted": "the answer was no", "declined": True},
            [
                "pi-4  skipped  not begun",
                "",
                "stopped: the answer was no",
                "1 skipped · run r1 · exit 130",
                GO_ON.capitalize(),
            ],
        ),
    ],
)
def test_the_end_tells_why_hosts_were_left_out_and_how_to_go_on(capsys, options, lines):
    summary.show(Context(), RunResult("r1", (SKIPPED,), **options), wanted={"pi-4": "go@v3"})
    assert capsys.readouterr().out.splitlines() == lines


def away(name, **error):
    return HostOutcome(
        name, Status.UNREACHABLE, exit_code=5, error=UnreachableError("no answer", **error)
    )


LOST = away("pi-0", code="left_to_itself")


@pytest.mark.parametrize(
    ("hosts", "aborted", "told"),
    [
        ([away("pi-3"), LOST], None, ["pi-3 waits for go@v3: orchestrate reconcile --watch"]),
        (
            [away("pi-3"), away("pi-5")],
            None,
            ["2 hosts wait for go@v3: orchestrate reconcile --watch"],
        ),
        (
            [away("pi-3"), away("pi-7")],
            None,
            ["2 hosts wait for what they should have got: orchestrate reconcile --watch"],
        ),
        ([LOST], None, []),
        ([away("pi-3")], "why", [f"When it is mended, {GO_ON}"]),
    ],
)
def test_the_end_tells_who_waits_for_what(capsys, hosts, aborted, told):
    wanted = {"pi-3": "go@v3", "pi-5": "go@v3", "pi-7": "chess@v1", "pi-0": "go@v3"}
    summary.show(Context(), RunResult("r1", tuple(hosts), aborted=aborted), wanted)
    lines = capsys.readouterr().out.splitlines()
    assert lines[lines.index(next(line for line in lines if "exit 5" in line)) + 1 :] == told


def test_only_a_deploy_is_gone_on_with(capsys):
    summary.show(Context(), RunResult("", (SKIPPED, away("pi-3")), interrupted=True))
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "interrupted: 1 unreachable, 1 skipped · exit 130"


def test_a_terminal_shows_the_same(monkeypatch):
    monkeypatch.setattr(
        summary, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True))
    )
    context = Context()
    context.console = Console(width=120, record=True, file=io.StringIO())
    summary.show(context, RESULT)
    said = context.console.export_text()
    order = [said.index(name) for name in ("pi-3", "pi-2", "pi-1")]
    assert order == sorted(order)
    assert "to kata@v1: too slow. Look at it." in said
    assert said.rstrip().endswith("run r1 · exit 3")


@pytest.mark.parametrize(("exit_code", "style"), [(0, "green"), (3, "yellow")])
def test_going_back_is_green_where_it_was_asked_for(exit_code, style):
    assert summary.style_of(HostOutcome("h", Status.ROLLED_BACK, exit_code=exit_code)) == style
