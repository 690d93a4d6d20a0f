"""Host patterns choose what Ansible chooses."""

from __future__ import annotations

import re

import pytest
import yaml

from orchestrator.errors import UsageError
from orchestrator.fleet import inventory
from orchestrator.fleet.inventory.patterns import select, split
from tests.fleet.inventory import ansible_says

HOSTS = """
all:
  hosts:
    loose.example.com:
  children:
    edge:
      children:
        jetsons:
          hosts:
            jetson-1:
            jetson-2:
            jetson-3:
        pis:
          hosts:
            pi[01:12]:
    lab:
      hosts:
        jetson-2:
        pi03:
        2001:db8::7:
        bench.example.com:
    empty:
"""

PATTERNS = [
    "all", "*", "jetsons", "jetsons:pis", "jetsons,pis", "pis,jetsons", "jetsons:&lab", "edge:!lab",
    "jetsons:&lab:!jetson-3", "!edge", "&lab", "&lab:!pis", "!pis,!jetson-1,lab", "jetson*",
    "*.example.com", "pi0?", "p[ia]0?", "pi1[!0]", "~pi(01|12)$", "~(jetson|pi0).*", "~.*3",
    "~ed", "jetsons[0]", "jetsons[-1]", "jetsons[0:1]", "jetsons[1:]", "pis[2:4]", "pis[10:20]",
    "edge[0]", "jet*[1]", "all[3:5]", "jetsons[0],pis[0]", "2001:db8::7", "lab,!2001:db8::7",
    "pi03,pi03,pi03", "pi03,pis,pi03", "jetson-1:pi02", " jetsons , pi01 ", "empty:pi01",
    "lab:&jetsons[1]", "bench*:loose*", "j*,&l*", "ungrouped", "jetson-?", "all:!all:pi01",
    "nothing*:pi01",
]  # fmt: skip
IN_ORDER = ["pis,jetsons", "lab,edge,!pis", "pi03,jetsons,pi03", "~.*1", "*", "all"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("patterns") / "hosts.yml"
    path.write_text(HOSTS)
    return path


@pytest.fixture(scope="module")
def fleet(path):
    return inventory.load(path)


@pytest.fixture(scope="module")
def ansible_chooses(path):
    """Each pattern's hosts by the real program: one play a pattern, one run for all."""
    plays = path.with_name("plays.yml")
    plays.write_text(yaml.safe_dump([{"hosts": pattern, "name": pattern} for pattern in PATTERNS]))
    output = ansible_says.run("ansible-playbook", "-i", str(path), "--list-hosts", str(plays))
    blocks = re.split(r"\n  play #\d+ .*\n", output)[1:]
    chosen = [re.findall(r"^      (\S+)$", block, re.MULTILINE) for block in blocks]
    assert len(chosen) == len(PATTERNS)
    return dict(zip(PATTERNS, chosen, strict=True))


def names(hosts) -> list[str]:
    return [host.name for host in hosts]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_same_hosts_as_ansible(pattern, fleet, ansible_chooses):
    expected = ansible_chooses[pattern]
    if expected:
        chosen = names(select(fleet, pattern))
        assert set(chosen) == set(expected)
        assert len(chosen) == len(expected)
    else:
        with pytest.raises(UsageError, match="no host matches"):
            select(fleet, pattern)


@pytest.mark.parametrize("pattern", IN_ORDER)
def test_same_order_as_ansible(pattern, fleet, path):
    output = ansible_says.run("ansible", pattern, "-i", str(path), "--list-hosts")
    assert names(select(fleet, pattern)) == re.findall(r"^    (\S+)$", output, re.MULTILINE)


def test_groups_are_a_union_that_limit_narrows(fleet):
    assert names(select(fleet, None, ["lab", "jetsons"])) == [
        "jetson-2", "pi03", "2001:db8::7", "bench.example.com", "jetson-1", "jetson-3",
    ]  # fmt: skip
    assert names(select(fleet, "jetson-*:!jetson-3", ["lab", "jetsons"])) == [
        "jetson-2",
        "jetson-1",
    ]
    assert len(select(fleet)) == 18


@pytest.mark.parametrize(
    ("limit", "groups", "message", "hint"),
    [
        ("jetson", (), "'jetson' is neither a host nor a group", "Did you mean 'jetsons'?"),
        ("all:!jetson-4", (), "'jetson-4' is neither", "Did you mean 'jetson-3'?"),
        ("jetsons:&lba", (), "'lba' is neither", "Did you mean 'lab'?"),
        ("pis[12]", (), "'pis[12]': there is no such host, 'pis' has 12", "Count from 0 to 11."),
        ("pi0[1-3]", (), "'pi0' is neither", "Did you mean 'pi10'?"),
        ("lab,edge:!pis", (), "'edge:!pis' is neither", "Did you mean 'edge'?"),
        ("localhost", (), "'localhost' is neither", "jetson-3 and 17 more."),
        ("~(", (), "'~(' is no regular expression", "Python regex"),
        ("jetsons:!", (), "'!' and '&' need a pattern", "jetsons:!jetson-3"),
        ("zzz*", (), "no host matches --limit 'zzz*'", "orchestrate inventory"),
        ("jetsons:!jetsons", (), "no host matches", "orchestrate inventory"),
        ("", (), "the host pattern '' is empty", "--limit all"),
        (" ", (), "the host pattern ' ' is empty", "--limit all"),
        (",", (), "the host pattern ',' is empty", "--limit all"),
        (":", ("jetsons",), "the host pattern ':' is empty", "--limit all"),
        ("[", (), "the host pattern '[' is empty", "--limit all"),
        ("jetsons:[", (), "has a '[' or ']' without the other", "jetsons[0:2]"),
        ("jetsons[0", (), "has a '[' or ']' without the other", "jetsons[0:2]"),
        ("pi01,jetsons[0", (), "has a '[' or ']' without the other", "jetsons[0:2]"),
        ("~pi[", (), "has a '[' or ']' without the other", "jetsons[0:2]"),
        (None, ("jetson",), "the inventory has no group 'jetson'", "Did you mean 'jetsons'?"),
        (None, ("empty",), "no hosts in empty", "orchestrate inventory"),
        ("pi01", ("jetsons",), "no host of jetsons matches --limit 'pi01'", "orchestrate"),
    ],
)
def test_what_matches_nothing_is_an_error(limit, groups, message, hint, fleet):
    with pytest.raises(UsageError) as caught:
        select(fleet, limit, groups)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("a:b", ["a", "b"]),
        ("a[0:2]", ["a[0:2]"]),
        ("a[0:2]:b", ["a[0:2]", "b"]),
        ("2001:db8::1", ["2001:db8::1"]),
        ("2001:db8::1,b", ["2001:db8::1", "b"]),
        ("a:&b:!c[1:]", ["a", "&b", "!c[1:]"]),
        (" a , , b ", ["a", "b"]),
    ],
)
def test_split(pattern, parts):
    assert split(pattern) == parts
