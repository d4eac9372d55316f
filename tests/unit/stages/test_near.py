"""The near stage on a real PostgreSQL: pairs, documents, edits, purges, and two runs at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from etl import near
from etl.db.queries import near as near_queries
from etl.db.queries import purges
from etl.db.queries.inspection import select_explanation
from etl.db.queries.items import resolve_repository
from etl.db.store import Store, serialize_item_writers
from etl.pipeline import Plan, run
from etl.stages import near as near_stage_module
from etl.stages.base import Tally
from etl.stages.near import near_stage
from tests.fakes import (
    REPOSITORY,
    START,
    FakeClassifier,
    FakeSink,
    SilentProgress,
    make_item,
    write_task,
)
from tests.runs import rows, run_items
from tests.unit.test_near import body, changed

LONG = body(1)
COPY = changed(LONG, 0.02)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan("test", tasks=(write_task(tmp_path),), classifier=FakeClassifier(), sink=FakeSink(), near=True)


def document(plan: Plan, number: int) -> dict[str, Any]:
    assert isinstance(plan.sink, FakeSink)
    found: dict[str, Any] = json.loads(plan.sink.documents["classifications"][f"42-issue-{number}-kind"].source or "")
    return found


def near_of(plan: Plan, number: int) -> tuple[Any, Any]:
    return document(plan, number).get("near_count"), document(plan, number).get("near_of")


PAIRS = "SELECT number, other_number, other_is_older FROM near_duplicates ORDER BY 1, 2"


def test_an_edited_copy_is_found_and_shown_in_view_and_documents(store: Store, plan: Plan) -> None:
    outcome = run_items(
        store, plan, make_item(1, "One", LONG), make_item(2, "Two", COPY), make_item(3, "Three", body(3))
    )
    assert (outcome.tally.counts["texts_compared"], outcome.tally.counts["near_pairs"]) == (3, 1)
    assert rows(store, PAIRS) == [(1, 2, False), (2, 1, True)]
    ((score,), (other,)) = rows(store, "SELECT score FROM near_duplicates")
    assert near.MIN_SCORE <= score == other < 1
    assert near_of(plan, 1) == (1, None)
    assert near_of(plan, 2) == (1, "octo/demo#1")
    assert near_of(plan, 3) == (None, None)


def test_a_suggestion_is_no_answer(store: Store, plan: Plan) -> None:
    run_items(store, plan, make_item(1, "One", LONG), make_item(2, "Two", COPY))
    assert isinstance(plan.classifier, FakeClassifier)
    assert len(plan.classifier.asked) == 2


def test_a_later_run_compares_only_what_is_new_with_all_that_was(store: Store, plan: Plan) -> None:
    run_items(store, plan, make_item(1, "One", LONG))
    before = document(plan, 1)["row_version"]
    outcome = run_items(store, plan, make_item(1, "One", LONG), make_item(2, "Two", COPY))
    assert outcome.tally.counts["texts_compared"] == 1
    assert near_of(plan, 1) == (1, None)
    assert document(plan, 1)["row_version"] > before


def test_a_quiet_run_changes_no_row_and_loads_no_library(
    store: Store, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = (make_item(1, "One", LONG), make_item(2, "Two", COPY), make_item(3, "Short", "crash"))
    run_items(store, plan, *items)
    tables = ("near_signatures", "near_bands", "near_texts", "near_items", "items")
    before = {name: rows(store, f"SELECT xmin, * FROM {name} ORDER BY 2, 3") for name in tables}
    monkeypatch.setattr(near, "_library", lambda: pytest.fail("loaded"))
    outcome = run_items(store, plan, *items)
    assert outcome.tally.counts["texts_compared"] == 0
    assert {name: rows(store, f"SELECT xmin, * FROM {name} ORDER BY 2, 3") for name in tables} == before


def test_a_run_that_is_not_told_to_looks_for_nothing(store: Store, plan: Plan) -> None:
    run_items(store, replace(plan, near=False), make_item(1, "One", LONG), make_item(2, "Two", COPY))
    assert rows(store, "SELECT count(*) FROM near_signatures") == [(0,)]


def test_a_dry_run_counts_and_leaves_nothing(store: Store, plan: Plan) -> None:
    outcome = run_items(store, plan, make_item(1, "One", LONG), make_item(2, "Two", COPY), dry_run=True)
    assert outcome.tally.counts["near_pairs"] == 1
    assert rows(store, "SELECT count(*) FROM near_signatures") == [(0,)]


def test_an_edit_that_makes_it_another_text_ends_the_pair_in_the_documents_of_both(store: Store, plan: Plan) -> None:
    run_items(store, plan, make_item(1, "One", LONG), make_item(2, "Two", COPY))
    run_items(store, plan, make_item(2, "Two", body(9), updated_at=START + timedelta(days=9)))
    assert rows(store, PAIRS) == []
    assert near_of(plan, 1) == near_of(plan, 2) == (None, None)


def test_an_issue_that_vanished_is_near_to_nobody(store: Store, plan: Plan) -> None:
    run_items(store, plan, make_item(1, "One", LONG), make_item(2, "Two", COPY))
    with store.transaction() as connection:
        connection.execute(text("UPDATE items SET tombstone = 'deleted' WHERE external_id = 1"))
    run_items(store, plan)
    assert rows(store, PAIRS) == []
    assert near_of(plan, 2) == (None, None)


def test_a_renamed_repository_is_named_as_it_is_called_now(store: Store, plan: Plan) -> None:
    run_items(store, plan, make_item(1, "One", LONG), make_item(2, "Two", COPY))
    with store.transaction() as connection:
        resolve_repository(connection, replace(REPOSITORY, full_name="octo/new"))
    run(store, plan, SilentProgress())
    assert near_of(plan, 2) == (1, "octo/new#1")


def test_every_issue_with_a_near_text_counts_and_the_oldest_is_named(store: Store, plan: Plan) -> None:
    items = [make_item(number, "Same", LONG) for number in (1, 2, 3)]
    run_items(store, plan, *items, make_item(4, "Same", COPY), make_item(5, "Same", COPY))
    assert near_of(plan, 4) == near_of(plan, 5) == (3, "octo/demo#1")
    assert near_of(plan, 3) == (2, None)


def test_a_flood_of_alike_texts_is_compared_with_the_oldest_only(
    store: Store, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_queries, "MOST_PER_BAND", 3)
    items = [make_item(number, "Flood", changed(LONG, 0.004, number)) for number in range(1, 31)]
    run_items(store, plan, *items)
    ((pairs,),) = rows(store, "SELECT count(*) FROM near_texts")
    assert 27 <= pairs <= 30 * 3 * 3
    assert near_of(plan, 30)[1] == "octo/demo#1"


def test_a_stage_that_is_killed_between_portions_is_finished_by_the_next(
    store: Store, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_stage_module, "_PORTION", 2)
    items = [make_item(number, "Flood", changed(LONG, 0.01, number)) for number in range(1, 8)]
    run_items(store, replace(plan, near=False), *items)
    real, seen = near_queries.select_candidates, []

    def fail_at_the_third(connection: Any, signed: Any) -> Any:
        seen.append(signed)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(connection, signed)

    monkeypatch.setattr(near_queries, "select_candidates", fail_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        near_stage(store, Tally(), SilentProgress())
    assert rows(store, "SELECT count(*) FROM near_signatures") == [(4,)]
    monkeypatch.setattr(near_queries, "select_candidates", real)
    tally = Tally()
    near_stage(store, tally, SilentProgress())
    assert tally.counts["texts_compared"] == 3
    assert rows(store, "SELECT count(*) FROM near_texts") == [(7 * 6 / 2,)]


def test_a_signature_of_an_older_version_is_made_anew_and_its_pairs_with_it(store: Store, plan: Plan) -> None:
    items = (make_item(1, "One", LONG), make_item(2, "Two", COPY))
    run_items(store, plan, *items)
    with store.transaction() as connection:
        connection.execute(text("UPDATE near_signatures SET version = version - 1"))
        connection.execute(text("UPDATE near_texts SET score = 0"))
    outcome = run_items(store, plan, *items)
    assert outcome.tally.counts["texts_compared"] == 2
    assert rows(store, "SELECT score > 0.8 FROM near_texts") == [(True,)]


def test_a_text_that_people_split_off_is_not_suggested_again(store: Store, plan: Plan) -> None:
    run_items(store, replace(plan, near=False), make_item(1, "One", LONG), make_item(2, "Two", COPY))
    with store.transaction() as connection:
        connection.execute(
            text("UPDATE texts SET text_hash = text_hash || '~2' WHERE id = (SELECT max(id) FROM texts)")
        )
    near_stage(store, Tally(), SilentProgress())
    assert rows(store, "SELECT count(*) FROM near_signatures") == [(1,)]


def test_a_purge_takes_the_signature_the_pairs_and_what_the_document_said(store: Store, plan: Plan) -> None:
    run_items(store, plan, make_item(1, "One", LONG), make_item(2, "Two", COPY))
    with store.transaction() as connection:
        (item,) = purges.select_items(connection, "octo/demo", 1)
        serialize_item_writers(connection)
        purges.erase_texts(connection, [entry.id for entry in purges.select_texts(connection, item)])
        purges.erase_item(connection, item, "test")
    assert rows(store, "SELECT count(*) FROM near_signatures") == [(1,)]
    assert rows(store, "SELECT count(*) FROM near_texts") == [(0,)]
    assert rows(store, "SELECT i.external_id FROM near_items n JOIN items i ON i.id = n.item_id") == [(2,)]
    run_items(store, plan)
    assert near_of(plan, 2) == (None, None)


def test_explaining_an_issue_names_those_that_are_near(store: Store, plan: Plan) -> None:
    run_items(store, plan, make_item(1, "One", LONG), make_item(2, "Two", COPY))
    with store.transaction() as connection:
        (item,) = purges.select_items(connection, "OCTO/demo", 2)
        found = select_explanation(connection, item.ids[0])
    (other,) = found.near
    assert (other["repository"], other["number"], other["title"], other["older"]) == ("octo/demo", 1, "One", True)


def test_two_runs_at_once_compare_every_text_once_and_miss_no_pair(
    store: Store, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_stage_module, "_PORTION", 2)
    run_items(store, replace(plan, near=False), *(make_item(n, "Flood", changed(LONG, 0.01, n)) for n in range(1, 13)))
    tallies = Tally(), Tally()
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(near_stage, store, tally, SilentProgress()) for tally in tallies]:
            done.result()
    assert sum(tally.counts["texts_compared"] for tally in tallies) == 12
    assert rows(store, "SELECT count(*) FROM near_texts") == [(12 * 11 / 2,)]
