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

_SETTLED = 2 * OVERLAP
"""What changed that long ago is in the lists, also where GitHub's Date header is some minutes ahead of its times."""
SECOND = timedelta(seconds=1)
"""GitHub's times are whole seconds, and whether `since` includes its own is told differently."""


@dataclass(frozen=True, slots=True)
class Position:
    """What a cursor says of one list; times as GitHub writes them (UTC, whole seconds).

    newest: the newest change that is stored. whole: the list was once read to its end.
    oldest: when the oldest issue with comments was opened; where the comments of a list narrowed to labels begin.
    etag, url, token: of the first page, when the list ended on it.
    resume: from when on the next run asks, if what was read is settled; else from the overlap before `newest`.
    by_issue: of comments whose list GitHub fails to answer: up to which change of their issues they were read issue by
        issue. began: when that began, if it began with the first of all issues.
    """

    newest: str | None = None
    oldest: str | None = None
    whole: bool = False
    etag: str | None = None
    url: str | None = None
    token: str | None = None
    resume: str | None = None
    by_issue: str | None = None
    began: str | None = None


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
        _parse_strict(position.resume)
        _parse_strict(position.by_issue)
        _parse_strict(position.began)
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


def moved(position: Position, page: Decoded, began: datetime, *, oldest: datetime | None = None) -> Position:
    """The position after a page: it never goes back, and never ahead of `began`.

    Where the page's newest change was settled when the walk began, the next run goes on from it, and not from the
    overlap before it: a burst of changes that fills the overlap with many pages would be read again by every run, and
    hold up runs that may read fewer for good.

    Args:
        position: the one before it.
        page: what was read.
        began: GitHub's clock when it answered the first page of this walk. Its clock at this page would not do: a walk
            may wait an hour between two pages, and a change that the list did not show yet before would be passed.
        oldest: as in `Position`; None leaves it.
    """
    last = newest_change(page, began)
    moved_to = replace(
        position,
        oldest=position.oldest if oldest is None else write_time(oldest),
        etag=None,
        url=None,
        token=None,
        began=None,
    )
    if last is None:
        return moved_to
    known = parse_time(position.newest)
    newest = min(last, began) if known is None else max(known, min(last, began))
    is_settled = last <= began - _SETTLED
    return replace(moved_to, newest=write_time(newest), resume=write_time(last - SECOND) if is_settled else None)


def begun_by_issue(position: Position, now: datetime) -> Position:
    """The position where comments are read issue by issue from now on, or still are."""
    is_beginning = position.newest is None and position.by_issue is None
    return replace(position, began=write_time(now - OVERLAP)) if is_beginning else position


def moved_by_issue(position: Position, changed_at: datetime, began: datetime) -> Position:
    """The position after the comments of an issue, changed then, were read: that of the list of comments stays.

    It stays behind `began`, as of `moved`, by the overlap: a list of issues lags its writes as well.
    """
    reached = min(changed_at, began - OVERLAP)
    known = parse_time(position.by_issue)
    return replace(position, by_issue=write_time(reached if known is None else max(known, reached)))


def ended_by_issue(position: Position) -> Position:
    """The position after the comments of all changed issues were read.

    An edited comment does not change its issue, so what was edited in issues that were left out is not known, and the
    list is not passed. Only where no issue was left out since it all began, every change before that is stored.
    """
    return position if position.began is None else Position(newest=position.began, oldest=position.oldest)


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


def newest_change(page: Decoded, now: datetime) -> datetime | None:
    """When the newest object of a page changed, by the clock `now`; None for a page without any."""
    return max(change_times(page, now), default=None)


def since_of(position: Position) -> datetime | None:
    """From when on a list is asked for; None for all of it."""
    newest = parse_time(position.newest)
    return parse_time(position.resume) or (None if newest is None else newest - OVERLAP)


def since_by_issue(position: Position) -> datetime | None:
    """From when on changed issues are asked for, to read their comments one by one; None for all of them."""
    reached = parse_time(position.by_issue)
    since = since_of(position)
    if reached is None or (since is not None and since > reached):
        return since
    return reached - SECOND


@dataclass(frozen=True, slots=True)
class WalkPosition:
    """Where a walk over all issues was left off: in the list of which label (None: of all), at which page."""

    label: str | None = None
    next: str | None = None


def read_walk_position(text: str | None) -> WalkPosition:
    """The position that a text holds; the beginning for None, and for what is not one of ours: a walk may repeat."""
    if text is None:
        return WalkPosition()
    try:
        position = WalkPosition(**json.loads(text))
    except (TypeError, ValueError):
        return WalkPosition()
    is_ours = all(value is None or isinstance(value, str) for value in (position.label, position.next))
    return position if is_ours else WalkPosition()


def write_walk_position(position: WalkPosition) -> str:
    """The position as text, never empty."""
    return json.dumps({key: value for key, value in asdict(position).items() if value}, separators=(",", ":"))
