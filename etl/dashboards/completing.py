"""What Dashboards does with an answer before it draws it: parts for all other values, bars in part left out."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from etl.dashboards.search import MISSING, Json, enabled_parts, filters_by_name

OTHER = "__other__"
"""The key of the part for all values that have none of their own; a panel shows its label."""

Ask = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Asks the panel's index with the body of a `_search`; gives the answer."""


def add_others(state: Mapping[str, Any], body: Mapping[str, Any], found: Json, ask: Ask) -> Mapping[str, Any]:
    """The answer `found` to `body`, with a part for all other values wherever terms are grouped so.

    Each level of terms takes one search more, the outer ones first, since an inner one is asked of the other part of
    an outer one as well. `found` is changed. A search that fails in part is given back instead.
    """
    buckets, _ = enabled_parts(state)
    for depth, agg in enumerate(buckets, 1):
        if agg["type"] != "terms" or not agg["params"].get("otherBucket") or "aggregations" not in found:
            continue
        places = list(_places(buckets[:depth], found["aggregations"]))
        if not all(parts for _, parts in places):
            continue  # Then Dashboards shows no other part at all.
        inner = body["aggs"]
        for outer in buckets[: depth - 1]:
            inner = inner[outer["id"]]["aggs"]
        named = {
            str(number): {"bool": {"filter": [*around, _other_clause(agg["params"], parts)]}}
            for number, (around, parts) in enumerate(places)
        }
        others: Json = {"filters": {"filters": named}}
        if "aggs" in inner[agg["id"]]:
            others["aggs"] = inner[agg["id"]]["aggs"]
        answer = ask({"size": 0, "query": body["query"], "aggs": {"others": others}})
        if answer.get("_shards", {}).get("failures"):
            return answer
        for number, (_, parts) in enumerate(places):
            part = answer["aggregations"]["others"]["buckets"][str(number)]
            if part["doc_count"]:
                parts.append({**part, "key": OTHER})
    return found


def drop_partials(
    state: Mapping[str, Any], found: Mapping[str, Any], time_field: str | None, start: datetime, end: datetime
) -> None:
    """Takes the bars out of `found` that begin before `start` or end after `end`, where they are to be dropped."""
    buckets, _ = enabled_parts(state)
    for depth, agg in enumerate(buckets, 1):
        params = agg["params"]
        if agg["type"] != "date_histogram" or not params.get("drop_partials") or params["field"] != time_field:
            continue
        first, last = (moment.timestamp() * 1000 for moment in (start, end))
        for _, bars in _places(buckets[:depth], found.get("aggregations", {})):
            if len(bars) > 1:
                width = bars[1]["key"] - bars[0]["key"]
                bars[:] = [bar for bar in bars if first <= bar["key"] and bar["key"] + width <= last]


def _places(
    buckets: Sequence[Mapping[str, Any]], level: Mapping[str, Any], around: tuple[Json, ...] = ()
) -> Iterator[tuple[tuple[Json, ...], list[Json]]]:
    """Every list of parts that the last of the buckets has, with what is true of the parts around it."""
    agg, *inner = buckets
    parts = level.get(agg["id"], {}).get("buckets", [])
    if not inner:
        yield around, parts
        return
    for clause, part in _told_apart(agg, parts):
        yield from _places(inner, part, (*around, clause))


def _told_apart(agg: Mapping[str, Any], parts: Any) -> Iterable[tuple[Json, Json]]:  # noqa: ANN401  (a list, or parts by name)
    """The parts of a bucket, each with the query for its documents."""
    params, kind = agg["params"], agg["type"]
    if kind == "filters":
        queries = filters_by_name(params)
        return [(queries[name], part) for name, part in parts.items()]
    if kind in {"terms", "significant_terms"}:
        return [(_term_clause(params, part, parts), part) for part in parts]
    if kind in {"range", "date_range"}:
        limits = [(part.get("from"), part.get("to")) for part in parts]
    else:
        # Up to the next bar that has documents: there are none in between.
        keys = [part["key"] for part in parts]
        limits = list(zip(keys, [*keys[1:], None], strict=True))
    return [(_range_clause(params["field"], kind, *limit), part) for limit, part in zip(limits, parts, strict=True)]


def _range_clause(field: str, kind: str, low: float | None, high: float | None) -> Json:
    limits: Json = {sign: value for sign, value in (("gte", low), ("lt", high)) if value is not None}
    if kind.startswith("date"):
        limits = {**{sign: int(value) for sign, value in limits.items()}, "format": "epoch_millis"}
    return {"range": {field: limits}}


def _term_clause(params: Mapping[str, Any], part: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> Json:
    field = params["field"]
    if part["key"] == OTHER:
        return _other_clause(params, parts)
    if part["key"] == MISSING:
        return {"bool": {"must_not": [{"exists": {"field": field}}]}}
    return {"match_phrase": {field: part.get("key_as_string", part["key"])}}


def _other_clause(params: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> Json:
    """The query for documents of none of the parts; those without the field have a part of their own, or none."""
    keys = {part["key"] for part in parts}
    shown = [_term_clause(params, part, ()) for part in parts if part["key"] not in {MISSING, OTHER}]
    with_missing = params.get("missingBucket") and MISSING not in keys
    filters = [] if with_missing else [{"exists": {"field": params["field"]}}]
    return {"bool": {"filter": filters, "must_not": shown}}
