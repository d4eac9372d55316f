"""Erasing an item: what is left of it in the whole database, and that nothing brings it back."""

import json
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from etl.db.queries.history import insert_events, replace_history
from etl.db.queries.items import upsert_items
from etl.db.queries.mirror import insert_rejected
from etl.db.queries.purges import StoredItem, number_of, select_items, tells_of
from etl.db.queries.texts import take_queued_items
from etl.db.store import Store
from etl.errors import LockedError
from etl.pipeline import Plan
from etl.records import Event, Origin, Rejected
from etl.stages.item_texts import store_texts
from etl.stages.purge import Purged, purge_item
from tests.dump import dump_database
from tests.fakes import (
    REPOSITORY,
    START,
    FakeClassifier,
    FakeSink,
    make_comment,
    make_item,
    write_task,
)
from tests.runs import rows, run_with, url_of

SECRET = "zanzibar"
"""A word of the item that is purged, and of nothing else."""
TASK_WITH_COMMENTS = b"""
name = "kind"
version = 1
title = "Kind"
question = "What is it?"
answers = "one_of"
input = "issue_with_comments"
[[categories]]
id = "bug"
definition = "Something is broken."
"""


class Quoting(FakeClassifier):
    """Gives the text it was asked about as its reason, as models like to do."""

    def _answer(self, text: Any) -> Any:
        return replace(super()._answer(text), rationale=f"it says: {text.body}")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    task = write_task(tmp_path, TASK_WITH_COMMENTS)
    return Plan("test", tasks=(task,), classifier=Quoting(), sink=FakeSink(), repositories=("octo/demo",))


def held(plan: Plan) -> set[str]:
    assert isinstance(plan.sink, FakeSink)
    return set(plan.sink.documents["classifications"])


def found(store: Store, number: int = 1) -> StoredItem:
    with store.transaction() as connection:
        (item,) = select_items(connection, "Octo/Demo", number)
    return item


def purge(store: Store, number: int = 1) -> Purged:
    return purge_item(store, found(store, number), "asked for")


def dump(store: Store) -> str:
    return dump_database(url_of(store).replace("+psycopg", ""))


def mentions(store: Store) -> list[str]:
    """The lines of the dump that hold the secret."""
    return [line for line in dump(store).splitlines() if SECRET in line]


def secret_item(**changes: Any) -> Any:
    """Issue 1 with the secret in everything that a stranger may write."""
    given: dict[str, Any] = {
        "title": f"{SECRET} crash",
        "body": f"body of {SECRET}",
        "author": f"{SECRET}-author",
        "labels": (f"{SECRET}-label",),
        "assignees": (f"{SECRET}-assignee",),
        "url": f"https://github.com/octo/demo/issues/1?{SECRET}",
        "payload": json.dumps({"milestone": SECRET}),
        "comments": 2,
    }
    return make_item(1, **{**given, **changes})


def fill(store: Store, plan: Plan) -> None:
    """Issue 1 with the secret wherever it can get to, and issue 2 without it."""
    later = START + timedelta(days=40)
    comments = [make_comment(11, 1, f"comment of {SECRET}"), make_comment(12, 2, "harmless")]
    run_with(store, plan, [secret_item(), make_item(2, "Two", "body of two"), *comments])
    edited = secret_item(body=f"another body of {SECRET}", labels=(f"{SECRET}-other",), updated_at=later)
    run_with(store, plan, [edited, make_comment(11, 1, f"{SECRET} edited", updated_at=later)])
    with store.transaction() as connection:
        insert_rejected(
            connection,
            "github_issues",
            42,
            "issues",
            [
                Rejected("issue 1: title is not a text", json.dumps({"number": 1, "title": [SECRET]}).encode()),
                Rejected("comment 13: x", json.dumps({"id": 13, "issue_url": "x/issues/1", "body": SECRET}).encode()),
                Rejected("not JSON", f'{{"number": 1, "title": "{SECRET}'.encode()),
                Rejected("issue 2: title is missing", b'{"number":2,"milestone":{"number":1}}'),
            ],
        )
        insert_events(
            connection,
            [Event(REPOSITORY, 1, "labeled", START, f"{SECRET}-event", "timeline", 5)],
            {REPOSITORY.key: REPOSITORY.key},
        )
        for statement in (
            f"""INSERT INTO annotations (item_id, task, annotator, role, categories, reason)
                SELECT id, 'kind', 'ann', 'review', '{{bug}}', '{SECRET}' FROM items WHERE external_id = 1""",
            f"INSERT INTO dead_letters SELECT id, '42-issue-1-kind', 1, 'value {SECRET}', 1 FROM sinks LIMIT 1",
            f"""UPDATE runs SET notes = '["dead letter 42-issue-1-kind: {SECRET}", "kept"]' WHERE id = 1""",
            f"INSERT INTO item_links SELECT id, 'transferred_to', '{SECRET}/x', 9 FROM items WHERE external_id = 1",
        ):
            connection.execute(text(statement.replace(":", "\\:")))
        connection.execute(text("ANALYZE"))


