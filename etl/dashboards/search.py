"""A panel as the search that Dashboards would send: for checks and previews without Dashboards."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from etl.dashboards.checking import BUCKETS, PIPELINES, find_metric, pattern_fields
from etl.dashboards.intervals import Interval, number_interval, read_interval
from etl.dashboards.saved_objects import SavedObject, search_source
from etl.errors import ConfigurationError

MISSING = "__missing__"
"""The key of a part for documents without the field, as Dashboards asks for it; a panel shows its label."""

Json = dict[str, Any]

_WHOLE = frozenset({"byte", "short", "integer", "long"})
_METRICS = frozenset({"avg", "sum", "min", "max", "cardinality"})


@dataclass(frozen=True, slots=True)
class Scope:
    """What aggregations depend on besides themselves.

    span: the length of the time range shown; pattern: of the index asked, None where it is not known; bounds: what
    `bounds_body` found, by the id of the aggregation.
    """

    span: timedelta = timedelta(days=730)
    pattern: SavedObject | None = None
    bounds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def interval(self, params: Mapping[str, Any]) -> Interval:
        """How wide the bars of a `date_histogram` are; along another field than the time always as asked."""
        on_time = self.pattern is None or self.pattern["attributes"].get("timeFieldName") == params["field"]
        return read_interval(params, self.span, scaled=on_time)

    def kind(self, name: str) -> str:
        """The kind of a field, 'string' where the pattern does not know it."""
        return str(self._field(name).get("type", "string"))

    def is_whole(self, name: str) -> bool:
        """Whether a field holds integers."""
        return set(self._field(name).get("esTypes", ())) <= _WHOLE

    def _field(self, name: str) -> Mapping[str, Any]:
        return pattern_fields(self.pattern).get(name, {}) if self.pattern is not None else {}


def enabled_parts(state: Mapping[str, Any]) -> tuple[list[Json], list[Json]]:
    """The aggregations that are switched on: those that part documents, outermost first, and the metrics."""
    enabled = [agg for agg in state["aggs"] if agg.get("enabled", True)]
    return [agg for agg in enabled if agg["type"] in BUCKETS], [agg for agg in enabled if agg["type"] not in BUCKETS]


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
    scope: Scope | None = None,
) -> dict[str, Any]:
    """The body of a `_search` for a visualization's `visState`, hits left out.

    query: {'query': …, 'language': 'lucene'}; filters: filters as saved objects hold them (`meta.negate`, `query`); the
    time range is one of them.

    Raises:
        ConfigurationError: a part that cannot be told in a search without Dashboards (kuery, another aggregation).
    """
    scope = scope or Scope()
    buckets, metrics = enabled_parts(state)
    inner: dict[str, Any] = {}
    for agg in metrics:
        inner.update(_metric(agg, metrics, scope))
    for agg in reversed(buckets):
        level: dict[str, Any] = {agg["id"]: _bucket(agg, metrics, scope)}
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
    item: SavedObject, filters: Sequence[Mapping[str, Any]] = (), scope: Scope | None = None
) -> dict[str, Any]:
    """The body of a `_search` for a saved visualization, its own query and filters included, with the dashboard's."""
    source = search_source(item)
    state = json.loads(item["attributes"]["visState"])
    return search_body(state, query=source.get("query"), filters=[*source.get("filter", []), *filters], scope=scope)


def bounds_body(body: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any] | None:
    """The search for the least and highest values that the bars of a `histogram` depend on; None without one."""
    fields = {agg["id"]: agg["params"]["field"] for agg in enabled_parts(state)[0] if agg["type"] == "histogram"}
    asked = {identifier: {"stats": {"field": name}} for identifier, name in fields.items()}
    return {"size": 0, "query": body["query"], "aggs": asked} if asked else None


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


def _metric(agg: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], scope: Scope) -> dict[str, Any]:
    """The aggregation of a metric by its id, and what it needs beside it; empty for a count."""
    params, identifier, kind = agg["params"], agg["id"], agg["type"]
    if kind == "count":
        return {}
    if kind in PIPELINES:
        return _pipeline(agg, metrics, scope)
    if kind in _METRICS:
        name, asked = kind, {"field": params["field"]}
    elif kind in {"median", "percentiles"}:
        name, asked = "percentiles", {"field": params["field"], "percents": percents(agg)}
    elif kind == "percentile_ranks":
        name, asked = kind, {"field": params["field"], "values": params["values"]}
    elif kind == "std_dev":
        name, asked = "extended_stats", {"field": params["field"]}
    elif kind == "top_hits":
        order = [{params["sortField"]: {"order": params.get("sortOrder", "desc")}}]
        name, asked = kind, {"size": int(params["size"]), "sort": order, "_source": [_stored(params)]}
    else:
        raise ConfigurationError(f"the metric {kind!r} cannot be told as a search here")
    return {identifier: {name: _with_json(asked, params)}}


