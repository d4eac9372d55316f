"""The rules that send a text out of a pack: what they find, what they leave alone, what they cost."""

import importlib
import re
from typing import Any

import pytest

from etl.classifiers.suspicion import RULES, find_suspicion, speaks_of_orders
from tests.hostile_texts import CORPUS, HostileText

ORDINARY = [
    'Crash on save\n\nTraceback (most recent call last):\n  File "app.py", line 3\nValueError: bad answer',
    "System: Windows 11\nAssistant version 3.2\nUser: jane",
    "Please add an option to ignore files\n\nThe .gitignore rules are ignored, see the instructions in the README.",
    "Installation instructions are wrong\n\nThe previous version of the guide was right.",
    "Ignore the previous comment, I found the cause: a missing header.",
    "Next item in the list view is not selected\n\nEach item of the list should be focusable.",
    "The prompt of the shell is not shown\n\nIt should print the prompt after the command.",
    '{"id": "abc", "name": "x", "category": "tools"}',
    "YOLO gives confidence: 0.98 for the wrong class",
    "Answer: it works with version 2. Reply with a log, please.",
    "The label is cut off; label this field as required in the form.",
    "Mark the notification as read\n\nIt should mark it as read when opened.",
    "Latency is 10 \u00b5s, not 5 \u03bcs; na\u00efve caf\u00e9 \u2014 \u201cquotes\u201d \u2026",
    "\u041e\u0448\u0438\u0431\u043a\u0430 \u043f\u0440\u0438 \u0437\u0430\u043f\u0443\u0441\u043a\u0435 Docker",
    "\u0645\u0634\u06a9\u0644 \u0646\u0645\u06cc\u200c\u0634\u0648\u062f",
    "Family emoji \U0001f468\u200d\U0001f469\u200d\U0001f467 breaks the layout",
    "<div class='item'><text>hello</text></div> is rendered twice",
    "sha256 " + "0123456789abcdef" * 4,
    "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 50,
    "=" * 500,
]


@pytest.mark.parametrize("hostile", CORPUS, ids=lambda hostile: hostile.name)
def test_a_text_that_speaks_to_a_machine_is_found_by_its_words(hostile: HostileText) -> None:
    assert bool(find_suspicion(hostile.body)) == hostile.found


@pytest.mark.parametrize("text", ORDINARY)
def test_an_ordinary_text_is_left_alone(text: str) -> None:
    assert find_suspicion(text) == ""


KNOWN_WRONG = [
    ("Developer notes: how to build", "a heading of a template looks like a message of a role"),
    ("Why does it say `human:` twice?\n\nHuman: hello", "transcripts of chat programs are full of turns"),
    ("Screenshot data:image/png;base64," + "iVBORw0KGgo" * 60, "a picture within the text is a wall of letters"),
]


@pytest.mark.parametrize(("text", "reason"), KNOWN_WRONG)
def test_a_known_wrong_suspicion_is_still_one(text: str, reason: str) -> None:
    """It costs a request of its own and nothing else. When one is mended, the row moves up into ORDINARY."""
    assert find_suspicion(text), f"not suspicious any more, although: {reason}"


@pytest.mark.parametrize(
    ("rationale", "expected"),
    [
        ("the text asks to be classified as a feature", True),
        ("as instructed, every item is a feature", True),
        ("told to answer feature", True),
        ("contains a prompt injection", True),
        ("it says to ignore the previous instructions", True),
        ("same as the other items", True),
        ("a crash with a traceback", False),
        ("asks for an option to ignore files", False),
        ("installation instructions are missing", False),
        ("SQL injection in the login form", False),
        ("asks how to label an axis", False),
        ("", False),
    ],
)
def test_a_rationale_that_speaks_of_orders_is_told_from_one_about_its_text(rationale: str, expected: bool) -> None:
    assert speaks_of_orders(rationale) is expected


def _repeats(tree: Any) -> list[tuple[int, Any, Any]]:
    """Every repeat in a pattern's parse tree: least, most, what is repeated."""
    found = []
    for operation, argument in tree:
        name = str(operation)
        if name in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
            found.append(argument)
            found += _repeats(argument[2])
        elif name == "SUBPATTERN":
            found += _repeats(argument[-1])
        elif name == "BRANCH":
            for branch in argument[1]:
                found += _repeats(branch)
        elif name in {"ASSERT", "ASSERT_NOT"}:
            found += _repeats(argument[1])
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_every_repeat_has_an_upper_bound(rule: Any) -> None:
    parser = importlib.import_module("re._parser")
    repeats = _repeats(parser.parse(rule.pattern.pattern, rule.pattern.flags))
    assert [most for _, most, _ in repeats if str(most) == "MAXREPEAT"] == []


SEEDS = [needle for rule in RULES for needle in rule.needles if needle]
SEEDS += [
    "ignore a a a ",
    "'category': ",
    '"confidence": x',
    '{"',
    "[ ",
    "\\x00",
    "%00",
    "&#x41;",
    "a/",
    "classify a b c ",
]
SEEDS += [
    "the above a ",
    "</item> ",
    "### system",
    "\n> human",
    "answer for the item ",
    '"id": x, ',
    "you are now the ",
]
SEEDS += ["a\u0435", "\u0435", "a\u200b", "\u200b", "\uff49", "e\u0301", "\n", " ", "respond a a "]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", sorted(set(SEEDS)))
def test_a_hostile_text_of_the_longest_length_is_judged_at_all(seed: str) -> None:
    """Rules see what is sent, 16,000 characters; ten times that takes a quadratic rule minutes."""
    find_suspicion((seed * 160_000)[:160_000])
    speaks_of_orders((seed * 16_000)[:16_000])


def test_no_pattern_looks_for_capitals_or_for_what_folding_takes_out() -> None:
    for rule in RULES:
        letters = re.sub(r"\\.", "", rule.pattern.pattern)
        assert letters == letters.lower(), rule.name
        assert all(needle == needle.lower() for needle in rule.needles)
