"""What a program said and how it ended, in one line for people."""

from __future__ import annotations

import signal

REASON_CHARACTERS = 300
_HINTS = {
    signal.SIGKILL: " (out of memory?)",
    signal.SIGILL: " (built for another CPU?)",
}


def one_line(text: str) -> str:
    """What a program said, as one line that can be stored and shown anywhere."""
    words = " ".join(text.split())[:REASON_CHARACTERS]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)


def killed_by(exit_status: int) -> str:
    """`killed by SIGKILL (out of memory?)`; empty when no signal ended the program.

    A status tells a signal as Python does (-9) or as a shell does (137).
    """
    number = -exit_status if exit_status < 0 else exit_status - 128
    if number not in set(signal.Signals):
        return ""
    name = signal.Signals(number)
    return f"killed by {name.name}{_HINTS.get(name, '')}"


def exit_line(exit_status: int, text: str) -> str:
    """`killed by ...`, or `exit 3: ` and the last line of what the program said."""
    said = [line for line in text.splitlines() if line.strip()][-1:]
    return killed_by(exit_status) or f"exit {exit_status}" + "".join(
        f": {one_line(line)}" for line in said
    )