def _pipeline(agg: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], scope: Scope) -> dict[str, Any]:
    params, identifier = agg["params"], agg["id"]
    inner = params.get("customMetric")
    if "customBucket" in params:
        bucket, metric = params["customBucket"], inner
        path = bucket["id"] + (f">{metric['id']}" if metric["type"] != "count" else ">_count")
        return {
            bucket["id"]: {**_bucket(bucket, [], scope), "aggs": _metric(metric, metrics, scope)},
            identifier: {agg["type"]: {"buckets_path": path}},
        }
    followed = inner or find_metric(params["metricAgg"], metrics) or {"type": ""}
    path = "_count" if followed["type"] == "count" else inner["id"] if inner else params["metricAgg"]
    asked = {"buckets_path": path, **{name: params[name] for name in ("window", "script") if params.get(name)}}
    beside = _metric(inner, metrics, scope) if inner else {}
    return {**beside, identifier: {agg["type"]: _with_json(asked, params)}}


def percents(agg: Mapping[str, Any]) -> list[float]:
    """Which percentiles a metric asks for."""
    return [50] if agg["type"] == "median" else list(agg["params"].get("percents", (1, 5, 25, 50, 75, 95, 99)))


def _stored(params: Mapping[str, Any]) -> str:
    """The name in the document of a top hit's field: a sub-field such as `title.keyword` is no part of it."""
    return str(params["field"]).removesuffix(".keyword")


def _with_json(asked: Json, params: Mapping[str, Any]) -> Json:
    """What is asked with the editor's *JSON input* besides: null takes something out, what is no JSON is ignored."""
    own: object = None
    with suppress(ValueError):
        own = json.loads(params.get("json") or "{}")
    both = {**asked, **own} if isinstance(own, dict) else asked
    return {name: value for name, value in both.items() if value is not None}


def _bucket(agg: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], scope: Scope) -> dict[str, Any]:
    """The aggregation of a bucket, without what is inside."""
    params, kind = agg["params"], agg["type"]
    if kind == "terms":
        return _terms(params, metrics, scope)
    if kind == "filters":
        return {"filters": {"filters": filters_by_name(params)}}
    if kind in {"range", "date_range"}:
        ranges = [{end: value for end, value in part.items() if value not in {None, ""}} for part in params["ranges"]]
        asked = {"field": params["field"], "ranges": ranges}
    elif kind == "histogram":
        asked = _histogram(agg, scope)
    elif kind == "significant_terms":
        asked = {"field": params["field"], "size": params["size"], **_patterns(params, scope)}
    else:
        least = params.get("min_doc_count", 1)
        asked = {"field": params["field"], **scope.interval(params).clause, "time_zone": "UTC", "min_doc_count": least}
    return {kind: _with_json(asked, params)}


def filters_by_name(params: Mapping[str, Any]) -> dict[str, Json]:
    """The queries of a `filters` by the names that Dashboards shows, in their order."""
    named = {entry.get("label") or entry["input"]["query"] or "*": entry["input"] for entry in params["filters"]}
    return {name: query_clause(query, ()) for name, query in named.items()}


def _histogram(agg: Mapping[str, Any], scope: Scope) -> Json:
    params, found = agg["params"], scope.bounds.get(agg["id"], {})
    low, high = (float(found.get(end) or 0) for end in ("min", "max"))
    width = number_interval(params, low, high, whole=scope.is_whole(params["field"]))
    asked = {"field": params["field"], "interval": width, "min_doc_count": 0 if params.get("min_doc_count") else 1}
    bounds = params.get("extended_bounds") or {}
    if params.get("has_extended_bounds") and all(bounds.get(end) not in {None, ""} for end in ("min", "max")):
        asked["extended_bounds"] = {end: bounds[end] for end in ("min", "max")}
    return asked


def _terms(params: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]], scope: Scope) -> dict[str, Any]:
    key = params.get("orderBy") or "_count"
    beside: dict[str, Any] = {}
    ordered_by = params.get("orderAgg") or find_metric(key, metrics)
    if ordered_by is not None:
        key = ordered_by["id"] if params.get("orderAgg") else key
        # Beside every part that is ordered by it, not only the innermost.
        beside = _metric(ordered_by, metrics, scope)
        if ordered_by["type"] == "count":
            key = "_count"
        elif ordered_by["type"] in {"median", "percentiles"} and key == ordered_by["id"]:
            key = f"{key}.{percents(ordered_by)[0]:g}"
    asked = {"field": params["field"], "size": params.get("size", 5), "order": {key: params.get("order", "desc")}}
    if params.get("missingBucket") and scope.kind(params["field"]) == "string":
        asked["missing"] = MISSING
    terms = {"terms": _with_json({**asked, **_patterns(params, scope)}, params)}
    return {**terms, "aggs": beside} if beside else terms


def _patterns(params: Mapping[str, Any], scope: Scope) -> Json:
    """Which values a part is made of, and of which not: a pattern for words, a list for numbers."""
    asked: Json = {}
    kind = scope.kind(params["field"])
    for name in ("include", "exclude"):
        value = params.get(name)
        value = value.get("pattern") if isinstance(value, dict) else value
        if value and isinstance(value, str) and kind == "string":
            asked[name] = value
        elif value and isinstance(value, list) and kind == "number":
            asked[name] = [number for number in value if isinstance(number, int | float)]
    return asked
