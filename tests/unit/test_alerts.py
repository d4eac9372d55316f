"""The example alerts have the form that Alerting documents, name only what there is, and docs/alerts.md shows them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
MONITORS = sorted((ROOT / "dashboards" / "alerts").glob("*.json"))
QUERIES = sorted((ROOT / "cron" / "alerts").glob("*.sql"))
INDICES = ("classifications", "daily", "runs")


def test_each_alert_comes_as_sql_and_as_a_monitor_and_both_are_in_the_document() -> None:
    names = [path.stem for path in MONITORS]
    assert names == [path.stem for path in QUERIES] == ["budget", "dead-letters", "spike", "stale"]
    for name in names:
        assert f"(../cron/alerts/{name}.sql)" in DOCUMENT
        assert f"(../dashboards/alerts/{name}.json)" in DOCUMENT


def test_the_document_shows_every_query_as_it_is() -> None:
    shown = re.findall(r"```sql\n(.*?)```", DOCUMENT, re.DOTALL)
    queries = ["".join(re.findall(r"^(?!\\).*\n", path.read_text(encoding="utf-8"), re.MULTILINE)) for path in QUERIES]
    assert sorted(shown) == sorted(queries)


@pytest.mark.parametrize("path", MONITORS, ids=lambda path: path.stem)
def test_a_monitor_has_the_documented_form(path: Path) -> None:
    """As the Alerting API's page has it, "Create a query-level monitor" (2.19 and 3.x alike)."""
    monitor = json.loads(path.read_bytes())
    assert set(monitor) == {"type", "name", "monitor_type", "enabled", "schedule", "inputs", "triggers"}
    assert (monitor["type"], monitor["monitor_type"], monitor["enabled"]) == ("monitor", "query_level_monitor", True)
    assert monitor["name"].startswith("Issuetide: ")
    period = monitor["schedule"]["period"]
    assert set(period) == {"interval", "unit"}
    assert isinstance(period["interval"], int)
    assert period["interval"] > 0
    assert period["unit"] in {"MINUTES", "HOURS", "DAYS"}
    (entry,) = monitor["inputs"]
    assert set(entry) == {"search"}
    assert set(entry["search"]) == {"indices", "query"}
    assert monitor["triggers"]
    for trigger in monitor["triggers"]:
        assert set(trigger) == {"name", "severity", "condition", "actions"}
        assert trigger["severity"] in {"1", "2", "3", "4", "5"}
        assert set(trigger["condition"]["script"]) == {"source", "lang"}
        assert trigger["condition"]["script"]["lang"] == "painless"
        assert trigger["condition"]["script"]["source"].startswith("ctx.results[0].")
        assert trigger["actions"] == []


@pytest.mark.parametrize("path", MONITORS, ids=lambda path: path.stem)
def test_a_monitor_names_only_indices_and_fields_of_ours(path: Path) -> None:
    search = json.loads(path.read_bytes())["inputs"][0]["search"]
    (index,) = search["indices"]
    prefix, _, name = index.partition("-")
    assert prefix == "issuetide"
    assert name in INDICES
    schema = json.loads((ROOT / "schemas" / "opensearch" / f"{name}.json").read_bytes())
    used = set(fields_of(search["query"]))
    assert used
    assert used <= set(schema["mappings"]["properties"])


def fields_of(node: Any) -> Iterator[str]:
    """Every field that a search names."""
    if isinstance(node, list):
        for each in node:
            yield from fields_of(each)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key == "field":
            yield value
        elif key in {"term", "terms", "range", "prefix"} and "field" not in value:
            yield from value
        elif key == "sort":
            yield from (name for each in value for name in each)
        elif key == "_source":
            yield from value
        else:
            yield from fields_of(value)


def test_the_action_that_the_document_shows_is_json_with_the_documented_names() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    assert set(json.loads(block)) == {
        "name",
        "destination_id",
        "subject_template",
        "message_template",
        "throttle_enabled",
        "throttle",
    }
