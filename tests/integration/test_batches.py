"""Batches through whole runs: the real SDK, the loopback API, a real PostgreSQL, and every way in which they fail."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from etl.classifiers.claude import ClaudeClassifier
from etl.classifiers.claude_batches import ClaudeBatches
from etl.db.queries.classifications import PendingScope, count_pending, count_unanswered
from etl.db.queries.purges import select_items
from etl.db.queries.rehash import merge_texts
from etl.db.store import Store
from etl.errors import ConfigurationError
from etl.pipeline import Fetch, Plan, RunOutcome, run
from etl.records import Scope
from etl.stages.batches import Batching
from etl.stages.purge import purge_item
from etl.stages.spending import Caps
from tests.fakes import FakeSource, SilentProgress, make_item, write_task
from tests.loopback import anthropic as loopback
from tests.loopback.anthropic import LoopbackAnthropic
from tests.loopback.anthropic_batches import Batch

MODEL = "claude-haiku-5-5"
SCOPE = Scope(("octo/demo",))
NOUNS = ("parser", "cache", "lexer", "router", "shell", "panel", "socket", "index", "table", "queue", "clock", "mixer")


def make_issues(count: int, first: int = 1) -> list[Any]:
    """Issues of distinct texts, bugs and wishes by turns: where all answers of a pack are the same they are doubted."""
    return [_make_issue(number) for number in range(first, first + count)]


def _make_issue(number: int) -> Any:
    noun = NOUNS[number % len(NOUNS)]
    if number % 2:
        return make_item(
            number, f"Crash in the {noun} of part{number}x", f"The {noun} crashes when part{number}x opens."
        )
    return make_item(
        number, f"Add a {noun} to part{number}x", f"It would be nice to have support for a {noun} in part{number}x."
    )


@dataclass
class Office:
    """Runs with batches on one database and one loopback API; each run is as a process of its own."""

    url: str
    server: LoopbackAnthropic
    folder: Path
    pack: int = 5
    batches: list[ClaudeBatches] = field(default_factory=list)

    def run(self, *items: Any, executor: Any = "batch", threshold: int = 1, **changes: Any) -> RunOutcome:
        """One run; `items` are what its source has now."""
        made = changes.pop("batches", None) or self.make_batches()
        classifier = ClaudeClassifier(
            api_key=self.server.key, base_url=self.server.url, model=MODEL, threads=2, max_retries=0
        )
        plan: dict[str, Any] = {
            "command": "test",
            "tasks": (write_task(self.folder),),
            "classifier": classifier,
            "fetches": (Fetch(FakeSource(items), SCOPE),) if items else (),
            "repositories": SCOPE.repositories if items else (),
            "batching": Batching(made, executor, threshold),
        }
        store = Store(self.url)
        try:
            return run(store, Plan(**{**plan, **changes}), SilentProgress())
        finally:
            store.close()
            classifier.close()

    def make_batches(self, **changes: Any) -> ClaudeBatches:
        """A client of batches as a run has one."""
        plain: dict[str, Any] = {
            "api_key": self.server.key,
            "base_url": self.server.url,
            "model": MODEL,
            "pack": self.pack,
            "max_retries": 0,
        }
        self.batches.append(ClaudeBatches(**{**plain, **changes}))
        return self.batches[-1]

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What the database says."""
        store = Store(self.url)
        try:
            with store.transaction() as connection:
                found = connection.execute(text(statement))
                return [tuple(row) for row in found] if found.returns_rows else []
        finally:
            store.close()

    def age(self, **time: float) -> None:
        """Lets time pass for every batch, at the vendor and in the database."""
        seconds = sum({"hours": 3600, "minutes": 60, "days": 86_400}[unit] * value for unit, value in time.items())
        self.server.batches.age(**time)
        self.rows(
            f"UPDATE batches SET created_at = created_at - interval '{seconds} seconds',"
            f" submitted_at = submitted_at - interval '{seconds} seconds'"
        )

    @property
    def states(self) -> list[str]:
        """The states of all batches, the oldest first."""
        return [row[0] for row in self.rows("SELECT state FROM batches ORDER BY id")]

    def answered(self) -> tuple[int, int]:
        """How many answers that count are stored, and of how many texts."""
        ((answers, texts),) = self.rows(
            "SELECT count(*), count(DISTINCT text_id) FROM classifications"
            " WHERE outcome IN ('answered', 'abstained', 'refused')"
        )
        return answers, texts

    def batch(self) -> Batch:
        """The only batch at the vendor."""
        (batch,) = self.server.batches.all()
        return batch


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Iterator[Office]:
    with LoopbackAnthropic() as server:
        office = Office(database_url, server, tmp_path)
        yield office
        for made in office.batches:
            made.close()


