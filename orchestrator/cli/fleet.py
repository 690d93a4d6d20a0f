"""From the command line's words to hosts, wanted versions and a run that is listened to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.errors import UsageError
from orchestrator.events import EventBus
from orchestrator.listing import names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from orchestrator.cli.common import Context
    from orchestrator.cli.live import LiveTable
    from orchestrator.fleet.facts_cache import FactsCache
    from orchestrator.fleet.host import Host, Inventory
    from orchestrator.fleet.settings import Settings
    from orchestrator.history.store import History
    from orchestrator.models.catalog import Catalog
    from orchestrator.planning.diff import HostPlan
    from orchestrator.rollout.fleet_run import FleetRun, Survey
    from orchestrator.rollout.task import Wanted


def choose(
    context: Context, groups: tuple[str, ...], limit: str | None
) -> tuple[Inventory, tuple[Host, ...]]:
    """The inventory and the hosts that `--group` and `--limit` name, all without them.

    Raises InventoryError, or UsageError when nothing matches.
    """
    from orchestrator.fleet import inventory
    from orchestrator.fleet.inventory import patterns

    loaded = inventory.load(context.project.inventory)
    return loaded, patterns.select(loaded, limit, groups)


def catalog(context: Context) -> Catalog:
    """The project's catalog of models."""
    from orchestrator.models.catalog import Catalog

    return Catalog(context.project.artifacts)


def wanted(
    context: Context,
    inventory: Inventory,
    hosts: Sequence[Host],
    model: str | None,
    *,
    allow_inexact: bool = False,
) -> dict[str, Wanted]:
    """What each host should get: `model` for all, else the host's `orchestrate_model`.

    Hosts without either are left alone. Raises UsageError when that is all of them, and ModelError
    for a version that is not there.
    """
    from orchestrator.planning.render import Templates
    from orchestrator.rollout.task import Wanted

    models = catalog(context)
    refs = {host.name: model or host.vars.get("orchestrate_model") for host in hosts}
    if not any(refs.values()):
        raise UsageError(
            f"no model is wanted for {names(list(refs))}",
            hint="Set orchestrate_model: NAME@VERSION in the inventory, or give --model.",
        )
    versions = {str(ref): models.get(str(ref)) for ref in refs.values() if ref}
    templates = Templates.of(context.project.template_texts())
    return {
        name: Wanted(
            version=versions[str(ref)],
            profiles=context.project.settings.profiles,
            templates=templates,
            groups=inventory.groups,
            allow_inexact=allow_inexact,
        )
        for name, ref in refs.items()
        if ref
    }


def with_a_wish(hosts: Sequence[Host], wishes: Mapping[str, Wanted]) -> tuple[Host, ...]:
    """The hosts that something is wanted for; the others are named on stderr."""
    left_alone = [host.name for host in hosts if host.name not in wishes]
    if left_alone:
        click.echo(f"Left alone, no orchestrate_model: {names(left_alone)}", err=True)
    return tuple(host for host in hosts if host.name in wishes)


def blob_paths(context: Context, plans: Sequence[HostPlan]) -> Mapping[str, Path]:
    """Where the files that may have to be sent lie here, each checked against its digest.

    Raises ModelError for a file that is missing, damaged or truncated, before anything is sent.
    """
    store = catalog(context).store
    needed = {
        blob.sha256: blob
        for plan in plans
        if plan.action == "deploy"
        for blob in plan.release.blobs
    }
    return {digest: store.check(digest, blob.size) for digest, blob in needed.items()}


def start(
    context: Context,
    command: str,
    hosts: Sequence[Host],
    *,
    settings: Settings | None = None,
    unasked: bool = True,
    request: Mapping[str, object] | None = None,
    allow_tag: bool = False,
) -> tuple[FleetRun, LiveTable]:
    """A run that may change hosts: it is recorded, and held against the known baselines.

    `settings` are the project's by default; `unasked` answers yes to questions between batches;
    `request` is what the history keeps of what was asked for; `allow_tag` takes images of Docker
    hosts that are named by a tag.
    Raises LockedError when another command switches hosts of the fleet project.
    """
    from orchestrator.cli.cut_off import tell_cut_off
    from orchestrator.cli.live import LiveTable
    from orchestrator.history import OpeningHistory
    from orchestrator.rollout.fleet_run import FleetRun
    from orchestrator.rollout.project_lock import CHANGING, SWITCHING

    live = LiveTable(len(hosts), on_stdout=context.for_people)

    def warn(message: str) -> None:
        live.say(f"warning: {message}", "yellow")

    def cut_off(history: History) -> None:
        tell_cut_off(history, live.say)

    lock = [context.project_lock(command)] if command in CHANGING else []
    says = cut_off if command in SWITCHING - {"resume"} else lambda _: None
    history = OpeningHistory(context.project.history_url, warn, says)
    click.get_current_context().call_on_close(history.close)
    run = FleetRun(
        command=command,
        settings=settings or context.project.settings,
        bus=EventBus([live, history, *lock, *context.listeners()]),
        baselines=history.baselines,
        on_stop=lambda: live.say(
            "Stopping: no more hosts are begun, those in flight finish or go back. "
            "Once more (Ctrl-C) ends them at once."
        ),
        on_halt=lambda: live.say(
            "Stopping at once: what runs on the hosts is ended, unconfirmed switches are undone."
        ),
        ask=(lambda _: True) if unasked else live.ask,
        tell=live.say,
        request=request or {},
        folder=context.project.root,
        allow_tag=allow_tag,
    )
    return run, live


def look(
    context: Context,
    command: str,
    hosts: Sequence[Host],
    wanted: Mapping[str, Wanted] | None = None,
    *,
    allow_tag: bool = False,
    before_closing: Callable[[Survey], None] = lambda _: None,
) -> Survey:
    """What is on the hosts now, with plans where something is `wanted`; sessions are closed again.

    Touches nothing that runs and is not recorded; the facts are remembered. Raises as
    `FleetRun.survey`. `allow_tag` as for `start`; `before_closing` may ask the hosts more.
    """
    from orchestrator.cli.live import LiveTable
    from orchestrator.rollout.fleet_run import FleetRun

    live = LiveTable(len(hosts), on_stdout=context.for_people)
    bus = EventBus([live, *context.listeners()])
    run = FleetRun(
        command=command,
        settings=context.project.settings,
        bus=bus,
        folder=context.project.root,
        allow_tag=allow_tag,
    )
    with live:
        survey = run.survey(hosts, wanted)
    try:
        before_closing(survey)
    finally:
        run.abandon(survey)
    cache = facts_cache(context)
    for surveyed in survey.surveyed:
        cache.put(surveyed.task.host.name, surveyed.facts)
    return survey


def facts_cache(context: Context) -> FactsCache:
    """The facts that were seen last, by host."""
    from orchestrator.fleet.facts_cache import FactsCache

    return FactsCache(context.project.state)
