"""Which artifact each kind of host gets: one small file a case in cases/.

`machine` and `facts` make the host, `artifacts` the version (`kind:` is format and precision),
`profile` is one of the shipped ones or written out as in orchestrate.yml. `fates` are the
candidates in order: name, `taken` or a part of the reason, or both. `error` is the code of the
error and parts of its text, `hint` a part of what it says to do. `python` is the one that the
inventory names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.errors import InputError
from orchestrator.fleet.settings import parse
from orchestrator.planning.present import Present
from orchestrator.planning.select import select, weigh
from tests.planning import samples

CASES = sorted((Path(__file__).parent / "cases").glob("*.yml"))


def test_there_are_cases():
    assert len(CASES) >= 20


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path):
    case = yaml.safe_load(path.read_text(encoding="utf-8"))
    profile = case["profile"]
    if isinstance(profile, dict):
        text = yaml.safe_dump({"profiles": {"own": {"config": "cpu.cfg.j2", **profile}}})
        [wanted] = parse(text, templates=samples.TEMPLATES).profiles
    else:
        wanted = samples.profile(profile)
    facts = samples.facts(case["machine"], **case.get("facts", {}))
    artifacts = [samples.artifact(a.pop("kind"), **a) for a in case["artifacts"]]
    version = samples.version(*artifacts, yanked=case.get("yanked"))
    present = Present(
        stored=frozenset(map(samples.digest, case.get("stored", ()))),
        parts={samples.digest(kind): size for kind, size in case.get("parts", {}).items()},
    )
    inexact = case.get("allow_inexact", False)
    if "fates" in case:
        candidates, _ = weigh(version, wanted, facts, present, allow_inexact=inexact)
        compare(case["fates"], candidates)
    if "error" in case:
        code, *parts = case["error"]
        with pytest.raises(InputError) as caught:
            select(
                version,
                wanted,
                facts,
                present,
                allow_inexact=inexact,
                python=case.get("python", ""),
            )
        assert caught.value.as_dict()["code"] == code
        assert caught.value.hint
        assert case.get("hint", "") in caught.value.hint
        for part in parts:
            assert part in caught.value.message
    else:
        selection = select(version, wanted, facts, present, allow_inexact=inexact)
        engine = selection.engine
        shown = " ".join(word for word in (engine.kind, engine.command, engine.path) if word)
        assert shown == case["engine"]
        assert [c.artifact for c in selection.candidates if c.taken] == [selection.artifact]


def compare(expected: list[list[str]], candidates: tuple[Any, ...]) -> None:
    assert [c.name for c in candidates] == [name for name, *_ in expected]
    for candidate, (name, *fates) in zip(candidates, expected, strict=True):
        assert candidate.taken == ("taken" in fates), (name, candidate.reason)
        for fate in fates:
            assert fate == "taken" or fate in candidate.reason, name
        assert candidate.reason
