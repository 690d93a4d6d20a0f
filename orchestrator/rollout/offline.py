"""Plans without the network: from the facts that were seen last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from orchestrator.planning.plan import plan_host
from orchestrator.planning.present import Present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.fleet.facts_cache import FactsCache
    from orchestrator.fleet.host import Host
    from orchestrator.planning.diff import HostPlan
    from orchestrator.rollout.task import Wanted


def plan_from_cache(
    cache: FactsCache, hosts: Sequence[Host], wanted: Mapping[str, Wanted]
) -> list[HostPlan]:
    """The plans of hosts whose facts are cached, as if nothing were on them yet.

    Raises UsageError naming the hosts without cached facts, and InputError as planning does.
    """
    known = {host.name: cache.get(host.name) for host in hosts}
    unknown = [name for name, entry in known.items() if entry is None]
    if unknown:
        raise UsageError(
            f"no cached facts of {', '.join(unknown[:5])}",
            hint="orchestrate facts fetches them.",
        )
    plans = []
    for host in hosts:
        entry, what = known[host.name], wanted[host.name]
        assert entry is not None  # noqa: S101
        plans.append(plan_host(what.inputs(host, entry[0], Present())))
    return plans
