"""Tests of what people make by clicking in Dashboards, and of files that are not as Dashboards writes them."""

import copy
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from etl.dashboards.api import DashboardsApi, shown_address
from etl.dashboards.build import build_saved_objects
from etl.dashboards.checking import find_problems
from etl.dashboards.drawing import read_rows, time_series
from etl.dashboards.exporting import export_dashboards
from etl.dashboards.importing import import_dashboards
from etl.dashboards.moments import read_moment
from etl.dashboards.panels import Answer, View, ask_dashboard, read_dashboards
from etl.dashboards.preview import Preview, render_preview
from etl.dashboards.preview_panels import render_markdown
from etl.dashboards.saved_objects import SavedObject, compact_json, read_saved_objects
from etl.dashboards.search import query_clause
from etl.errors import ConfigurationError, UnavailableError
from etl.resources import resource_folder
from tests.loopback.dashboards import serve_dashboards
from tests.unit.dashboards.boards import DAY, FIRST, answer

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
FOLDER = resource_folder("dashboards")
EXISTS = {"meta": {"key": "closed_at", "type": "exists"}, "exists": {"field": "closed_at"}}
RANGE = {"meta": {"key": "confidence", "type": "range"}, "range": {"confidence": {"gte": 0.2, "lt": 0.5}}}


def ask(objects: list[SavedObject], search: Any = None) -> list[Answer]:
    (board,) = read_dashboards(objects)
    return list(ask_dashboard(board, search or (lambda _, body: answer(body)), NOW))


def trends(**attributes: str) -> list[SavedObject]:
    objects = copy.deepcopy(build_saved_objects()["issuetide-trends"])
    objects[-1]["attributes"] |= attributes
    return objects


def test_the_filters_exists_and_is_between_are_asked_as_dashboards_does() -> None:
    clause = query_clause(None, [EXISTS, RANGE, {"query": {"match_all": {}}}])["bool"]["filter"]
    assert clause == [{"exists": {"field": "closed_at"}}, {"range": RANGE["range"]}, {"match_all": {}}]


def test_a_pill_of_exists_or_between_fails_no_panel_and_says_what_it_asks() -> None:
    objects = trends()
    meta = {"searchSourceJSON": compact_json({"query": {"query": "", "language": "lucene"}, "filter": [EXISTS, RANGE]})}
    objects[-1]["attributes"]["kibanaSavedObjectMeta"] = meta
    answers = ask(objects)
    assert not [found.words for found in answers if found.status == "failed"]
    page = render_preview(Preview([(read_dashboards(objects)[0], answers)], View(), "h", "1", NOW))
    assert "<li>closed_at: exists</li>" in page
    assert "<li>confidence: ≥ 0.2 and &lt; 0.5</li>" in page


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        ("now/d", "now/d", 24),
        ("now/w", "now/w", 7 * 24),
        ("now/M", "now/M", 30 * 24),
        ("now/y", "now/y", 365 * 24),
        ("now/h", "now/h", 1),
        ("now-1d/d", "now-1d/d", 24),
        ("now-1M/M", "now-1M/M", 31 * 24),
        ("2026-03-04", "2026-03-04", 24),
        ("2026-03-04", "2026-03-04T06:00", 6),
    ],
)
def test_today_this_week_and_a_single_day_are_ranges(start: str, end: str, hours: int) -> None:
    span = read_moment(end, NOW, end=True) - read_moment(start, NOW)
    assert span.total_seconds() == hours * 3600


def test_a_dashboard_of_today_is_asked() -> None:
    assert {found.status for found in ask(trends(timeFrom="now/d", timeTo="now/d"))} <= {"filled", "words"}


