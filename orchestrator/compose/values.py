"""Single values of a compose file as the Docker Engine API wants them.

Each raises BadValueError for what Docker Compose would refuse, or what its versions understand
differently.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_PORT = 65535

_NUMBER = r"[0-9]{1,18}(?:\.[0-9]{1,9})?"
_DURATION = re.compile(
    "".join(f"(?:({_NUMBER}){unit})?" for unit in ("h", "m", "s", "ms", "(?:us|µs)", "ns"))
)
_NANOSECONDS = (3600 * 10**9, 60 * 10**9, 10**9, 10**6, 10**3, 1)
_SIZE = re.compile(rf"({_NUMBER})(?:([kmgt]?)b?)", re.IGNORECASE)
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_INT64 = 2**63
_PORT = re.compile(
    r"(?:(?:(?P<ip>\[[0-9A-Fa-f:.]+\]|[0-9.]+):)?(?P<published>[0-9]+(?:-[0-9]+)?)?:)?"
    r"(?P<target>[0-9]+(?:-[0-9]+)?)(?:/(?P<protocol>tcp|udp|sctp))?"
)


class BadValueError(Exception):
    """What is wrong with a value; `path` leads to it inside the value that was handed over."""

    def __init__(self, message: str, hint: str = "", path: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.path = path


def nanoseconds(text: str) -> int:
    """A duration such as 500ms, 10s or 1m30s, in nanoseconds."""
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise BadValueError(
            f"{text!r} is no duration", "Write it with units, such as 500ms, 10s or 1m30s."
        )
    parts = zip(match.groups(), _NANOSECONDS, strict=True)
    whole = int(sum((Fraction(number) * unit for number, unit in parts if number), Fraction(0)))
    return _fits(whole, text)


def seconds(text: str) -> int:
    """A duration in whole seconds, as Docker counts the time that a container gets to stop."""
    whole, rest = divmod(nanoseconds(text), 10**9)
    if rest:
        raise BadValueError(
            f"{text!r} is not a number of whole seconds", "Docker counts whole seconds."
        )
    return whole


def size(value: str | int) -> int:
    """A number of bytes: 1048576, 1024k, 512m, 4g, 1gb; the units are powers of 1024."""
    match = _SIZE.fullmatch(str(value))
    if match is None:
        raise BadValueError(f"{value!r} is no size", "Write bytes, or such as 512m or 4g.")
    return _fits(int(Fraction(match[1]) * _UNITS[match[2].lower()]), value)


def nano_cpus(value: str | float) -> int:
    """A number of CPUs, in billionths."""
    if not re.fullmatch(_NUMBER, str(value)) or not float(value):
        raise BadValueError(f"{value!r} is no number of CPUs", "Write such as 2.0 or 0.5.")
    return _fits(round(Fraction(str(value)) * 10**9), value)


def words(value: str | list[str]) -> list[str]:
    """A command: a list as it is, text as a shell splits it."""
    if isinstance(value, list):
        return list(value)
    try:
        return shlex.split(value)
    except ValueError as exc:
        raise BadValueError(
            f"not readable as a command: {exc}", "Close the quotation mark."
        ) from exc


def listed(value: str | list[str]) -> list[str]:
    """One text or several, as a list."""
    return [value] if isinstance(value, str) else list(value)


def pairs(value: Mapping[str, Any] | list[str], *, needed: bool, by: str = "=") -> dict[str, str]:
    """Names with their texts, from a mapping or a list of `NAME=TEXT`.

    With `needed` an entry without a text is wrong; else it has the empty one.
    """
    found: dict[str, str] = {}
    entries = value.items() if not isinstance(value, list) else enumerate(value)
    for key, entry in entries:
        if isinstance(entry, float):
            raise BadValueError(
                "expected text or a whole number", f'Write it in quotes: "{entry}"', (key,)
            )
        name, separator, text = entry.partition(by) if isinstance(key, int) else (key, by, entry)
        if not name:
            raise BadValueError("has no name", f"Write NAME{by}VALUE.", (key,))
        if needed and not separator:
            raise BadValueError(f"{name!r} has no value", f"Write {name}{by}VALUE.", (key,))
        if name in found:
            raise BadValueError(f"{name!r} stands twice", "Keep one of them.", (key,))
        found[name] = str(text)
    return found


def exposed(value: str | int) -> list[str]:
    """The ports of an entry of `expose`, each as `8080/tcp`."""
    match = re.fullmatch(r"([0-9]+(?:-[0-9]+)?)(?:/(tcp|udp|sctp))?", str(value))
    if match is None:
        raise BadValueError(f"{value!r} is no port", "Write such as 8080 or 8080/udp.")
    return [f"{port}/{match[2] or 'tcp'}" for port in _ports(match[1])]


def published(entry: str | Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """An entry of `ports`: container ports such as `8080/tcp`, each with its place on the host.

    A place is `{"HostIp": ..., "HostPort": ...}`; an empty port is any that is free.
    """
    if isinstance(entry, str):
        match = _PORT.fullmatch(entry)
        if match is None:
            hint = "Write such as 8080:8080 or 127.0.0.1:8080:80/tcp."
            raise BadValueError(f"{entry!r} is no port mapping", hint)
        target, host_port, ip = match["target"], match["published"] or "", match["ip"] or ""
        protocol = match["protocol"] or "tcp"
    else:
        target, host_port = str(entry["target"]), str(entry.get("published", ""))
        ip, protocol = entry.get("host_ip", ""), entry.get("protocol", "tcp")
    address = _address(ip)
    inside = _ports(target)
    outside = _ports(host_port) if host_port else []
    if not outside:
        places = [""] * len(inside)
    elif len(inside) == len(outside):
        places = [str(port) for port in outside]
    elif len(inside) == 1:
        places = [host_port]
    else:
        raise BadValueError(f"{host_port} and {target} are not equally many ports")
    return [
        (f"{port}/{protocol}", {"HostIp": address, "HostPort": place})
        for port, place in zip(inside, places, strict=True)
    ]


def _ports(text: str) -> list[int]:
    if not re.fullmatch(r"[0-9]+(-[0-9]+)?", text):
        raise BadValueError(f"{text!r} is no port", "Write such as 8080.")
    first, _, last = text.partition("-")
    start, end = int(first), int(last or first)
    if not 1 <= start <= end <= MOST_PORT:
        raise BadValueError(f"{text} is no port", f"Ports are 1 to {MOST_PORT}.")
    return list(range(start, end + 1))


def _address(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ipaddress.ip_address(bare)) if bare else ""
    except ValueError:
        raise BadValueError(
            f"{text!r} is no IP address", "Write such as 127.0.0.1 or [::1]."
        ) from None


def _fits(number: int, written: object) -> int:
    if number >= _INT64:
        raise BadValueError(f"{written!r} is too large")
    return number
