"""What is wrong with a set of saved objects, told without a Dashboards.

Dashboards itself checks little: a dashboard whose panel is missing, or a visualization that is no JSON, imports with
`success: true` and fails only when somebody looks at it. So `find_problems` names what Dashboards would refuse, or show
as a broken panel. `find_remarks` names what works and still misleads: panels that count an issue once per task, or
issues that are gone.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from etl.dashboards.saved_objects import (
    MIGRATION_VERSIONS,
    SavedObject,
    index_pattern_fields,
    load_mapping,
    search_source,
)
from etl.errors import ConfigurationError

Known = Mapping[tuple[str, str], SavedObject]

ATTRIBUTES = {
    "index-pattern": {"title", "timeFieldName", "fields", "fieldFormatMap"},
    "search": {"title", "description", "hits", "columns", "sort", "version", "kibanaSavedObjectMeta"},
    "visualization": {
        "title",
        "description",
        "version",
        "visState",
        "uiStateJSON",
        "savedSearchRefName",
        "kibanaSavedObjectMeta",
    },
    "dashboard": {
        "title",
        "description",
        "hits",
        "version",
        "timeRestore",
        "timeFrom",
        "timeTo",
        "refreshInterval",
        "optionsJSON",
        "panelsJSON",
        "kibanaSavedObjectMeta",
    },
}
"""What an object of each type may hold and both majors know; anything else is refused by the strict `.kibana` index."""

PANELS = frozenset(
    {
        "area",
        "line",
        "histogram",
        "horizontal_bar",
        "pie",
        "table",
        "metric",
        "heatmap",
        "gauge",
        "goal",
        "tagcloud",
        "markdown",
        "input_control_vis",
    }
)
"""The native types of visualizations that tell their aggregations, in 2.19 and 3.x alike."""
OPAQUE = frozenset({"metrics", "vega", "timelion", "region_map", "tile_map"})
"""Native types that do not, or need maps from elsewhere: they are shown in Dashboards only."""

BUCKETS = frozenset({"terms", "date_histogram", "filters", "histogram", "range", "date_range", "significant_terms"})
PIPELINES = frozenset(
    {"avg_bucket", "sum_bucket", "min_bucket", "max_bucket", "cumulative_sum", "derivative", "moving_fn", "serial_diff"}
)
WITHOUT_FIELD = frozenset({"count", "filters"}) | PIPELINES

_NUMBERS = frozenset({"number"})
_PLAIN = frozenset({"string", "number", "boolean", "date", "ip"})
FIELD_KINDS = {
    "avg": _NUMBERS,
    "sum": _NUMBERS,
    "median": _NUMBERS,
    "percentiles": _NUMBERS,
    "percentile_ranks": _NUMBERS,
    "std_dev": _NUMBERS,
    "min": _NUMBERS | {"date"},
    "max": _NUMBERS | {"date"},
    "cardinality": _PLAIN,
    "date_histogram": frozenset({"date"}),
    "date_range": frozenset({"date"}),
    "histogram": _NUMBERS,
    "range": _NUMBERS,
    "terms": _PLAIN,
    "significant_terms": frozenset({"string"}),
    "top_hits": _PLAIN,
}
"""Aggregation -> the kinds of fields it takes, as Dashboards' editor has it."""

_JSON_TEXTS = ("visState", "uiStateJSON", "panelsJSON", "optionsJSON", "fields", "fieldFormatMap")
_WITH_REFERENCES = frozenset({"visState", "panelsJSON", "searchSourceJSON"})
_GONE = "vanished"
_SHAPES = {"description": str, "timeFrom": str, "timeTo": str, "refreshInterval": dict, "kibanaSavedObjectMeta": dict}
"""Attributes that, where they are there, are of one kind."""
_OURS = re.compile(r"-(classifications|daily|runs)\*?$")

STRANGE = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What reading an object raises that is JSON, but not of the form in which Dashboards writes it."""


def strange_words(error: Exception) -> str:
    """One of `STRANGE` in words."""
    return f"it is not as Dashboards writes it ({type(error).__name__} {error})"


def find_problems(objects: Sequence[SavedObject]) -> list[str]:
    """What is wrong with a set of objects, one line each, an object's type and id at its beginning."""
    known = {(item["type"], item["id"]): item for item in objects}
    problems = []
    for item in objects:
        where = f"{item['type']} {item['id']}"
        unreadable = list(_text_problems(item))
        found: Iterable[str] = [*_object_problems(item), *unreadable]
        if not unreadable and item["type"] in ATTRIBUTES:
            try:
                found = [*found, *_reference_problems(item, known), *_inner_problems(item, known)]
            except STRANGE as error:
                found = [*found, strange_words(error)]
        problems += [f"{where}: {problem}" for problem in found]
    return problems


