"""A long text within a length, so that the lines which say what went wrong survive. Pure; one pass over the text.

A text that is too long keeps its beginning and its end whole, for there stand the title, the description and the last
word. Of the middle it keeps lines by what they are, in this order: lines that name a failure (an exception, a
`Caused by`, a panic, a compiler's or a tool's error, an assertion, a summary of tests); what belongs to those (the
frames nearest to the failure, which are the last of a Python traceback and the first of most others, the marked
source line); then lines that only look like it. Of failures that repeat but for their figures the first stands for
all. Each gap is marked with its length. What is shortened is what is sent, never what an id is made of.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

TRUNCATION_VERSION = 2
"""Part of every stored answer's prompt version. Raise it with any change of what `shorten` keeps."""
MAX_ITEM_CHARS = 16_000
"""How much of a text is sent: some 6,400 tokens, enough for all but a few in a hundred issues."""

_MARKER = "\n[... {} characters left out ...]\n"
_MARKER_ROOM = len(_MARKER.format(10**9))
_LEAST = 500
_PIECE = 400
"""Longer lines are looked at, and kept, in pieces of so many characters."""
_AROUND = 8
"""How many lines before and after one that names a failure may belong to it."""
_KEY_CHARS = 160

_FAILURE = re.compile(
    r"\s{0,12}(?:[>|+E*#]\s{1,8}){0,3}(?:"
    r"(?:[\w.$/]{0,160}[.$/])?[A-Z]\w{0,80}(?:Error|Exception|Exit|Interrupt|Failure|Fault|Warning)(?::| \(|\[|$)"
    r"|(?:Uncaught|Unhandled|Exception in thread|Exception:|Caused by:?|Suppressed:|panic:|fatal(?: error)?:)"
    r"|The above exception was|During handling of the above|Fatal Python error|Segmentation fault|Aborted"
    r"|thread '[^'\n]{0,80}'(?: \(\d{1,12}\))? panicked|ERROR\b|error(?:\[\w{1,12}\])?:|FAIL(?:ED|URE)?\b|npm ERR!"
    r"|(?:[\w./\\:+-]{1,200}?[:(]\d{1,7}[:,)\d ]{0,16}:? ?)(?:fatal )?(?:error|Error|panic)\b"
    r"|assert(?:ion)? |Assertion|={2,60} ?(?:FAILURES|ERRORS|short test summary|.{0,80}\b(?:failed|error)\b)"
    r"|--- FAIL|\u25cf |\u2717|\u2715|make(?:\[\d{1,3}\])?: \*\*\*|ninja: |collect2: |ld: |\S{0,80}ld: "
    r"|undefined reference|==\d{1,10}==ERROR|SUMMARY: |WARNING: DATA RACE|Process completed with exit code"
    r"|##\[error\]|::error"
    r")"
    r"|.{0,200}?(?:\b(?:error|fatal error)(?: [A-Z]{1,8}\d{2,6}|\[\w{1,12}\])?: |Assertion .{1,200} failed"
    r"|\bexit(?:ed)?(?: with)?(?: non-zero)?(?: exit)? (?:code|status):? ?\d|\bcore dumped\b|undefined reference to )"
)
_FRAME = re.compile(
    r"\s{1,40}\S|File \"|goroutine \d|stack backtrace:|Traceback \(most|Stack trace|\S{1,200}\(.{0,200}\)$"
    r"|\d{1,4} ?\||#\d|Expected|Received|created by |\[signal |$"
)
_HINT = re.compile(
    r"Traceback \(most recent call last\)|(?:Error|Exception|Warning)\s?[:(]"
    r"|\b(?:error|fatal|panic|segmentation fault|assertion failed|caused by|core dumped|FAILED)\b"
    r"|^\s{0,8}File \"[^\"]{1,200}\", line \d|^\s{0,8}at [\w$.<>]{1,200}\(",
    re.IGNORECASE,
)
_FIGURES = re.compile(r"\d+|0x[0-9a-f]+|\s+")


@dataclass(frozen=True, slots=True)
class _Line:
    """A line, or a piece of a long one, as a part of the text, with the line feed behind it."""

    start: int
    end: int
    names_failure: bool
    is_frame: bool


