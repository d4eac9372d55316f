"""Dashboards as one self-contained HTML page: every panel drawn from its own searches, for reviews without Dashboards.

Titles and labels are written by strangers. They pass through `plain_line` and are escaped, links only lead to http and
https, markdown is rendered without HTML of its own and without pictures, and the page's policy forbids scripts and any
loading.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

from etl.dashboards.panels import Answer, Dashboard, View, dashboard_filters
from etl.dashboards.preview_panels import GAP, ROW, Colours, draw_panel
from etl.dashboards.saved_objects import search_source
from etl.dashboards.search import filter_query
from etl.report.html import POLICY
from etl.report.style import STYLE
from etl.report.words import number_words, plain_line, time_words

_STYLE = f"""
main, header, footer {{ max-width: 1416px; }}
.board {{ display: grid; grid-template-columns: repeat(48, minmax(0, 1fr)); grid-auto-rows: {ROW}px; gap: {GAP}px;
  margin-top: 14px; }}
.panel {{ background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; margin: 0;
  min-width: 0; overflow: auto; }}
.panel h3 {{ font-size: 14px; margin-bottom: 4px; }}
.panel .legend {{ font-size: 12px; margin: 0 0 2px; gap: 0 12px; }}
.panel table {{ font-size: 13px; overflow-wrap: break-word; }}
.panel td {{ max-width: 340px; }} .panel td, .panel th {{ padding-top: 4px; padding-bottom: 4px; }}
.panel th {{ position: sticky; top: -8px; background: var(--card); }}
.pills {{ list-style: none; display: flex; flex-wrap: wrap; gap: 6px; margin: 8px 0 0; padding: 0; font-size: 13px; }}
.pills li {{ border: 1px solid var(--line); background: var(--card); border-radius: 999px; padding: 1px 10px; }}
.figures {{ display: flex; flex-wrap: wrap; gap: 6px 34px; margin: 0; justify-content: space-evenly; }}
.figures div {{ text-align: center; }} .figures dt {{ color: var(--soft); font-size: 13px; }}
.figures dd {{ margin: 0; font-size: 27px; line-height: 1.25; font-weight: 620; font-variant-numeric: tabular-nums; }}
.figures.small dd {{ font-size: 19px; }}
.controls {{ margin: 0; }} .controls dt {{ font-weight: 600; font-size: 13px; margin-top: 6px; }}
.controls dd {{ margin: 0; font-size: 13px; color: var(--soft); }} .controls b {{ color: var(--ink); }}
.markdown {{ font-size: 13.5px; line-height: 1.45; }} .markdown h3, .markdown h2, .markdown h1 {{ font-size: 17px; }}
.markdown p {{ margin-bottom: 7px; }} .markdown img {{ display: none; }}
.arc {{ fill: none; stroke: currentColor; }} .inside {{ font-size: 12px; fill: #fff; font-weight: 600;
  stroke: #0007; stroke-width: 2.5px; paint-order: stroke; }}
.whole {{ font-size: 21px; font-weight: 620; fill: var(--ink); }}
.key {{ white-space: nowrap; }} table:not(.hits) td a {{ overflow-wrap: anywhere; }}
.hits {{ min-width: 900px; }} .hits td {{ max-width: 420px; }}
.nothing {{ border: 1px dashed var(--line); border-radius: 8px; padding: 10px 12px; color: var(--soft);
  font-size: 13.5px; }}
.failed {{ border-color: var(--bad); color: var(--bad); }}
@media screen and (min-width: 821px) {{
  .fitted {{ display: flex; flex-direction: column; overflow: hidden; }}
  .fitted h3, .fitted .soft {{ flex: none; }}
  .fitted .legend {{ flex: none; max-height: 38px; overflow: auto; }}
  .fitted .wide {{ flex: 1; min-height: 0; }} .fitted .wide svg {{ height: 100%; margin: 0; }}
}}
@media screen and (max-width: 820px) {{
  .board {{ display: block; }} .panel {{ margin-bottom: 10px; max-height: 560px; }}
  .panel .wide {{ display: none; }} .panel .narrow {{ display: block; }}
  .figures {{ justify-content: flex-start; gap: 6px 22px; }} .figures div {{ text-align: left; }}
  .figures dd {{ font-size: 21px; }}
}}
@media print {{
  .board {{ display: flex; flex-wrap: wrap; gap: 8px; }}
  .panel {{ flex: 0 0 calc(var(--share) - 8px); overflow: hidden; break-inside: avoid; max-height: 180mm; }}
  .panel.rows {{ flex-basis: 100%; }} .panel.rows table {{ font-size: 8.5pt; min-width: 0; }}
  .panel.rows tbody tr:nth-child(n+13) {{ display: none; }}
  .panel th {{ position: static; }} section {{ break-before: page; }} section:first-of-type {{ break-before: auto; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Preview:
    """What one page shows. host: where the answers are from, without credentials; version: of Issuetide."""

    boards: Sequence[tuple[Dashboard, Sequence[Answer]]]
    view: View
    host: str
    version: str
    generated_at: datetime


def render_preview(preview: Preview) -> str:
    """The page. The same answers give the same bytes."""
    colours = Colours()
    sections = "".join(_section(board, answers, preview.view, colours) for board, answers in preview.boards)
    links = "".join(
        f'<a href="#{escape(board.item["id"])}">{escape(plain_line(board.title))}</a>' for board, _ in preview.boards
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>Issuetide: preview of dashboards</title>\n<style>{STYLE}{_STYLE}{colours.style()}</style>\n"
        f"</head>\n<body>\n<header><h1>Preview of dashboards</h1>"
        '<p class="soft">Each panel drawn from its own search, as OpenSearch Dashboards lays it out.</p>'
        f'<nav aria-label="Dashboards">{links}</nav></header>\n<main>\n{sections}\n</main>\n'
        f"<footer>Made by issuetide {escape(preview.version)} at {time_words(preview.generated_at)} from "
        f"{escape(plain_line(preview.host))}. All times are UTC. Hover over a chart for the numbers. Pills, links and "
        "controls work in Dashboards only.</footer>\n</body>\n</html>\n"
    )


def _section(dashboard: Dashboard, answers: Sequence[Answer], view: View, colours: Colours) -> str:
    panels = "".join(draw_panel(answer, dashboard.item["id"], place, colours) for place, answer in enumerate(answers))
    pills = [f"{view.start or dashboard.start} to {view.end or dashboard.end}"]
    query = (search_source(dashboard.item).get("query") or {}).get("query")
    pills += [f"query: {query}"] if query else []
    pills += [_pill_words(pill) for pill in dashboard_filters(dashboard, view)]
    empty = [answer.panel.title for answer in answers if answer.status in {"empty", "failed"}]
    note = f"{number_words(len(answers))} panels" + (f", {len(empty)} without anything to show" if empty else "")
    listed = "".join(f"<li>{escape(plain_line(words))}</li>" for words in pills)
    description = plain_line(dashboard.item["attributes"].get("description", ""), 300)
    return (
        f'<section id="{escape(dashboard.item["id"])}"><h2>{escape(plain_line(dashboard.title))}</h2>'
        f'<p class="soft">{escape(description)} {note}.</p><ul class="pills">{listed}</ul>'
        f'<div class="board">{panels}</div></section>\n'
    )


def _pill_words(pill: Mapping[str, Any]) -> str:
    """A filter as its pill says it."""
    meta = pill["meta"]
    negated = "NOT " if meta.get("negate") else ""
    words = str(meta.get("alias") or "") or f"{meta.get('key', 'filter')}: {_asked_words(pill)}"
    return negated + words


def _asked_words(pill: Mapping[str, Any]) -> str:
    """What a filter asks of its field."""
    asked = filter_query(pill)
    if isinstance(asked.get("exists"), dict):
        return "exists"
    if isinstance(asked.get("range"), dict):
        signs = {"gt": ">", "gte": "≥", "lt": "<", "lte": "≤"}
        limits = [part for part in asked["range"].values() if isinstance(part, dict)]
        told = [f"{signs[name]} {value}" for part in limits for name, value in part.items() if name in signs]
        return " and ".join(told) or "in a range"
    return " or ".join(_phrases(asked)) or "a query"


def _phrases(query: object) -> list[str]:
    """The values of the phrases inside a filter."""
    if isinstance(query, list):
        return [value for inner in query for value in _phrases(inner)]
    if not isinstance(query, dict):
        return []
    found = []
    for key, inner in query.items():
        if key in {"match_phrase", "term", "match"} and isinstance(inner, dict):
            found += [str(value.get("query", "") if isinstance(value, dict) else value) for value in inner.values()]
        else:
            found += _phrases(inner)
    return found
