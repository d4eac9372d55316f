"""A search that answers out of nothing but the question: every part twice, every metric a number. For tests."""

from collections.abc import Mapping
from typing import Any

DAY = 86_400_000
FIRST = 1_767_225_600_000  # 2026-01-01
HOSTILE = '<script>alert(1)</script>"onmouseover="x'


def answer(body: Mapping[str, Any], name: str = "bug") -> dict[str, Any]:
    """What a server with two values of every field, `name` and a hostile one, might answer to a `_search`."""
    found: dict[str, Any] = {"_shards": {"failed": 0}, "hits": {"total": {"value": 30}, "hits": []}}
    if body.get("size"):
        source: dict[str, Any] = dict.fromkeys(body["_source"], HOSTILE)
        source |= {"url": "https://github.com/a/b/issues/1", "created_at": "2026-01-02T03:04:05Z", "confidence": 0.25}
        found["hits"]["hits"] = [{"_source": source}, {"_source": {**source, "url": "javascript:alert(1)"}}]
    if "aggs" in body:
        found["aggregations"] = _aggregations(body["aggs"], name)
    return found


def _aggregations(asked: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {identifier: _aggregation(one, name) for identifier, one in asked.items()}


def _aggregation(one: Mapping[str, Any], name: str) -> dict[str, Any]:
    inner = one.get("aggs", {})

    def bucket(key: object, count: int) -> dict[str, Any]:
        return {"key": key, "doc_count": count, **_aggregations(inner, name)}

    (kind,) = set(one) - {"aggs"}
    if kind == "date_histogram":
        return {"buckets": [bucket(FIRST + place * 7 * DAY, 10) for place in (0, 1, 3)]}
    if kind == "filters":
        return {"buckets": {label: bucket(label, 5) for label in one["filters"]["filters"]}}
    if kind in {"terms", "histogram", "range", "significant_terms"}:
        return {"buckets": [bucket(name, 20), bucket(HOSTILE, 10)]}
    if kind == "percentiles":
        return {"values": {"50.0": 12.5}}
    if kind == "top_hits":
        own = {"url": "https://github.com/a/b/issues/1"}
        return {"hits": {"hits": [{"_source": {field: own.get(field, HOSTILE) for field in one[kind]["_source"]}}]}}
    if kind == "stats":
        return {"count": 3, "min": 1, "max": 9}
    return {"value": 0.5}
