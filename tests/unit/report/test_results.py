"""Tests of the answers as JSON and CSV."""

import csv
import io
import json
from dataclasses import replace

import pytest

from etl.db.report_queries import AnsweredIssue
from etl.report.results import COLUMNS, confidence_level, render_csv, render_json
from etl.tasks import Task, parse_task
from tests.unit.report.sample import issue


def task(name: str, *categories: str, many: bool = False) -> Task:
    lines = [
        f'name = "{name}"',
        "version = 1",
        'title = "T"',
        'question = "Q?"',
        'answers = "many_of"\nat_most = 3' if many else 'answers = "one_of"',
        'input = "issue"',
    ]
    lines += [f'[[categories]]\nid = "{category}"\ndefinition = "D."' for category in categories]
    return parse_task("\n".join(lines).encode(), f"/tasks/{name}.toml")


@pytest.fixture
def issues() -> list[AnsweredIssue]:
    return [issue(1, ("true",), 0.9), issue(2, ("false",), 0.6), issue(3, ("false",), 0.2), issue(4, (), None)]


def test_a_yes_or_no_task_has_exactly_the_form_of_the_categorizer(issues: list[AnsweredIssue]) -> None:
    found = json.loads(render_json(issues, task("user_error", "true", "false")))
    assert found["summary"] == {"total": 4, "user_errors": 1, "non_user_errors": 2, "uncertain": 1}
    assert list(found) == ["summary", "issues"]
    assert [row["is_user_error"] for row in found["issues"]] == [True, False, False, None]
    assert [row["confidence"] for row in found["issues"]] == ["high", "medium", "low", "low"]
    assert found["issues"][0] == {
        "issue_number": 4199,
        "title": issues[0].title,
        "url": issues[0].url,
        "state": "open",
        "labels": ["triaged", "module: cache"],
        "is_user_error": True,
        "confidence": "high",
        "reasoning": issues[0].rationale,
    }


def test_another_yes_or_no_task_has_its_own_name_in_the_keys(issues: list[AnsweredIssue]) -> None:
    found = json.loads(render_json(issues, task("regression", "true", "false")))
    assert found["summary"] == {"total": 4, "regressions": 1, "non_regressions": 2, "uncertain": 1}
    assert found["issues"][3]["is_regression"] is None


def test_another_task_counts_its_categories_also_those_without_issues() -> None:
    rows = [issue(1, ("bug",), 0.9), issue(2, (), None)]
    found = json.loads(render_json(rows, task("issue_kind", "bug", "feature")))
    assert found["task"] == "issue_kind"
    assert found["summary"] == {"total": 2, "categories": {"bug": 1, "feature": 0}, "uncertain": 1}
    assert [row["category"] for row in found["issues"]] == ["bug", None]
    assert found["issues"][0]["repository"] == "northwind/site"


def test_a_task_of_several_lists_them() -> None:
    found = json.loads(render_json([issue(1, ("bug", "test"), 0.9)], task("labels", "bug", "test", many=True)))
    assert found["summary"]["categories"] == {"bug": 1, "test": 1}
    assert found["issues"][0]["categories"] == ["bug", "test"]


def test_a_category_that_the_task_no_longer_has_is_still_counted() -> None:
    found = json.loads(render_json([issue(1, ("old",), 0.9)], task("issue_kind", "bug", "feature")))
    assert found["summary"]["categories"] == {"bug": 0, "feature": 0, "old": 1}


@pytest.mark.parametrize(
    ("confidence", "word"),
    [(1.0, "high"), (0.8, "high"), (0.7999, "medium"), (0.5, "medium"), (0.4999, "low"), (0.0, "low"), (None, "low")],
)
def test_confidences_in_words(confidence: float | None, word: str) -> None:
    assert confidence_level(confidence) == word


def test_csv_has_one_row_an_issue_and_reads_back() -> None:
    rows = list(csv.DictReader(io.StringIO(render_csv([issue(1, ("a", "b"), 0.25)], task("labels", "a", "b")))))
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["categories"] == "a;b"
    assert rows[0]["confidence"] == "0.25"
    assert rows[0]["labels"] == "triaged;module: cache"


@pytest.mark.parametrize("title", ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\t=1+1"])
def test_no_cell_is_a_formula_for_a_spreadsheet(title: str) -> None:
    found = replace(issue(1, (), None), title=title, rationale=title, labels=(title,))
    (row,) = csv.DictReader(io.StringIO(render_csv([found], task("labels", "a"))))
    for name in ("title", "rationale", "labels"):
        assert row[name].startswith("'")


def test_quotes_commas_and_line_breaks_stay_in_their_cell() -> None:
    found = replace(issue(1, (), None), title='a "b", c\nd')
    (row,) = csv.DictReader(io.StringIO(render_csv([found], task("labels", "a"))))
    assert row["title"] == 'a "b", c d'
