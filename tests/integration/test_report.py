"""The report's statements and collection on a real PostgreSQL: the sums agree with the issues stored by hand."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from etl.db.queries.classifications import insert_answers, register_task, track_tasks
from etl.db.queries.items import resolve_repository, upsert_items
from etl.db.queries.runs import close_run, insert_run, update_run
from etl.db.queries.texts import FingerprintedText, take_queued_items, upsert_texts
from etl.db.report_queries import (
    select_abstained_issues,
    select_answered_issues,
    select_classifier_counts,
    select_day_costs,
    select_low_confidence_issues,
    select_period_confidences,
    select_period_counts,
    select_runs,
    select_totals,
)
from etl.db.store import Store
from etl.records import Answer, Item
from etl.report.data import ReportData, choose_step, collect_report, count_repositories
from etl.report.html import render_html
from etl.tasks import Task, parse_task
from tests.fakes import REPOSITORY, make_item

OTHER = replace(REPOSITORY, key=43, github_id=43, full_name="octo/other")


def make_task(name: str, *categories: str, many: bool = False) -> Task:
    answers = 'answers = "many_of"\nat_most = 3' if many else 'answers = "one_of"'
    head = f'name = "{name}"\nversion = 1\ntitle = "T"\nquestion = "Q?"\n{answers}\ninput = "issue"\n'
    tables = "\n".join(f'[[categories]]\nid = "{category}"\ndefinition = "D."' for category in categories)
    return parse_task((head + tables).encode(), f"/tasks/{name}.toml")


KIND = make_task("issue_kind", "bug", "feature", "question")
LABELS = make_task("labels", "bug", "docs", many=True)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def stored(number: int, created: str, closed: str | None = None, **changes: Any) -> Item:
    return make_item(
        number,
        created_at=moment(created),
        updated_at=moment(closed or created),
        closed_at=moment(closed) if closed else None,
        state="closed" if closed else "open",
        **changes,
    )


ITEMS = (
    stored(1, "2026-01-05T10:00", "2026-02-10T10:00"),
    stored(2, "2026-01-20T23:59"),
    stored(3, "2026-02-01T00:00"),
    stored(4, "2026-02-15T08:00", "2026-02-15T09:00", labels=("triaged",)),
    stored(5, "2026-03-03T08:00"),
    stored(6, "2026-03-04T08:00"),
    stored(7, "2026-03-05T08:00", repository=OTHER),
)
ANSWERS: dict[int, tuple[tuple[str, float], ...] | None] = {
    1: (("bug", 0.9),),
    2: (("bug", 0.4),),
    3: (("feature", 0.8),),
    4: (("question", 0.3),),
    5: (),
    6: None,
    7: (("bug", 0.7),),
}
"""Issue -> its answer; nothing: it abstained; None: not asked yet."""


def answer(text_id: int, categories: tuple[tuple[str, float], ...], classifier: str = "claude") -> Answer:
    return Answer(
        text_id=text_id,
        outcome="answered" if categories else "abstained",
        categories=categories,
        rationale="Because.",
        classifier=classifier,
        model="m-1",
        prompt_version="p-1",
    )


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """Seven issues of two repositories, six of them answered, with one run that did it."""
    opened = Store(database_url)
    try:
        fill(opened)
        yield opened
    finally:
        opened.close()


def fill(store: Store) -> None:
    """Stores the issues and their answers."""
    with store.transaction() as connection:
        for repository in (REPOSITORY, OTHER):
            resolve_repository(connection, repository)
        upsert_items(connection, ITEMS, {42: 42, 43: 43})
        for task in (KIND, LABELS):
            register_task(connection, task, "content")
        track_tasks(connection, [42, 43], [KIND])
        run = insert_run(
            connection, command="run", repositories=["octo/demo"], tasks=["issue_kind"], classifier="claude"
        )
        queued = take_queued_items(connection, 100, 0)
        made = [
            FingerprintedText(entry.item_id, "issue", f"hash {entry.title}", f"family {entry.title}", entry.title or "")
            for entry in queued
        ]
        upsert_texts(connection, made, 1)
        ids = text_ids(connection)
        insert_answers(
            connection,
            KIND,
            [answer(ids[number], said) for number, said in ANSWERS.items() if said is not None],
            run,
        )
        update_run(connection, run, {"items_read": 7, "texts_asked": 6, "cost_usd": 0.125}, "m-1")
        close_run(connection, run, status="ok", error=None, notes=[])


def text_ids(connection: Any) -> dict[int, int]:
    """Issue number -> id of its text."""
    rows = connection.exec_driver_sql(
        "SELECT i.external_id, it.text_id FROM items i JOIN item_texts it ON it.item_id = i.id"
    )
    return {row.external_id: row.text_id for row in rows}


def collect(store: Store, *tasks: Task, **options: Any) -> ReportData:
    with store.reading() as connection:
        return collect_report(connection, tasks or (KIND,), version="0", **options)


def test_totals_are_those_of_the_issues(store: Store) -> None:
    with store.reading() as connection:
        totals = select_totals(connection)
        narrowed = select_totals(connection, ["octo/other"])
    assert (totals.issues, totals.open, totals.repositories) == (7, 5, 2)
    assert totals.first_created_at == moment("2026-01-05T10:00")
    assert (narrowed.issues, narrowed.repositories) == (1, 1)


def test_categories_are_counted_with_those_that_have_none(store: Store) -> None:
    counts = {count.category: count for count in collect(store).tasks[0].categories}
    assert {name: (count.issues, count.open) for name, count in counts.items()} == {
        "bug": (3, 2),
        "feature": (1, 1),
        "question": (1, 0),
        "abstained": (1, 1),
        "unclassified": (1, 1),
    }
    assert counts["bug"].confidence == pytest.approx((0.9 + 0.4 + 0.7) / 3)
    assert counts["abstained"].confidence is None
    assert counts["unclassified"].confidence is None


def test_periods_say_what_was_opened_in_them_and_what_was_open_at_their_end(store: Store) -> None:
    with store.reading() as connection:
        periods = select_period_counts(connection, "issue_kind", "month", ["octo/demo"])
    bugs = {period.start: period for period in periods if period.category == "bug"}
    assert [(bugs[date(2026, month, 1)].opened, bugs[date(2026, month, 1)].open) for month in (1, 2, 3)] == [
        (2, 2),
        (0, 1),
        (0, 1),
    ]
    assert sum(period.opened for period in periods) == 6


def test_open_issues_of_several_repositories_are_added_up(store: Store) -> None:
    with store.reading() as connection:
        periods = select_period_counts(connection, "issue_kind", "month")
    found = {(row.repository, row.category): (row.issues, row.open) for row in count_repositories(periods)}
    assert found["octo/demo", "bug"] == (2, 1)
    assert found["octo/other", "bug"] == (1, 1)


def test_confidence_is_averaged_over_the_issues_opened_in_a_period(store: Store) -> None:
    with store.reading() as connection:
        rows = select_period_confidences(connection, "issue_kind", "month")
    assert [(row.start.month, row.category, row.issues, round(row.confidence, 6)) for row in rows] == [
        (1, "bug", 2, 0.65),
        (2, "feature", 1, 0.8),
        (2, "question", 1, 0.3),
        (3, "bug", 1, 0.7),
    ]


def test_low_confidence_and_abstained_issues_are_listed_newest_first(store: Store) -> None:
    with store.reading() as connection:
        low = select_low_confidence_issues(connection, "issue_kind", 0.5)
        abstained = select_abstained_issues(connection, "issue_kind")
        every = select_answered_issues(connection, "issue_kind", limit=3)
    assert [(issue.number, issue.categories, issue.confidence) for issue in low] == [
        (4, ("question",), 0.3),
        (2, ("bug",), 0.4),
    ]
    assert low[0].labels == ("triaged",)
    assert [(issue.number, issue.categories, issue.confidence) for issue in abstained] == [(5, (), None)]
    assert [issue.number for issue in every] == [7, 5, 4]


def test_an_issue_of_several_categories_is_one_row_with_the_most_confident_first(store: Store) -> None:
    with store.transaction() as connection:
        track_tasks(connection, [42], [LABELS])
        run = insert_run(connection, command="run", repositories=[], tasks=["labels"], classifier="rules")
        insert_answers(
            connection, LABELS, [answer(text_ids(connection)[1], (("docs", 0.9), ("bug", 0.6)), "rules")], run
        )
    with store.reading() as connection:
        (issue,) = select_answered_issues(connection, "labels")
    assert (issue.categories, issue.confidence, issue.classifier) == (("docs", "bug"), 0.9, "rules")
    (report,) = collect(store, LABELS).tasks
    assert (report.asked, report.unclassified, report.issues) == (1, 5, 6)
    assert {count.category: report.share(count) for count in report.categories if count.category != "unclassified"} == {
        "bug": pytest.approx(1 / 6),
        "docs": pytest.approx(1 / 6),
    }


def test_who_answered_is_counted_by_classifier_and_model(store: Store) -> None:
    with store.reading() as connection:
        counts = select_classifier_counts(connection, "issue_kind")
    assert [(count.classifier, count.model, count.task_version, count.issues) for count in counts] == [
        ("claude", "m-1", 1, 6)
    ]


def test_runs_and_their_cost_are_those_of_the_ledger(store: Store) -> None:
    with store.reading() as connection:
        (run,) = select_runs(connection)
        costs = select_day_costs(connection, days=7)
    assert (run.status, run.items_read, run.texts_asked, run.cost_usd) == ("ok", 7, 6, 0.125)
    assert run.ended_at is not None
    assert len(costs) == 7
    assert [(day.runs, day.cost_usd) for day in costs if day.runs] == [(1, 0.125)]


def test_a_report_agrees_with_itself(store: Store) -> None:
    (report,) = collect(store).tasks
    assert [count.category for count in report.categories] == [
        "bug",
        "feature",
        "question",
        "abstained",
        "unclassified",
    ]
    assert (report.asked, report.unclassified) == (6, 1)
    opened = {series.category: sum(value or 0 for value in series.values) for series in report.opened.series}
    assert opened == {count.category: count.issues for count in report.categories}
    latest = {series.category: series.values[-1] for series in report.open.series}
    assert {name: value for name, value in latest.items() if value} == {
        count.category: count.open for count in report.categories if count.open
    }
    assert {series.category for series in report.confidence.series} == {"bug", "feature", "question"}


def test_a_report_can_be_narrowed_to_repositories(store: Store) -> None:
    (report,) = collect(store, repositories=["octo/other"]).tasks
    assert (report.asked, [row.repository for row in report.repositories]) == (1, ["octo/other"])


def test_an_empty_database_gives_an_empty_report(database_url: str) -> None:
    opened = Store(database_url)
    try:
        data = collect(opened, KIND)
    finally:
        opened.close()
    assert data.totals.issues == 0
    assert data.tasks[0].issues == 0
    assert "No issues yet" in render_html(data)


@pytest.mark.parametrize(
    ("first", "step"),
    [
        (None, "day"),
        (date(2026, 5, 1), "day"),
        (date(2026, 1, 1), "week"),
        (date(2024, 12, 1), "month"),
        (date(2015, 1, 1), "quarter"),
    ],
)
def test_periods_grow_with_the_time_shown(first: date | None, step: str) -> None:
    assert choose_step(first, date(2026, 6, 30)) == step