def find_remarks(objects: Sequence[SavedObject]) -> list[str]:
    """Panels that mislead, one line each: they count once per task or level, or issues that are gone.

    The objects must be free of problems.
    """
    known = {(item["type"], item["id"]): item for item in objects}
    remarks = []
    for dashboard in objects:
        if dashboard["type"] != "dashboard":
            continue
        outer = _narrowed(dashboard)
        for reference in dashboard["references"]:
            item = known[reference["type"], reference["id"]]
            if item["type"] not in {"visualization", "search"} or not _asks(item):
                continue
            fields, inner = fields_by_name(item, known), outer | _narrowed(item) | _parted(item)
            where = f"{dashboard['attributes']['title']} / {item['attributes']['title']}"
            if fields.get("task", {}).get("per_task") and "task" not in inner:
                remarks.append(f"{where}: counts every task; filter by one, or make a part of each")
            if fields.get("level", {}).get("ours") and "level" not in inner:
                remarks.append(f"{where}: counts everything twice; choose a level in its query, as docs/fields.md says")
            if _GONE in fields and _GONE not in inner:
                remarks.append(f"{where}: counts issues that are gone; add `NOT vanished:true` to its query")
    return remarks


def fields_by_name(item: SavedObject, known: Known) -> dict[str, dict[str, Any]]:
    """The fields of the index that `item` reads, by name; those of our own indices as their mapping has them.

    `per_task` is true of the field `task` where each document belongs to one task, `ours` of our field `level`.
    """
    for reference in item.get("references", []):
        if reference["type"] == "search" and (found := known.get(("search", reference["id"]))) is not None:
            return fields_by_name(found, known)
        pattern = known.get(("index-pattern", reference["id"]))
        if reference["type"] == "index-pattern" and pattern is not None:
            return pattern_fields(pattern)
    return {}


def pattern_fields(pattern: SavedObject) -> dict[str, dict[str, Any]]:
    """The fields of an index pattern by name, as `fields_by_name`."""
    ours = _OURS.search(pattern["attributes"].get("title", ""))
    if ours is None:
        return {field["name"]: field for field in json.loads(pattern["attributes"].get("fields", "[]"))}
    mapping = load_mapping(ours[1])
    fields = {field["name"]: field for field in index_pattern_fields(mapping)}
    if mapping.get("task", {}).get("type") == "keyword" and "tasks" not in mapping:
        fields["task"] = {**fields["task"], "per_task": True}
    if "level" in mapping:
        fields["level"] = {**fields["level"], "ours": True}
    return fields


