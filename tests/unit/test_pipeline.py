"""A run against a real PostgreSQL, with sources, classifiers and sinks of a few lines."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from etl import pipeline
from etl.db.queries import runs as run_queries
from etl.db.store import Store
from etl.errors import (
    BudgetError,
    ConfigurationError,
    LockedError,
    RateLimitError,
    StopError,
    UnavailableError,
)
from etl.interrupts import Interrupts
from etl.pipeline import Fetch, Plan, record_failure, run
from etl.records import Scope
from etl.stages.base import Advance
from tests.fakes import (
    REPOSITORY,
    START,
    TASK_FILE,
    FakeClassifier,
    FakeSink,
    FakeSource,
    SilentProgress,
    make_comment,
    make_item,
    write_task,
)
from tests.runs import rows, run_with, url_of

SCOPE = Scope(("octo/demo",))


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(
        command="test",
        tasks=(write_task(tmp_path),),
        classifier=FakeClassifier(),
        sink=FakeSink(),
        repositories=SCOPE.repositories,
    )


def sink_of(plan: Plan) -> FakeSink:
    assert isinstance(plan.sink, FakeSink)
    return plan.sink


def classifier_of(plan: Plan) -> FakeClassifier:
    assert isinstance(plan.classifier, FakeClassifier)
    return plan.classifier


def documents(plan: Plan) -> dict[str, dict[str, Any]]:
    return {key: json.loads(held.source or "") for key, held in sink_of(plan).documents["classifications"].items()}


def test_a_run_brings_issues_all_the_way_into_the_sink(store: Store, plan: Plan) -> None:
    outcome = run_with(store, plan, [make_item(1, "It will crash"), make_item(2, "Add a button")], [make_item(3)])
    assert (outcome.status, outcome.exit_code) == ("ok", 0)
    assert {key: value["primary_category"] for key, value in documents(plan).items()} == {
        "42-issue-1-kind": "bug",
        "42-issue-2-kind": "feature",
        "42-issue-3-kind": "abstained",
    }
    assert rows(store, "SELECT status, items_new, texts_asked FROM run_summary") == [("ok", 3, 3)]
    assert [json.loads(held.source or "")["level"] for held in sink_of(plan).documents["runs"].values()] == [
        "run",
        "task",
    ]
    assert (sink_of(plan).prepared, sink_of(plan).refreshed) == (1, 1)


def test_a_second_run_asks_nobody_writes_no_document_and_changes_no_row(store: Store, plan: Plan) -> None:
    pages = [make_item(1, "crash"), make_item(2, "Add")]
    run_with(store, plan, pages)
    snapshot = "SELECT xmin, * FROM {} ORDER BY 2, 3"
    tables = (
        "items",
        "texts",
        "item_texts",
        "classifications",
        "tasks",
        "tracked_tasks",
        "repositories",
        "daily_counts",
    )
    before = {name: rows(store, snapshot.format(name)) for name in tables}
    pushed = sink_of(plan).pushed
    outcome = run_with(store, plan, pages)
    assert outcome.tally.counts["texts_asked"] == 0
    assert outcome.tally.counts["documents_written"] == 0
    assert sink_of(plan).pushed == pushed
    assert {name: rows(store, snapshot.format(name)) for name in tables} == before


def test_editing_a_title_asks_about_one_text_and_updates_its_document(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash"), make_item(2, "Add")])
    edited = make_item(2, "A crash after all", updated_at=START + timedelta(days=9))
    outcome = run_with(store, plan, [edited])
    assert outcome.tally.counts["texts_asked"] == 1
    assert documents(plan)["42-issue-2-kind"]["primary_category"] == "bug"


def test_changing_labels_asks_nobody_and_updates_the_document(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash")])
    outcome = run_with(store, plan, [make_item(1, "crash", labels=("triaged",), updated_at=START + timedelta(days=9))])
    assert outcome.tally.counts["texts_asked"] == 0
    assert documents(plan)["42-issue-1-kind"]["labels"] == ["triaged"]


def test_two_issues_with_the_same_text_cost_one_request(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash", "same"), make_item(2, "crash", "same")])
    assert len(classifier_of(plan).asked) == 1
    assert {value["primary_category"] for value in documents(plan).values()} == {"bug"}


def test_an_older_state_never_overwrites_a_newer_one(store: Store, plan: Plan) -> None:
    newer = make_item(1, "newer", updated_at=START + timedelta(days=9))
    run_with(store, plan, [make_item(1, "older"), newer, make_item(1, "older")], [make_item(1, "older")])
    assert rows(store, "SELECT title FROM issues") == [("newer",)]


def test_a_comment_makes_the_text_of_its_issue_new_only_where_the_task_reads_comments(
    store: Store, plan: Plan, tmp_path: Path
) -> None:
    with_comments = write_task(
        tmp_path, TASK_FILE.replace(b'"issue"', b'"issue_with_comments"').replace(b'"kind"', b'"talk"'), "talk"
    )
    plan = replace(plan, tasks=(*plan.tasks, with_comments))
    run_with(store, plan, [make_item(1, "hello", "there")])
    asked = len(classifier_of(plan).asked)
    outcome = run_with(store, plan, [make_comment(7, 1, "it will crash")])
    assert outcome.tally.counts["texts_asked"] == 1
    assert "it will crash" in classifier_of(plan).asked[asked]


def test_a_title_the_task_leaves_out_is_not_asked_and_its_document_vanishes(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash"), make_item(2, "DISABLED test_crash")])
    assert list(documents(plan)) == ["42-issue-1-kind"]
    run_with(store, plan, [make_item(1, "DISABLED crash", updated_at=START + timedelta(days=9))])
    document = documents(plan)["42-issue-1-kind"]
    assert (document["vanished"], document["vanished_reason"]) == (True, "not_applicable")


def test_an_empty_text_asks_nobody(store: Store, plan: Plan) -> None:
    outcome = run_with(store, plan, [make_item(1, " ", None)])
    assert outcome.tally.counts["texts_asked"] == 0
    assert documents(plan)["42-issue-1-kind"]["answer"] == "unclassified"


def test_an_answer_by_rules_does_not_stop_claude_but_claudes_stops_rules(store: Store, plan: Plan) -> None:
    page = [make_item(1, "crash")]
    run_with(store, plan, page)
    claude = FakeClassifier("claude")
    outcome = run_with(store, plan, page, classifier=claude)
    assert (len(claude.asked), outcome.tally.cost_usd) == (1, 0.001)
    assert documents(plan)["42-issue-1-kind"]["classifier"] == "claude"
    again = FakeClassifier()
    run_with(store, plan, page, classifier=again)
    assert again.asked == []


def test_a_new_version_of_a_task_asks_nobody_by_itself(store: Store, plan: Plan, tmp_path: Path) -> None:
    page = [make_item(1, "crash")]
    run_with(store, plan, page)
    newer = write_task(tmp_path, TASK_FILE.replace(b"version = 1", b"version = 2"))
    outcome = run_with(store, plan, page, tasks=(newer,))
    assert outcome.tally.counts["texts_asked"] == 0


@pytest.mark.parametrize("classifies", [True, False])
def test_a_task_that_is_asked_without_naming_repositories_is_asked_of_all_that_are_stored(
    store: Store, plan: Plan, tmp_path: Path, classifies: bool
) -> None:
    elsewhere = replace(REPOSITORY, key=43, github_id=43, full_name="octo/other")
    source = FakeSource([make_item(1, "crash"), make_item(2, "crash there", repository=elsewhere)])
    run(store, replace(plan, repositories=(), fetches=(Fetch(source, Scope()),)), SilentProgress())
    store.close()  # its locks end with it
    second = write_task(tmp_path, TASK_FILE.replace(b'"kind"', b'"second"'), "second")
    plan = replace(plan, tasks=(second,), repositories=(), classifier=plan.classifier if classifies else None)
    outcome = run_with(store, plan)
    assert outcome.tally.counts["texts_asked"] == (2 if classifies else 0)
    answers = {key: value["answer"] for key, value in documents(plan).items() if key.endswith("second")}
    assert answers == dict.fromkeys(
        ("42-issue-1-second", "43-issue-2-second"), "answered" if classifies else "unclassified"
    )


def test_a_task_that_is_asked_of_one_repository_is_not_asked_of_the_others(
    store: Store, plan: Plan, tmp_path: Path
) -> None:
    elsewhere = replace(REPOSITORY, key=43, github_id=43, full_name="octo/other")
    source = FakeSource([make_item(1, "crash"), make_item(2, "crash there", repository=elsewhere)])
    run(store, replace(plan, repositories=(), fetches=(Fetch(source, Scope()),)), SilentProgress())
    store.close()  # its locks end with it
    second = write_task(tmp_path, TASK_FILE.replace(b'"kind"', b'"second"'), "second")
    run_with(store, plan, tasks=(second,))
    assert rows(store, "SELECT repository_key FROM tracked_tasks WHERE task = 'second'") == [(42,)]


class RecordingProgress:
    """Keeps the last facts of every stage."""

    def __init__(self) -> None:
        self.facts: dict[str, dict[str, object]] = {}

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """A stage whose facts are kept."""

        def advance(steps: int, **facts: object) -> None:  # noqa: ARG001  (the promise's names)
            self.facts[title] = facts

        yield advance


def test_each_stage_tells_its_own_numbers(store: Store, plan: Plan, tmp_path: Path) -> None:
    second = write_task(tmp_path, TASK_FILE.replace(b'"kind"', b'"second"'), "second")
    pages = ([make_item(1, "crash"), make_item(2, "Add")],)
    sink_of(plan).rejects = {"42-issue-1-kind", "42-kind-bug-2026-01-06"}
    plan = replace(plan, tasks=(*plan.tasks, second), classifier=FakeClassifier("claude"))
    progress = RecordingProgress()
    run(store, replace(plan, fetches=(Fetch(FakeSource(*pages), SCOPE),)), progress)
    asked = {"asked": 2, "dollars": 0.002}
    assert (progress.facts["classify kind"], progress.facts["classify second"]) == (asked, asked)
    assert progress.facts["export classifications"] == {"written": 3, "dead_letters": 1}
    assert progress.facts["export daily"]["dead_letters"] == 1


def test_a_draft_of_a_task_may_be_edited_until_something_is_answered(store: Store, plan: Plan, tmp_path: Path) -> None:
    run_with(store, plan, [make_item(1, "crash")], classifier=None)
    draft = TASK_FILE.replace(b"broken", b"very broken").replace(b'"issue"', b'"issue_with_comments"')
    edited = write_task(tmp_path, draft)
    assert run_with(store, plan, tasks=(edited,)).status == "ok"
    assert rows(store, "SELECT version, sha256, input, content FROM tasks") == [
        (1, edited.sha256, "issue_with_comments", draft.decode())
    ]
    assert rows(store, "SELECT DISTINCT task_sha256 FROM classifications") == [(edited.sha256,)]


def test_the_same_version_of_a_task_with_other_content_is_refused(store: Store, plan: Plan, tmp_path: Path) -> None:
    run_with(store, plan, [make_item(1)])
    other = write_task(tmp_path, TASK_FILE.replace(b"broken", b"very broken"))
    outcome = run_with(store, plan, [make_item(2)], tasks=(other,))
    assert outcome.exit_code == ConfigurationError.exit_code
    assert "raise `version` to 2" in (outcome.error or "")


@pytest.mark.parametrize(
    ("stop", "status", "code"),
    [
        (RateLimitError("wait"), "stopped_rate_limit", 6),
        (UnavailableError("away"), "failed", 8),
        (ConfigurationError("key"), "failed", 3),
    ],
)
def test_a_source_that_stops_leaves_the_rest_of_the_run_going(
    stop: Exception, status: str, code: int, store: Store, plan: Plan
) -> None:
    source = FakeSource([make_item(1, "crash")], [make_item(2)], raises={0: stop})
    outcome = run(store, replace(plan, fetches=(Fetch(source, SCOPE),)), SilentProgress())
    assert (outcome.status, outcome.exit_code, outcome.error) == (status, code, str(stop))
    assert list(documents(plan)) == ["42-issue-1-kind"]
    assert rows(store, "SELECT cursor FROM cursors") == [("0",)]


def test_what_was_read_of_repositories_that_nobody_named_is_answered_though_reading_stopped(
    store: Store, plan: Plan
) -> None:
    elsewhere = replace(REPOSITORY, key=43, github_id=43, full_name="octo/other")
    pages = [[make_item(1, "crash"), make_item(2, "crash there", repository=elsewhere)], [make_item(3)]]
    source = FakeSource(*pages, raises={0: UnavailableError("away")})
    run(store, replace(plan, repositories=(), fetches=(Fetch(source, Scope()),)), SilentProgress())
    assert set(documents(plan)) == {"42-issue-1-kind", "43-issue-2-kind"}


def test_the_next_run_goes_on_at_the_stored_cursor(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1)], [make_item(2)])
    source = FakeSource([make_item(2)])
    run(store, replace(plan, fetches=(Fetch(source, SCOPE),)), SilentProgress())
    assert source.cursors_seen == ["1"]


def test_a_limit_leaves_the_cursor_alone(store: Store, plan: Plan) -> None:
    source = FakeSource([make_item(1)])
    run(store, replace(plan, fetches=(Fetch(source, replace(SCOPE, limit=1)),)), SilentProgress())
    assert rows(store, "SELECT * FROM cursors") == []


def test_a_stop_while_classifying_keeps_what_was_answered_and_exports_it(store: Store, plan: Plan) -> None:
    stopping = FakeClassifier("claude", raises_after=1, stop=BudgetError("cap reached"))
    outcome = run_with(store, plan, [make_item(1, "crash"), make_item(2, "Add")], classifier=stopping)
    assert (outcome.status, outcome.exit_code) == ("stopped_budget", 5)
    assert rows(store, "SELECT count(*) FROM classifications") == [(1,)]
    assert rows(store, "SELECT count(*) FROM claims") == [(0,)]
    assert {value["answer"] for value in documents(plan).values()} == {"answered", "unclassified"}
    outcome = run_with(store, plan, classifier=FakeClassifier("claude"))
    assert outcome.tally.counts["texts_asked"] == 1


def test_max_items_is_a_budget_that_loses_nothing(store: Store, plan: Plan) -> None:
    pages = [make_item(number, f"crash {number} apples") for number in range(1, 6)]
    outcome = run_with(
        store, plan, [replace(i, title=f"crash of the {w}") for i, w in zip(pages, "abcde", strict=True)], max_items=2
    )
    assert (outcome.status, outcome.tally.counts["texts_asked"]) == ("stopped_budget", 2)
    assert outcome.tally.waiting_texts == {"kind": 3}


def test_texts_that_wait_are_those_of_the_labels_that_were_asked_for(store: Store, plan: Plan) -> None:
    wanted = [make_item(1, "crash", labels=("oncall",)), make_item(2, "Add", labels=("oncall",))]
    outcome = run_with(store, plan, [*wanted, make_item(3, "else")], labels=("oncall",), max_items=1)
    assert outcome.tally.waiting_texts == {"kind": 1}


def test_a_failed_request_is_no_answer_and_ends_as_partial(store: Store, plan: Plan) -> None:
    outcome = run_with(store, plan, [make_item(1, "fails")], classifier=FakeClassifier("claude"))
    assert (outcome.status, outcome.exit_code) == ("partial", 4)
    assert rows(store, "SELECT count(*) FROM classifications") == [(0,)]


def test_a_refusal_is_an_answer_that_is_not_asked_again(store: Store, plan: Plan) -> None:
    claude = FakeClassifier("claude")
    for _ in range(2):
        run_with(store, plan, [make_item(1, "refuse this")], classifier=claude)
    assert len(claude.asked) == 1
    assert documents(plan)["42-issue-1-kind"]["answer"] == "refused"


def test_without_a_sink_documents_wait_and_go_with_the_next_run(store: Store, plan: Plan) -> None:
    outcome = run_with(store, plan, [make_item(1, "crash")], sink=None)
    assert outcome.tally.waiting_documents is not None
    assert outcome.tally.waiting_documents >= 1
    run_with(store, plan)
    assert list(documents(plan)) == ["42-issue-1-kind"]


def test_a_fetch_alone_leaves_it_to_the_export_to_count_what_waits(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash")])
    outcome = run_with(store, plan, [make_item(1, "crash again")], tasks=(), classifier=None, sink=None)
    assert (outcome.status, outcome.tally.counts["items_changed"]) == ("ok", 1)
    assert outcome.tally.waiting_documents is None
    assert run_with(store, plan).tally.counts["documents_written"] >= 1


def test_a_refused_document_becomes_a_dead_letter_and_is_tried_again_when_it_changes(store: Store, plan: Plan) -> None:
    sink_of(plan).rejects.add("42-issue-1-kind")
    outcome = run_with(store, plan, [make_item(1, "crash"), make_item(2, "Add")])
    assert (outcome.status, outcome.tally.counts["dead_letters"]) == ("partial", 1)
    assert list(documents(plan)) == ["42-issue-2-kind"]
    assert run_with(store, plan).tally.counts["dead_letters"] == 0
    sink_of(plan).rejects.clear()
    run_with(store, plan, [make_item(1, "crash", labels=("x",), updated_at=START + timedelta(days=9))])
    assert set(documents(plan)) == {"42-issue-1-kind", "42-issue-2-kind"}


def test_a_sink_made_anew_gets_everything_again(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash")])
    anew = FakeSink("anew")
    run_with(store, plan, sink=anew)
    assert list(anew.documents["classifications"]) == ["42-issue-1-kind"]
    assert anew.documents["daily"].keys() == sink_of(plan).documents["daily"].keys()


def test_a_sink_that_is_away_loses_nothing(store: Store, plan: Plan) -> None:
    sink_of(plan).raises = UnavailableError("the sink is away")
    outcome = run_with(store, plan, [make_item(1, "crash")])
    assert (outcome.status, outcome.exit_code) == ("failed", 8)
    sink_of(plan).raises = None
    assert run_with(store, plan).status == "ok"
    assert list(documents(plan)) == ["42-issue-1-kind"]


def test_two_runs_of_one_scope_never_overlap(store: Store, plan: Plan) -> None:
    other = Store(url_of(store))
    assert other.try_lock("fetch fake octo/demo")
    outcome = run_with(store, plan, [make_item(1)])
    other.close()
    assert (outcome.status, outcome.exit_code) == ("locked", LockedError.exit_code)
    assert rows(store, "SELECT count(*) FROM items") == [(0,)]


def test_a_run_writes_no_record_beside_another_export_and_the_next_one_brings_it(store: Store, plan: Plan) -> None:
    """Another export may be a rebuild that switches the alias right then."""
    run_with(store, plan, [make_item(1)])
    before = set(sink_of(plan).documents["runs"])
    other = Store(url_of(store))
    assert other.try_lock("fetch fake octo/demo")
    assert other.try_lock(f"export {sink_of(plan).prepare()['classifications']}")
    locked = run_with(store, plan, [make_item(1)])
    other.close()
    assert locked.status == "locked"
    assert set(sink_of(plan).documents["runs"]) == before
    run_with(store, plan, [make_item(1)])
    told = [json.loads(held.source or "") for held in sink_of(plan).documents["runs"].values()]
    assert {one["run_id"]: one["status"] for one in told}[locked.run_id] == "locked"


def test_a_dead_runs_record_is_closed_and_its_claims_end(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash")], classifier=None)
    with store.transaction() as connection:
        connection.execute(text("INSERT INTO runs (command) VALUES ('killed')"))
        connection.execute(
            text(
                "INSERT INTO claims (text_id, task, run_id, expires_at)"
                " SELECT t.id, 'kind', r.id, now() + interval '1 hour' FROM texts t, runs r WHERE command = 'killed'"
            )
        )
    outcome = run_with(store, plan)
    assert outcome.tally.counts["texts_asked"] == 1
    assert rows(store, "SELECT status FROM runs WHERE command = 'killed'") == [("interrupted",)]


def test_a_living_runs_claims_are_left_alone(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash")], classifier=None)
    living = Store(url_of(store))
    with living.transaction() as connection:
        run_id = connection.execute(text("INSERT INTO runs (command) VALUES ('living') RETURNING id")).scalar_one()
        living.try_lock(f"run {run_id}")
        connection.execute(
            text(
                "INSERT INTO claims (text_id, task, run_id, expires_at)"
                " SELECT id, 'kind', :run, now() + interval '1 hour' FROM texts"
            ),
            {"run": run_id},
        )
    outcome = run_with(store, plan)
    assert outcome.tally.counts["texts_asked"] == 0
    living.close()


def test_a_dry_run_computes_everything_and_writes_nothing(store: Store, plan: Plan) -> None:
    outcome = run_with(store, plan, [make_item(1, "crash"), make_item(2, "Add")], dry_run=True)
    assert outcome.tally.counts["items_new"] == 2
    assert outcome.tally.counts["texts_asked"] == 2
    assert outcome.tally.waiting_documents
    assert sink_of(plan).pushed == 0
    for table in ("items", "texts", "classifications", "runs", "cursors", "tasks", "sinks"):
        assert rows(store, f"SELECT count(*) FROM {table}") == [(0,)]


def test_a_dry_run_never_asks_a_paid_classifier_and_says_what_it_would_cost(store: Store, plan: Plan) -> None:
    claude = FakeClassifier("claude")
    outcome = run_with(store, plan, [make_item(1, "crash"), make_item(2, "Add")], classifier=claude, dry_run=True)
    assert (claude.asked, outcome.tally.waiting_texts) == ([], {"kind": 2})
    assert outcome.tally.estimated_usd == pytest.approx(0.02)


def test_a_dry_run_counts_max_items_over_all_tasks_as_a_run_does(store: Store, plan: Plan, tmp_path: Path) -> None:
    second = write_task(tmp_path, TASK_FILE.replace(b'"kind"', b'"second"'), "second")
    page = [make_item(1, "crash"), make_item(2, "Add")]
    plan = replace(plan, tasks=(*plan.tasks, second), classifier=FakeClassifier("claude"), max_items=3)
    outcome = run_with(store, plan, page, dry_run=True)
    assert outcome.tally.waiting_texts == {"kind": 2, "second": 1}


def test_a_renamed_repository_keeps_its_rows_and_its_documents_follow(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash")])
    renamed = replace(REPOSITORY, full_name="octo/renamed")

    class Renamed(FakeSource):
        def streams(self, scope: Scope) -> Any:
            for stream in super().streams(scope):
                yield replace(stream, repository=renamed)

    run(store, replace(plan, repositories=(), fetches=(Fetch(Renamed([]), SCOPE),)), SilentProgress())
    assert {key: value["repository"] for key, value in documents(plan).items()} == {"42-issue-1-kind": "octo/renamed"}


def test_daily_counts_follow_opening_closing_and_reclassification(store: Store, plan: Plan) -> None:
    closed = make_item(1, "crash", state="closed", closed_at=START + timedelta(days=4))
    run_with(store, plan, [closed, make_item(2, "crash too")])
    days = {
        row.day.day: (row.opened, row.closed, row.open)
        for row in rows(
            store, "SELECT day, opened, closed, open FROM category_daily WHERE category = 'bug' AND day < '2026-01-12'"
        )
    }
    assert days == {6: (1, 0, 1), 7: (1, 0, 2), 8: (0, 0, 2), 9: (0, 1, 1), 10: (0, 0, 1), 11: (0, 0, 1)}
    run_with(store, plan, [make_item(2, "Add it", updated_at=START + timedelta(days=9))])
    held = {k: json.loads(v.source or "") for k, v in sink_of(plan).documents["daily"].items()}
    assert held["42-kind-bug-2026-01-11"]["open"] == 0
    assert held["42-kind-feature-2026-01-11"]["open"] == 1


def test_an_outdated_schema_is_refused_before_anything_is_done(empty_database_url: str, plan: Plan) -> None:
    store = Store(empty_database_url)
    with pytest.raises(ConfigurationError, match="issuetide db upgrade"):
        run(store, plan, SilentProgress())
    store.close()


def test_an_unexpected_error_still_closes_the_record(store: Store, plan: Plan) -> None:
    source = FakeSource([make_item(1)], raises={0: ZeroDivisionError()})
    with pytest.raises(ZeroDivisionError):
        run(store, replace(plan, fetches=(Fetch(source, SCOPE),)), SilentProgress())
    assert rows(store, "SELECT status FROM runs") == [("failed",)]
    assert "ZeroDivisionError" in rows(store, "SELECT error FROM runs")[0].error


def test_nothing_stored_of_a_named_repository_is_said(store: Store, plan: Plan) -> None:
    outcome = run_with(store, plan)
    assert outcome.exit_code == ConfigurationError.exit_code
    assert "octo/demo" in (outcome.error or "")


def test_a_stop_without_a_kind_fails_the_run_and_is_said(store: Store, plan: Plan) -> None:
    sink_of(plan).raises = StopError("the disk is full")
    outcome = run_with(store, plan, [make_item(1)])
    assert (outcome.status, outcome.exit_code, outcome.error) == ("failed", 1, "the disk is full")
    assert rows(store, "SELECT status, error FROM run_summary") == [("failed", "the disk is full")]


def test_a_sink_that_fails_is_not_waited_for_once_more_for_the_record_of_the_run(store: Store, plan: Plan) -> None:
    sink = sink_of(plan)
    sink.raises = UnavailableError("the sink is away")
    assert run_with(store, plan, [make_item(1)]).exit_code == UnavailableError.exit_code
    assert sink.prepared == 1
    sink.raises = None
    assert run_with(store, plan).status == "ok"
    assert len({json.loads(held.source or "")["run_id"] for held in sink.documents["runs"].values()}) == 2


def test_a_database_that_goes_away_during_a_run_is_an_outage(store: Store, plan: Plan) -> None:
    class Cutting(FakeSource):
        def fetch(self, *arguments: Any) -> Iterator[Any]:
            yield from super().fetch(*arguments)
            with store.transaction() as connection:
                connection.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )

    own = Store(url_of(store))
    outcome = run(own, replace(plan, fetches=(Fetch(Cutting([make_item(1)]), SCOPE),)), SilentProgress())
    own.close()
    assert (outcome.status, outcome.exit_code) == ("failed", UnavailableError.exit_code)
    assert rows(store, "SELECT count(*) FROM issues") == [(1,)]
    assert run_with(store, plan).status == "ok"
    assert len(documents(plan)) == 1


def test_a_dead_runs_record_says_what_its_answers_cost(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash"), make_item(2, "another crash")])
    with store.transaction() as connection:
        connection.execute(text("INSERT INTO runs (command, started_at) VALUES ('killed', now() - interval '1 hour')"))
        connection.execute(
            text(
                "UPDATE classifications SET run_id = (SELECT id FROM runs WHERE command = 'killed'), cost_usd = 0.25,"
                " input_tokens = 100, model = 'claude-haiku-5-5'"
            )
        )
    run_with(store, plan)
    found = rows(
        store, "SELECT status, texts_asked, input_tokens, cost_usd::float8, model FROM runs WHERE command = 'killed'"
    )
    assert found == [("interrupted", 2, 200, 0.5, "claude-haiku-5-5")]
    parts = "SELECT t.task, t.answers, t.cost_usd::float8 FROM run_tasks t JOIN runs r ON r.id = t.run_id"
    assert rows(store, f"{parts} WHERE r.command = 'killed'") == [("kind", 2, 0.5)]


@pytest.fixture(params=["insert_run", "close_run"])
def moment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The statement on the run's record right before which an interruption arrives."""
    ours, name = Interrupts(), str(request.param)
    write = getattr(run_queries, name)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        ours.handle(signal.SIGTERM, None)
        return write(*arguments, **options)

    monkeypatch.setattr(pipeline, "interrupts", ours)
    monkeypatch.setattr(run_queries, name, interrupted)
    return name


