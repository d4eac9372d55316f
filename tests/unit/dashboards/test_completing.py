"""Tests of what is done with an answer before it is drawn; that the numbers are right is shown on a real index."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from etl.dashboards.completing import add_others, drop_partials

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = 3_600_000


def part(identifier: str, kind: str, **params: Any) -> dict[str, Any]:
    return {"id": identifier, "type": kind, "params": params}


def bucket(key: object, **inner: Any) -> dict[str, Any]:
    return {"key": key, "doc_count": 1, **inner}


def asked(state: Mapping[str, Any], aggregations: dict[str, Any], left: int = 4) -> tuple[list[Any], dict[str, Any]]:
    """The searches that follow an answer, and the answer then; `left` documents are in each other part."""
    level: dict[str, Any] = {}
    for agg in reversed(state["aggs"]):
        level = {agg["id"]: {agg["type"]: {}, **({"aggs": level} if level else {})}}
    searches: list[Any] = []

    def ask(body: Mapping[str, Any]) -> Mapping[str, Any]:
        searches.append(body["aggs"]["others"])
        inner: dict[str, Any] = {agg: {"buckets": []} for agg in body["aggs"]["others"].get("aggs", {})}
        named = body["aggs"]["others"]["filters"]["filters"]
        return {"aggregations": {"others": {"buckets": {name: {"doc_count": left, **inner} for name in named}}}}

    found = {"aggregations": aggregations}
    add_others(state, {"query": {"match_all": {}}, "aggs": level}, found, ask)
    return searches, found["aggregations"]


OTHERS = part("2", "terms", field="model", otherBucket=True)


def clauses(search: Any, name: str = "0") -> list[Any]:
    found: list[Any] = search["filters"]["filters"][name]["bool"]["filter"]
    return found


def test_all_other_values_are_what_has_the_field_and_none_of_the_values_shown() -> None:
    searches, found = asked({"aggs": [OTHERS]}, {"2": {"buckets": [bucket("a"), bucket(1, key_as_string="true")]}})
    assert clauses(searches[0]) == [
        {
            "bool": {
                "filter": [{"exists": {"field": "model"}}],
                "must_not": [{"match_phrase": {"model": "a"}}, {"match_phrase": {"model": "true"}}],
            }
        }
    ]
    assert [(each["key"], each["doc_count"]) for each in found["2"]["buckets"]] == [("a", 1), (1, 1), ("__other__", 4)]


def test_documents_without_the_field_are_other_ones_where_their_own_part_is_not_among_those_shown() -> None:
    both = part("2", "terms", field="model", otherBucket=True, missingBucket=True)
    shown, _ = asked({"aggs": [both]}, {"2": {"buckets": [bucket("a"), bucket("__missing__")]}})
    assert clauses(shown[0])[-1]["bool"]["filter"] == [{"exists": {"field": "model"}}]
    assert clauses(shown[0])[-1]["bool"]["must_not"] == [{"match_phrase": {"model": "a"}}]
    not_shown, _ = asked({"aggs": [both]}, {"2": {"buckets": [bucket("a")]}})
    assert clauses(not_shown[0])[-1]["bool"]["filter"] == []


def test_no_other_part_is_shown_where_nothing_is_left_or_nothing_was_there() -> None:
    _, found = asked({"aggs": [OTHERS]}, {"2": {"buckets": [bucket("a")]}}, left=0)
    assert len(found["2"]["buckets"]) == 1
    searches, _ = asked({"aggs": [OTHERS]}, {"2": {"buckets": []}})
    assert searches == []


def test_an_other_part_is_asked_inside_each_part_around_it() -> None:
    inner: dict[str, Any] = {"2": {"buckets": [bucket("a")]}}
    around: list[tuple[dict[str, Any], Any, list[Any]]] = [
        (
            part("1", "date_histogram", field="day"),
            [bucket(0, **inner), bucket(2 * HOUR, **inner)],
            [
                {"range": {"day": {"gte": 0, "lt": 2 * HOUR, "format": "epoch_millis"}}},
                {"range": {"day": {"gte": 2 * HOUR, "format": "epoch_millis"}}},
            ],
        ),
        (
            part("1", "histogram", field="size"),
            [bucket(0.5, **inner), bucket(1.5, **inner)],
            [{"range": {"size": {"gte": 0.5, "lt": 1.5}}}, {"range": {"size": {"gte": 1.5}}}],
        ),
        (
            part("1", "range", field="size"),
            [bucket("*-5.0", to=5.0, **inner), {"from": 5.0, **bucket("5.0-*", **inner)}],
            [{"range": {"size": {"lt": 5.0}}}, {"range": {"size": {"gte": 5.0}}}],
        ),
        (
            part("1", "terms", field="repository"),
            [bucket("acme/a-b", **inner), bucket("__missing__", **inner)],
            [
                {"match_phrase": {"repository": "acme/a-b"}},
                {"bool": {"must_not": [{"exists": {"field": "repository"}}]}},
            ],
        ),
        (
            part("1", "filters", filters=[{"input": {"query": "", "language": "lucene"}, "label": ""}]),
            {"*": {"doc_count": 1, **inner}},
            [{"bool": {"filter": [], "must_not": []}}],
        ),
    ]
    for outer, buckets, told in around:
        searches, _ = asked({"aggs": [outer, OTHERS]}, {"1": {"buckets": buckets}})
        names = searches[0]["filters"]["filters"]
        assert [clauses(searches[0], name)[0] for name in names] == told, outer["type"]


def test_an_inner_other_part_is_asked_of_the_outer_one_as_well() -> None:
    outer = part("1", "terms", field="repository", otherBucket=True)
    inner: dict[str, Any] = {"2": {"buckets": [bucket("a")]}}
    searches, found = asked({"aggs": [outer, OTHERS]}, {"1": {"buckets": [bucket("r", **inner)]}})
    assert searches[0]["aggs"] == {"2": {"terms": {}}}, "what is inside the outer one is inside its other part"
    assert len(searches) == 1, "Dashboards asks no further where a part has nothing inside"
    assert [each["key"] for each in found["1"]["buckets"]] == ["r", "__other__"]


def test_a_search_for_others_that_fails_in_part_is_told() -> None:
    failed: dict[str, Any] = {"_shards": {"failures": [{}]}}
    found = {"aggregations": {"2": {"buckets": [bucket("a")]}}}
    assert add_others({"aggs": [OTHERS]}, {"query": {}, "aggs": {"2": {}}}, found, lambda _: failed) is failed


def test_bars_that_reach_over_the_time_range_are_dropped_where_that_is_asked_for() -> None:
    start = FIRST.timestamp() * 1000

    def left(field: str, bars: list[Any], **params: Any) -> list[float]:
        found = {"aggregations": {"1": {"buckets": bars}}}
        state = {"aggs": [part("1", "date_histogram", field=field, **params)]}
        drop_partials(state, found, "created_at", FIRST + timedelta(minutes=30), FIRST + timedelta(hours=3))
        return [(each["key"] - start) / HOUR for each in found["aggregations"]["1"]["buckets"]]

    def bars(count: int = 4) -> list[Any]:
        return [bucket(start + number * HOUR) for number in range(count)]

    assert left("created_at", bars(), drop_partials=True) == [1, 2]
    assert left("created_at", bars()) == [0, 1, 2, 3]
    assert left("closed_at", bars(), drop_partials=True) == [0, 1, 2, 3]
    assert left("created_at", bars(1), drop_partials=True) == [0], "how wide a single bar is, Dashboards does not know"
