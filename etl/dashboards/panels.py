"""The panels of dashboards: what each one asks of which index, and what came back.

One translation for `dashboards check`, which wants to know whether there is anything, and `dashboards preview`, which
draws it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from etl.dashboards.checking import OPAQUE, STRANGE, strange_words
from etl.dashboards.completing import add_others, drop_partials
from etl.dashboards.intervals import Interval
from etl.dashboards.moments import read_moment
from etl.dashboards.saved_objects import SavedObject, search_source
from etl.dashboards.search import (
    Scope,
    bounds_body,
    controls_body,
    enabled_parts,
    panel_body,
    phrase_filter,
    query_clause,
    saved_search_body,
    time_filter,
)
from etl.errors import ConfigurationError

Search = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""Asks an index (or alias) with the body of a `_search`; gives the answer."""

Status = Literal["filled", "empty", "failed", "words", "opaque"]


@dataclass(frozen=True, slots=True)
class View:
    """What is looked at: a time range (None: the dashboard's own), a task instead of the pill's, repositories."""

    start: str | None = None
    end: str | None = None
    task: str | None = None
    repositories: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel on its dashboard. kind: the visualization's type, or 'search'. x, y, w, h: cells of the grid.

    base: the saved search it is made from; own: what the dashboard keeps for this panel alone (`embeddableConfig`).
    """

    item: SavedObject
    title: str
    kind: str
    x: int
    y: int
    w: int
    h: int
    state: Mapping[str, Any] = field(default_factory=dict)
    pattern: SavedObject | None = None
    base: SavedObject | None = None
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def time_range(self) -> tuple[str, str] | None:
        """The time range that was chosen for this panel alone, as words."""
        chosen = self.own.get("timeRange")
        return (str(chosen.get("from")), str(chosen.get("to"))) if isinstance(chosen, dict) else None

    @property
    def index(self) -> str | None:
        """The index or alias that it asks; None where it asks nothing."""
        return self.pattern["attributes"]["title"] if self.pattern is not None else None


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard with its panels as one reads them. start, end: its own time range, as words."""

    item: SavedObject
    title: str
    start: str
    end: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a panel's search brought.

    status: 'filled'; 'empty' (asked, and nothing to show); 'failed'; 'words' (a panel without a search); 'opaque' (a
    type that only Dashboards can draw). words: why it is empty, failed or opaque. step: how wide the bars along its
    time axis are.
    """

    panel: Panel
    status: Status
    found: Mapping[str, Any] = field(default_factory=dict)
    documents: int = 0
    words: str = ""
    step: Interval | None = None


def in_reading_order(boards: Iterable[Dashboard], now: datetime) -> list[Dashboard]:
    """Dashboards from the long view to the short one: by the time that they show, then by title."""
    return sorted(boards, key=lambda board: (-_span(board.start, board.end, now), board.title))


def _span(start: str, end: str, now: datetime) -> timedelta:
    return read_moment(end, now, end=True) - read_moment(start, now)


def read_dashboards(objects: Sequence[SavedObject]) -> list[Dashboard]:
    """The dashboards among objects that are free of problems, in the order they came."""
    known = {(item["type"], item["id"]): item for item in objects}
    return [_dashboard(item, known) for item in objects if item["type"] == "dashboard"]


def _dashboard(item: SavedObject, known: Mapping[tuple[str, str], SavedObject]) -> Dashboard:
    attributes = item["attributes"]
    references = {entry["name"]: known[entry["type"], entry["id"]] for entry in item["references"]}
    panels = []
    for entry in json.loads(attributes["panelsJSON"]):
        inner, grid = references[entry["panelRefName"]], entry["gridData"]
        state = json.loads(inner["attributes"]["visState"]) if inner["type"] == "visualization" else {}
        title = _panel_title(entry, inner)
        kind = str(state.get("type", inner["type"]))
        place = (grid["x"], grid["y"], grid["w"], grid["h"])
        based = (known["search", each["id"]] for each in inner.get("references", []) if each["type"] == "search")
        pattern, own = _pattern(inner, known), entry.get("embeddableConfig", {})
        panels.append(Panel(inner, title, kind, *place, state=state, pattern=pattern, base=next(based, None), own=own))
    panels.sort(key=lambda panel: (panel.y, panel.x))
    start, end = (attributes.get(name) or other for name, other in (("timeFrom", "now-15m"), ("timeTo", "now")))
    return Dashboard(item, attributes["title"], start, end, tuple(panels))


def _panel_title(entry: Mapping[str, Any], item: SavedObject) -> str:
    """The title that a panel has on its dashboard, else that of what it shows."""
    own = entry.get("embeddableConfig", {}).get("title", entry.get("title"))
    return str(item["attributes"]["title"] if own is None else own)


def _pattern(item: SavedObject, known: Mapping[tuple[str, str], SavedObject]) -> SavedObject | None:
    for reference in item.get("references", []):
        if reference["type"] == "search":
            return _pattern(known["search", reference["id"]], known)
        if reference["type"] == "index-pattern":
            return known["index-pattern", reference["id"]]
    return None


def dashboard_filters(dashboard: Dashboard, view: View) -> list[dict[str, Any]]:
    """The pills of a dashboard, with the view's task in place of its own and the view's repositories beside them."""
    pills = [{"meta": {}, **pill} for pill in search_source(dashboard.item).get("filter") or []]
    if view.task is not None and any(pill["meta"].get("key") == "task" for pill in pills):
        pills = [pill for pill in pills if pill["meta"].get("key") != "task"]
        pills.append(phrase_filter("task", [view.task]))
    if view.repositories:
        pills.append(phrase_filter("repository", view.repositories))
    return pills


def ask_dashboard(dashboard: Dashboard, search: Search, now: datetime, view: View | None = None) -> Iterator[Answer]:
    """What each panel's search brings, in the order of reading.

    Raises:
        ConfigurationError: the view's time is none; the server's complaints about one panel become a 'failed' answer.
        UnavailableError: the server does not answer.
    """
    view = view or View()
    start, end = view.start or dashboard.start, view.end or dashboard.end
    if _span(start, end, now).total_seconds() <= 0:
        raise ConfigurationError(f"the time range from {start} to {end} is empty: --from must be before --to")
    filters = dashboard_filters(dashboard, view)
    for panel in dashboard.panels:
        if panel.kind == "markdown":
            yield Answer(panel, "words")
            continue
        if panel.kind in OPAQUE or panel.pattern is None or panel.index is None:
            yield Answer(panel, "opaque", words=f"a panel of type {panel.kind} is drawn by Dashboards only")
            continue
        query = search_source(dashboard.item).get("query") if panel.kind != "input_control_vis" else None
        try:
            narrowed = [*filters, *_as_filters(query)]
            found, step = _ask_panel(panel, search, narrowed, panel.time_range or (start, end), now)
        except ConfigurationError as error:
            yield Answer(panel, "failed", words=str(error))
            continue
        except STRANGE as error:
            yield Answer(panel, "failed", words=strange_words(error))
            continue
        yield _answer(panel, found, step)


def _as_filters(query: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return [{"meta": {}, "query": query_clause(query, ())}] if query and query["query"] else []


def _ask_panel(
    panel: Panel, search: Search, filters: Sequence[Mapping[str, Any]], limits: tuple[str, str], now: datetime
) -> tuple[Mapping[str, Any], Interval | None]:
    """What the panel's searches bring, and how wide the bars along its time axis are.

    filters: those of its dashboard; limits: the time range, as words.
    """
    index, pattern = str(panel.index), panel.pattern or {"attributes": {}}
    time_field = pattern["attributes"].get("timeFieldName")
    narrowed = [*filters, time_filter(time_field, *limits)] if time_field else filters
    if panel.kind == "input_control_vis":
        return search(index, controls_body(panel.state)), None
    if panel.kind == "search":
        return search(index, saved_search_body(panel.item, narrowed)), None
    if panel.base is not None:
        source = search_source(panel.base)
        narrowed = [*narrowed, *_as_filters(source.get("query")), *source.get("filter", [])]
    scope = Scope(_span(*limits, now), panel.pattern)
    body = panel_body(panel.item, narrowed, scope)
    asked_before = bounds_body(body, panel.state)
    if asked_before is not None:
        scope = replace(scope, bounds=search(index, asked_before).get("aggregations", {}))
        body = panel_body(panel.item, narrowed, scope)
    found = add_others(panel.state, body, deepcopy(dict(search(index, body))), lambda more: search(index, more))
    drop_partials(panel.state, found, time_field, read_moment(limits[0], now), read_moment(limits[1], now, end=True))
    in_time = next((agg for agg in enabled_parts(panel.state)[0] if agg["type"] == "date_histogram"), None)
    return found, scope.interval(in_time["params"]) if in_time is not None else None


def _answer(panel: Panel, found: Mapping[str, Any], step: Interval | None) -> Answer:
    failures = found.get("_shards", {}).get("failures")
    if failures:
        reason = failures[0].get("reason", {})
        return Answer(panel, "failed", words=f"{reason.get('type', 'failure')}: {reason.get('reason', '')}"[:300])
    documents = int(found["hits"]["total"]["value"])
    aggregations = found.get("aggregations")
    filled = documents > 0 and (aggregations is None or all(has_value(value) for value in aggregations.values()))
    if not filled:
        return Answer(panel, "empty", found, documents, _empty_words(panel, found, documents), step)
    return Answer(panel, "filled", found, documents, step=step)


def _empty_words(panel: Panel, found: Mapping[str, Any], documents: int) -> str:
    if documents:
        return f"{documents:,} documents in {panel.index}, but no value in any"
    if found.get("_shards", {}).get("total") == 0:
        return f"there is no {panel.index}: nothing was exported yet, or ISSUETIDE_INDEX_PREFIX is another one there"
    return f"no document in {panel.index} in this time range, with these filters"


def has_value(aggregation: Mapping[str, Any]) -> bool:
    """Whether an aggregation's answer shows something: a bucket with documents, a value that is not null."""
    buckets = aggregation.get("buckets")
    if isinstance(buckets, dict):
        buckets = list(buckets.values())
    if buckets is not None:
        return any(_is_filled(bucket) for bucket in buckets)
    if "values" in aggregation:
        values = aggregation["values"]
        listed: Iterable[object] = values.values() if isinstance(values, dict) else values
        return any(value is not None for value in listed)
    if "hits" in aggregation:
        return bool(aggregation["hits"]["hits"])
    if "count" in aggregation:  # stats
        return bool(aggregation["count"])
    return aggregation.get("value") is not None


def _is_filled(bucket: Mapping[str, Any]) -> bool:
    inner = [value for value in bucket.values() if isinstance(value, dict)]
    return bool(bucket["doc_count"]) and (not inner or any(has_value(value) for value in inner))
