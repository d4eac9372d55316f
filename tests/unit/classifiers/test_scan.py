"""The finder must say exactly what `re` says; it is only allowed to be faster."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etl.classifiers.scan import Finder, fold_text

FLAGS = re.IGNORECASE | re.MULTILINE
PATTERNS = [
    r"\bhow (?:do|can|to)\b",
    r"\b(?:crash(?:es|ed)?|seg ?fault)\b",
    r"\bi(?: have|'ve)? (?:tried|try)\b",
    r"^Traceback",
    r"^\W{0,3}(?:bug|crash)\b",
    r"^(?:a|\s{0,2}b)c",
    r"\?\s*$",
    r"(?:^|\n)how",
    r"(?-i:Error)\b",
    r"\b(?-i:[A-Z])\w{2,9}Error",
    r"x*",
    r"x+y",
    r"(?:ab){2,3}",
    r"[ck]rash",
    r"[^a]rash",
    r"(?<!no )crash",
    r"crash(?! test)",
    r"(?:foo|)bar",
    r"(?:foo|bar)?baz",
    r"\Acrash",
    r"crash\Z",
    r"issue",
    r"kelvin|strasse",
    r"über|crash",
    r"(?>cr|c)ash",
    r"a++b",
    r"(a|b)\1",
    r".*crash.*how",
]
WORDS = [
    "crash",
    "Crashes",
    "how do",
    "HOW",
    "to",
    " ",
    "\n",
    "i ",
    "I've",
    "tried",
    "bug",
    "error",
    "Error",
    "ValueError",
]
WORDS += [
    "?",
    "x",
    "xy",
    "ab",
    "aab",
    "foo",
    "bar",
    "baz",
    "no ",
    " test",
    "\u0130",
    "\u0131ssue",
    "i\u017fsue",
    "\u212aelvin",
]
WORDS += ["stra\u00dfe", "strasse", "\u00dcber", "krash", "rash", "c", "Traceback", "#", "\t", "seg fault", "segfault"]


@pytest.mark.parametrize("source", PATTERNS)
@given(words=st.lists(st.sampled_from(WORDS), max_size=12))
@example(words=["crash"])
@example(words=[])
def test_a_pattern_occurs_exactly_where_re_finds_it(source: str, words: list[str]) -> None:
    pattern = re.compile(source, FLAGS)
    text = "".join(words)
    found = Finder(pattern).find(fold_text(text))
    assert (found is None) == (pattern.search(text) is None)
    assert found is None or pattern.match(text, found.start())[0] == found[0]  # type: ignore[index]  # it was found


@given(text=st.text(alphabet="ab \n?x", max_size=30))
def test_flags_of_the_pattern_are_kept(text: str) -> None:
    for flags in (0, re.MULTILINE, re.IGNORECASE, re.DOTALL | re.VERBOSE):
        for source in (r"^a b", r"A", r"a.b", r"\bx?a"):
            pattern = re.compile(source, flags)
            assert (Finder(pattern).find(fold_text(text)) is None) == (pattern.search(text) is None)
