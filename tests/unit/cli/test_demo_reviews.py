"""What invented people say of the demo's answers is stored once, and never over what somebody has said."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from etl.cli.demo_reviews import store_demo_reviews
from etl.cli.output import print_demo_outcome
from etl.db.queries.purges import StoredItem, select_items
from etl.db.store import Store
from etl.pipeline import Fetch, Plan, RunOutcome, run
from etl.records import Scope
from etl.stages.annotations import override_item, withdraw_override
from etl.stages.decisions import Named, Signed
from etl.stages.purge import purge_item
from etl.tasks import Task
from tests.fakes import FakeClassifier, FakeSource, SilentProgress, make_item, write_task

ANA, BEN = "ana (invented)", "ben (invented)"
SAID = ((1, "bug", ANA, "review"), (2, "uncertain", ANA, "review"), (1, "feature", BEN, "review"))
OVERRIDES = ((3, "feature", ANA, "override"), (4, "bug", BEN, "override"))


def content(*rows: tuple[int, str, str, str]) -> str:
    return "".join(
        json.dumps(
            {"document_id": f"42-issue-{number}-kind", "category": category, "why": "so", "by": by, "role": role}
        )
        + "\n"
        for number, category, by, role in rows
    )


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return write_task(tmp_path)


@pytest.fixture
def store(database_url: str, task: Task) -> Iterator[Store]:
    source = FakeSource([make_item(number) for number in range(1, 5)])
    fetches = (Fetch(source, Scope(("octo/demo",))),)
    own = Store(database_url)
    outcome = run(own, Plan("test", fetches, (task,), FakeClassifier()), SilentProgress())
    own.close()
    assert outcome.exit_code == 0, outcome.error
    store = Store(database_url)
    yield store
    store.close()


def standing(store: Store) -> list[tuple[object, ...]]:
    """Number, first category, annotator and role of what holds."""
    with store.transaction() as connection:
        rows = connection.execute(
            text("""
                SELECT i.external_id, coalesce(n.categories[1], ''), n.annotator, n.role
                FROM annotations n JOIN items i ON i.id = n.item_id WHERE n.withdrawn_at IS NULL ORDER BY n.id
            """)
        )
        return [tuple(row) for row in rows]


def stored(store: Store, number: int) -> StoredItem:
    with store.transaction() as connection:
        (item,) = select_items(connection, "octo/demo", number)
    return item


def named(store: Store, number: int) -> Named:
    return Named(f"octo/demo#{number}", stored(store, number).ids)


def test_reviews_measure_and_overrides_win_each_by_whoever_its_line_names(store: Store, task: Task) -> None:
    assert store_demo_reviews(store, {"kind": task}, content(*SAID, *OVERRIDES)) == 5
    assert standing(store) == [
        (1, "bug", ANA, "review"),
        (2, "", ANA, "review"),
        (1, "feature", BEN, "review"),
        *OVERRIDES,
    ]


def test_nothing_is_said_twice(store: Store, task: Task) -> None:
    store_demo_reviews(store, {"kind": task}, content(*SAID, *OVERRIDES))
    before = standing(store)
    assert store_demo_reviews(store, {"kind": task}, content(*SAID, *OVERRIDES)) == 0
    assert standing(store) == before
    assert store_demo_reviews(store, {"kind": task}, content(*SAID, (2, "bug", BEN, "review"))) == 1, "but what is new"


def test_an_override_of_ones_own_and_one_that_was_withdrawn_stay_as_they_are(store: Store, task: Task) -> None:
    mine = Signed("me", "I know better")
    override_item(store, named(store, 3), task, ("bug",), mine)
    assert store_demo_reviews(store, {"kind": task}, content(*OVERRIDES)) == 1
    withdraw_override(store, named(store, 4), task, mine)
    assert store_demo_reviews(store, {"kind": task}, content(*OVERRIDES)) == 0
    assert standing(store) == [(3, "bug", "me", "override")]


def test_issues_that_were_purged_or_are_not_stored_are_passed_over(store: Store, task: Task) -> None:
    purge_item(store, stored(store, 1), "asked for")
    said = content(*SAID, (99, "bug", ANA, "review"), (98, "bug", BEN, "override"), *OVERRIDES)
    assert store_demo_reviews(store, {"kind": task}, said) == 3
    assert {row[0] for row in standing(store)} == {2, 3, 4}


@pytest.mark.parametrize(("error", "decides"), [(None, 1), ("OpenSearch does not answer", 2)])
def test_the_json_of_the_demo_is_one_object_and_of_the_run_that_decides(
    store: Store, capsys: pytest.CaptureFixture[str], error: str | None, decides: int
) -> None:
    code = 8 if error else 0
    exported = RunOutcome(2, "failed" if error else "ok", code, error=error)
    print_demo_outcome(store, Plan("demo"), RunOutcome(1, "ok", 0), exported, 88, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["run_id"], told["error"]) == (decides, error)


def test_what_was_said_and_why_it_is_not_in_the_index_is_told(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    exported = RunOutcome(2, "failed", 8, error="OpenSearch does not answer")
    print_demo_outcome(store, Plan("demo"), RunOutcome(1, "ok", 0), exported, 88, as_json=False)
    told = capsys.readouterr()
    assert "  reviewed    88 answers, by invented people; run 2 exported 0 documents\n" in told.out
    assert told.err == "issuetide: OpenSearch does not answer\n"
