"""Saved objects, the lines of `dashboards/*.ndjson`: read, checked, and fitted to one installation.

Dashboards itself checks little: a dashboard whose panel is missing, or a visualization that is no JSON, imports with
`success: true` and fails only when somebody looks at it. So everything that can be known beforehand is checked here.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from etl.errors import ConfigurationError
from etl.resources import resource_folder

SavedObject = dict[str, Any]
"""One line: type, id, attributes, references, migrationVersion."""

SHIPPED_PREFIX = "issuetide"
MIGRATION_VERSIONS = {"visualization": "7.10.0", "dashboard": "7.9.3", "search": "7.9.3", "index-pattern": "7.6.0"}
"""The last migration of each type, the same in Dashboards 2.19 and 3.x; a newer one makes them refuse the file."""

ATTRIBUTES = {
    "index-pattern": {"title", "timeFieldName", "fields", "fieldFormatMap"},
    "search": {"title", "description", "hits", "columns", "sort", "version", "kibanaSavedObjectMeta"},
    "visualization": {"title", "description", "version", "visState", "uiStateJSON", "kibanaSavedObjectMeta"},
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

BUCKETS = frozenset({"terms", "date_histogram", "filters"})
NUMBERS = frozenset({"number"})
FIELD_KINDS = {
    "avg": NUMBERS,
    "sum": NUMBERS,
    "median": NUMBERS,
    "min": NUMBERS | {"date"},
    "max": NUMBERS | {"date"},
    "date_histogram": frozenset({"date"}),
    "terms": frozenset({"string", "number", "boolean", "date"}),
    "cardinality": frozenset({"string", "number", "boolean", "date"}),
}
"""Aggregation -> the kinds of fields it takes; the ones used here, of those Dashboards knows."""

WITHOUT_FIELD = frozenset({"count", "filters", "avg_bucket"})

_KINDS = {
    "keyword": "string",
    "text": "string",
    "date": "date",
    "boolean": "boolean",
    "byte": "number",
    "short": "number",
    "integer": "number",
    "long": "number",
    "half_float": "number",
    "float": "number",
    "double": "number",
    "scaled_float": "number",
}
_WITH_REFERENCES = frozenset({"visState", "panelsJSON", "searchSourceJSON"})
_META_FIELDS = (("_id", "string"), ("_index", "string"), ("_score", "number"), ("_source", "_source"))


def read_saved_objects(folder: Path) -> list[SavedObject]:
    """Every object of the `.ndjson` files in `folder`, in the order of the files' names; one told twice comes once.

    Raises:
        ConfigurationError: no such file, a line that is no JSON object, or two different objects of one type and id.
    """
    paths = sorted(folder.glob("*.ndjson"))
    if not paths:
        raise ConfigurationError(f"{folder} holds no .ndjson file; give the folder of the dashboards")
    objects: dict[tuple[str, str], SavedObject] = {}
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            found = _read_line(line, f"{path} line {number}")
            key = (found["type"], found["id"])
            if objects.setdefault(key, found) != found:
                raise ConfigurationError(f"{path} line {number}: {key[0]} {key[1]} is there twice, with other content")
    return list(objects.values())


def _read_line(line: str, where: str) -> SavedObject:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{where}: is no JSON: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("attributes"), dict):
        raise ConfigurationError(f"{where}: is no saved object (type, id, attributes)")
    if not isinstance(found.get("type"), str) or not isinstance(found.get("id"), str):
        raise ConfigurationError(f"{where}: is no saved object (type, id, attributes)")
    return found


def with_prefix(objects: Iterable[SavedObject], prefix: str) -> list[SavedObject]:
    """The objects for an installation whose indices are `prefix`-classifications and so on.

    Ids change with the titles of the index patterns, so that two installations can share one Dashboards.
    """

    def renamed(name: str) -> str:
        head, dash, tail = name.partition("-")
        return prefix + dash + tail if head == SHIPPED_PREFIX else name

    result = []
    for item in objects:
        attributes = dict(item["attributes"])
        if item["type"] == "index-pattern":
            attributes["title"] = renamed(attributes["title"])
        elif prefix != SHIPPED_PREFIX and item["type"] == "dashboard":
            attributes["title"] = f"{attributes['title']} ({prefix})"
        references = [{**reference, "id": renamed(reference["id"])} for reference in item.get("references", [])]
        result.append({**item, "id": renamed(item["id"]), "attributes": attributes, "references": references})
    return result


def with_task(objects: Iterable[SavedObject], task: str) -> list[SavedObject]:
    """The objects with `task` as the one that a dashboard shows when it is opened."""
    return [_dashboard_with_task(item, task) if item["type"] == "dashboard" else item for item in objects]


def _dashboard_with_task(item: SavedObject, task: str) -> SavedObject:
    source = search_source(item)
    for entry in source.get("filter", []):
        if entry["meta"].get("key") == "task":
            entry["meta"]["params"] = {"query": task}
            entry["query"] = {"match_phrase": {"task": task}}
    meta = {"searchSourceJSON": compact_json(source)}
    return {**item, "attributes": {**item["attributes"], "kibanaSavedObjectMeta": meta}}


def compact_json(value: object) -> str:
    """`value` as Dashboards keeps JSON inside an attribute; always the same text for the same value."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def search_source(item: SavedObject) -> dict[str, Any]:
    """The query and filters of an object."""
    return dict(json.loads(item["attributes"].get("kibanaSavedObjectMeta", {}).get("searchSourceJSON", "{}")))


