"""The answer of a panel as rows of words and numbers, the way Dashboards would label and format them."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import Any

from etl.dashboards.checking import pattern_fields
from etl.dashboards.completing import OTHER
from etl.dashboards.intervals import Interval
from etl.dashboards.panels import Answer, Panel
from etl.dashboards.search import MISSING, enabled_parts, filters_by_name, percents
from etl.report.data import Series, Timeline
from etl.report.words import NOTHING, money_words, number_words, plain_line, share_words

CHARTS = frozenset({"histogram", "area", "line", "horizontal_bar", "tagcloud"})
"""The kinds of panels that are drawn along axes."""

Words = Callable[[object], str]

_COUNTS = frozenset({"count", "cardinality"})
_NAMES = {
    "avg": "Average {}",
    "cardinality": "Unique count of {}",
    "date_histogram": "{}",
    "histogram": "{}",
    "max": "Max {}",
    "median": "Median {}",
    "min": "Min {}",
    "std_dev": "Standard Deviation of {}",
    "sum": "Sum of {}",
    "terms": "{}",
}
"""Kind of aggregation -> what Dashboards calls one of a field."""
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

    in_time: which of the keys is the one along the time axis, None without one; step: how wide its bars are. axis:
    which of the keys is the one along the axis of names.
    """

    keys: tuple[str, ...]
    metrics: tuple[str, ...]
    words: tuple[Words, ...]
    rows: tuple[Row, ...]
    in_time: int | None = None
    step: Interval | None = None
    axis: int = 0


@dataclass(frozen=True, slots=True)
class _Column:
    """One value of a metric, which may have several: its name, where it is in a bucket, how it is written."""

    name: str
    read: Callable[[Mapping[str, Any]], object]
    words: Words


def read_rows(answer: Answer) -> Rows:
    """The innermost buckets of a visualization's answer, in the server's order."""
    panel = answer.panel
    buckets, metrics = enabled_parts(panel.state)
    columns = [column for agg in metrics for column in _columns(panel, agg)]
    rows: list[Row] = []
    _walk(answer, buckets, columns, rows)
    axes = [place for place, agg in enumerate(buckets) if agg.get("schema") not in {"group", "split"}]
    in_time = next((place for place in axes if buckets[place]["type"] == "date_histogram"), None)
    return Rows(
        tuple(_label(agg) for agg in buckets),
        tuple(column.name for column in columns),
        tuple(column.words for column in columns),
        tuple(rows),
        in_time,
        answer.step,
        axes[0] if axes else 0,
    )


def _walk(answer: Answer, buckets: Sequence[Mapping[str, Any]], columns: Sequence[_Column], rows: list[Row]) -> None:
    whole = {**answer.found.get("aggregations", {}), "doc_count": answer.documents}
    waiting: list[tuple[int, Mapping[str, Any], tuple[str, ...], datetime | None]] = [(0, whole, (), None)]
    while waiting:
        depth, bucket, keys, moment = waiting.pop()
        if depth == len(buckets):
            rows.append(Row(keys, tuple(column.read(bucket) for column in columns), moment))
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
    names = filters_by_name(agg["params"]) if agg["type"] == "filters" else {}
    return [(name, buckets[name]) for name in dict.fromkeys([*names, *buckets]) if name in buckets]


def _key(panel: Panel, agg: Mapping[str, Any], bucket: Mapping[str, Any]) -> str:
    if agg["type"] == "date_histogram":
        moment = datetime.fromtimestamp(bucket["key"] / 1000, UTC)
        return f"{moment:%Y-%m-%d}" if moment.time() == time() else f"{moment:%Y-%m-%d %H:%M}"
    key = bucket.get("key_as_string", bucket["key"])
    if key in {MISSING, OTHER}:
        kind = "missing" if key == MISSING else "other"
        return str(agg["params"].get(f"{kind}BucketLabel", kind.capitalize()))
    words = value_words(panel, agg)
    if agg["type"] == "range":
        limits = [f"{sign} {words(bucket[end])}" for sign, end in (("≥", "from"), ("<", "to")) if end in bucket]
        return " and ".join(limits) or "all"
    if isinstance(key, int | float) or agg["type"] == "terms":
        return words(key)
    return str(key)


def _label(agg: Mapping[str, Any]) -> str:
    params = agg["params"]
    if params.get("customLabel"):
        return plain_line(params["customLabel"], 80)
    if agg["type"] == "count":
        return "Count"
    field = params.get("field", "")
    name = _NAMES.get(agg["type"], agg["type"].replace("_", " ").capitalize() + " {}")
    return plain_line(name.format(field).strip(), 80)


