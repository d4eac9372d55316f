"""What the `local` classifier looks at in a text: words and pairs of words by place, and signs of its form. Pure.

Where a word stands says as much as the word: "how" begins a question's title, "thanks" ends one, "add" opens a request.
So a text is cut into fields, and every field has its own words. Each counts once per field, whatever a text repeats.
The task file's own rules are the last field, without their weights: that a pattern was found, not what it is worth.

A hostile text may be long: of the body the first `MAX_BODY_CHARS` characters are looked at, for the rules'
patterns `MAX_RULE_CHARS`, so that the work per text is bounded.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from itertools import chain, pairwise
from typing import Any, Final

from etl.classifiers.scan import Finder, fold
from etl.tasks import Task

FEATURES_VERSION: Final = 1
"""Raise it with any change of what is found in a text: a model is only right for the version it was trained with."""

FIELDS: Final[Mapping[str, float]] = {
    "title": 1.0,
    "beginning": 1.0,
    "body": 1.0,
    "code": 1.0,
    "signs": 0.6,
    "rules": 0.5,
}
"""The fields with their weights: how much of a text's vector each may make up. Chosen by cross-validation."""

MAX_TITLE_CHARS: Final = 300
MAX_BODY_CHARS: Final = 2_500
MAX_RULE_CHARS: Final = 700

_BODY_WORDS = 150
_BEGINNING_WORDS = 40
_PROSE_CHARS = 1_200
_RULE_WORDS = 130
_CODE_CHARS = 800
_HEAD_CHARS = 3
_MOST_WORDS = 1 << 16
_DIGITS = frozenset("0123456789")
_FENCE = "```"
_WORD = re.compile(r"https?:|[a-z]{1,30}(?:'[a-z]{1,4})?|[0-9]+|[?!]")
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+([^\n]{1,60})|^\*\*([^*\n]{1,60})\*\*", re.MULTILINE)
_TAG = re.compile(r"[\[(]|[^\W\d]{2,20}:")
_TRACES = ("Traceback (most", "\n  at ", "\n    at ", "\n\tat ", '\n  File "', "Exception", "rror: ", "Error:", "panic")

_Try = Callable[..., Any]
"""`match` or `search` of a pattern; mypy's own types of them cannot be told apart by their arguments."""
_Entry = tuple[str, str, _Try]
"""A beginning, the feature of its rule, and `match` of that rule's pattern."""


def _stem(word: str) -> str:
    """The word without the ending of a plural or a verb, so that `crashes` and `crashed` are one; any number is 0."""
    if word[0] in _DIGITS:
        return "0"
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


class _Stems(dict[str, str]):
    """Stems of the words met so far: looked up a hundred times per text. Forgotten when there are too many."""

    def __missing__(self, word: str) -> str:
        if len(self) >= _MOST_WORDS:
            self.clear()
        self[word] = stem = _stem(word)
        return stem


_stems = _Stems()


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _stem_all(words: Sequence[str]) -> list[str]:
    return list(map(_stems.__getitem__, words))


class Extractor:
    """Finds the features of texts for one task."""

    def __init__(self, task: Task) -> None:
        self._rules = {"title": _RuleIndex(task, "title"), "text": _RuleIndex(task, "text")}

    def extract(self, text: str) -> dict[str, set[str]]:
        """By field of `FIELDS`: what was found in the text. An empty text has only signs."""
        title, _, rest = text.partition("\n")
        title, body = title[:MAX_TITLE_CHARS], rest[:MAX_BODY_CHARS]
        parts = body.split(_FENCE)
        prose, code = " \n".join(parts[::2]), "\n".join(parts[1::2])[:_CODE_CHARS]
        spoken, titled = _words(prose[:_PROSE_CHARS]), _words(title)
        words = _stem_all(spoken[:_BODY_WORDS])
        pairs = list(map(" ".join, pairwise(words)))
        shown = f"{title}\n{prose[:MAX_RULE_CHARS]}"
        rules = self._rules["title"].find(title, titled)
        rules |= self._rules["text"].find(shown, [*titled, *spoken[:_RULE_WORDS]])
        titled = ["^", *_stem_all(titled), "$"]
        return {
            "title": {*titled, *map(" ".join, pairwise(titled))},
            "beginning": {*words[:_BEGINNING_WORDS], *pairs[: _BEGINNING_WORDS - 1]},
            "body": {*words, *pairs},
            "code": set(_stem_all(_words(code))),
            "signs": _signs(title, body, prose, code, words, len(rest)),
            "rules": rules,
        }


