"""Text to normalized text: characters first, then the rule table, again and again until nothing changes.

`normalize` is a pure function of the text and `RULES_VERSION`: no clock, locale, seed, file or setting moves it, and
only the standard library is used, since another regular-expression engine would be another function.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Final

from etl.dedup import rules
from etl.dedup.protected import restore

CAP: Final = 65_536
"""Characters of a text that count: longer ones are cut to the first and last half of this, at most."""

PASSES: Final = 8

BROKEN = re.compile("[\x00\ud800-\udfff]")
ESCAPES = re.compile(
    "\x1b\\[[0-?]{0,64}[ -/]{0,8}[@-~]"  # colours and cursor moves
    "|\x1b[\\]PX^_][^\x07\x1b\n]{0,2048}(?:\x07|\x1b\\\\)?"  # titles and hyperlinks, also unfinished ones
    "|\x1b[ -/]{0,4}[0-~]?"
    "|\x9b[0-?]{0,64}[ -/]{0,8}[@-~]"
)
INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\x80-\x9f]")
SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
LINE_ENDS = re.compile("[\u2028\u2029]")
QUOTES = (("\u2018", "'"), ("\u2019", "'"), ("\u201c", '"'), ("\u201d", '"'), ("\u2010", "-"), ("\u2011", "-"))
CONTROLS = re.compile("[\x01-\x08\x0e-\x1f\x7f]")
BLANKS = re.compile(r"[ \t\x0b\x0c]+", re.ASCII)
EMPTY = re.compile(r"\n[ \n]+", re.ASCII)
_TOUCHED = re.compile(r"[0-9/\\@]", re.ASCII).search
_TOUCHED_WORDS: Final = ("##[", "::", "{'", "map[", "b'", "eyJ", "-<n>", "+<n>", ":<n>:<n>", "<dur>")
_LONG_RUN: Final = 256
_TOUCHED_RUN = re.compile(r"[A-Za-z+=_-]{257}", re.ASCII).search
"""Only lines with one of these words, or with what `_TOUCHED` and `_TOUCHED_RUN` look for, are given to the table."""

_VALUE = re.compile(r"[\"'=/<0-9]", re.ASCII).search
_VALUE_WORDS: Final = ("for ", "user ", " ()", "rue", "RUE", "alse", "ALSE", "null", "NULL", "nil", "None")
"""A line without these, without a second dot, and without what `_VALUE` looks for, is left as it is by `SKELETON`."""

RULERS = re.compile(r"([=\-_*~#.+!<>^])\1{3,}")


def clear_characters(text: str) -> str:
    """The text without what no reader sees: escape codes, control and zero-width characters, odd spaces and line ends.

    NUL and lone surrogates, which PostgreSQL refuses, become U+FFFD, as they do in the stored item: the id is the same
    before and after storing.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\x00" in text or not text.isascii():
        text = BROKEN.sub("\ufffd", text)
    if "\x1b" in text or "\x9b" in text:
        text = ESCAPES.sub("", text)
    if not text.isprintable():
        text = CONTROLS.sub("", text)
    if text.isascii():
        return text
    text = INVISIBLE.sub("", SPACES.sub(" ", LINE_ENDS.sub("\n", text)))
    for fancy, plain in QUOTES:
        text = text.replace(fancy, plain)
    return text


def _tidy(text: str) -> str:
    """One space between words, no empty lines, nothing at the ends of lines, rulers of three characters; in NFC.

    NFC, not NFKC: the latter rewrites meaning and can forge delimiters.
    """
    if "  " in text or "\t" in text or "\x0b" in text or "\x0c" in text:
        text = BLANKS.sub(" ", text)
    text = text.replace(" \n", "\n")
    if "\n\n" in text or "\n " in text:
        text = EMPTY.sub("\n", text)
    text = RULERS.sub(r"\1\1\1", text.strip(" \n"))
    return text if text.isascii() else unicodedata.normalize("NFC", text)


class Step:
    """One row of a table, ready to be applied. Its patterns are compiled when a text first needs them.

    need: what must be in a text. hint: says None of a text in which the row finds nothing; None where there is no hint.
    substitute: puts the row's replacement in place of its pattern. The latter two replace themselves at their first
    call by what they compiled: half of all time goes into asking rows, so nothing may stand between.
    """

    __slots__ = ("hint", "need", "row", "substitute")

    def __init__(self, row: rules.Rule) -> None:
        self.row = row
        self.need = row.need
        self.hint: Callable[[str], object] | None = self._first_hint if row.hint else None
        self.substitute: Callable[[str], str] = self._first_substitute

    @property
    def pattern(self) -> re.Pattern[str]:
        """What the row looks for."""
        return re.compile(self.row.pattern, re.ASCII)

    def _first_hint(self, text: str) -> object:
        self.hint = re.compile(self.row.hint, re.ASCII).search
        return self.hint(text)

    def _first_substitute(self, text: str) -> str:
        self.substitute = partial(self.pattern.sub, self.row.replacement)
        return self.substitute(text)


