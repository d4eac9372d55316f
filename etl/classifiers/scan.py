r"""Finds which of many patterns occur in a text, with the answers of `re.search` and a fraction of its time. Pure.

Trying some sixty patterns that ignore case on two kilobytes takes a millisecond and more, nearly all of it on patterns
that are not there. So each pattern is read once for the fixed strings it must begin with (`\bhow (?:do|to)` begins
with 'how do' or 'how to'): only where one of them stands is the pattern tried, and where none of their first words is
in the text, not even that is looked for. A pattern of which no beginning can be told is searched for as it is, if one
of the strings that it must contain is there.

The strings are read off the expression's own parse tree (`re._parser`), which is no public part of Python: where there
is none, every pattern is simply searched for.
"""

import importlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_MOST_BEGINNINGS = 48
_HEAD = 3
_WORD = re.compile(r"\w+")
_LINE_END = re.compile("\n")
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})
_NO_WIDTH = frozenset({"AT", "ASSERT", "ASSERT_NOT"})
_WORD_STARTS = frozenset({"AT_BOUNDARY", "AT_BEGINNING", "AT_BEGINNING_STRING", "AT_BEGINNING_LINE"})

Tree = Sequence[tuple[Any, Any]]


def _beginnings(tree: Tree) -> tuple[list[str], bool]:
    """Strings of which any match begins with one, and whether they are all of it, so that what follows can be added."""
    found = [""]
    for operation, argument in tree:
        inner, complete = _beginnings_of_part(str(operation), argument)
        longer = [first + second for first in found for second in inner]
        if len(longer) > _MOST_BEGINNINGS:
            return found, False
        found = longer
        if not complete:
            return found, False
    return found, True


def _beginnings_of_part(name: str, argument: Any) -> tuple[list[str], bool]:  # noqa: ANN401  (re's own parse tree)
    if name == "LITERAL" and argument < 128:
        return [chr(argument).lower()], True
    if name in _NO_WIDTH:
        return [""], True
    if name == "IN" and len(argument) <= 4 and all(str(kind) == "LITERAL" and char < 128 for kind, char in argument):
        return [chr(char).lower() for _, char in argument], True
    if name == "SUBPATTERN":
        return _beginnings(argument[-1])
    if name == "ATOMIC_GROUP":
        return _beginnings(argument)
    if name == "BRANCH":
        branches = [_beginnings(branch) for branch in argument[1]]
        return [string for strings, _ in branches for string in strings], all(complete for _, complete in branches)
    if name in _REPEATS and (argument[0] >= 1 or argument[1] == 1):
        strings, complete = _beginnings(argument[2])
        return ([] if argument[0] else [""]) + strings, complete and argument[1] == 1
    return [""], False


def _starts_a_word(tree: Tree) -> bool:
    """Whether a match can only begin at the edge of a word or of a line."""
    for operation, argument in tree:
        name = str(operation)
        if name == "AT":
            return str(argument) in _WORD_STARTS
        if name == "SUBPATTERN":
            return _starts_a_word(argument[-1])
        if name == "BRANCH":
            return all(_starts_a_word(branch) for branch in argument[1])
        return False
    return False


def _required(tree: Tree) -> tuple[str, ...]:
    """Strings of which any match contains one: the choice whose shortest is longest; () if none can be told."""
    choices: list[tuple[str, ...]] = []
    run = ""
    for operation, argument in tree:
        if str(operation) == "LITERAL" and argument < 128:
            run += chr(argument).lower()
            continue
        choices, run = [*choices, (run,)], ""
        choices.append(_required_of_part(str(operation), argument))
    choices = [strings for strings in (*choices, (run,)) if strings and all(strings)]
    return max(choices, key=lambda strings: min(map(len, strings)), default=())


def _required_of_part(name: str, argument: Any) -> tuple[str, ...]:  # noqa: ANN401
    if name == "SUBPATTERN":
        return _required(argument[-1])
    if name == "ATOMIC_GROUP":
        return _required(argument)
    if name in _REPEATS and argument[0] >= 1:
        return _required(argument[2])
    if name == "BRANCH":
        branches = [_required(branch) for branch in argument[1]]
        return tuple(string for strings in branches for string in strings) if all(branches) else ()
    return ()


def _starts_a_line(tree: Tree) -> bool:
    """Whether a match can only begin where a line does."""
    return bool(tree) and str(tree[0][0]) == "AT" and str(tree[0][1]) == "AT_BEGINNING"


def _alternatives(tree: Tree) -> list[Tree]:
    """The pattern's first choice multiplied out: `^(?:a|b)c` is `^ac` and `^bc`, each judged by itself."""
    lead = 0
    while lead < len(tree) and str(tree[lead][0]) == "AT":
        lead += 1
    choice: tuple[Any, Any] = tree[lead] if lead < len(tree) else ("", None)
    if str(choice[0]) == "SUBPATTERN" and len(choice[1][-1]) == 1:
        choice = choice[1][-1][0]
    if str(choice[0]) != "BRANCH":
        return [tree]
    return [[*tree[:lead], *branch, *tree[lead + 1 :]] for branch in choice[1][1]]


