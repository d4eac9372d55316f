"""Inheriting within a family on a real PostgreSQL: who inherits, who is asked all the same, and when nobody does."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from etl.db.queries import purges
from etl.db.queries.classifications import PendingScope
from etl.db.queries.inheritance import Agreement, Heir, select_agreement, select_disagreements
from etl.db.queries.inspection import select_explanation
from etl.db.queries.runs import insert_run
from etl.db.store import Store
from etl.pipeline import Plan
from etl.records import Item
from etl.stages.base import Tally
from etl.stages.inherit import Inheritance, choose_heirs, find_kin, standing_of
from tests.fakes import START, FakeClassifier, FakeSink, SilentProgress, make_item, write_task
from tests.runs import rows, run_items

NAMES = [f"{one}{two}" for one in "bdfgklmnprst" for two in ("al", "en", "or", "ix", "um", "ost")]


def issue(number: int, path: str = "", code: int = 137, what: str = "crash", **changes: Any) -> Item:
    """An issue of one family; of one kin where `code` and `what` are the same, for a path is no guard."""
    place = path or NAMES[number % len(NAMES)] + "/" + NAMES[number // len(NAMES)]
    return make_item(
        number, f"The nightly {what} came again", f"Stopped at /srv/{place}/lib.c with exit code {code}", **changes
    )


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan(
        "test", tasks=(write_task(tmp_path),), classifier=FakeClassifier("claude"), sink=FakeSink(), inherit_audit=0.0
    )


def asked(plan: Plan) -> int:
    assert isinstance(plan.classifier, FakeClassifier)
    return len(plan.classifier.asked)


def documents(plan: Plan) -> dict[int, dict[str, Any]]:
    assert isinstance(plan.sink, FakeSink)
    found = [json.loads(entry.source or "") for entry in plan.sink.documents["classifications"].values()]
    return {entry["number"]: entry for entry in found}


def agreement(store: Store) -> Agreement | None:
    with store.transaction() as connection:
        return next(iter(select_agreement(connection)), None)


LEARNED = range(1000, 1052)


def learn(store: Store, plan: Plan, **changes: Any) -> None:
    """Fifty-one texts of a kin of their own are asked about; the last fifty could have inherited from the first."""
    first, *others = LEARNED
    run_items(store, plan, issue(first, code=3), **changes)
    run_items(store, plan, *(issue(number, code=3) for number in others), **changes)


def test_nobody_inherits_before_fifty_texts_were_asked_about_and_compared(store: Store, plan: Plan) -> None:
    run_items(store, plan, issue(1))
    run_items(store, plan, *(issue(number) for number in range(2, 51)))
    assert asked(plan) == 50
    found = agreement(store)
    assert found is not None
    assert (found.compared, found.agreed, standing_of(found)) == (49, 49, "learning")
    run_items(store, plan, issue(51))
    outcome = run_items(store, plan, issue(52))
    assert asked(plan) == 51
    assert outcome.tally.counts["texts_inherited"] == 1


def test_a_text_of_an_answered_kin_inherits_its_answer_and_says_from_whom(store: Store, plan: Plan) -> None:
    learn(store, plan)
    before = asked(plan)
    run_items(store, plan, issue(1))
    outcome = run_items(store, plan, issue(2, labels=("x",)))
    assert asked(plan) == before + 1
    assert (outcome.tally.counts["texts_inherited"], outcome.tally.cost_usd) == (1, 0)
    assert rows(store, "SELECT texts_asked, texts_inherited FROM run_summary ORDER BY run_id DESC LIMIT 1") == [(0, 1)]
    document = documents(plan)[2]
    assert (document["classifier"], document["primary_category"], document["answer"]) == ("family", "bug", "answered")
    assert document["confidence"] == pytest.approx(0.9 * 0.98)
    assert document["rationale"].startswith("as octo/demo#1:")
    ((cost, source_text, model),) = rows(
        store,
        "SELECT f.cost_usd + f.input_tokens + f.output_tokens, s.text_id, f.model FROM classifications f"
        " JOIN classifications s ON s.id = f.inherited_from WHERE f.classifier = 'family'",
    )
    assert (cost, model) == (0, "model-1")
    assert rows(
        store, f"SELECT external_id FROM items i JOIN item_texts t ON t.item_id = i.id WHERE text_id = {source_text}"
    ) == [(1,)]


@pytest.mark.parametrize("other", [{"code": 1}, {"what": "outage"}])
def test_another_guard_or_another_family_is_asked_about(store: Store, plan: Plan, other: dict[str, Any]) -> None:
    learn(store, plan)
    run_items(store, plan, issue(1))
    before = asked(plan)
    run_items(store, plan, issue(2, **other))
    assert asked(plan) == before + 1
    assert rows(store, "SELECT count(*) FROM classifications WHERE classifier = 'family'") == [(0,)]


def test_off_is_off(store: Store, plan: Plan) -> None:
    learn(store, plan)
    run_items(store, plan, issue(1))
    before = asked(plan)
    run_items(store, plan, issue(2), inherit_audit=None)
    assert asked(plan) == before + 1
    assert rows(store, "SELECT count(*) FROM inheritance_audits") == [(51,)]


def test_the_rules_cost_nothing_and_answer_themselves(store: Store, plan: Plan) -> None:
    learn(store, plan)
    run_items(store, plan, issue(1))
    rules = FakeClassifier()
    run_items(store, plan, issue(2), classifier=rules)
    assert len(rules.asked) == 1


def test_an_inherited_answer_stands_above_rules_and_below_claude_and_a_person(store: Store, plan: Plan) -> None:
    learn(store, plan)
    run_items(store, plan, issue(1))
    run_items(store, plan, issue(2), classifier=FakeClassifier())
    assert documents(plan)[2]["classifier"] == "rules"
    outcome = run_items(store, plan)
    assert outcome.tally.counts["texts_inherited"] == 1
    assert documents(plan)[2]["classifier"] == "family"
    again = FakeClassifier()
    run_items(store, plan, classifier=again)
    assert again.asked == []
    with store.transaction() as connection:
        connection.execute(
            text("""
            INSERT INTO classifications (text_id, task, task_version, task_sha256, prompt_version, classifier, model,
                                         outcome, categories, confidences, rationale, run_id)
            SELECT text_id, task, task_version, task_sha256, prompt_version, 'claude', 'm', 'answered', '{feature}',
                   '{1}', 'r', 1 FROM classifications WHERE classifier = 'family'
        """)
        )
    assert rows(store, "SELECT category FROM issue_categories WHERE number = 2") == [("feature",)]
    override(store, 2, "{question}")
    assert rows(store, "SELECT category, classifier FROM issue_categories WHERE number = 2") == [("question", "person")]


def override(store: Store, number: int, categories: str) -> None:
    with store.transaction() as connection:
        connection.execute(
            text(f"""
                INSERT INTO annotations (item_id, task, annotator, role, categories, reason)
                SELECT id, 'kind', 'me', 'override', '{categories}', 'r' FROM items WHERE external_id = {number}
            """)
        )


def test_where_a_person_decided_otherwise_nobody_inherits_and_what_was_is_taken_back(store: Store, plan: Plan) -> None:
    learn(store, plan)
    run_items(store, plan, issue(1))
    run_items(store, plan, issue(2))
    assert documents(plan)[2]["classifier"] == "family"
    override(store, 1, "{bug}")
    run_items(store, plan)
    assert documents(plan)[2]["classifier"] == "family"
    override(store, 1, "{feature}")
    before = asked(plan)
    run_items(store, plan, issue(3))
    assert asked(plan) == before + 2
    assert {documents(plan)[number]["classifier"] for number in (2, 3)} == {"claude"}
    assert rows(store, "SELECT purpose FROM classifications WHERE classifier = 'family'") == [("withdrawn",)]


def test_where_answers_of_a_kin_differ_nobody_inherits(store: Store, plan: Plan) -> None:
    learn(store, plan)
    run_items(store, plan, issue(1))
    with store.transaction() as connection:
        connection.execute(
            text("""
            UPDATE classifications SET categories = '{feature}' WHERE text_id = (
                SELECT t.text_id FROM item_texts t JOIN items i ON i.id = t.item_id WHERE i.external_id = 1)
        """)
        )
    run_items(store, plan, issue(2), inherit_audit=None)
    before = asked(plan)
    outcome = run_items(store, plan, issue(3))
    assert outcome.tally.counts["texts_inherited"] == 0
    assert asked(plan) == before + 1


def test_a_refusal_is_not_inherited(store: Store, plan: Plan) -> None:
    learn(store, plan)
    run_items(store, plan, issue(1, what="refused start"))
    before = asked(plan)
    run_items(store, plan, issue(2, what="refused start"))
    assert asked(plan) == before + 1


def test_a_text_that_people_split_off_inherits_nothing(store: Store, plan: Plan) -> None:
    learn(store, plan)
    run_items(store, plan, issue(1))
    run_items(store, plan, issue(2), classifier=None)
    with store.transaction() as connection:
        connection.execute(
            text("""
            UPDATE texts SET text_hash = text_hash || '~2' WHERE id = (
                SELECT t.text_id FROM item_texts t JOIN items i ON i.id = t.item_id WHERE i.external_id = 2)
        """)
        )
    before = asked(plan)
    run_items(store, plan)
    assert asked(plan) == before + 1


class Wavering(FakeClassifier):
    """Answers a crash with bug, but every seventh with feature."""

    def _answer(self, found: Any) -> Any:
        answer = super()._answer(found)
        return replace(answer, categories=(("feature", 0.9),)) if len(self.asked) % 7 == 0 else answer


def test_where_too_many_audits_disagree_nobody_inherits_until_enough_agree_again(
    store: Store, plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    doubtful = replace(plan, classifier=Wavering("claude"))
    run_items(store, doubtful, *(issue(number, code=number) for number in range(1, 61)))
    run_items(store, doubtful, *(issue(100 + number, code=number) for number in range(1, 61)))
    found = agreement(store)
    assert found is not None
    assert (found.compared, standing_of(found)) == (60, "refused")
    checked = rows(store, "SELECT run_id, checks, checks_agreed FROM run_tasks ORDER BY 1")
    assert checked == [(1, 0, 0), (2, 60, found.agreed)]
    before = asked(plan)
    outcome = run_items(store, plan, issue(300, code=3))
    assert (outcome.tally.counts["texts_inherited"], outcome.exit_code) == (0, 0)
    assert "nobody inherits" in caplog.text
    assert asked(plan) == before + 1
    with store.transaction() as connection:
        cases = select_disagreements(connection, 100)
    assert len(cases) == found.compared - found.agreed
    assert {case["item"].split("#")[0] for case in cases} == {"octo/demo"}
    # Two hundred that agree push out those that did not: agreement is over the newest.
    run_items(store, plan, *(issue(1000 + number, code=3) for number in range(200)))
    found = agreement(store)
    assert found is not None
    assert (found.compared, found.agreed, standing_of(found)) == (200, 200, "on")


def test_one_of_the_first_twenty_of_a_kin_is_asked_about_and_its_answer_counts(store: Store, plan: Plan) -> None:
    learn(store, plan)
    run_items(store, plan, issue(1))
    before = asked(plan)
    for first in (2, 12, 22):
        run_items(store, plan, *(issue(number) for number in range(first, first + 10)))
    assert asked(plan) == before + 1
    kinds = [documents(plan)[number]["classifier"] for number in range(2, 32)]
    assert (kinds.count("claude"), kinds.count("family")) == (1, 29)
    assert kinds.index("claude") < 20


def test_a_share_is_asked_about(store: Store, plan: Plan) -> None:
    learn(store, plan)
    run_items(store, plan, issue(1))
    run_items(store, plan, *(issue(number) for number in range(2, 202)), inherit_audit=0.3)
    asked_about = sum(documents(plan)[number]["classifier"] == "claude" for number in range(2, 202))
    assert 40 <= asked_about <= 80


def test_a_dry_run_estimates_without_what_is_inherited_and_leaves_nothing(store: Store, plan: Plan) -> None:
    learn(store, plan)
    run_items(store, plan, issue(1))
    outcome = run_items(store, plan, issue(2), issue(3, code=9), dry_run=True)
    assert outcome.tally.waiting_texts == {"kind": 1}
    assert rows(store, "SELECT count(*) FROM classifications WHERE classifier = 'family'") == [(0,)]


def test_a_run_that_was_killed_after_writing_down_what_it_expects_is_gone_on_with(store: Store, plan: Plan) -> None:
    run_items(store, plan, issue(1))
    dying = FakeClassifier("claude", raises_after=0, stop=KeyboardInterrupt())  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        run_items(store, plan, issue(2), classifier=dying)
    found = agreement(store)
    assert found is not None
    assert (found.compared, found.waiting) == (0, 1)
    run_items(store, plan)
    found = agreement(store)
    assert found is not None
    assert (found.compared, found.agreed, found.waiting) == (1, 1, 0)


def test_explaining_an_issue_marks_what_was_inherited(store: Store, plan: Plan) -> None:
    learn(store, plan)
    run_items(store, plan, issue(1))
    run_items(store, plan, issue(2, updated_at=START + timedelta(days=500)))
    with store.transaction() as connection:
        (item,) = purges.select_items(connection, "octo/demo", 2)
        found = select_explanation(connection, item.ids[0])
    assert [(entry["classifier"], entry["current"]) for entry in found.answers] == [("family", True)]


def heir(number: int, kin: str = "k", inherited: int = 0, audited: int = 0) -> Heir:
    return Heir(number, f"1:{number:032x}", kin, 7, "octo/demo#1", inherited, audited)


def test_the_choice_is_the_same_every_time_and_another_for_another_task() -> None:
    heirs = [heir(number, audited=1) for number in range(400)]
    chosen = choose_heirs(heirs, "kind", 0.05)
    assert chosen == choose_heirs(heirs, "kind", 0.05) != choose_heirs(heirs, "labels", 0.05)
    assert 350 < len(chosen) < 400


@pytest.mark.parametrize("kin", [f"k{number}" for number in range(25)])
def test_of_each_kin_one_of_the_first_twenty_is_left_out_and_only_one(kin: str) -> None:
    heirs = [heir(number, kin) for number in range(60)]
    left_out = {entry.text_id for entry in heirs} - {entry.text_id for entry in choose_heirs(heirs, "kind", 0.0)}
    assert len(left_out) == 1
    assert min(left_out) < 20


def test_with_an_audit_of_everything_nobody_inherits() -> None:
    assert choose_heirs([heir(number) for number in range(50)], "kind", 1.0) == []


@pytest.mark.parametrize(
    ("compared", "agreed", "standing"),
    [
        (0, 0, "learning"),
        (49, 49, "learning"),
        (49, 0, "learning"),
        (50, 49, "on"),
        (50, 48, "refused"),
        (200, 196, "on"),
    ],
)
def test_how_a_task_stands(compared: int, agreed: int, standing: str) -> None:
    assert standing_of(Agreement("kind", compared, agreed)) == standing


def test_a_task_without_any_audit_is_learning() -> None:
    assert standing_of(None) == "learning"


def test_kin_of_earlier_rules_is_made_anew_or_forgotten(store: Store, plan: Plan) -> None:
    run_items(store, plan, issue(1), issue(2))
    assert rows(store, "SELECT count(*), count(DISTINCT kin) FROM text_kin") == [(2, 1)]
    with store.transaction() as connection:
        connection.execute(text("UPDATE text_kin SET rules_version = 0, kin = 'old' || text_id"))
        connection.execute(text("UPDATE texts SET family_hash = 'alone' WHERE id = (SELECT max(id) FROM texts)"))
    run_items(store, plan)
    assert rows(store, "SELECT count(*) FROM text_kin") == [(0,)]


def test_a_purge_takes_the_kin(store: Store, plan: Plan) -> None:
    run_items(store, plan, issue(1), issue(2))
    with store.transaction() as connection:
        purges.erase_texts(
            connection, [row.text_id for row in connection.execute(text("SELECT text_id FROM text_kin"))]
        )
    assert rows(store, "SELECT count(*) FROM text_kin") == [(0,)]


def test_two_runs_at_once_hand_an_answer_on_once(store: Store, plan: Plan) -> None:
    learn(store, plan)
    run_items(store, plan, issue(1))
    run_items(store, plan, *(issue(number) for number in range(2, 12)), classifier=None)
    (task,) = plan.tasks
    scope = PendingScope("claude")
    with store.transaction() as connection:
        run_ids = [insert_run(connection, command="t", repositories=[], tasks=[], classifier=None) for _ in range(2)]
    find_kin(store, SilentProgress())
    heritages = [Inheritance(store, task, scope, run_id, Tally(), 0.0) for run_id in run_ids]
    with ThreadPoolExecutor(2) as pool:
        done = sum(pool.map(Inheritance.hand_on, heritages))
    assert done >= 9
    assert rows(store, "SELECT count(*), count(DISTINCT text_id) FROM classifications WHERE classifier = 'family'") == [
        (done, done)
    ]
    assert rows(store, "SELECT count(*) FROM claims") == [(0,)]
