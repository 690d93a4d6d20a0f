"""Host names as inventories write them: ranges such as `pi[01:12]` and a port after a colon.

The grammar is the one of Ansible's inventory guide
(https://docs.ansible.com/ansible/latest/inventory_guide/intro_inventory.html).
"""

from __future__ import annotations

import ipaddress
import re
import string
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST = 100_000  # hosts of one pattern; more than that is a slip of the finger

_RANGE = r"\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]"
_LABEL = rf"(?:\w|{_RANGE})(?:[\w-]|{_RANGE})*(?<![_-])"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
_HEX_RANGE = re.compile(r"\[[0-9a-f]+:[0-9a-f]+(?::[0-9]+)?\]", re.IGNORECASE)
_BRACKETED_PORT = re.compile(r"\[(.+)\]:([0-9]+)")
_PORT = re.compile(r"((?:[^:\[\]]|\[[^\]]*\])*):([0-9]+)")


def split_port(text: str) -> tuple[str, int | None] | None:
    """The host and its port (None where there is none), or None for what is no host name.

    IPv6 addresses carry a port as `[2001:db8::1]:22`; ranges may stand in any part.
    """
    port = None
    for pattern in (_BRACKETED_PORT, _PORT):
        if found := pattern.fullmatch(text):
            text, port = found[1], int(found[2])
    if _HOSTNAME.fullmatch(text) or _is_ipv6(text):
        return text, port
    return None


def expand(pattern: str) -> tuple[list[str], int | None]:
    """The hosts a key of a `hosts:` mapping stands for, and the port written after it.

    Raises ValueError, saying what is wrong, for a range that cannot be read, and for more than
    MOST hosts.
    """
    name, port = split_port(pattern) or (pattern, None)
    hosts = list(islice(_expand_ranges(name), MOST + 1))
    if len(hosts) > MOST:
        raise ValueError(f"'{name}' stands for more than {MOST:,} hosts")
    return hosts, port


def _expand_ranges(name: str) -> Iterator[str]:
    if "[" not in name:
        yield name
        return
    head, _, rest = name.partition("[")
    body, closed, tail = rest.partition("]")
    if not closed:
        raise ValueError(f"'{name}' opens a range with '[' and does not close it")
    for part in _members(body):
        yield from _expand_ranges(f"{head}{part}{tail}")


def _members(body: str) -> Iterable[str]:
    """What `01:12`, `a:f` or `0:10:2` between brackets stands for."""
    match body.split(":"):
        case [first, last]:
            step = 1
        case [first, last, text]:
            step = _number(text, body)
        case _:
            raise ValueError(f"a range is [first:last] or [first:last:step], not [{body}]")
    first = first or "0"
    if not last:
        raise ValueError(f"the range [{body}] has no last value")
    padded = len(first) > 1 and first.startswith("0")
    if padded and len(first) != len(last):
        raise ValueError(f"first and last of the padded range [{body}] differ in length")
    if step < 1:
        raise ValueError(f"the step of the range [{body}] is less than 1")
    letters = string.ascii_letters
    if len(first) == 1 and len(last) == 1 and first in letters and last in letters:
        if letters.index(first) > letters.index(last):
            raise ValueError(f"the range [{body}] runs backwards")
        return list(letters[letters.index(first) : letters.index(last) + 1 : step])
    numbers = range(_number(first, body), _number(last, body) + 1, step)
    return (str(number).zfill(len(first) if padded else 0) for number in numbers)


def _number(text: str, body: str) -> int:
    if not text.lstrip("-").isdigit():
        raise ValueError(f"'{text}' in the range [{body}] is neither a number nor one letter")
    return int(text)


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(_HEX_RANGE.sub("0", text))
    except ValueError:
        return False
    return True
