"""Tests of what is found wrong with saved objects without a Dashboards: each kind of damage by its words."""

import copy
import json
from typing import Any

import pytest

from etl.dashboards.checking import find_problems, find_remarks, require_sound
from etl.dashboards.saved_objects import SavedObject, compact_json, read_saved_objects, search_source
from etl.errors import ConfigurationError
from etl.resources import resource_folder


@pytest.fixture
def shipped() -> list[SavedObject]:
    return read_saved_objects(resource_folder("dashboards"))


def visualization(objects: list[SavedObject], identifier: str) -> tuple[SavedObject, dict[str, Any]]:
    item = next(item for item in objects if item["id"] == identifier)
    return item, json.loads(item["attributes"]["visState"])


def _break_reference(objects: list[SavedObject]) -> None:
    objects[-1]["references"][1]["id"] = "issuetide-gone"


def _break_field(objects: list[SavedObject]) -> None:
    item, state = visualization(objects, "issuetide-confidence")
    state["aggs"][0]["params"]["field"] = "title"
    item["attributes"]["visState"] = compact_json(state)


def _break_inner_field(objects: list[SavedObject]) -> None:
    item, state = visualization(objects, "issuetide-open")
    state["aggs"][0]["params"]["customMetric"]["params"]["field"] = "still_open"
    item["attributes"]["visState"] = compact_json(state)


def _break_order(objects: list[SavedObject]) -> None:
    item, state = visualization(objects, "issuetide-share")
    state["aggs"][1]["params"]["orderBy"] = "9"
    item["attributes"]["visState"] = compact_json(state)


def _break_series(objects: list[SavedObject]) -> None:
    item, state = visualization(objects, "issuetide-opened")
    state["params"]["seriesParams"][0]["data"]["id"] = "7"
    item["attributes"]["visState"] = compact_json(state)


def _break_grid(objects: list[SavedObject]) -> None:
    panels = json.loads(objects[-1]["attributes"]["panelsJSON"])
    panels[1]["gridData"]["x"] -= 1
    objects[-1]["attributes"]["panelsJSON"] = compact_json(panels)


def _break_width(objects: list[SavedObject]) -> None:
    panels = json.loads(objects[-1]["attributes"]["panelsJSON"])
    panels[-1]["gridData"]["w"] = 49
    objects[-1]["attributes"]["panelsJSON"] = compact_json(panels)


def _break_migration(objects: list[SavedObject]) -> None:
    objects[-1]["migrationVersion"] = {"dashboard": "8.0.0"}


def _break_column(objects: list[SavedObject]) -> None:
    next(item for item in objects if item["type"] == "search")["attributes"]["columns"].append("colour")


def _break_attribute(objects: list[SavedObject]) -> None:
    objects[0]["attributes"]["displayName"] = "Issues"


def _break_ref_name(objects: list[SavedObject]) -> None:
    item, _ = visualization(objects, "issuetide-cost-daily")
    item["references"] = []


def _break_json(objects: list[SavedObject]) -> None:
    visualization(objects, "issuetide-share")[0]["attributes"]["visState"] = "{oops"


def _break_type(objects: list[SavedObject]) -> None:
    visualization(objects, "issuetide-share")[0]["type"] = "lens"


def _break_visualization_type(objects: list[SavedObject]) -> None:
    item, state = visualization(objects, "issuetide-share")
    item["attributes"]["visState"] = compact_json({**state, "type": "enhanced-table"})


def _break_unused_reference(objects: list[SavedObject]) -> None:
    extra = {"type": "index-pattern", "id": "issuetide-runs", "name": "left_over"}
    visualization(objects, "issuetide-share")[0]["references"].append(extra)


def _break_pattern(objects: list[SavedObject]) -> None:
    pattern = next(item for item in objects if item["id"] == "issuetide-runs")
    fields = [field for field in json.loads(pattern["attributes"]["fields"]) if field["name"] != "cost_usd"]
    next(field for field in fields if field["name"] == "status")["type"] = "number"
    pattern["attributes"]["fields"] = compact_json([*fields, {**fields[0], "name": "colour"}])


def _break_control(objects: list[SavedObject]) -> None:
    item, state = visualization(objects, "issuetide-controls")
    state["params"]["controls"][0]["fieldName"] = "title"
    item["attributes"]["visState"] = compact_json(state)


def _break_panel_by_value(objects: list[SavedObject]) -> None:
    panels = json.loads(objects[-1]["attributes"]["panelsJSON"])
    del panels[3]["panelRefName"]
    objects[-1]["attributes"]["panelsJSON"] = compact_json(panels)


def _break_text_bucket(objects: list[SavedObject]) -> None:
    item, state = visualization(objects, "issuetide-share")
    state["aggs"][1]["params"]["field"] = "rationale"
    item["attributes"]["visState"] = compact_json(state)


def _break_sort(objects: list[SavedObject]) -> None:
    """As Kibana 7.3 wrote it; and every other part that is JSON but not what is expected ends like this."""
    next(item for item in objects if item["type"] == "search")["attributes"]["sort"] = ["created_at", "desc"]