# --- the plain course ------------------------------------------------------------------------------------------------


def test_texts_are_submitted_in_one_run_and_answered_in_the_next(office: Office) -> None:
    first = office.run(*make_issues(23))
    assert (first.status, first.exit_code) == ("ok", 0)
    assert first.tally.counts["texts_submitted"] == 18
    assert first.tally.counts["texts_asked"] == 5  # the first request, sent by itself
    assert first.tally.in_batches["kind"]["texts"] == 18
    assert first.tally.executors["kind"].startswith("batch: ")
    assert office.answered() == (5, 5)
    waiting = office.run()
    assert (waiting.status, waiting.tally.counts["texts_collected"]) == ("ok", 0)
    office.server.batches.end()
    second = office.run()
    assert (second.status, second.tally.counts["texts_collected"], second.tally.in_batches) == ("ok", 18, {})
    assert office.answered() == (23, 23)
    assert office.rows("SELECT count(*) FROM claims") == [(0,)]
    assert office.server.batches.all() == []  # deleted at the vendor
    assert office.rows("SELECT state, erased_at IS NOT NULL FROM batches") == [("collected", True)]
    assert len(office.server.asked()) == 1


def test_answers_of_a_batch_have_its_prices_and_its_number(office: Office) -> None:
    office.run(*make_issues(11))
    office.server.batches.end()
    usages = [row["result"]["message"]["usage"] for row in office.batch().rows]
    outcome = office.run()
    ((dollars, tokens, packs),) = office.rows(
        "SELECT sum(cost_usd), sum(input_tokens + cache_write_tokens + cache_read_tokens + output_tokens),"
        " array_agg(DISTINCT pack) FROM classifications WHERE batch_id = 1"
    )
    expected = sum(
        usage["input_tokens"] * 0.05
        + usage["cache_creation_input_tokens"] * 0.0625
        + usage["cache_read_input_tokens"] * 0.005
        + usage["output_tokens"] * 0.25
        for usage in usages
    )
    assert float(dollars) == pytest.approx(expected / 1e6, abs=1e-8)
    assert outcome.tally.cost_usd == pytest.approx(float(dollars), abs=1e-8)
    assert tokens == sum(
        usage["input_tokens"]
        + usage["cache_creation_input_tokens"]
        + usage["cache_read_input_tokens"]
        + usage["output_tokens"]
        for usage in usages
    )
    assert packs == [1, 5]


def test_auto_takes_batches_from_a_number_of_texts_on_and_says_why(office: Office) -> None:
    few = office.run(*make_issues(4), executor="auto", threshold=5)
    assert few.tally.executors["kind"] == "sync: 4 texts wait, ISSUETIDE_BATCH_FROM is 5: answers at once"
    assert few.tally.counts["texts_submitted"] == 0
    many = office.run(*make_issues(7, first=5), executor="auto", threshold=5)
    assert many.tally.executors["kind"].startswith("batch: 7 texts wait, ISSUETIDE_BATCH_FROM is 5")
    assert many.tally.counts["texts_submitted"] == 2