def shorten(text: str, max_chars: int = MAX_ITEM_CHARS) -> tuple[str, int]:
    """At most `max_chars` characters of `text`, and how many characters of it were left out.

    Kept are the beginning (two fifths), the end (one fifth) and, from the middle, the lines that matter; room that the
    middle does not need goes to the beginning. `max_chars` below 500 keeps the beginning only.
    """
    if len(text) <= max_chars:
        return text, 0
    if max_chars < _LEAST:
        return text[:max_chars], len(text) - max_chars
    room = max_chars - 2 * _MARKER_ROOM
    tail = len(text) - room // 5
    head = _line_end(text, room * 2 // 5)
    lines, hints = _lines(text, head, tail)
    spans, left = _fitting(lines, hints, text, room - head - (len(text) - tail))
    head = min(head + left, tail)
    kept = [(0, head), *((max(start, head), end) for start, end in spans if end > head), (tail, len(text))]
    parts: list[str] = []
    previous = 0
    for start, end in kept:
        if start > previous:
            parts.append(_MARKER.format(start - previous))
        parts.append(text[start:end])
        previous = end
    return "".join(parts), len(text) - sum(end - start for start, end in kept)


def _line_end(text: str, position: int) -> int:
    """The end of the last whole line before `position`, or `position` where that would give up more than 200."""
    newline = text.rfind("\n", max(0, position - 200), position)
    return newline if newline > 0 else position


def _lines(text: str, start: int, stop: int) -> tuple[list[_Line], list[int]]:
    """The lines of text[start:stop] that could be kept, and the places of those that only look like a failure.

    Of blank lines only the first of several is one.
    """
    lines: list[_Line] = []
    hints: list[int] = []
    blank = False
    while start < stop:
        newline = text.find("\n", start, min(stop, start + _PIECE))
        end = min(stop, start + _PIECE) if newline < 0 else newline + 1
        piece = text[start:end].rstrip("\n")
        if piece or not blank:
            failure = bool(piece) and _FAILURE.match(piece) is not None
            if not failure and piece and _HINT.search(piece):
                hints.append(len(lines))
            lines.append(_Line(start, end, failure, _FRAME.match(piece) is not None))
        blank = not piece
        start = end
    return lines, hints


def _wanted(lines: Sequence[_Line], hints: Iterable[int], text: str) -> Iterator[int]:
    """The places of lines in the order in which they are to be kept; some come twice."""
    seen: set[str] = set()
    failures: list[int] = []
    for place, line in enumerate(lines):
        if line.names_failure:
            key = _FIGURES.sub(" ", text[line.start : min(line.end, line.start + _KEY_CHARS)])
            if key not in seen:
                seen.add(key)
                failures.append(place)
    ordered = _from_both_ends(failures)
    yield from ordered
    for reach in range(1, _AROUND + 1):
        for place in ordered:
            for beside in (place + reach, place - reach):
                if 0 <= beside < len(lines) and _belongs(lines, place, beside):
                    yield beside
    yield from hints


def _from_both_ends(places: Sequence[int]) -> list[int]:
    """The first, the last, the second, the last but one and so on: causes stand first, summaries last."""
    middle = (len(places) + 1) // 2
    back = list(reversed(places[middle:]))
    ordered: list[int] = []
    for index, place in enumerate(places[:middle]):
        ordered.append(place)
        ordered += back[index : index + 1]
    return ordered


def _belongs(lines: Sequence[_Line], place: int, beside: int) -> bool:
    """Whether a line belongs to a failure: every line from there on is a frame, or it is the one behind it."""
    if beside == place + 1:
        return True
    between = lines[beside:place] if beside < place else lines[place + 2 : beside + 1]
    return all(line.is_frame for line in between)


def _fitting(lines: Sequence[_Line], hints: Iterable[int], text: str, room: int) -> tuple[list[tuple[int, int]], int]:
    """The parts of the text that fit, in the order in which they stand, and the room left."""
    chosen: set[int] = set()
    for place in _wanted(lines, hints, text):
        line = lines[place]
        if place in chosen:
            continue
        touching = _touches(lines, chosen, place)
        cost = line.end - line.start + (1 - touching) * _MARKER_ROOM
        if cost > room:
            if room < _MARKER_ROOM:
                break
            continue
        room -= cost
        chosen.add(place)
    spans: list[tuple[int, int]] = []
    for place in sorted(chosen):
        line = lines[place]
        if spans and spans[-1][1] == line.start:
            spans[-1] = (spans[-1][0], line.end)
        else:
            spans.append((line.start, line.end))
    return spans, room


def _touches(lines: Sequence[_Line], chosen: set[int], place: int) -> int:
    """How many of the lines before and behind are kept and touch this one: each saves a mark of a gap."""
    line = lines[place]
    before = place - 1 in chosen and lines[place - 1].end == line.start
    behind = place + 1 in chosen and lines[place + 1].start == line.end
    return before + behind
