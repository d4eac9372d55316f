"""How a report writes numbers, times and text that strangers wrote."""

import json
import unicodedata
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Literal
from urllib.parse import urlsplit

from etl.db.report_queries import Step
from etl.tasks import ABSTAINED, UNCLASSIFIED

Period = Step | Literal["hour", "year"]
"""The steps of a time axis: those that reports count by, and those that dashboards have besides."""

NOTHING = "\u2013"
"""What stands where there is no value: a dash."""

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
PER = {"day": "per day", "week": "per week", "month": "per month", "quarter": "per quarter"}
EXPLAINED = {ABSTAINED: "could not be told", UNCLASSIFIED: "not asked yet"}
"""What the two values mean that stand where an issue has no category."""


def plain_line(text: str, limit: int = 160) -> str:
    """`text` as one line of at most `limit` characters, without what moves a cursor or turns the writing's direction.

    Control and format characters (category C: escape sequences, bidirectional overrides, invisible marks) are dropped,
    but for the joiners inside words and emoji; white space becomes single spaces. '' if nothing is left to see.
    """
    kept: list[str] = []
    for character in text:
        if character.isspace():
            kept.append(" ")
        elif _is_plain(character):
            kept.append(character)
        if len(kept) > limit * 4:  # enough for a line, also where much of it is space
            break
    words = " ".join("".join(kept).split())
    if not words.strip(" \u200c\u200d"):
        return ""
    return words if len(words) <= limit else words[: limit - 1].rstrip() + "…"


def plain_text(text: str) -> str:
    """`text` with its lines and tabs, but without the characters that `plain_line` drops."""
    return "".join(character for character in text if character in "\n\t" or _is_plain(character))


def plain_json(value: object) -> str:
    """`value` as indented JSON that is safe on a terminal: what `plain_line` drops is written as an escape.

    A program that reads it gets the same text. Times are in ISO 8601, decimal fractions are numbers.
    """
    text = json.dumps(value, default=_plain_value, indent=2, ensure_ascii=False)
    if all(map(_is_plain, set(text) - {"\n"})):
        return text
    return "".join(
        character if character == "\n" or _is_plain(character) else json.dumps(character)[1:-1] for character in text
    )


def _plain_value(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else str(value)


def _is_plain(character: str) -> bool:
    return character in "\u200c\u200d" or not unicodedata.category(character).startswith("C")


def safe_url(url: str | None) -> str | None:
    """`url` if it is an ordinary web address, else None: a stored `javascript:` or `data:` URL never becomes a link."""
    if url is None or any(character.isspace() or not character.isprintable() for character in url):
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    return url if parts.scheme in {"http", "https"} and host else None


def number_words(value: float) -> str:
    """1234 -> '1,234'; 0.5 -> '0.5'."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}".rstrip("0").rstrip(".")


def count_words(count: int, one: str, many: str = "") -> str:
    """1 and 'text' -> '1 text', 2 -> '2 texts'; `many` where several are called otherwise than `one` with an s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def share_words(share: float) -> str:
    """0.123 -> '12%'; what is there but would be rounded away is '<1%'."""
    return "<1%" if 0 < share < 0.01 else f"{share:.0%}"


def confidence_words(confidence: float | None) -> str:
    """0.654 -> '0.65'; a dash where there is none. Never rounded up to a 1.00 that was not said."""
    if confidence is None:
        return NOTHING
    return f"{min(confidence, 0.99) if confidence < 1 else confidence:.2f}"


def money_words(dollars: float) -> str:
    """1234.5 -> '$1,234.50'; below a dollar with up to four digits, so that something never shows as nothing."""
    if dollars == 0 or dollars >= 1:
        return f"${dollars:,.2f}"
    if dollars < 0.00005:
        return "<$0.0001"
    cents, rest = f"{dollars:.4f}"[:-2], f"{dollars:.4f}"[-2:].rstrip("0")
    return f"${cents}{rest}"


def time_words(moment: datetime | None) -> str:
    """A moment as '2026-03-04 05:06 UTC'."""
    return NOTHING if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def period_words(start: date, step: Period) -> str:
    """The period that begins on `start`: 'Mar 2026', 'Q1 2026', '4 Mar 2026', '4 Mar 2026 13:00', '2026'."""
    if step == "month":
        return f"{MONTHS[start.month - 1]} {start.year}"
    if step == "quarter":
        return f"Q{(start.month + 2) // 3} {start.year}"
    if step == "year":
        return str(start.year)
    if step == "hour":
        return f"{start.day} {MONTHS[start.month - 1]} {start:%Y %H:%M}"
    return f"{start.day} {MONTHS[start.month - 1]} {start.year}"


def age_words(moment: datetime | None, now: datetime) -> str:
    """How long ago `moment` was: 'just now', '5 minutes ago', '3 days ago'; 'never' for None."""
    if moment is None:
        return "never"
    seconds = max((now - moment).total_seconds(), 0)
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        count = int(seconds // size)
        if count:
            return f"{count:,} {name}{'s' if count > 1 else ''} ago"
    return "just now"
