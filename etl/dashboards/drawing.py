"""The answer of a panel as rows of words and numbers, the way Dashboards would label and format them."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, cast

from etl.dashboards.checking import BUCKETS, pattern_fields
from etl.dashboards.panels import Answer, Panel
from etl.dashboards.search import MISSING
from etl.report.data import Series, Timeline
from etl.report.words import NOTHING, Period, money_words, number_words, plain_line, share_words

Words = Callable[[float], str]

_COUNTS = frozenset({"count", "cardinality"})
_STEPS: tuple[tuple[Period, timedelta], ...] = (
    ("hour", timedelta(hours=1)),
    ("day", timedelta(days=1)),
    ("week", timedelta(days=7)),
    ("month", timedelta(days=28)),
    ("year", timedelta(days=365)),
)
_MOST_PERIODS = 800


@dataclass(frozen=True, slots=True)
class Row:
    """One innermost bucket: its keys as shown, outermost first; the moment of a bar in time; a value per metric."""

    keys: tuple[str, ...]
    values: tuple[object, ...]
    moment: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """A panel's answer. keys: the names of the columns of keys; metrics: those of values; words: how each is written.

    in_time: which of the keys is the one along the time axis, None without one; step: how wide its bars are, None where
    it is told by the bars alone.
    """

    keys: tuple[str, ...]
    metrics: tuple[str, ...]
    words: tuple[Callable[[object], str], ...]
    rows: tuple[Row, ...]
    in_time: int | None = None
    step: Period | None = None


def read_rows(answer: Answer) -> Rows:
    """The innermost buckets of a visualization's answer, in the server's order."""
    panel = answer.panel
    enabled = [agg for agg in panel.state["aggs"] if agg.get("enabled", True)]
    buckets = [agg for agg in enabled if agg["type"] in BUCKETS]
    metrics = [agg for agg in enabled if agg["type"] not in BUCKETS]
    rows: list[Row] = []
    _walk(answer, buckets, metrics, rows)
    in_time = next((place for place, agg in enumerate(buckets) if agg["type"] == "date_histogram"), None)
    return Rows(
        tuple(_label(agg) for agg in buckets),
        tuple(_label(agg) for agg in metrics),
        tuple(value_words(panel, agg) for agg in metrics),
        tuple(rows),
        in_time,
        cast("Period | None", answer.step),
    )


def _walk(
    answer: Answer, buckets: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]], rows: list[Row]
) -> None:
    whole = {**answer.found.get("aggregations", {}), "doc_count": answer.documents}
    waiting: list[tuple[int, Mapping[str, Any], tuple[str, ...], datetime | None]] = [(0, whole, (), None)]
    while waiting:
        depth, bucket, keys, moment = waiting.pop()
        if depth == len(buckets):
            rows.append(Row(keys, tuple(_value(agg, bucket) for agg in metrics), moment))
            continue
        agg = buckets[depth]
        inner = bucket.get(agg["id"], {}).get("buckets", [])
        named = _in_order(agg, inner) if isinstance(inner, dict) else ((None, entry) for entry in inner)
        found = []
        for name, entry in named:
            own = datetime.fromtimestamp(entry["key"] / 1000, UTC) if agg["type"] == "date_histogram" else moment
            key = _key(answer.panel, agg, entry) if name is None else name
            found.append((depth + 1, entry, (*keys, plain_line(key, 120)), own))
        waiting += reversed(found)


def _in_order(agg: Mapping[str, Any], buckets: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Parts by queries in the order of the queries, as Dashboards shows them; OpenSearch sorts them by name."""
    labels = [entry.get("label") or entry["input"]["query"] for entry in agg["params"].get("filters", [])]
    return [(name, buckets[name]) for name in dict.fromkeys([*labels, *buckets]) if name in buckets]


def _key(panel: Panel, agg: Mapping[str, Any], bucket: Mapping[str, Any]) -> str:
    if agg["type"] == "date_histogram":
        moment = datetime.fromtimestamp(bucket["key"] / 1000, UTC)
        return f"{moment:%Y-%m-%d}" if moment.hour == 0 else f"{moment:%Y-%m-%d %H:%M}"
    key = bucket.get("key_as_string", bucket["key"])
    if key == MISSING:
        return str(agg["params"].get("missingBucketLabel", "Missing"))
    if isinstance(key, int | float) or agg["type"] == "terms":
        return value_words(panel, agg)(key)
    return str(key)


def _label(agg: Mapping[str, Any]) -> str:
    params = agg["params"]
    if params.get("customLabel"):
        return plain_line(params["customLabel"], 80)
    if agg["type"] == "count":
        return "Count"
    field = params.get("field", "")
    return plain_line(f"{agg['type'].replace('_', ' ')} {field}".strip().capitalize() if field else agg["type"], 80)


def _value(agg: Mapping[str, Any], bucket: Mapping[str, Any]) -> object:
    if agg["type"] == "count":
        return bucket["doc_count"]
    found = bucket.get(agg["id"], {})
    if "values" in found:
        values = found["values"]
        return next(iter(values.values()), None) if isinstance(values, dict) else values[0]["value"]
    if "hits" in found:
        hits = [value for hit in found["hits"]["hits"] for value in hit["_source"].values()]
        return ", ".join(str(value) for value in hits) or None
    return found.get("avg") if "std_deviation" in found else found.get("value")


