"""Tests of how wide bars are, against the tables in Dashboards' source."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl.dashboards.intervals import Interval, number_interval, read_interval
from etl.errors import ConfigurationError

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("span", "interval"),
    [
        (15 * MINUTE, {"fixed_interval": "30s"}),
        (HOUR, {"calendar_interval": "1m"}),
        (4 * HOUR, {"fixed_interval": "5m"}),
        (12 * HOUR, {"fixed_interval": "10m"}),
        (DAY, {"fixed_interval": "30m"}),
        (2 * DAY, {"calendar_interval": "1h"}),
        (7 * DAY, {"fixed_interval": "3h"}),
        (30 * DAY, {"fixed_interval": "12h"}),
        (90 * DAY, {"calendar_interval": "1d"}),
        (730 * DAY, {"calendar_interval": "1w"}),
        (1100 * DAY, {"fixed_interval": "30d"}),
        (20_000 * DAY, {"fixed_interval": "365d"}),
    ],
)
def test_the_automatic_interval_is_that_of_dashboards(span: timedelta, interval: dict[str, str]) -> None:
    assert read_interval({"interval": "auto"}, span).clause == interval
    assert read_interval({}, span).clause == interval, "and it is the default"


@pytest.mark.parametrize(
    ("words", "interval"),
    [
        ("ms", {"fixed_interval": "1ms"}),
        ("0.0001ms", {"fixed_interval": "1ms"}),
        ("s", {"fixed_interval": "1s"}),
        ("m", {"calendar_interval": "1m"}),
        ("h", {"calendar_interval": "1h"}),
        ("d", {"calendar_interval": "1d"}),
        ("w", {"calendar_interval": "1w"}),
        ("M", {"calendar_interval": "1M"}),
        ("y", {"calendar_interval": "1y"}),
        ("year", {"calendar_interval": "1y"}),
        ("90s", {"fixed_interval": "90s"}),
        ("30m", {"fixed_interval": "30m"}),
        ("1.5h", {"fixed_interval": "90m"}),
        ("12h", {"fixed_interval": "12h"}),
        ("24h", {"calendar_interval": "1d"}),
        ("2d", {"fixed_interval": "2d"}),
        ("7d", {"calendar_interval": "1w"}),
        ("30 d", {"fixed_interval": "30d"}),
    ],
)
def test_an_interval_is_normalised_as_dashboards_does(words: str, interval: dict[str, str]) -> None:
    assert read_interval({"interval": words}, DAY, scaled=False).clause == interval
    older = {"interval": "custom", "customInterval": words}
    assert read_interval(older, DAY, scaled=False).clause == interval


@pytest.mark.parametrize("words", ["2w", "14d", "3M", "2y", "day", "1q", "-1d", "1.d.", "custom"])
def test_an_interval_that_dashboards_refuses_is_refused(words: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is no interval|Dashboards refuses"):
        read_interval({"interval": words}, DAY, scaled=False)


@pytest.mark.parametrize(
    ("words", "days", "interval"),
    [
        ("h", 4, {"calendar_interval": "1h"}),
        ("h", 5, {"calendar_interval": "1h"}),
        ("30m", 5, {"calendar_interval": "1h"}),
        ("h", 30, {"fixed_interval": "3h"}),
        ("6h", 31, {"fixed_interval": "3h"}),
        ("d", 365, {"calendar_interval": "1d"}),
        ("d", 730, {"calendar_interval": "1w"}),
        ("w", 730, {"calendar_interval": "1w"}),
        ("w", 3650, {"fixed_interval": "30d"}),
        ("M", 4000, {"calendar_interval": "1M"}),
        ("0.0001ms", 1, {"fixed_interval": "10m"}),
    ],
)
def test_for_more_than_a_hundred_bars_dashboards_takes_an_interval_of_its_own(
    words: str, days: int, interval: dict[str, str]
) -> None:
    assert read_interval({"interval": words}, days * DAY).clause == interval


@pytest.mark.parametrize(
    ("interval", "after", "period"),
    [
        (Interval(12, "h"), datetime(2026, 1, 31, 12, tzinfo=UTC), "hour"),
        (Interval(2, "d"), datetime(2026, 2, 2, tzinfo=UTC), "day"),
        (Interval(1, "w"), datetime(2026, 2, 7, tzinfo=UTC), "week"),
        (Interval(1, "M"), datetime(2026, 2, 1, tzinfo=UTC), "month"),
        (Interval(1, "y"), datetime(2027, 1, 1, tzinfo=UTC), "year"),
    ],
)
def test_a_bar_follows_the_one_before(interval: Interval, after: datetime, period: str) -> None:
    assert (interval.after(datetime(2026, 1, 31, tzinfo=UTC)), interval.period) == (after, period)


@pytest.mark.parametrize(
    ("params", "low", "high", "whole", "width"),
    [
        ({"interval": "auto"}, 0, 50, True, 1),
        ({"interval": "auto"}, 0, 1, False, 0.01),
        ({"interval": "auto"}, 0, 150, True, 2),
        ({"interval": "auto"}, 0, 450, True, 5),
        ({"interval": "auto"}, 0, 900, True, 10),
        ({"interval": "auto", "maxBars": 10}, 0, 900, True, 100),
        ({"interval": "auto", "maxBars": ""}, 0, 900, True, 10),
        ({"interval": "auto"}, 4, 4, False, 1),
        ({}, 0, 50, True, 1),
        ({"interval": 5}, 0, 400, True, 5),
        ({"interval": "5"}, 0, 1200, True, 20),
        ({"interval": 0}, 0, 1200, True, 20),
        ({"interval": "0"}, 4, 4, True, 1),
    ],
)
def test_bars_of_numbers_are_as_wide_as_in_dashboards(
    params: dict[str, Any], low: float, high: float, whole: bool, width: float
) -> None:
    assert number_interval(params, low, high, whole=whole) == pytest.approx(width)
