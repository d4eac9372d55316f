"""Items in the database: arrays, keys and merges as they come back."""

import json

import pytest
from sqlalchemy import text

from etl.db.queries.items import resolve_repository, upsert_items
from etl.db.store import Store
from etl.records import Repository
from etl.sources.base import repository_key
from tests.fakes import REPOSITORY, make_item

HOSTILE = (
    "",
    " ",
    'a"b',
    "back\\slash",
    "{}",
    "{a,b}",
    "NULL",
    "null",
    "comma, here",
    "tab\there",
    "line\nbreak",
    "😀",
    "'",
)


@pytest.mark.parametrize("label", HOSTILE)
def test_a_label_comes_back_as_it_was(label: str, database_url: str) -> None:
    store = Store(database_url)
    with store.transaction() as connection:
        key = resolve_repository(connection, REPOSITORY).key
        upsert_items(connection, [make_item(1, labels=tuple(sorted((label, "other"))))], {REPOSITORY.key: key})
        found = connection.execute(text("SELECT labels FROM issues")).scalar_one()
    store.close()
    assert found == sorted((label, "other"))


def test_an_item_without_labels_has_an_empty_array(database_url: str) -> None:
    store = Store(database_url)
    with store.transaction() as connection:
        resolve_repository(connection, REPOSITORY)
        upsert_items(connection, [make_item(1)], {REPOSITORY.key: REPOSITORY.key})
        assert connection.execute(text("SELECT labels, assignees FROM issues")).one() == ([], [])
    store.close()


def test_long_bodies_and_payloads_are_not_compressed_on_their_way(database_url: str) -> None:
    store = Store(database_url)
    with store.transaction() as connection:
        resolve_repository(connection, REPOSITORY)
        item = make_item(1, body="again " * 1000, payload=json.dumps({"again": "again " * 1000}))
        upsert_items(connection, [item], {REPOSITORY.key: REPOSITORY.key})
        found = connection.execute(
            text("SELECT pg_column_compression(body), pg_column_compression(payload), body, payload FROM items")
        ).one()
    store.close()
    assert found == (None, None, item.body, item.payload)


def test_a_repository_from_a_file_keeps_its_key_when_its_id_becomes_known(database_url: str) -> None:
    nameless = Repository(repository_key("github.com", None, "Octo/Demo"), "github.com", None, "Octo/Demo")
    known = Repository(42, "github.com", 42, "octo/demo")
    store = Store(database_url)
    with store.transaction() as connection:
        first = resolve_repository(connection, nameless)
        second = resolve_repository(connection, known)
        third = resolve_repository(connection, nameless)
        rows = connection.execute(text("SELECT key, github_id FROM repositories")).all()
    store.close()
    assert first.key == second.key == third.key
    assert rows == [(first.key, 42)]


def test_a_name_that_another_repository_took_over_is_no_longer_that_of_the_first(database_url: str) -> None:
    store = Store(database_url)
    with store.transaction() as connection:
        resolve_repository(connection, Repository(1, "github.com", 1, "octo/demo"))
        resolve_repository(connection, Repository(2, "github.com", 2, "Octo/Demo"))
        rows = connection.execute(text("SELECT github_id, full_name FROM repositories ORDER BY 1")).all()
        assert rows == [(1, "octo/demo~1"), (2, "Octo/Demo")]
        resolve_repository(connection, Repository(1, "github.com", 1, "octo/elsewhere"))
        rows = connection.execute(text("SELECT github_id, full_name FROM repositories ORDER BY 1")).all()
    store.close()
    assert rows == [(1, "octo/elsewhere"), (2, "Octo/Demo")]


def test_the_same_number_on_two_hosts_is_two_repositories(database_url: str) -> None:
    enterprise = Repository(repository_key("git.acme.io", 42, "octo/demo"), "git.acme.io", 42, "octo/demo")
    store = Store(database_url)
    with store.transaction() as connection:
        keys = {resolve_repository(connection, entry).key for entry in (REPOSITORY, enterprise)}
    store.close()
    assert len(keys) == 2
