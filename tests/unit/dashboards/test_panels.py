"""Tests of what panels ask and of what counts as something to show."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from etl.dashboards.build import build_saved_objects
from etl.dashboards.panels import View, ask_dashboard, has_value, in_reading_order, read_dashboards
from etl.dashboards.saved_objects import SavedObject, compact_json, search_source
from etl.errors import ConfigurationError, UnavailableError
from tests.unit.dashboards.boards import answer

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def objects() -> list[SavedObject]:
    return build_saved_objects()["issuetide-trends"]


class Asked:
    """A search that keeps what it was asked."""

    def __init__(self, reply: Any = None) -> None:
        self.reply = reply
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    def __call__(self, index: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Keeps the question and answers."""
        self.asked.append((index, body))
        if isinstance(self.reply, Exception):
            raise self.reply
        return answer(body) if self.reply is None else self.reply

    def clauses(self, place: int) -> str:
        """The query of a question, as text."""
        return compact_json(self.asked[place][1]["query"])


def test_every_panel_is_asked_with_the_dashboards_pill_and_time(objects: list[SavedObject]) -> None:
    (board,) = read_dashboards(objects)
    search = Asked()
    answers = list(ask_dashboard(board, search, NOW))
    assert len(answers) == 14
    assert {found.status for found in answers} == {"words", "filled"}
    assert {index for index, _ in search.asked} == {"issuetide-classifications", "issuetide-daily"}
    assert all(body["track_total_hits"] is True for _, body in search.asked), "else OpenSearch counts to 10,000"
    for place, (_, body) in enumerate(search.asked):
        if any("issuetide-task" in str(name) for name in body.get("aggs", {})):
            continue  # what the controls offer does not depend on what is chosen
        assert '{"match_phrase":{"task":"issue_kind"}}' in search.clauses(place)
        assert '"gte":"now-2y"' in search.clauses(place)


def test_a_view_replaces_the_task_and_the_time_and_adds_repositories(objects: list[SavedObject]) -> None:
    (board,) = read_dashboards(objects)
    search = Asked()
    view = View(start="now-7d", end="now-1d", task="user_error", repositories=("a/b",))
    list(ask_dashboard(board, search, NOW, view))
    told = search.clauses(1)
    assert '{"match_phrase":{"task":"user_error"}}' in told
    assert "issue_kind" not in told
    assert '{"match_phrase":{"repository":"a/b"}}' in told
    assert '"gte":"now-7d","lte":"now-1d"' in told


def test_a_task_is_no_filter_where_the_dashboard_has_no_pill_for_it() -> None:
    objects = build_saved_objects()["issuetide-cost"]
    objects[-1]["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"] = compact_json({"filter": []})
    (board,) = read_dashboards(objects)
    search = Asked()
    list(ask_dashboard(board, search, NOW, View(task="user_error")))
    assert "user_error" not in compact_json([body for _, body in search.asked])


def test_a_search_that_is_refused_fails_its_panel_and_no_other(objects: list[SavedObject]) -> None:
    (board,) = read_dashboards(objects)
    answers = list(ask_dashboard(board, Asked(ConfigurationError("the server refuses it: x")), NOW))
    assert {found.words for found in answers if found.status == "failed"} == {"the server refuses it: x"}
    assert len([found for found in answers if found.status == "failed"]) == 13


def test_a_server_that_is_away_ends_it(objects: list[SavedObject]) -> None:
    (board,) = read_dashboards(objects)
    with pytest.raises(UnavailableError):
        list(ask_dashboard(board, Asked(UnavailableError("away")), NOW))


def test_shards_that_failed_are_a_failure_though_the_answer_says_200(objects: list[SavedObject]) -> None:
    (board,) = read_dashboards(objects)
    failures = [{"reason": {"type": "illegal_argument_exception", "reason": "bad field"}}]
    reply = {"_shards": {"failures": failures}, "hits": {"total": {"value": 0}}}
    found = list(ask_dashboard(board, Asked(reply), NOW))[2]
    assert (found.status, found.words) == ("failed", "illegal_argument_exception: bad field")


def test_a_panel_over_nothing_is_empty(objects: list[SavedObject]) -> None:
    (board,) = read_dashboards(objects)
    nothing = {"_shards": {"failed": 0}, "hits": {"total": {"value": 0}, "hits": []}}
    assert {found.status for found in ask_dashboard(board, Asked(nothing), NOW)} == {"words", "empty"}


def test_a_visualization_that_nobody_can_read_fails_alone(objects: list[SavedObject]) -> None:
    item = next(item for item in objects if item["id"] == "issuetide-share")
    state = {"type": "pie", "params": {}, "aggs": [{"id": "1", "type": "sum", "params": {}}]}
    item["attributes"]["visState"] = compact_json(state)
    (board,) = read_dashboards(objects)
    failed = [found for found in ask_dashboard(board, Asked(), NOW) if found.status == "failed"]
    assert [found.panel.item["id"] for found in failed] == ["issuetide-share"]
    assert "it is not as Dashboards writes it" in failed[0].words


def test_a_type_that_only_dashboards_draws_is_told_and_not_asked(objects: list[SavedObject]) -> None:
    item = next(item for item in objects if item["id"] == "issuetide-share")
    item["attributes"]["visState"] = compact_json({"type": "vega", "params": {"spec": "{}"}, "aggs": []})
    (board,) = read_dashboards(objects)
    (found,) = [found for found in ask_dashboard(board, Asked(), NOW) if found.status == "opaque"]
    assert "vega is drawn by Dashboards only" in found.words


