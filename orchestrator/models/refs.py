"""`name@version`, and which of two versions is the newer."""

from __future__ import annotations

import re

from orchestrator.errors import ModelError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RESERVED = frozenset({"store"})
_PRE_RELEASES = frozenset({"dev", "a", "alpha", "b", "beta", "pre", "preview", "c", "rc"})

VersionKey = tuple[tuple[tuple[int, int, str], ...], str]


def parse_ref(ref: str) -> tuple[str, str]:
    """Model and version of `name@version`; raises ModelError."""
    model, at, version = ref.partition("@")
    if not at or not version:
        raise ModelError(
            f"{ref!r} names no version",
            hint=f"Write NAME@VERSION, such as {model or 'my-net'}@v1.",
        )
    for word in (model, version):
        if not NAME.fullmatch(word):
            raise ModelError(
                f"{ref!r}: {word!r} is no name for a model or version",
                hint="Up to 64 letters, digits, '.', '_' and '-', the first a letter or digit.",
            )
    if model in RESERVED:
        raise ModelError(f"{ref!r}: a model cannot be named {model!r}", hint="Choose another name.")
    return model, version


def version_key(version: str) -> VersionKey:
    """What to sort versions by, oldest first.

    Numbers count as numbers (v9 before v10), a leading v does not count, and a pre-release comes
    before its release (1.0-rc1 before 1.0), as in Semantic Versioning 2.0.0, section 11.
    """
    words = re.findall(r"\d+|[a-z]+", version.lower())
    if len(words) > 1 and words[0] == "v":
        words = words[1:]
    ranked = []
    for position, word in enumerate(words):
        if word.isdigit():
            ranked.append((3, int(word), ""))
        elif position and word in _PRE_RELEASES:
            ranked.append((0, 0, word))
        else:
            ranked.append((2, 0, word))
    return (*ranked, (1, 0, "")), version
