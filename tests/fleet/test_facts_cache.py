"""The cache of facts: round trip, age, damage."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from orchestrator import files
from orchestrator.fleet import facts_cache
from orchestrator.fleet.facts import Cpu, DockerEngine, Facts, Gpu
from orchestrator.fleet.facts_cache import FactsCache

FACTS = Facts(
    arch="aarch64",
    cpu=Cpu("x", 4, frozenset({"asimd"})),
    gpus=(Gpu("Orin", 8.7),),
    docker_engine=DockerEngine(
        version="28.0.1", runtimes=("nvidia", "runc"), cdi=("nvidia.com/gpu=all",), rootless=True
    ),
)


@pytest.mark.parametrize("host", ["pi-1", "..", "a/b", "jetson.lab:22", "ä", "."])
def test_what_was_put_comes_back(tmp_path, host):
    cache = FactsCache(tmp_path / ".orchestrate")
    assert cache.get(host) is None
    cache.put(host, FACTS)
    found = cache.get(host)
    assert found is not None
    assert found[0] == FACTS
    assert [path.parent.name for path in tmp_path.rglob("*.json")] == ["facts"]


def test_facts_kept_before_docker_hosts_were_known_still_count(tmp_path):
    cache = FactsCache(tmp_path)
    cache.put("h", FACTS)
    file = tmp_path / "facts" / "h.json"
    kept = json.loads(file.read_text())
    assert kept["facts"].pop("docker_engine")["cdi"] == ["nvidia.com/gpu=all"]
    file.write_text(json.dumps(kept))
    found = cache.get("h")
    assert found is not None
    assert found[0] == replace(FACTS, docker_engine=DockerEngine())
    kept["facts"]["docker_engine"] = {"version": "29.0", "of_later": 1}
    file.write_text(json.dumps(kept))
    found = cache.get("h")
    assert found is not None
    assert found[0].docker_engine == DockerEngine(version="29.0")


@pytest.mark.parametrize(("unknown", "age"), [(None, 0.0), ("units", math.inf)])
def test_facts_kept_when_less_was_asked_are_old(tmp_path, monkeypatch, unknown, age):
    monkeypatch.setattr(facts_cache.time, "time", lambda: 1000.0)
    cache = FactsCache(tmp_path)
    cache.put("h", FACTS)
    file = tmp_path / "facts" / "h.json"
    kept = json.loads(file.read_text())
    kept["facts"].pop(unknown, None)
    file.write_text(json.dumps(kept))
    assert cache.get("h") == (FACTS, age)


def test_age_is_in_seconds_and_never_negative(tmp_path, monkeypatch):
    cache = FactsCache(tmp_path)
    monkeypatch.setattr(facts_cache.time, "time", lambda: 1000.0)
    cache.put("h", FACTS)
    monkeypatch.setattr(facts_cache.time, "time", lambda: 1090.0)
    assert cache.get("h") == (FACTS, 90.0)
    monkeypatch.setattr(facts_cache.time, "time", lambda: 900.0)
    assert cache.get("h") == (FACTS, 0.0)


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "null", "3", '{"format": 1}', '{"format": 9, "host": "h"}', "[" * 100_000]
    + [json.dumps({"format": 1, "host": host, "probed": probed, "facts": facts})
       for host, probed, facts in (("h", 1, 3), ("h", "x", {}), ("h", None, {}), ("other", 1, {}),
                                   ("h", 1, {"gpus": 3}), ("h", 1, {"gpus": [3]}),
                                   ("h", 1, {"docker_engine": 3}), ("h", 1, {"cpu": []}),
                                   ("h", 1, {"cpu": {"flags": [[]]}}))],
)  # fmt: skip
def test_a_damaged_file_counts_as_none_and_is_replaced(tmp_path, damage):
    cache = FactsCache(tmp_path)
    cache.put("h", FACTS)
    (tmp_path / "facts" / "h.json").write_text(damage)
    assert cache.get("h") is None
    cache.put("h", FACTS)
    found = cache.get("h")
    assert found is not None
    assert found[0] == FACTS


def test_bytes_that_are_no_text_count_as_none(tmp_path):
    cache = FactsCache(tmp_path)
    cache.put("h", FACTS)
    (tmp_path / "facts" / "h.json").write_bytes(b"\xff\xfe\x00")
    assert cache.get("h") is None


def test_a_folder_that_cannot_be_written_costs_one_warning(tmp_path, caplog):
    (tmp_path / ".orchestrate").write_text("a file")
    cache = FactsCache(tmp_path / ".orchestrate")
    cache.put("h", FACTS)
    cache.put("i", FACTS)
    assert cache.get("h") is None
    (record,) = caplog.records
    assert record.getMessage().startswith("warning: facts cannot be kept: ")


def test_a_failed_write_leaves_the_old_facts_and_no_litter(tmp_path, monkeypatch):
    cache = FactsCache(tmp_path)
    cache.put("h", FACTS)

    def full(*_arguments, **_options):
        raise OSError("No space left on device")

    monkeypatch.setattr(files.os, "fchmod", full)
    cache.put("h", Facts())
    assert [path.name for path in (tmp_path / "facts").iterdir()] == ["h.json"]
    found = cache.get("h")
    assert found is not None
    assert found[0] == FACTS