def test_an_interruption_while_the_record_is_written_leaves_none_open(store: Store, plan: Plan, moment: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_with(store, plan, [make_item(1, "crash")])
    status = "interrupted" if moment == "insert_run" else "ok"
    assert rows(store, "SELECT status, ended_at IS NULL FROM runs") == [(status, False)]


@pytest.mark.usefixtures("moment")
def test_an_interruption_while_the_record_of_a_failure_is_written_leaves_none_open(store: Store, plan: Plan) -> None:
    with pytest.raises(KeyboardInterrupt):
        record_failure(store, plan, ConfigurationError("no key"))
    assert rows(store, "SELECT status, ended_at IS NULL FROM runs") == [("failed", False)]


@pytest.mark.parametrize("error", [UnavailableError("the connection is broken"), AssertionError("not active")])
def test_an_interruption_that_a_library_turns_into_another_error_is_one_nevertheless(
    store: Store, plan: Plan, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    ours = Interrupts()

    def interrupted(*_: Any, **__: Any) -> None:
        with suppress(KeyboardInterrupt):
            ours.handle(signal.SIGTERM, None)
        raise error

    monkeypatch.setattr(pipeline, "interrupts", ours)
    monkeypatch.setattr(pipeline, "fetch_stage", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_with(store, plan, [make_item(1, "crash")])
    assert rows(store, "SELECT status, ended_at IS NULL FROM runs") == [("interrupted", False)]
    assert sink_of(plan).prepared == 0  # nothing was done after it
