"""What a host's helper reports of its root, as a value that planning understands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.planning.present import Armed, Present

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.targets.commands import Answer


@dataclass(frozen=True, slots=True)
class HostState:
    """`root` is absolute; `lock` is the owner.json of whoever holds the lock, as text.

    `lock_age` is for how many seconds nothing was heard of them, by the host's clock.
    """

    root: str
    present: Present
    lock: str | None = None
    lock_age: int | None = None


def host_state(answers: Iterable[Answer]) -> HostState:
    """The state behind the answers of the helper's `survey` and `take_lock`.

    Lines that cannot be read are passed over: a damaged audit log must not stop a deploy.
    """
    lines: dict[str, list[str]] = {}
    for answer in answers:
        lines.setdefault(answer.tag, []).append(answer.text)
    stored, parts = _store(lines.get("blob", []))
    manifest = _json("\n".join(lines.get("manifest", [])))
    config = "".join(line + "\n" for line in lines.get("config", []))
    manifest_config = manifest.get("config") if isinstance(manifest, dict) else None
    return HostState(
        root=lines.get("root", [""])[0],
        present=Present(
            current=lines.get("current", [None])[0],
            releases=tuple(lines.get("release", [])),
            stored=frozenset(stored),
            parts=parts,
            manifest=manifest if isinstance(manifest, dict) else {},
            config=config,
            sizes=_sizes(lines.get("file", [])),
            audit=tuple(
                entry
                for line in _in_order(lines.get("audit", []))
                if isinstance(entry := _json(line), dict)
            ),
            armed=_armed(lines.get("armed", [])),
            replaced=tuple(name for name in lines.get("newer", []) if name != manifest_config),
            lacks=tuple(lines.get("lacks", [])),
        ),
        lock=lines["lock"][0] if "lock" in lines else None,
        lock_age=_whole(lines.get("lock_age", [""])[0]),
    )


def _in_order(audit: list[str]) -> list[str]:
    """The lines of commits and the last ones, which overlap, as they stand in audit.log."""
    return list(dict.fromkeys(reversed(audit)))[::-1]


def _armed(lines: list[str]) -> Armed | None:
    words = lines[0].split() if lines else []
    if len(words) != 3:  # noqa: PLR2004 - run, release, the one before it
        return None
    run, release, back = words
    return Armed(run, release, None if back == "-" else back)


def _whole(text: str) -> int | None:
    return int(text) if text.removeprefix("-").isdecimal() else None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


# Columns of `ls -ln`, as POSIX has them: mode, links, owner, group, size, three of the date, name.
_LS_SIZE, _LS_NAME, _LS_NAME_AFTER = 4, -1, 8


def _sizes(lines: Iterable[str]) -> dict[str, int]:
    """The sizes of plain files by name, from `ls -ln`."""
    found = {}
    for line in lines:
        columns = line.split(maxsplit=_LS_NAME_AFTER)
        if line.startswith("-") and len(columns) > _LS_NAME_AFTER and columns[_LS_SIZE].isdecimal():
            found[columns[_LS_NAME_AFTER]] = int(columns[_LS_SIZE])
    return found


def _store(lines: Iterable[str]) -> tuple[set[str], dict[str, int]]:
    stored: set[str] = set()
    parts: dict[str, int] = {}
    for line in lines:
        columns = line.split()
        if len(columns) <= _LS_SIZE or not columns[_LS_SIZE].isdecimal():
            continue
        name = columns[_LS_NAME].rpartition("/")[2]
        if name.endswith(".part"):
            parts[name.removesuffix(".part")] = int(columns[_LS_SIZE])
        else:
            stored.add(name)
    return stored, parts
