"""The flags that override `rollout:` of orchestrate.yml for one run."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from orchestrator.errors import UsageError
from orchestrator.fleet.strategy import parse_canary, parse_pause, parse_share

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.fleet.host import Inventory
    from orchestrator.fleet.settings import Settings
    from orchestrator.fleet.strategy import Share

F = TypeVar("F", bound="Callable[..., Any]")


def _batches(text: str) -> tuple[Share, ...]:
    return tuple(parse_share(part, least=1) for part in text.split(","))


@dataclass(frozen=True, slots=True)
class _Flag:
    """A flag, what reads its text (ValueError says what is wrong), and how it is explained."""

    key: str
    parse: Callable[[str], Any]
    metavar: str
    help: str
    example: str

    @property
    def name(self) -> str:
        return f"--{self.key.replace('_', '-')}"

    def read(self, text: str) -> Any:
        try:
            return self.parse(text)
        except ValueError as exc:
            raise UsageError(f"{self.name} {text}: {exc}", hint=self.example) from exc


_FLAGS = (
    _Flag(
        "canary",
        parse_canary,
        "WHICH",
        "Who goes first: hardware_class, none, 2, 10% or host patterns.",
        "Write hardware_class, none, a count such as 2, a share such as 10%, or pi-1,jetsons.",
    ),
    _Flag(
        "batches",
        _batches,
        "SIZES",
        "Sizes of the batches after the canary, such as 1,25%,100%.",
        "Write counts or shares of the whole fleet, such as: 1,25%,100%",
    ),
    _Flag(
        "pause",
        parse_pause,
        "SECONDS|ask",
        "What happens between batches.",
        "Write seconds, such as 30, or: ask",
    ),
    _Flag(
        "max_failed",
        parse_share,
        "N|N%",
        "Stop when more hosts of the whole fleet failed.",
        "Write a count of hosts such as 3, or a share such as 10%.",
    ),
    _Flag(
        "max_unreachable",
        parse_share,
        "N|N%",
        "Stop when more hosts cannot be reached.",
        "Write a count of hosts such as 3, or a share such as 10%.",
    ),
)


def strategy_options(function: F) -> F:
    """Give a command the flags; it gets them as `strategy`, texts by key, None where not given."""

    @functools.wraps(function)
    def gathered(*args: Any, **given: Any) -> Any:
        keys = [*(flag.key for flag in _FLAGS), "on_abort", "parallel"]
        return function(*args, strategy={key: given.pop(key) for key in keys}, **given)

    options = [
        *(click.option(flag.name, metavar=flag.metavar, help=flag.help) for flag in _FLAGS),
        click.option(
            "--on-abort",
            type=click.Choice(["keep", "rollback"]),
            help="What becomes of the hosts that had succeeded when a rollout stops.",
        ),
        click.option(
            "--parallel",
            type=click.IntRange(1, 1024),
            metavar="N",
            help="Hosts worked on at the same time.",
        ),
    ]
    for option in reversed(options):
        gathered = option(gathered)
    return cast("F", gathered)


def with_flags(settings: Settings, given: Mapping[str, Any], inventory: Inventory) -> Settings:
    """The settings with what the flags override; named canaries become host names.

    Raises UsageError for a flag that cannot be read, and for a canary that the inventory lacks.
    """
    readers = {flag.key: flag.read for flag in _FLAGS}
    changes = {
        key: readers[key](value) if key in readers else value
        for key, value in given.items()
        if value is not None
    }
    parallel = changes.pop("parallel", settings.parallel)
    strategy = replace(settings.rollout, **changes)
    if isinstance(strategy.canary, tuple):
        whence = "--canary" if "canary" in changes else "rollout.canary"
        strategy = replace(strategy, canary=_hosts(strategy.canary, inventory, whence))
    return replace(settings, parallel=parallel, rollout=strategy)


def _hosts(patterns: tuple[str, ...], inventory: Inventory, whence: str) -> tuple[str, ...]:
    from orchestrator.fleet.inventory.patterns import matching

    found: dict[str, None] = {}
    for pattern in patterns:
        try:
            found.update(dict.fromkeys(matching(inventory, pattern)))
        except UsageError as exc:
            exc.message = f"{whence} {','.join(patterns)}: {exc.message}"
            raise
    return tuple(found)
