"""A panel as the search that Dashboards would send: for checks and previews without Dashboards."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from etl.dashboards.checking import BUCKETS, PIPELINES
from etl.dashboards.saved_objects import SavedObject, search_source
from etl.errors import ConfigurationError

MISSING = "__missing__"
"""The key of a part for documents without the field, as Dashboards asks for it; a panel shows its label."""

_AUTO_STEPS = (
    (timedelta(days=4), "hour"),
    (timedelta(days=90), "day"),
    (timedelta(days=700), "week"),
    (timedelta(days=5000), "month"),
)
"""Longest time range -> the calendar interval that keeps `auto` near fifty to a hundred buckets."""

_INTERVALS = {"h": "hour", "d": "day", "w": "week", "M": "month", "y": "year"}
_METRICS = frozenset({"avg", "sum", "min", "max", "cardinality"})
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


def time_filter(field: str, start: str, end: str) -> dict[str, Any]:
    """The filter of the time range that a dashboard shows: from `start` to `end`, as `read_moment` takes them."""
    limits = {"gte": start, "lte": end, "format": "strict_date_optional_time"}
    return {"meta": {}, "query": {"range": {field: limits}}}


def phrase_filter(field: str, values: Sequence[str]) -> dict[str, Any]:
    """The filter of a pill: `field` is one of `values`."""
    phrases = [{"match_phrase": {field: value}} for value in values]
    return {"meta": {"key": field}, "query": {"bool": {"should": phrases, "minimum_should_match": 1}}}


def search_body(
    state: Mapping[str, Any],
    *,
    query: Mapping[str, Any] | None = None,
    filters: Sequence[Mapping[str, Any]] = (),
    span: timedelta = timedelta(days=730),
) -> dict[str, Any]:
    """The body of a `_search` for a visualization's `visState`, hits left out.

    query: {'query': …, 'language': 'lucene'}; filters: filters as saved objects hold them (`meta.negate`, `query`);
    span: the time range shown, which decides what the interval 'auto' is. The time range itself is a filter, too.

    Raises:
        ConfigurationError: a part that cannot be told in a search without Dashboards (kuery, another aggregation).
    """
    enabled = [agg for agg in state["aggs"] if agg.get("enabled", True)]
    metrics = [agg for agg in enabled if agg["type"] not in BUCKETS]
    buckets = [agg for agg in enabled if agg["type"] in BUCKETS]
    inner: dict[str, Any] = {}
    for agg in metrics:
        inner.update(_metric(agg, span))
    for agg in reversed(buckets):
        level: dict[str, Any] = {agg["id"]: _bucket(agg, metrics, span)}
        if inner:
            level[agg["id"]].setdefault("aggs", {}).update(inner)
        inner = level
    body: dict[str, Any] = {"size": 0, "track_total_hits": True, "query": query_clause(query, filters)}
    if inner:
        body["aggs"] = inner
    return body


def saved_search_body(item: SavedObject, filters: Sequence[Mapping[str, Any]] = (), size: int = 50) -> dict[str, Any]:
    """The body of a `_search` for a saved search: its columns and order, the first `size` hits."""
    source = search_source(item)
    return {
        "size": size,
        "_source": item["attributes"]["columns"],
        "sort": [{field: {"order": order}} for field, order in item["attributes"]["sort"]],
        "track_total_hits": True,
        "query": query_clause(source.get("query"), [*source.get("filter", []), *filters]),
    }


def panel_body(
    item: SavedObject, filters: Sequence[Mapping[str, Any]] = (), span: timedelta = timedelta(days=730)
) -> dict[str, Any]:
    """The body of a `_search` for a saved visualization, its own query and filters included, with the dashboard's."""
    source = search_source(item)
    state = json.loads(item["attributes"]["visState"])
    return search_body(state, query=source.get("query"), filters=[*source.get("filter", []), *filters], span=span)


