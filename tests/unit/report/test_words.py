"""Tests of how reports write numbers, times and strangers' text."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from etl.report.words import (
    age_words,
    confidence_words,
    count_words,
    money_words,
    number_words,
    period_words,
    plain_json,
    plain_line,
    plain_text,
    safe_url,
    share_words,
)

NOW = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain words", "plain words"),
        ("two\nlines\t and   spaces ", "two lines and spaces"),
        ("\x1b[2J\x1b[1;31mred\x07", "[2J[1;31mred"),
        ("abc\u202egnp.exe\u202c", "abcgnp.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("\u0633\u0644\u0627\u0645", "\u0633\u0644\u0627\u0645"),
        ("\U0001f469\u200d\U0001f4bb works", "\U0001f469\u200d\U0001f4bb works"),
        ("", ""),
        (" \u200d\u200c ", ""),
    ],
)
def test_a_line_keeps_words_and_drops_what_is_not_for_readers(text: str, line: str) -> None:
    assert plain_line(text) == line


def test_a_long_text_is_cut_with_a_mark() -> None:
    assert plain_line("x" * 65_536, 20) == "x" * 19 + "…"
    assert plain_line("x" * 20, 20) == "x" * 20
    assert plain_line("\x00" * 100 + "x", 20) == "x"


@pytest.mark.parametrize("url", ["https://github.com/a/b/issues/1", "http://localhost:3000/x?y=1#z"])
def test_web_addresses_become_links(url: str) -> None:
    assert safe_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "javascript:alert(1)",
        "JavaScript://x/%0aalert(1)",
        "data:text/html,x",
        "//host/x",
        "/local",
        "https://",
        "java\nscript:x",
        "https://a b/",
        "https://host/\u202ex",
        "https://[bad/",
    ],
)
def test_other_addresses_never_become_links(url: str | None) -> None:
    assert safe_url(url) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (7, "7"), (1234, "1,234"), (0.5, "0.5"), (2.25, "2.25"), (1_000_000.0, "1,000,000")],
)
def test_numbers(value: float, words: str) -> None:
    assert number_words(value) == words


@pytest.mark.parametrize(("value", "words"), [(0.0, "0%"), (0.004, "<1%"), (0.01, "1%"), (0.444, "44%"), (1.0, "100%")])
def test_shares(value: float, words: str) -> None:
    assert share_words(value) == words


@pytest.mark.parametrize(
    ("value", "words"), [(None, "\u2013"), (0.0, "0.00"), (0.654, "0.65"), (0.999, "0.99"), (1.0, "1.00")]
)
def test_confidences_are_never_rounded_up_to_certainty(value: float | None, words: str) -> None:
    assert confidence_words(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "$0.00"),
        (0.00001, "<$0.0001"),
        (0.0042, "$0.0042"),
        (0.05, "$0.05"),
        (0.105, "$0.105"),
        (12.5, "$12.50"),
        (1234.567, "$1,234.57"),
    ],
)
def test_money_never_shows_something_as_nothing(value: float, words: str) -> None:
    assert money_words(value) == words


@pytest.mark.parametrize(
    ("start", "step", "words"),
    [
        (date(2026, 3, 1), "month", "Mar 2026"),
        (date(2026, 10, 1), "quarter", "Q4 2026"),
        (date(2026, 3, 2), "week", "2 Mar 2026"),
        (date(2026, 3, 2), "day", "2 Mar 2026"),
    ],
)
def test_periods(start: date, step: str, words: str) -> None:
    assert period_words(start, step) == words  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (-30, "just now"),
        (60, "1 minute ago"),
        (7_300, "2 hours ago"),
        (86_400, "1 day ago"),
        (9e8, "10,416 days ago"),
    ],
)
def test_ages(seconds: float, words: str) -> None:
    assert age_words(NOW - timedelta(seconds=seconds), NOW) == words


def test_the_age_of_what_never_was() -> None:
    assert age_words(None, NOW) == "never"


HOSTILE = "a\x1b[31m\x9b0m\u202eb\tc\r\nd\x07"


def test_plain_text_keeps_lines_and_tabs_and_nothing_that_moves_a_cursor() -> None:
    assert plain_text(HOSTILE) == "a[31m0mb\tc\nd"


def test_plain_json_is_safe_to_look_at_and_reads_as_the_same_text() -> None:
    written = plain_json({"title": HOSTILE, "emoji": "\U0001f600 é 漢"})
    assert json.loads(written) == {"title": HOSTILE, "emoji": "\U0001f600 é 漢"}
    assert "\U0001f600 é 漢" in written
    assert all(character.isprintable() for character in written.replace("\n", ""))


def test_plain_json_writes_times_and_decimal_fractions_as_programs_read_them() -> None:
    written = json.loads(plain_json({"at": NOW, "day": NOW.date(), "usd": Decimal("0E-8")}))
    assert written == {"at": "2026-03-04T05:06:00+00:00", "day": "2026-03-04", "usd": 0}


def test_plain_json_writes_a_lone_surrogate_and_a_letter_of_no_meaning_as_escapes() -> None:
    assert json.loads(plain_json(["\ud800", "\U000e0001"]).encode()) == ["\ud800", "\U000e0001"]


@pytest.mark.parametrize(
    ("count", "names", "words"),
    [
        (0, ("text",), "0 texts"),
        (1, ("text",), "1 text"),
        (1234, ("text",), "1,234 texts"),
        (1, ("family", "families"), "1 family"),
        (2, ("family", "families"), "2 families"),
    ],
)
def test_what_is_counted_is_named_as_one_or_as_several(count: int, names: tuple[str, ...], words: str) -> None:
    assert count_words(count, *names) == words
