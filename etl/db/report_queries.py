"""Statements behind the reports: what the views that docs/sql.md promises say, as rows. Nothing here writes."""

# ruff: noqa: S608  (the only thing put into a statement is a condition of ours; values are always bound)

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

from sqlalchemy import Connection, text

Step = Literal["day", "week", "month", "quarter"]

_IN_SCOPE = "(cardinality(CAST(:repositories AS text[])) = 0 OR repository = ANY (:repositories))"


@dataclass(frozen=True, slots=True)
class Totals:
    """What the store holds. Times are None while there is no issue."""

    issues: int
    open: int
    repositories: int
    first_created_at: datetime | None
    last_updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class PeriodCount:
    """One category of one repository in one period: issues opened and closed in it, and open at its end."""

    repository: str
    start: date
    category: str
    opened: int
    closed: int
    open: int


@dataclass(frozen=True, slots=True)
class PeriodConfidence:
    """The average confidence of the answers with one category, for issues opened in one period.

    Calibrated confidences where there are any, else as stated.
    """

    start: date
    category: str
    issues: int
    confidence: float


@dataclass(frozen=True, slots=True)
class ClassifierCount:
    """How many issues' current answers came from one classifier, model and version of the task.

    calibrated: of how many of them the confidence is a calibrated one.
    """

    classifier: str
    model: str | None
    task_version: int | None
    issues: int
    calibrated: int = 0


@dataclass(frozen=True, slots=True)
class AnsweredIssue:
    """An issue with its current answer to one task; `categories` is empty where it abstained.

    confidence: the calibrated one where `calibrated` says so, else as stated.
    """

    repository: str
    number: int
    title: str
    url: str | None
    state: str
    labels: tuple[str, ...]
    created_at: datetime
    categories: tuple[str, ...]
    confidence: float | None
    rationale: str | None
    classifier: str
    model: str | None
    task_version: int | None
    classified_at: datetime
    overridden: bool
    calibrated: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One row of `run_summary`."""

    run_id: int
    command: str
    status: str
    started_at: datetime
    ended_at: datetime | None
    classifier: str | None
    model: str | None
    items_read: int
    items_new: int
    items_changed: int
    texts_asked: int
    documents_written: int
    dead_letters: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    error: str | None


@dataclass(frozen=True, slots=True)
class DayCost:
    """The runs that began on one UTC day, and their cost in US dollars."""

    day: date
    runs: int
    cost_usd: float


def select_totals(connection: Connection, repositories: Sequence[str] = ()) -> Totals:
    """What the store holds of `repositories` (all of them if empty)."""
    row = connection.execute(
        text(f"""
            SELECT count(*) AS issues, count(*) FILTER (WHERE state = 'open') AS open,
                   count(DISTINCT repository) AS repositories, min(created_at) AS first_created_at,
                   max(updated_at) AS last_updated_at
            FROM issues WHERE {_IN_SCOPE}
        """),
        {"repositories": list(repositories)},
    ).one()
    return Totals(**row._mapping)


def count_asked_issues(connection: Connection, task: str, repositories: Sequence[str] = ()) -> int:
    """How many issues have an answer to `task`, each counted once also where it has several categories."""
    statement = f"SELECT count(DISTINCT (repository, number)) FROM issue_categories WHERE task = :task AND {_IN_SCOPE}"
    parameters = {"task": task, "repositories": list(repositories)}
    return int(connection.execute(text(statement), parameters).scalar_one())


def select_period_counts(
    connection: Connection, task: str, step: Step, repositories: Sequence[str] = ()
) -> list[PeriodCount]:
    """Every category of every repository in every period, oldest first, 'abstained' and 'unclassified' among them.

    A week begins on Monday; the last period goes up to today (UTC). The only reading of `category_daily` that a report
    needs: it is the dearest of the views, the other figures are sums of this one.
    """
    rows = connection.execute(
        text(f"""
            WITH days AS (
                SELECT repository, date_trunc(:step, day::timestamp)::date AS start, category, day, opened, closed, open
                FROM category_daily WHERE task = :task AND {_IN_SCOPE}
            )
            SELECT repository, start, category, sum(opened)::int AS opened, sum(closed)::int AS closed,
                   (array_agg(open ORDER BY day DESC))[1] AS open
            FROM days GROUP BY repository, start, category ORDER BY start, repository, category
        """),
        {"task": task, "step": step, "repositories": list(repositories)},
    )
    return [PeriodCount(**row._mapping) for row in rows]


def select_period_confidences(
    connection: Connection, task: str, step: Step, repositories: Sequence[str] = ()
) -> list[PeriodConfidence]:
    """The average confidence of every category in every period (by when the issues were opened), oldest first."""
    rows = connection.execute(
        text(f"""
            SELECT date_trunc(:step, i.created_at AT TIME ZONE 'UTC')::date AS start, c.category,
                   count(*) AS issues, avg(coalesce(c.calibrated_confidence, c.confidence)) AS confidence
            FROM issue_categories c JOIN issues i USING (repository, number)
            WHERE c.task = :task AND c.confidence IS NOT NULL AND {_IN_SCOPE}
            GROUP BY 1, 2 ORDER BY 1, 2
        """),
        {"task": task, "step": step, "repositories": list(repositories)},
    )
    return [PeriodConfidence(**row._mapping) for row in rows]


def select_classifier_counts(
    connection: Connection, task: str, repositories: Sequence[str] = ()
) -> list[ClassifierCount]:
    """Who gave the current answers, most issues first; a person's overrides are those of 'person'."""
    rows = connection.execute(
        text(f"""
            SELECT classifier, model, task_version, count(DISTINCT (repository, number)) AS issues,
                   count(DISTINCT (repository, number)) FILTER (WHERE calibrated_confidence IS NOT NULL) AS calibrated
            FROM issue_categories WHERE task = :task AND {_IN_SCOPE}
            GROUP BY classifier, model, task_version ORDER BY issues DESC, classifier, model
        """),
        {"task": task, "repositories": list(repositories)},
    )
    return [ClassifierCount(**row._mapping) for row in rows]


