"""Tests of panels told as searches."""

from datetime import timedelta
from typing import Any

import pytest

from etl.dashboards.search import query_clause, search_body
from etl.errors import ConfigurationError


def agg(identifier: str, kind: str, **params: Any) -> dict[str, Any]:
    return {"id": identifier, "enabled": True, "type": kind, "params": params}


def terms(identifier: str, field: str, order_by: str) -> dict[str, Any]:
    return agg(identifier, "terms", field=field, orderBy=order_by, order="desc", size=5)


def histogram(field: str, interval: str = "auto") -> dict[str, Any]:
    return agg("2", "date_histogram", field=field, interval=interval, min_doc_count=1)


def test_buckets_are_nested_in_order_with_the_metrics_innermost() -> None:
    state = {"aggs": [agg("1", "avg", field="confidence"), histogram("created_at", "d"), terms("3", "repository", "1")]}
    outer = search_body(state)["aggs"]["2"]
    assert outer["date_histogram"]["calendar_interval"] == "day"
    assert outer["aggs"]["3"]["terms"] == {"field": "repository", "size": 5, "order": {"1": "desc"}}
    assert outer["aggs"]["3"]["aggs"] == {"1": {"avg": {"field": "confidence"}}}


def test_ordering_by_a_count_is_ordering_by_documents() -> None:
    body = search_body({"aggs": [agg("1", "count"), terms("2", "task", "1")]})
    assert body["aggs"] == {"2": {"terms": {"field": "task", "size": 5, "order": {"_count": "desc"}}}}


def test_an_average_bucket_stands_beside_the_buckets_it_averages() -> None:
    inner = {"id": "1-bucket", "type": "terms", "params": terms("", "day", "_key")["params"]}
    metric = {"id": "1-metric", "type": "sum", "params": {"field": "open"}}
    body = search_body(
        {"aggs": [agg("1", "avg_bucket", customBucket=inner, customMetric=metric), histogram("day", "w")]}
    )
    inside = body["aggs"]["2"]["aggs"]
    assert inside["1"] == {"avg_bucket": {"buckets_path": "1-bucket>1-metric"}}
    assert inside["1-bucket"]["aggs"] == {"1-metric": {"sum": {"field": "open"}}}


def test_a_disabled_aggregation_is_left_out() -> None:
    assert "aggs" not in search_body({"aggs": [{**terms("2", "task", "_key"), "enabled": False}]})


@pytest.mark.parametrize(
    ("days", "interval"), [(1, "hour"), (60, "day"), (365, "week"), (3000, "month"), (9000, "year")]
)
def test_the_automatic_interval_grows_with_the_time_range(days: int, interval: str) -> None:
    body = search_body({"aggs": [histogram("created_at")]}, span=timedelta(days=days))
    assert body["aggs"]["2"]["date_histogram"]["calendar_interval"] == interval


def test_filters_are_asked_negated_or_left_out_as_their_pills_say() -> None:
    pill = {"meta": {"negate": False}, "query": {"match_phrase": {"task": "a"}}}
    clause = query_clause(
        {"query": "state:open", "language": "lucene"},
        [pill, {"meta": {"negate": True}, "query": {"term": {"x": 1}}}, {"meta": {"disabled": True}, "query": {}}],
    )["bool"]
    assert clause["filter"] == [
        {"query_string": {"query": "state:open", "analyze_wildcard": True}},
        {"match_phrase": {"task": "a"}},
    ]
    assert clause["must_not"] == [{"term": {"x": 1}}]


def test_a_query_in_dashboards_own_language_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="write it as lucene"):
        query_clause({"query": "state : open", "language": "kuery"}, [])


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'top_hits' cannot be told"):
        search_body({"aggs": [agg("1", "top_hits")]})
