"""Hours of GH Archive end to end: history beside what GitHub itself gives, in any order, as often as one likes."""

import itertools
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from etl.db.queries.items import resolve_repository, upsert_cursor
from etl.db.store import Store
from etl.records import Repository, Scope, Stream
from etl.sources.base import Source
from etl.sources.files import Files
from etl.stages.base import Tally
from etl.stages.fetch import fetch_stage
from tests.archive_hours import NOON, comment_event, comment_object, issue_object, issues_event, write_hour
from tests.fakes import FakeSource, SilentProgress, make_comment, make_item
from tests.loopback.github_world import Repo

HOUR = 3600
DEMO = Repo(42, "octo/demo")
FORMER = Repo(42, "octo/former")
OTHER = Repo(43, "octo/other")
ISSUES = "SELECT number, title, state, labels, closed_at, updated_at FROM issues ORDER BY number"
COMMENTS = "SELECT external_id, parent_number, body FROM items WHERE kind = 'comment' ORDER BY external_id"
EVENTS = """
    SELECT i.external_id, e.kind, e.label, e.at, e.external_id
    FROM item_events e JOIN items i ON i.id = e.item_id WHERE e.source = 'archive' ORDER BY e.external_id
"""
TIMES = "SELECT number, state, first_closed_at, closed_at, reopened, hours_to_close FROM issue_times ORDER BY number"
NAMES = "SELECT key, github_id, full_name FROM repositories ORDER BY key"


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(NOON + seconds, UTC)


def hours(demo: Repo = DEMO) -> list[list[dict[str, Any]]]:
    """Three hours of one repository: an issue closed, reopened and closed again, a pull request, a deleted comment."""
    bug = {"name": "bug"}

    def first(at: int, **changes: Any) -> dict[str, Any]:
        return issue_object(demo, 1, at, created_at=NOON, **changes)

    second = issue_object(demo, 2, HOUR, created_at=NOON + HOUR)
    pull = issue_object(demo, 3, HOUR, created_at=NOON + HOUR, is_pull=True)
    labeled, late = ("bug",), 2 * HOUR
    return [
        [
            issues_event(10, demo, "opened", first(0)),
            issues_event(11, demo, "labeled", first(60, labels=labeled), 60, label=bug),
            comment_event(12, demo, first(600, labels=labeled), comment_object(demo, 501, 1), 600),
            issues_event(13, demo, "closed", first(600, labels=labeled, state="closed", closed_at=NOON + 600), 600),
            issues_event(14, OTHER, "opened", issue_object(OTHER, 1)),
        ],
        [
            issues_event(20, demo, "opened", second, HOUR),
            issues_event(21, demo, "reopened", first(HOUR + 60, labels=labeled), HOUR + 60),
            comment_event(22, demo, pull, comment_object(demo, 502, 3), HOUR),
            comment_event(23, demo, second, comment_object(demo, 503, 2), HOUR + 5, action="deleted"),
        ],
        [
            issues_event(30, demo, "unlabeled", first(late), late, label=bug),
            issues_event(31, demo, "closed", first(late + 9, state="closed", closed_at=NOON + late + 9), late + 9),
            issues_event(32, demo, "opened", issue_object(demo, 4, late), late),
        ],
    ]