@cache
def table_steps(table: str) -> Sequence[Step]:
    """The rows of one table as steps."""
    return tuple(map(Step, getattr(rules, table)))


@cache
def _strict_steps() -> Sequence[Step]:
    """The steps of all tables that make the normalized text, in order."""
    return tuple(step for table in ("LINE_STARTS", "SHAPES", "KEEPERS", "MASKS") for step in table_steps(table))


def _apply(steps: Sequence[Step], text: str) -> str:
    """The text after every step, in order."""
    for step in steps:
        if step.need in text:
            hint = step.hint
            if hint is None or hint(text) is not None:
                text = step.substitute(text)
    return text


def _cut(text: str) -> str:
    """The text, or its first and last part where it is longer than the cap. The cut's length must not be part of it."""
    return text if len(text) <= CAP else text[: CAP // 2] + "\n" + text[-(CAP // 2 - 1) :]


def _rewrite(lines: list[str]) -> list[str]:
    """Some lines after the whole table, one for one: no rule adds or removes a line feed."""
    text = "\n" + "\n".join(lines)
    return restore(_apply(_strict_steps(), text))[1:].split("\n")


def forget() -> None:
    """Forget compiled rows and settled lines: for tests that change the table."""
    table_steps.cache_clear()
    _strict_steps.cache_clear()
    SETTLED.clear()


SETTLED: Final[set[str]] = set()
"""Lines that the table was found to leave as they are. A memory that saves time and changes no result: what becomes of
a line depends on nothing else. Logs come back to the same normalized lines again and again."""
_MOST_SETTLED: Final = 8192
_LONGEST_SETTLED: Final = 512


def _settle(text: str) -> str:
    """A tidy text after the table. Only lines that a rule may touch are looked at; most lines of prose are not."""
    lines = text.split("\n")
    words = [word for word in _TOUCHED_WORDS if word in text]
    touched = [
        index
        for index, line in enumerate(lines)
        if line not in SETTLED
        and (
            _TOUCHED(line)
            or (words and any(word in line for word in words))
            or (len(line) > _LONG_RUN and _TOUCHED_RUN(line))
        )
    ]
    if not touched:
        return text
    if len(SETTLED) > _MOST_SETTLED:
        SETTLED.clear()
    for index, line in zip(touched, _rewrite([lines[index] for index in touched]), strict=True):
        if line == lines[index] and len(line) <= _LONGEST_SETTLED:
            SETTLED.add(line)
        lines[index] = line
    return "\n".join(lines)


def normalize(text: str) -> str:
    """The text with everything replaced that varies between two reports of the same problem.

    Given any string, also a broken one. Normalizing the result again gives it back. Equal results: the same problem.
    """
    text = _tidy(clear_characters(_cut(text)))
    for _ in range(PASSES):
        after = _settle(text)
        if after == text and text.isascii() and len(text) < CAP:
            break  # it is tidy: only NFC, or a cut, which leaves as many characters as the cap, could have undone that
        after = _cut(_tidy(after))
        if after == text:
            break
        text = after
    return text


def _may_vary(text: str) -> list[int]:
    """The places of those lines of a normalized text in which a row of `SKELETON` may find something."""
    words = [word for word in _VALUE_WORDS if word in text]
    return [
        index
        for index, line in enumerate(text.split("\n"))
        if _VALUE(line) or line.count(".") > 1 or (words and any(word in line for word in words))
    ]


def skeleton(normalized: str) -> str:
    """The family's text of a normalized text: what is left when every value, name in quotes, path and list is a star.

    Equal skeletons make candidates, not the same problem. Only defined over what `normalize` gave.
    """
    places = _may_vary(normalized)
    if not places:
        return normalized
    lines = normalized.split("\n")
    rewritten = _apply(table_steps("SKELETON"), "\n" + "\n".join([lines[place] for place in places]))[1:].replace(
        rules.STAR, "*"
    )
    for place, line in zip(places, rewritten.split("\n"), strict=True):
        lines[place] = line
    return "\n".join(lines)
