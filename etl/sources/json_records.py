"""The JSON values of a file, one after the other, whatever its form: lines, an array, arrays in a row, one object.

The file is streamed: what is in memory at a time is one line, or about a megabyte and one value.
"""

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from typing import IO, Any, BinaryIO, NamedTuple, NoReturn, cast

from etl.sources.github_json import decode_json

_CHUNK = 1 << 20
_LONGEST = 1 << 26
"""A value longer than 64 MiB is not one of GitHub's: the file is not what it seems."""
_MOST_RAW = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_BOM = codecs.BOM_UTF8
_SPACE = " \t\n\r"
_DOUBTFUL_MARKS = ("\\u0000", "\\ud", "\\uD")
_NEAR_THE_END = 32
"""Where a text only broke off, within a literal or an escape, the scanner gives up at most this far before its end."""


class Record(NamedTuple):
    """One value of a file, or why there is none at that place.

    place: 'line 7' or 'object 7', counted from 1. doubtful: as `github_json.Decoded` has it. raw: the first mebibyte of
    what could not be decoded.
    """

    place: str
    value: Any
    doubtful: bool = False
    fault: str | None = None
    raw: bytes = b""


def read_records(file: BinaryIO, *, is_lines: bool) -> Iterator[Record]:
    """The values of `file`: the elements of arrays, the `items` of a search answer, else the objects themselves.

    A malformed line is given as a fault and the later ones go on. Where an array, a pretty-printed object or the gzip
    data is broken, what follows cannot be told apart: a last record says so.

    Args:
        file: plain or gzip, told by its first bytes; at its beginning.
        is_lines: the file's name says JSON lines. Otherwise a file that begins with a whole object in its first line
            is taken for lines too.

    Raises:
        OSError: the file cannot be read.
    """
    buffered = io.BufferedReader(cast("io.RawIOBase", file), _CHUNK)
    place = "the beginning"
    try:
        plain = (
            cast("BinaryIO", gzip.GzipFile(fileobj=buffered, mode="rb"))
            if buffered.peek(2)[:2] == _GZIP_MAGIC
            else buffered
        )
        head = _peek(plain)
        for record in _read_lines(plain) if is_lines or _begins_with_a_line(head) else _read_values(plain):
            place = record.place
            if record.fault is None:
                yield from _expanded(record)
            else:
                yield record
    except (EOFError, zlib.error, gzip.BadGzipFile):
        yield Record(place, None, fault="the gzip data breaks off after this: get the file again")
    finally:
        buffered.detach()


def _peek(file: IO[bytes]) -> bytes:
    """The first bytes, as many as there are at hand; the file stays where it is."""
    return cast("io.BufferedReader", file).peek(_CHUNK).removeprefix(_BOM).lstrip()


def _begins_with_a_line(head: bytes) -> bool:
    first, newline, _ = head.partition(b"\n")
    first = first.rstrip()
    if not first.startswith(b"{") or first == b"{":
        return False
    # A first line longer than what was peeked at is no pretty-printed object.
    return first.endswith(b"}") or not newline


def _read_lines(file: IO[bytes]) -> Iterator[Record]:
    number = 0
    while line := file.readline(_LONGEST):
        number += 1
        if number == 1:
            line = line.removeprefix(_BOM)
        if line.isspace():
            continue
        place = f"line {number}"
        if len(line) == _LONGEST and not line.endswith(b"\n"):
            raw = line[:_MOST_RAW]
            while line and not line.endswith(b"\n"):
                line = file.readline(_CHUNK)
            yield Record(place, None, fault="longer than 64 MiB", raw=raw)
            continue
        try:
            decoded = decode_json(line)
        except ValueError:
            yield Record(place, None, fault="not JSON", raw=line[:_MOST_RAW])
        else:
            yield Record(place, decoded.value, decoded.doubtful)


def _read_values(file: IO[bytes]) -> Iterator[Record]:
    """The objects of arrays, or in a row, decoded by the standard library, which can stop at the end of a value."""
    window = _Window(file)
    number = depth = 0
    while (char := window.next_char()) is not None:
        if char in "[],":
            depth += {"[": 1, "]": -1, ",": 0}[char]
            window.position += 1
            continue
        number += 1
        place = f"object {number}"
        try:
            value, doubtful = window.take_value()
        except (ValueError, RecursionError):
            yield Record(place, None, fault="not JSON; what follows it in the file cannot be read", raw=window.rest())
            return
        yield Record(place, value, doubtful)
    if depth != 0 or window.broken:
        yield Record(f"after object {number}", None, fault="the file breaks off: get it again")


class _Window:
    """A piece of the text of a file that moves over it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogatepass")
        self._json = json.JSONDecoder(parse_constant=_refuse_constant)
        self._text = ""
        self._ended = False
        self._has_raw_surrogates = False
        self.position = 0
        self.broken = False

    def next_char(self) -> str | None:
        """The character after white space, where the position then is; None at the end."""
        while True:
            while self.position < len(self._text):
                char = self._text[self.position]
                if char not in _SPACE:
                    return char
                self.position += 1
            if self._ended:
                return None
            try:
                self._read_on()
            except UnicodeDecodeError:
                self.broken, self._ended = True, True

    def take_value(self) -> tuple[Any, bool]:
        """The value at the position, and whether its texts may hold what PostgreSQL refuses.

        Raises:
            ValueError: there is none.
        """
        while True:
            try:
                value, end = self._json.raw_decode(self._text, self.position)
            except json.JSONDecodeError as error:
                is_cut = error.msg.startswith("Unterminated") or error.pos > len(self._text) - _NEAR_THE_END
                if self._ended or not is_cut or len(self._text) > _LONGEST:
                    raise
                self._read_on()
            else:
                start, self.position = self.position, end
                marked = any(self._text.find(mark, start, end) >= 0 for mark in _DOUBTFUL_MARKS)
                return value, marked or self._has_raw_surrogates

    def rest(self) -> bytes:
        """What stands from the position on, as far as it is at hand."""
        return self._text[self.position : self.position + _MOST_RAW].encode(errors="surrogatepass")[:_MOST_RAW]

    def _read_on(self) -> None:
        """Drops what was taken and reads as much again as is left, so that a long value is not decoded too often."""
        rest = self._text[self.position :]
        data = cast("io.BufferedReader", self._file).read1(max(_CHUNK, len(rest)))
        self._ended = not data
        # A raw surrogate is three bytes that begin with this one; so are Hangul letters, which then are looked at.
        self._has_raw_surrogates = self._has_raw_surrogates or b"\xed" in data
        self._text = rest + self._decoder.decode(data, final=not data)
        self.position = 0


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _expanded(record: Record) -> Iterator[Record]:
    """The elements of a list, or of the `items` of a search answer; else the value itself."""
    value = record.value
    if isinstance(value, dict) and "total_count" in value:
        value = value.get("items")
    if isinstance(value, list):
        for inner in value:
            yield record._replace(value=inner)
    else:
        yield record