def test_a_purge_leaves_no_word_of_the_item_in_the_database_nor_in_the_sink(store: Store, plan: Plan) -> None:
    fill(store, plan)
    assert len(mentions(store)) > 20
    purged = purge(store)
    assert mentions(store) == []
    # Two inputs, each before and after the edit, and with the comment before and after its own.
    assert (purged.comments, purged.texts, purged.reworded, purged.rejected) == (1, 4, 0, 3)
    assert [(holder.sink, holder.documents) for holder in purged.holders] == [("memory/fake-classifications-v1", 1)]
    assert rows(
        store,
        "SELECT kind, external_id, tombstone, title, url FROM items WHERE tombstone IS NOT NULL ORDER BY kind DESC",
    ) == [
        ("issue", 1, "purged", None, None),
        ("comment", 11, "purged", None, None),
    ]
    assert rows(store, "SELECT number, reason, purged_why FROM vanished_items") == [(1, "purged", "asked for")]
    assert rows(store, "SELECT line FROM rejected_items") == [("issue 2: title is missing",)]
    assert rows(store, "SELECT notes FROM runs WHERE id = 1") == [(["on an item that was purged since", "kept"],)]
    assert held(plan) == {"42-issue-1-kind", "42-issue-2-kind"}
    assert run_with(store, plan).status == "ok"
    assert held(plan) == {"42-issue-2-kind"}
    assert mentions(store) == []


def test_a_deletion_is_sent_once(store: Store, plan: Plan) -> None:
    fill(store, plan)
    purge(store)
    run_with(store, plan)
    outcome = run_with(store, plan)
    assert outcome.tally.counts["documents_written"] == 0
    assert purge(store).holders == ()
    assert run_with(store, plan).tally.counts["documents_written"] == 0


def test_a_document_that_is_written_by_a_run_which_read_before_the_purge_is_deleted_too(
    store: Store, plan: Plan
) -> None:
    run_with(store, replace(plan, sink=None), [secret_item()])
    assert isinstance(plan.sink, FakeSink)
    plan.sink.identity = "1"
    run_with(store, plan, [make_item(2)])
    with store.transaction() as connection:
        connection.execute(text("DELETE FROM exports WHERE document_id LIKE '42-issue-1-%'"))
        version = connection.execute(text("SELECT row_version FROM items WHERE external_id = 1")).scalar_one()
    assert purge(store).holders == ()
    with store.transaction() as connection:  # the other run's export, acknowledged only now
        connection.execute(
            text("INSERT INTO exports SELECT id, '42-issue-1-kind', :v FROM sinks WHERE identity LIKE '%class%'"),
            {"v": version},
        )
    run_with(store, plan)
    assert held(plan) == {"42-issue-2-kind"}


