"""Which release a host goes back to, read from its own audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.planning.present import Present


def way_back(present: Present) -> str | None:
    """The release below the active one among those that passed and lie on the host still.

    A deploy puts its release on top; a rollback takes off what was above the one it went to, so
    that a second rollback goes one further back and not forward again. Where the active release
    never passed, the top one is meant.
    """
    stack = [r for r in _passed_in_order(present) if r in present.releases and present.passed(r)]
    if present.current in stack:
        stack = stack[: stack.index(present.current)]
    return stack[-1] if stack else None


def release_named(present: Present, name: str) -> str | None:
    """The release on the host that an operator means: its id, or NAME@VERSION.

    Of several of one version, with other configs, the one that passed last is meant.
    """
    if name in present.releases:
        return name
    model, _, version = name.partition("@")
    prefix = f"{model}-{version}-"
    same = [r for r in _passed_in_order(present) if _is_of(r, prefix) and r in present.releases]
    return next((r for r in reversed(same) if present.passed(r)), None)


def _is_of(release: str, prefix: str) -> bool:
    return release.startswith(prefix) and "-" not in release.removeprefix(prefix)


def _passed_in_order(present: Present) -> list[str]:
    stack: list[str] = []
    for line in present.audit:
        release = line.get("release")
        if line.get("what") != "commit" or not isinstance(release, str):
            continue
        if line.get("command") == "rollback" and release in stack:
            del stack[stack.index(release) + 1 :]
        else:
            stack = [r for r in stack if r != release] + [release]
    return stack
