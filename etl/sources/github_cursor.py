"""Where a list of GitHub was left off: what a cursor holds, how it moves with each page, how it is written."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from etl.errors import ConfigurationError
from etl.records import Stream
from etl.sources.github_json import Decoded, is_believable

OVERLAP = timedelta(minutes=15)
"""How far a run reads back before the newest change it knows: lists may lag writes by up to about eight minutes."""


@dataclass(frozen=True, slots=True)
class Position:
    """What a cursor says of one list; times as GitHub writes them (UTC, whole seconds).

    newest: the newest change that is stored. whole: the list was once read to its end.
    oldest: when the oldest issue with comments was opened; where the comments of a list narrowed to labels begin.
    etag, url, token: of the first page, when the list ended on it.
    """

    newest: str | None = None
    oldest: str | None = None
    whole: bool = False
    etag: str | None = None
    url: str | None = None
    token: str | None = None


def read_cursor(cursor: str | None, stream: Stream) -> Position:
    """The position that a stored cursor holds; the beginning for None.

    Raises:
        ConfigurationError: it is not one of ours; names the stream and the way out.
    """
    if cursor is None:
        return Position()
    try:
        position = Position(**json.loads(cursor))
        _parse_strict(position.newest)
        _parse_strict(position.oldest)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"the stored cursor of {stream.name} {stream.filter} of {stream.repository.full_name} cannot be read: "
            "delete its row in the table cursors to read the list from its beginning"
        ) from None
    return position


def write_cursor(position: Position) -> str:
    """The position as text, the same for the same position."""
    return json.dumps({key: value for key, value in asdict(position).items() if value}, separators=(",", ":"))


def _parse_strict(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def parse_time(text: Any) -> datetime | None:  # noqa: ANN401  (whatever a page holds there)
    """A time of GitHub; None for none, and for what is not a time."""
    try:
        return _parse_strict(text)
    except (TypeError, ValueError, OverflowError):
        return None


def write_time(time: datetime) -> str:
    """A UTC time as GitHub writes it, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def moved(position: Position, page: Decoded, now: datetime, oldest: datetime | None) -> Position:
    """The position after a page: it never goes back, and never ahead of `now`, GitHub's clock when it answered."""
    newest = max(change_times(page, now), default=None)
    if newest is not None:
        newest = min(newest, now)
        known = parse_time(position.newest)
        newest = newest if known is None else max(known, newest)
    return replace(
        position,
        newest=position.newest if newest is None else write_time(newest),
        oldest=position.oldest if oldest is None else write_time(oldest),
        etag=None,
        url=None,
        token=None,
    )


def change_times(page: Decoded, now: datetime) -> list[datetime]:
    """When each object of a page changed last, also of those that are not wanted.

    Times that are not believable by the clock `now` are left out: one of the year 9999 would let a walk by `since` end
    before the objects in between.
    """
    times = []
    for record in page.value:
        value = record.get("updated_at") if isinstance(record, dict) else None
        time = parse_time(value) if isinstance(value, str) else None
        if time is not None and is_believable(time, now):
            times.append(time)
    return times


def since_of(position: Position) -> datetime | None:
    """From when on a list is asked for; None for all of it."""
    newest = parse_time(position.newest)
    return None if newest is None else newest - OVERLAP
