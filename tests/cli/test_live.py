"""The live table: what it shows of the events it is told."""

import io

import pytest
from rich.console import Console

from orchestrator.cli import live
from orchestrator.events import BatchStarted, HostFinished, Progress, StateEntered


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    return now


def drawn(table):
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table.draw())
    return [line.split() for line in console.export_text().splitlines()]


def said(table):
    return " ".join(word for line in drawn(table) for word in line)


def progress(done, what="net.bin.gz"):
    return Progress(run="r", host="pi-1", what=what, done=done, total=40_000_000)


def test_rate_and_time_left_count_from_the_first_byte_of_this_file(clock):
    table = live.LiveTable(2, on_stdout=True)
    table.on_event(StateEntered(run="r", host="pi-1", state="stage", release="a-1"))
    table.on_event(progress(20_000_000))
    clock[0] += 2.0
    table.on_event(progress(36_000_000))
    _, row, caption = drawn(table)
    assert row[:2] == ["pi-1", "stage"]
    assert " ".join(row).endswith("36.0 of 40.0 MB 8.0 MB/s 0 s left")
    assert caption == ["0", "of", "2", "hosts", "done"]
    table.on_event(progress(0, what="golden.json"))
    assert " ".join(drawn(table)[1]).endswith("0.0 of 40.0 MB")


def test_hosts_that_finished_are_counted(clock):
    table = live.LiveTable(3, on_stdout=True)
    for host, status in (("pi-1", "deployed"), ("pi-2", "rolled_back"), ("pi-3", "deployed")):
        table.on_event(StateEntered(run="r", host=host, state="verify", release=None))
        table.on_event(HostFinished(run="r", host=host, outcome={"status": status}))
    assert said(table).endswith("3 of 3 hosts done: 2 deployed, 1 rolled back")


def test_a_host_that_is_put_back_later_counts_once(clock):
    table = live.LiveTable(2, on_stdout=True)
    for status in ("deployed", "rolled_back"):
        table.on_event(HostFinished(run="r", host="pi-1", outcome={"status": status}))
    assert said(table).endswith(" 1 of 2 hosts done: 1 rolled back")


@pytest.mark.parametrize(
    ("kind", "batch", "hosts", "caption"),
    [
        ("canary", 1, ("pi-1",), "canary, 1 host · 0 of 9 hosts done"),
        ("batch", 2, ("pi-2", "pi-3"), "batch 2 of 3, 2 hosts · 0 of 9 hosts done"),
    ],
)
def test_the_batch_is_told(clock, kind, batch, hosts, caption):
    table = live.LiveTable(9, on_stdout=True)
    table.on_event(BatchStarted(run="r", kind=kind, batch=batch, batches=3, hosts=hosts))
    assert said(table).endswith(caption)


def test_off_a_terminal_nothing_is_drawn(capsys):
    table = live.LiveTable(1, on_stdout=True)
    with table:
        table.on_event(progress(1))
    assert capsys.readouterr() == ("", "")
