"""docs/sql.md: every example runs, and the views have exactly the columns that it lists."""

import re
from pathlib import Path

import pytest
from sqlalchemy import text

from etl.db.store import Store

DOCUMENT = (Path(__file__).parents[2] / "docs" / "sql.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```sql\n(.*?)```", DOCUMENT, re.DOTALL)


VIEWS = {
    "issues",
    "issue_categories",
    "category_daily",
    "open_daily",
    "issue_events",
    "issue_times",
    "pull_requests",
    "vanished_items",
    "run_summary",
    "cascade_agreement",
    "spending_daily",
    "near_duplicates",
    "text_ids",
}


def test_every_promised_view_has_its_section_and_its_line_in_the_list() -> None:
    assert set(_documented_columns()) == VIEWS
    assert set(re.findall(r"^\| \[(\w+)\]\(#\w+\) \|", DOCUMENT, re.MULTILINE)) == VIEWS


def _documented_columns() -> dict[str, list[str]]:
    views = {}
    for name, section in re.findall(r"^## `(\w+)`\n(.*?)(?=^## |\Z)", DOCUMENT, re.DOTALL | re.MULTILINE):
        rows = re.findall(r"^\| ([\w, ]+?) \|", section, re.MULTILINE)
        views[name] = [column for row in rows if row != "column" for column in row.split(", ")]
    return views


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_of_the_documentation_runs(example: str, database_url: str) -> None:
    store = Store(database_url)
    try:
        with store.transaction() as connection:
            assert list(connection.execute(text(example)).keys())
    finally:
        store.close()


@pytest.mark.parametrize("view", sorted(VIEWS))
def test_a_view_has_the_documented_columns_in_order(view: str, database_url: str) -> None:
    store = Store(database_url)
    try:
        with store.transaction() as connection:
            columns = list(connection.execute(text(f"SELECT * FROM {view}")).keys())
    finally:
        store.close()
    assert columns == _documented_columns()[view]