def select_answered_issues(
    connection: Connection, task: str, repositories: Sequence[str] = (), limit: int | None = None
) -> list[AnsweredIssue]:
    """Every issue with an answer to `task`, newest first, at most `limit`."""
    return _answered(connection, task, repositories, limit, "true")


def select_low_confidence_issues(
    connection: Connection, task: str, below: float, repositories: Sequence[str] = (), limit: int = 25
) -> list[AnsweredIssue]:
    """The newest issues whose most confident category has a confidence under `below`."""
    return _answered(connection, task, repositories, limit, "confidence < :below", below=below)


def select_abstained_issues(
    connection: Connection, task: str, repositories: Sequence[str] = (), limit: int = 25
) -> list[AnsweredIssue]:
    """The newest issues for which the answer was to abstain."""
    return _answered(connection, task, repositories, limit, "cardinality(categories) = 0")


def _answered(
    connection: Connection,
    task: str,
    repositories: Sequence[str],
    limit: int | None,
    condition: str,
    **parameters: Any,  # noqa: ANN401  (bound values of `condition`)
) -> list[AnsweredIssue]:
    rows = connection.execute(
        text(f"""
            WITH answers AS (
                SELECT repository, number, max(coalesce(calibrated_confidence, confidence)) AS confidence,
                       bool_or(calibrated_confidence IS NOT NULL) AS calibrated, min(rationale) AS rationale,
                       coalesce(array_agg(category ORDER BY confidence DESC, category)
                                FILTER (WHERE category IS NOT NULL), '{{}}') AS categories,
                       min(classifier) AS classifier, min(model) AS model, min(task_version) AS task_version,
                       min(classified_at) AS classified_at, bool_or(overridden) AS overridden
                FROM issue_categories WHERE task = :task AND {_IN_SCOPE}
                GROUP BY repository, number
            )
            SELECT repository, number, coalesce(i.title, '') AS title, i.url, i.state, i.labels, i.created_at,
                   a.categories, a.confidence, a.rationale, a.classifier, a.model, a.task_version, a.classified_at,
                   a.overridden, a.calibrated
            FROM answers a JOIN issues i USING (repository, number)
            WHERE {condition}
            ORDER BY i.created_at DESC, repository, number DESC
            LIMIT :limit
        """),
        {"task": task, "repositories": list(repositories), "limit": limit, **parameters},
    )
    return [
        AnsweredIssue(**{**row._mapping, "labels": tuple(row.labels), "categories": tuple(row.categories)})
        for row in rows
    ]


def select_runs(connection: Connection, limit: int = 20) -> list[Run]:
    """The newest runs, newest first, ended or not."""
    rows = connection.execute(
        text("""
            SELECT run_id, command, status, started_at, ended_at, classifier, model, items_read, items_new,
                   items_changed, texts_asked, documents_written, dead_letters, input_tokens, output_tokens,
                   cost_usd::float8 AS cost_usd, error
            FROM run_summary ORDER BY started_at DESC, run_id DESC LIMIT :limit
        """),
        {"limit": limit},
    )
    return [Run(**row._mapping) for row in rows]


def select_day_costs(connection: Connection, days: int = 90) -> list[DayCost]:
    """Every one of the last `days` UTC days, oldest first, also those without a run."""
    rows = connection.execute(
        text("""
            SELECT d::date AS day, count(r.run_id)::int AS runs, coalesce(sum(r.cost_usd), 0)::float8 AS cost_usd
            FROM (SELECT (now() AT TIME ZONE 'UTC')::date AS today) AS t
            CROSS JOIN LATERAL generate_series(
                (t.today - (:days - 1))::timestamp, t.today::timestamp, interval '1 day') AS d
            LEFT JOIN run_summary r ON (r.started_at AT TIME ZONE 'UTC')::date = d::date
            GROUP BY d ORDER BY d
        """),
        {"days": days},
    )
    return [DayCost(**row._mapping) for row in rows]
