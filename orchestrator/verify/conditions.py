"""What on a host makes a slow result say nothing of the release: heat, throttling, other load."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING

from orchestrator.errors import CommandError
from orchestrator.fleet import probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.fleet.facts import Facts, Load, Thermal
    from orchestrator.targets.base import Target

READ_SECONDS = 60.0
# The kernel's load average of one minute forgets with this time constant: include/linux/sched/
# loadavg.h, EXP_1 = 1 / exp(5 s / 1 min) each 5 s.
AVERAGED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a host is too hot (°C), or too busy with other things (load for each core)."""

    temperature_c: float = 80.0
    load_per_core: float = 0.5


DEFAULT = Limits()


def on_host(target: Target) -> Facts:
    """Load, temperatures and throttling of now; all other facts are empty.

    Raises CommandError when the host does not tell, UnreachableError when the connection breaks.
    """
    script = f"{probe.script()}\nprobe '' '' now\n".encode()
    return probe.parse(target.run("sh -s", stdin=script, timeout=READ_SECONDS).stdout)


def trouble(read: Callable[[], Facts], busy: float, limits: Limits = DEFAULT) -> str:
    """What is wrong, as `the host is throttled at 82 °C`; empty when nothing is.

    `busy` is for how many seconds the smoke benchmark has just run: the load that it may have made
    itself, a process on every core, is not held against the host. A host that does not even tell
    is in trouble.
    """
    try:
        facts = read()
    except CommandError as exc:
        return f"the host's condition cannot be read: {exc.message}"
    found = [*_heat(facts.thermal, limits), *_load(facts.load, busy, limits)]
    return f"the host is {' and '.join(found)}" if found else ""


def _heat(thermal: Thermal, limits: Limits) -> Iterator[str]:
    celsius = thermal.temperature_c
    degrees = "" if celsius is None else f"at {celsius:.0f} °C"
    if thermal.throttled:
        now = [why for why in thermal.detail.split(", ") if not why.endswith("has occurred")]
        why = ", ".join(reason for reason in now if reason not in {"", "throttled"})
        yield " ".join(filter(None, ["throttled", degrees, why and f"({why})"]))
    elif celsius is not None and celsius >= limits.temperature_c:
        yield degrees


def _load(load: Load, busy: float, limits: Limits) -> Iterator[str]:
    if load.one_minute is None:
        return
    own = load.cores * (1 - exp(-busy / AVERAGED_SECONDS))
    if load.one_minute - own >= limits.load_per_core * load.cores:
        cores = f"{load.cores} core{'s' if load.cores > 1 else ''}"
        yield f"under a load of {load.one_minute:.1f} on {cores}"
