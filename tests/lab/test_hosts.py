from __future__ import annotations

import pytest

from orchestrator.errors import UsageError
from orchestrator.lab.hosts import lab_hosts, parse_hosts


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("rpi:2,jetson:2,gpu:2", {"rpi": 2, "jetson": 2, "gpu": 2}),
        ("cpu", {"cpu": 1}),
        (" gpu:3 , rpi ", {"gpu": 3, "rpi": 1}),
        ("rpi:200", {"rpi": 200}),
    ],
)
def test_how_many_of_each_kind(text, counts):
    assert parse_hosts(text) == counts


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("rpo:2", "no kind of host is called 'rpo'", "Did you mean 'rpi'?"),
        ("mainframe", "no kind of host is called 'mainframe'", "One of: rpi, jetson, gpu, cpu"),
        ("rpi:0", "'rpi:0' wants a whole number", "rpi:2"),
        ("rpi:-1", "'rpi:-1' wants a whole number", "rpi:2"),
        ("rpi:two", "'rpi:two' wants a whole number", "rpi:2"),
        ("rpi:²", "'rpi:²' wants a whole number", "rpi:2"),
        ("rpi:1,rpi:2", "'rpi' is named twice", "once"),
        ("", "names no host", "rpi:2"),
        (",", "names no host", "rpi:2"),
        ("rpi:100,gpu:101", "201 hosts", "fewer"),
    ],
)
def test_what_cannot_be_made_is_said(text, message, hint):
    with pytest.raises(UsageError) as raised:
        parse_hosts(text)
    assert message in raised.value.message
    assert hint in raised.value.hint


def test_identities_take_turns():
    hosts = lab_hosts({"rpi": 3})
    assert [host.name for host in hosts] == ["lab-rpi-1", "lab-rpi-2", "lab-rpi-3"]
    assert hosts[0].identity == hosts[2].identity != hosts[1].identity
    assert {host.group for host in hosts} == {"lab_pis"}
