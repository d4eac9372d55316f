"""The ledger of answers: what a row keeps, whose claims it ends, what it makes new."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from etl.db.queries.classifications import insert_answers
from etl.db.store import Store
from etl.pipeline import Fetch, Plan, run
from etl.records import Answer, Purpose, Scope, Usage
from etl.tasks import Task
from tests.fakes import FakeClassifier, FakeSource, SilentProgress, make_item, write_task

SCOPE = Scope(("octo/demo",))
RUN, OTHER_RUN = 71, 72


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url)
    yield store
    store.close()


@pytest.fixture
def task(store: Store, database_url: str, tmp_path: Path) -> Task:
    """The task, asked of three texts whose answers are forgotten again."""
    task = write_task(tmp_path)
    items = [make_item(number, f"It will crash {'again ' * number}") for number in (1, 2, 3)]
    own = Store(database_url)
    run(own, Plan("test", (Fetch(FakeSource(items), SCOPE),), (task,), FakeClassifier()), SilentProgress())
    own.close()
    execute(store, "DELETE FROM classifications")
    return task


def execute(store: Store, statement: str, **parameters: object) -> None:
    with store.transaction() as connection:
        connection.execute(text(statement), parameters)


def rows(store: Store, statement: str) -> list[tuple[Any, ...]]:
    with store.transaction() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def text_ids(store: Store) -> list[int]:
    return [row[0] for row in rows(store, "SELECT id FROM texts ORDER BY id")]


def versions(store: Store) -> list[int]:
    """Of the items, in the order of their texts."""
    joined = "items i JOIN item_texts t ON t.item_id = i.id"
    return [row[0] for row in rows(store, f"SELECT i.row_version FROM {joined} ORDER BY t.text_id")]


def claimed(store: Store) -> list[tuple[Any, ...]]:
    return rows(store, "SELECT text_id, run_id, batch_id FROM claims ORDER BY text_id")


def claim(store: Store, text_id: int, run_id: int, batch_id: int | None = None) -> None:
    execute(
        store,
        "INSERT INTO claims VALUES (:text_id, 'kind', :run_id, 'infinity', :batch_id)",
        text_id=text_id,
        run_id=run_id,
        batch_id=batch_id,
    )


def make_batch(store: Store) -> int:
    """A batch that is on its way."""
    with store.transaction() as connection:
        return int(
            connection.execute(
                text("""
                    INSERT INTO batches (task, task_version, task_sha256, prompt_version, classifier, model, token,
                                         requests, texts, reserved_usd, run_id)
                    VALUES ('kind', 1, '', 'k1', 'claude', 'model-1', 'token', 1, 1, 0.1, :run_id) RETURNING id
                """),
                {"run_id": RUN},
            ).scalar_one()
        )


def keep(store: Store, task: Task, *answers: Answer) -> None:
    with store.transaction() as connection:
        insert_answers(connection, task, answers, RUN)


def answer(text_id: int, **changes: Any) -> Answer:
    plain = Answer(
        text_id, "answered", (("bug", 0.9),), "why", "claude", "model-1", "k1", Usage(1, 2, 3, 4, 0.00000005)
    )
    return replace(plain, **changes)


def test_a_row_keeps_how_its_text_was_asked_about(store: Store, task: Task) -> None:
    first, second, third = text_ids(store)
    batch = make_batch(store)
    keep(
        store,
        task,
        answer(first, pack=5, redactions=2, truncated_chars=7),
        answer(second, batch_id=batch),
        answer(third, purpose="trial"),
    )
    columns = "text_id, pack, batch_id, purpose, redactions, truncated_chars, cost_usd::text"
    assert rows(store, f"SELECT {columns} FROM classifications ORDER BY id") == [
        (first, 5, None, "live", 2, 7, "0.00000005"),
        (second, 1, batch, "live", 0, 0, "0.00000005"),
        (third, 1, None, "trial", 0, 0, "0.00000005"),
    ]


def test_a_live_answer_ends_the_claim_of_its_run_or_of_its_batch_and_no_other(store: Store, task: Task) -> None:
    first, second, third = text_ids(store)
    batch = make_batch(store)
    claim(store, first, RUN)
    claim(store, second, RUN, batch)
    claim(store, third, OTHER_RUN)
    keep(store, task, answer(second), answer(third))
    assert claimed(store) == [(first, RUN, None), (second, RUN, batch), (third, OTHER_RUN, None)]
    keep(store, task, answer(first), answer(second, batch_id=batch))
    assert claimed(store) == [(third, OTHER_RUN, None)]


@pytest.mark.parametrize("purpose", ["trial", "audit"])
def test_an_answer_that_is_not_live_is_kept_and_changes_nothing_else(
    store: Store, task: Task, purpose: Purpose
) -> None:
    first, *_ = text_ids(store)
    claim(store, first, RUN)
    before = versions(store)
    keep(store, task, answer(first, purpose=purpose))
    assert rows(store, "SELECT purpose FROM classifications") == [(purpose,)]
    assert versions(store) == before
    assert claimed(store) == [(first, RUN, None)]
    assert rows(store, "SELECT count(*) FROM current_answers") == [(0,)]


def test_of_mixed_answers_only_items_of_the_live_ones_get_a_new_version(store: Store, task: Task) -> None:
    first, second, _ = text_ids(store)
    before = versions(store)
    keep(store, task, answer(first), answer(second, purpose="trial"))
    after = versions(store)
    assert after[0] > before[0]
    assert after[1:] == before[1:]
