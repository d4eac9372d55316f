"""Comparisons: the same sample every time, nothing asked twice, and nothing that any document shows."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from etl.db.store import Store
from etl.errors import BudgetError
from etl.pipeline import Fetch, Plan, RunOutcome, run
from etl.records import Answer, Scope, Text
from etl.stages.trials import Trial, TrialPlan, Variant
from etl.tasks import Task, parse_task
from tests.fakes import TASK_FILE, FakeClassifier, FakeSource, SilentProgress, make_item, write_task

SCOPE = Scope(("octo/demo",))
TITLES = ("It will crash", "Add a button", "Hm", "Another crash", "Please add a flag", "crash, again")


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return write_task(tmp_path)


@pytest.fixture
def store(database_url: str, task: Task) -> Iterator[Store]:
    """With six issues that `claude` has answered with prompt p1."""
    store = Store(database_url)
    items = [make_item(number, title) for number, title in enumerate(TITLES, 1)]
    classifier = FakeClassifier("claude")
    do(store, Plan("test", (Fetch(FakeSource(items), SCOPE),), (task,), classifier, repositories=SCOPE.repositories))
    yield store
    store.close()


@pytest.fixture
def other() -> FakeClassifier:
    """Who answers with another prompt."""
    other = FakeClassifier("claude")
    other.prompt = "p2"
    return other


def do(store: Store, plan: Plan, *, dry_run: bool = False) -> RunOutcome:
    own = Store(store.engine.url.render_as_string(hide_password=False), dry_run=dry_run)
    try:
        return run(own, plan, SilentProgress())
    finally:
        own.close()


def compare(
    store: Store, task: Task, first: Variant, second: Variant, sample: int = 100, **changes: Any
) -> tuple[RunOutcome, Trial]:
    plan = Plan("issuetide compare", tasks=(task,), trial=TrialPlan(task, first, second, sample))
    dry_run = changes.pop("dry_run", False)
    outcome = do(store, replace(plan, **changes), dry_run=dry_run)
    assert outcome.trial is not None
    return outcome, outcome.trial


def rows(store: Store, statement: str) -> list[Any]:
    with store.transaction() as connection:
        return list(connection.execute(text(statement)))


def current(task: Task) -> Variant:
    return Variant("current", task)


WHAT_DOCUMENTS_SHOW = (
    "SELECT xmin, id, row_version FROM items ORDER BY id",
    "SELECT * FROM issue_categories ORDER BY repository, number",
    "SELECT item_id, task, source::text FROM classification_documents ORDER BY 1",
    "SELECT xmin, * FROM tasks",
)


def test_current_answers_are_taken_from_the_ledger_and_the_others_asked_for(
    store: Store, task: Task, other: FakeClassifier
) -> None:
    outcome, trial = compare(store, task, current(task), Variant("p2", task, other))
    assert (outcome.status, outcome.tally.counts["texts_asked"]) == ("ok", 6)
    assert (trial.first.asked, trial.first.reused) == (0, 6)
    assert (trial.second.asked, trial.second.reused) == (6, 0)
    assert {answer.prompt_version for answer in trial.first.answers.values()} == {"p1"}
    assert {answer.prompt_version for answer in trial.second.answers.values()} == {"p2"}
    assert {item for entry in trial.sample for item in entry.items} == {f"octo/demo#{n}" for n in range(1, 7)}
    assert rows(store, "SELECT purpose, count(*) FROM classifications GROUP BY 1 ORDER BY 1") == [
        ("live", 6),
        ("trial", 6),
    ]


def test_what_is_asked_for_trial_changes_nothing_that_a_document_shows_and_leaves_no_claim(
    store: Store, task: Task, other: FakeClassifier
) -> None:
    before = [rows(store, statement) for statement in WHAT_DOCUMENTS_SHOW]
    compare(store, task, current(task), Variant("p2", task, other))
    assert [rows(store, statement) for statement in WHAT_DOCUMENTS_SHOW] == before
    assert rows(store, "SELECT * FROM claims") == []


def test_a_repeated_comparison_asks_nobody(store: Store, task: Task, other: FakeClassifier) -> None:
    compare(store, task, current(task), Variant("p2", task, other))
    outcome, trial = compare(store, task, Variant("p2", task, other), current(task))
    assert (len(other.asked), outcome.tally.cost_usd) == (6, 0.0)
    assert (trial.first.reused, trial.second.reused) == (6, 6)


def test_a_live_answer_by_the_same_prompt_and_model_is_not_asked_for_again(store: Store, task: Task) -> None:
    same = FakeClassifier("claude")
    _, trial = compare(store, task, current(task), Variant("model-1", task, same))
    assert same.asked == []
    assert len(trial.second.answers) == 6


def test_a_comparison_that_a_cap_stops_shows_what_is_there_and_goes_on_where_it_was(
    store: Store, task: Task, other: FakeClassifier
) -> None:
    other.raises_after, other.stop = 4, BudgetError("the cap is reached")
    outcome, trial = compare(store, task, Variant("p2", task, other), current(task))
    assert (outcome.status, len(trial.first.answers), len(trial.second.answers)) == ("stopped_budget", 4, 6)
    other.raises_after = None
    outcome, trial = compare(store, task, Variant("p2", task, other), current(task))
    assert (outcome.status, len(trial.first.answers)) == ("ok", 6)
    assert len(other.asked) == len(set(other.asked)) == 6


def test_a_trial_answer_does_not_count_for_a_text_that_waits(store: Store, task: Task) -> None:
    rules = FakeClassifier("rules")
    fresh = (Fetch(FakeSource([make_item(7, "Fresh crash")]), SCOPE),)
    do(store, Plan("test", fresh, (task,), rules, repositories=SCOPE.repositories))
    claude = FakeClassifier("claude")
    compare(store, task, current(task), Variant("model-1", task, claude))
    assert len(claude.asked) == 1
    do(store, Plan("test", (), (task,), claude, repositories=SCOPE.repositories))
    assert len(claude.asked) == 2


def test_the_sample_is_the_same_every_time_and_a_smaller_one_is_part_of_it(
    store: Store, task: Task, other: FakeClassifier
) -> None:
    samples = [
        {entry.text.id for entry in compare(store, task, current(task), Variant("p2", task, other), size)[1].sample}
        for size in (3, 3, 5)
    ]
    assert len(samples[0]) == 3
    assert samples[0] == samples[1] < samples[2]


def test_a_draft_of_the_task_is_asked_in_its_words_and_never_becomes_a_version(
    store: Store, tmp_path: Path, task: Task, other: FakeClassifier
) -> None:
    draft = parse_task(TASK_FILE.replace(b"Something is broken.", b"Broken."), str(tmp_path / "drafts" / "kind.toml"))
    assert (draft.version, draft.sha256 == task.sha256) == (task.version, False)
    compare(store, task, current(task), Variant("draft", draft, other))
    assert rows(store, "SELECT DISTINCT task_version, task_sha256 FROM classifications WHERE purpose = 'trial'") == [
        (1, draft.sha256)
    ]
    assert rows(store, "SELECT sha256 FROM tasks") == [(task.sha256,)]


def test_a_version_that_was_only_tried_may_still_be_edited(
    store: Store, tmp_path: Path, task: Task, other: FakeClassifier
) -> None:
    second = write_task(tmp_path, TASK_FILE.replace(b"version = 1", b"version = 2"))
    do(store, Plan("test", tasks=(second,), repositories=SCOPE.repositories))
    compare(store, task, current(task), Variant("draft", second, other))
    edited = write_task(tmp_path, TASK_FILE.replace(b"version = 1", b"version = 2").replace(b"wanted", b"wished"))
    assert do(store, Plan("test", tasks=(edited,), repositories=SCOPE.repositories)).status == "ok"
    assert rows(store, "SELECT sha256 FROM tasks WHERE version = 2") == [(edited.sha256,)]


def test_unusable_answers_are_asked_for_three_times_at_most(store: Store, task: Task) -> None:
    class Broken(FakeClassifier):
        def classify(self, task: Task, texts: Sequence[Text]) -> Iterator[Answer]:
            for answer in super().classify(task, texts):
                yield replace(answer, outcome="invalid", categories=())

    broken = Broken("claude")
    broken.prompt = "p2"
    for _ in range(5):
        _, trial = compare(store, task, current(task), Variant("p2", task, broken))
    assert len(broken.asked) == 6 * 3
    assert trial.second.answers == {}


def test_a_dry_run_asks_nobody_and_says_what_it_would_cost(store: Store, task: Task, other: FakeClassifier) -> None:
    _, trial = compare(store, task, current(task), Variant("p2", task, other), dry_run=True)
    assert trial.second.to_ask == 6
    assert trial.second.estimated_usd == pytest.approx(0.06)
    assert other.asked == []


def test_a_second_comparison_at_the_same_time_is_kept_out(store: Store, task: Task, other: FakeClassifier) -> None:
    holder = Store(store.engine.url.render_as_string(hide_password=False))
    try:
        assert holder.try_lock("compare kind")
        plan = Plan("test", tasks=(task,), trial=TrialPlan(task, current(task), Variant("p2", task, other), 10))
        outcome = do(store, plan)
    finally:
        holder.close()
    assert (outcome.status, outcome.trial, other.asked) == ("locked", None, [])


def test_without_any_answer_there_is_nothing_to_compare(database_url: str, tmp_path: Path) -> None:
    store, task = Store(database_url), write_task(tmp_path)
    plan = Plan("test", tasks=(task,), trial=TrialPlan(task, current(task), current(task), 10))
    try:
        outcome = do(store, plan)
    finally:
        store.close()
    assert outcome.status == "failed"
    assert "no stored text has an answer to task kind yet" in (outcome.error or "")
