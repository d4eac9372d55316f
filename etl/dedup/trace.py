"""Where each character of a normalized text came from: the same steps as `normalize`, written down as they happen.

Slower than `normalize`, for people who try a rule. Nothing is guessed by comparing the two texts afterwards: a step's
match is followed to its replacement, so what is shown as masked is what a row masked.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from etl.dedup.normalize import (
    BLANKS,
    BROKEN,
    CAP,
    CONTROLS,
    EMPTY,
    ESCAPES,
    INVISIBLE,
    LINE_ENDS,
    PASSES,
    QUOTES,
    RULERS,
    SPACES,
    table_steps,
)
from etl.dedup.protected import PROTECTED, restore

_PLAIN_DIGITS: Final = str.maketrans(PROTECTED, "0123456789")
Replacement = str | Callable[[re.Match[str]], str]


@dataclass(frozen=True, slots=True)
class Change:
    """A part of a text that normalizing replaced: text[start:end] became `now`, which is '' where it was left out."""

    start: int
    end: int
    now: str


class _Traced:
    """A text on its way, and for each of its characters the part of the first text that it stands for."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = list(range(len(text)))
        self.ends = list(range(1, len(text) + 1))

    def replace(self, pattern: re.Pattern[str], replacement: Replacement) -> None:
        """`pattern.sub(replacement, text)`, followed. What a match and its replacement share at both ends is kept."""
        parts: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        position = 0
        for match in pattern.finditer(self.text):
            now = replacement(match) if callable(replacement) else _expanded(match, replacement)
            if now == match[0]:
                continue
            before, after = _shared(match[0].translate(_PLAIN_DIGITS), now.translate(_PLAIN_DIGITS))
            first, last = match.start() + before, match.end() - after
            start, end = self._origin(first, last)
            between = len(now) - before - after
            parts += [self.text[position : match.start()], now]
            starts += [*self.starts[position:first], *[start] * between, *self.starts[last : match.end()]]
            ends += [*self.ends[position:first], *[end] * between, *self.ends[last : match.end()]]
            position = match.end()
        if parts:
            self.text = "".join(parts) + self.text[position:]
            self.starts = starts + self.starts[position:]
            self.ends = ends + self.ends[position:]

    def _origin(self, first: int, last: int) -> tuple[int, int]:
        """The part of the first text that the characters from `first` up to `last` stand for; empty where none do."""
        if first < last:
            return min(self.starts[first:last]), max(self.ends[first:last])
        place = self.ends[first - 1] if first else 0
        return place, place

    def cut(self) -> None:
        """What `normalize` does with a text above its cap."""
        if len(self.text) > CAP:
            head, tail = CAP // 2, len(self.text) - CAP // 2 + 1
            start, end = self._origin(head, tail)
            self.text = self.text[:head] + "\n" + self.text[tail:]
            self.starts = [*self.starts[:head], start, *self.starts[tail:]]
            self.ends = [*self.ends[:head], end, *self.ends[tail:]]


def _expanded(match: re.Match[str], template: str) -> str:
    return match.expand(template) if "\\" in template else template


def _shared(one: str, other: str) -> tuple[int, int]:
    """How many characters two texts share at their beginnings, and at their ends behind those."""
    most = min(len(one), len(other))
    before = next((index for index in range(most) if one[index] != other[index]), most)
    most -= before
    after = next((index for index in range(most) if one[-1 - index] != other[-1 - index]), most)
    return before, after


def _compose(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFC", match[0])


_CHARACTERS: Final[Sequence[tuple[re.Pattern[str], Replacement]]] = (
    (re.compile("\r\n?"), "\n"),
    (BROKEN, "\ufffd"),
    (ESCAPES, ""),
    (CONTROLS, ""),
    (LINE_ENDS, "\n"),
    (SPACES, " "),
    (INVISIBLE, ""),
    *((re.compile(re.escape(fancy)), plain) for fancy, plain in QUOTES),
)
_TIDY: Final[Sequence[tuple[re.Pattern[str], Replacement]]] = (
    (BLANKS, " "),
    (re.compile(" \n"), "\n"),
    (EMPTY, "\n"),
    (re.compile(r"\A[ \n]+|(?<![ \n])[ \n]+\Z"), ""),
    (RULERS, r"\1\1\1"),
    (re.compile("[\0-\x7f]?[^\0-\x7f]+"), _compose),
)
"""What `clear_characters` and the tidying of `normalize` do, as replacements."""


def _settle(traced: _Traced) -> None:
    """Every row of the table over every line: a row or line that `normalize` passes over would not have changed."""
    traced.text = "\n" + traced.text
    traced.starts.insert(0, 0)
    traced.ends.insert(0, 0)
    for table in ("LINE_STARTS", "SHAPES", "KEEPERS", "MASKS"):
        for step in table_steps(table):
            if step.need in traced.text and (step.hint is None or step.hint(traced.text) is not None):
                traced.replace(step.pattern, step.row.replacement)
    traced.text = restore(traced.text)[1:]
    del traced.starts[0], traced.ends[0]


def changes(text: str) -> list[Change]:
    """What normalizing replaced, from left to right: put in place of its part, each gives the normalized text.

    Changes of white space and of characters that nobody sees are among them. Linear in the text, and bounded: what is
    beyond the cap of `normalize` is one change.
    """
    traced = _Traced(text)
    traced.cut()
    for pattern, replacement in (*_CHARACTERS, *_TIDY):
        traced.replace(pattern, replacement)
    for _ in range(PASSES):
        before = traced.text
        _settle(traced)
        for pattern, replacement in _TIDY:
            traced.replace(pattern, replacement)
        traced.cut()
        if traced.text == before:
            break
    return _collect(text, traced)


def _collect(text: str, traced: _Traced) -> list[Change]:
    """The changes between a text and what became of it: the stretches between characters that stand for themselves."""
    found: list[Change] = []
    source, now = 0, 0
    for place, (start, end) in enumerate(zip(traced.starts, traced.ends, strict=True)):
        if end - start == 1 and start >= source and text[start] == traced.text[place]:
            if source < start or now < place:
                found.append(Change(source, start, traced.text[now:place]))
            source, now = end, place + 1
    if source < len(text) or now < len(traced.text):
        found.append(Change(source, len(text), traced.text[now:]))
    return found