def _columns(panel: Panel, agg: Mapping[str, Any]) -> list[_Column]:
    """The values of a metric, named as Dashboards names them: percentiles have one each, a deviation has two."""
    kind, label, words = agg["type"], _label(agg), value_words(panel, agg)
    own = agg["params"].get("customLabel") or agg["params"].get("field")
    if kind == "percentiles":
        return [
            _Column(f"{_ordinal(percent)} percentile of {own}", _percent_reader(agg, percent), words)
            for percent in percents(agg)
        ]
    if kind == "percentile_ranks":
        return [
            _Column(f"Percentile rank {words(value)} of {own}", _percent_reader(agg, value, 100), _share)
            for value in agg["params"]["values"]
        ]
    if kind == "std_dev":
        return [_Column(f"{side} {label}", _bound_reader(agg, side.lower()), words) for side in ("Lower", "Upper")]
    return [_Column(label, lambda bucket: _value(agg, bucket), words)]


def _percent_reader(agg: Mapping[str, Any], key: float, divisor: int = 1) -> Callable[[Mapping[str, Any]], object]:
    def read(bucket: Mapping[str, Any]) -> object:
        found = bucket[agg["id"]]["values"].get(str(float(key)))
        return found / divisor if found is not None else None

    return read


def _bound_reader(agg: Mapping[str, Any], side: str) -> Callable[[Mapping[str, Any]], object]:
    return lambda bucket: bucket[agg["id"]].get("std_deviation_bounds", {}).get(side)


def _share(value: object) -> str:
    return share_words(value) if isinstance(value, int | float) else NOTHING


def _ordinal(number: float) -> str:
    endings = {1.0: "st", 2.0: "nd", 3.0: "rd"}
    return f"{number:g}" + ("th" if 10 < number % 100 < 14 else endings.get(number % 10, "th"))


def _value(agg: Mapping[str, Any], bucket: Mapping[str, Any]) -> object:
    if agg["type"] == "count":
        return bucket["doc_count"]
    found = bucket.get(agg["id"], {})
    if "values" in found:  # a median
        return next(iter(found["values"].values()), None)
    if "hits" in found:
        hits = [value for hit in found["hits"]["hits"] for value in hit["_source"].values()]
        return _hits_value(hits, agg["params"].get("aggregate", "concat"))
    return found.get("value")


def _hits_value(hits: Sequence[Any], aggregate: str) -> object:
    """What a top hit shows of its values: the only one, else all of them or what is made of them."""
    values = [value for hit in hits for value in (hit if isinstance(hit, list) else [hit])]
    if len(values) < 2:
        return values[0] if values else None
    if aggregate not in {"min", "max", "sum", "average"}:
        return values
    numbers = [value for value in values if isinstance(value, int | float)]
    if not numbers:
        return None
    whole = sum(numbers) / len(numbers) if aggregate == "average" else sum(numbers)
    return {"min": min(numbers), "max": max(numbers)}.get(aggregate, whole)


def value_words(panel: Panel, agg: Mapping[str, Any]) -> Words:
    """How the values of an aggregation are written: by the format that the index pattern gives its field."""
    inner = agg["params"].get("customMetric")
    name = (inner or agg)["params"].get("field", "")
    return field_words(panel, name if agg["type"] not in _COUNTS else "")


def field_words(panel: Panel, name: str) -> Words:
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


def is_all_zero(rows: Rows) -> bool:
    """Whether no row has a value, or none but 0: a chart of them has nothing to see."""
    return not any(value for row in rows.rows for value in row.values)


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
    step = rows.step or Interval(1, "d")
    starts = _starts(sorted(moments), step)
    series = tuple(Series(name, tuple(line.get(start) for start in starts)) for name, line in found.items())
    # An hour needs its time of day; for longer steps the day says it all.
    in_hours = step.period == "hour"
    return Timeline(step.period, tuple(start if in_hours else start.date() for start in starts), series)


def _starts(moments: Sequence[datetime], step: Interval) -> list[datetime]:
    """All moments of a time axis from the first to the last one, gaps filled."""
    if len(moments) < 2:
        return list(moments)
    filled: list[datetime] = []
    moment = moments[0]
    while moment <= moments[-1] and len(filled) < _MOST_PERIODS:
        filled.append(moment)
        moment = step.after(moment)
    return filled if set(moments) <= set(filled) else list(moments)


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
        name = row.keys[rows.axis] if row.keys else ""
        rest = [key for place, key in enumerate(row.keys) if place != rows.axis]
        for label, value in zip(rows.metrics, row.values, strict=True):
            part = ": ".join([*rest, label] if rest and len(rows.metrics) > 1 else rest or [label])
            if isinstance(value, int | float):
                bars.setdefault(name, []).append((part, float(value)))
    return list(bars.items())
