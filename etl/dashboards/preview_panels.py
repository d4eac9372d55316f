"""One panel of a preview as HTML, by its kind: charts, figures, tables, documents, words, controls."""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from etl.dashboards.checking import STRANGE, strange_words
from etl.dashboards.colours import GREY, LIGHT_GREY, PALETTE
from etl.dashboards.drawing import (
    CHARTS,
    Rows,
    as_shares,
    field_words,
    is_all_zero,
    parts_by_name,
    read_rows,
    time_series,
)
from etl.dashboards.otherwise import differences, shape_differences
from etl.dashboards.panels import Answer, Panel
from etl.report.charts import Frame, horizontal_bars, lines, ring, stacked_area, stacked_bars
from etl.report.data import Timeline
from etl.report.words import plain_line, plain_text, safe_url, share_words

ROW, GAP = 20, 8
"""Height of a row of the grid and the gap between panels, in CSS pixels, as in Dashboards."""
_PAGE, _NARROW = 1376.0, 330.0
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
NUMBER = ' class="number"'
_NO_CHOICE = "nothing to choose yet"
_MOST_ROWS = 100
_MOST_NAMES = 14


class Colours:
    """CSS classes for colours: the report's own for its palette, which fit light and dark, new ones for any other."""

    def __init__(self) -> None:
        self._known = {colour: f"c{place}" for place, colour in enumerate(PALETTE)} | {GREY: "ca", LIGHT_GREY: "cu"}
        self._own: dict[str, str] = {}

    def choose(self, names: Sequence[str], chosen: Mapping[str, str]) -> dict[str, str]:
        """A class for each name: that of the colour that the panel chose, else the next that is free."""
        found = {name: self._class(chosen[name]) for name in names if _HEX.fullmatch(chosen.get(name, ""))}
        taken = set(found.values())
        free = [f"c{place}" for place in range(len(PALETTE)) if f"c{place}" not in taken] or ["c0"]
        left = [name for name in names if name not in found]
        return found | {name: free[place % len(free)] for place, name in enumerate(left)}

    def _class(self, colour: str) -> str:
        known = self._known.get(colour.lower())
        return known if known is not None else self._own.setdefault(colour.lower(), f"k{len(self._own)}")

    def style(self) -> str:
        """The style sheet of the new ones; asked when everything is drawn."""
        return "".join(f".{name} {{ color: {colour}; }}\n" for colour, name in self._own.items())


def draw_panel(answer: Answer, dashboard: str, place: int, colours: Colours) -> str:
    """A panel at its place on the grid; one that Dashboards never wrote so says that it cannot be drawn."""
    panel = answer.panel
    where = (
        f"grid-column:{panel.x + 1}/span {panel.w};grid-row:{panel.y + 1}/span {panel.h};"
        f"--share:{100 * panel.w / 48:.1f}%"
    )
    title = "" if panel.kind == "markdown" else f"<h3>{escape(plain_line(panel.title))}</h3>"
    try:
        inside = _notes(answer) + _inside(answer, f"{dashboard}-{place}", colours)
    except STRANGE as error:
        inside = f'<p class="nothing failed">Cannot be drawn: {escape(plain_line(strange_words(error), 300))}</p>'
    scrolls = panel.kind in {"table", "search", "heatmap"}
    attributes = 'class="panel rows" tabindex="0"' if scrolls else 'class="panel"'
    if panel.kind == "pie" or (panel.kind in CHARTS and answer.step is not None):
        # A picture that can be made smaller where its legend needs the room; bars in rows scroll.
        attributes = 'class="panel fitted"'
    return f'<figure {attributes} style="{where}">{title}{inside}</figure>'


def _notes(answer: Answer) -> str:
    """What is seen otherwise in Dashboards, and a time range that only this panel has."""
    panel = answer.panel
    notes = [f"Its own time range: {' to '.join(panel.time_range)}."] if panel.time_range else []
    told = _otherwise(differences(panel)) if answer.status == "filled" else ""
    return "".join(f'<p class="soft">{escape(plain_line(note))}</p>' for note in notes) + told


def _otherwise(found: Sequence[str]) -> str:
    return f'<p class="soft">Dashboards {escape(plain_line("; ".join(found), 400))}.</p>' if found else ""


def _inside(answer: Answer, identifier: str, colours: Colours) -> str:
    kind = answer.panel.kind
    if answer.status == "failed":
        return f'<p class="nothing failed">Its search failed: {escape(plain_line(answer.words, 300))}</p>'
    if answer.status == "opaque":
        return f'<p class="nothing">{escape(plain_line(answer.words, 300))}</p>'
    if kind == "markdown":
        return f'<div class="markdown">{render_markdown(str(answer.panel.state["params"].get("markdown", "")))}</div>'
    if kind == "input_control_vis":
        return _controls(answer)
    if answer.status == "empty":
        return f'<p class="nothing">No results found: {escape(plain_line(answer.words, 300))}.</p>'
    if kind == "search":
        return _documents(answer)
    rows = read_rows(answer)
    if kind in {"metric", "gauge", "goal"}:
        return _figures(answer.panel, rows)
    if kind == "pie":
        return _ring(answer.panel, rows, identifier, colours)
    if kind in CHARTS:
        return _chart(answer.panel, rows, identifier, colours)
    return _table(rows)


