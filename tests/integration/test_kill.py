"""kill -9 in the middle of every stage, then a run: nothing lost, nothing doubled, no stored answer paid for again."""

import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.world import REPOSITORY, World, fill, make_world
from tests.loopback.anthropic_answers import plausible_answer
from tests.loopback.relay import Relay

pytestmark = [pytest.mark.opensearch, pytest.mark.kill]

ISSUES = 230


@pytest.fixture
def world(database_url: str, opensearch_url: str, tmp_path: Path) -> Iterator[World]:
    with make_world(database_url, opensearch_url, tmp_path) as world:
        yield world


class Victim:
    """A run that is ended with kill -9 as soon as something has happened often enough."""

    def __init__(self, world: World, at: int) -> None:
        self.world = world
        self.at = at
        self.seen = 0
        self.process: subprocess.Popen[str] | None = None

    def strike(self, *_: object) -> None:
        """Called whenever it happens."""
        self.seen += 1
        if self.seen == self.at and self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def run(self, **changes: str) -> None:
        """Starts the run and waits for its end, which must be the kill."""
        self.process = self.world.start("run", "--repo", REPOSITORY, "--task", "issue_kind", **changes)
        _, errors = self.process.communicate(timeout=240)
        assert self.process.returncode == -signal.SIGKILL, errors


def check_complete(world: World, issues: int = ISSUES) -> None:
    """Everything is there exactly once, and every record of a run is closed."""
    outcome = world.run()
    assert outcome["status"] == "ok"
    assert world.rows("SELECT count(*), count(DISTINCT number) FROM issues") == [(issues, issues)]
    assert world.rows("SELECT count(*) FROM item_texts") == [(issues,)]
    assert world.rows("SELECT count(*), count(DISTINCT text_id) FROM classifications") == [(issues, issues)]
    documents = world.documents()
    assert sorted(document["number"] for document in documents.values()) == list(range(1, issues + 1))
    assert {document["answer"] for document in documents.values()} == {"answered"}
    versions = dict(world.rows("SELECT external_id, row_version FROM items WHERE kind = 'issue'"))
    assert {document["number"]: document["row_version"] for document in documents.values()} == versions
    daily = world.rows("SELECT category, day::text, opened, closed, open FROM category_daily")
    assert sorted(
        (d["category"], d["day"], d["opened"], d["closed"], d["open"])
        for d in world.documents("daily").values()
        if d["level"] == "category"
    ) == sorted(daily)
    assert world.rows("SELECT count(*) FROM runs WHERE ended_at IS NULL") == [(0,)]
    assert world.rows("SELECT count(*) FROM claims") == [(0,)]
    again = world.run()
    assert (again.get("texts_asked", 0), again.get("documents_written", 0), again["items_changed"]) == (0, 0, 0)


def repeated(world: World) -> int:
    """How often a text was asked about that had been asked about before."""
    return sum(count - 1 for count in Counter(world.asked_items()).values())


@pytest.mark.parametrize("request_number", [1, 2, 3, 4])
def test_a_kill_while_github_is_read_loses_nothing(world: World, request_number: int) -> None:
    fill(world, ISSUES, comments=3)
    victim = Victim(world, request_number)
    world.github.before_response = victim.strike
    victim.run()
    world.github.before_response = None
    check_complete(world)
    assert repeated(world) == 0
    assert world.rows("SELECT status FROM runs ORDER BY id")[0] == ("interrupted",)


@pytest.mark.parametrize(
    ("pack", "answer_number"), [(1, 1), (1, 2), (1, 40), (1, ISSUES), (10, 1), (10, 2), (10, ISSUES // 10)]
)
def test_a_kill_while_claude_is_asked_pays_twice_only_for_requests_in_flight(
    world: World, pack: int, answer_number: int
) -> None:
    fill(world, ISSUES)
    victim = Victim(world, answer_number)

    def answer(*arguments: object) -> str:
        victim.strike()
        return plausible_answer(*arguments)  # type: ignore[arg-type]

    world.anthropic.answer = answer
    victim.run(ISSUETIDE_THREADS="4", ISSUETIDE_PACK=str(pack))
    stored = world.rows("SELECT count(*) FROM classifications")[0][0]
    assert stored >= pack * (answer_number - 2 * 4 - 1)
    check_complete(world)
    assert repeated(world) <= pack * 2 * 4


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("bulk_number", [1, 2])
def test_a_kill_around_a_bulk_request_doubles_no_document(world: World, moment: str, bulk_number: int) -> None:
    fill(world, ISSUES)
    victim = Victim(world, bulk_number)

    def hook(_method: str, path: str) -> None:
        if "_bulk" in path:
            victim.strike()

    hooks: dict[str, Callable[[str, str], None]] = {moment: hook}
    with Relay(world.opensearch_url, **hooks) as relay:
        victim.run(OPENSEARCH_URL=relay.url)
    check_complete(world)
    assert repeated(world) == 0


def test_kills_at_random_moments_lose_nothing(world: World) -> None:
    fill(world, ISSUES, comments=5)
    # Slow enough that eight kills fall into a first run that is never done before the last of them.
    world.anthropic.delay = 0.5
    chance = random.Random(20261121)
    for _ in range(8):
        process = world.start("run", "--repo", REPOSITORY, "--task", "issue_kind", ISSUETIDE_PACK="1")
        time.sleep(chance.uniform(0.4, 1.6))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    world.anthropic.delay = 0.0
    check_complete(world)
    # Eight threads can have had a request each in flight at every kill.
    assert repeated(world) <= 8 * 8


def test_a_terminated_run_closes_its_record_and_the_next_goes_on(world: World) -> None:
    fill(world, ISSUES)
    world.anthropic.delay = 0.2
    process = world.start("run", "--repo", REPOSITORY, "--task", "issue_kind")
    while len(world.anthropic.asked()) < 5 and process.poll() is None:
        time.sleep(0.05)
    process.terminate()
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 130, errors
    assert world.rows("SELECT status FROM runs") == [("interrupted",)]
    assert world.rows("SELECT count(*) FROM claims") == [(0,)]
    world.anthropic.delay = 0.0
    check_complete(world)
    assert repeated(world) == 0  # what was under way is waited for and kept: it is paid


def test_a_second_run_of_the_same_scope_leaves_at_once_with_its_own_code(world: World) -> None:
    fill(world, 20)
    left = threading.Event()

    def answer(body: Mapping[str, Any]) -> str:
        left.wait(240)
        return plausible_answer(body)

    world.anthropic.answer = answer
    first = world.start("run", "--repo", REPOSITORY, "--task", "issue_kind")
    while not world.anthropic.asked() and first.poll() is None:
        time.sleep(0.05)
    second = world.command("run", "--repo", REPOSITORY, "--task", "issue_kind")
    left.set()
    assert second.returncode == 7
    assert "another run is fetching octo/demo" in second.stderr
    first.communicate(timeout=240)
    assert first.returncode == 0
    assert repeated(world) == 0
