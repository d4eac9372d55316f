"""What is known of the past of items: changes that were seen, told by a timeline, or found in an archive."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from etl.db.queries.history import insert_events, replace_history
from etl.db.queries.items import Merged, resolve_repository, upsert_items
from etl.db.store import Store
from etl.records import Event, EventKind, EventSource, Item, Link, Origin
from tests.fakes import REPOSITORY, START, make_item

HOUR = timedelta(hours=1)


class _Mirror:
    """A database and one repository in it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        with store.transaction() as connection:
            self.keys = {REPOSITORY.key: resolve_repository(connection, REPOSITORY).key}

    def put(self, *items: Item, origin: Origin = "live") -> Merged:
        with self.store.transaction() as connection:
            return upsert_items(connection, items, self.keys, origin)

    def rows(self, statement: str) -> list[Any]:
        with self.store.transaction() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def history(self) -> list[Any]:
        return self.rows("SELECT event, label, at, source FROM issue_events ORDER BY at, event")

    def item_id(self) -> int:
        return int(self.rows("SELECT id FROM items")[0][0])


@pytest.fixture
def mirror(database_url: str) -> Iterator[_Mirror]:
    store = Store(database_url)
    yield _Mirror(store)
    store.close()


def at(hours: float) -> datetime:
    return START + hours * HOUR


def issue(updated: float, closed: float | None = None, *, created: float = 0, **changes: Any) -> Item:
    state = "open" if closed is None else "closed"
    closed_at = None if closed is None else at(closed)
    return make_item(1, state=state, closed_at=closed_at, created_at=at(created), updated_at=at(updated), **changes)


def event(kind: EventKind, hours: float, source: EventSource, identity: int, label: str | None = None) -> Event:
    return Event(REPOSITORY, 1, kind, at(hours), label, source, identity)


def test_an_issue_first_seen_closed_was_closed_when_github_says(mirror: _Mirror) -> None:
    mirror.put(issue(9, closed=5))
    assert mirror.history() == [("closed", None, at(5), "observed")]


def test_closing_and_reopening_are_entered_as_they_are_seen(mirror: _Mirror) -> None:
    mirror.put(issue(1))
    mirror.put(issue(3, closed=2))
    mirror.put(issue(6))
    mirror.put(issue(9, closed=8))
    assert mirror.history() == [
        ("closed", None, at(2), "observed"),
        ("reopened", None, at(6), "observed"),
        ("closed", None, at(8), "observed"),
    ]


def test_a_change_of_anything_else_is_no_event(mirror: _Mirror) -> None:
    mirror.put(issue(3, closed=2))
    mirror.put(issue(4, closed=2, title="Another title"))
    assert len(mirror.history()) == 1


def test_a_reopening_that_nobody_saw_leaves_no_two_closings_in_a_row(mirror: _Mirror) -> None:
    mirror.put(issue(3, closed=2))
    mirror.put(issue(9, closed=8))
    assert [entry[0] for entry in mirror.rows("SELECT event FROM issue_events ORDER BY at, event DESC")] == [
        "closed",
        "reopened",
        "closed",
    ]
    assert mirror.rows("SELECT reopened FROM issue_times") == [(1,)]


def test_labels_that_came_and_went_are_entered_with_their_time(mirror: _Mirror) -> None:
    mirror.put(issue(1, labels=("a", "b")))
    mirror.put(issue(4, labels=("b", "c")))
    assert mirror.history() == [("labeled", "c", at(4), "observed"), ("unlabeled", "a", at(4), "observed")]


def test_an_older_state_changes_neither_row_nor_history(mirror: _Mirror) -> None:
    mirror.put(issue(6))
    merged = mirror.put(issue(5, closed=4))
    assert (merged.changed, mirror.history()) == (0, [])


def test_open_counts_per_day_follow_a_reopening(mirror: _Mirror) -> None:
    mirror.put(issue(1))
    mirror.put(issue(25, closed=24))
    mirror.put(issue(49, closed=None))
    days = mirror.rows("SELECT day, opened, closed, reopened, open FROM open_daily ORDER BY day LIMIT 3")
    first = START.date()
    assert days == [
        (first, 1, 0, 0, 1),
        (first + timedelta(days=1), 0, 1, 0, 0),
        (first + timedelta(days=2), 0, 0, 1, 1),
    ]