class Desk:
    """A database, and the command that is called on it."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self.database_url = database_url
        self.folder = folder

    def fetch(self, *arguments: str, code: int = 0, data: bytes = b"") -> str:
        """`issuetide fetch`; what it wrote to standard error."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "COVERAGE_PROCESS_CONFIG") if name in os.environ}
        done = subprocess.run(
            [sys.executable, "-m", "etl.cli", "fetch", *arguments],
            env={**kept, "ISSUETIDE_DATA_DIR": str(self.folder / "data"), "DATABASE_URL": self.database_url},
            cwd=self.folder,
            input=data,
            capture_output=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stderr.decode()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What the database says."""
        return rows(self.database_url, statement)


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Desk:
    return Desk(database_url, tmp_path)


def rows(database_url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        return connection.execute(statement.encode()).fetchall()


def load(database_url: str, sources: Sequence[Source], scope: Scope) -> None:
    """Fetches from one source after the other, without the price of a process for each."""
    store = Store(database_url)
    try:
        for source in sources:
            fetch_stage(store, source, scope, Tally(), SilentProgress())
    finally:
        store.close()


def test_history_from_an_archive_stands_beside_what_github_gives_and_overwrites_nothing_newer(desk: Desk) -> None:
    newer = FakeSource([make_item(1, "Title now"), make_comment(501, 1, "Comment now")])
    load(desk.database_url, [newer], Scope())
    stored = "SELECT kind, external_id, title, body, updated_at FROM items WHERE external_id IN (1, 501) ORDER BY 2"
    before = desk.rows(stored)
    assert len(before) == 2
    for place, hour in enumerate(hours()):
        name = f"2024-01-15-{12 + place}.json.gz"
        write_hour(desk.folder, hour, name)
        desk.fetch("--input", name, "--repo", "octo/demo")
    assert desk.rows(NAMES) == [(42, 42, "octo/demo")]
    assert desk.rows(stored) == before
    assert desk.rows("SELECT number FROM issues ORDER BY number") == [(1,), (2,), (4,)]
    assert desk.rows(EVENTS) == [
        (1, "labeled", "bug", moment(60), 11),
        (1, "closed", None, moment(600), 13),
        (1, "reopened", None, moment(HOUR + 60), 21),
        (1, "unlabeled", "bug", moment(2 * HOUR), 30),
        (1, "closed", None, moment(2 * HOUR + 9), 31),
    ]


def test_hours_joined_by_cat_come_in_through_standard_input(desk: Desk) -> None:
    files = [write_hour(desk.folder, hour, f"{place}.json.gz") for place, hour in enumerate(hours())]
    joined = b"".join(path.read_bytes() for path in files)
    desk.fetch("--input", "-", "--repo", "octo/demo", "--kinds", "issue,pull_request", data=joined)
    assert [(row[0], row[2]) for row in desk.rows(ISSUES)] == [(1, "closed"), (2, "open"), (4, "open")]
    assert desk.rows(COMMENTS) == [(501, 1, "A comment"), (502, 3, "A comment")]
    assert desk.rows(NAMES) == [(42, 42, "octo/demo")]


def test_a_file_that_breaks_off_ends_as_partial_and_what_was_read_stays(desk: Desk) -> None:
    issues = [issues_event(n, DEMO, "opened", issue_object(DEMO, n)) for n in range(1, 2000)]
    path = write_hour(desk.folder, issues)
    path.write_bytes(path.read_bytes()[:-20_000])
    assert "Traceback" not in desk.fetch("--input", path.name, "--repo", "octo/demo", code=4)
    assert 20 < len(desk.rows(ISSUES)) < 1999
    ((notes,),) = desk.rows("SELECT notes FROM runs ORDER BY id DESC LIMIT 1")
    assert len(notes) == 1
    assert notes[0].startswith(f"{path.name} line")
    assert "the gzip data breaks off" in notes[0]


def test_the_order_of_files_and_reading_them_twice_change_nothing(
    postgres_server: str, migrated_template: str, tmp_path: Path
) -> None:
    paths = [write_hour(tmp_path, hour, f"{place}.json.gz") for place, hour in enumerate(hours())]
    scope = Scope(repositories=("octo/demo",), kinds=("issue", "pull_request"))
    stories = []
    for number, order in enumerate([*itertools.permutations(paths), [*paths, *paths]]):
        name = f"archive_{number}"
        url = urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {migrated_template}".encode())
        try:
            load(url, [Files(path) for path in order], scope)
            stories.append([rows(url, statement) for statement in (ISSUES, COMMENTS, EVENTS, TIMES, NAMES)])
        finally:
            with psycopg.connect(postgres_server, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    assert all(story == stories[0] for story in stories)
    issues, _, events, times, _ = stories[0]
    assert [row[:4] for row in issues] == [
        (1, "Title 1", "closed", []),
        (2, "Title 2", "open", []),
        (4, "Title 4", "open", []),
    ]
    assert len(events) == 5
    assert times[0][:5] == (1, "closed", moment(600), moment(2 * HOUR + 9), 1)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_newer_name_of_a_renamed_repository_stays(
    order: tuple[int, int], database_url: str, tmp_path: Path
) -> None:
    paths = [
        write_hour(tmp_path, [issues_event(1, FORMER, "opened", issue_object(FORMER, 1))], "0.json.gz"),
        write_hour(tmp_path, [issues_event(2, DEMO, "opened", issue_object(DEMO, 2, HOUR), HOUR)], "1.json.gz"),
    ]
    load(database_url, [Files(paths[place]) for place in order], Scope(repositories=("octo/former", "octo/demo")))
    assert rows(database_url, NAMES) == [(42, 42, "octo/demo")]
    assert rows(database_url, "SELECT number FROM issues ORDER BY number") == [(1,), (2,)]


def test_a_repository_that_github_called_otherwise_since_keeps_that_name(database_url: str, tmp_path: Path) -> None:
    path = write_hour(tmp_path, [issues_event(1, FORMER, "opened", issue_object(FORMER, 1))])
    load(database_url, [FakeSource([make_item(2)])], Scope())
    load(database_url, [Files(path)], Scope(repositories=("octo/former",)))
    assert rows(database_url, NAMES) == [(42, 42, "octo/demo")]
    assert rows(database_url, "SELECT repository, number FROM issues ORDER BY number") == [
        ("octo/demo", 1),
        ("octo/demo", 2),
    ]


def test_a_quiet_repository_keeps_the_name_it_had_when_its_list_was_read(database_url: str) -> None:
    store = Store(database_url)
    live = Repository(42, "github.com", 42, "octo/demo")
    former = replace(live, full_name="octo/former")
    try:
        with store.transaction() as connection:
            resolve_repository(connection, live)
            upsert_cursor(connection, Stream("github", live, "issues"), "cursor")
            assert resolve_repository(connection, former, moment(0)) == live
            assert resolve_repository(connection, former, datetime(2100, 1, 1, tzinfo=UTC)) == former
            assert resolve_repository(connection, live).full_name == "octo/demo"
    finally:
        store.close()


def test_an_hour_without_a_wanted_event_leaves_no_trace(database_url: str, tmp_path: Path) -> None:
    load(database_url, [Files(write_hour(tmp_path, hours()[0]))], Scope(repositories=("octo/none",)))
    assert rows(database_url, NAMES) == []
