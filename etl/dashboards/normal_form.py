"""Saved objects in one form, whoever wrote them: what the builder makes and what Dashboards exports look alike.

So that a difference between two files is one that somebody made: keys and lines in a fixed order, panels in the order
of reading, nothing that Dashboards adds on its own.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from etl.dashboards.saved_objects import SavedObject, compact_json

_PLACES = {"index-pattern": 0, "visualization": 1, "search": 1, "dashboard": 2}
_TEXTS = ("visState", "uiStateJSON", "optionsJSON", "fields", "fieldFormatMap")


def normalize(objects: Iterable[SavedObject]) -> list[SavedObject]:
    """The objects in their one form; index patterns first, then panels as the dashboard shows them, dashboards last.

    What a migration would add again is kept; `updated_at`, `version`, `namespaces` and the like are left out.
    """
    found = [_normal_object(item) for item in objects]
    order: dict[tuple[str, str], int] = {}
    for item in found:
        if item["type"] == "dashboard":
            for reference in item["references"]:
                order.setdefault((reference["type"], reference["id"]), len(order))

    def place(item: SavedObject) -> tuple[int, int, str]:
        first = _PLACES.get(item["type"], len(_PLACES))
        return first, order.get((item["type"], item["id"]), len(order)) if first == 1 else 0, item["id"]

    return sorted(found, key=place)


def file_text(objects: Iterable[SavedObject]) -> str:
    """The objects as the text of a `.ndjson` file."""
    return "".join(compact_json(item) + "\n" for item in objects)


def _normal_object(item: SavedObject) -> SavedObject:
    attributes = {name: value for name, value in sorted(item["attributes"].items()) if value is not None}
    references = [{key: entry[key] for key in ("id", "name", "type")} for entry in item.get("references", [])]
    if item["type"] == "dashboard":
        attributes, references = _normal_panels(attributes, references)
    for name in _TEXTS:
        if name in attributes:
            attributes[name] = _normal_text(name, attributes[name])
    meta = attributes.get("kibanaSavedObjectMeta")
    if isinstance(meta, dict) and "searchSourceJSON" in meta:
        attributes["kibanaSavedObjectMeta"] = {"searchSourceJSON": _sorted_text(json.loads(meta["searchSourceJSON"]))}
    if "refreshInterval" in attributes:
        attributes["refreshInterval"] = dict(sorted(attributes["refreshInterval"].items()))
    return {
        "type": item["type"],
        "id": item["id"],
        "attributes": attributes,
        "references": sorted(references, key=_reference_place),
        **({"migrationVersion": item["migrationVersion"]} if "migrationVersion" in item else {}),
    }


def _normal_panels(
    attributes: Mapping[str, Any], references: list[dict[str, str]]
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Panels from left to right and down, their references numbered in that order."""
    panels = json.loads(attributes["panelsJSON"])
    panels.sort(key=lambda panel: (panel["gridData"]["y"], panel["gridData"]["x"], panel["panelIndex"]))
    names = {}
    for number, panel in enumerate(panels):
        if "panelRefName" in panel:
            names[panel["panelRefName"]] = f"panel_{number}"
            panel["panelRefName"] = f"panel_{number}"
    renamed = [{**entry, "name": names.get(entry["name"], entry["name"])} for entry in references]
    return {**attributes, "panelsJSON": _sorted_text(panels)}, renamed


def _normal_text(name: str, text: str) -> str:
    value = json.loads(text)
    if name == "fields":
        # How often a field was looked at in Discover is counted here.
        value = sorted(({**field, "count": 0} for field in value), key=lambda field: str(field["name"]))
    return _sorted_text(value)


def _sorted_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def _reference_place(reference: Mapping[str, str]) -> tuple[str, int, str]:
    head, _, number = reference["name"].rpartition("_")
    return (head, int(number), "") if number.isdigit() else (reference["name"], 0, reference["id"])
