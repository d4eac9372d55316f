"""Every answer of one task as JSON or CSV, for other programs.

A task whose categories are `true` and `false` is written in the form of the PyTorch user-error categorizer's
`results.json`; any other task in the same form, generalised.
"""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

from etl.db.report_queries import AnsweredIssue
from etl.report.words import plain_json, plain_line
from etl.tasks import Task

COLUMNS = (
    "repository",
    "issue_number",
    "title",
    "url",
    "state",
    "labels",
    "created_at",
    "categories",
    "confidence",
    "rationale",
    "task",
    "task_version",
    "classifier",
    "model",
    "classified_at",
    "overridden",
    "calibrated",
)
"""The columns of the CSV form; `labels` and `categories` are joined by semicolons."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def confidence_level(confidence: float | None) -> str:
    """A confidence in words: high from 0.8, medium from 0.5, else low; also low where there is none (it abstained)."""
    if confidence is None or confidence < 0.5:
        return "low"
    return "high" if confidence >= 0.8 else "medium"


def render_json(issues: Sequence[AnsweredIssue], task: Task) -> str:
    """A summary, and every issue with its answer, in the order given; JSON with a line end.

    For a yes-or-no task called `user_error` the keys are exactly `summary{total, user_errors, non_user_errors,
    uncertain}` and `issues[{issue_number, title, url, state, labels, is_user_error, confidence, reasoning}]`; another
    such task has its own name in their place.
    """
    yes_or_no = {category.id for category in task.live_categories} == {"true", "false"}
    body = _verdicts(issues, task.name) if yes_or_no else _categories(issues, task)
    return plain_json(body) + "\n"


def _verdicts(issues: Sequence[AnsweredIssue], name: str) -> dict[str, Any]:
    said = Counter(_verdict(issue) for issue in issues)
    return {
        "summary": {
            "total": len(issues),
            f"{name}s": said[True],
            f"non_{name}s": said[False],
            "uncertain": said[None],
        },
        "issues": [
            {
                **_what(issue),
                f"is_{name}": _verdict(issue),
                "confidence": confidence_level(issue.confidence),
                "reasoning": issue.rationale or "",
            }
            for issue in issues
        ],
    }


def _verdict(issue: AnsweredIssue) -> bool | None:
    return issue.categories[0] == "true" if issue.categories else None


def _categories(issues: Sequence[AnsweredIssue], task: Task) -> dict[str, Any]:
    many = task.answers == "many_of"
    counts = Counter(category for issue in issues for category in issue.categories)
    names = [*(category.id for category in task.live_categories), *sorted(counts)]
    return {
        "task": task.name,
        "summary": {
            "total": len(issues),
            "categories": {name: counts[name] for name in dict.fromkeys(names)},
            "uncertain": sum(not issue.categories for issue in issues),
        },
        "issues": [
            {
                "repository": issue.repository,
                **_what(issue),
                **(
                    {"categories": list(issue.categories)}
                    if many
                    else {"category": issue.categories[0] if issue.categories else None}
                ),
                "confidence": confidence_level(issue.confidence),
                "reasoning": issue.rationale or "",
            }
            for issue in issues
        ],
    }


def _what(issue: AnsweredIssue) -> dict[str, Any]:
    return {
        "issue_number": issue.number,
        "title": issue.title,
        "url": issue.url,
        "state": issue.state,
        "labels": list(issue.labels),
    }


def render_csv(issues: Sequence[AnsweredIssue], task: Task) -> str:
    """One row an issue under a row of column names, as RFC 4180 has it.

    A cell of text that a spreadsheet would take for a formula is given an apostrophe in front: titles are written by
    strangers.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for issue in issues:
        row = (
            issue.repository,
            issue.number,
            _cell(issue.title),
            _cell(issue.url or ""),
            issue.state,
            _cell(";".join(issue.labels)),
            issue.created_at.isoformat(),
            ";".join(issue.categories),
            "" if issue.confidence is None else issue.confidence,
            _cell(issue.rationale or ""),
            task.name,
            issue.task_version,
            issue.classifier,
            issue.model or "",
            issue.classified_at.isoformat(),
            str(issue.overridden).lower(),
            str(issue.calibrated).lower(),
        )
        writer.writerow(row)
    return stream.getvalue()


def _cell(text: str) -> str:
    line = plain_line(text, 32_000)
    return f"'{line}" if line.startswith(_FORMULA) else line
