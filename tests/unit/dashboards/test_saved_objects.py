"""Tests of the shipped dashboard and of what is checked before anything is imported."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from etl.dashboards.build import build_saved_objects
from etl.dashboards.checking import find_problems, find_remarks
from etl.dashboards.layout import DEFAULT_TASK, RUN_TASK_CONTROL, TASK_CONTROL
from etl.dashboards.normal_form import file_text
from etl.dashboards.saved_objects import (
    SavedObject,
    compact_json,
    index_pattern_fields,
    load_mapping,
    read_saved_objects,
    search_source,
    with_prefix,
    with_task,
)
from etl.errors import ConfigurationError
from etl.resources import resource_folder
from etl.tasks import load_tasks


@pytest.fixture
def shipped() -> list[SavedObject]:
    return read_saved_objects(resource_folder("dashboards"))


def visualization(objects: list[SavedObject], identifier: str) -> tuple[SavedObject, dict[str, Any]]:
    item = next(item for item in objects if item["id"] == identifier)
    return item, json.loads(item["attributes"]["visState"])


def test_the_shipped_files_are_what_the_builder_writes() -> None:
    built = {f"{name}.ndjson": file_text(objects) for name, objects in build_saved_objects().items()}
    there = {path.name: path.read_text(encoding="utf-8") for path in resource_folder("dashboards").glob("*.ndjson")}
    assert there.keys() == built.keys()
    for name, text in there.items():
        assert text == built[name], f"{name}: run python -m etl.dashboards.build"


def test_the_shipped_objects_have_no_problem_and_mislead_nobody(shipped: list[SavedObject]) -> None:
    assert find_problems(shipped) == []
    assert find_remarks(shipped) == []


def test_each_file_can_be_imported_alone() -> None:
    for name, objects in build_saved_objects().items():
        assert find_problems(objects) == [], name


def test_every_id_begins_with_our_prefix_and_every_dashboard_is_titled_as_ours(shipped: list[SavedObject]) -> None:
    assert {item["id"].split("-")[0] for item in shipped} == {"issuetide"}
    titles = [item["attributes"]["title"] for item in shipped if item["type"] == "dashboard"]
    assert titles == ["Issuetide: cost and health", "Issuetide: quality of answers", "Issuetide: trends of issues"]


def test_links_between_dashboards_lead_to_ones_that_are_there(shipped: list[SavedObject]) -> None:
    dashboards = {item["id"] for item in shipped if item["type"] == "dashboard"}
    linked = set(re.findall(r"#/view/([a-z-]+)", compact_json(shipped)))
    assert linked == dashboards


def test_panels_on_daily_counts_take_categories_or_families_never_both(shipped: list[SavedObject]) -> None:
    readers = [item for item in shipped if any(ref["id"] == "issuetide-daily" for ref in item["references"])]
    assert len(readers) >= 3
    for item in readers:
        assert search_source(item)["query"]["query"] == "level:category", item["id"]


def test_a_category_has_one_colour_in_all_panels_and_no_two_of_a_task_the_same(shipped: list[SavedObject]) -> None:
    seen: dict[str, set[str]] = {}
    for item in shipped:
        if item["type"] == "visualization":
            for name, colour in json.loads(item["attributes"]["uiStateJSON"]).get("vis", {}).get("colors", {}).items():
                seen.setdefault(name, set()).add(colour)
    assert {name for name, colours in seen.items() if len(colours) > 1} == set()
    for task in load_tasks().values():
        colours = [next(iter(seen[category.id])) for category in task.categories]
        assert len(set(colours)) == len(colours), task.name


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
    assert len(readers) >= 18
    for item in readers:
        assert "NOT vanished:true" in search_source(item)["query"]["query"], item["id"]


@pytest.mark.parametrize(
    ("name", "chooser", "control"),
    [
        ("trends", "issuetide-controls", TASK_CONTROL),
        ("quality", "issuetide-controls", TASK_CONTROL),
        ("cost", "issuetide-run-controls", RUN_TASK_CONTROL),
    ],
)
def test_a_dashboard_opens_with_one_task_that_its_control_can_replace(
    shipped: list[SavedObject], name: str, chooser: str, control: str
) -> None:
    dashboard = next(item for item in shipped if (item["type"], item["id"]) == ("dashboard", f"issuetide-{name}"))
    (task_filter,) = search_source(dashboard)["filter"]
    assert task_filter["query"] == {"match_phrase": {"task": DEFAULT_TASK}}
    assert chooser in {reference["id"] for reference in dashboard["references"]}
    _, controls = visualization(shipped, chooser)
    chosen = next(each for each in controls["params"]["controls"] if each["id"] == control)
    assert task_filter["meta"]["controlledBy"] == chosen["id"]
    assert chosen["fieldName"] == task_filter["meta"]["key"] == "task"
    assert chosen["options"]["multiselect"] is False


def test_panels_on_runs_read_whole_runs_or_their_parts_by_task_and_never_both(shipped: list[SavedObject]) -> None:
    dashboard = next(item for item in shipped if (item["type"], item["id"]) == ("dashboard", "issuetide-cost"))
    readers = [
        item
        for item in shipped
        if ("index-pattern", "issuetide-runs") in {(ref["type"], ref["id"]) for ref in item["references"]}
        and item["type"] in {"visualization", "search"}
        and search_source(item)
    ]
    assert len(readers) >= 14
    for item in readers:
        query = search_source(item)["query"]["query"]
        assert ("level:run" in query) != ("level:task" in query), item["id"]
    panels = {reference["id"] for reference in dashboard["references"]}
    indices = {ref["id"] for item in shipped if item["id"] in panels for ref in item["references"]}
    assert indices == {"issuetide-runs"}


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


def test_another_task_changes_the_pills_only(shipped: list[SavedObject]) -> None:
    changed = with_task(shipped, "user_error")
    differing = [new["id"] for new, old in zip(changed, shipped, strict=True) if new != old]
    assert differing == ["issuetide-cost", "issuetide-quality", "issuetide-trends"]
    for item in changed:
        for task_filter in search_source(item).get("filter", []):
            assert task_filter["query"] == {"match_phrase": {"task": "user_error"}}
            assert task_filter["meta"]["params"] == {"query": "user_error"}
    assert search_source(shipped[-1])["filter"][0]["query"] == {"match_phrase": {"task": DEFAULT_TASK}}


def test_a_prefix_is_taken_away_as_it_was_given(shipped: list[SavedObject]) -> None:
    given = with_prefix(shipped, "team-a")
    assert "#/view/team-a-quality" in compact_json(given)
    back = with_prefix(given, "issuetide", shipped="team-a")
    assert [item["id"] for item in back] == [item["id"] for item in shipped]
    assert [item["references"] for item in back] == [item["references"] for item in shipped]


def test_the_summary_at_the_end_of_an_export_is_no_object(tmp_path: Path) -> None:
    line = '{"type":"search","id":"x","attributes":{"title":"a"}}\n'
    (tmp_path / "a.ndjson").write_text(line + '{"exportedCount":1,"missingRefCount":0,"missingReferences":[]}\n')
    assert [item["id"] for item in read_saved_objects(tmp_path)] == ["x"]


def test_a_file_that_is_no_json_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"type":"search","id":"x","attributes":{}}\n{oops\n')
    with pytest.raises(ConfigurationError, match=r"a\.ndjson line 2: is no JSON"):
        read_saved_objects(tmp_path)


@pytest.mark.parametrize("end", ["\u2028", "\u0085"], ids=ascii)
def test_what_ends_a_line_elsewhere_ends_none_inside_json(tmp_path: Path, end: str) -> None:
    item = {"type": "search", "id": "x", "attributes": {"title": f"two{end}lines"}}
    (tmp_path / "a.ndjson").write_text(json.dumps(item, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_saved_objects(tmp_path) == [item]


def test_a_reference_to_nothing_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"type":"search","id":"x","attributes":{},"references":[{"type":"search"}]}\n')
    with pytest.raises(ConfigurationError, match=r"a\.ndjson line 1: a reference lacks its type, id or name"):
        read_saved_objects(tmp_path)


def test_an_index_pattern_without_a_title_is_a_problem_and_no_crash(shipped: list[SavedObject]) -> None:
    del next(item for item in shipped if item["type"] == "index-pattern")["attributes"]["title"]
    assert any(problem.endswith("it has no title") for problem in find_problems(with_prefix(shipped, "acme")))


def test_a_folder_without_dashboards_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"holds no \.ndjson file"):
        read_saved_objects(tmp_path)


def test_an_object_told_twice_is_taken_once_and_refused_when_it_differs(tmp_path: Path) -> None:
    line = '{"type":"search","id":"x","attributes":{"title":"a"}}\n'
    (tmp_path / "a.ndjson").write_text(line)
    (tmp_path / "b.ndjson").write_text(line)
    assert len(read_saved_objects(tmp_path)) == 1
    (tmp_path / "b.ndjson").write_text(line + line)
    with pytest.raises(ConfigurationError, match=r"b\.ndjson line 2: search x is there twice; take one out"):
        read_saved_objects(tmp_path)
    (tmp_path / "b.ndjson").write_text(line.replace('"a"', '"b"'))
    with pytest.raises(ConfigurationError, match="there twice, with other content"):
        read_saved_objects(tmp_path)
