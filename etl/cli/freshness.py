"""How long ago each list was read to its end, and which of them that is too long ago."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from etl.errors import ConfigurationError

_PARTS = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_LONGEST = 365 * 86_400


def parse_age(words: str) -> float:
    """The seconds of '2h', '90m', '1d', '2h30m' or '45s'.

    Raises:
        ConfigurationError: it is none of these, or longer than a year.
    """
    found = _PARTS.fullmatch(words.strip().lower())
    if found is None or not any(found.groups()):
        raise ConfigurationError(f"--max-age {words[:40]!r} is no length of time; write 2h, 90m, 1d or 2h30m")
    if any(part is not None and len(part) > 9 for part in found.groups()):
        raise ConfigurationError("--max-age is longer than a year; write 2h, 90m, 1d or 2h30m")
    seconds = sum(int(part or 0) * size for part, size in zip(found.groups(), (86_400, 3_600, 60, 1), strict=True))
    if seconds > _LONGEST:
        raise ConfigurationError("--max-age is longer than a year; write 2h, 90m, 1d or 2h30m")
    return float(seconds)


def find_stale(streams: Sequence[Mapping[str, Any]], max_age: float, named: Sequence[str]) -> list[str]:
    """A line for everything that was last read more than `max_age` seconds ago, or never.

    Repositories that no run follows (see `is_followed`) count only where they are `named`.
    """
    lines = [f"{name}: nothing is stored of it" for name in _missing(streams, named)]
    looked_at = [stream for stream in streams if named or is_followed(stream)]
    if not looked_at and not named:
        whence = "; what is stored came from files, or with --limit" if streams else ""
        lines.append(f"no repository is read from GitHub yet{whence}")
    for stream in looked_at:
        age = stream["age_seconds"]
        if age is None or age > max_age:
            lines.append(f"{stream['repository']}: {_age_words(stream)}{_reach_words(stream)}")
    return lines


def is_followed(stream: Mapping[str, Any]) -> bool:
    """Whether a repository is read list by list, or is to be: of files and of --limit there are items and no list."""
    return stream["stream"] is not None or not stream["has_items"]


def only_named(rows: Sequence[dict[str, Any]], named: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of the named repositories (any case); all where none is named."""
    wanted = {name.lower() for name in named}
    return [row for row in rows if not wanted or row["repository"].lower() in wanted]


def _missing(streams: Sequence[Mapping[str, Any]], named: Sequence[str]) -> list[str]:
    stored = {stream["repository"].lower() for stream in streams}
    return [name for name in named if name.lower() not in stored]


def _age_words(stream: Mapping[str, Any]) -> str:
    if stream["stream"] is None:
        return "never read from GitHub"
    what = f"{stream['stream']} ({stream['filter'] or 'all'})"
    if stream["read_at"] is None:
        return f"{what} never read to their end"
    return f"{what} last read to their end {ago(stream['read_at'])}"


def _reach_words(stream: Mapping[str, Any]) -> str:
    reach = reach_words(stream)
    return f"; {reach}" if reach else ""


def reach_words(row: Mapping[str, Any]) -> str:
    """How a repository answers, where that is not as it should be: 'out of reach since 2026-11-02 10:15 UTC'."""
    if row["reach"] == "ok":
        return ""
    words = str(row["reach"]).replace("_", " ")
    since = row["reach_since"]
    return words if since is None else f"{words} since {since.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def ago(moment: datetime | None) -> str:
    """How long ago `moment` was, in the largest unit that fits."""
    if moment is None:
        return "never"
    seconds = max((datetime.now(UTC) - moment).total_seconds(), 0.0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"