def test_the_last_open_count_is_the_number_of_open_issues(mirror: _Mirror) -> None:
    mirror.put(make_item(1), make_item(2, state="closed", closed_at=at(99), updated_at=at(99)), make_item(3))
    assert mirror.rows("SELECT open FROM open_daily ORDER BY day DESC LIMIT 1") == [(2,)]


def test_time_to_close_leaves_out_the_time_closed_in_between(mirror: _Mirror) -> None:
    mirror.put(issue(0))
    mirror.put(issue(2, closed=2))
    mirror.put(issue(10))
    mirror.put(issue(13, closed=13))
    first, hours, reopened = mirror.rows("SELECT first_closed_at, hours_to_close, reopened FROM issue_times")[0]
    assert (first, float(hours), reopened) == (at(2), 5.0, 1)


def test_a_timeline_takes_the_place_of_what_was_observed(mirror: _Mirror) -> None:
    mirror.put(issue(3, closed=2))
    mirror.put(issue(9, labels=("late",)))
    with mirror.store.transaction() as connection:
        told = [event("closed", 2, "timeline", 7), event("reopened", 5, "timeline", 8)]
        assert replace_history(connection, mirror.item_id(), at(9), told)
    assert mirror.history() == [("closed", None, at(2), "timeline"), ("reopened", None, at(5), "timeline")]


def test_a_timeline_that_lags_is_completed_by_the_state_that_was_seen(mirror: _Mirror) -> None:
    mirror.put(issue(9, closed=8))
    with mirror.store.transaction() as connection:
        replace_history(connection, mirror.item_id(), at(9), [])
    assert mirror.history() == [("closed", None, at(8), "observed")]


def test_a_timeline_that_says_the_same_leaves_the_documents_alone(mirror: _Mirror) -> None:
    mirror.put(issue(3, closed=2))
    version = mirror.rows("SELECT row_version FROM items")
    with mirror.store.transaction() as connection:
        assert not replace_history(connection, mirror.item_id(), at(3), [event("closed", 2, "timeline", 7)])
    assert mirror.rows("SELECT row_version FROM items") == version


def test_an_archive_dates_a_reopening_that_was_only_estimated(mirror: _Mirror) -> None:
    mirror.put(issue(3, closed=2))
    mirror.put(issue(20))
    told = [event("closed", 2, "archive", 70), event("reopened", 5, "archive", 80)]
    with mirror.store.transaction() as connection:
        assert insert_events(connection, told, mirror.keys) == 2
        assert insert_events(connection, told, mirror.keys) == 0
    assert [(entry[0], entry[2]) for entry in mirror.history()] == [("closed", at(2)), ("reopened", at(5))]


def test_an_archive_row_replaces_only_older_ones(mirror: _Mirror) -> None:
    mirror.put(issue(3, title="Live"))
    assert mirror.put(issue(3, title="Archived"), origin="archive").changed == 0
    assert mirror.put(issue(4, title="Later"), origin="archive").changed == 1


@pytest.mark.parametrize("origin", ["file", "archive"])
def test_a_dump_does_not_bring_back_what_vanished_since(mirror: _Mirror, origin: Origin) -> None:
    mirror.put(issue(3))
    mirror.rows("UPDATE items SET tombstone = 'deleted', tombstoned_at = now() RETURNING 1")
    mirror.put(issue(4, title="Later"), origin=origin)
    assert mirror.rows("SELECT tombstone FROM items") == [("deleted",)]
    assert mirror.put(issue(4, title="Later")).returned == 1
    assert mirror.rows("SELECT tombstone FROM items") == [(None,)]


def test_the_links_of_a_pull_request_are_those_of_its_text_today(mirror: _Mirror) -> None:
    first = make_item(1, kind="pull_request", links=(Link("fixes", "octo/demo", 7), Link("fixes", "o/n", 8)))
    mirror.put(first)
    assert mirror.rows("SELECT fixes FROM pull_requests") == [(["o/n#8", "octo/demo#7"],)]
    mirror.put(make_item(1, kind="pull_request", updated_at=at(99), links=(Link("fixes", "o/n", 8),)))
    assert mirror.rows("SELECT fixes FROM pull_requests") == [(["o/n#8"],)]


def test_a_merged_pull_request_says_so(mirror: _Mirror) -> None:
    mirror.put(make_item(1, kind="pull_request", state="closed", closed_at=at(50), merged_at=at(50)))
    assert mirror.rows("SELECT status, merged_at FROM pull_requests") == [("merged", at(50))]