def _break_filters(objects: list[SavedObject]) -> None:
    source = {**search_source(objects[-1]), "filter": None}
    objects[-1]["attributes"]["kibanaSavedObjectMeta"] = {"searchSourceJSON": compact_json(source)}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_break_reference, "issuetide-gone is in none of the files"),
        (_break_field, "avg cannot be asked of 'title'"),
        (_break_inner_field, "sum is asked of 'still_open', which is no field"),
        (_break_order, "ordered by '9', which is no metric"),
        (_break_series, "a series shows '7', which is no metric"),
        (_break_grid, "panel 2 lies over panel 1"),
        (_break_width, "reaches beyond the 48 columns"),
        (_break_migration, "migrationVersion is {'dashboard': '8.0.0'}"),
        (_break_column, "the column 'colour' is no field"),
        (_break_attribute, "the attribute 'displayName' is not known"),
        (_break_ref_name, "searchSourceJSON.index has no reference"),
        (_break_json, "visualization issuetide-share: visState is no JSON"),
        (_break_type, "lens issuetide-share: this type is not one that comes with Dashboards"),
        (_break_visualization_type, "the type of visualization 'enhanced-table' is not one that comes with"),
        (_break_unused_reference, "the reference left_over is used nowhere"),
        (_break_pattern, "the field 'cost_usd' of the mapping is missing"),
        (_break_pattern, "the field 'colour' is not in the mapping"),
        (_break_pattern, "the field 'status' is of another kind in the mapping (string)"),
        (_break_control, "the control 'Task (one question)' is on 'title', a field of type ['text']"),
        (_break_panel_by_value, "panel 4 shows no saved object"),
        (_break_sort, "it is not as Dashboards writes it (ValueError"),
        (_break_filters, "dashboard issuetide-trends: searchSourceJSON is no query with filters"),
        (_break_text_bucket, "terms cannot be asked of 'rationale', a field of type ['text']"),
    ],
)
def test_a_damaged_object_is_found(shipped: list[SavedObject], damage: Any, said: str) -> None:
    objects = copy.deepcopy(shipped)
    damage(objects)
    problems = find_problems(objects)
    assert any(said in problem for problem in problems), problems


def test_the_first_problem_is_told_where_all_must_be_sound(shipped: list[SavedObject]) -> None:
    require_sound(shipped, "here")
    _break_json(shipped)
    with pytest.raises(ConfigurationError, match=r"here: \d+ problem\(s\); the first: "):
        require_sound(shipped, "here")


def _set_query(objects: list[SavedObject], identifier: str, query: str) -> None:
    item = next(item for item in objects if item["id"] == identifier)
    source = {**search_source(item), "query": {"query": query, "language": "lucene"}}
    item["attributes"]["kibanaSavedObjectMeta"] = {"searchSourceJSON": compact_json(source)}


def test_a_panel_that_counts_issues_that_are_gone_is_remarked_on(shipped: list[SavedObject]) -> None:
    _set_query(shipped, "issuetide-share", "")
    (remark,) = find_remarks(shipped)
    assert remark.startswith(
        "Issuetide: trends of issues / Issuetide: Share of each category: counts issues that are gone"
    )


@pytest.mark.parametrize(("panel", "level"), [("issuetide-cost-daily", "task"), ("issuetide-open", "category")])
def test_a_panel_that_reads_both_levels_is_remarked_on(shipped: list[SavedObject], panel: str, level: str) -> None:
    _set_query(shipped, panel, "")
    (remark,) = find_remarks(shipped)
    assert remark.endswith("counts everything twice; choose a level in its query, as docs/fields.md says")
    _set_query(shipped, panel, f"level:{level}")
    assert find_remarks(shipped) == []


def test_a_pill_that_leaves_out_what_is_gone_serves_as_well(shipped: list[SavedObject]) -> None:
    _set_query(shipped, "issuetide-share", "")
    item = next(item for item in shipped if item["id"] == "issuetide-share")
    pill = {"meta": {"key": "vanished", "negate": True}, "query": {"match_phrase": {"vanished": True}}}
    source = {**search_source(item), "filter": [pill]}
    item["attributes"]["kibanaSavedObjectMeta"] = {"searchSourceJSON": compact_json(source)}
    assert find_remarks(shipped) == []


def test_a_dashboard_without_its_task_is_remarked_on_panel_by_panel(shipped: list[SavedObject]) -> None:
    source = {**search_source(shipped[-1]), "filter": []}
    shipped[-1]["attributes"]["kibanaSavedObjectMeta"] = {"searchSourceJSON": compact_json(source)}
    remarks = find_remarks(shipped)
    assert len(remarks) == 12, "every panel but the words and the controls"
    assert all("counts every task" in remark for remark in remarks)
    _set_query(shipped, "issuetide-share", "task:issue_kind AND NOT vanished:true")
    assert len(find_remarks(shipped)) == 11


@pytest.mark.parametrize("order_by", ["1", "_key", "_count", "custom", "1.95", "1['99.9']"])
def test_an_order_by_one_value_of_a_metric_is_no_problem(shipped: list[SavedObject], order_by: str) -> None:
    item, state = visualization(shipped, "issuetide-share")
    state["aggs"][1]["params"]["orderBy"] = order_by
    item["attributes"]["visState"] = compact_json(state)
    assert find_problems(shipped) == []
