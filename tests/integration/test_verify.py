"""`verify`: every kind of planted difference between GitHub, PostgreSQL and OpenSearch is found, and --fix mends it.

The plants share one world: what --fix mends must leave it whole for the next one.
"""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from tests.conftest import new_database
from tests.integration.world import REPOSITORY, World, fill, make_world

pytestmark = pytest.mark.opensearch

ISSUES = 30
PULL = ISSUES + 1
LONG_AGO = 86_400 * 40

Found = set[tuple[str, str, str]]
"""Check, what and id of each difference."""


@contextmanager
def whole_world(database_url: str, opensearch_url: str, folder: Path) -> Iterator[World]:
    """A repository with issues, a pull request, comments and history, mirrored and exported whole."""
    with make_world(database_url, opensearch_url, folder) as world:
        github = world.github
        fill(world, ISSUES, comments=6)
        then = int(github.now()) - LONG_AGO
        for number in (3, 4, 5):
            github.close_issue(REPOSITORY, number, at=then + number)
        github.reopen_issue(REPOSITORY, 5, at=then + 500)
        github.add_issue(REPOSITORY, "Mend the parser", "Fixes #3", created_at=then, is_pull=True)
        for number in range(1, 7):  # their comments are of now, which would make them too new to be judged
            github.edit_issue(REPOSITORY, number, updated_at=then + 1000 + number)
        world.run("--kinds", "issue,pull_request", "--classifier", "rules", ISSUETIDE_TIMELINES="all")
        yield world


