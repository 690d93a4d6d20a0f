"""The words, numbers and blocks of floats that a net's file is made of, read one after the other.

A file is ASCII words between whitespace, and blocks of floats whose length follows from the words
before them: `@BIN@` and little-endian float32, or, in text files, words again. Nothing that a file
says is believed: a block is given memory only when the file can still hold it, and what is unpacked
is bounded by the size of the packed file.
"""

from __future__ import annotations

import math
import re
import zlib
from typing import TYPE_CHECKING, BinaryIO, NoReturn, Self

import numpy as np

from orchestrator.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from orchestrator.pipeline.katago.net import Floats

MARK = b"@BIN@"
WHITESPACE = b" \t\n\v\f\r"
DAMAGED = "Fetch the file again: it is damaged, or no net of KataGo's."

# Weights hardly pack, so a real net unpacks to about its own size, a text net to three times that.
MOST_UNPACKED = 1 << 31
LEAST_ALLOWED = 16 << 20
LARGEST_RATIO = 16

CHUNK = 1 << 16
LARGE_CHUNK = 1 << 20
LONGEST_WORD = 1000
LONGEST_GAP = 100
LARGEST_COUNT = 1 << 20
INTEGER = re.compile(r"[+-]?[0-9]{1,10}")
NUMBER = re.compile(rb"[-+0-9.eE \t\n\v\f\r]+")


