"""The question between two steps of a rollout."""

import pytest

from orchestrator.errors import VerifyError
from orchestrator.rollout.batches import Step
from orchestrator.rollout.outcome import HostOutcome, Status
from orchestrator.rollout.question import question
from orchestrator.verify.result import Verdict, Verification


def passed(host):
    figures = Verification(Verdict.PASS, reason="4.1 evals/s")
    return HostOutcome(host, Status.DEPLOYED, verification=figures)


def test_it_tells_what_came_of_the_canaries_and_who_is_next():
    outcomes = {
        "a": passed("a"),
        "b": HostOutcome("b", Status.ROLLED_BACK, error=VerifyError("too slow")),
        "z": HostOutcome("z", Status.UNCHANGED),
    }
    canary = Step("canary", 1, 1, ("a", "b"))
    batch = Step("batch", 1, 2, tuple("cdefghi"))
    assert question(batch, canary, outcomes).splitlines() == [
        "So far: 1 deployed, 1 rolled back, 1 unchanged.",
        "  a: deployed, 4.1 evals/s",
        "  b: rolled back, too slow",
        "Next: c, d, e, f, g and 2 more.",
        "Begin batch 1 of 2 (7 hosts)?",
    ]


@pytest.mark.parametrize(("many", "lines"), [(5, 5), (6, 6), (50, 6)])
def test_of_a_large_batch_only_some_hosts_are_shown(many, lines):
    hosts = tuple(f"h{number}" for number in range(many))
    asked = question(
        Step("batch", 2, 2, ("x",)), Step("batch", 1, 2, hosts), {h: passed(h) for h in hosts}
    )
    shown = [line for line in asked.splitlines() if line.startswith("  ")]
    assert len(shown) == lines
    assert (f"  and {many - 5} more of batch 1 of 2" in shown) == (many > 5)