def find_metric(name: str, metrics: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The metric meant by its id or by one of its values, as '1.95' and "1['99.9']" are of '1'; None without it."""
    for agg in metrics:
        if name == agg["id"] or name.startswith((f"{agg['id']}.", f"{agg['id']}[")):
            return agg
    return None


def _object_problems(item: SavedObject) -> Iterator[str]:
    kind = item["type"]
    if kind not in ATTRIBUTES:
        yield "this type is not one that comes with Dashboards 2.19 and 3.x"
        return
    for name in sorted(set(item["attributes"]) - ATTRIBUTES[kind]):
        yield f"the attribute {name!r} is not known to both Dashboards 2.19 and 3.x"
    for name, shape in _SHAPES.items():
        if not isinstance(item["attributes"].get(name, shape()), shape):
            yield f"{name} is not as Dashboards writes it"
    if item.get("migrationVersion") != {kind: MIGRATION_VERSIONS[kind]}:
        yield f"migrationVersion is {item.get('migrationVersion')}, must be {{{kind!r}: {MIGRATION_VERSIONS[kind]!r}}}"


def _text_problems(item: SavedObject) -> Iterator[str]:
    """What is no JSON, or not of the shape that every further check takes for granted."""
    attributes = item["attributes"]
    texts = {name: attributes[name] for name in _JSON_TEXTS if name in attributes}
    meta = attributes.get("kibanaSavedObjectMeta", {})
    if isinstance(meta, dict) and "searchSourceJSON" in meta:
        texts["searchSourceJSON"] = meta["searchSourceJSON"]
    values = {}
    for name, text in texts.items():
        try:
            values[name] = json.loads(text)
        except (TypeError, json.JSONDecodeError) as error:
            yield f"{name} is no JSON: {error}"
    if not isinstance(attributes.get("title"), str):
        yield "it has no title"
    state = values.get("visState", {})
    if item["type"] == "visualization" and "visState" not in attributes:
        yield "it has no visState"
    elif not isinstance(state, dict) or not isinstance(state.get("aggs", []), list):
        yield "visState holds no aggregations"
    elif not all(isinstance(agg, dict) and {"id", "type", "params"} <= set(agg) for agg in state.get("aggs", [])):
        yield "an aggregation lacks its id, type or params"
    if item["type"] == "dashboard" and not _has_panels(values.get("panelsJSON")):
        yield "panelsJSON holds no panels with gridData"
    if not _is_search_source(values.get("searchSourceJSON", {})):
        yield "searchSourceJSON is no query with filters"


def _is_search_source(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("query") or {}, dict):
        return False
    if not isinstance((value.get("query") or {}).get("query", ""), str | dict):
        return False
    filters = value.get("filter", [])
    return isinstance(filters, list) and all(
        isinstance(entry, dict)
        and isinstance(entry.get("meta"), dict)
        and isinstance(entry["meta"].get("key"), str | None)
        and isinstance(entry.get("query"), dict | None)
        for entry in filters
    )


def _has_panels(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(panel, dict)
        and isinstance(panel.get("panelIndex"), str)
        and isinstance(panel.get("gridData"), dict)
        and isinstance(panel.get("embeddableConfig", {}), dict)
        and all(isinstance(panel["gridData"].get(side), int) for side in "xywh")
        for panel in value
    )


def _inner_problems(item: SavedObject, known: Known) -> Iterator[str]:
    if item["type"] == "visualization":
        yield from _visualization_problems(item, known)
    elif item["type"] == "search":
        yield from _search_problems(item, known)
    elif item["type"] == "dashboard":
        yield from _panel_problems(json.loads(item["attributes"]["panelsJSON"]))
    else:
        yield from _pattern_problems(item)


def _reference_names(value: object) -> Iterator[str]:
    """Every name that some `…RefName` inside `value` asks for, JSON inside attributes included."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key.endswith("RefName"):
                yield inner
            else:
                yield from _reference_names(json.loads(inner) if key in _WITH_REFERENCES else inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _reference_names(inner)


def _reference_problems(item: SavedObject, known: Known) -> Iterator[str]:
    references = item.get("references", [])
    asked = set(_reference_names(item["attributes"]))
    given = {reference["name"] for reference in references}
    for name in sorted(asked - given):
        yield f"{name} has no reference"
    for reference in references:
        if reference["name"] not in asked:
            yield f"the reference {reference['name']} is used nowhere"
        if (reference["type"], reference["id"]) not in known:
            yield f"{reference['type']} {reference['id']} is in none of the files"


def _pattern_problems(item: SavedObject) -> Iterator[str]:
    """An index pattern of ours must tell the fields of the mapping: Dashboards believes it, not the index."""
    told = {field["name"]: field for field in json.loads(item["attributes"].get("fields", "[]"))}
    fields = pattern_fields(item)
    time_field = item["attributes"].get("timeFieldName")
    if time_field is not None and fields and fields.get(time_field, {}).get("type") != "date":
        yield f"the time field {time_field!r} is no date"
    if _OURS.search(item["attributes"]["title"]) is None:
        return
    for name in sorted(fields.keys() - told.keys()):
        yield f"the field {name!r} of the mapping is missing"
    for name in sorted(told.keys() - fields.keys()):
        yield f"the field {name!r} is not in the mapping"
    for name in sorted(told.keys() & fields.keys()):
        parts = ("type", "aggregatable")
        if [told[name].get(part) for part in parts] != [fields[name][part] for part in parts]:
            yield f"the field {name!r} is of another kind in the mapping ({fields[name]['type']})"


def _visualization_problems(item: SavedObject, known: Known) -> Iterator[str]:
    fields = fields_by_name(item, known)
    state = json.loads(item["attributes"]["visState"])
    kind = state.get("type")
    if kind not in PANELS | OPAQUE:
        yield f"the type of visualization {kind!r} is not one that comes with Dashboards 2.19 and 3.x"
        return
    aggregations = state.get("aggs", [])
    metrics = [agg for agg in aggregations if agg["type"] not in BUCKETS]
    for agg in aggregations:
        params = agg.get("params", {})
        for part in (agg, params.get("customBucket"), params.get("customMetric"), params.get("orderAgg")):
            if part is not None:
                yield from _field_problems(part, fields)
        order_by, follows = params.get("orderBy", "_key"), params.get("metricAgg", "custom")
        if order_by not in {"_key", "_count", "custom"} and find_metric(order_by, metrics) is None:
            yield f"aggregation {agg['id']} is ordered by {order_by!r}, which is no metric"
        if follows != "custom" and find_metric(follows, metrics) is None:
            yield f"aggregation {agg['id']} follows {follows!r}, which is no metric"
    for series in state.get("params", {}).get("seriesParams", []):
        if find_metric(series["data"]["id"], metrics) is None:
            yield f"a series shows {series['data']['id']!r}, which is no metric"
    if kind == "input_control_vis":
        yield from _control_problems(item, state["params"].get("controls", []), known)


def _control_problems(item: SavedObject, controls: Sequence[Mapping[str, Any]], known: Known) -> Iterator[str]:
    patterns = {reference["name"]: reference["id"] for reference in item.get("references", [])}
    for control in controls:
        pattern = known.get(("index-pattern", patterns.get(control.get("indexPatternRefName", ""), "")))
        field = pattern_fields(pattern).get(control["fieldName"]) if pattern is not None else None
        if pattern is not None and field is None:
            yield f"the control {control['label']!r} is on {control['fieldName']!r}, which is no field"
        elif field is not None and not field["aggregatable"]:
            yield f"the control {control['label']!r} is on {control['fieldName']!r}, a field of type {field['esTypes']}"


def _field_problems(agg: Mapping[str, Any], fields: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if agg["type"] in WITHOUT_FIELD or not fields:
        return
    if agg["type"] not in FIELD_KINDS:
        yield f"the aggregation {agg['type']!r} is not one that is checked here"
        return
    field = fields.get(agg["params"].get("field", ""))
    if field is None:
        yield f"{agg['type']} is asked of {agg['params'].get('field')!r}, which is no field"
    elif agg["type"] != "top_hits" and (field["type"] not in FIELD_KINDS[agg["type"]] or not field["aggregatable"]):
        yield f"{agg['type']} cannot be asked of {field['name']!r}, a field of type {field['esTypes']}"


def _search_problems(item: SavedObject, known: Known) -> Iterator[str]:
    fields = fields_by_name(item, known)
    if not fields:
        return
    for name in item["attributes"].get("columns", []):
        if name not in fields:
            yield f"the column {name!r} is no field"
    for name, _ in item["attributes"].get("sort", []):
        if name not in fields or not fields[name]["aggregatable"]:
            yield f"cannot be sorted by {name!r}"


def _panel_problems(panels: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    taken: dict[tuple[int, int], str] = {}
    seen: set[str] = set()
    for panel in panels:
        index, grid = panel["panelIndex"], panel["gridData"]
        if index in seen:
            yield f"panel {index} is there twice"
        seen.add(index)
        if "panelRefName" not in panel:
            yield f"panel {index} shows no saved object"
        if grid.get("i") != index:
            yield f"panel {index} has the grid index {grid.get('i')}"
        if grid["x"] < 0 or grid["y"] < 0 or grid["x"] + grid["w"] > 48:
            yield f"panel {index} reaches beyond the 48 columns"
        if not (0 < grid["w"] <= 48 and 0 < grid["h"] <= 1000):
            yield f"panel {index} has no usable size"
            continue
        cells = [
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        ]
        for other in sorted({taken[cell] for cell in cells if cell in taken}):
            yield f"panel {index} lies over panel {other}"
        taken.update(dict.fromkeys(cells, index))


def _asks(item: SavedObject) -> bool:
    """Whether a panel shows documents: a saved search, or a visualization with aggregations."""
    return item["type"] == "search" or bool(json.loads(item["attributes"]["visState"]).get("aggs"))


def _narrowed(item: SavedObject) -> set[str]:
    """The fields that an object's own query and filters are about.

    A filter that leaves values out narrows nothing but `vanished`, of which there is only one to leave out.
    """
    source = search_source(item)
    query = source.get("query") or {}
    words = query.get("query", "") if isinstance(query.get("query", ""), str) else ""
    named = set(re.findall(r"([A-Za-z_.]+):", words))
    live = [entry["meta"] for entry in source.get("filter", []) if not entry["meta"].get("disabled")]
    return named | {
        meta["key"] for meta in live if meta.get("key") and (not meta.get("negate") or meta["key"] == _GONE)
    }


def _parted(item: SavedObject) -> set[str]:
    """The fields of which a panel makes a part for each value."""
    if item["type"] == "search":
        return set(item["attributes"].get("columns", []))
    aggregations = json.loads(item["attributes"]["visState"])["aggs"]
    return {agg["params"].get("field", "") for agg in aggregations if agg["type"] == "terms"}


def require_sound(objects: Sequence[SavedObject], where: object) -> None:
    """Passes if nothing is wrong with the objects of `where`.

    Raises:
        ConfigurationError: something is; the first of it is named.
    """
    problems = find_problems(objects)
    if problems:
        raise ConfigurationError(f"{where}: {len(problems)} problem(s); the first: {problems[0]}")
