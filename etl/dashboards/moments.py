"""The moments that a time range is told by, as Dashboards and OpenSearch read them."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from etl.errors import ConfigurationError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "M": 2_629_746, "y": 31_556_952}
_MOMENT = re.compile(r"now(?:(?P<sign>[+-])(?P<count>\d{1,5})(?P<unit>[smhdwMy]))?(?:/(?P<round>[smhdwMy]))?")

_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)?)?")
"""What both OpenSearch (`strict_date_optional_time`, in which `time_filter` sends it) and Python read alike."""


def read_moment(words: str, now: datetime, *, end: bool = False) -> datetime:
    """The moment that words such as 'now', 'now-2y', 'now-7d/d' or '2026-03-04' say.

    A rounding leads to the beginning of its hour, day or week; end: to that of the next one, as OpenSearch takes it at
    the end of a range (a day without its time as well), so that 'now/d' to 'now/d' is today.

    Raises:
        ConfigurationError: it is none.
    """
    found = _MOMENT.fullmatch(words)
    with suppress(ValueError, OverflowError):
        if _DATE.fullmatch(words) is not None:
            moment = datetime.fromisoformat(words)
            if end and len(words) == len("2026-03-04"):
                moment += timedelta(days=1)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if found is not None:
            moment = now
            if found["count"] is not None:
                distance = timedelta(seconds=int(found["count"]) * _UNITS[found["unit"]])
                moment = now - distance if found["sign"] == "-" else now + distance
            return _rounded(moment, found["round"], end=end) if found["round"] else moment
    raise ConfigurationError(
        f"{words!r} is no time: write it like now, now-2y, now-30d, 2026-03-04 or 2026-03-04T12:00"
    )


def _rounded(moment: datetime, unit: str, *, end: bool) -> datetime:
    """The beginning of the unit that `moment` is in (a week begins on Monday); end: of the next one."""
    if unit in "smh":
        first = moment - timedelta(seconds=moment.timestamp() % _UNITS[unit])
        return first + timedelta(seconds=_UNITS[unit]) if end else first
    first = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "w":
        first -= timedelta(days=first.weekday())
    elif unit in "My":
        first = first.replace(day=1, month=first.month if unit == "M" else 1)
    if not end:
        return first
    if unit in "dw":
        return first + timedelta(seconds=_UNITS[unit])
    # The first of a month and 31 days are in the next month; the first of January and 366 in the next January.
    return (first + timedelta(days=31 if unit == "M" else 366)).replace(day=1)