def test_new_texts_are_asked_at_once_while_a_batch_is_under_way(office: Office) -> None:
    office.run(*make_issues(20))
    outcome = office.run(*make_issues(3, first=21), executor="auto", threshold=10)
    assert outcome.tally.counts["texts_asked"] == 3
    asked = [entry.item for entry in office.server.asked()] + office.server.batches.asked_items()
    assert all(sum(f"part{number}x" in item for item in asked) == 1 for number in range(1, 24))


def test_a_run_that_asks_at_once_collects_too(office: Office) -> None:
    office.run(*make_issues(10))
    office.server.batches.end()
    outcome = office.run(executor="sync")
    assert outcome.tally.counts["texts_collected"] == 5
    assert office.answered() == (10, 10)


def test_a_large_backfill_makes_several_batches(office: Office) -> None:
    office.pack = 1
    office.run(*make_issues(30), batches=office.make_batches(most_requests=10))
    assert [len(batch.requests) for batch in office.server.batches.all()] == [9, 10, 10]
    assert len({batch.requests[0]["custom_id"].split("-")[0] for batch in office.server.batches.all()}) == 3
    office.server.batches.end()
    assert office.run().tally.counts["texts_collected"] == 29


def test_a_batch_is_cut_by_its_bytes_as_well(office: Office) -> None:
    office.pack = 1
    office.run(*make_issues(12), batches=office.make_batches(most_bytes=15_000))
    sizes = [len(entry.body) for entry in office.server.journal if entry.path == "/v1/messages/batches"]
    assert len(sizes) > 2
    assert max(sizes) <= 15_000


def test_max_items_counts_what_is_submitted(office: Office) -> None:
    outcome = office.run(*make_issues(30), max_items=12)
    assert outcome.status == "stopped_budget"
    assert outcome.tally.counts["texts_asked"] + outcome.tally.counts["texts_submitted"] == 12


# --- a cap -----------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_under_a_cap_waits(office: Office) -> None:
    office.pack = 1
    outcome = office.run(*make_issues(40), caps=Caps(run=0.006))
    assert outcome.status == "stopped_budget"
    submitted = outcome.tally.counts["texts_submitted"]
    assert 5 < submitted < 39
    ((reserved, requests),) = office.rows("SELECT reserved_usd, requests FROM batches")
    assert float(reserved) <= 0.006
    assert requests == submitted == len(office.batch().requests)
    office.server.batches.end()
    again = office.run()
    assert again.tally.counts["texts_collected"] == submitted
    assert again.tally.counts["texts_submitted"] == 40 - submitted - 2


def test_an_open_batch_counts_against_the_cap_per_day(office: Office) -> None:
    office.pack = 1
    office.run(*make_issues(10))
    ((reserved,),) = office.rows("SELECT reserved_usd FROM batches")
    outcome = office.run(*make_issues(10, first=11), caps=Caps(day=float(reserved)))
    assert outcome.status == "stopped_budget"
    assert outcome.tally.counts["texts_submitted"] == 0


def test_a_spend_limit_at_the_vendor_stops_asking_and_nothing_else(office: Office) -> None:
    office.server.batches.queue("create", loopback.tier_spend_limit())
    outcome = office.run(*make_issues(12))
    assert outcome.status == "stopped_budget"
    assert outcome.tally.counts["items_new"] == 12
    assert office.states == ["abandoned"]
    assert office.rows("SELECT count(*) FROM claims") == [(0,)]
    assert office.run().tally.counts["texts_submitted"] == 2


# --- rows of the failure table ---------------------------------------------------------------------------------------


def test_a_batch_that_expires_is_asked_again_and_after_two_failures_at_once(office: Office) -> None:
    office.pack = 1
    office.run(*make_issues(9))
    office.age(hours=25)
    second = office.run()
    assert second.tally.counts["texts_collected"] == 0
    assert second.tally.counts["texts_submitted"] == 7  # the first of eight is asked by itself
    office.age(hours=25)
    third = office.run()
    assert third.tally.counts["texts_submitted"] == 0
    assert third.tally.counts["texts_asked"] == 7
    assert office.answered() == (9, 9)


