"""Tests of the chart renderer."""

import re
from collections.abc import Callable
from datetime import date, datetime
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from etl.report.charts import (
    LEFT,
    RIGHT,
    TOP,
    Frame,
    horizontal_bars,
    lines,
    nice_ticks,
    ring,
    stacked_area,
    stacked_bars,
)
from etl.report.data import Series, Timeline

FRAME = Frame("f", "A title", "What it shows.", 400.0, 200.0)
MONTHS = tuple(date(2026, month, 1) for month in (1, 2, 3))
COLOURS = {"bug": "c0", "feature": "c1", "<b>&": "c2"}
SVG = "{http://www.w3.org/2000/svg}"


def timeline(**series: tuple[float | None, ...]) -> Timeline:
    return Timeline("month", MONTHS, tuple(Series(name, values) for name, values in series.items()))


def parse(svg: str) -> ET.Element:
    """The picture as a tree: a mistake in its writing fails here."""
    return ET.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [
        (0, [0, 1]),
        (1, [0, 1]),
        (3, [0, 1, 2, 3]),
        (17, [0, 5, 10, 15, 20]),
        (100, [0, 25, 50, 75, 100]),
        (1_001, [0, 250, 500, 750, 1_000, 1_250]),
    ],
)
def test_ticks_are_round_whole_numbers_that_reach_the_highest_value(highest: float, ticks: list[float]) -> None:
    assert nice_ticks(highest) == ticks


@pytest.mark.parametrize("highest", [0.0042, 0.3, 0.99, 7.7, 123_456.7])
def test_ticks_of_any_size_cover_the_values_with_few_steps(highest: float) -> None:
    ticks = nice_ticks(highest, whole=False)
    assert ticks[0] == 0
    assert ticks[-1] >= highest * 0.999999
    assert ticks[-2] < highest
    assert 3 <= len(ticks) <= 7


def test_bars_are_as_high_as_their_values_and_stand_on_each_other() -> None:
    tree = parse(stacked_bars(FRAME, timeline(bug=(10, 0, 5), feature=(10, None, 15)), COLOURS))
    paths = {
        path.get("class", ""): path.get("d", "") for path in tree.iter(f"{SVG}path") if "fill" in path.get("class", "")
    }
    bug = re.findall(r"M[\d.]+ ([\d.]+)h[\d.]+V([\d.]+)", paths["fill seam c0"])
    feature = re.findall(r"M[\d.]+ ([\d.]+)h[\d.]+V([\d.]+)", paths["fill seam c1"])
    assert len(bug) == len(feature) == 2, "nothing is drawn where there is nothing"
    floor, half, top = FRAME.height - 26, TOP + FRAME.plot_height / 2, TOP
    assert [float(value) for value in (*bug[0], *feature[0])] == pytest.approx([floor, half, half, top], abs=0.1)
    assert feature[1][0] == bug[1][1]


def test_every_period_tells_its_values_to_a_pointer() -> None:
    tree = parse(stacked_bars(FRAME, timeline(bug=(1200, 0, 5), feature=(3, None, 0)), COLOURS))
    tips = [title.text for title in tree.iter(f"{SVG}title")][1:]
    assert tips == ["Jan 2026\nbug: 1,200\nfeature: 3\nin all: 1,203", "Feb 2026\nnothing", "Mar 2026\nbug: 5"]


def test_a_line_breaks_where_there_is_no_value() -> None:
    tree = parse(lines(FRAME, timeline(bug=(0.5, None, 0.75), feature=(1.0, 0.5, 0.0)), COLOURS))
    drawn = [line.get("class") for line in tree.iter(f"{SVG}polyline")]
    assert drawn == ["line c1"], "single points of the broken line are dots"
    dots = [float(dot.get("cy", "0")) for dot in tree.iter(f"{SVG}circle") if dot.get("class") == "fill c0"]
    assert dots == pytest.approx([TOP + FRAME.plot_height / 2, TOP + FRAME.plot_height / 4], abs=0.1)


def test_an_area_ends_at_both_sides_of_the_plot() -> None:
    tree = parse(stacked_area(FRAME, timeline(bug=(1, 2, 3)), COLOURS))
    (area,) = tree.iter(f"{SVG}polygon")
    across = [float(point.split(",")[0]) for point in area.get("points", "").split()]
    assert (min(across), max(across)) == (LEFT, FRAME.width - RIGHT)


def test_horizontal_bars_stay_inside_and_tell_their_parts() -> None:
    rows = [("acme/engine", [("bug", 30.0), ("feature", 10.0)]), ("acme/" + "x" * 90, [("bug", 1.0)])]
    tree = parse(horizontal_bars(FRAME, rows, COLOURS))
    for bar in tree.iter(f"{SVG}rect"):
        assert float(bar.get("x", "0")) + float(bar.get("width", "0")) <= FRAME.width - 60
    words = [text.text for text in tree.iter(f"{SVG}text")]
    assert words[0:2] == ["acme/engine", "40"]
    assert words[2] is not None
    assert words[2].endswith("…")
    assert "acme/engine: feature 10" in [title.text for title in tree.iter(f"{SVG}title")]


@pytest.mark.parametrize("draw", [stacked_bars, stacked_area, lines])
def test_a_hostile_name_stays_text(draw: Callable[..., str]) -> None:
    svg = draw(FRAME, timeline(**{"<b>&": (1.0, 0.5, 1.0)}), COLOURS)
    assert "<b>" not in svg
    assert any("<b>&: 1" in (title.text or "") for title in parse(svg).iter(f"{SVG}title"))


