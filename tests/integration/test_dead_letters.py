"""What a real index refuses: kept with its reason, not sent again in vain, delivered once the cause is mended."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.world import REPOSITORY, World, fill, make_world

pytestmark = pytest.mark.opensearch

PIPELINE = "issuetide-tests-refuse"
TOO_LONG = 40_000
"""Lucene takes no term beyond 32,766 bytes, and the author is one term."""


@pytest.fixture
def world(database_url: str, opensearch_url: str, tmp_path: Path) -> Iterator[World]:
    with make_world(database_url, opensearch_url, tmp_path) as world:
        yield world


def put(world: World, path: str, body: dict[str, Any]) -> None:
    answer = requests.put(f"{world.opensearch_url}/{path}", json=body, timeout=120)
    assert answer.ok, answer.text


def refuse(world: World, number: int | None) -> None:
    """What somebody does to the index by hand: an ingest pipeline that cannot take one issue; None takes it away."""
    if number is not None:
        fail = {"if": f"ctx.number == {number}", "message": "no room for this one"}
        put(world, f"_ingest/pipeline/{PIPELINE}", {"processors": [{"fail": fail}]})
    pipeline = None if number is None else PIPELINE
    put(world, f"{world.prefix}-classifications-v1/_settings", {"index": {"default_pipeline": pipeline}})


def status(world: World, **changes: str) -> dict[str, Any]:
    done = world.command("status", "--json", **changes)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def dead_letters(world: World) -> list[tuple[Any, ...]]:
    return world.rows("SELECT document_id, reason, xmin::text, created_at FROM dead_letters ORDER BY 1")


def labels(world: World) -> dict[int, list[str]]:
    return {document["number"]: document.get("labels", []) for document in world.documents().values()}


def test_a_refused_document_waits_as_a_dead_letter_until_the_index_is_mended_and_it_is_replayed(world: World) -> None:
    fill(world, 3)
    world.run()
    key = world.rows("SELECT key FROM repositories")[0][0]
    refuse(world, 2)
    for number in (1, 2, 3):
        world.github.relabel_issue(REPOSITORY, number, "new")

    partial = world.run(code=4)
    assert (partial["status"], partial["dead_letters"]) == ("partial", 1)
    assert labels(world) == {1: ["new"], 2: ["triaged"], 3: ["new"]}
    [(document, reason, *_)] = kept = dead_letters(world)
    assert document == f"{key}-issue-2-issue_kind"
    assert "no room for this one" in reason
    assert partial["notes"] == [f"dead letter {document}: {reason}"]
    standing = status(world)
    assert standing["dead_letters"] == [{"document": document, "reason": reason}]
    assert standing["sink"]["waiting_documents"] == 0
    shown = world.command("status")
    assert f"dead letter {document}: " in shown.stdout
    assert "no room for this one" in shown.stdout
    assert "no room for this one" in world.command("explain", f"{REPOSITORY}#2").stdout

    for _ in range(2):
        again = world.run()
        assert (again["status"], again.get("documents_written", 0), again.get("dead_letters", 0)) == ("ok", 0, 0)
    assert dead_letters(world) == kept

    refused_again = world.command("export", "--replay-dead-letters", "--json")
    assert refused_again.returncode == 4
    assert [row[:2] for row in dead_letters(world)] == [(document, reason)]

    refuse(world, None)
    assert world.run().get("documents_written", 0) == 0
    delivered = world.command("export", "--replay-dead-letters", "--json")
    assert delivered.returncode == 0, delivered.stderr
    assert json.loads(delivered.stdout)["documents_written"] == 1
    assert labels(world)[2] == ["new"]
    assert dead_letters(world) == []
    assert status(world)["dead_letters"] == []
    assert world.rows("SELECT status FROM runs ORDER BY id DESC LIMIT 1") == [("ok",)]


def test_a_dead_letter_whose_item_was_mended_goes_with_the_next_run_and_is_gone(world: World) -> None:
    fill(world, 2)
    world.github.edit_issue(REPOSITORY, 1, author="x" * TOO_LONG)
    world.run(code=4)
    [(document, reason, *_)] = dead_letters(world)
    assert "author" in reason
    assert "immense term" in reason
    assert len(reason) < 500
    assert [row["number"] for row in world.documents().values()] == [2]

    world.github.edit_issue(REPOSITORY, 1, author="alice")
    assert world.run()["documents_written"] >= 1
    assert world.documents()[document]["author"] == "alice"
    assert dead_letters(world) == []
    assert status(world)["dead_letters"] == []


def test_what_an_index_refused_is_forgotten_once_the_index_was_deleted_and_made_anew(world: World) -> None:
    fill(world, 2)
    world.run()
    refuse(world, 2)
    world.github.relabel_issue(REPOSITORY, 2, "new")
    world.run(code=4)
    assert len(dead_letters(world)) == 1
    requests.delete(f"{world.opensearch_url}/{world.prefix}-classifications-v1", timeout=120).raise_for_status()
    assert world.run()["status"] == "ok"
    assert labels(world) == {1: [], 2: ["new"]}
    assert dead_letters(world) == []
    assert status(world)["dead_letters"] == []


def test_a_replay_that_cannot_reach_the_index_loses_no_document(world: World) -> None:
    fill(world, 2)
    world.github.edit_issue(REPOSITORY, 1, author="x" * TOO_LONG)
    world.run(code=4)
    kept = [row[:2] for row in dead_letters(world)]
    away = world.command("export", "--replay-dead-letters", OPENSEARCH_URL="http://127.0.0.1:1")
    assert away.returncode == 8, away.stderr
    assert world.command("export", "--replay-dead-letters", "--dry-run").returncode == 0
    standing = status(world)
    assert len(standing["dead_letters"]) + standing["sink"]["waiting_documents"] == 1
    world.run(code=0 if standing["dead_letters"] else 4)
    assert [row[:2] for row in dead_letters(world)] == kept