def test_what_a_canceled_batch_had_done_counts_and_the_rest_is_asked_again(office: Office) -> None:
    office.pack = 1
    office.run(*make_issues(9))
    batch = office.batch()
    batch.done_before_cancel = 3
    office.make_batches().cancel(batch.id)
    office.server.batches.end()
    outcome = office.run(executor="auto", threshold=100)
    assert outcome.tally.counts["texts_collected"] == 3
    assert outcome.tally.counts["texts_asked"] == 5
    assert outcome.tally.remarks == ["batch 1: 5 of 8 texts were canceled and wait again"]
    assert office.answered() == (9, 9)


@pytest.mark.parametrize(
    ("result", "days", "submitted"),
    [("canceled", 0, 7), ("expired", 0, 0), ("expired", 8, 7)],
)
def test_only_what_failed_twice_within_a_week_is_kept_from_batches(
    office: Office, result: str, days: int, submitted: int
) -> None:
    office.pack = 1
    office.run(*make_issues(9))
    store = Store(office.url)
    with store.transaction() as connection:
        connection.execute(text("UPDATE batch_texts SET outcome = :result"), {"result": result})
        connection.execute(text("UPDATE batches SET state = 'lost', settled_at = now()"))
        connection.execute(text("DELETE FROM claims"))
        connection.execute(
            text(
                "INSERT INTO batches (task, task_version, task_sha256, prompt_version, classifier, model, state, token,"
                " requests, texts, reserved_usd, run_id, settled_at)"
                " SELECT task, task_version, task_sha256, prompt_version, classifier, model, state, 'again', requests,"
                " texts, reserved_usd, run_id, settled_at FROM batches"
            )
        )
        connection.execute(
            text(
                "INSERT INTO batch_texts (batch_id, text_id, custom_id, echo_id, outcome)"
                " SELECT b.id, t.text_id, t.custom_id, t.echo_id, t.outcome FROM batch_texts t, batches b"
                " WHERE b.token = 'again'"
            )
        )
        connection.execute(text("UPDATE batches SET created_at = created_at - make_interval(days => :d)"), {"d": days})
    store.close()
    assert office.run().tally.counts["texts_submitted"] == submitted


@pytest.mark.parametrize("result", ["errored", "overloaded", "expired", "missing"])
def test_single_requests_that_fail_are_asked_again(office: Office, result: str) -> None:
    office.pack = 1
    office.server.batches.script("part3x", result)
    office.run(*make_issues(9))
    office.server.batches.end()
    outcome = office.run(executor="auto", threshold=100)
    assert outcome.tally.counts["texts_collected"] == 7
    assert outcome.tally.counts["texts_asked"] == 1
    assert office.answered() == (9, 9)
    kind = "errored" if result == "overloaded" else result
    assert office.rows("SELECT count(*) FROM batch_texts WHERE outcome <> 'answered'") == [(1,)]
    assert office.rows(f"SELECT count(*) FROM batch_texts WHERE outcome = '{kind}'") == [(1,)]


def test_a_refusal_is_an_answer(office: Office) -> None:
    office.pack = 1
    office.server.batches.script("part3x", "refusal")
    office.run(*make_issues(9))
    office.server.batches.end()
    assert office.run().tally.counts["texts_collected"] == 8
    assert office.rows("SELECT count(*) FROM classifications WHERE outcome = 'refused'") == [(1,)]
    assert office.answered() == (9, 9)


@pytest.mark.parametrize("shape", ["cut", "malformed", "unknown_category"])
@pytest.mark.parametrize("pack", [1, 4])
def test_an_unusable_answer_is_kept_as_an_attempt_and_asked_again_at_once(
    office: Office, shape: str, pack: int
) -> None:
    office.pack = pack
    office.server.batches.script("part3x", shape)
    office.run(*make_issues(12))
    office.server.batches.end()
    outcome = office.run(executor="batch")
    attempts = office.rows(
        "SELECT count(*), sum(cost_usd) > 0 FROM classifications WHERE outcome IN ('invalid', 'truncated')"
    )
    assert attempts[0][0] >= 1
    assert attempts[0][1]
    assert outcome.tally.counts["texts_submitted"] == 0
    assert outcome.tally.counts["texts_asked"] == attempts[0][0]
    assert office.answered() == (12, 12)


