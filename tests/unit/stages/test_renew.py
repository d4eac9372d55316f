"""Renewal: which answers are given anew, at what cost, and that nothing is asked twice."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from etl.db.queries.classifications import PendingScope
from etl.db.store import Store
from etl.errors import BudgetError, ConfigurationError
from etl.pipeline import Fetch, Plan, RunOutcome, run
from etl.records import Answer, Item, Scope, Text
from etl.stages.classify import Asking
from etl.stages.renew import RenewalFilter, RenewalPlan, find_gone, make_renewal, plan_renewal
from etl.tasks import Task
from tests.fakes import TASK_FILE, FakeClassifier, FakeSink, FakeSource, SilentProgress, make_item, write_task

SCOPE = Scope(("octo/demo",))
ALL = RenewalFilter()
ITEMS = [make_item(1, "It will crash"), make_item(2, "Add a button"), make_item(3, "Hm"), make_item(4, "Another crash")]


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url)
    yield store
    store.close()


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return write_task(tmp_path)


@pytest.fixture
def old(store: Store, task: Task) -> FakeClassifier:
    """Whoever answered all items at first."""
    first = FakeClassifier("claude")
    run_with(store, task, first, ITEMS)
    return first


@pytest.fixture
def new(old: FakeClassifier) -> FakeClassifier:
    """The same with another prompt, asked after it."""
    assert len(old.asked) == len(ITEMS)
    later = FakeClassifier("claude")
    later.prompt = "p2"
    return later


def run_with(
    store: Store, task: Task, classifier: FakeClassifier, items: Sequence[Item] = (), **changes: Any
) -> RunOutcome:
    fetches = (Fetch(FakeSource(items), SCOPE),) if items else ()
    plan = Plan("test", fetches, (task,), classifier, repositories=SCOPE.repositories)
    own = Store(store.engine.url.render_as_string(hide_password=False))
    try:
        return run(own, replace(plan, **changes), SilentProgress())
    finally:
        own.close()


def renew(
    store: Store, task: Task, classifier: FakeClassifier, narrowed: RenewalFilter = ALL, **changes: Any
) -> RunOutcome:
    return run_with(store, task, classifier, renewal=make_renewal(task, classifier, narrowed), **changes)


def look(store: Store, task: Task, classifier: FakeClassifier, narrowed: RenewalFilter = ALL) -> RenewalPlan:
    renewal = make_renewal(task, classifier, narrowed)
    asking = Asking(classifier, PendingScope(classifier.name, None, (), renewal), None, float("inf"))
    return plan_renewal(store, task, asking, renewal, SilentProgress())


def rows(store: Store, statement: str) -> list[Any]:
    with store.transaction() as connection:
        return list(connection.execute(text(statement)))


CURRENT = "SELECT prompt_version, model, count(*) FROM current_answers GROUP BY 1, 2 ORDER BY 1, 2"


def test_answers_by_the_prompt_and_model_of_today_are_left_alone(store: Store, task: Task, old: FakeClassifier) -> None:
    assert look(store, task, old).texts == 0
    outcome = renew(store, task, old)
    assert (outcome.status, outcome.tally.counts["texts_asked"]) == ("ok", 0)


def test_a_plan_groups_the_answers_by_version_with_the_cost_and_changes_nothing(
    store: Store, task: Task, new: FakeClassifier
) -> None:
    before = rows(store, "SELECT xmin, * FROM classifications ORDER BY id")
    plan = look(store, task, new)
    assert [(group.task_version, group.prompt_version, group.model, group.texts) for group in plan.groups] == [
        (1, "p1", "model-1", 4)
    ]
    assert plan.texts == 4
    assert new.asked == []
    assert rows(store, "SELECT xmin, * FROM classifications ORDER BY id") == before


def test_a_renewal_asks_newest_first_keeps_history_and_makes_the_new_answers_current(
    store: Store, task: Task, new: FakeClassifier
) -> None:
    outcome = renew(store, task, new)
    assert (outcome.status, outcome.tally.counts["texts_asked"]) == ("ok", 4)
    assert [body.split("\n")[0] for body in new.asked] == ["Another crash", "Hm", "Add a button", "It will crash"]
    assert rows(store, CURRENT) == [("p2", "model-1", 4)]
    assert rows(store, "SELECT count(*) FROM classifications WHERE prompt_version = 'p1'") == [(4,)]


def test_a_renewal_raises_the_document_versions_of_the_items(store: Store, task: Task, new: FakeClassifier) -> None:
    sink = FakeSink()
    run_with(store, task, new, sink=sink)
    pushed = sink.pushed
    renew(store, task, new, sink=sink)
    assert sink.pushed > pushed
    documents = [json.loads(held.source or "") for held in sink.documents["classifications"].values()]
    assert {document["prompt_version"] for document in documents} == {"p2"}


def test_an_override_stays_above_the_new_answer(store: Store, task: Task, new: FakeClassifier) -> None:
    with store.transaction() as connection:
        connection.execute(
            text("""
                INSERT INTO annotations (item_id, task, annotator, role, categories, reason)
                SELECT id, 'kind', 'ana', 'override', '{feature}', 'I know it' FROM items WHERE external_id = 1
            """)
        )
    renew(store, task, new)
    assert rows(store, "SELECT category, overridden FROM issue_categories WHERE number = 1") == [("feature", True)]


def test_what_was_given_anew_before_a_cap_is_not_asked_again(store: Store, task: Task, new: FakeClassifier) -> None:
    new.raises_after, new.stop = 2, BudgetError("the cap is reached")
    outcome = renew(store, task, new)
    assert (outcome.status, len(new.asked)) == ("stopped_budget", 2)
    assert outcome.tally.waiting_texts == {"kind": 2}
    new.raises_after = None
    renew(store, task, new)
    assert len(new.asked) == len(set(new.asked)) == 4
    assert rows(store, "SELECT count(*) FROM claims") == [(0,)]


def test_max_items_stops_a_renewal_and_the_next_goes_on(store: Store, task: Task, new: FakeClassifier) -> None:
    assert renew(store, task, new, max_items=3).status == "stopped_budget"
    assert renew(store, task, new, max_items=3).status == "ok"
    assert len(new.asked) == len(set(new.asked)) == 4


@pytest.mark.parametrize(
    ("narrowed", "expected"),
    [
        (RenewalFilter(category="bug"), {"It will crash", "Another crash"}),
        (RenewalFilter(category="abstained"), {"Hm"}),
        (RenewalFilter(from_prompt="p1"), {"It will crash", "Add a button", "Hm", "Another crash"}),
        (RenewalFilter(from_prompt="p0"), set()),
        (RenewalFilter(from_model="model-1", category="feature"), {"Add a button"}),
        (RenewalFilter(from_model="model-0"), set()),
        (RenewalFilter(older_than=1), set()),
        (RenewalFilter(older_than=2), {"It will crash", "Add a button", "Hm", "Another crash"}),
    ],
)
def test_a_renewal_can_be_narrowed(
    store: Store, task: Task, new: FakeClassifier, narrowed: RenewalFilter, expected: set[str]
) -> None:
    assert look(store, task, new, narrowed).texts == len(expected)
    renew(store, task, new, narrowed)
    assert {body.split("\n")[0] for body in new.asked} == expected


def test_another_model_is_a_reason_and_a_date_behind_its_name_is_none(
    store: Store, task: Task, old: FakeClassifier
) -> None:
    old.model = "model-2"
    assert look(store, task, old).texts == 4
    old.model = "model-2-20261001"
    renewal = replace(make_renewal(task, old, RenewalFilter()), model="model-2")
    run_with(store, task, old, renewal=renewal)
    assert len(old.asked) == 8
    old.model = "model-2"
    assert look(store, task, old).texts == 0


def test_a_service_that_answers_under_another_name_is_asked_once_per_text_and_run(
    store: Store, task: Task, new: FakeClassifier
) -> None:
    renewal = replace(make_renewal(task, new, RenewalFilter()), model="model-9")
    outcome = run_with(store, task, new, renewal=renewal)
    assert (outcome.status, len(new.asked)) == ("ok", 4)


def test_a_text_without_any_answer_is_left_to_the_next_run(store: Store, task: Task, new: FakeClassifier) -> None:
    stopped = FakeClassifier("claude", 0, BudgetError("the cap is reached"))
    run_with(store, task, stopped, [make_item(5, "New crash")])
    renew(store, task, new)
    assert not any("New" in body for body in new.asked)


@pytest.mark.usefixtures("old")
def test_answers_by_rules_are_given_anew_only_where_rules_are_current(store: Store, task: Task) -> None:
    rules = FakeClassifier("rules")
    run_with(store, task, rules, [*ITEMS, make_item(5, "Fresh crash")])
    assert [body.split("\n")[0] for body in rules.asked] == ["Fresh crash"]
    rules.prompt = "p2"
    renew(store, task, rules)
    assert [body.split("\n")[0] for body in rules.asked] == ["Fresh crash", "Fresh crash"]


@pytest.mark.usefixtures("old")
def test_a_text_whose_new_answers_are_unusable_keeps_its_old_one_and_is_asked_three_times_at_most(
    store: Store, task: Task
) -> None:
    class Broken(FakeClassifier):
        def classify(self, task: Task, texts: Sequence[Text]) -> Iterator[Answer]:
            for answer in super().classify(task, texts):
                yield replace(answer, outcome="invalid", categories=())

    broken = Broken("claude")
    broken.prompt = "p2"
    renew(store, task, broken)
    renew(store, task, broken)
    assert len(broken.asked) == 4 * 3
    assert rows(store, CURRENT) == [("p1", "model-1", 4)]
    broken.prompt = "p3"
    assert look(store, task, broken).texts == 4


def test_what_an_open_batch_of_the_old_version_asks_about_waits_and_is_renewed_after_it(
    store: Store, task: Task, new: FakeClassifier
) -> None:
    with store.transaction() as connection:
        connection.execute(
            text("""
                WITH b AS (
                    INSERT INTO batches (task, task_version, task_sha256, prompt_version, classifier, model, token,
                                         requests, texts, reserved_usd, run_id)
                    VALUES ('kind', 1, 'x', 'p1', 'claude', 'model-1', 't', 1, 1, 0.01, 1) RETURNING id)
                INSERT INTO claims (text_id, task, run_id, expires_at, batch_id)
                SELECT (SELECT min(text_id) FROM item_texts), 'kind', 1, 'infinity', id FROM b
            """)
        )
    assert (look(store, task, new).texts, look(store, task, new).in_batches) == (3, 1)
    renew(store, task, new)
    assert len(new.asked) == 3
    with store.transaction() as connection:  # its answer came, by the old prompt
        connection.execute(text("DELETE FROM claims"))
    assert look(store, task, new).texts == 1
    renew(store, task, new)
    assert len(new.asked) == len(set(new.asked)) == 4


def test_a_version_below_one_that_runs_were_given_is_refused(store: Store, tmp_path: Path, new: FakeClassifier) -> None:
    newer = write_task(tmp_path, TASK_FILE.replace(b"version = 1", b"version = 3"))
    run_with(store, newer, new)
    outcome = renew(store, write_task(tmp_path), new)
    assert outcome.status == "failed"
    assert "raise `version` above 3" in (outcome.error or "")
    assert new.asked == []


def test_after_a_new_version_of_the_task_every_answer_is_to_be_given_anew(
    store: Store, tmp_path: Path, new: FakeClassifier
) -> None:
    newer = write_task(tmp_path, TASK_FILE.replace(b"version = 1", b"version = 2"))
    new.prompt = "p1"  # no wording has changed
    assert look(store, newer, new).texts == 0
    new.prompt = "p1-2"
    renew(store, newer, new, RenewalFilter(older_than=2))
    assert rows(store, "SELECT DISTINCT task_version FROM current_answers") == [(2,)]


def test_a_category_that_is_gone_is_named_with_what_it_is_called_now(
    store: Store, tmp_path: Path, new: FakeClassifier
) -> None:
    changed = TASK_FILE.replace(b"version = 1", b"version = 2").replace(
        b'id = "bug"', b'id = "defect"\naliases = ["bug"]'
    )
    changed = changed.replace(b'id = "feature"', b'id = "wish"')
    plan = look(store, write_task(tmp_path, changed), new)
    assert [(gone.category, gone.texts, gone.now) for gone in plan.gone] == [("bug", 2, "defect"), ("feature", 1, None)]


def test_a_category_of_a_renewal_means_answers_with_any_of_its_words_or_one_that_is_gone(
    store: Store, tmp_path: Path, new: FakeClassifier
) -> None:
    renamed = TASK_FILE.replace(b"version = 1", b"version = 2").replace(
        b'id = "bug"', b'id = "defect"\naliases = ["Bug"]'
    )
    task = write_task(tmp_path, renamed)
    for word in ("defect", "bug", "BUG"):
        assert look(store, task, new, RenewalFilter(category=word)).texts == 2
    gone = write_task(tmp_path, renamed.replace(b'aliases = ["Bug"]', b""))
    assert look(store, gone, new, RenewalFilter(category="bug")).texts == 2
    assert look(store, gone, new, RenewalFilter(category="defect")).texts == 0
    assert find_gone(task, {"defect": 1}) == []


def test_documents_call_a_renamed_category_by_its_new_name_without_asking_anyone(
    store: Store, tmp_path: Path, new: FakeClassifier
) -> None:
    sink = FakeSink()
    renamed = TASK_FILE.replace(b"version = 1", b"version = 2").replace(
        b'id = "bug"', b'id = "defect"\naliases = ["bug"]'
    )
    run_with(store, write_task(tmp_path, renamed), new, sink=sink)
    assert new.asked == []
    documents = [json.loads(held.source or "") for held in sink.documents["classifications"].values()]
    assert sorted(document["primary_category"] for document in documents) == [
        "abstained",
        "defect",
        "defect",
        "feature",
    ]
    assert rows(store, "SELECT category, count(*), min(confidence) FROM issue_categories GROUP BY 1 ORDER BY 1") == [
        ("defect", 2, 0.9),
        ("feature", 1, 0.9),
        (None, 1, None),
    ]


def test_a_classifier_that_cannot_tell_its_answers_apart_is_refused(task: Task) -> None:
    class Nameless:
        name = "nameless"
        paid = False

        def classify(self, task: Task, texts: Sequence[Text]) -> Iterator[Answer]:
            yield from ()

        def estimate(self, task: Task, texts: Sequence[Text]) -> float:
            return 0.0

    with pytest.raises(ConfigurationError, match="nameless cannot be given anew"):
        make_renewal(task, Nameless(), RenewalFilter())
