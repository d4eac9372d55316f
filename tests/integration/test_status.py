"""`issuetide status`: freshness, a dead-man check by exit code, and the records of runs that failed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.test_bad_input import Desk
from tests.loopback.github import LoopbackGitHub

REPO = "octo/demo"
FETCH = ("fetch", "--repo", REPO)


@pytest.fixture
def github() -> Iterator[LoopbackGitHub]:
    with LoopbackGitHub(tokens={"token"}) as github:
        github.add_repository(REPO)
        github.add_issue(REPO, "One")
        github.add_comment(REPO, github.add_issue(REPO, "Two"))
        yield github


@pytest.fixture
def desk(database_url: str, github: LoopbackGitHub, tmp_path: Path) -> Desk:
    return Desk(database_url, github.url, tmp_path)


def sql(desk: Desk, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(desk.settings["DATABASE_URL"]) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def last_run(desk: Desk) -> tuple[Any, ...]:
    (found,) = sql(desk, "SELECT status, coalesce(error, ''), ended_at IS NOT NULL FROM runs ORDER BY id DESC LIMIT 1")
    return found


def check(desk: Desk, *arguments: str) -> tuple[int, list[str]]:
    done = desk.call("status", *arguments)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_a_repository_that_was_just_read_is_fresh_and_one_that_was_not_is_stale(desk: Desk) -> None:
    assert check(desk, "--max-age", "2h") == (10, ["stale: no repository is read from GitHub yet"])
    assert desk.call(*FETCH).returncode == 0
    code, lines = check(desk, "--max-age", "2h")
    assert (code, len(lines)) == (0, 1)
    assert lines[0].startswith("fresh: 1 repository read within 2h, the oldest reading just now")
    sql(desk, "UPDATE cursors SET read_at = now() - interval '3 hours' WHERE stream = 'issues'")
    stale = ["stale: octo/demo: issues (all) last read to their end 3 h ago"]
    assert check(desk, "--max-age", "2h") == (10, stale)
    assert check(desk, "--max-age", "2h30m", "--repo", "Octo/Demo") == (10, stale)
    assert check(desk, "--max-age", "2h", "--repo", "octo/x")[1] == ["stale: octo/x: nothing is stored of it"]
    assert check(desk, "--max-age", "1d")[0] == 0
    done = desk.call("status", "--max-age", "2h", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["stale"], told["max_age_seconds"]) == (10, [stale[0].removeprefix("stale: ")], 7200)
    desk.call(*FETCH)
    assert check(desk, "--max-age", "2h")[0] == 0


def test_what_only_a_file_told_of_is_neither_fresh_nor_stale(desk: Desk) -> None:
    issue = {"number": 1, "title": "One", "html_url": "https://github.com/octo/filed/issues/1",
             "created_at": "2026-01-01T00:00:00Z"}  # fmt: skip
    (desk.folder / "issues.jsonl").write_text(json.dumps(issue) + "\n", encoding="utf-8")
    assert desk.call("fetch", "--input", "issues.jsonl").returncode == 0
    code, lines = check(desk, "--max-age", "2h")
    assert code == 10
    assert lines == ["stale: no repository is read from GitHub yet; what is stored came from files, or with --limit"]
    assert desk.call(*FETCH).returncode == 0
    code, (line,) = check(desk, "--max-age", "2h")
    assert code == 0
    assert line.startswith("fresh: 1 repository read within 2h, the oldest reading just now; 1 repository from files")


def test_reading_that_breaks_off_is_never_taken_for_fresh(desk: Desk, github: LoopbackGitHub) -> None:
    for number in range(150):
        github.add_issue(REPO, f"Another {number}")
    assert desk.call(*FETCH, "--max-calls", "2", "--no-comments").returncode == 5
    assert sql(desk, "SELECT count(*) FROM items") == [(100,)]
    assert check(desk, "--max-age", "1d") == (10, ["stale: octo/demo: issues (all) never read to their end"])
    assert desk.call(*FETCH, "--no-comments").returncode == 0
    assert check(desk, "--max-age", "1d")[0] == 0


def test_a_quiet_hour_counts_as_reading(desk: Desk) -> None:
    desk.call(*FETCH)
    sql(desk, "UPDATE cursors SET read_at = now() - interval '3 hours'")
    assert desk.call(*FETCH).returncode == 0
    assert check(desk, "--max-age", "1m")[0] == 0


def test_a_repository_that_is_gone_is_stale_in_time_and_says_since_when(desk: Desk, github: LoopbackGitHub) -> None:
    desk.call(*FETCH)
    github.remove_repository(REPO)
    assert desk.call(*FETCH).returncode == 3
    sql(desk, "UPDATE cursors SET read_at = now() - interval '3 hours'")
    code, lines = check(desk, "--max-age", "2h")
    assert code == 10
    assert "; out of reach since " in lines[0]
    assert "octo/demo: out of reach since" in desk.call("status").stdout


def test_the_status_shows_lists_sweep_vanished_rejected_and_calls(desk: Desk, github: LoopbackGitHub) -> None:
    desk.call(*FETCH)
    github.delete_issue(REPO, 1)
    github.add_issue(REPO, "Broken", comments="many")
    done = desk.call(*FETCH, "--sweep-calls", "50", ISSUETIDE_SWEEP_HOURS="0")
    assert done.returncode == 4, done.stderr
    told = json.loads(desk.call("status", "--json").stdout)
    (repository,) = told["repositories"]
    assert {name: repository[name] for name in ("issues", "vanished", "purged", "rejected_items", "reach")} == {
        "issues": 1,
        "vanished": 1,
        "purged": 0,
        "rejected_items": 1,
        "reach": "ok",
    }
    assert sorted(stream["stream"] for stream in told["streams"]) == ["comments", "issues"]
    assert all(stream["age_seconds"] < 100 for stream in told["streams"])
    (sweep,) = told["sweeps"]
    assert (sweep["items"], sweep["checked"], sweep["finished_at"] is not None) == (1, 1, True)
    assert "issue 3: comments is not a count" in told["rejected_items"][0]["line"]
    assert told["runs"][0]["api_calls"] >= told["runs"][0]["sweep_calls"] > 0
    shown = desk.call("status", COLUMNS="120")
    assert shown.returncode == 0, shown.stderr
    for words in ("Freshness", "just now", "100 %", "rejected item: octo/demo: issue 3", "of them by the sweep"):
        assert words in shown.stdout


def test_what_a_release_could_not_read_is_read_by_the_next(desk: Desk, github: LoopbackGitHub) -> None:
    desk.call(*FETCH)
    payload = json.dumps({"number": 9, "title": "Nine", "created_at": "2026-01-01T00:00:00Z"})
    sql(
        desk,
        f"""INSERT INTO rejected_items (source, repository_key, stream, digest, line, payload)
            SELECT 'github_issues', key, 'issues', 'd', 'octo/demo: issue 9: why', '{payload}' FROM repositories""",
    )
    before = len(github.requests())
    done = desk.call("fetch", "--replay-rejected", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items_new"] == 1
    assert len(github.requests()) == before
    assert sql(desk, "SELECT title FROM issues WHERE number = 9") == [("Nine",)]
    assert sql(desk, "SELECT count(*) FROM rejected_items") == [(0,)]


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "words"),
    [
        (("--repo", "octo/unknown"), {}, 3, "octo/unknown"),
        (("--repo", REPO), {"GITHUB_TOKEN": "wrong"}, 3, "GITHUB_TOKEN"),
        (("--repo", REPO), {"GITHUB_TOKEN": "not a token"}, 3, "GITHUB_TOKEN"),
        (("--repo", REPO), {"GITHUB_APP_ID": "5"}, 3, "GITHUB_APP"),
        (("--repo", REPO, "--deadline", "0.1"), {"GITHUB_API_URL": "http://127.0.0.1:1"}, 8, "Connection refused"),
        (("--repo", REPO, "--classifier", "claude"), {}, 3, "ANTHROPIC_API_KEY"),
        (("--repo", REPO), {"OPENSEARCH_URL": "ftp://x"}, 3, "OPENSEARCH_URL"),
        (("--repo", REPO), {"OPENSEARCH_URL": "local"}, 3, "servers start"),
        (("--repo", REPO, "--task", "nonsense"), {}, 3, "nonsense"),
        (("--input", "missing.jsonl"), {}, 3, "missing.jsonl"),
    ],
)
def test_a_run_that_fails_leaves_its_record_with_the_reason(
    desk: Desk, arguments: tuple[str, ...], settings: dict[str, str], code: int, words: str
) -> None:
    done = desk.call("run", *arguments, **settings)
    assert done.returncode == code, done.stderr
    status, error, is_ended = last_run(desk)
    assert (status, is_ended) == ("failed", True)
    assert words in error
    assert error in done.stderr


def test_a_dry_run_that_cannot_begin_leaves_no_record(desk: Desk) -> None:
    assert desk.call("run", "--repo", REPO, "--dry-run", GITHUB_TOKEN="not a token").returncode == 3
    assert sql(desk, "SELECT count(*) FROM runs") == [(0,)]


def test_a_database_that_was_restored_with_a_run_in_progress_closes_that_run_and_goes_on(desk: Desk) -> None:
    desk.call(*FETCH)
    sql(desk, "INSERT INTO runs (command) VALUES ('issuetide run')")
    assert desk.call(*FETCH).returncode == 0
    assert sql(desk, "SELECT status FROM runs ORDER BY id") == [("ok",), ("interrupted",), ("ok",)]


def test_what_changed_is_read_of_every_repository_before_any_is_swept(desk: Desk, github: LoopbackGitHub) -> None:
    github.add_repository("octo/other")
    both = (*FETCH, "--repo", "octo/other", "--no-comments")
    assert desk.call(*both).returncode == 0
    github.edit_issue(REPO, 1, title="Edited")
    github.add_issue("octo/other", "New")
    # A call for each repository and one for each list: a sweep of the first one would leave none for the second.
    done = desk.call(*both, "--max-calls", "4", ISSUETIDE_SWEEP_HOURS="0")
    assert done.returncode == 5
    assert sql(desk, "SELECT title FROM items WHERE kind = 'issue' ORDER BY title") == [("Edited",), ("New",), ("Two",)]


def test_what_lies_outside_the_lists_keeps_no_deleted_comment_waiting(desk: Desk, github: LoopbackGitHub) -> None:
    comment = github.add_comment(REPO, github.add_issue(REPO, "Labelled", labels=("bug",)))
    for number in range(20):
        github.add_issue(REPO, f"Another {number}")
    assert desk.call(*FETCH).returncode == 0
    github.delete_comment(REPO, comment)
    swept = desk.call(*FETCH, "--label", "bug", "--sweep-calls", "8", ISSUETIDE_SWEEP_HOURS="0")
    assert swept.returncode == 0, swept.stderr
    assert sql(desk, "SELECT external_id FROM items WHERE tombstone = 'deleted'") == [(comment,)]
    checked = "SELECT count(*) FROM item_checks k JOIN items i ON i.id = k.item_id WHERE i.kind = 'issue'"
    assert sql(desk, checked) == [(1 + 5,)]  # calls: the list, its comments, all comments; the five others ask for one
