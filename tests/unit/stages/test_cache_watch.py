"""Watching whether the prompt cache is read."""

import logging

import pytest

from etl.records import Answer, Usage
from etl.stages.base import Tally
from etl.stages.cache_watch import CacheWatch


class World:
    """A watch whose clock stands still until somebody turns it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.tally = Tally()
        self.requests = 0
        self.watch = CacheWatch(self.tally, lambda: self.now)

    def see(self, read: int, written: int, *, prompt: str = "p1", batch: int | None = None, times: int = 1) -> None:
        """An answer, or several that shared a request."""
        self.requests += 1
        answer = Answer(
            self.requests, "abstained", (), "", "claude", "model", prompt, Usage(10, written, read, 5, 0.1),
            request_id=f"req_{self.requests}", batch_id=batch, pack=times,
        )  # fmt: skip
        for _ in range(times):
            self.watch.see(answer, "kind")


@pytest.fixture
def world() -> World:
    return World()


def test_one_write_and_then_reads_are_as_it_should_be(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.see(0, 4_000)
    for _ in range(50):
        world.see(4_000, 0)
        world.see(0, 4_000)
    assert (world.tally.remarks, caplog.records) == ([], [])


def test_writes_that_nobody_reads_are_said_once_in_log_and_record(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            world.see(0, 4_000)
    assert len(world.tally.remarks) == len(caplog.records) == 1
    assert "written to the cache and never read by model" in world.tally.remarks[0]
    assert world.tally.notes == []


def test_a_prompt_that_is_not_cached_at_all_is_only_recorded_for_the_classifier_has_said_so(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        world.see(0, 0)
    assert "is not cached at all" in world.tally.remarks[0]
    assert caplog.records == []


def test_texts_of_one_request_count_once(world: World) -> None:
    for _ in range(3):
        world.see(0, 4_000, times=10)
    assert world.tally.remarks == []
    world.see(0, 4_000, times=10)
    assert len(world.tally.remarks) == 1


def test_requests_too_far_apart_and_batches_prove_nothing(world: World) -> None:
    for _ in range(20):
        world.see(0, 4_000)
        world.now += 301
        world.see(0, 0, batch=7)
    assert world.tally.remarks == []


def test_each_prompt_has_its_own_word(world: World) -> None:
    for _ in range(20):
        world.see(0, 4_000, prompt="p1")
        world.see(0, 4_000, prompt="p2")
    assert len(world.tally.remarks) == 2