def test_the_case_of_a_category_does_not_matter(office: Office) -> None:
    office.pack = 1
    office.server.batches.script("part3x", "wrong_case")
    office.run(*make_issues(9))
    office.server.batches.end()
    assert office.run().tally.counts["texts_collected"] == 8


def test_a_stream_that_breaks_off_is_read_again_and_nothing_is_stored_twice(office: Office) -> None:
    office.pack = 1
    office.run(*make_issues(70))
    office.server.batches.end()
    office.server.batches.break_results(30, 65)
    outcome = office.run()
    assert (outcome.status, outcome.tally.counts["texts_collected"]) == ("ok", 69)
    assert office.answered() == (70, 70)


def test_a_stream_that_keeps_breaking_is_left_to_the_next_run(office: Office) -> None:
    office.pack = 1
    office.run(*make_issues(70))
    office.server.batches.end()
    office.server.batches.break_results(60, 10, 5)
    outcome = office.run()
    assert outcome.status == "partial"
    assert outcome.tally.counts["texts_collected"] == 60
    assert office.states == ["submitted"]
    assert len(office.server.batches.all()) == 1
    assert office.run().tally.counts["texts_collected"] == 9
    assert office.answered() == (70, 70)


def test_a_page_that_is_no_result_does_not_pass_for_missing_ones(office: Office) -> None:
    office.run(*make_issues(12))
    office.server.batches.end()
    office.server.batches.queue("results", *[loopback.shaped("html")] * 3)
    outcome = office.run()
    assert outcome.status == "partial"
    assert "are none: check ANTHROPIC_BASE_URL" in outcome.tally.notes[0]
    assert office.states == ["submitted"]
    assert office.run().tally.counts["texts_collected"] == 7


def test_a_changed_key_loses_the_batch_and_its_texts_are_asked_again(office: Office) -> None:
    office.run(*make_issues(12))
    office.server.key = "sk-ant-another"
    outcome = office.run(executor="auto", threshold=100)
    assert office.states == ["lost"]
    assert outcome.tally.counts["texts_asked"] == 7
    assert "lost" in outcome.tally.remarks[0]
    assert office.answered() == (12, 12)


def test_a_404_of_something_else_than_the_api_loses_nothing(office: Office) -> None:
    office.run(*make_issues(12))
    office.server.batches.queue("retrieve", loopback.Fault(404, "proxy_error", "no such page"))
    outcome = office.run()
    assert (outcome.status, outcome.exit_code) == ("failed", ConfigurationError.exit_code)
    assert "is not the root of the Anthropic API" in str(outcome.error)
    assert office.states == ["submitted"]


def test_results_that_are_gone_are_asked_again(office: Office) -> None:
    office.run(*make_issues(12))
    office.server.batches.end()
    office.age(days=30)
    outcome = office.run(executor="auto", threshold=100)
    assert office.states == ["lost"]
    assert outcome.tally.counts["texts_asked"] == 7


def test_cron_may_be_down_for_weeks(office: Office) -> None:
    office.run(*make_issues(12))
    office.server.batches.end()
    office.age(days=28)
    assert office.run().tally.counts["texts_collected"] == 7


def test_a_slow_batch_is_spoken_of_and_one_that_never_ends_is_given_up(office: Office) -> None:
    office.run(*make_issues(12))
    batch = office.batch()
    office.rows("UPDATE batches SET submitted_at = submitted_at - interval '7 hours'")
    slow = office.run()
    assert slow.status == "ok"
    assert "under way for 7 hours" in slow.tally.remarks[0]
    office.rows("UPDATE batches SET submitted_at = submitted_at - interval '20 hours'")
    given_up = office.run(executor="auto", threshold=100)
    assert batch.status == "canceling"
    assert office.states == ["lost"]
    assert given_up.tally.counts["texts_asked"] == 7
    office.server.batches.end()
    office.run()
    assert office.server.batches.all() == []  # also what was given up is deleted at the vendor


