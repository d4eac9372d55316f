"""Tests of the shipped dashboard and of what is checked before anything is imported."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from etl.dashboards.build import DEFAULT_TASK, TASK_CONTROL, build_saved_objects
from etl.dashboards.saved_objects import (
    SavedObject,
    compact_json,
    find_problems,
    index_pattern_fields,
    load_mapping,
    read_saved_objects,
    search_source,
    with_prefix,
    with_task,
)
from etl.errors import ConfigurationError
from etl.resources import resource_folder


@pytest.fixture
def shipped() -> list[SavedObject]:
    return read_saved_objects(resource_folder("dashboards"))


def visualization(objects: list[SavedObject], identifier: str) -> tuple[SavedObject, dict[str, Any]]:
    item = next(item for item in objects if item["id"] == identifier)
    return item, json.loads(item["attributes"]["visState"])


def test_the_shipped_file_is_what_the_builder_writes(shipped: list[SavedObject]) -> None:
    assert shipped == build_saved_objects()


def test_the_shipped_objects_have_no_problem(shipped: list[SavedObject]) -> None:
    assert find_problems(shipped) == []


@pytest.mark.parametrize("index", ["classifications", "daily", "runs"])
def test_an_index_pattern_holds_the_fields_of_the_mapping(shipped: list[SavedObject], index: str) -> None:
    pattern = next(item for item in shipped if item["id"] == f"issuetide-{index}")
    fields = {field["name"]: field for field in json.loads(pattern["attributes"]["fields"])}
    mapping = load_mapping(index)
    plain = {name for name in fields if not name.startswith("_") and "." not in name}
    assert plain == set(mapping)
    assert pattern["attributes"]["timeFieldName"] in plain
    assert fields[pattern["attributes"]["timeFieldName"]]["type"] == "date"


def test_every_panel_on_issues_leaves_vanished_ones_out(shipped: list[SavedObject]) -> None:
    readers = [
        item
        for item in shipped
        if item["type"] in {"visualization", "search"}
        and any(reference["name"].endswith("searchSourceJSON.index") for reference in item["references"])
        and item["references"][0]["id"] == "issuetide-classifications"
    ]
    assert len(readers) >= 7
    for item in readers:
        assert "NOT vanished:true" in search_source(item)["query"]["query"], item["id"]


def test_the_dashboard_opens_with_one_task_that_its_control_can_replace(shipped: list[SavedObject]) -> None:
    dashboard = next(item for item in shipped if item["type"] == "dashboard")
    (task_filter,) = search_source(dashboard)["filter"]
    assert task_filter["query"] == {"match_phrase": {"task": DEFAULT_TASK}}
    _, controls = visualization(shipped, "issuetide-controls")
    chosen = next(control for control in controls["params"]["controls"] if control["id"] == TASK_CONTROL)
    assert task_filter["meta"]["controlledBy"] == chosen["id"]
    assert chosen["fieldName"] == task_filter["meta"]["key"] == "task"
    assert chosen["options"]["multiselect"] is False


def test_what_the_controls_filter_by_is_a_field_of_all_issue_and_daily_indices(shipped: list[SavedObject]) -> None:
    _, controls = visualization(shipped, "issuetide-controls")
    for control in controls["params"]["controls"]:
        assert control["fieldName"] in load_mapping("classifications")
        assert control["fieldName"] in load_mapping("daily"), "a pill on this field would empty the open-issues panel"


def test_a_field_alias_is_shown_as_the_field_it_points_to() -> None:
    fields = {field["name"]: field for field in index_pattern_fields(load_mapping("runs"))}
    assert fields["repository"]["type"] == "string"
    assert fields["repository"]["aggregatable"] is True


def test_text_fields_cannot_be_aggregated_and_their_keyword_can() -> None:
    fields = {field["name"]: field for field in index_pattern_fields(load_mapping("classifications"))}
    assert fields["title"]["aggregatable"] is False
    assert fields["title.keyword"]["aggregatable"] is True
    assert fields["title.keyword"]["subType"] == {"multi": {"parent": "title"}}


def test_another_prefix_changes_ids_titles_and_references_alike(shipped: list[SavedObject]) -> None:
    renamed = with_prefix(shipped, "acme")
    assert find_problems(renamed) == []
    assert {item["id"].split("-")[0] for item in renamed} == {"acme"}
    titles = {item["attributes"]["title"] for item in renamed if item["type"] == "index-pattern"}
    assert titles == {"acme-classifications", "acme-daily", "acme-runs"}
    assert with_prefix(shipped, "issuetide") == shipped


def test_a_prefix_with_a_dash_is_kept_whole(shipped: list[SavedObject]) -> None:
    titles = {item["attributes"]["title"] for item in with_prefix(shipped, "team-a") if item["type"] == "index-pattern"}
    assert titles == {"team-a-classifications", "team-a-daily", "team-a-runs"}


def test_another_task_changes_the_pill_only(shipped: list[SavedObject]) -> None:
    changed = with_task(shipped, "user_error")
    assert changed[:-1] == shipped[:-1]
    (task_filter,) = search_source(changed[-1])["filter"]
    assert task_filter["query"] == {"match_phrase": {"task": "user_error"}}
    assert task_filter["meta"]["params"] == {"query": "user_error"}
    assert search_source(shipped[-1])["filter"][0]["query"] == {"match_phrase": {"task": DEFAULT_TASK}}


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
    item, _ = visualization(objects, "issuetide-cost")
    item["references"] = []


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
    ],
)
def test_a_damaged_object_is_found(shipped: list[SavedObject], damage: Any, said: str) -> None:
    objects = copy.deepcopy(shipped)
    damage(objects)
    problems = find_problems(objects)
    assert any(said in problem for problem in problems), problems


def test_a_file_that_is_no_json_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"type":"search","id":"x","attributes":{}}\n{oops\n')
    with pytest.raises(ConfigurationError, match=r"a\.ndjson line 2: is no JSON"):
        read_saved_objects(tmp_path)


def test_a_folder_without_dashboards_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"holds no \.ndjson file"):
        read_saved_objects(tmp_path)


def test_an_object_told_twice_is_taken_once_and_refused_when_it_differs(tmp_path: Path) -> None:
    line = '{"type":"search","id":"x","attributes":{"title":"a"}}\n'
    (tmp_path / "a.ndjson").write_text(line)
    (tmp_path / "b.ndjson").write_text(line)
    assert len(read_saved_objects(tmp_path)) == 1
    (tmp_path / "b.ndjson").write_text(line.replace('"a"', '"b"'))
    with pytest.raises(ConfigurationError, match="there twice, with other content"):
        read_saved_objects(tmp_path)
