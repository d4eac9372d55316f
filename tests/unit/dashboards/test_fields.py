"""Every field of the indices is described once, in its mapping, and docs/fields.md says the same."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from etl.dashboards.fields import render_fields
from etl.dashboards.saved_objects import index_pattern_fields, load_mappings, read_saved_objects
from etl.resources import resource_folder
from etl.sinks.base import IndexName

INDICES: tuple[IndexName, ...] = get_args(IndexName)
PAGE = Path(__file__).parents[3] / "docs" / "fields.md"


@pytest.mark.parametrize("index", INDICES)
def test_every_field_has_its_words_in_the_order_of_the_mapping(index: IndexName) -> None:
    mappings = load_mappings(index)
    words = mappings["_meta"]["fields"]
    assert list(words) == list(mappings["properties"])
    for name, meaning in words.items():
        assert len(meaning) >= 3, name
        assert not set("|\n") & set(meaning), f"{name}: would break the table of docs/fields.md"


def test_the_page_is_what_the_command_would_write() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_fields(), "run python -m etl.dashboards.fields"


def test_the_page_has_a_row_for_each_field_with_its_type() -> None:
    page = PAGE.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))
    assert set(sections) == set(INDICES)
    for index in INDICES:
        rows = re.findall(r"^\| (\w+) \| (\w+)", sections[index], re.MULTILINE)
        properties = load_mappings(index)["properties"]
        kinds = {name: properties[each.get("path", name)]["type"] for name, each in properties.items()}
        assert dict(row for row in rows if row[0] != "field") == kinds


def _shipped_patterns() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for item in read_saved_objects(resource_folder("dashboards")):
        if item["type"] == "index-pattern":
            yield item["attributes"]["title"].split("-", 1)[1], json.loads(item["attributes"]["fields"])


def test_the_dashboards_know_exactly_the_fields_that_are_described() -> None:
    patterns = dict(_shipped_patterns())
    assert set(patterns) == set(INDICES)
    for index in INDICES:
        assert patterns[index] == index_pattern_fields(load_mappings(index)["properties"]), (
            "run python -m etl.dashboards.build"
        )