def test_a_prompt_that_changes_while_a_batch_is_under_way_keeps_the_old_version_with_its_answers(
    office: Office,
) -> None:
    office.run(*make_issues(12))
    ((old_prompt,),) = office.rows("SELECT prompt_version FROM batches")
    office.server.batches.end()
    changed = (office.folder / "kind.toml").read_bytes().replace(b"version = 1", b"version = 2")
    task = write_task(office.folder, changed.replace(b'id = "bug"', b'id = "defect"'))
    outcome = office.run(tasks=(task,))
    assert outcome.tally.counts["texts_collected"] == 7
    found = office.rows(
        "SELECT DISTINCT task_version, prompt_version, categories FROM classifications WHERE batch_id = 1"
    )
    assert sorted(found) == [(1, old_prompt, ["bug"]), (1, old_prompt, ["feature"])]


def test_a_version_with_a_batch_under_way_is_no_draft_any_more(office: Office) -> None:
    office.server.script("part", loopback.refusal())
    office.run(*make_issues(12))
    office.rows("DELETE FROM classifications")  # what the first request had brought
    task = write_task(office.folder, (office.folder / "kind.toml").read_bytes().replace(b"broken", b"amiss"))
    outcome = office.run(tasks=(task,))
    assert outcome.status == "failed"
    assert "has answers given under other content" in str(outcome.error)


def test_a_refused_parameter_is_found_before_anything_is_submitted(office: Office) -> None:
    office.server.queue(loopback.bad_request("output_config: no"), loopback.bad_request("output_config: no"))
    outcome = office.run(*make_issues(12))
    assert outcome.status == "failed"
    assert "refuses two requests of task 'kind' (400, output_config: no" in str(outcome.error)
    assert office.states == []
    assert office.server.batches.all() == []


def test_one_text_that_the_vendor_refuses_does_not_keep_the_others_from_being_submitted(office: Office) -> None:
    office.pack = 1
    office.server.script("part12x", loopback.bad_request())
    outcome = office.run(*make_issues(12))
    assert outcome.status == "ok"
    assert outcome.tally.counts["texts_submitted"] == 11


# --- a submission that nobody heard of -------------------------------------------------------------------------------


def test_a_lost_answer_is_found_when_the_batch_has_ended(office: Office) -> None:
    office.server.batches.queue("create", loopback.dropped())
    first = office.run(*make_issues(12))
    assert first.status == "ok"
    assert office.states == ["intended"]
    assert first.tally.in_batches["kind"]["texts"] == 7
    waiting = office.run()  # it may be ours: nobody asks again
    assert waiting.tally.counts["texts_submitted"] == waiting.tally.counts["texts_asked"] == 0
    assert office.states == ["intended"]
    office.server.batches.end()
    found = office.run()
    assert found.tally.counts["texts_collected"] == 7
    assert office.states == ["collected"]
    assert office.answered() == (12, 12)
    assert len(office.server.asked()) == 1


def test_another_batch_of_the_same_size_is_not_taken_for_a_lost_one(office: Office) -> None:
    office.server.batches.queue("create", loopback.Fault(shape="unseen"))
    office.run(*make_issues(12))
    other = office.make_batches()
    made = next(other.prepare(write_task(office.folder), []), None)
    assert made is None
    stranger = {"model": MODEL, "max_tokens": 10, "messages": [{"role": "user", "content": "crash"}]}
    other._client.messages.batches.create(
        requests=[{"custom_id": f"theirs-{number}", "params": stranger} for number in range(2)]  # type: ignore[typeddict-item]
    )
    office.age(minutes=40)
    assert office.run().tally.counts["texts_submitted"] == 0  # it could be ours
    assert office.states == ["intended"]
    office.server.batches.end()
    outcome = office.run()
    assert office.states == ["abandoned", "submitted"]
    assert outcome.tally.counts["texts_submitted"] == 2
    assert office.batch is not None
    assert [batch.id for batch in office.server.batches.all() if batch.requests[0]["custom_id"] == "theirs-0"]


