"""A visualization as the search that Dashboards would send: for tests, checks and previews without Dashboards."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from etl.dashboards.saved_objects import BUCKETS, SavedObject, search_source
from etl.errors import ConfigurationError

_AUTO_STEPS = (
    (timedelta(days=4), "hour"),
    (timedelta(days=90), "day"),
    (timedelta(days=700), "week"),
    (timedelta(days=5000), "month"),
)
"""Longest time range -> the calendar interval that keeps `auto` near fifty to a hundred buckets."""

_INTERVALS = {"h": "hour", "d": "day", "w": "week", "M": "month", "y": "year"}
_METRICS = frozenset({"avg", "sum", "min", "max", "cardinality"})


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
        level: dict[str, Any] = {agg["id"]: {agg["type"]: _bucket(agg, metrics, span)}}
        if inner:
            level[agg["id"]]["aggs"] = inner
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
        if entry["meta"].get("disabled"):
            continue
        (must_not if entry["meta"].get("negate") else must).append(entry["query"])
    return {"bool": {"filter": must, "must_not": must_not}}


def lucene_clause(words: str) -> dict[str, Any]:
    """A query in Lucene's words, as Dashboards sends it."""
    return {"query_string": {"query": words, "analyze_wildcard": True}}


def _metric(agg: Mapping[str, Any], span: timedelta) -> dict[str, Any]:
    params, identifier = agg["params"], agg["id"]
    if agg["type"] == "count":
        return {}
    if agg["type"] in _METRICS:
        return {identifier: {agg["type"]: {"field": params["field"]}}}
    if agg["type"] == "median":
        return {identifier: {"percentiles": {"field": params["field"], "percents": [50]}}}
    if agg["type"] == "avg_bucket":
        bucket, metric = params["customBucket"], params["customMetric"]
        return {
            bucket["id"]: {bucket["type"]: _bucket(bucket, [], span), "aggs": _metric(metric, span)},
            identifier: {"avg_bucket": {"buckets_path": f"{bucket['id']}>{metric['id']}"}},
        }
    raise ConfigurationError(f"the metric {agg['type']!r} cannot be told as a search here")


def _bucket(agg: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], span: timedelta) -> dict[str, Any]:
    params = agg["params"]
    if agg["type"] == "terms":
        ordered_by = {metric["id"]: metric for metric in metrics}.get(params["orderBy"])
        key = params["orderBy"]
        if ordered_by is not None and ordered_by["type"] == "count":
            key = "_count"
        elif ordered_by is not None and ordered_by["type"] == "median":
            key = f"{key}.50"
        return {"field": params["field"], "size": params["size"], "order": {key: params["order"]}}
    if agg["type"] == "filters":
        return {"filters": {entry["label"]: lucene_clause(entry["input"]["query"]) for entry in params["filters"]}}
    interval = _INTERVALS.get(params["interval"]) or next(
        (step for limit, step in _AUTO_STEPS if span <= limit), "year"
    )
    return {
        "field": params["field"],
        "calendar_interval": interval,
        "time_zone": "UTC",
        "min_doc_count": params["min_doc_count"],
    }
