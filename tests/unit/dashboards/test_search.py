"""Tests of panels told as searches."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from etl.dashboards.moments import read_moment
from etl.dashboards.saved_objects import SavedObject, compact_json, index_pattern_fields
from etl.dashboards.search import (
    Scope,
    bounds_body,
    controls_body,
    phrase_filter,
    query_clause,
    search_body,
    time_filter,
)
from etl.errors import ConfigurationError


def agg(identifier: str, kind: str, **params: Any) -> dict[str, Any]:
    return {"id": identifier, "enabled": True, "type": kind, "params": params}


def terms(identifier: str, field: str, order_by: str) -> dict[str, Any]:
    return agg(identifier, "terms", field=field, orderBy=order_by, order="desc", size=5)


def histogram(field: str, interval: str = "auto") -> dict[str, Any]:
    return agg("2", "date_histogram", field=field, interval=interval, min_doc_count=1)


def test_buckets_are_nested_in_order_with_the_metrics_innermost() -> None:
    state = {"aggs": [agg("1", "avg", field="confidence"), histogram("created_at", "w"), terms("3", "repository", "1")]}
    outer = search_body(state)["aggs"]["2"]
    assert outer["date_histogram"]["calendar_interval"] == "1w"
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


def pattern(**kinds: str) -> SavedObject:
    """An index pattern over the time field `created_at`, with fields of these types."""
    mapping = {name: {"type": kind} for name, kind in kinds.items()}
    fields = compact_json(index_pattern_fields(mapping))
    return {"type": "index-pattern", "attributes": {"title": "x", "timeFieldName": "created_at", "fields": fields}}


def test_too_many_bars_become_wider_along_the_time_shown_and_not_along_another_field() -> None:
    scope = Scope(timedelta(days=730), pattern(created_at="date", closed_at="date"))
    asked = [search_body({"aggs": [histogram(name, "h")]}, scope=scope) for name in ("created_at", "closed_at")]
    assert [body["aggs"]["2"]["date_histogram"]["calendar_interval"] for body in asked] == ["1w", "1h"]


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
    with pytest.raises(ConfigurationError, match="'geo_centroid' cannot be told"):
        search_body({"aggs": [agg("1", "geo_centroid")]})


NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("words", "moment"),
    [
        ("now", NOW),
        ("now-2h", datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ("now-30d/d", datetime(2026, 10, 22, tzinfo=UTC)),
        ("now+1w", datetime(2026, 11, 28, 12, tzinfo=UTC)),
        ("2026-03-04", datetime(2026, 3, 4, tzinfo=UTC)),
        ("2026-03-04T05:06:00+02:00", datetime(2026, 3, 4, 3, 6, tzinfo=UTC)),
        ("2026-03-04T05:06:07.000Z", datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)),
    ],
)
def test_times_are_read_as_dashboards_writes_them(words: str, moment: datetime) -> None:
    assert read_moment(words, NOW) == moment


UNSENDABLE = ("2026-03-04 12:00", "20260304", "2026-W10", "2026-03-04T12")
"""Python reads these, OpenSearch does not: every panel would fail with a message of its own."""


@pytest.mark.parametrize("words", ["", "yesterday", "now-2", "now-2q", "2026-13-01", "now-99999y", '"}', *UNSENDABLE])
def test_words_that_are_no_time_are_refused(words: str) -> None:
    with pytest.raises(ConfigurationError, match="is no time"):
        read_moment(words, NOW)


def test_the_time_range_is_one_filter_more() -> None:
    clause = query_clause(None, [time_filter("created_at", "now-2y", "now")])["bool"]["filter"]
    assert clause == [{"range": {"created_at": {"gte": "now-2y", "lte": "now", "format": "strict_date_optional_time"}}}]


def test_several_values_of_a_pill_are_alternatives() -> None:
    clause = query_clause(None, [phrase_filter("repository", ["a/b", "c/d"])])["bool"]["filter"][0]["bool"]
    assert clause["should"] == [{"match_phrase": {"repository": "a/b"}}, {"match_phrase": {"repository": "c/d"}}]
    assert clause["minimum_should_match"] == 1


def asked_terms(scope: Scope | None = None, metrics: tuple[dict[str, Any], ...] = (), **params: Any) -> dict[str, Any]:
    """The `terms` that a visualization with these parameters asks."""
    named = terms("2", "model", "_key")
    named["params"] |= params
    found: dict[str, Any] = search_body({"aggs": [*metrics, named]}, scope=scope)["aggs"]["2"]
    return found


def test_a_part_for_documents_without_the_field_is_asked_of_words_only_as_dashboards_does() -> None:
    assert asked_terms(missingBucket=True)["terms"]["missing"] == "__missing__"
    numbers = Scope(pattern=pattern(model="long"))
    assert "missing" not in asked_terms(numbers, missingBucket=True)["terms"]


@pytest.mark.parametrize(
    ("kind", "value", "asked"),
    [
        ("keyword", "claude.*", "claude.*"),
        ("keyword", {"pattern": "claude.*", "flags": ""}, "claude.*"),
        ("keyword", "", None),
        ("keyword", [1, 2], None),
        ("long", [1, 2, "x", None], [1, 2]),
        ("long", "1.*", None),
    ],
)
@pytest.mark.parametrize("name", ["include", "exclude"])
def test_values_are_taken_in_or_left_out_by_a_pattern_for_words_and_a_list_for_numbers(
    kind: str, value: Any, asked: Any, name: str
) -> None:
    assert asked_terms(Scope(pattern=pattern(model=kind)), **{name: value})["terms"].get(name) == asked


def test_parts_may_be_ordered_by_one_value_of_a_metric() -> None:
    metric = agg("1", "percentile_ranks", field="cost_usd", values=[5, 10])
    found = asked_terms(metrics=(metric,), orderBy="1.5")
    assert found["terms"]["order"] == {"1.5": "desc"}
    assert found["aggs"]["1"] == {"percentile_ranks": {"field": "cost_usd", "values": [5, 10]}}


def test_parts_without_an_order_of_their_own_are_the_five_with_most_documents() -> None:
    body = search_body({"aggs": [agg("2", "terms", field="model")]})
    assert body["aggs"]["2"]["terms"] == {"field": "model", "size": 5, "order": {"_count": "desc"}}


def test_what_the_json_input_says_comes_last_and_null_takes_something_out() -> None:
    own = '{"min_doc_count": 0, "size": 7, "order": null}'
    assert asked_terms(json=own)["terms"] == {"field": "model", "size": 7, "min_doc_count": 0}
    assert asked_terms(json="{oops")["terms"] == asked_terms()["terms"]
    metric = search_body({"aggs": [agg("1", "avg", field="x", json='{"missing": 0}')]})["aggs"]["1"]
    assert metric == {"avg": {"field": "x", "missing": 0}}


def test_a_pipeline_over_a_count_follows_the_number_of_documents() -> None:
    follows = agg("3", "moving_fn", metricAgg="1", window=3, script="MovingFunctions.max(values)")
    found = search_body({"aggs": [agg("1", "count"), follows, histogram("created_at", "d")]})["aggs"]["2"]["aggs"]
    assert found == {
        "3": {"moving_fn": {"buckets_path": "_count", "window": 3, "script": "MovingFunctions.max(values)"}}
    }


def test_bars_of_numbers_depend_on_the_least_and_highest_value() -> None:
    numbers = agg("2", "histogram", field="comments", interval="auto")
    state = {"aggs": [agg("1", "count"), numbers]}
    body = search_body(state)
    assert bounds_body(body, state) == {
        "size": 0,
        "query": body["query"],
        "aggs": {"2": {"stats": {"field": "comments"}}},
    }
    scope = Scope(pattern=pattern(comments="integer"), bounds={"2": {"min": 3.0, "max": 1203.0}})
    assert search_body(state, scope=scope)["aggs"]["2"]["histogram"]["interval"] == 20
    assert bounds_body(body, {"aggs": [agg("1", "count")]}) is None


def test_a_query_without_words_or_name_is_called_a_star() -> None:
    everything = {"input": {"query": "", "language": "kuery"}, "label": ""}
    found = search_body({"aggs": [agg("2", "filters", filters=[everything])]})["aggs"]["2"]
    assert found == {"filters": {"filters": {"*": {"bool": {"filter": [], "must_not": []}}}}}


def test_an_open_end_of_a_range_is_left_out() -> None:
    ranges = [{"from": 0, "to": None}, {"from": "", "to": 5}]
    found = search_body({"aggs": [agg("2", "range", field="x", ranges=ranges)]})["aggs"]["2"]
    assert found["range"]["ranges"] == [{"from": 0}, {"to": 5}]


def test_an_outer_part_that_is_ordered_by_a_metric_has_it_beside_it() -> None:
    state = {"aggs": [agg("1", "sum", field="cost_usd"), terms("2", "model", "1"), terms("3", "status", "_key")]}
    outer = search_body(state)["aggs"]["2"]
    assert outer["aggs"]["1"] == {"sum": {"field": "cost_usd"}}
    assert outer["aggs"]["3"]["aggs"] == {"1": {"sum": {"field": "cost_usd"}}}


def test_a_metric_of_its_own_may_order_parts() -> None:
    named = terms("2", "model", "custom")
    named["params"]["orderAgg"] = {"id": "2-orderAgg", "type": "max", "params": {"field": "ended_at"}}
    found = search_body({"aggs": [agg("1", "count"), named]})["aggs"]["2"]
    assert found["terms"]["order"] == {"2-orderAgg": "desc"}
    assert found["aggs"] == {"2-orderAgg": {"max": {"field": "ended_at"}}}


def test_the_top_hit_of_a_sub_field_is_read_from_the_document() -> None:
    metric = agg("1", "top_hits", field="title.keyword", size=1, sortField="created_at", sortOrder="desc")
    assert search_body({"aggs": [metric]})["aggs"]["1"]["top_hits"] == {
        "size": 1,
        "sort": [{"created_at": {"order": "desc"}}],
        "_source": ["title"],
    }


@pytest.mark.parametrize(
    ("kind", "params", "asked"),
    [
        ("std_dev", {"field": "x"}, {"extended_stats": {"field": "x"}}),
        ("percentiles", {"field": "x", "percents": [50, 95]}, {"percentiles": {"field": "x", "percents": [50, 95]}}),
        ("percentile_ranks", {"field": "x", "values": [5]}, {"percentile_ranks": {"field": "x", "values": [5]}}),
        ("cumulative_sum", {"metricAgg": "2"}, {"cumulative_sum": {"buckets_path": "2"}}),
    ],
)
def test_other_metrics_of_the_editor_are_told_as_well(kind: str, params: dict[str, Any], asked: dict[str, Any]) -> None:
    assert search_body({"aggs": [agg("1", kind, **params)]})["aggs"]["1"] == asked


@pytest.mark.parametrize(
    ("kind", "params", "asked"),
    [
        (
            "histogram",
            {"field": "x", "interval": 0.1},
            {"histogram": {"field": "x", "interval": 0.1, "min_doc_count": 1}},
        ),
        ("range", {"field": "x", "ranges": [{"to": 1}]}, {"range": {"field": "x", "ranges": [{"to": 1}]}}),
    ],
)
def test_other_buckets_of_the_editor_are_told_as_well(kind: str, params: dict[str, Any], asked: dict[str, Any]) -> None:
    assert search_body({"aggs": [agg("1", "count"), agg("2", kind, **params)]})["aggs"]["2"] == asked


def test_controls_ask_for_the_values_of_lists_and_the_bounds_of_ranges() -> None:
    controls = [
        {"id": "a", "fieldName": "task", "type": "list", "options": {"size": 100}},
        {"id": "b", "fieldName": "number", "type": "range", "options": {}},
    ]
    assert controls_body({"params": {"controls": controls}})["aggs"] == {
        "a": {"terms": {"field": "task", "size": 100}},
        "b": {"stats": {"field": "number"}},
    }
