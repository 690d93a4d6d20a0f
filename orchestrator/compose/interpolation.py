"""`$` in a compose file: the release's id is filled in, and its alias; nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLES = ("ORCHESTRATE_RELEASE", "ORCHESTRATE_ALIAS")

_NAME = "|".join(VARIABLES)
_OURS = rf"\$(?:\{{(?:{_NAME})\}}|(?:{_NAME})(?![A-Za-z0-9_]))"
_DOLLAR = re.compile(rf"(?P<double>\$\$)|(?P<ours>{_OURS})|(?P<other>\$\{{[^}}]*\}}?|\$\w*)")


def alias(release: str) -> str:
    """What the container of a release is called on the network of its host.

    Short enough for a name in DNS: the last word of the id, 12 hex digits of the content.
    """
    return f"r-{release.rpartition('-')[2]}"


def filled(text: str, release: str) -> str:
    """A compose file's text with its release's id and alias in it; what Docker Compose can run.

    `$$` stays doubled: Docker Compose makes one of it.
    """
    return _DOLLAR.sub(lambda m: _ours(m["ours"], release) if m["ours"] else m[0], text)


def interpolated(document: Any, release: str) -> Any:
    """A parsed compose file as Docker Compose understands it: `$$` is `$`, keys stay as they are.

    Any other `$` that `strangers` finds stays too.
    """
    if isinstance(document, str):
        return _DOLLAR.sub(lambda m: _value(m, release), document)
    if isinstance(document, dict):
        return {key: interpolated(value, release) for key, value in document.items()}
    if isinstance(document, list):
        return [interpolated(value, release) for value in document]
    return document


def strangers(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Where a value has a `$` that Docker Compose would replace with something we do not know."""
    if isinstance(document, str):
        for match in _DOLLAR.finditer(document):
            if match["other"]:
                yield path, match[0]
    elif isinstance(document, dict):
        for key, value in document.items():
            yield from strangers(value, (*path, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from strangers(value, (*path, index))


def _value(match: re.Match[str], release: str) -> str:
    if match["double"]:
        return "$"
    return _ours(match["ours"], release) if match["ours"] else match[0]


def _ours(written: str, release: str) -> str:
    return alias(release) if written.strip("${}") == VARIABLES[1] else release
