"""Tests of the preview: what strangers wrote stays text, and every kind of panel is drawn."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from etl.dashboards.build import build_saved_objects
from etl.dashboards.drawing import Row, Rows, as_shares, field_words, read_rows, time_series
from etl.dashboards.intervals import Interval
from etl.dashboards.panels import Answer, View, ask_dashboard, read_dashboards
from etl.dashboards.preview import Preview, render_preview
from etl.dashboards.preview_panels import Colours, draw_panel, render_markdown
from etl.dashboards.saved_objects import SavedObject, compact_json
from tests.unit.dashboards.boards import HOSTILE, answer

NOW = datetime(2026, 11, 21, tzinfo=UTC)
VOID = {"meta", "br", "hr", "input", "path", "rect", "circle", "polygon", "polyline"}


class Page(HTMLParser):
    """Reads a page, and checks that its tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """A tag opens."""
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """A tag that is whole."""
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        """A tag closes."""
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Words."""
        self.words.append(data)


def search(_: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    return answer(body)


def page(names: tuple[str, ...] = ("trends", "quality", "cost"), view: View | None = None) -> str:
    boards = [read_dashboards(build_saved_objects()[f"issuetide-{name}"])[0] for name in names]
    told = [(board, list(ask_dashboard(board, search, NOW, view))) for board in boards]
    return render_preview(Preview(told, view or View(), "http://search:9200", "1.2.3", NOW))


def drawn(item_id: str, change: Mapping[str, Any] | None = None, *, file: str = "trends") -> str:
    """One panel as HTML, its visState changed."""
    objects = build_saved_objects()[f"issuetide-{file}"]
    item = next(item for item in objects if item["id"] == item_id)
    if change:
        state = {**json.loads(item["attributes"]["visState"]), **change}
        item["attributes"]["visState"] = compact_json(state)
    return draw_panel(answer_of(objects, item_id), "d", 0, Colours())


def answer_of(objects: list[SavedObject], item_id: str) -> Answer:
    (board,) = read_dashboards(objects)
    return next(found for found in ask_dashboard(board, search, NOW) if found.panel.item["id"] == item_id)


def test_every_panel_of_every_dashboard_is_drawn_and_the_page_is_well_formed() -> None:
    text = page()
    found = Page(text)
    assert (
        len([tag for tag, attributes in found.tags if (attributes.get("class") or "").split()[:1] == ["panel"]]) == 47
    )
    assert "nothing failed" not in text
    assert 'class="nothing"' not in text
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_what_strangers_wrote_is_text_everywhere() -> None:
    found = Page(page())
    assert not [tag for tag, _ in found.tags if tag in {"script", "img", "iframe", "object", "link", "style"}][1:]
    assert not [attributes for _, attributes in found.tags if any(name.startswith("on") for name in attributes)]
    links = [attributes["href"] or "" for tag, attributes in found.tags if tag == "a"]
    assert links
    assert not [link for link in links if not link.startswith(("https://", "#"))]
    assert any(HOSTILE[:20] in words for words in found.words), "and it is there to be read"


def test_the_page_may_load_and_run_nothing() -> None:
    text = page(("cost",))
    assert "default-src 'none'" in text
    assert not re.search(r'(?:src|href)="(?:https?:)?//(?!github\.com)', text)
    assert "@import" not in text
    assert "url(" not in text


def test_the_same_answers_give_the_same_bytes() -> None:
    assert page() == page()


def test_links_between_dashboards_lead_to_sections_of_the_page() -> None:
    found = Page(page())
    ids = {attributes.get("id") for _, attributes in found.tags}
    inside = {(attributes["href"] or "")[1:] for tag, attributes in found.tags if tag == "a"}
    assert {"issuetide-quality", "issuetide-cost", "issuetide-trends"} <= inside
    assert {name for name in inside if name.startswith("issuetide-")} <= ids


def test_pills_say_what_is_looked_at() -> None:
    text = page(("trends",), View(start="now-7d", task="user_error", repositories=("a/b", "c/d")))
    for pill in ("now-7d to now", "task: user_error", "repository: a/b or c/d"):
        assert f"<li>{pill}</li>" in text


def test_panels_lie_where_the_grid_has_them() -> None:
    assert "grid-column:33/span 16;grid-row:17/span 14" in drawn("issuetide-share")


def test_a_category_has_the_colour_that_the_panel_gives_it() -> None:
    assert '<span class="swatch c0" aria-hidden="true"></span>bug' in drawn("issuetide-opened")


def test_a_colour_of_ones_own_becomes_a_class_and_what_is_no_colour_does_not() -> None:
    colours = Colours()
    chosen = {"a": "#123456", "b": "red;}body{display:none", "c": "#0072B2"}
    assert colours.choose(["a", "b", "c"], chosen) == {"a": "k0", "c": "c0", "b": "c1"}
    assert colours.style() == ".k0 { color: #123456; }\n"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("pie", "<svg"),
        ("tagcloud", "<svg"),
        ("horizontal_bar", "<svg"),
        ("table", "<table>"),
        ("heatmap", "<table>"),
        ("gauge", 'class="figures'),
        ("goal", 'class="figures'),
        ("metric", 'class="figures'),
        ("vega", "drawn by Dashboards only"),
    ],
)
def test_each_native_kind_is_drawn_or_said_not_to_be(kind: str, told: str) -> None:
    assert told in drawn("issuetide-share", {"type": kind})


def test_an_empty_panel_says_so_and_a_failed_one_says_why() -> None:
    (board,) = read_dashboards(build_saved_objects()["issuetide-trends"])
    empty = draw_panel(Answer(board.panels[3], "empty", words="<i>none</i>"), "d", 0, Colours())
    assert "No results found: &lt;i&gt;none&lt;/i&gt;." in empty
    failed = draw_panel(Answer(board.panels[3], "failed", words="<b>no</b>"), "d", 0, Colours())
    assert "Its search failed: &lt;b&gt;no&lt;/b&gt;" in failed


def test_the_newest_issue_of_a_problem_is_a_link_and_its_title_is_text() -> None:
    html = drawn("issuetide-families")
    link = '<td><a href="https://github.com/a/b/issues/1" rel="noopener noreferrer">github.com/a/b/issues/1</a></td>'
    assert html.count(link) == 2
    assert html.count("<a ") == 2
    assert "&lt;script&gt;" in html


def test_markdown_is_rendered_without_html_pictures_or_dangerous_links() -> None:
    words = "### Hi <i>x</i>\n\n![p](https://evil/p.png) [a](javascript:alert(1)) [b](#/view/issuetide-cost) **c**"
    html = render_markdown(words)
    assert "<h3>Hi &lt;i&gt;x&lt;/i&gt;</h3>" in html
    assert "<img" not in html
    assert "javascript:alert(1)</a>" not in html
    assert 'href="javascript' not in html
    assert '<a href="#issuetide-cost">b</a>' in html
    assert "<strong>c</strong>" in html


def test_gaps_in_time_are_filled_and_shares_add_up_to_one() -> None:
    found = answer_of(build_saved_objects()["issuetide-quality"], "issuetide-drift")
    timeline = time_series(read_rows(found))
    assert timeline.step == "week"
    assert [str(start) for start in timeline.starts] == ["2026-01-01", "2026-01-08", "2026-01-15", "2026-01-22"]
    assert [series.values for series in timeline.series] == [(20, 20, None, 20), (10, 10, None, 10)]
    shares = as_shares(timeline)
    assert [series.values[0] for series in shares.series] == [20 / 30, 10 / 30]
    assert [series.values[2] for series in shares.series] == [None, None]


def test_a_time_axis_may_begin_on_a_leap_day() -> None:
    days = (datetime(2024, 2, 29, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
    rows = Rows(("day",), ("Count",), (str,), tuple(Row((str(day),), (1,), day) for day in days), 0, Interval(1, "y"))
    assert [str(start) for start in time_series(rows).starts] == ["2024-02-29", "2026-03-01"]


@pytest.fixture
def _far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_far_from_greenwich")
def test_a_day_is_one_of_utc_wherever_the_page_is_made() -> None:
    panel = answer_of(build_saved_objects()["issuetide-trends"], "issuetide-open").panel
    assert field_words(panel, "day")("2026-03-04") == "2026-03-04 00:00"
    assert field_words(panel, "day")("2026-03-04T01:00:00+09:00") == "2026-03-03 16:00"


def test_a_range_control_without_documents_has_nothing_to_choose() -> None:
    (board,) = read_dashboards(build_saved_objects()["issuetide-trends"])
    panel = next(panel for panel in board.panels if panel.kind == "input_control_vis")
    control = {"id": "1", "label": "Comments", "fieldName": "comments", "type": "range"}
    asked = Answer(
        replace(panel, state={"params": {"controls": [control]}}),
        "empty",
        {"aggregations": {"1": {"count": 0, "min": None, "max": None}}},
    )
    assert "<dd>nothing to choose yet</dd>" in draw_panel(asked, "d", 0, Colours())


def test_values_are_written_by_the_format_of_their_field() -> None:
    assert ">50%<" in drawn("issuetide-repository-table")
    assert ">$0.50<" in drawn("issuetide-spent", file="cost")
    low = drawn("issuetide-low-confidence")
    assert '<a href="https://github.com/a/b/issues/1" rel="noopener noreferrer">github.com/a/b/issues/1</a>' in low
    assert '<bdi dir="auto">javascript:alert(1)</bdi>' in low
    assert ">25%<" in low


def test_a_missing_part_is_shown_by_its_label() -> None:
    objects = build_saved_objects()["issuetide-cost"]
    (board,) = read_dashboards(objects)

    def without_model(_: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return answer(body, name="__missing__")

    found = next(f for f in ask_dashboard(board, without_model, NOW) if f.panel.item["id"] == "issuetide-models")
    assert {row.keys[1] for row in read_rows(found).rows} == {"(no model asked)", HOSTILE}


def test_the_other_part_is_shown_by_its_label() -> None:
    def others(_: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return answer(body, name="__other__")

    objects = build_saved_objects()["issuetide-trends"]
    change(objects, "issuetide-share", {"otherBucketLabel": "all else"}, place=1)
    (board,) = read_dashboards(objects)
    found = next(f for f in ask_dashboard(board, others, NOW) if f.panel.item["id"] == "issuetide-share")
    assert [row.keys for row in read_rows(found).rows] == [("all else",), (HOSTILE,)]


def change(objects: list[SavedObject], item_id: str, params: Mapping[str, Any], place: int) -> None:
    """Sets parameters of one aggregation of a panel."""
    item = next(item for item in objects if item["id"] == item_id)
    state = json.loads(item["attributes"]["visState"])
    state["aggs"][place]["params"] |= params
    item["attributes"]["visState"] = compact_json(state)


def metric(kind: str, **params: Any) -> dict[str, Any]:
    return {"id": "1", "type": kind, "schema": "metric", "params": {"field": "hours_to_close", **params}}


def figures(kind: str, params: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, str]:
    """What a metric of the editor shows, by its label."""
    objects = build_saved_objects()["issuetide-trends"]
    item = next(item for item in objects if item["id"] == "issuetide-figures")
    item["attributes"]["visState"] = compact_json({"type": "metric", "aggs": [metric(kind, **params)], "params": {}})
    (board,) = read_dashboards(objects)

    def known(_: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**answer(body), "aggregations": {"1": found}}

    rows = read_rows(next(f for f in ask_dashboard(board, known, NOW) if f.panel.item["id"] == "issuetide-figures"))
    told = zip(rows.metrics, rows.words, rows.rows[0].values, strict=True)
    return {label: words(value) for label, words, value in told}


def hits(*values: object) -> dict[str, Any]:
    return {"hits": {"hits": [{"_source": {"hours_to_close": value}} for value in values]}}


@pytest.mark.parametrize(
    ("kind", "params", "values", "told"),
    [
        ("avg", {}, {"value": 4}, {"Average hours_to_close": "4"}),
        ("cardinality", {}, {"value": 3}, {"Unique count of hours_to_close": "3"}),
        ("median", {"customLabel": "Half"}, {"values": {"50.0": 7}}, {"Half": "7"}),
        (
            "percentiles",
            {"percents": [1, 50, 99.9]},
            {"values": {"1.0": 2, "50.0": 4, "99.9": 8}},
            {
                "1st percentile of hours_to_close": "2",
                "50th percentile of hours_to_close": "4",
                "99.9th percentile of hours_to_close": "8",
            },
        ),
        (
            "percentile_ranks",
            {"values": [5, 10], "customLabel": "Hours"},
            {"values": {"5.0": 25, "10.0": None}},
            {"Percentile rank 5 of Hours": "25%", "Percentile rank 10 of Hours": "\u2013"},
        ),
        (
            "std_dev",
            {},
            {"count": 2, "avg": 5, "std_deviation": 1, "std_deviation_bounds": {"lower": 3, "upper": 7}},
            {
                "Lower Standard Deviation of hours_to_close": "3",
                "Upper Standard Deviation of hours_to_close": "7",
            },
        ),
        *(
            (
                "top_hits",
                {"size": 3, "sortField": "created_at", "aggregate": aggregate},
                hits(1, [2, 3]),
                {"Top hits hours_to_close": told},
            )
            for aggregate, told in (("concat", "1, 2, 3"), ("min", "1"), ("max", "3"), ("sum", "6"), ("average", "2"))
        ),
    ],
)
def test_every_value_of_a_metric_has_its_label(
    kind: str, params: Mapping[str, Any], values: Mapping[str, Any], told: Mapping[str, str]
) -> None:
    assert figures(kind, params, values) == told


def test_bars_of_half_a_day_have_their_place_on_the_axis() -> None:
    moments = [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, 12, tzinfo=UTC)]
    rows = Rows(("", "n"), ("Count",), (str,), tuple(Row((str(m),), (1,), m) for m in moments), 0, Interval(12, "h"))
    timeline = time_series(rows)
    assert (timeline.step, [str(start)[5:16] for start in timeline.starts]) == (
        "hour",
        ["01-01 00:00", "01-01 12:00", "01-02 00:00", "01-02 12:00"],
    )


def test_names_stand_along_the_axis_that_the_editor_gave_them() -> None:
    state = json.loads(
        next(
            item["attributes"]["visState"]
            for item in build_saved_objects()["issuetide-trends"]
            if item["id"] == "issuetide-repositories"
        )
    )
    count, segment, group = state["aggs"]
    objects = build_saved_objects()["issuetide-trends"]
    item = next(item for item in objects if item["id"] == "issuetide-repositories")
    item["attributes"]["visState"] = compact_json({**state, "aggs": [count, group, segment]})
    assert read_rows(answer_of(objects, "issuetide-repositories")).axis == 1


def _series(shape: str, mode: str) -> dict[str, Any]:
    return {"data": {"id": "1", "label": "n"}, "type": shape, "mode": mode}


@pytest.mark.parametrize(
    ("item_id", "params", "told"),
    [
        ("issuetide-repository-table", {"showTotal": True}, "Dashboards adds a row of totals."),
        ("issuetide-repository-table", {"percentageCol": "Count"}, "Dashboards adds a column of percentages."),
        ("issuetide-opened", {"thresholdLine": {"show": True, "value": 7}}, "Dashboards has a line at 7."),
        ("issuetide-opened", {"valueAxes": [{"scale": {"type": "log", "mode": "normal"}}]}, "a scale of the kind log"),
        ("issuetide-opened", {"seriesParams": [_series("line", "stacked")]}, "draws n as a line."),
        ("issuetide-opened", {"seriesParams": [{"data": {"id": "1", "label": "n"}, "show": False}]}, "hides n."),
        ("issuetide-opened", {"seriesParams": [_series("histogram", "normal")]}, "draws n as bars."),
        ("issuetide-repositories", {"seriesParams": [_series("histogram", "normal")]}, "draws bars side by side."),
    ],
)
def test_what_dashboards_draws_otherwise_is_said(item_id: str, params: Mapping[str, Any], told: str) -> None:
    assert "Dashboards " not in drawn(item_id)
    assert told in drawn(item_id, {"params": params})


def test_bars_of_names_are_said_to_be_upright_in_dashboards() -> None:
    assert "Dashboards draws them upright." in drawn("issuetide-repositories", {"type": "histogram"})
    assert "Dashboards draws bars from left to right." in drawn("issuetide-opened", {"type": "horizontal_bar"})


def test_charts_side_by_side_are_said_to_be_some() -> None:
    objects = build_saved_objects()["issuetide-trends"]
    item = next(item for item in objects if item["id"] == "issuetide-share")
    item["attributes"]["visState"] = item["attributes"]["visState"].replace('"schema":"segment"', '"schema":"split"')
    told = draw_panel(answer_of(objects, "issuetide-share"), "d", 0, Colours())
    assert "Dashboards draws one picture for each primary_category." in told


def test_a_range_is_told_by_its_limits() -> None:
    objects = build_saved_objects()["issuetide-trends"]
    item = next(item for item in objects if item["id"] == "issuetide-share")
    ranges = {"id": "3", "type": "range", "schema": "segment", "params": {"field": "comments", "ranges": []}}
    state = {"type": "table", "params": {}, "aggs": [{"id": "1", "type": "count", "params": {}}, ranges]}
    item["attributes"]["visState"] = compact_json(state)
    (board,) = read_dashboards(objects)
    limits: list[dict[str, float]] = [{"to": 5}, {"from": 5, "to": 10.0}, {"from": 10}, {}]

    def known(_: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        buckets = [{"key": "x", "doc_count": 1, **limit} for limit in limits]
        return {**answer(body), "aggregations": {"3": {"buckets": buckets}}}

    found = next(f for f in ask_dashboard(board, known, NOW) if f.panel.item["id"] == "issuetide-share")
    assert [row.keys[0] for row in read_rows(found).rows] == ["< 5", "≥ 5 and < 10", "≥ 10", "all"]


def test_colours_that_were_chosen_on_the_dashboard_come_first() -> None:
    found = answer_of(build_saved_objects()["issuetide-trends"], "issuetide-opened")
    panel = replace(found.panel, own={"vis": {"colors": {"bug": "#123456"}}})
    assert 'class="swatch k0"' in draw_panel(replace(found, panel=panel), "d", 0, Colours())


def test_a_panel_that_is_not_as_dashboards_writes_it_says_so_and_spoils_no_page() -> None:
    told = drawn("issuetide-opened", {"params": {"valueAxes": None}})
    assert "Cannot be drawn: it is not as Dashboards writes it (TypeError" in told
    assert told.endswith("</figure>")
