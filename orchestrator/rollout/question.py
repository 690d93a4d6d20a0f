"""The question between two steps of a rollout: what came of it so far, and who is next."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from orchestrator.listing import SHOWN, count, names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.rollout.batches import Step
    from orchestrator.rollout.outcome import HostOutcome


def question(step: Step, last: Step, outcomes: Mapping[str, HostOutcome]) -> str:
    """The counts of all outcomes, a line for each host of the last step, and who would begin.

    Of many hosts only the first are shown.
    """
    counts = Counter(_status(outcome) for outcome in outcomes.values())
    lines = [f"So far: {', '.join(f'{n} {status}' for status, n in counts.items())}."]
    lines += [f"  {_told(outcomes[host])}" for host in last.hosts[:SHOWN] if host in outcomes]
    if len(last.hosts) > SHOWN:
        lines.append(f"  and {len(last.hosts) - SHOWN} more of {last}")
    lines.append(f"Next: {names(step.hosts)}.")
    lines.append(f"Begin {step} ({count(len(step.hosts), 'host')})?")
    return "\n".join(lines)


def _told(outcome: HostOutcome) -> str:
    """`pi-1: deployed, 4.1 evals/s`: the figures, or what went wrong."""
    figures = outcome.verification.reason if outcome.verification else ""
    why = outcome.error.message if outcome.error else figures
    return f"{outcome.host}: {_status(outcome)}" + (f", {why}" if why else "")


def _status(outcome: HostOutcome) -> str:
    return str(outcome.status).replace("_", " ")