def value_words(panel: Panel, agg: Mapping[str, Any]) -> Callable[[object], str]:
    """How the values of an aggregation are written: by the format that the index pattern gives its field."""
    inner = agg["params"].get("customMetric")
    name = (inner or agg)["params"].get("field", "")
    return field_words(panel, name if agg["type"] not in _COUNTS else "")


def field_words(panel: Panel, name: str) -> Callable[[object], str]:
    """How values of a field are written."""
    fields = pattern_fields(panel.pattern) if panel.pattern is not None else {}
    formats = json.loads(panel.pattern["attributes"].get("fieldFormatMap", "{}")) if panel.pattern is not None else {}
    chosen, kind = formats.get(name, {}), fields.get(name, {}).get("type")

    def words(value: object) -> str:
        if value is None:
            return NOTHING
        if isinstance(value, list):
            return ", ".join(words(entry) for entry in value)
        if kind == "date":
            return _date_words(value)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, int | float):
            return _number_words(float(value), chosen)
        length = chosen.get("params", {}).get("fieldLength") if chosen.get("id") == "truncate" else None
        return plain_line(str(value), int(length) + 1 if length else 300)

    return words


def _number_words(value: float, chosen: Mapping[str, Any]) -> str:
    pattern = str(chosen.get("params", {}).get("pattern", ""))
    if chosen.get("id") == "percent":
        return share_words(value)
    if pattern.startswith("$"):
        return money_words(value)
    if pattern == "0":
        return f"{value:.0f}"
    if re.fullmatch(r"0,0(\.0+)?", pattern):
        return f"{value:,.{max(len(pattern) - 4, 0)}f}"
    return number_words(value)


def _date_words(value: object) -> str:
    try:
        if isinstance(value, int | float):
            moment = datetime.fromtimestamp(value / 1000, UTC)
        else:
            moment = datetime.fromisoformat(str(value))
            # A day, as documents of `daily` have it, is one of UTC wherever the page is made.
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return plain_line(str(value), 40)
    return f"{moment:%Y-%m-%d %H:%M}"


def time_series(rows: Rows) -> Timeline:
    """Rows with a time axis as series, one per other key and metric; bars without documents are told as missing."""
    place = rows.in_time or 0
    found: dict[str, dict[datetime, float]] = {}
    moments = {row.moment for row in rows.rows if row.moment is not None}
    for row in rows.rows:
        parts = [key for index, key in enumerate(row.keys) if index != place]
        for label, value in zip(rows.metrics, row.values, strict=True):
            name = ": ".join([*parts, label] if parts and len(rows.metrics) > 1 else parts or [label])
            line = found.setdefault(name, {})
            if isinstance(value, int | float) and row.moment is not None:
                line[row.moment] = line.get(row.moment, 0) + value
    step, starts = _periods(sorted(moments), rows.step)
    series = tuple(Series(name, tuple(line.get(start) for start in starts)) for name, line in found.items())
    # An hour needs its time of day; for longer steps the day says it all.
    return Timeline(step, tuple(start if step == "hour" else start.date() for start in starts), series)


def _periods(moments: Sequence[datetime], step: Period | None) -> tuple[Period, list[datetime]]:
    """The step of a time axis, and all its moments from the first to the last one, gaps filled."""
    if len(moments) < 2:
        return step or "day", list(moments)
    if step is None:
        least = min(later - earlier for earlier, later in pairwise(moments))
        step = cast("Period", next((name for name, length in reversed(_STEPS) if least >= length), "hour"))
    filled: list[datetime] = []
    moment = moments[0]
    while moment <= moments[-1] and len(filled) < _MOST_PERIODS:
        filled.append(moment)
        moment = _next(moment, step)
    return (step, filled) if set(moments) <= set(filled) else (step, list(moments))


def _next(moment: datetime, step: Period) -> datetime:
    if step == "month":
        return (moment.replace(day=1) + timedelta(days=32)).replace(day=1)
    if step == "year":
        return moment.replace(year=moment.year + 1, month=1, day=1)
    return moment + dict(_STEPS)[step]


def as_shares(timeline: Timeline) -> Timeline:
    """The values of each period as parts of their sum; a period without any has none."""
    totals = [sum(series.values[place] or 0 for series in timeline.series) for place in range(len(timeline.starts))]
    return Timeline(
        timeline.step,
        timeline.starts,
        tuple(
            Series(
                series.category,
                tuple(
                    (value or 0) / total if total else None for value, total in zip(series.values, totals, strict=True)
                ),
            )
            for series in timeline.series
        ),
    )


def parts_by_name(rows: Rows) -> list[tuple[str, list[tuple[str, float]]]]:
    """Rows without a time axis as bars: name -> its parts, one per further key or metric."""
    bars: dict[str, list[tuple[str, float]]] = {}
    for row in rows.rows:
        name, *rest = row.keys or ("",)
        for label, value in zip(rows.metrics, row.values, strict=True):
            part = ": ".join([*rest, label] if rest and len(rows.metrics) > 1 else rest or [label])
            if isinstance(value, int | float):
                bars.setdefault(name, []).append((part, float(value)))
    return list(bars.items())
