"""The whole product through the command, against loopback GitHub and Anthropic, a real PostgreSQL and OpenSearch."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from etl.dedup import RULES_VERSION
from tests.integration.world import REPOSITORY, World, fill, make_world

pytestmark = pytest.mark.opensearch

STORED = ("repositories", "items", "texts", "item_texts", "classifications", "tasks", "tracked_tasks", "daily_counts")


@pytest.fixture
def world(database_url: str, opensearch_url: str, tmp_path: Path) -> Iterator[World]:
    with make_world(database_url, opensearch_url, tmp_path) as world:
        yield world


def snapshot(world: World) -> dict[str, list[tuple[object, ...]]]:
    return {name: world.rows(f"SELECT xmin::text, * FROM {name} ORDER BY 2, 3") for name in STORED}


def test_issues_go_from_github_to_the_index_and_a_second_run_does_nothing(world: World) -> None:
    fill(world, 30, comments=4)
    first = world.run()
    assert (first["status"], first["items_new"], first["texts_asked"]) == ("ok", 34, 30)
    documents = world.documents()
    assert len(documents) == 30
    assert all(document["classifier"] == "claude" and document["categories"] for document in documents.values())
    assert first["cost_usd"] > 0
    assert world.rows("SELECT count(*) FROM issues") == [(30,)]

    before, asked, held = snapshot(world), len(world.asked_items()), world.documents("daily")
    second = world.run()
    assert second["status"] == "ok"
    assert len(world.asked_items()) == asked
    assert (second.get("documents_written", 0), second.get("items_changed", 0)) == (0, 0)
    assert snapshot(world) == before
    assert world.documents() == documents
    assert world.documents("daily") == held
    assert Counter(run["level"] for run in world.documents("runs").values()) == {"run": 2, "task": 2}


def test_the_prompt_is_written_to_the_cache_once_and_read_by_every_other_request(world: World) -> None:
    fill(world, 12)
    outcome = world.run()
    usages = [entry.usage for entry in world.anthropic.asked()]
    assert [bool(usage["cache_creation_input_tokens"]) for usage in usages].count(True) == 1
    assert outcome["cache_read_tokens"] == sum(usage["cache_read_input_tokens"] for usage in usages) > 0


def test_an_edited_title_asks_again_about_one_text_and_changed_labels_about_none(world: World) -> None:
    fill(world, 10)
    world.run()
    asked = len(world.asked_items())
    world.github.relabel_issue(REPOSITORY, 3, "triaged", "module: parser")
    assert world.run().get("texts_asked", 0) == 0
    by_number = {document["number"]: document for document in world.documents().values()}
    assert by_number[3]["labels"] == ["module: parser", "triaged"]
    world.github.edit_issue(REPOSITORY, 4, title="Please add something else altogether")
    assert world.run()["texts_asked"] == 1
    assert len(world.asked_items()) == asked + 1
    by_number = {document["number"]: document for document in world.documents().values()}
    assert by_number[4]["title"] == "Please add something else altogether"


def test_two_issues_with_the_same_text_cost_one_request(world: World) -> None:
    for _ in range(2):
        world.github.add_issue(REPOSITORY, "The build fails with an error", "On every machine.")
    assert world.run()["texts_asked"] == 1
    assert {document["answer"] for document in world.documents().values()} == {"answered"}


def test_pull_requests_and_disabled_tests_are_left_out_where_they_should(world: World) -> None:
    world.github.add_issue(REPOSITORY, "Fix it", "A change.", extra={"pull_request": {"url": "x"}})
    world.github.add_issue(REPOSITORY, "DISABLED test_add (TestThing)", "Flaky.")
    world.github.add_issue(REPOSITORY, "It crashes", "With an error.")
    done = world.command("run", "--repo", REPOSITORY, "--task", "user_error", "--json")
    assert json.loads(done.stdout)["texts_asked"] == 1
    assert [document["number"] for document in world.documents().values()] == [3]


def test_labels_are_an_or_with_a_cursor_each(world: World) -> None:
    world.github.add_issue(REPOSITORY, "It crashes here", "One.", labels=("oncall: export",))
    world.github.add_issue(REPOSITORY, "It crashes there", "Two.", labels=("oncall: pt2",))
    world.github.add_issue(REPOSITORY, "It crashes nowhere", "Three.", labels=("other",))
    world.run("--label", "oncall: export", "--label", "oncall: pt2")
    assert world.rows("SELECT number FROM issues ORDER BY 1") == [(1,), (2,)]
    assert len(world.rows("SELECT * FROM cursors WHERE stream = 'issues'")) == 2


def test_without_a_key_the_rules_answer_and_it_is_said(world: World) -> None:
    fill(world, 6)
    done = world.command("run", "--repo", REPOSITORY, "--task", "issue_kind", ANTHROPIC_API_KEY="")
    assert done.returncode == 0, done.stderr
    assert "ANTHROPIC_API_KEY is not set" in done.stderr
    assert "by `rules`" in done.stdout
    assert world.rows("SELECT DISTINCT classifier FROM classifications") == [("rules",)]
    assert world.anthropic.asked() == []


def test_classify_alone_says_how_many_documents_the_index_lacks(world: World) -> None:
    fill(world, 3)
    world.run()
    world.github.add_issue(REPOSITORY, "It crashes in the evening", "Not before.")
    assert world.command("fetch", "--repo", REPOSITORY).returncode == 0
    told = json.loads(world.command("classify", "--task", "issue_kind", "--json").stdout)
    again = world.command("classify", "--task", "issue_kind")
    assert f"  to export   {told['waiting_documents']} documents wait for `issuetide export`\n" in again.stdout
    exported = json.loads(world.command("export", "--json").stdout)
    assert exported["documents_written"] == told["waiting_documents"]


def test_without_opensearch_documents_wait_and_status_says_how_many(world: World) -> None:
    fill(world, 5)
    outcome = world.run(OPENSEARCH_URL="")
    status = json.loads(world.command("status", "--json", OPENSEARCH_URL="").stdout)
    assert status["sink"]["name"] is None
    assert status["sink"]["waiting_documents"] == outcome["waiting_documents"] >= 5
    assert world.run("--skip-fetch")["documents_written"] == outcome["waiting_documents"]
    assert json.loads(world.command("status", "--json").stdout)["sink"]["waiting_documents"] == 0


def test_a_dry_run_writes_nothing_anywhere_and_says_what_it_would_cost(world: World) -> None:
    fill(world, 8)
    outcome = world.run("--dry-run")
    assert (outcome["items_new"], outcome["waiting_texts"]) == (8, {"issue_kind": 8})
    assert outcome["estimated_usd"] > 0
    assert world.anthropic.asked() == []
    assert world.rows("SELECT (SELECT count(*) FROM items) + (SELECT count(*) FROM runs)") == [(0,)]
    assert requests.head(f"{world.opensearch_url}/{world.prefix}-classifications", timeout=10).status_code == 404


def test_a_budget_of_texts_stops_with_its_own_code_and_the_next_run_goes_on(world: World) -> None:
    fill(world, 9)
    outcome = world.run("--max-items", "4", code=5)
    assert (outcome["status"], outcome["texts_asked"], outcome["waiting_texts"]) == (
        "stopped_budget",
        4,
        {"issue_kind": 5},
    )
    assert world.run()["texts_asked"] == 5


def test_a_budget_of_dollars_is_never_exceeded(world: World) -> None:
    fill(world, 90)
    outcome = world.run("--max-cost-usd", "0.004", code=5)
    assert outcome["cost_usd"] <= 0.004
    assert 0 < outcome["texts_asked"] < 90


def test_a_report_has_the_shape_of_the_categorizers_results(world: World) -> None:
    fill(world, 6)
    world.command("run", "--repo", REPOSITORY, "--task", "user_error")
    results = json.loads(world.command("report", "--task", "user_error", "--json").stdout)
    assert set(results["summary"]) == {"total", "user_errors", "non_user_errors", "uncertain"}
    assert set(results["issues"][0]) == {
        "issue_number", "title", "url", "state", "labels", "is_user_error", "confidence", "reasoning",
    }  # fmt: skip
    page = world.folder / "report.html"
    assert world.command("report", "--html", str(page)).returncode == 0
    assert "<svg" in page.read_text(encoding="utf-8")


def test_explain_shows_text_ids_answer_and_document(world: World) -> None:
    fill(world, 2)
    world.run()
    found = json.loads(world.command("explain", f"{REPOSITORY}#1", "--json").stdout)
    assert found["texts"][0]["text_hash"].startswith(f"{RULES_VERSION}:")
    assert found["answers"][0]["current"] is True
    assert found["documents"][0]["exported_version"] == found["item"]["row_version"]
    assert "crash" in world.command("explain", f"{REPOSITORY}#1").stdout


def test_doctor_finds_everything_right(world: World) -> None:
    done = world.command("doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert {check["status"] for check in json.loads(done.stdout)} <= {"ok", "warning", "skipped"}


def test_a_file_goes_the_same_way(world: World) -> None:
    issue = {
        "number": 7,
        "title": "It crashes from a file",
        "body": "With an error.",
        "state": "open",
        "user": {"login": "someone", "type": "User"},
        "labels": [],
        "assignees": [],
        "comments": 0,
        "created_at": "2026-01-02T03:04:05Z",
        "updated_at": "2026-01-02T03:04:05Z",
        "closed_at": None,
        "html_url": "https://github.com/octo/files/issues/7",
        "repository_url": "https://api.github.com/repos/octo/files",
    }
    path = world.folder / "dump.jsonl"
    path.write_text(json.dumps(issue) + "\n{broken\n", encoding="utf-8")
    done = world.command("run", "--input", str(path), "--task", "issue_kind", "--json")
    assert done.returncode == 4
    outcome = json.loads(done.stdout)
    assert (outcome["status"], outcome["items_new"], outcome["texts_asked"]) == ("partial", 1, 1)
    assert "line 2" in outcome["notes"][0]
    assert [document["repository"] for document in world.documents().values()] == ["octo/files"]