def render_markdown(words: str) -> str:
    """Markdown as HTML; tags in it are shown as text, pictures are left out, links lead to the web or inside the page.

    Dashboards' links to its own dashboards (`#/view/ID`) become links to the section of that name.
    """
    from markdown_it import MarkdownIt

    # OpenSearch Dashboards renders with markdown-it as well; this is its port.
    renderer = MarkdownIt("js-default", {"html": False, "linkify": False, "typographer": False}).disable("image")
    renderer.validateLink = _leads_somewhere_plain  # type: ignore[method-assign]
    return re.sub(r'href="#/view/', 'href="#', str(renderer.render(plain_text(words))))


def _leads_somewhere_plain(url: str) -> bool:
    return url.startswith("#") or safe_url(url) is not None


def _chosen(panel: Panel) -> Mapping[str, str]:
    """Colours by name: those of the visualization, over them those that the dashboard keeps for this panel."""
    kept = [json.loads(panel.item["attributes"].get("uiStateJSON", "{}")), panel.own]
    found = [state.get("vis", {}).get("colors", {}) for state in kept]
    return {str(name): str(colour) for colours in found for name, colour in colours.items()}


def _legend(names: Sequence[str], colours: Mapping[str, str], metrics: Sequence[str] = ()) -> str:
    if list(names) == list(metrics[:1]):
        return ""
    shown = "".join(
        f'<li><span class="swatch {colours[name]}" aria-hidden="true"></span>{escape(name)}</li>'
        for name in names[:_MOST_NAMES]
    )
    more = f"<li>and {len(names) - _MOST_NAMES} more</li>" if len(names) > _MOST_NAMES else ""
    return f'<ul class="legend">{shown}{more}</ul>'


def _frames(panel: Panel, identifier: str, described: str, *, rows: int = 0) -> list[tuple[str, Frame]]:
    """The chart's two sizes, for a wide and a narrow screen; rows: of a chart that grows with them."""
    wide = panel.w / 48 * _PAGE - 26
    high = max(110.0, panel.h * (ROW + GAP) - GAP - 78.0)
    sizes = (("wide", wide, high), ("narrow", _NARROW, 210.0))
    return [
        (name, Frame(f"{identifier}-{name}", plain_line(panel.title), described, width, rows * 40.0 + 2 if rows else h))
        for name, width, h in sizes
    ]


def _chart(panel: Panel, rows: Rows, identifier: str, colours: Colours) -> str:
    if rows.in_time is not None:
        return _timeline(panel, rows, identifier, colours)
    bars = parts_by_name(rows)[:40]
    names = list(dict.fromkeys(name for _, parts in bars for name, _ in parts))
    classes = colours.choose(names, _chosen(panel))
    described = "; ".join(name for name, _ in bars)
    drawn = [
        f'<div class="{size}">{horizontal_bars(frame, bars, classes)}</div>'
        for size, frame in _frames(panel, identifier, described, rows=len(bars))
    ]
    parts = max((len(parts) for _, parts in bars), default=0)
    notes = (
        ""
        if panel.kind == "tagcloud"
        else _otherwise(shape_differences(panel, "histogram", in_time=False, parts=parts))
    )
    return _legend(names, classes, rows.metrics) + notes + "".join(drawn)


def _timeline(panel: Panel, rows: Rows, identifier: str, colours: Colours) -> str:
    timeline = time_series(rows)
    names = [series.category for series in timeline.series]
    if not timeline.starts or not names:
        return '<p class="nothing">There is nothing to draw.</p>'
    classes = colours.choose(names, _chosen(panel))
    shape, shares = _shape(panel, len(names))
    described = f"{', '.join(names[:_MOST_NAMES])} over time"
    drawn = []
    for size, frame in _frames(panel, identifier, described):
        picture = _draw_timeline(rows, as_shares(timeline) if shares else timeline, frame, classes, shape, shares)
        drawn.append(f'<div class="{size}">{picture}</div>')
    note = '<p class="soft">Every value is 0, or missing.</p>' if is_all_zero(rows) else ""
    note += _otherwise(shape_differences(panel, shape, in_time=True, parts=1 if shares else len(names)))
    return _legend(names, classes, rows.metrics) + note + "".join(drawn)


def _shape(panel: Panel, parts: int) -> tuple[str, bool]:
    """As what a timeline is drawn ('histogram', 'area' or 'line'), and whether it shows shares of each period."""
    params = panel.state.get("params", {})
    if any(axis.get("scale", {}).get("mode") == "percentage" for axis in params.get("valueAxes", [])):
        return "histogram", True
    stacked = all(series.get("mode") == "stacked" for series in params.get("seriesParams", []))
    if panel.kind in {"histogram", "horizontal_bar"} and (stacked or parts == 1):
        return "histogram", False
    return "area" if panel.kind == "area" and stacked else "line", False


