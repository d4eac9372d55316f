"""`run --executor` and `issuetide batches` as a user calls them, against loopback servers and a real PostgreSQL."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.world import KEY, REPOSITORY, World, fill
from tests.loopback.anthropic import LoopbackAnthropic, dropped
from tests.loopback.github import LoopbackGitHub


class PackedWorld(World):
    """A world whose batches have five texts in a request."""

    def environment(self, **changes: str) -> dict[str, str]:
        """What the command sees."""
        return super().environment(**{"ISSUETIDE_BATCH_PACK": "5", **changes})


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    with LoopbackGitHub(tokens={"token"}) as github, LoopbackAnthropic(key=KEY) as anthropic:
        github.add_repository(REPOSITORY)
        yield PackedWorld(github, anthropic, database_url, "", tmp_path)


def listed(world: World, *arguments: str) -> list[dict[str, object]]:
    done = world.command("batches", "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def test_a_batch_from_submission_to_collection(world: World) -> None:
    fill(world, 12)
    assert world.command("batches", "list").stdout.splitlines()[-1:] == ["no batch was ever submitted"]
    first = world.command("run", "--repo", REPOSITORY, "--executor", "batch")
    assert first.returncode == 0, first.stderr
    assert "  executor    issue_kind: batch: --executor batch" in first.stdout
    assert "  submitted   7 texts in batches" in first.stdout
    assert "  in batches  7 texts of issue_kind in 1 under way, the oldest since 20" in first.stdout
    status = json.loads(world.command("status", "--json").stdout)
    assert status["in_batches"]["issue_kind"]["texts"] == 7
    assert status["unanswered_texts"] == {}
    assert "7 texts of issue_kind in 1 under way" in world.command("status").stdout
    (batch,) = listed(world, "--open")
    assert (batch["state"], batch["texts"], batch["outcomes"]) == ("submitted", 7, {"waiting": 7})
    early = world.command("batches", "collect")
    assert (early.returncode, "in batches  7" in early.stdout) == (0, True)
    world.anthropic.batches.end()
    collected = world.command("batches", "collect", "--json")
    assert collected.returncode == 0, collected.stderr
    outcome = json.loads(collected.stdout)
    assert (outcome["texts_collected"], outcome["in_batches"]) == (7, {})
    assert listed(world, "--open") == []
    assert "batch 1 collected since" in world.command("batches", "list").stdout
    assert world.rows(
        "SELECT texts_submitted, texts_collected FROM runs WHERE texts_submitted + texts_collected > 0 ORDER BY id"
    ) == [(7, 0), (0, 7)]


def test_auto_takes_batches_for_a_large_load(world: World) -> None:
    fill(world, 12)
    outcome = world.run(ISSUETIDE_BATCH_FROM="10")
    assert outcome["texts_submitted"] == 7
    assert outcome["executors"]["issue_kind"].startswith("batch: 12 texts wait, ISSUETIDE_BATCH_FROM is 10")


def test_a_batch_is_canceled_by_its_number(world: World) -> None:
    fill(world, 12)
    world.run("--executor", "batch")
    done = world.command("batches", "cancel", "1")
    assert done.returncode == 0, done.stderr
    assert world.anthropic.batches.all()[0].status == "canceling"
    world.anthropic.batches.end()
    collected = world.command("batches", "collect")
    assert "  remark      batch 1: 7 of 7 texts were canceled and wait again\n" in collected.stdout
    outcome = world.run()
    assert (outcome.get("texts_collected", 0), outcome["texts_asked"]) == (0, 7)
    unknown = world.command("batches", "cancel", "1")
    assert unknown.returncode == 3
    assert "no batch 1 is under way" in unknown.stderr


def test_a_batch_that_nobody_knows_of_cannot_be_canceled(world: World) -> None:
    fill(world, 12)
    world.anthropic.batches.queue("create", dropped())
    world.run("--executor", "batch")
    done = world.command("batches", "cancel", "1")
    assert done.returncode == 3
    assert "it is not known yet whether Anthropic has it" in done.stderr


def test_a_wrong_executor_and_one_without_batches_are_said(world: World) -> None:
    wrong = world.command("classify", "--executor", "later")
    assert (wrong.returncode, "use auto, sync or batch" in wrong.stderr) == (3, True)
    rules = world.command("classify", "--executor", "batch", "--classifier", "rules")
    assert (rules.returncode, "rules has no batches" in rules.stderr) == (3, True)
    assert world.command("classify", "--classifier", "rules", ISSUETIDE_EXECUTOR="batch").returncode == 0


def test_a_dry_run_neither_submits_nor_collects(world: World) -> None:
    fill(world, 12)
    world.run("--executor", "batch", "--dry-run")
    assert [entry for entry in world.anthropic.journal if entry.path.startswith("/v1/messages")] == []