class Tokens:
    """What is left of a file; every method reads on, or raises ModelError saying where it stopped.

    `record` names the record that is being read, for errors. Used as a context manager: it closes
    the file.
    """

    def __init__(self, path: Path, *, packed: bool, binary: bool) -> None:
        self.path = path
        self.binary = binary
        self.record = "the header"
        self._chunk = b""
        self._at = 0
        self._before = 0
        try:
            if not path.is_file():
                raise ModelError(f"{path} is no file", hint="Give the path of a KataGo net.")
            self._file: BinaryIO = path.open("rb")
            size = path.stat().st_size
        except OSError as exc:
            raise ModelError(f"{path} cannot be read: {exc.strerror or exc}") from exc
        self._stream: BinaryIO | _Unpacked = _Unpacked(self._file) if packed else self._file
        self._limit = min(MOST_UNPACKED, LEAST_ALLOWED + LARGEST_RATIO * size) if packed else size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    @property
    def offset(self) -> int:
        """The number of bytes read so far, unpacked."""
        return self._before + self._at

    def fail(self, message: str, hint: str = DAMAGED) -> NoReturn:
        """Raise ModelError that says `message` of the current record."""
        where = f"{self.path.name}: {self.record}, byte {self.offset}"
        raise ModelError(f"{where}: {message}", hint=hint)

    def word(self, what: str) -> str:
        """The next word; `what` says what it is for errors."""
        self._skip_whitespace(what)
        parts, length = [], 0
        while self._more():
            found = _end_of(_WORD, self._chunk, self._at)
            parts.append(self._chunk[self._at : found])
            length += found - self._at
            self._at = found
            if length > LONGEST_WORD:
                self.fail(f"expected {what}, found a word longer than {LONGEST_WORD} bytes")
            if found < len(self._chunk):
                break
        word = b"".join(parts)
        try:
            text = word.decode("ascii")
        except UnicodeDecodeError:
            text = ""
        if not text.isprintable() or not text:
            self.fail(f"expected {what}, found bytes that are no ASCII text")
        return text

    def name(self, kind: str) -> str:
        """The name that a record of this kind starts with, which becomes the current record."""
        self.record = f"a {kind} after {self.record.split(' after ')[0]}"
        name = self.word(f"the name of a {kind}")
        self.record = f"{kind} {name!r}"
        return name

    def integer(self, what: str, least: int = 1, most: int = LARGEST_COUNT) -> int:
        """The next word as a whole number from `least` to `most`."""
        word = self.word(what)
        if not INTEGER.fullmatch(word) or not least <= int(word) <= most:
            self.fail(f"expected {what}, {least} to {most}, found {word[:40]!r}")
        return int(word)

    def same(self, what: str, expected: int) -> int:
        """The next word, which must be the number that what came before demands."""
        number = self.integer(what, least=0)
        if number != expected:
            self.fail(f"expected {what} to be {expected}, found {number}")
        return number

    def flag(self, what: str) -> bool:
        """The next word, 0 or 1."""
        return self.integer(what, least=0, most=1) == 1

    def positive(self, what: str) -> float:
        """The next word as a finite number above 0."""
        word = self.word(what)
        value = _as_float(word)
        if not 0 < value < math.inf:
            self.fail(f"expected {what}, a number above 0, found {word[:40]!r}")
        return value

    def floats(self, *shape: int) -> Floats:
        """The next block of floats, in this shape; all finite."""
        count = math.prod(shape)
        self._must_hold(count)
        values = self._binary_floats(count) if self.binary else self._text_floats(count)
        if not np.isfinite(values).all():
            self.fail("holds a weight that is NaN or infinite")
        return values.reshape(shape)

    def end(self) -> None:
        """Make sure that nothing but whitespace is left."""
        self.record = "the end"
        while self._more():
            self._at = _end_of(_GAP, self._chunk, self._at)
            if self._at < len(self._chunk):
                self.fail("the net ends here, but the file goes on")

    # Blocks of floats.

    def _must_hold(self, count: int) -> None:
        """Refuse a block that cannot be in the rest of the file; a text float takes 2 bytes."""
        smallest = count * (4 if self.binary else 2) - 1
        if self.offset + smallest > self._limit:
            left = max(0, self._limit - self.offset)
            self.fail(f"its sizes ask for {count} floats, more than {left} bytes can hold")

    def _binary_floats(self, count: int) -> Floats:
        self._skip_to_mark()
        values = np.empty(count, "<f4")
        view = values.data.cast("B")
        done = min(len(view), len(self._chunk) - self._at)
        view[:done] = self._chunk[self._at : self._at + done]
        self._at += done
        while done < len(view):
            got = self._read(min(LARGE_CHUNK, len(view) - done))
            if not got:
                self.fail(f"expected {count} floats, the file ends after {done // 4}")
            view[done : done + len(got)] = got
            self._before += len(got)
            done += len(got)
        return values.astype(np.float32, copy=False)

    def _skip_to_mark(self) -> None:
        """Read up to and with `@BIN@`, before which KataGo allows 100 bytes."""
        seen = b""
        while (at := seen.find(b"@")) < 0 and len(seen) <= LONGEST_GAP and self._more():
            seen += self._take(1)
        if at < 0 or seen.strip(WHITESPACE + b"@"):
            self.fail(
                f"expected a block of floats (@BIN@), found {seen[:20]!r}",
                hint=f"If its weights are text, name it .txt.gz or .txt. {DAMAGED}",
            )
        mark = b"@"
        while len(mark) < len(MARK) and self._more():
            mark += self._take(len(MARK) - len(mark))
        if mark != MARK:
            self.fail(f"expected {MARK!r} before a block of floats, found {mark!r}")

    def _text_floats(self, count: int) -> Floats:
        parts, done = [], 0
        for words in self._words(count):
            parts.append(self._parsed(words))
            done += len(words)
        if done < count:
            self.fail(f"expected {count} floats, the file ends after {done}")
        return np.concatenate(parts)

    def _parsed(self, words: list[bytes]) -> Floats:
        if not NUMBER.fullmatch(b" ".join(words)):
            self._not_numbers(words)
        try:
            values = np.array([float(word) for word in words])
        except ValueError:
            self._not_numbers(words)
        with np.errstate(over="ignore"):
            return values.astype(np.float32)

    def _not_numbers(self, words: list[bytes]) -> NoReturn:
        first = next(word for word in words if math.isnan(_as_float(word.decode("latin-1"))))
        self.fail(
            f"expected floats as text, found {first[:20]!r}",
            hint=f"If its weights are binary, name it .bin.gz or .bin. {DAMAGED}",
        )

    def _words(self, count: int) -> Iterator[list[bytes]]:
        """The next `count` words, or those that are left, in lists."""
        while count and self._more():
            end = len(self._chunk)
            words = self._chunk[self._at : end].split(maxsplit=count)
            if len(words) > count:
                rest = words.pop()
                self._at = end - len(rest)
            else:
                cut_short = bool(words) and self._chunk[end - 1 : end] not in WHITESPACE_BYTES
                self._at = end - (len(words.pop()) if cut_short else 0)
                if cut_short:
                    # A word may go on in the next chunk.
                    words.append(self.word("a float").encode())
            count -= len(words)
            if words:
                yield words

    # Bytes.

    def _skip_whitespace(self, what: str) -> None:
        while self._more():
            self._at = _end_of(_GAP, self._chunk, self._at)
            if self._at < len(self._chunk):
                return
        self.fail(f"expected {what}, the file ends")

    def _take(self, count: int) -> bytes:
        taken = self._chunk[self._at : self._at + count]
        self._at += len(taken)
        return taken

    def _more(self) -> bool:
        """Whether a byte is left; it is then in the chunk."""
        if self._at < len(self._chunk):
            return True
        self._before += len(self._chunk)
        self._chunk, self._at = b"", 0
        self._chunk = self._read(CHUNK)
        return bool(self._chunk)

    def _read(self, count: int) -> bytes:
        try:
            got = self._stream.read(count)
        except (EOFError, zlib.error) as exc:
            self.fail(f"cannot be unpacked: {exc}")
        except OSError as exc:
            self.fail(f"cannot be read: {exc.strerror or exc}")
        if self._before + len(self._chunk) + len(got) > self._limit:
            self.fail(f"unpacks to more than {self._limit} bytes, which no net of this size does")
        return got


class _Unpacked:
    """What a gzip file of one member holds; unlike `gzip`, nothing in it costs Python a loop."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    def read(self, count: int) -> bytes:
        """At most `count` bytes, none at the end; raises EOFError and zlib.error."""
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._file.read(CHUNK)
            unpacked = self._inflate.decompress(packed, count)
            if unpacked:
                return unpacked
            if not packed:
                raise EOFError("the file is cut short")
        if self._inflate.unused_data or self._file.read(1):
            raise zlib.error("the file goes on after what was packed")
        return b""


WHITESPACE_BYTES = tuple(WHITESPACE[i : i + 1] for i in range(len(WHITESPACE)))
_GAP = re.compile(rb"[ \t\n\v\f\r]*")
_WORD = re.compile(rb"[^ \t\n\v\f\r]*")


def _end_of(pattern: re.Pattern[bytes], data: bytes, start: int) -> int:
    found = pattern.match(data, start)
    return found.end() if found else start


def _as_float(word: str) -> float:
    """The number, or NaN."""
    if not NUMBER.fullmatch(word.encode("latin-1", "replace")):
        return math.nan
    try:
        return float(word)
    except ValueError:
        return math.nan