def query_clause(query: Mapping[str, Any] | None, filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A query and filters of saved objects as one `bool` clause.

    Raises:
        ConfigurationError: the query is in Dashboards' own language, which OpenSearch does not know.
    """
    must: list[Mapping[str, Any]] = []
    must_not: list[Mapping[str, Any]] = []
    if query and query["query"]:
        if query["language"] != "lucene":
            raise ConfigurationError(f"the query {query['query']!r} is {query['language']}; write it as lucene")
        must.append(lucene_clause(query["query"]))
    for entry in filters:
        meta = entry.get("meta", {})
        if meta.get("disabled"):
            continue
        (must_not if meta.get("negate") else must).append(filter_query(entry))
    return {"bool": {"filter": must, "must_not": must_not}}


def filter_query(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a filter asks. Dashboards keeps *exists* and *is between* beside `query`, under their own names."""
    query: Mapping[str, Any] | None = entry.get("query")
    return query or {name: part for name, part in entry.items() if name not in {"meta", "$state", "query"}}


def lucene_clause(words: str) -> dict[str, Any]:
    """A query in Lucene's words, as Dashboards sends it."""
    return {"query_string": {"query": words, "analyze_wildcard": True}}


def controls_body(state: Mapping[str, Any], filters: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """The body of a `_search` for what controls offer: the values of lists, the bounds of ranges."""
    aggregations: dict[str, Any] = {}
    for control in state["params"]["controls"]:
        if control["type"] == "list":
            size = control["options"].get("size", 10)
            aggregations[control["id"]] = {"terms": {"field": control["fieldName"], "size": size}}
        else:
            aggregations[control["id"]] = {"stats": {"field": control["fieldName"]}}
    return {"size": 0, "track_total_hits": True, "query": query_clause(None, filters), "aggs": aggregations}


def _metric(agg: Mapping[str, Any], span: timedelta) -> dict[str, Any]:
    """The aggregation of a metric by its id, and what it needs beside it; empty for a count."""
    params, identifier, kind = agg["params"], agg["id"], agg["type"]
    if kind == "count":
        return {}
    if kind in _METRICS:
        return {identifier: {kind: {"field": params["field"]}}}
    if kind in {"median", "percentiles"}:
        return {identifier: {"percentiles": {"field": params["field"], "percents": _percents(agg)}}}
    if kind == "percentile_ranks":
        return {identifier: {"percentile_ranks": {"field": params["field"], "values": params["values"]}}}
    if kind == "std_dev":
        return {identifier: {"extended_stats": {"field": params["field"]}}}
    if kind == "top_hits":
        order = [{params["sortField"]: {"order": params.get("sortOrder", "desc")}}]
        return {identifier: {"top_hits": {"size": int(params["size"]), "sort": order, "_source": [_stored(params)]}}}
    if kind in PIPELINES:
        return _pipeline(agg, span)
    raise ConfigurationError(f"the metric {kind!r} cannot be told as a search here")


def _pipeline(agg: Mapping[str, Any], span: timedelta) -> dict[str, Any]:
    params, identifier = agg["params"], agg["id"]
    inner = params.get("customMetric")
    if "customBucket" in params:
        bucket, metric = params["customBucket"], inner
        path = bucket["id"] + (f">{metric['id']}" if metric["type"] != "count" else ">_count")
        return {
            bucket["id"]: {**_bucket(bucket, [], span), "aggs": _metric(metric, span)},
            identifier: {agg["type"]: {"buckets_path": path}},
        }
    if inner is not None:
        path = inner["id"] if inner["type"] != "count" else "_count"
        return {**_metric(inner, span), identifier: {agg["type"]: {"buckets_path": path}}}
    return {identifier: {agg["type"]: {"buckets_path": params["metricAgg"]}}}


def _percents(agg: Mapping[str, Any]) -> list[float]:
    return [50] if agg["type"] == "median" else list(agg["params"].get("percents", (1, 5, 25, 50, 75, 95, 99)))


def _stored(params: Mapping[str, Any]) -> str:
    """The name in the document of a top hit's field: a sub-field such as `title.keyword` is no part of it."""
    return str(params["field"]).removesuffix(".keyword")


def _bucket(agg: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], span: timedelta) -> dict[str, Any]:
    """The aggregation of a bucket, without what is inside."""
    params, kind = agg["params"], agg["type"]
    if kind == "terms":
        return _terms(params, metrics, span)
    if kind == "filters":
        named = {entry["label"] or entry["input"]["query"]: entry["input"] for entry in params["filters"]}
        return {"filters": {"filters": {label: query_clause(query, ()) for label, query in named.items()}}}
    if kind in {"range", "date_range"}:
        return {kind: {"field": params["field"], "ranges": params["ranges"]}}
    if kind == "histogram":
        least = 0 if params.get("min_doc_count") else 1
        return {kind: {"field": params["field"], "interval": float(params["interval"]), "min_doc_count": least}}
    if kind == "significant_terms":
        return {kind: {"field": params["field"], "size": params["size"]}}
    return {
        kind: {
            "field": params["field"],
            "calendar_interval": calendar_interval(params, span),
            "time_zone": "UTC",
            "min_doc_count": params.get("min_doc_count", 1),
        }
    }


def calendar_interval(params: Mapping[str, Any], span: timedelta) -> str:
    """How wide the bars of a `date_histogram` are over a time range: 'hour', 'day', 'week', 'month' or 'year'."""
    chosen = _INTERVALS.get(params["interval"])
    return chosen or next((step for limit, step in _AUTO_STEPS if span <= limit), "year")


def _terms(params: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], span: timedelta) -> dict[str, Any]:
    key = params["orderBy"]
    beside: dict[str, Any] = {}
    ordered_by = {metric["id"]: metric for metric in metrics}.get(key)
    if key == "custom":
        ordered_by = params["orderAgg"]
        key = ordered_by["id"]
    if ordered_by is not None:
        # Beside every part that is ordered by it, not only the innermost.
        beside = _metric(ordered_by, span)
    if ordered_by is not None and ordered_by["type"] == "count":
        key = "_count"
    elif ordered_by is not None and ordered_by["type"] in {"median", "percentiles"}:
        key = f"{key}.{_percents(ordered_by)[0]:g}"
    body = {"field": params["field"], "size": params["size"], "order": {key: params["order"]}}
    if params.get("missingBucket"):
        body["missing"] = MISSING
    return {"terms": body, "aggs": beside} if beside else {"terms": body}