class _RuleIndex:
    """The rules of one field of a task, by the words that they begin with.

    Trying every pattern costs more than all other features together. So a pattern is tried where one of its beginnings
    stands; one about the whole text is left out if none can be told.
    """

    def __init__(self, task: Task, field: str) -> None:
        self._always: list[tuple[str, _Try]] = []
        by_word: dict[str, list[_Entry]] = {}
        for rule in task.rules:
            if rule.field != field:
                continue
            name, pattern = rule_feature(field, rule.pattern.pattern), rule.pattern
            strings: dict[tuple[str, str], list[str]] = {}
            for word, beginning in Finder(pattern).beginnings:
                strings.setdefault((word, beginning[:_HEAD_CHARS]), []).append(beginning)
            for (word, _), found in strings.items():
                by_word.setdefault(word, []).append((_shared_beginning(found), name, pattern.match))
            if not strings and field == "title":
                self._always.append((name, pattern.search))
        self._entries = _Entries(by_word)

    def find(self, text: str, words: Sequence[str]) -> set[str]:
        """The features of the rules whose pattern is in the text, whose words are given."""
        found = {name for name, search in self._always if search(text)}
        folded = fold(text)
        for beginning, name, match in set(chain.from_iterable(map(self._entries.__getitem__, set(words)))):
            if beginning in folded and name not in found and _begins(text, folded, beginning, match):
                found.add(name)
        return found


class _Entries(dict[str, tuple[_Entry, ...]]):
    """By word: what begins with it or with its first letters. Words met are remembered until there are too many."""

    def __init__(self, by_word: Mapping[str, Sequence[_Entry]]) -> None:
        super().__init__()
        self._by_word = by_word

    def __missing__(self, word: str) -> tuple[_Entry, ...]:
        if len(self) >= _MOST_WORDS:
            self.clear()
        keys = {word, word[:_HEAD_CHARS]}
        self[word] = entries = tuple(entry for key in keys for entry in self._by_word.get(key, ()))
        return entries


def _shared_beginning(strings: Sequence[str]) -> str:
    """The letters that all strings begin with."""
    first, last = min(strings), max(strings)
    same = next((place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[:same]


def _begins(text: str, folded: str, beginning: str, match: _Try) -> bool:
    """Whether the pattern of `match` is found where its beginning stands."""
    position = folded.find(beginning)
    while position >= 0:
        if match(text, position):
            return True
        position = folded.find(beginning, position + 1)
    return False


def rule_feature(field: str, pattern: str) -> str:
    """What a rule is called among the features: it survives other rules being added, and no other pattern has it."""
    return f"{field} {sha256(pattern.encode()).hexdigest()[:12]}"


def _signs(title: str, body: str, prose: str, code: str, words: Sequence[str], length: int) -> set[str]:
    """What a text looks like, whatever its words."""
    counts = {
        "title": len(title),
        "length": length,
        "code": len(code),
        "asks": words.count("?"),
        "bullets": prose.count("\n- ") + prose.count("\n* "),
        "numbers": words.count("0"),
        "ticks": prose.count("`") // 2,
    }
    found = {f"{name} {(1 + count).bit_length()}" for name, count in counts.items()}
    if "\n#" in prose or "\n**" in prose:
        found.update("heading " + " ".join(_stem_all(_words(one or other))) for one, other in _HEADING.findall(prose))
    found.add("begins " + " ".join(words[:2]))
    found.add("ends " + " ".join(words[-2:]))
    marks = {
        "title asks": "?" in title,
        "asks last": prose.rstrip().endswith("?"),
        "title tag": _TAG.match(title) is not None,
        "title code": "`" in title,
        "title lower": title[:1].islower(),
        "title upper": title.isupper(),
        "steps": "\n1." in prose,
        "trace": any(map(body.__contains__, _TRACES)),
    }
    found.update(name for name, is_there in marks.items() if is_there)
    return found