def test_bars_of_weeks_stay_weeks_where_issues_are_rare() -> None:
    def rare(_: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        found = answer(body)
        for part in found.get("aggregations", {}).values():
            if "date_histogram" in str(body) and "buckets" in part and isinstance(part["buckets"], list):
                for place, bucket in enumerate(part["buckets"]):
                    bucket["key"] = FIRST + place * 35 * DAY
        return found

    found = next(
        f for f in ask(build_saved_objects()["issuetide-quality"], rare) if f.panel.item["id"].endswith("drift")
    )
    timeline = time_series(read_rows(found))
    assert timeline.step == "week"
    assert len(timeline.starts) == 11, "the weeks between have their place on the axis"


def test_parts_by_queries_are_in_the_order_of_the_queries() -> None:
    def by_name(_: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return json.loads(json.dumps(answer(body), sort_keys=True))  # type: ignore[no-any-return]

    found = next(f for f in ask(trends(), by_name) if f.panel.item["id"] == "issuetide-figures")
    labels = [entry["label"] for entry in found.panel.state["aggs"][1]["params"]["filters"]]
    assert labels != sorted(labels)
    assert [row.keys[0] for row in read_rows(found).rows] == labels


def test_a_chart_of_nothing_but_zeros_says_so() -> None:
    def zeros(_: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return json.loads(json.dumps(answer(body)).replace('"value": 0.5', '"value": 0'))  # type: ignore[no-any-return]

    objects = build_saved_objects()["issuetide-cost"]
    page = render_preview(Preview([(read_dashboards(objects)[0], ask(objects, zeros))], View(), "h", "1", NOW))
    assert "Every value is 0, or missing." in page


def test_a_chart_makes_room_for_its_legend_and_bars_in_rows_scroll() -> None:
    page = render_preview(Preview([(read_dashboards(trends())[0], ask(trends()))], View(), "h", "1", NOW))
    kinds = {title: words for words, title in re.findall(r'<figure class="([a-z ]+)"[^>]*><h3>([^<]+)</h3>', page)}
    assert kinds["Issues opened, by category"] == "panel fitted"
    assert kinds["Share of each category"] == "panel fitted"
    assert kinds["Issues per repository, by category"] == "panel"


def test_words_of_a_panel_link_to_the_web_only_and_turn_no_writing_around() -> None:
    words = "[a](//evil/x) [b](ftp://x) [c](data:image/png;base64,AA) [d](mailto:a@b) [e](https://ok/) [f](#/view/g)"
    html = render_markdown(words + " \u202e\ud800!")
    assert re.findall('href="([^"]*)"', html) == ["https://ok/", "#g"]
    assert html.encode().endswith(b" !</p>\n")


def _damages() -> Iterator[tuple[str, Any]]:
    yield "visState.params.seriesParams", [None]
    yield "visState.params.seriesParams", 7
    yield "visState.aggs", [{"id": [], "type": "count", "params": {}}]
    yield "visState.aggs", [{"id": "1", "type": "count", "params": 7}]
    yield "visState.type", [None]
    yield "kibanaSavedObjectMeta", 0
    yield "kibanaSavedObjectMeta", {"searchSourceJSON": "null"}
    yield "kibanaSavedObjectMeta", {"searchSourceJSON": '{"filter":[null]}'}
    yield "kibanaSavedObjectMeta", {"searchSourceJSON": '{"query":"x"}'}
    yield "description", 7


@pytest.mark.parametrize(("where", "value"), list(_damages()))
def test_whatever_an_object_holds_is_a_problem_and_no_crash(where: str, value: object) -> None:
    objects = trends()
    attributes = next(item for item in objects if item["id"] == "issuetide-opened")["attributes"]
    first, *rest = where.split(".")
    if rest:
        state = inner = json.loads(attributes[first])
        for key in rest[:-1]:
            inner = inner[key]
        inner[rest[-1]] = value
        attributes[first] = compact_json(state)
    else:
        attributes[first] = value
    assert find_problems(objects)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe{\x00}\x00", "not in UTF-8"),
        (b'{"type":"search","id":"\xe9","attributes":{}}', "not in UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"type":"search","id":"\\ud800","attributes":{}}', "half a character"),
        (b"", "hold no saved object"),
        (b'{"exportedCount":0}', "hold no saved object"),
        (b'{"type":"search","id":"a","attributes":{},"references":null}', "a reference lacks"),
        (b'{"type":"search","id":"a","attributes":{},"references":[{"id":1}]}', "a reference lacks"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.ndjson").write_bytes(content)
    with pytest.raises(ConfigurationError, match=words):
        read_saved_objects(tmp_path)


def test_a_folder_by_the_name_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_saved_objects(tmp_path)


def test_a_byte_order_mark_and_ends_of_lines_inside_a_title_are_read(tmp_path: Path) -> None:
    item = {"type": "search", "id": "a", "attributes": {"title": "a\u2028b\u0085c"}, "references": []}
    (tmp_path / "a.ndjson").write_bytes(b"\xef\xbb\xbf" + compact_json(item).encode() + b"\r\n")
    assert read_saved_objects(tmp_path) == [item]


def _own(identifier: str, **attributes: object) -> SavedObject:
    held: dict[str, Any] = {"title": "t", "panelsJSON": "[]", **attributes}
    versions = {"dashboard": "7.9.3"}
    return {"type": "dashboard", "id": identifier, "attributes": held, "references": [], "migrationVersion": versions}


@pytest.mark.parametrize("panels", ["{", "null", "[{}]"])
def test_a_dashboard_that_is_broken_in_dashboards_is_named_and_nothing_is_written(tmp_path: Path, panels: str) -> None:
    with serve_dashboards() as server, DashboardsApi(server.url) as api:
        server.objects()["dashboard", "issuetide-mine"] = _own("issuetide-mine", panelsJSON=panels)
        with pytest.raises(ConfigurationError, match="issuetide-mine is not as Dashboards writes it"):
            export_dashboards(api, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_two_dashboards_never_become_one_file(tmp_path: Path) -> None:
    with serve_dashboards() as server, DashboardsApi(server.url) as api:
        names = ["acme-mine", "issuetide-mine"]
        server.objects().update({("dashboard", name): _own(name) for name in names})
        with pytest.raises(ConfigurationError, match="would both be"):
            export_dashboards(api, tmp_path, prefix="acme", identifiers=names)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_another_encoding_is_written_over_only_by_force(tmp_path: Path) -> None:
    with serve_dashboards() as server, DashboardsApi(server.url) as api:
        server.objects()["dashboard", "issuetide-mine"] = _own("issuetide-mine")
        (tmp_path / "issuetide-mine.ndjson").write_bytes(b"\xff\xfe")
        with pytest.raises(ConfigurationError, match="git has not got it"):
            export_dashboards(api, tmp_path)
        assert export_dashboards(api, tmp_path, force=True)[0].status == "written"


def test_a_title_with_an_end_of_line_of_its_own_survives_the_way_out_and_in(tmp_path: Path) -> None:
    with serve_dashboards() as server, DashboardsApi(server.url) as api:
        server.objects()["dashboard", "issuetide-mine"] = _own("issuetide-mine", title="a\u2028b\u0085c")
        export_dashboards(api, tmp_path)
    assert read_saved_objects(tmp_path)[0]["attributes"]["title"] == "a\u2028b\u0085c"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_dashboards_that_cannot_answer_now_is_no_wrong_address(status: int) -> None:
    with serve_dashboards() as server:
        server.import_answer = (status, {"message": "OpenSearch Dashboards server is not ready yet"})
        with pytest.raises(UnavailableError, match=f"cannot answer now \\(HTTP {status}\\)"):
            import_dashboards(server.url, FOLDER)


@pytest.mark.parametrize("errors", [["boom"], [{"type": "x", "id": "y", "error": None}], [None]])
def test_an_unknown_form_of_refusal_is_told_and_no_crash(errors: list[object]) -> None:
    with serve_dashboards() as server:
        server.import_answer = (200, {"success": False, "errors": errors})
        with pytest.raises(ConfigurationError, match="refused 1 of"):
            import_dashboards(server.url, FOLDER)


@pytest.mark.parametrize("tenant", ["t\u00ebam", "\u20ac", "a\nb"])
def test_a_tenant_that_no_header_can_hold_is_said_to_be_the_fault(tenant: str) -> None:
    with pytest.raises(ConfigurationError, match="--tenant"):
        DashboardsApi("http://127.0.0.1:9", tenant=tenant)


def test_the_address_to_open_has_its_base_path_and_no_login() -> None:
    assert shown_address("https://ann:pw@host/_dashboards/") == "https://host/_dashboards"
    assert shown_address("http://[::1]:5601") == "http://[::1]:5601"
