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
        len([tag for tag, attributes in found.tags if (attributes.get("class") or "").split()[:1] == ["panel"]]) == 46
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
    rows = Rows(("day",), ("Count",), (str,), tuple(Row((str(day),), (1,), day) for day in days), in_time=0)
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