@pytest.mark.parametrize("origin", ["live", "file", "archive"])
@pytest.mark.parametrize("kind", ["issue", "pull_request"])
def test_nothing_fills_a_stub_again(store: Store, plan: Plan, origin: Origin, kind: Any) -> None:
    fill(store, plan)
    purge(store)
    before = rows(store, "SELECT * FROM items ORDER BY id")
    newer = START + timedelta(days=900)
    with store.transaction() as connection:
        item_id = connection.execute(text("SELECT id FROM items WHERE external_id = 1 AND kind = 'issue'")).scalar_one()
        merged = upsert_items(
            connection,
            [secret_item(kind=kind, updated_at=newer), make_comment(14, 1, SECRET), make_comment(11, 1, f"{SECRET}!")],
            {REPOSITORY.key: REPOSITORY.key},
            origin,
        )
        events = [Event(REPOSITORY, 1, "labeled", newer, SECRET, "archive", 77)]
        assert insert_events(connection, events, {REPOSITORY.key: REPOSITORY.key}) == 0
        assert replace_history(connection, item_id, newer, events) is False
        rejected = [Rejected("x", json.dumps({"number": 1, "title": [SECRET]}).encode())]
        insert_rejected(connection, "github_issues", 42, "issues", rejected)
    assert (merged.new, merged.changed) == (0, 0)
    assert rows(store, "SELECT * FROM items ORDER BY id") == before
    assert mentions(store) == []
    run_with(store, plan, [secret_item(updated_at=newer)])
    assert mentions(store) == []
    assert held(plan) == {"42-issue-2-kind"}


def test_a_shared_text_keeps_its_hash_and_its_answer_and_gets_the_words_of_the_other_item(
    store: Store, plan: Plan
) -> None:
    first = make_item(1, f"Build crash in /home/{SECRET}/x", "same")
    second = make_item(2, "Build crash in /home/other/x", "same")
    run_with(store, plan, [first])
    run_with(store, plan, [second])
    assert rows(store, "SELECT count(DISTINCT text_id) FROM item_texts WHERE input = 'issue'") == [(1,)]
    hashes = rows(store, "SELECT text_hash FROM texts ORDER BY id")
    purged = purge(store)
    assert (purged.texts, purged.reworded) == (0, 2)
    assert rows(store, "SELECT text_hash FROM texts ORDER BY id") == hashes
    assert all("/home/other/x" in body for (body,) in rows(store, "SELECT body FROM texts"))
    assert mentions(store) == []
    outcome = run_with(store, plan)
    assert outcome.tally.counts["texts_asked"] == 0
    assert held(plan) == {"42-issue-2-kind"}
    assert isinstance(plan.sink, FakeSink)
    assert SECRET not in str(plan.sink.documents)


def test_a_shared_text_that_came_from_the_other_item_keeps_the_reasons_of_its_answers(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(2, "Same words")])
    run_with(store, plan, [make_item(1, "Same words")])
    before = rows(store, "SELECT rationale FROM classifications")
    assert purge(store).reworded == 0
    assert rows(store, "SELECT rationale FROM classifications") == before != []


def test_the_words_that_an_item_once_gave_to_a_shared_text_go_with_it(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, f"Build crash in /home/{SECRET}/x")])
    run_with(store, plan, [make_item(2, "Build crash in /home/other/x")])
    run_with(store, plan, [make_item(1, "Now of something else", updated_at=START + timedelta(days=400))])
    assert mentions(store)
    assert purge(store).reworded == 2
    assert mentions(store) == []


def test_a_text_that_no_other_item_makes_any_more_is_made_anew_with_the_next_run(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "Same words"), make_item(2, "Same words")])
    with store.transaction() as connection:  # as if the rules of dedup had changed since
        connection.execute(text("UPDATE texts SET text_hash = '0:' || id"))
    assert purge(store).texts == 2
    run_with(store, plan)
    wordings = "SELECT x.body FROM texts x JOIN item_texts it ON it.text_id = x.id WHERE it.input = 'issue'"
    assert rows(store, wordings) == [("Same words",)]


def test_texts_that_nobody_knows_whose_they_were_are_emptied_as_well(store: Store, plan: Plan) -> None:
    fill(store, plan)
    with store.transaction() as connection:  # as a database of the release before this one has it
        connection.execute(text("TRUNCATE former_texts"))
    purge(store)
    assert mentions(store) == []


def test_what_the_answers_cost_stays_in_the_ledger(store: Store, plan: Plan) -> None:
    paid = replace(plan, classifier=Quoting("claude"))
    fill(store, paid)
    before = rows(store, "SELECT count(*), sum(cost_usd), sum(output_tokens) FROM classifications")
    purge(store)
    assert rows(store, "SELECT count(*), sum(cost_usd), sum(output_tokens) FROM classifications") == before