def _draw_timeline(
    rows: Rows, timeline: Timeline, frame: Frame, classes: Mapping[str, str], shape: str, shares: bool
) -> str:
    words = share_words if shares else rows.words[0]
    if shape == "histogram":
        return stacked_bars(frame, timeline, classes, words)
    if shape == "area":
        return stacked_area(frame, timeline, classes, words)
    highest = max((value for series in timeline.series for value in series.values if value is not None), default=0)
    # Shares are told on a scale to 100 %; anything else to the highest value.
    in_percent = words(0.5) == "50%"
    return lines(frame, timeline, classes, words, highest=None if in_percent else highest)


def _ring(panel: Panel, rows: Rows, identifier: str, colours: Colours) -> str:
    totals: dict[str, float] = {}
    for row in rows.rows:
        name = ", ".join(row.keys) or rows.metrics[0]
        if isinstance(row.values[0], int | float):
            totals[name] = totals.get(name, 0) + row.values[0]
    classes = colours.choose(list(totals), _chosen(panel))
    described = "; ".join(f"{name} {rows.words[0](value)}" for name, value in totals.items())
    drawn = [
        f'<div class="{size}">{ring(frame, list(totals.items()), classes, rows.words[0])}</div>'
        for size, frame in _frames(panel, identifier, described)
    ]
    return _legend(list(totals), classes) + "".join(drawn)


def _figures(panel: Panel, rows: Rows) -> str:
    figures = []
    for row in rows.rows:
        for label, value, words in zip(rows.metrics, row.values, rows.words, strict=True):
            name = " - ".join([*row.keys, label] if row.keys else [label])
            figures.append((name, words(value)))
    small = " small" if any(len(value) > 12 for _, value in figures) or panel.h < 6 else ""
    told = "".join(f"<div><dd>{escape(value)}</dd><dt>{escape(name)}</dt></div>" for name, value in figures)
    return f'<dl class="figures{small}">{told}</dl>'


def _table(rows: Rows) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in rows.keys)
    for place, name in enumerate(rows.metrics):
        in_words = any(isinstance(row.values[place], str) for row in rows.rows)
        head += f'<th scope="col"{"" if in_words else NUMBER}>{escape(name)}</th>'
    body = []
    for row in rows.rows[:_MOST_ROWS]:
        cells = "".join(f"<td{_unbroken(key)}>{escape(key)}</td>" for key in row.keys)
        for value, words in zip(row.values, rows.words, strict=True):
            cells += f"<td{'' if isinstance(value, str) else NUMBER}>{_cell(value, words(value))}</td>"
        body.append(f"<tr>{cells}</tr>")
    more = f'<p class="soft">{len(rows.rows) - _MOST_ROWS} more</p>' if len(rows.rows) > _MOST_ROWS else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>{more}"


def _unbroken(key: str) -> str:
    """Keeps short words such as days and names of models in one line."""
    return ' class="key"' if len(key) <= 24 else ""


def _documents(answer: Answer) -> str:
    columns: list[str] = answer.panel.item["attributes"].get("columns", [])
    told = {name: field_words(answer.panel, name) for name in columns}
    head = "".join(f'<th scope="col">{escape(plain_line(name, 80))}</th>' for name in columns)
    body = []
    for hit in answer.found["hits"]["hits"]:
        source: Mapping[str, Any] = hit["_source"]
        cells = "".join(f"<td>{_cell(source.get(name), told[name](source.get(name)))}</td>" for name in columns)
        body.append(f"<tr>{cells}</tr>")
    return f'<table class="hits"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'


def _cell(value: object, words: str) -> str:
    url = safe_url(value) if isinstance(value, str) and value.startswith("http") else None
    if url is not None:
        shown = plain_line(url.partition("://")[2], 80)
        return f'<a href="{escape(url)}" rel="noopener noreferrer">{escape(shown)}</a>'
    return f'<bdi dir="auto">{escape(words)}</bdi>'


def _controls(answer: Answer) -> str:
    entries = []
    for control in answer.panel.state["params"]["controls"]:
        found = answer.found.get("aggregations", {}).get(control["id"], {})
        if "buckets" in found:
            values = [str(bucket.get("key_as_string", bucket["key"])) for bucket in found["buckets"]]
            words = ", ".join(plain_line(value, 60) for value in values[:12]) or _NO_CHOICE
            # How many there are beyond those that the control asks for, nobody has counted.
            rest = "" if found.get("sum_other_doc_count") else f"{len(values) - 12} "
            words += f" and {rest}more" if len(values) > 12 else ""
        elif found.get("count"):
            words = f"{found['min']} to {found['max']}"
        else:
            words = _NO_CHOICE
        entries.append(f"<dt>{escape(plain_line(str(control['label']), 80))}</dt><dd>{escape(words)}</dd>")
    return f'<dl class="controls">{"".join(entries)}</dl>'
