"""Saved objects, the lines of `dashboards/*.ndjson`: read, and fitted to one installation."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from etl.errors import ConfigurationError
from etl.resources import resource_folder

SavedObject = dict[str, Any]
"""One line: type, id, attributes, references, migrationVersion."""

SHIPPED_PREFIX = "issuetide"
MIGRATION_VERSIONS = {"visualization": "7.10.0", "dashboard": "7.9.3", "search": "7.9.3", "index-pattern": "7.6.0"}
"""The last migration of each type, the same in Dashboards 2.19 and 3.x; a newer one makes them refuse the file."""

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
_LINK = re.compile(r"(\(#/view/)([A-Za-z0-9_.-]+)")
"""A link to a dashboard in the words of a markdown panel."""
_META_FIELDS = (("_id", "string"), ("_index", "string"), ("_score", "number"), ("_source", "_source"))


def read_saved_objects(folder: Path) -> list[SavedObject]:
    """Every object of the `.ndjson` files in `folder`, in the order of the files' names; what files share comes once.

    Raises:
        ConfigurationError: no such file, none with an object in it, a line that is no saved object, or two different
            objects of one type and id; one that a single file tells twice, which Dashboards refuses.
    """
    paths = sorted(folder.glob("*.ndjson"))
    if not paths:
        raise ConfigurationError(f"{folder} holds no .ndjson file; give the folder of the dashboards")
    objects: dict[tuple[str, str], SavedObject] = {}
    for path in paths:
        own: set[tuple[str, str]] = set()
        for number, line in enumerate(json_lines(_read_text(path)), 1):
            found = _read_line(line, f"{path} line {number}") if line.strip() else None
            if found is None:
                continue
            key = (found["type"], found["id"])
            if objects.setdefault(key, found) != found:
                raise ConfigurationError(f"{path} line {number}: {key[0]} {key[1]} is there twice, with other content")
            if key in own:
                raise ConfigurationError(f"{path} line {number}: {key[0]} {key[1]} is there twice; take one out")
            own.add(key)
    if not objects:
        raise ConfigurationError(f"the .ndjson files in {folder} hold no saved object")
    return list(objects.values())


def json_lines(words: str) -> list[str]:
    """The lines of a text of JSON lines: U+2028 and its like end no line, and JSON may hold them as they are."""
    return words.split("\n")


def _read_text(path: Path) -> str:
    try:
        # Editors on Windows begin a file with a byte order mark.
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not in UTF-8; save it in that encoding") from None


def _read_line(line: str, where: str) -> SavedObject | None:
    """The object of a line; None for the summary at the end of what Dashboards exports."""
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{where}: is no JSON: {error}") from None
    except RecursionError:
        raise ConfigurationError(f"{where}: is nested too deeply") from None
    try:
        compact_json(found).encode()
    except UnicodeEncodeError:
        raise ConfigurationError(f"{where}: holds half a character, which no file can") from None
    if isinstance(found, dict) and "exportedCount" in found and "type" not in found:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("attributes"), dict):
        raise ConfigurationError(f"{where}: is no saved object (type, id, attributes)")
    if not isinstance(found.get("type"), str) or not isinstance(found.get("id"), str):
        raise ConfigurationError(f"{where}: is no saved object (type, id, attributes)")
    if not _has_references(found.get("references", [])):
        raise ConfigurationError(f"{where}: a reference lacks its type, id or name")
    return found


def _has_references(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(entry, dict) and all(isinstance(entry.get(part), str) for part in ("type", "id", "name"))
        for entry in value
    )


def with_prefix(objects: Iterable[SavedObject], prefix: str, *, shipped: str = SHIPPED_PREFIX) -> list[SavedObject]:
    """The objects for an installation whose indices are `prefix`-classifications and so on.

    Ids change with the titles of the index patterns, so that two installations can share one Dashboards. shipped: the
    prefix that they have.
    """

    def renamed(name: str) -> str:
        return prefix + name[len(shipped) :] if name.startswith(f"{shipped}-") else name

    def relinked(found: re.Match[str]) -> str:
        return found[1] + renamed(found[2])

    result = []
    for item in objects:
        attributes = dict(item["attributes"])
        if item["type"] == "index-pattern" and isinstance(attributes.get("title"), str):
            attributes["title"] = renamed(attributes["title"])
        elif item["type"] == "visualization" and isinstance(attributes.get("visState"), str):
            attributes["visState"] = _LINK.sub(relinked, attributes["visState"])
        elif prefix != SHIPPED_PREFIX and item["type"] == "dashboard":
            attributes["title"] = f"{attributes.get('title')} ({prefix})"
        references = [{**reference, "id": renamed(reference["id"])} for reference in item.get("references", [])]
        result.append({**item, "id": renamed(item["id"]), "attributes": attributes, "references": references})
    return result


def with_task(objects: Iterable[SavedObject], task: str) -> list[SavedObject]:
    """The objects with `task` as the one that a dashboard shows when it is opened."""
    return [_dashboard_with_task(item, task) if item["type"] == "dashboard" else item for item in objects]


def _dashboard_with_task(item: SavedObject, task: str) -> SavedObject:
    source = search_source(item)
    for entry in source.get("filter") or []:
        if entry.get("meta", {}).get("key") == "task":
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


def load_mappings(index: str) -> dict[str, Any]:
    """The `mappings` of an index, as its file in `schemas/opensearch` describes them."""
    path = resource_folder("schemas") / "opensearch" / f"{index}.json"
    return dict(json.loads(path.read_bytes())["mappings"])


def load_mapping(index: str) -> dict[str, Any]:
    """The `properties` that `schemas/opensearch/INDEX.json` gives the index 'classifications', 'daily' or 'runs'."""
    return dict(load_mappings(index)["properties"])


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