def _set_panel(objects: list[SavedObject], item_id: str, **own: Any) -> None:
    """What a dashboard keeps for one of its panels."""
    name = next(ref["name"] for ref in objects[-1]["references"] if ref["id"] == item_id)
    panels = json.loads(objects[-1]["attributes"]["panelsJSON"])
    next(panel for panel in panels if panel["panelRefName"] == name)["embeddableConfig"] = own
    objects[-1]["attributes"]["panelsJSON"] = compact_json(panels)


def _asked_of(objects: list[SavedObject], item_id: str) -> str:
    """The search of one panel, as text."""
    (board,) = read_dashboards(objects)
    (panel,) = [panel for panel in board.panels if panel.item["id"] == item_id]
    search = Asked()
    list(ask_dashboard(replace(board, panels=(panel,)), search, NOW))
    return compact_json([body for _, body in search.asked])


def test_a_panel_with_a_time_range_of_its_own_is_asked_for_that(objects: list[SavedObject]) -> None:
    _set_panel(objects, "issuetide-opened", timeRange={"from": "now-7d", "to": "now"})
    told = _asked_of(objects, "issuetide-opened")
    assert '"gte":"now-7d","lte":"now"' in told
    assert '"fixed_interval":"3h"' in told
    assert '"gte":"now-2y"' in _asked_of(objects, "issuetide-share")


def test_a_time_range_that_nobody_can_read_fails_its_panel(objects: list[SavedObject]) -> None:
    _set_panel(objects, "issuetide-opened", timeRange={"from": 7})
    (board,) = read_dashboards(objects)
    (found,) = [found for found in ask_dashboard(board, Asked(), NOW) if found.status == "failed"]
    assert (found.panel.item["id"], "is no time" in found.words) == ("issuetide-opened", True)


def test_the_dashboards_own_query_narrows_every_panel_but_the_controls(objects: list[SavedObject]) -> None:
    source = {"query": {"query": "state:open", "language": "lucene"}, "filter": []}
    objects[-1]["attributes"]["kibanaSavedObjectMeta"] = {"searchSourceJSON": compact_json(source)}
    assert '"query":"state:open"' in _asked_of(objects, "issuetide-share")
    source["query"] = {"query": "state : open", "language": "kuery"}
    objects[-1]["attributes"]["kibanaSavedObjectMeta"] = {"searchSourceJSON": compact_json(source)}
    (board,) = read_dashboards(objects)
    answers = list(ask_dashboard(board, Asked(), NOW))
    assert {found.panel.kind for found in answers if found.status != "failed"} == {"markdown", "input_control_vis"}


def test_a_panel_made_from_a_saved_search_is_narrowed_by_it(objects: list[SavedObject]) -> None:
    item = next(item for item in objects if item["id"] == "issuetide-share")
    item["references"] = [{"type": "search", "id": "issuetide-low-confidence", "name": "search_0"}]
    search = next(item for item in objects if item["type"] == "search")
    source = {**search_source(search), "query": {"query": "confidence:<0.5", "language": "lucene"}}
    search["attributes"]["kibanaSavedObjectMeta"] = {"searchSourceJSON": compact_json(source)}
    assert '"query":"confidence:<0.5"' in _asked_of(objects, "issuetide-share")


def test_bars_of_numbers_are_asked_for_their_bounds_first(objects: list[SavedObject]) -> None:
    item = next(item for item in objects if item["id"] == "issuetide-share")
    bars = {"id": "3", "type": "histogram", "params": {"field": "comments", "interval": "auto"}}
    state = {"type": "histogram", "params": {}, "aggs": [{"id": "1", "type": "count", "params": {}}, bars]}
    item["attributes"]["visState"] = compact_json(state)
    told = _asked_of(objects, "issuetide-share")
    assert told.index('"stats":{"field":"comments"}') < told.index('"histogram":{"field":"comments","interval":1')


def test_a_time_range_that_ends_before_it_begins_is_refused(objects: list[SavedObject]) -> None:
    (board,) = read_dashboards(objects)
    with pytest.raises(ConfigurationError, match="--from must be before --to"):
        list(ask_dashboard(board, Asked(), NOW, View(start="now", end="now-1d")))


def test_dashboards_are_read_from_the_long_view_to_the_short_one() -> None:
    boards = [board for objects in build_saved_objects().values() for board in read_dashboards(objects)]
    order = [board.item["id"] for board in in_reading_order(boards, NOW)]
    assert order == ["issuetide-trends", "issuetide-quality", "issuetide-cost"]


@pytest.mark.parametrize(
    ("aggregation", "shown"),
    [
        ({"value": 0.0}, True),
        ({"value": None}, False),
        ({"buckets": []}, False),
        ({"buckets": [{"key": "a", "doc_count": 3}]}, True),
        ({"buckets": {"a": {"doc_count": 0}, "b": {"doc_count": 1}}}, True),
        ({"buckets": {"a": {"doc_count": 0}}}, False),
        ({"buckets": [{"key": 1, "doc_count": 3, "1": {"value": None}}]}, False),
        ({"buckets": [{"key": 1, "doc_count": 3, "1": {"value": None}, "2": {"value": 0}}]}, True),
        ({"values": {"50.0": None}}, False),
        ({"values": {"50.0": 2.5}}, True),
        ({"hits": {"hits": []}}, False),
        ({"count": 0, "min": None}, False),
    ],
)
def test_something_is_shown_by_a_filled_bucket_or_a_value_and_zero_is_one(
    aggregation: dict[str, Any], shown: bool
) -> None:
    assert has_value(aggregation) is shown
