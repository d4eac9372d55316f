"""Kept objects that could not be used: tried again, and forgotten once they are stored."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from etl.db.queries.items import resolve_repository, upsert_items
from etl.db.queries.mirror import insert_rejected
from etl.db.store import Store
from etl.pipeline import Plan, RunOutcome, run
from etl.records import Origin, Rejected
from etl.sources.replay import parse_rejected
from tests.fakes import REPOSITORY, SilentProgress, make_comment, make_item
from tests.runs import rows, url_of


@pytest.fixture
def store(store: Store) -> Store:
    with store.transaction() as connection:
        resolve_repository(connection, REPOSITORY)
    return store


def keep(store: Store, *objects: Any, source: str = "github_issues", line: str = "what was wrong") -> None:
    with store.transaction() as connection:
        kept = [Rejected(line, entry if isinstance(entry, bytes) else json.dumps(entry).encode()) for entry in objects]
        insert_rejected(connection, source, REPOSITORY.key, "issues", kept)


def replay(store: Store, *names: str) -> RunOutcome:
    own = Store(url_of(store))
    try:
        return run(own, Plan("test", replay=parse_rejected, repositories=names), SilentProgress())
    finally:
        own.close()


def issue(number: int, **changes: Any) -> dict[str, Any]:
    return {"number": number, "title": f"Title {number}", "created_at": "2026-01-01T00:00:00Z", **changes}


COMMENT = {
    "id": 70,
    "issue_url": "https://api.github.com/repos/octo/demo/issues/1",
    "created_at": "2026-01-02T00:00:00Z",
}


def test_what_can_be_read_now_is_stored_with_its_text_and_forgotten(store: Store) -> None:
    keep(store, issue(1), COMMENT)
    outcome = replay(store)
    assert (outcome.status, outcome.tally.counts["items_new"]) == ("ok", 2)
    assert rows(store, "SELECT number, title FROM issues WHERE text_hash IS NOT NULL") == [(1, "Title 1")]
    assert rows(store, "SELECT external_id FROM items WHERE kind = 'comment'") == [(70,)]
    assert rows(store, "SELECT * FROM rejected_items") == []


@pytest.mark.parametrize("payload", [issue(1, title=None), b'{"number":1,"title":"cut', COMMENT])
def test_what_still_cannot_be_used_stays_and_is_named(store: Store, payload: Any) -> None:
    keep(store, payload, line="octo/demo: issue 1: why")
    outcome = replay(store)
    assert (outcome.status, outcome.tally.notes) == ("partial", ["still cannot be used: octo/demo: issue 1: why"])
    assert rows(store, "SELECT count(*) FROM rejected_items") == [(1,)]
    assert rows(store, "SELECT count(*) FROM items") == [(0,)]


def test_an_object_of_a_file_goes_to_the_repository_that_it_names(store: Store) -> None:
    keep(store, issue(3, html_url="https://github.com/octo/other/issues/3"), source="files")
    assert replay(store).status == "ok"
    assert rows(store, "SELECT repository, number FROM issues") == [("octo/other", 3)]


def test_an_object_of_the_api_goes_to_its_repository_by_whatever_name_that_had_then(store: Store) -> None:
    keep(store, issue(3, repository_url="https://api.github.com/repos/octo/former-name"))
    assert replay(store).status == "ok"
    assert rows(store, "SELECT repository, number FROM issues") == [("octo/demo", 3)]


def test_an_event_of_an_archive_is_read_as_one(store: Store) -> None:
    event = {
        "id": "123",
        "type": "IssuesEvent",
        "repo": {"id": 42, "name": "octo/demo"},
        "created_at": "2026-02-01T00:00:00Z",
        "payload": {
            "action": "closed",
            "issue": issue(4, body=None, labels=[], state="closed", closed_at="2026-02-01T00:00:00Z"),
        },
    }
    keep(store, event, source="files")
    assert replay(store).status == "ok"
    assert rows(store, "SELECT number, state FROM issues") == [(4, "closed")]
    assert rows(store, "SELECT kind FROM item_events WHERE source = 'archive'") == [("closed",)]


def test_only_the_named_repositories_are_replayed(store: Store) -> None:
    keep(store, issue(1))
    other = make_item(1)
    with store.transaction() as connection:
        upsert_items(connection, [other], {REPOSITORY.key: REPOSITORY.key}, "archive")
    assert rows(store, "SELECT count(*) FROM rejected_items") == [(1,)]
    with store.transaction() as connection:
        connection.execute(text("INSERT INTO repositories (key, host, full_name) VALUES (7, 'github.com', 'a/b')"))
    assert replay(store, "a/b").tally.counts["items_read"] == 0
    assert rows(store, "SELECT count(*) FROM rejected_items") == [(1,)]
    assert replay(store, "Octo/Demo").tally.counts["items_read"] == 1
    assert rows(store, "SELECT count(*) FROM rejected_items") == [(0,)]


def test_a_newer_state_that_is_stored_already_stands(store: Store) -> None:
    keep(store, issue(1, title="old"))
    with store.transaction() as connection:  # an archive, which forgets no kept object
        newer = make_item(1, "newer", updated_at=datetime(2026, 6, 1, tzinfo=UTC))
        upsert_items(connection, [newer], {REPOSITORY.key: REPOSITORY.key}, "archive")
    assert replay(store).status == "ok"
    assert rows(store, "SELECT title FROM issues") == [("newer",)]
    assert rows(store, "SELECT count(*) FROM rejected_items") == [(0,)]


@pytest.mark.parametrize(("origin", "left"), [("live", 1), ("file", 1), ("archive", 3)])
def test_a_kept_object_is_forgotten_once_the_same_thing_is_stored(store: Store, origin: Origin, left: int) -> None:
    keep(store, issue(1, title=None), {**COMMENT, "body": 5}, issue(2, title=None))
    later = datetime.now(UTC) - timedelta(days=1)
    with store.transaction() as connection:
        stored = [make_item(1, updated_at=later), make_comment(70, 1, "fine")]
        upsert_items(connection, stored, {REPOSITORY.key: REPOSITORY.key}, origin)
    assert rows(store, "SELECT count(*) FROM rejected_items") == [(left,)]


def test_more_than_a_portion_is_replayed_and_what_stays_does_not_stop_it(store: Store) -> None:
    keep(store, *(issue(number, title=None if number % 3 == 0 else "t") for number in range(1, 131)))
    outcome = replay(store)
    assert outcome.tally.counts["items_new"] == 87
    assert rows(store, "SELECT count(*) FROM rejected_items") == [(43,)]