def test_an_item_that_is_being_asked_about_is_not_purged_and_nothing_is_erased(store: Store, plan: Plan) -> None:
    fill(store, plan)
    other = Store(url_of(store))
    assert other.try_lock("run 77")
    with store.transaction() as connection:
        connection.execute(text("INSERT INTO runs (id, command) OVERRIDING SYSTEM VALUE VALUES (77, 'x')"))
        connection.execute(text("INSERT INTO claims SELECT min(id), 'kind', 77, now() FROM texts"))
    before = dump(store)
    with pytest.raises(LockedError, match=r"run 77 is asking about a text of octo/demo#1.*nothing was erased"):
        purge(store)
    assert dump(store) == before
    other.close()
    purge(store)
    assert mentions(store) == []


def test_texts_that_are_being_made_while_the_item_is_purged_do_not_outlive_it(store: Store, plan: Plan) -> None:
    fill(store, plan)
    with store.transaction() as connection:
        upsert_items(
            connection,
            [secret_item(body=f"third body of {SECRET}", updated_at=START + timedelta(days=50))],
            {REPOSITORY.key: REPOSITORY.key},
        )
    item = found(store)
    purging = threading.Thread(target=purge_item, args=(store, item, "asked for"))
    with store.transaction() as connection:
        (taken,) = take_queued_items(connection, 10, 10)
        purging.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while purging.is_alive() and rows(store, waiting) == [(0,)]:
            purging.join(0.01)
        store_texts(connection, [taken], ["issue"])
    purging.join()
    assert mentions(store) == []


def test_a_purge_that_breaks_off_has_erased_nothing(store: Store, plan: Plan) -> None:
    fill(store, plan)
    with store.transaction() as connection:
        connection.execute(
            text("""
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'the power is cut'; END $$
            """)
        )
        # The last statement but two.
        connection.execute(
            text("CREATE TRIGGER refuse BEFORE UPDATE OF notes ON runs FOR EACH STATEMENT EXECUTE FUNCTION refuse()")
        )
    before = dump(store)
    with pytest.raises(Exception, match="the power is cut"):
        purge(store)
    assert dump(store) == before


def test_purging_twice_is_harmless(store: Store, plan: Plan) -> None:
    fill(store, plan)
    purge(store)
    run_with(store, plan)
    assert found(store).tombstone == "purged"
    again = purge_item(store, found(store), "another reason")
    assert (again.comments, again.texts, again.rejected, again.holders) == (0, 0, 0, ())
    assert rows(store, "SELECT reason FROM purges") == [("another reason",)]


def test_counts_and_documents_of_a_purged_item_are_gone_from_the_trends(store: Store, plan: Plan) -> None:
    fill(store, plan)
    purge(store)
    run_with(store, plan)
    assert rows(store, "SELECT max(opened), max(open) FROM category_daily") == [(1, 1)]
    assert rows(store, "SELECT document_id FROM document_versions") == [("42-issue-2-kind",)]


@pytest.mark.parametrize(
    ("payload", "number"),
    [
        ('{"number":12}', 12),
        ('{"number":5,"milestone":{"number":12}}', 5),
        ('{"id":3,"issue_url":"https://api.github.com/repos/o/n/issues/12"}', 12),
        ('{"type":"IssuesEvent","payload":{"issue":{"number":12}}}', 12),
        ('{"type":"PushEvent","payload":{"number":12}}', None),
        ('{"title":"no number"}', None),
        ("[12]", None),
        ("{", None),
    ],
)
def test_an_object_tells_its_number_where_it_can_be_read(payload: str, number: int | None) -> None:
    assert number_of(payload.encode()) == number


@pytest.mark.parametrize(
    ("payload", "is_told"),
    [
        (b'{"number": 12, "title": "cut', True),
        (b'{"number":123,"title":"cut', False),
        (b'{"html_url":"https://github.com/o/n/issues/12","title":"cut', True),
        (b'{"html_url":"https://github.com/o/n/pull/12#issuecomment-5', True),
        (b'{"id":12,"title":"cut', False),
        (b'{"number":5,"milestone":{"number":12}}', False),
    ],
)
def test_what_cannot_be_read_tells_of_a_number_that_stands_in_it(payload: bytes, is_told: bool) -> None:
    assert tells_of(payload, 12) is is_told
