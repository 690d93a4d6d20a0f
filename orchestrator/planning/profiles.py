"""Which profile a host falls under, and why not under the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.errors import InventoryError, SelectionError
from orchestrator.fleet import condition
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.fleet.facts import Facts
    from orchestrator.fleet.host import Host
    from orchestrator.fleet.profile import Profile


@dataclass(frozen=True, slots=True)
class ProfileFate:
    """What became of one profile: `chosen`, `no match`, `error` (undecidable) or `not needed`."""

    profile: str
    fate: Literal["chosen", "no match", "error", "not needed"]
    reason: str


@dataclass(frozen=True, slots=True)
class ProfileChoice:
    """The profile of a host, and the fate of every profile in the order of orchestrate.yml."""

    profile: Profile
    fates: tuple[ProfileFate, ...]


def choose_profile(
    host: Host,
    facts: Facts,
    groups: Mapping[str, tuple[str, ...]],
    profiles: Sequence[Profile],
) -> ProfileChoice:
    """The first profile whose `when:` holds, or the one that the host's variable forces.

    That is `orchestrate_profile`.

    A condition that cannot be decided on this host counts as not met and says so in its fate.
    Raises InventoryError for a forced profile that does not exist and SelectionError when none
    matches.
    """
    forced = host.vars.get("orchestrate_profile")
    if forced is not None:
        return _forced(host, profiles, str(forced))
    fates: list[ProfileFate] = []
    chosen: Profile | None = None
    for profile in profiles:
        if chosen is not None:
            fates.append(ProfileFate(profile.name, "not needed", f"{chosen.name} came first"))
            continue
        met, problem = condition.holds(profile.when, facts, host, groups)
        if met:
            chosen = profile
            fates.append(ProfileFate(profile.name, "chosen", profile.when))
        elif problem:
            fates.append(ProfileFate(profile.name, "error", f"{problem} in: {profile.when}"))
        else:
            fates.append(ProfileFate(profile.name, "no match", profile.when))
    if chosen is None:
        tried = "; ".join(f"{f.profile}: {f.fate}: {f.reason}" for f in fates)
        raise SelectionError(
            f"no profile matches {host.name}" + (f" ({tried})" if tried else ""),
            hint="Add a profile to orchestrate.yml, such as a last one with `when: true`, "
            "or set orchestrate_profile for the host.",
            code="no_profile_matches",
        )
    return ProfileChoice(chosen, tuple(fates))


def _forced(host: Host, profiles: Sequence[Profile], forced: str) -> ProfileChoice:
    names = [p.name for p in profiles]
    if forced not in names:
        raise InventoryError(
            f"host {host.name}: orchestrate_profile: there is no profile '{forced}'",
            hint=did_you_mean(forced, names)
            or f"Profiles are {', '.join(names) or 'not defined'}.",
        )
    fates = tuple(
        ProfileFate(p.name, "chosen", "forced by orchestrate_profile")
        if p.name == forced
        else ProfileFate(p.name, "not needed", f"orchestrate_profile forces {forced}")
        for p in profiles
    )
    return ProfileChoice(profiles[names.index(forced)], fates)