def test_a_batch_that_never_came_to_be_is_submitted_anew_after_a_safe_time(office: Office) -> None:
    office.server.batches.queue("create", loopback.Fault(shape="unseen"))
    office.run(*make_issues(12))
    assert office.run().tally.counts["texts_submitted"] == 0
    office.age(minutes=31)
    outcome = office.run()
    assert office.states == ["abandoned", "submitted"]
    assert outcome.tally.counts["texts_submitted"] == 2
    office.server.batches.end()
    office.run()
    assert office.answered() == (12, 12)


@pytest.mark.parametrize("fault", [loopback.server_error(), loopback.overloaded(), loopback.overloaded("3600")])
def test_a_failing_service_may_have_the_batch(office: Office, fault: loopback.Fault) -> None:
    office.server.batches.queue("create", fault)
    office.run(*make_issues(12))
    assert office.states == ["intended"]
    assert len([entry for entry in office.server.journal if entry.path == "/v1/messages/batches"]) == 1


def test_a_refused_submission_leaves_its_texts_pending_at_once(office: Office) -> None:
    office.server.batches.queue("create", loopback.bad_request("requests: too many in the queue"))
    outcome = office.run(*make_issues(12))
    assert outcome.status == "failed"
    assert office.states == ["abandoned"]
    assert office.rows("SELECT count(*) FROM claims") == [(0,)]


# --- where results are read from, and what stays there ---------------------------------------------------------------


def test_results_are_never_read_from_another_host(office: Office) -> None:
    with LoopbackAnthropic(key="elsewhere") as elsewhere:
        office.server.batches.foreign_host = elsewhere.url
        office.run(*make_issues(12))
        office.server.batches.end()
        assert office.run().tally.counts["texts_collected"] == 7
        assert elsewhere.journal == []


def test_what_cannot_be_deleted_at_the_vendor_is_deleted_later(office: Office) -> None:
    office.run(*make_issues(12))
    office.server.batches.end()
    office.server.batches.queue("delete", loopback.server_error())
    outcome = office.run()
    assert (outcome.status, outcome.tally.counts["texts_collected"]) == ("ok", 7)
    assert len(office.server.batches.all()) == 1
    office.run()
    assert office.server.batches.all() == []


def test_a_run_without_batches_asks_the_vendor_nothing_about_them(office: Office) -> None:
    office.run(*make_issues(3), executor="sync")
    office.run()
    assert [entry.path for entry in office.server.journal if "batches" in entry.path] == []


# --- texts that change while a batch is under way --------------------------------------------------------------------


def text_of(office: Office, number: int) -> int:
    """The text of an issue."""
    ((text_id,),) = office.rows(
        f"SELECT it.text_id FROM item_texts it JOIN items i ON i.id = it.item_id WHERE i.external_id = {number}"
    )
    return int(text_id)


def test_an_issue_is_purged_while_a_batch_asks_about_it_and_nothing_of_it_comes_back(office: Office) -> None:
    office.run(*make_issues(12))
    ((purged,),) = office.rows(
        "SELECT min(i.external_id) FROM batch_texts JOIN item_texts USING (text_id) JOIN items i ON i.id = item_id"
    )
    text_id = text_of(office, purged)
    store = Store(office.url)
    with store.transaction() as connection:
        (item,) = select_items(connection, "octo/demo", purged)
    purge_item(store, item, "a person asked for it")
    store.close()
    office.server.batches.end()
    outcome = office.run()
    assert outcome.status == "ok"
    assert office.rows(f"SELECT rationale, cost_usd > 0 FROM classifications WHERE text_id = {text_id}") == [("", True)]
    assert office.rows(f"SELECT message FROM batch_texts WHERE text_id = {text_id}") == [(None,)]
    assert office.rows(f"SELECT body FROM texts WHERE id = {text_id}") == [("",)]
    assert office.rows("SELECT count(*) FROM claims") == [(0,)]