@pytest.fixture(scope="module")
def shared(
    postgres_server: str, migrated_template: str, opensearch_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    for database_url in new_database(postgres_server, migrated_template):
        with whole_world(database_url, opensearch_url, tmp_path_factory.mktemp("verify")) as world:
            yield world


@pytest.fixture
def world(database_url: str, opensearch_url: str, tmp_path: Path) -> Iterator[World]:
    with whole_world(database_url, opensearch_url, tmp_path) as world:
        yield world


def verify(world: World, *arguments: str, code: int, **changes: str) -> dict[str, Any]:
    """`issuetide verify --json`; what it prints."""
    done = world.command("verify", "--json", *arguments, **changes)
    assert done.returncode == code, done.stdout + done.stderr
    values: dict[str, Any] = json.loads(done.stdout)
    assert values["exit_code"] == code
    return values


def entries(values: dict[str, Any], part: str = "differences", where: str = "repositories") -> list[dict[str, str]]:
    return [each for comparison in values[where] for each in comparison[part]]


def found(values: dict[str, Any], part: str = "differences", where: str = "repositories") -> Found:
    return {(each["check"], each["what"], each["id"]) for each in entries(values, part, where)}


def execute(world: World, statement: str) -> None:
    """Changes the database by hand; at least one row."""
    with psycopg.connect(world.database_url) as connection:
        assert connection.execute(statement.encode()).rowcount > 0, statement


def item_id(number: int) -> str:
    """The subquery for the id of an issue."""
    return f"(SELECT id FROM items WHERE kind = 'issue' AND external_id = {number})"


def document(world: World, number: int) -> str:
    (repository_key,) = world.rows("SELECT key FROM repositories WHERE full_name = 'octo/demo'")[0]
    return f"{repository_key}-issue-{number}-issue_kind"


def put(world: World, index: str, identity: str, version: int | None = None) -> None:
    """Writes a document by hand, with a version of its own or the next."""
    address = f"{world.opensearch_url}/{world.prefix}-{index}-v1/_doc/{identity}"
    options = {} if version is None else {"version": str(version), "version_type": "external"}
    requests.put(address, json={"row_version": 1}, params=options, timeout=120).raise_for_status()


def delete(world: World, index: str, identity: str) -> None:
    """Deletes a document by hand."""
    address = f"{world.opensearch_url}/{world.prefix}-{index}-v1/_doc/{identity}"
    requests.delete(address, timeout=120).raise_for_status()


def delete_long_ago(world: World, index: str, identity: str) -> None:
    """Deletes a document by hand, and what OpenSearch remembers of its version for a minute."""
    address = f"{world.opensearch_url}/{world.prefix}-{index}-v1"
    requests.put(f"{address}/_settings", json={"index.gc_deletes": "0s"}, timeout=120).raise_for_status()
    delete(world, index, identity)
    older = {"version": "1", "version_type": "external"}
    status = 409
    while status == 409:  # as long as it remembers; its clock for that moves five times a second
        time.sleep(0.3)
        requests.post(f"{address}/_refresh", timeout=120).raise_for_status()
        status = requests.delete(f"{address}/_doc/{identity}", params=older, timeout=120).status_code
    assert status == 404
    requests.put(f"{address}/_settings", json={"index.gc_deletes": None}, timeout=120).raise_for_status()


def check_whole(world: World) -> None:
    """GitHub, PostgreSQL and OpenSearch agree, by other means than those of `verify`."""
    issues = world.github.truth(REPOSITORY)["issues"]
    stored = world.rows("SELECT external_id, title, body, state, labels, comments FROM items "
                        "WHERE kind <> 'comment' AND tombstone IS NULL AND repository_key IN "
                        "(SELECT key FROM repositories WHERE full_name = 'octo/demo')")  # fmt: skip
    assert {row[0]: row[1:] for row in stored} == {
        number: (issue["title"], issue["body"], issue["state"], issue["labels"], issue["comments"])
        for number, issue in issues.items()
    }
    comments = world.github.truth(REPOSITORY)["comments"]
    assert dict(world.rows("SELECT external_id, body FROM items WHERE kind = 'comment' AND tombstone IS NULL")) == {
        identity: comment["body"] for identity, comment in comments.items()
    }
    documents = {f"{held['number']}": held["row_version"] for held in world.documents().values()}
    assert documents == dict(
        world.rows("SELECT i.external_id::text, i.row_version FROM items i JOIN item_texts t ON t.item_id = i.id "
                   "WHERE i.kind = 'issue' AND t.input = 'issue'")
    )  # fmt: skip
    assert len(world.documents("daily")) == world.rows("SELECT count(*) FROM daily_counts")[0][0]
    exporting = "SELECT count(*) FROM runs WHERE command LIKE '% run %' OR command LIKE '%--fix%'"
    assert len(world.documents("runs")) >= world.rows(exporting)[0][0]


Plant = Callable[[World], Found]
PLANTS: list[Plant] = []


def plant(function: Plant) -> Plant:
    """Enters a difference: how it comes about, giving what is to be found of it."""
    PLANTS.append(function)
    return function


@plant
def a_row_is_lost(world: World) -> Found:
    execute(world, "DELETE FROM items WHERE kind = 'issue' AND external_id = 8")
    return {("missing", "issue", "8"), ("extra", "classifications", document(world, 8))}


@plant
def an_issue_is_deleted(world: World) -> Found:
    world.github.delete_issue(REPOSITORY, 20)
    return {("vanished", "issue", "20")}


@plant
def an_issue_is_hidden(world: World) -> Found:
    world.github.hide_issue(REPOSITORY, 21)
    return {("vanished", "issue", "21")}


@plant
def an_issue_is_transferred(world: World) -> Found:
    world.github.add_repository("octo/other")
    world.github.transfer_issue(REPOSITORY, 22, "octo/other")
    return {("vanished", "issue", "22")}


@plant
def an_issue_is_buried_alive(world: World) -> Found:
    execute(world, f"UPDATE items SET tombstone = 'deleted', tombstoned_at = now() WHERE id = {item_id(23)}")
    return {("tombstoned", "issue", "23")}


@plant
def a_state_is_another(world: World) -> Found:
    execute(world, f"UPDATE items SET state = 'closed' WHERE id = {item_id(7)}")
    return {("state", "issue", "7"), ("history", "issue", "7"), ("open_count", "issue", "")}


@plant
def an_issue_is_closed_in_silence(world: World) -> Found:
    world.github.edit_issue(REPOSITORY, 9, at=int(world.github.now()) - LONG_AGO, bump=False, state="closed")
    return {("state", "issue", "9")}


@plant
def a_label_is_renamed(world: World) -> Found:
    world.github.rename_label(REPOSITORY, "triaged", "seen")
    issues = world.github.truth(REPOSITORY)["issues"]
    return {("content", "issue", str(number)) for number, issue in issues.items() if "seen" in issue["labels"]}


@plant
def a_title_is_spoiled(world: World) -> Found:
    execute(world, "UPDATE items SET title = 'spoiled' WHERE kind = 'pull_request'")
    return {("content", "pull_request", str(PULL))}


@plant
def a_row_is_newer_than_at_github(world: World) -> Found:
    execute(world, f"UPDATE items SET updated_at = now() + interval '1 day', body = 'x' WHERE id = {item_id(10)}")
    return {("content", "issue", "10")}


@plant
def a_comment_is_deleted(world: World) -> Found:
    world.github.delete_comment(REPOSITORY, min(world.github.repository(REPOSITORY).comments))
    return {("comments", "issue", "1")}


@plant
def a_comment_is_lost(world: World) -> Found:
    execute(world, "DELETE FROM items WHERE kind = 'comment' AND parent_number = 2")
    return {("comments", "issue", "2")}


@plant
def a_text_is_lost(world: World) -> Found:
    execute(world, f"DELETE FROM item_texts WHERE item_id = {item_id(14)}")
    return {("text", "issue", "14"), ("extra", "classifications", document(world, 14))}


@plant
def a_history_is_lost(world: World) -> Found:
    execute(world, f"DELETE FROM item_events WHERE item_id = {item_id(4)}")
    return {("history", "issue", "4"), ("open_count", "issue", "")}


@plant
def a_document_is_lost(world: World) -> Found:
    delete(world, "classifications", document(world, 11))
    return {("absent", "classifications", document(world, 11))}


@plant
def a_document_is_old(world: World) -> Found:
    execute(world, f"UPDATE items SET row_version = row_version + 7 WHERE id = {item_id(12)}")
    execute(world, f"UPDATE exports SET row_version = row_version + 7 WHERE document_id = '{document(world, 12)}'")
    return {("version", "classifications", document(world, 12))}


@plant
def a_document_is_newer_than_here(world: World) -> Found:
    put(world, "classifications", document(world, 13), 2**61)
    return {("version", "classifications", document(world, 13))}


@plant
def a_day_is_newer_than_here(world: World) -> Found:
    day = max(world.documents("daily"))
    put(world, "daily", day, 2**61)
    return {("version", "daily", day)}


@plant
def a_document_and_the_memory_of_it_are_lost(world: World) -> Found:
    delete(world, "classifications", document(world, 15))
    execute(world, f"DELETE FROM exports WHERE document_id = '{document(world, 15)}'")
    return {("unsent", "classifications", document(world, 15))}


@plant
def a_document_was_refused(world: World) -> Found:
    identity = document(world, 16)
    delete(world, "classifications", identity)
    execute(
        world,
        "INSERT INTO dead_letters (sink_id, document_id, row_version, reason, run_id)"
        f" SELECT sink_id, document_id, row_version, 'planted', 1 FROM exports WHERE document_id = '{identity}'",
    )
    execute(world, f"DELETE FROM exports WHERE document_id = '{identity}'")
    return {("refused", "classifications", identity)}


@plant
def a_strange_document(world: World) -> Found:
    put(world, "classifications", "1-issue-1-gone")
    return {("extra", "classifications", "1-issue-1-gone")}


@plant
def a_strange_day(world: World) -> Found:
    put(world, "daily", "of nobody")
    return {("extra", "daily", "of nobody")}


@plant
def a_record_of_a_run_is_lost(world: World) -> Found:
    identity = min(world.documents("runs"))
    delete_long_ago(world, "runs", identity)
    return {("absent", "runs", identity)}


@plant
def an_export_of_nothing(world: World) -> Found:
    execute(
        world,
        "INSERT INTO exports (sink_id, document_id, row_version)"
        f" SELECT sink_id, '1-issue-2-gone', 5 FROM exports WHERE document_id = '{document(world, 1)}'",
    )
    return {("orphaned", "classifications", "1-issue-2-gone")}


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_difference_is_found_and_mended(shared: World, plant: Plant) -> None:
    expected = plant(shared)
    values = verify(shared, code=9)
    assert found(values) == expected
    assert values["status"] == "partial"
    assert not values["held"]
    fixed = verify(shared, "--fix", code=0)
    assert fixed["held"]
    assert found(fixed) == set()
    assert found(fixed, where="found") <= expected
    assert entries(fixed, where="found")
    check_whole(shared)


def test_a_true_mirror_holds_and_says_so(shared: World) -> None:
    check_whole(shared)
    done = shared.command("verify")
    assert done.returncode == 0, done.stderr
    assert "it holds, GitHub and PostgreSQL and OpenSearch agree" in done.stdout
    assert "differences" in done.stdout  # the column of the table
    record = shared.rows("SELECT command, status, repositories, api_calls FROM runs ORDER BY id DESC LIMIT 1")[0]
    assert record[0].endswith("verify")
    assert record[1:] == ("ok", [REPOSITORY], 2)


def test_a_table_shows_each_place_and_examples(shared: World) -> None:
    expected = a_document_is_lost(shared)
    done = shared.command("verify", COLUMNS="160")
    assert done.returncode == 9
    assert "issues and pull requests with comments" in done.stdout
    (identity,) = (identity for _, _, identity in expected)
    shown = " ".join(done.stdout.split())
    assert f"classifications: believed to be in OpenSearch, but not there 1: {identity}" in shown
    assert "1 difference; --fix mends it" in shown
    mended = shared.command("verify", "--fix")
    assert mended.returncode == 0
    assert "Mended and compared again: nothing is left." in mended.stdout


def test_what_changed_since_the_last_run_is_behind_and_no_fault(world: World) -> None:
    new = world.github.add_issue(REPOSITORY, "It crashes anew")
    world.github.edit_issue(REPOSITORY, 17, title="It crashes otherwise")
    world.github.add_comment(REPOSITORY, 18, "One more")
    values = verify(world, code=0)
    assert values["held"]
    assert found(values, "behind") == {
        ("missing", "issue", str(new)),
        ("content", "issue", "17"),
        ("comments", "issue", "18"),
        ("content", "issue", "18"),
    }
    verify(world, "--fix", code=0)
    assert found(verify(world, code=0), "behind") == found(values, "behind")
    world.run("--kinds", "issue,pull_request", "--classifier", "rules")
    assert found(verify(world, code=0), "behind") == set()
    check_whole(world)


def test_what_was_fetched_since_the_last_export_is_behind(world: World) -> None:
    world.github.edit_issue(REPOSITORY, 17, title="It crashes otherwise")
    world.github.add_issue(REPOSITORY, "It crashes anew")
    fetched = world.command("fetch", "--repo", REPOSITORY, "--kinds", "issue,pull_request")
    assert fetched.returncode == 0, fetched.stderr
    assert found(verify(world, code=0), "behind") == {
        ("version", "classifications", document(world, 17)),
        ("unsent", "classifications", document(world, ISSUES + 2)),
    }


def test_an_index_that_was_deleted_is_no_true_copy(world: World) -> None:
    index = f"{world.opensearch_url}/{world.prefix}-classifications-v1"
    requests.delete(index, timeout=120).raise_for_status()
    before = world.rows("SELECT max(row_version), (SELECT count(*) FROM sinks) FROM items")
    for _ in range(2):
        values = verify(world, code=9)
        assert found(values) == {("no_index", "classifications", "")} | {
            ("unsent", "classifications", document(world, number)) for number in range(1, ISSUES + 1)
        }
        assert requests.head(index, timeout=120).status_code == 404  # it only looked
    shown = world.command("verify", COLUMNS="200").stdout
    assert "classifications: not in OpenSearch, or not under its name" in shown
    assert f"{world.prefix}-classifications" in shown
    assert world.rows("SELECT max(row_version), (SELECT count(*) FROM sinks) FROM items") == before
    fixed = verify(world, "--fix", code=0)
    assert ("no_index", "classifications", "") in found(fixed, where="found")
    assert world.rows("SELECT max(row_version) FROM items") == [before[0][:1]]  # all is sent as it is
    check_whole(world)


def test_an_index_that_lost_its_name_is_no_true_copy_and_gets_it_back(world: World) -> None:
    alias = f"{world.opensearch_url}/{world.prefix}-daily-v1/_alias/{world.prefix}-daily"
    requests.delete(alias, timeout=120).raise_for_status()
    assert ("no_index", "daily", "") in found(verify(world, "--repo", REPOSITORY, code=9))
    assert requests.head(alias, timeout=120).status_code == 404  # it only looked
    fixed = verify(world, "--fix", code=0)
    assert found(fixed, where="found") == {("no_index", "daily", "")}
    assert requests.head(alias, timeout=120).status_code == 200
    check_whole(world)


def test_where_nothing_was_exported_yet_nothing_is_made(world: World) -> None:
    prefix = f"{world.prefix}x"
    values = verify(world, code=9, ISSUETIDE_INDEX_PREFIX=prefix)
    assert {what for check, what, _ in found(values) if check == "no_index"} == {"classifications", "daily", "runs"}
    assert requests.head(f"{world.opensearch_url}/{prefix}-runs-v1", timeout=120).status_code == 404


def test_records_of_runs_that_wait_are_counted(world: World) -> None:
    verify(world, code=0)
    assert "\n1 record of a run waits for the next export\n" in world.command("verify").stdout
    assert "\n2 records of runs wait for the next export\n" in world.command("verify").stdout


@pytest.mark.parametrize("option", [[], ["--fix"]])
def test_a_repository_out_of_reach_has_no_vanished_items(shared: World, option: list[str]) -> None:
    shared.github.block_repository(REPOSITORY)
    try:
        values = verify(shared, *option, code=3)
    finally:
        shared.github.unblock_repository(REPOSITORY)
    assert found(values) == set()
    assert not values["held"]
    (compared,) = (each for each in values["repositories"] if each["repository"] == REPOSITORY)
    assert compared["github"] == "nothing"
    assert REPOSITORY in compared["why"]
    assert compared["counts"]["documents classifications"]["opensearch"] is not None
    check_whole(shared)
    assert verify(shared, code=0)["held"]


def test_a_repository_that_goes_out_of_reach_while_items_are_asked_for_buries_none(world: World) -> None:
    world.github.delete_issue(REPOSITORY, 20)
    world.github.hide_issue(REPOSITORY, 21)

    def block(request: Any) -> None:
        if request.path.endswith("/issues/20"):
            world.github.block_repository(REPOSITORY)

    world.github.before_response = block
    values = verify(world, "--fix", code=3)
    assert found(values) == set()
    assert world.rows("SELECT count(*) FROM items WHERE tombstone IS NOT NULL") == [(0,)]
    world.github.before_response = None
    world.github.unblock_repository(REPOSITORY)
    assert found(verify(world, code=9)) == {("vanished", "issue", "20"), ("vanished", "issue", "21")}


def test_switched_off_issues_are_not_vanished(shared: World) -> None:
    shared.github.switch_issues(REPOSITORY, on=False)
    try:
        values = verify(shared, "--fix", code=4)
    finally:
        shared.github.switch_issues(REPOSITORY, on=True)
    assert found(values) == set()
    assert "switched off" in values["repositories"][0]["why"]
    check_whole(shared)


def test_a_cap_on_calls_ends_it_and_says_what_was_compared(world: World) -> None:
    world.github.add_repository("octo/many")
    for number in range(120):
        world.github.add_issue("octo/many", f"Title {number}", created_at=int(world.github.now()) - LONG_AGO + number)
    fetched = world.command("fetch", "--repo", "octo/many")
    assert fetched.returncode == 0, fetched.stderr
    world.github.delete_issue("octo/many", 3)
    values = verify(world, "--repo", "octo/many", "--max-calls", "2", "--no-index", code=5)
    (compared,) = values["repositories"]
    assert compared["github"] == "partly"
    assert compared["counts"]["issue open"] == {"github": 100, "postgresql": 120, "opensearch": None}
    assert compared["differences"] == []  # what the rest of the list holds is not known
    assert values["api_calls"] == 2
    assert found(verify(world, "--repo", "octo/many", "--no-index", code=9)) == {("vanished", "issue", "3")}


def test_another_run_on_the_same_repository_is_left_alone(shared: World) -> None:
    from etl.db.store import Store

    other = Store(shared.database_url)
    try:
        assert other.try_lock(f"fetch github_issues {REPOSITORY}")
        assert shared.command("verify").returncode == 7
    finally:
        other.close()


def test_without_an_index_the_rest_is_compared_and_that_is_said(shared: World) -> None:
    for arguments, changes, why in (
        (["--no-index"], {}, "it is left out (--no-index)"),
        ([], {"OPENSEARCH_URL": ""}, "OPENSEARCH_URL is not set"),
    ):
        done = shared.command("verify", *arguments, **changes)
        assert done.returncode == 0, done.stderr
        assert f"OpenSearch was not compared: {why}" in done.stdout
        assert "GitHub and PostgreSQL agree" in done.stdout


def test_an_index_that_cannot_be_read_leaves_the_rest_compared(shared: World) -> None:
    values = verify(shared, code=3, OPENSEARCH_URL=shared.github.url)
    assert not values["index"]
    assert not values["held"]
    assert "no OpenSearch" in values["error"]
    assert values["repositories"][0]["github"] == "all"


def test_a_repository_that_is_not_stored_is_named(shared: World) -> None:
    done = shared.command("verify", "--repo", "octo/unknown")
    assert done.returncode == 3
    assert "nothing is stored of octo/unknown" in done.stderr


def test_a_purged_item_is_left_out(world: World) -> None:
    purged = world.command("purge", f"{REPOSITORY}#19", "--why", "a test", "--yes")
    assert purged.returncode == 0, purged.stderr
    values = verify(world, code=0)
    assert values["repositories"][0]["aside"]["purged"] == 1
    verify(world, "--fix", code=0)
    assert world.rows("SELECT title, tombstone FROM items WHERE external_id = 19") == [(None, "purged")]


def test_comments_that_github_counts_but_does_not_list_are_no_difference(world: World) -> None:
    world.github.edit_issue(REPOSITORY, 24, bump=False, extra={"comments": 3})
    assert found(verify(world, code=9)) == {("content", "issue", "24")}
    assert found(verify(world, "--fix", code=0), where="found") == {("content", "issue", "24")}
    assert verify(world, code=0)["held"]


def test_reactions_change_in_silence_and_are_behind(world: World) -> None:
    world.github.edit_issue(REPOSITORY, 24, bump=False, extra={"reactions": {"+1": 3}})
    values = verify(world, code=0)
    assert found(values, "behind") == {("content", "issue", "24")}
    verify(world, "--fix", code=0)
    assert found(verify(world, code=0), "behind") == set()
    assert "3" in world.rows("SELECT payload::json #>> '{reactions,+1}' FROM items WHERE external_id = 24")[0]


def test_a_mirror_of_labels_is_compared_within_them(world: World) -> None:
    name = "octo/labeled"
    world.github.add_repository(name)
    then = int(world.github.now()) - LONG_AGO
    for number in range(1, 13):
        labels = ("bug",) if number <= 4 else ("feature",) if number <= 8 else ()
        world.github.add_issue(name, f"Title {number}", created_at=then + number, labels=labels)
    fetched = world.command("fetch", "--repo", name, "--label", "Bug", "--label", "feature", "--no-comments")
    assert fetched.returncode == 0, fetched.stderr
    assert verify(world, "--repo", name, "--no-index", code=0)["repositories"][0]["counts"]["issue open"] == {
        "github": 8,
        "postgresql": 8,
        "opensearch": None,
    }
    world.github.relabel_issue(name, 1, bump=False)
    world.github.delete_issue(name, 6)
    lost = ("content", "issue", "1")
    gone = ("vanished", "issue", "6")
    assert found(verify(world, "--repo", name, "--no-index", code=9)) == {lost, gone}
    assert found(verify(world, "--repo", name, "--label", "bug", "--no-index", code=9)) == {lost}
    assert found(verify(world, "--repo", name, "--label", "feature", "--no-index", code=9)) == {gone}
    assert found(verify(world, "--repo", name, "--label", "Question", "--no-index", code=0)) == set()
    fixed = verify(world, "--repo", name, "--no-index", "--fix", code=0)
    assert fixed["repositories"][0]["aside"]["outside"] == 1
    assert world.rows("SELECT labels FROM items WHERE kind = 'issue' AND title = 'Title 1'") == [([],)]


def test_many_items_outside_the_lists_are_found_in_one_list(world: World) -> None:
    name = "octo/labeled"
    world.github.add_repository(name)
    then = int(world.github.now()) - LONG_AGO
    for number in range(1, 21):
        world.github.add_issue(name, f"Title {number}", created_at=then + number, labels=("bug",))
    fetched = world.command("fetch", "--repo", name, "--label", "bug", "--no-comments")
    assert fetched.returncode == 0, fetched.stderr
    for number in range(1, 20):
        world.github.relabel_issue(name, number, bump=False)
    world.github.delete_issue(name, 20)
    values = verify(world, "--repo", name, "--no-index", code=9)
    assert len(found(values)) == 20
    assert values["api_calls"] == 5  # the repository, two lists, the one that is gone, the repository once more


def test_a_kind_can_be_compared_alone(world: World) -> None:
    world.github.edit_issue(REPOSITORY, PULL, bump=False, title="Mend the lexer")
    world.github.edit_issue(REPOSITORY, 25, bump=False, title="It crashes otherwise")
    assert found(verify(world, "--kinds", "issue", code=9)) == {("content", "issue", "25")}
    assert found(verify(world, "--kinds", "pull_request", code=9)) == {("content", "pull_request", str(PULL))}


def test_a_repository_from_a_file_is_compared_with_the_index_alone(world: World, tmp_path: Path) -> None:
    issue = {"number": 1, "title": "From a file", "body": "b", "state": "open", "labels": [], "comments": 0,
             "user": None, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
             "html_url": "https://github.com/octo/filed/issues/1"}  # fmt: skip
    (tmp_path / "issues.jsonl").write_text(json.dumps(issue) + "\n", encoding="utf-8")
    read = world.command("run", "--input", str(tmp_path / "issues.jsonl"), "--classifier", "rules")
    assert read.returncode == 0, read.stderr
    values = verify(world, "--repo", "octo/filed", code=0)
    (compared,) = values["repositories"]
    assert compared["github"] == "nothing"
    assert "it is of github.com" in compared["why"]
    assert compared["counts"]["documents classifications"] == {"github": None, "postgresql": 1, "opensearch": 1}
    assert values["api_calls"] == 0
    shown = world.command("verify", "--repo", "octo/filed")
    assert "it holds, PostgreSQL and OpenSearch agree" in shown.stdout


def test_a_file_of_another_host_with_a_repository_of_the_same_name_is_no_difference(
    world: World, tmp_path: Path
) -> None:
    issue = {"number": 1, "title": "From a file", "state": "open", "created_at": "2026-01-01T00:00:00Z",
             "html_url": f"https://github.com/{REPOSITORY}/issues/1"}  # fmt: skip
    (tmp_path / "issues.jsonl").write_text(json.dumps(issue) + "\n", encoding="utf-8")
    read = world.command("fetch", "--input", str(tmp_path / "issues.jsonl"))
    assert read.returncode == 0, read.stderr
    assert found(verify(world, "--no-index", code=0)) == set()


def test_a_look_at_the_newest_issues_is_no_mirror(world: World) -> None:
    world.github.add_repository("octo/other")
    for number in range(3):
        world.github.add_issue("octo/other", f"Title {number}")
    fetched = world.command("fetch", "--repo", "octo/other", "--limit", "2")
    assert fetched.returncode == 0, fetched.stderr
    values = verify(world, "--repo", "octo/other", "--no-index", code=0)
    assert "--limit" in values["repositories"][0]["why"]
    asked = verify(world, "--repo", "octo/other", "--kinds", "issue", "--no-index", code=9)
    assert found(asked) == {("missing", "issue", "1")}


@pytest.mark.kill
@pytest.mark.parametrize("request_number", [2, 4, 5])
def test_a_kill_while_it_mends_is_harmless(world: World, request_number: int) -> None:
    for spoil in (a_row_is_lost, an_issue_is_deleted, a_state_is_another, a_comment_is_deleted, a_document_is_lost):
        spoil(world)
    victim: list[subprocess.Popen[str]] = []
    seen = 0

    def strike(_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == request_number:
            victim[0].send_signal(signal.SIGKILL)
            victim[0].wait()

    world.github.before_response = strike
    victim.append(world.start("verify", "--fix"))
    victim[0].communicate(timeout=240)
    assert victim[0].returncode == -signal.SIGKILL
    world.github.before_response = None
    verify(world, "--fix", code=0)
    check_whole(world)
    assert verify(world, code=0)["held"]