def load_mapping(index: str) -> dict[str, Any]:
    """The `properties` that `schemas/opensearch/INDEX.json` gives the index 'classifications', 'daily' or 'runs'."""
    path = resource_folder("schemas") / "opensearch" / f"{index}.json"
    return dict(json.loads(path.read_bytes())["mappings"]["properties"])


def index_pattern_fields(properties: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The `fields` of an index pattern for a mapping, as Dashboards would find them; field aliases included."""
    fields = [
        {
            **_pattern_field(name, kind),
            "searchable": name in {"_id", "_index"},
            "aggregatable": name in {"_id", "_index"},
        }
        for name, kind in _META_FIELDS
    ]
    for field in fields:
        field["readFromDocValues"] = False
    for name, mapping in sorted(properties.items()):
        target = properties[mapping["path"]] if mapping["type"] == "alias" else mapping
        fields.append(_pattern_field(name, target["type"]))
        for inner, inner_mapping in sorted(mapping.get("fields", {}).items()):
            field = _pattern_field(f"{name}.{inner}", inner_mapping["type"])
            fields.append({**field, "subType": {"multi": {"parent": name}}})
    return fields


def _pattern_field(name: str, mapped: str) -> dict[str, Any]:
    return {
        "count": 0,
        "name": name,
        "type": _KINDS.get(mapped, mapped),
        "esTypes": [mapped] if name != "_score" else [],
        "scripted": False,
        "searchable": True,
        "aggregatable": mapped != "text",
        "readFromDocValues": mapped != "text",
    }


def find_problems(objects: Sequence[SavedObject]) -> list[str]:
    """What is wrong with a set of objects, one line each: what Dashboards would refuse, or show as a broken panel."""
    known = {(item["type"], item["id"]): item for item in objects}
    problems = []
    for item in objects:
        where = f"{item['type']} {item['id']}"
        problems += [f"{where}: {problem}" for problem in _object_problems(item)]
        problems += [f"{where}: {problem}" for problem in _reference_problems(item, known)]
        if item["type"] == "visualization":
            problems += [f"{where}: {problem}" for problem in _visualization_problems(item, known)]
        elif item["type"] == "search":
            problems += [f"{where}: {problem}" for problem in _search_problems(item, known)]
        elif item["type"] == "dashboard":
            problems += [
                f"{where}: {problem}" for problem in _panel_problems(json.loads(item["attributes"]["panelsJSON"]))
            ]
    return problems


def _object_problems(item: SavedObject) -> Iterator[str]:
    kind = item["type"]
    if kind not in ATTRIBUTES:
        yield f"the type {kind!r} is not known to both Dashboards 2.19 and 3.x"
        return
    for name in sorted(set(item["attributes"]) - ATTRIBUTES[kind]):
        yield f"the attribute {name!r} is not known to both Dashboards 2.19 and 3.x"
    if item.get("migrationVersion") != {kind: MIGRATION_VERSIONS[kind]}:
        yield f"migrationVersion is {item.get('migrationVersion')}, must be {{{kind!r}: {MIGRATION_VERSIONS[kind]!r}}}"
    for name in ("visState", "uiStateJSON", "panelsJSON", "optionsJSON", "fields", "fieldFormatMap"):
        try:
            json.loads(item["attributes"].get(name, "{}"))
        except json.JSONDecodeError as error:
            yield f"{name} is no JSON: {error}"


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


def _reference_problems(item: SavedObject, known: Mapping[tuple[str, str], SavedObject]) -> Iterator[str]:
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


def fields_by_name(item: SavedObject, known: Mapping[tuple[str, str], SavedObject]) -> dict[str, dict[str, Any]]:
    """The fields of the index pattern that `item` reads, by name."""
    for reference in item.get("references", []):
        pattern = known.get(("index-pattern", reference["id"]))
        if pattern is not None:
            return {field["name"]: field for field in json.loads(pattern["attributes"]["fields"])}
    return {}


def _visualization_problems(item: SavedObject, known: Mapping[tuple[str, str], SavedObject]) -> Iterator[str]:
    fields = fields_by_name(item, known)
    state = json.loads(item["attributes"]["visState"])
    metrics = {agg["id"] for agg in state["aggs"] if agg["type"] not in BUCKETS}
    for agg in state["aggs"]:
        params = agg["params"]
        for part in (agg, params.get("customBucket"), params.get("customMetric")):
            if part is not None:
                yield from _field_problems(part, fields)
        if params.get("orderBy", "_key") not in metrics | {"_key"}:
            yield f"aggregation {agg['id']} is ordered by {params['orderBy']!r}, which is no metric"
    for series in state["params"].get("seriesParams", []):
        if series["data"]["id"] not in metrics:
            yield f"a series shows {series['data']['id']!r}, which is no metric"
    for control in state["params"].get("controls", []):
        if control["fieldName"] not in fields:
            yield f"the control {control['label']!r} is on {control['fieldName']!r}, which is no field"


def _field_problems(agg: Mapping[str, Any], fields: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if agg["type"] in WITHOUT_FIELD:
        return
    if agg["type"] not in FIELD_KINDS:
        yield f"the aggregation {agg['type']!r} is not one that is checked here"
        return
    field = fields.get(agg["params"].get("field", ""))
    if field is None:
        yield f"{agg['type']} is asked of {agg['params'].get('field')!r}, which is no field"
    elif field["type"] not in FIELD_KINDS[agg["type"]] or not field["aggregatable"]:
        yield f"{agg['type']} cannot be asked of {field['name']!r}, a field of type {field['esTypes']}"


def _search_problems(item: SavedObject, known: Mapping[tuple[str, str], SavedObject]) -> Iterator[str]:
    fields = fields_by_name(item, known)
    for name in item["attributes"]["columns"]:
        if name not in fields:
            yield f"the column {name!r} is no field"
    for name, _ in item["attributes"]["sort"]:
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
        if grid["i"] != index:
            yield f"panel {index} has the grid index {grid['i']}"
        if grid["x"] < 0 or grid["x"] + grid["w"] > 48:
            yield f"panel {index} reaches beyond the 48 columns"
        cells = [
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        ]
        for other in sorted({taken[cell] for cell in cells if cell in taken}):
            yield f"panel {index} lies over panel {other}"
        taken.update(dict.fromkeys(cells, index))
