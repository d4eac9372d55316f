"""kill -9 around every step of a batch, then a run: nothing lost, nothing doubled, nothing paid for twice."""

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.world import KEY, REPOSITORY, World, fill
from tests.loopback.anthropic import Fault, LoopbackAnthropic
from tests.loopback.anthropic_answers import plausible_answer
from tests.loopback.github import LoopbackGitHub

pytestmark = pytest.mark.kill

ISSUES = 130
BATCHED: dict[str, Any] = {"ISSUETIDE_EXECUTOR": "batch", "ISSUETIDE_BATCH_PACK": "1"}


@pytest.fixture
def world(database_url: str, tmp_path: Path) -> Iterator[World]:
    with LoopbackGitHub(tokens={"token"}) as github, LoopbackAnthropic(key=KEY) as anthropic:
        github.add_repository(REPOSITORY)
        world = World(github, anthropic, database_url, "", tmp_path)
        try:
            yield world
        finally:
            world.stop()


class Victim:
    """A run that is ended with kill -9 or another signal when the vendor sees something for the n-th time."""

    def __init__(
        self, world: World, moment: str, at: int = 1, number: signal.Signals = signal.SIGKILL, code: int = -9
    ) -> None:
        self.world = world
        self.moment = moment
        self.left = at
        self.number = number
        self.code = code
        self.process: subprocess.Popen[str] | None = None

    def strike(self, moment: str) -> None:
        """Called at every moment of the batches API."""
        if moment == self.moment and self.process is not None:
            self.left -= 1
            if self.left == 0:
                self.process.send_signal(self.number)
                if self.number == signal.SIGKILL:
                    self.process.wait()

    def run(self) -> None:
        """Starts the run and waits for its end, which must be the signal's."""
        self.world.anthropic.batches.on = self.strike
        self.process = self.world.start("run", "--repo", REPOSITORY, "--task", "issue_kind", **BATCHED)
        _, errors = self.process.communicate(timeout=240)
        assert self.process.returncode == self.code, errors
        self.world.anthropic.batches.on = None


def age(world: World, minutes: float) -> None:
    """Lets time pass at the vendor and in the database."""
    world.anthropic.batches.age(minutes=minutes)
    world.execute(
        f"UPDATE batches SET created_at = created_at - interval '{minutes} minutes',"
        f" submitted_at = submitted_at - interval '{minutes} minutes'"
    )


def finish(world: World) -> None:
    """Runs until nothing is left; checks that everything is there exactly once."""
    for _ in range(4):
        world.anthropic.batches.end()
        outcome = world.run(**BATCHED)
        if not outcome["in_batches"]:
            break
    assert outcome["in_batches"] == {}
    assert world.rows("SELECT count(*), count(DISTINCT text_id) FROM classifications") == [(ISSUES, ISSUES)]
    assert world.rows("SELECT count(*) FROM claims") == [(0,)]
    assert world.rows("SELECT count(*) FROM batches WHERE settled_at IS NULL") == [(0,)]
    assert world.rows("SELECT count(*) FROM runs WHERE ended_at IS NULL") == [(0,)]
    assert world.anthropic.batches.all() == []
    again = world.run(**BATCHED)
    assert (again.get("texts_asked", 0), again.get("texts_submitted", 0)) == (0, 0)


def repeated(world: World) -> int:
    """How often the vendor was asked about a text that it had been asked about before, in batches or by itself."""
    asked = Counter(world.asked_items())
    asked.update(item for batch in world.anthropic.batches.made for item in batch.items)
    assert len(asked) == ISSUES
    return sum(count - 1 for count in asked.values())


def test_a_kill_before_a_batch_arrives_leaves_its_texts_pending_after_a_while(world: World) -> None:
    fill(world, ISSUES)
    world.anthropic.batches.queue("create", Fault(shape="unseen"))
    Victim(world, "before create").run()
    assert world.rows("SELECT state, texts FROM batches") == [("intended", ISSUES - 1)]
    held = world.run(**BATCHED)
    assert (held.get("texts_submitted", 0), held["in_batches"]["issue_kind"]["texts"]) == (0, ISSUES - 1)
    age(world, 31)
    finish(world)
    assert repeated(world) == 0


def test_a_batch_that_arrived_before_the_kill_is_found_and_paid_once(world: World) -> None:
    fill(world, ISSUES)
    Victim(world, "after create").run()
    assert world.rows("SELECT state FROM batches") == [("intended",)]
    assert len(world.anthropic.batches.all()) == 1
    finish(world)
    assert world.rows("SELECT state FROM batches") == [("collected",)]
    assert repeated(world) == 0


@pytest.mark.parametrize("row", [1, 40, 100, ISSUES - 1])
def test_a_kill_while_results_are_read_stores_each_once(world: World, row: int) -> None:
    fill(world, ISSUES)
    world.run(**BATCHED)
    world.anthropic.batches.end()
    Victim(world, "row", row).run()
    finish(world)
    assert repeated(world) == 0


@pytest.mark.parametrize("moment", ["before delete", "after delete"])
def test_a_kill_around_deleting_stores_nothing_twice_and_leaves_nothing_there(world: World, moment: str) -> None:
    fill(world, ISSUES)
    world.run(**BATCHED)
    world.anthropic.batches.end()
    if moment == "before delete":
        world.anthropic.batches.queue("delete", Fault(shape="unseen"))
    Victim(world, moment).run()
    assert world.rows("SELECT state, erased_at IS NULL FROM batches") == [("collected", True)]
    finish(world)
    assert repeated(world) == 0


def test_two_runs_at_once_never_submit_the_same_text(world: World) -> None:
    fill(world, ISSUES)
    assert world.command("fetch", "--repo", REPOSITORY).returncode == 0
    both = [
        world.start("classify", "--task", "issue_kind", "--max-items", "80", **BATCHED),
        world.start("classify", "--task", "issue_kind", "--max-items", "80", **BATCHED),
    ]
    for process in both:
        _, errors = process.communicate(timeout=240)
        assert process.returncode in {0, 5}, errors
    submitted = [item for batch in world.anthropic.batches.made for item in batch.items]
    assert len(submitted) == len(set(submitted))
    assert len(world.anthropic.batches.made) == 2
    assert world.rows("SELECT sum(texts), count(DISTINCT run_id) FROM batches")[0][1] == 2
    finish(world)
    assert repeated(world) == 0


def test_a_signal_while_the_first_request_is_asked_waits_for_its_answer(world: World) -> None:
    fill(world, ISSUES)
    victim = Victim(world, "asked", number=signal.SIGTERM, code=130)

    def answer(*arguments: Any) -> str:
        victim.strike("asked")
        return plausible_answer(*arguments)

    world.anthropic.answer = answer
    victim.run()
    assert world.rows("SELECT count(*) FROM classifications") == [(1,)]
    assert world.rows("SELECT count(*) FROM batches") == [(0,)]
    finish(world)
    assert repeated(world) == 0


def test_a_signal_while_a_batch_is_handed_over_waits_for_its_number(world: World) -> None:
    fill(world, ISSUES)
    Victim(world, "before create", number=signal.SIGTERM, code=130).run()
    assert world.rows("SELECT state FROM batches") == [("submitted",)]
    finish(world)
    assert repeated(world) == 0