@pytest.mark.parametrize("pack", [1, 5])
def test_texts_that_become_one_while_a_batch_asks_about_them_keep_their_answers(office: Office, pack: int) -> None:
    office.pack = pack
    office.run(*make_issues(12))
    ids = [row[0] for row in office.rows("SELECT text_id FROM batch_texts ORDER BY custom_id, echo_id")]
    asked_before = office.rows("SELECT min(text_id) FROM classifications")[0][0]
    store = Store(office.url)
    with store.transaction() as connection:
        merge_texts(connection, {ids[0]: ids[1], ids[2]: asked_before})
    store.close()
    assert office.rows("SELECT count(*) FROM claims") == [(len(ids) - 1,)]
    office.server.batches.end()
    outcome = office.run()
    assert outcome.tally.counts["texts_collected"] == len(ids)
    assert outcome.tally.counts["texts_asked"] == 0
    assert office.answered() == (12, 10)
    assert office.rows("SELECT count(*) FROM claims") == [(0,)]


def test_a_text_in_a_batch_does_not_wait_and_is_no_unanswered_one(office: Office) -> None:
    office.run(*make_issues(12))
    store = Store(office.url)
    with store.transaction() as connection:
        scope = PendingScope("claude")
        assert count_pending(connection, write_task(office.folder), scope) == 0
        assert count_unanswered(connection) == {}
    store.close()


# --- all of it at once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [20261121, 7, 1492])
def test_whatever_fails_in_whatever_order_every_text_is_answered_in_the_end(office: Office, seed: int) -> None:
    chance = random.Random(seed)
    office.pack = chance.choice([1, 3])
    faults = {
        "create": (loopback.dropped(), loopback.Fault(shape="unseen"), loopback.overloaded(), loopback.bad_request()),
        "retrieve": (loopback.server_error(), loopback.Fault(shape="unseen")),
        "list": (loopback.server_error(),),
        "results": (loopback.server_error(), loopback.Fault(shape="unseen")),
        "delete": (loopback.server_error(), loopback.dropped()),
    }
    results = ("errored", "overloaded", "expired", "canceled", "missing", "refusal", "cut", "malformed")
    first = 1
    for _ in range(14):
        new = make_issues(chance.randrange(9), first)
        first += len(new)
        for verb, possible in faults.items():
            if chance.random() < 0.4:
                office.server.batches.queue(verb, chance.choice(possible))
        for item in new:
            if chance.random() < 0.2:
                office.server.batches.script(f"part{item.external_id}x", chance.choice(results))
        if chance.random() < 0.3:
            office.server.batches.break_results(chance.randrange(5))
        office.run(*new, executor=chance.choice(["batch", "batch", "auto"]), threshold=4)
        if chance.random() < 0.6:
            office.server.batches.end()
        office.age(hours=chance.choice([0.6, 1, 1, 25]))
    office.server.batches.forget_faults()
    for _ in range(4):
        office.server.batches.end()
        office.age(hours=1)
        last = office.run(executor="sync")
    assert (last.status, last.tally.counts["texts_asked"], last.tally.in_batches) == ("ok", 0, {})
    assert office.rows("SELECT count(*) FROM texts") == [(first - 1,)]
    assert office.answered()[1] == first - 1
    assert office.rows("SELECT count(*) FROM claims") == [(0,)]
    assert office.server.batches.all() == []
    doubled = office.rows(
        "SELECT count(*) FROM (SELECT FROM classifications WHERE outcome IN ('answered', 'abstained', 'refused')"
        " GROUP BY text_id HAVING count(*) > 1) AS twice"
    )
    assert doubled == [(0,)]
