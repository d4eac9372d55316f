"""How wide the bars along an axis are, by the rules and the default settings of Dashboards 2.19 and 3.x.

The rules are those of `src/plugins/data/common/search/aggs/buckets/lib` in its source, the settings
`histogram:barTarget` and `histogram:maxBars`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from etl.errors import ConfigurationError
from etl.report.words import Period

_WANTED_BARS = 50
_MOST_BARS = 100
_UNITS = {
    "y": timedelta(days=365),
    "M": timedelta(days=30),
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_PERIODS: Mapping[str, Period] = {"d": "day", "w": "week", "M": "month", "y": "year"}
_INTERVAL = re.compile(r"(\d{1,6}(?:\.\d{1,6})?|)\s*(ms|[smhdwMy])")
_AUTO = (
    (timedelta(milliseconds=500), timedelta(milliseconds=100)),
    (timedelta(seconds=5), timedelta(seconds=1)),
    (timedelta(seconds=7.5), timedelta(seconds=5)),
    (timedelta(seconds=15), timedelta(seconds=10)),
    (timedelta(seconds=45), timedelta(seconds=30)),
    (timedelta(minutes=3), timedelta(minutes=1)),
    (timedelta(minutes=9), timedelta(minutes=5)),
    (timedelta(minutes=20), timedelta(minutes=10)),
    (timedelta(minutes=45), timedelta(minutes=30)),
    (timedelta(hours=2), timedelta(hours=1)),
    (timedelta(hours=6), timedelta(hours=3)),
    (timedelta(hours=24), timedelta(hours=12)),
    (timedelta(weeks=1), timedelta(days=1)),
    (timedelta(weeks=3), timedelta(weeks=1)),
    (timedelta(days=365), timedelta(days=30)),
    (timedelta.max, timedelta(days=365)),
)
"""A bar that would be narrower than the first becomes as wide as the second; a month is 30 days here."""


@dataclass(frozen=True, slots=True)
class Interval:
    """So many of a unit (ms, s, m, h, d, w, M, y); a single one of m to y is one of the calendar."""

    count: int
    unit: str

    @property
    def clause(self) -> dict[str, str]:
        """What a `date_histogram` is asked with."""
        of_calendar = self.count == 1 and self.unit not in {"ms", "s"}
        return {"calendar_interval" if of_calendar else "fixed_interval": f"{self.count}{self.unit}"}

    @property
    def period(self) -> Period:
        """As what the beginning of a bar is written: with its time of day where it needs one."""
        return _PERIODS.get(self.unit, "hour")

    def after(self, moment: datetime) -> datetime:
        """The beginning of the next bar."""
        if self.unit == "M":
            return (moment.replace(day=1) + timedelta(days=32)).replace(day=1)
        if self.unit == "y":
            return moment.replace(year=moment.year + 1, month=1, day=1)
        return moment + self.count * _UNITS[self.unit]


def read_interval(params: Mapping[str, Any], span: timedelta, *, scaled: bool = True) -> Interval:
    """The interval of a `date_histogram` over a time range of the length `span`.

    scaled: for more than a hundred bars, if they part the time range shown, Dashboards takes an interval of its own:
    the widest of the automatic ones that is no wider than a hundredth of the range, though that may be narrower still.

    Raises:
        ConfigurationError: Dashboards refuses it as well.
    """
    words = str(params.get("interval") or "auto")
    words = str(params.get("customInterval")) if words == "custom" else words
    if words == "auto":
        return _of_length(next(length for limit, length in _AUTO if span / _WANTED_BARS < limit))
    found = _INTERVAL.fullmatch("y" if words == "year" else words.strip())
    if found is None:
        raise ConfigurationError(f"{words!r} is no interval: Dashboards takes auto, or such as 90s, 30m, 12h, 2d, w, M")
    count, unit = float(found[1] or 1) or 1.0, found[2]
    length = max(count * _UNITS[unit], _UNITS["ms"])
    if scaled and span / length > _MOST_BARS:
        own = next((auto for _, auto in reversed(_AUTO) if auto <= span / _MOST_BARS), length)
        if own != length:
            return _of_length(own)
    interval = Interval(1, unit) if unit in "My" and count == 1 else _of_length(length)
    if (unit in "My" and count != 1) or (interval.unit == "w" and interval.count != 1):
        raise ConfigurationError(f"Dashboards refuses the interval {words!r}: weeks, months and years come singly")
    return interval


def _of_length(length: timedelta) -> Interval:
    """In the largest unit of a fixed length that it is a whole number of: 90 minutes, 2 days, 1 week."""
    unit = next((unit for unit, one in _UNITS.items() if unit not in "My" and not length % one), "ms")
    return Interval(length // _UNITS[unit], unit)


def number_interval(params: Mapping[str, Any], low: float, high: float, *, whole: bool) -> float:
    """How wide the bars of a `histogram` are over the values from `low` to `high`; whole: they are integers."""
    spread, auto = high - low, params.get("interval", "auto") == "auto"
    width = 0.0 if auto else float(params["interval"])
    if spread and auto:
        width = _automatic(spread, min(_MOST_BARS, int(params.get("maxBars") or _MOST_BARS)), whole=whole)
    elif spread and (not width or spread / width > _MOST_BARS):
        power = _power(spread / _MOST_BARS)
        width = math.ceil(spread / _MOST_BARS / power) * power
    return width or 1.0


def _automatic(spread: float, most: int, *, whole: bool) -> float:
    if whole and spread < most:
        return 1.0
    power = _power(spread / most)
    return power * next(factor for factor in (1, 2, 5, 10) if spread / power / factor <= most or factor == 10)


def _power(width: float) -> float:
    """The power of ten at or under a width."""
    return float(10.0 ** math.floor(math.log10(width)))