def _shortest_only(strings: Iterable[str]) -> list[str]:
    """Without strings that begin with another one, in a fixed order."""
    kept: list[str] = []
    for string in sorted(set(strings)):
        if not kept or not string.startswith(kept[-1]):
            kept.append(string)
    return kept


def _key(beginning: str) -> str:
    """What a text's vocabulary must hold for `beginning` to stand at a word's start; '' where that cannot be told."""
    match = _WORD.match(beginning)
    word = match[0] if match else ""
    if len(word) < len(beginning):
        return word
    return word[:_HEAD] if len(word) >= _HEAD else ""


def fold(text: str) -> str:
    """`text` in one case and of the same length: what `re.IGNORECASE` takes for an ASCII letter is that letter."""
    if text.isascii():
        return text.lower()
    folded = text.replace("\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", "i").lower()
    return folded.replace("\N{LATIN SMALL LETTER LONG S}", "s").replace("\N{LATIN SMALL LETTER DOTLESS I}", "i")


@dataclass(frozen=True, slots=True)
class FoldedText:
    """A text prepared for many searches: as it is, in one case, its words and their heads, where lines begin."""

    text: str
    folded: str
    vocabulary: frozenset[str]
    lines: tuple[int, ...]


def fold_text(text: str) -> FoldedText:
    """Prepares `text`; once per text, whatever the number of patterns."""
    folded = fold(text)
    words = set(_WORD.findall(folded))
    lines = (0, *(match.end() for match in _LINE_END.finditer(text)))
    return FoldedText(text, folded, frozenset(words | {word[:_HEAD] for word in words}), lines)


class Finder:
    """One pattern, read. `find` gives a match where `pattern.search(text)` does, though perhaps a later one."""

    __slots__ = ("_anywhere", "_at_lines", "_beginnings", "_keys", "_match", "_search")

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._match, self._search = pattern.match, pattern.search
        beginnings: list[tuple[str, str]] = []
        self._at_lines: list[tuple[str, ...]] = []
        self._anywhere: list[tuple[str, ...]] = []
        for tree in _alternatives(_parse(pattern)):
            strings = _shortest_only(_beginnings(tree)[0])
            if "" not in strings:
                at_word = _starts_a_word(tree)
                beginnings += [(_key(string) if at_word else "", string) for string in strings]
            elif pattern.flags & re.MULTILINE and _starts_a_line(tree):
                self._at_lines.append(_required(tree))
            else:
                self._anywhere.append(_required(tree))
        self._beginnings = tuple(beginnings)
        keys = frozenset(key for key, _ in beginnings)
        self._keys = frozenset() if "" in keys or self._at_lines or self._anywhere else keys

    @property
    def beginnings(self) -> tuple[tuple[str, str], ...]:
        """Strings of which any match begins with one, as it stands in a text that was folded; () if none can be told.

        Each after a word, or the first three letters of one, that the text has where the string is there.
        """
        return self._beginnings if self._keys else ()

    def find(self, prepared: FoldedText) -> re.Match[str] | None:
        """A match of the pattern in the text, the same one every time; None where it is not found."""
        if self._keys and prepared.vocabulary.isdisjoint(self._keys):
            return None
        if found := self._find_beginning(prepared):
            return found
        if self._anywhere and _needed(self._anywhere, prepared.folded):
            return self._search(prepared.text)
        if self._at_lines and _needed(self._at_lines, prepared.folded):
            return next(filter(None, (self._match(prepared.text, start) for start in prepared.lines)), None)
        return None

    def _find_beginning(self, prepared: FoldedText) -> re.Match[str] | None:
        folded, text, vocabulary = prepared.folded, prepared.text, prepared.vocabulary
        for key, string in self._beginnings:
            if key and key not in vocabulary:
                continue
            position = folded.find(string)
            while position >= 0:
                if found := self._match(text, position):
                    return found
                position = folded.find(string, position + 1)
        return None


def _needed(alternatives: Sequence[tuple[str, ...]], folded: str) -> bool:
    """Whether one of the alternatives could be there: it requires nothing, or one of its strings stands in the text."""
    return any(not strings or any(string in folded for string in strings) for strings in alternatives)


def _parse(pattern: re.Pattern[str]) -> Tree:
    """The parse tree, or an empty one where this Python does not give it."""
    try:
        parser: Any = importlib.import_module("re._parser")
        tree: Tree = parser.parse(pattern.pattern, pattern.flags)
    except (ImportError, AttributeError, re.error):
        return ()
    return tree