@pytest.mark.parametrize("draw", [stacked_bars, stacked_area, lines])
@pytest.mark.parametrize("months", [0, 1])
def test_a_timeline_without_or_with_a_single_period_is_drawn(draw: Callable[..., str], months: int) -> None:
    values = Timeline("month", MONTHS[:months], (Series("bug", (1.0,) * months),))
    parse(draw(FRAME, values, COLOURS))


@pytest.mark.parametrize("width", [330.0, 500.0, 1040.0])
@pytest.mark.parametrize("periods", [2, 18, 60, 75])
def test_labels_of_the_time_axis_do_not_meet_and_stay_inside(width: float, periods: int) -> None:
    starts = tuple(date(2018 + month // 12, month % 12 + 1, 1) for month in range(periods))
    frame = Frame("f", "t", "d", width, 200.0)
    tree = parse(stacked_bars(frame, Timeline("month", starts, (Series("bug", (1.0,) * periods),)), COLOURS))
    places = [float(text.get("x", "0")) for text in tree.iter(f"{SVG}text") if "middle" in text.get("class", "")]
    assert places
    assert places[-1] <= width - 27
    assert all(right - left >= 50 for left, right in pairwise(places))


def test_a_chart_has_a_name_and_a_description_for_those_who_hear_it() -> None:
    tree = parse(stacked_bars(FRAME, timeline(bug=(1, 2, 3)), COLOURS))
    names = tree.get("aria-labelledby", "").split()
    told = {element.get("id"): element.text for element in tree if element.get("id")}
    assert [told[name] for name in names] == ["A title", "What it shows."]


def test_a_ring_parts_the_whole_by_shares_and_tells_them() -> None:
    tree = parse(ring(FRAME, [("bug", 30), ("feature", 10), ("<b>&", 0), ("question", -5)], COLOURS))
    arcs = [path for path in tree.iter(f"{SVG}path") if "arc" in path.get("class", "")]
    assert [arc.findtext(f"{SVG}title") for arc in arcs] == ["bug: 30 (75.0%)", "feature: 10 (25.0%)"]
    words = [text.text for text in tree.iter(f"{SVG}text")]
    assert words == ["75%", "25%", "40"]
    ends = [re.findall(r"([\d.]+ [\d.]+)(?=A|$)", arc.get("d", "")) for arc in arcs]
    assert ends[0][-1] == ends[1][0], "where one part ends the next one begins"
    assert ends[1][-1] == ends[0][0]


def test_a_whole_of_one_part_is_a_full_turn() -> None:
    tree = parse(ring(FRAME, [("bug", 7)], COLOURS))
    (arc,) = [path for path in tree.iter(f"{SVG}path") if "arc" in path.get("class", "")]
    assert arc.get("d", "").count("A") == 2
    assert "NaN" not in arc.get("d", "")


def test_lines_with_a_highest_value_have_a_scale_of_their_own_and_never_leave_the_plot() -> None:
    tree = parse(lines(FRAME, timeline(bug=(-50.0, 100.0, 400.0)), COLOURS, highest=400.0))
    (line,) = tree.iter(f"{SVG}polyline")
    heights = [float(point.split(",")[1]) for point in line.get("points", "").split()]
    assert heights[0] == pytest.approx(TOP + FRAME.plot_height)
    assert heights[2] == pytest.approx(TOP)
    assert "400" in [text.text for text in tree.iter(f"{SVG}text")]


def test_a_single_bar_does_not_fill_the_page() -> None:
    one = Timeline("day", MONTHS[:1], (Series("bug", (1.0,)),))
    tree = parse(stacked_bars(FRAME, one, COLOURS))
    (bar,) = [path for path in tree.iter(f"{SVG}path") if "fill" in path.get("class", "")]
    wide = re.search(r"h([\d.]+)V", bar.get("d", ""))
    assert wide is not None
    assert float(wide[1]) <= 90


@pytest.mark.parametrize(("step", "label"), [("hour", "1 Jan 00:00"), ("year", "2026")])
def test_hours_and_years_have_labels_of_their_own(step: str, label: str) -> None:
    starts = (datetime(2026, 1, 1), datetime(2026, 1, 1, 1))  # noqa: DTZ001  (a chart has no zone)
    tree = parse(stacked_bars(FRAME, Timeline(step, starts, (Series("bug", (1.0, 2.0)),)), COLOURS))  # type: ignore[arg-type]
    assert label in [text.text for text in tree.iter(f"{SVG}text")]


def test_days_over_a_turn_of_the_year_have_their_year_once_each() -> None:
    starts = tuple(date.fromordinal(date(2025, 11, 17).toordinal() + 7 * week) for week in range(53))
    tree = parse(stacked_bars(FRAME, Timeline("week", starts, (Series("bug", (1.0,) * 53),)), COLOURS))
    labels = [text.text or "" for text in tree.iter() if text.get("class") == "tick middle"]
    assert labels[0] == "17 Nov 2025"
    assert [label[-4:] for label in labels if label[-4:].isdigit()] == ["2025", "2026"]
    places = [float(text.get("x", 0)) for text in tree.iter() if text.get("class") == "tick middle"]
    assert min(later - earlier for earlier, later in pairwise(places)) >= 72
