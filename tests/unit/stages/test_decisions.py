"""What people say of texts: it applies at once, outlives edits and new rules, and can be taken back."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from etl.db.queries.decisions import select_decisions, select_decisions_on
from etl.db.queries.purges import select_items
from etl.db.store import Store
from etl.errors import ConfigurationError
from etl.pipeline import Plan
from etl.stages.decisions import Named, Signed, alias_texts, split_item, withdraw_alias, withdraw_split
from etl.stages.purge import purge_item
from tests.fakes import (
    START,
    TASK_FILE,
    FakeClassifier,
    make_comment,
    make_item,
    write_task,
)
from tests.runs import rows, run_with

ANA = Signed("ana", "one crash, two wordings")
BEN = Signed("ben", "not so")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan("test", tasks=(write_task(tmp_path),), classifier=FakeClassifier(), repositories=("octo/demo",))


def asked(plan: Plan) -> list[str]:
    assert isinstance(plan.classifier, FakeClassifier)
    return plan.classifier.asked


def named(store: Store, number: int) -> Named:
    with store.transaction() as connection:
        (found,) = select_items(connection, "octo/demo", number)
    return Named(f"octo/demo#{number}", found.ids)


def hashes(store: Store) -> dict[int, str]:
    return dict(rows(store, "SELECT number, text_hash FROM issues"))


def answers(store: Store) -> dict[int, str]:
    return dict(rows(store, "SELECT number, category FROM issue_categories WHERE category IS NOT NULL"))


LEDGER = "SELECT * FROM classifications ORDER BY id"


def test_an_alias_lets_the_seconds_answers_count_for_the_first_at_once(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "It will crash"), make_item(2, "Add a button"), make_item(3, "It will crash")])
    ledger, before = rows(store, LEDGER), hashes(store)
    versions = dict(rows(store, "SELECT external_id, row_version FROM items"))
    applied = alias_texts(store, named(store, 1), named(store, 2), None, ANA)
    assert (applied.items_moved, applied.inputs, applied.waiting) == (2, ("issue",), ())
    assert answers(store) == {1: "feature", 2: "feature", 3: "feature"}
    assert set(hashes(store).values()) == {before[2]}
    now = dict(rows(store, "SELECT external_id, row_version FROM items"))
    assert [now[number] > versions[number] for number in (1, 2, 3)] == [True, False, True]
    assert rows(store, f"SELECT known_as, current_hash FROM text_ids WHERE text_hash = '{before[1]}'") == [
        ("alias", before[2])
    ]
    count = len(asked(plan))
    run_with(store, plan, [make_item(4, "It will crash")])
    assert (len(asked(plan)), answers(store)[4]) == (count, "feature")
    assert rows(store, LEDGER) == ledger


def test_a_withdrawn_alias_leaves_everything_as_it_was(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "It will crash"), make_item(2, "Add a button")])
    before, ledger = (hashes(store), answers(store)), rows(store, LEDGER)
    alias_texts(store, named(store, 1), named(store, 2), None, ANA)
    run_with(store, plan, [make_item(3, "It will crash")])
    applied = withdraw_alias(store, named(store, 1), named(store, 2), None, BEN)
    assert applied.items_moved == 2
    assert answers(store).pop(3) == "bug"
    assert ({k: v for k, v in hashes(store).items() if k != 3}, answers(store)) == (before[0], {**before[1], 3: "bug"})
    assert rows(store, LEDGER) == ledger
    with store.transaction() as connection:
        assert select_decisions(connection, withdrawn=False) == []
        (decision,) = select_decisions(connection, withdrawn=True)
    assert (decision["made_by"], decision["withdrawn_by"], decision["withdrawn_reason"]) == ("ana", "ben", "not so")
    with pytest.raises(ConfigurationError, match="no alias lets octo/demo#1 count as octo/demo#2"):
        withdraw_alias(store, named(store, 1), named(store, 2), None, BEN)


def test_aliases_may_be_chained_but_never_go_in_a_circle(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash"), make_item(2, "Add"), make_item(3, "else")])
    own = hashes(store)
    alias_texts(store, Named(own[1]), Named(own[2]), None, ANA)
    alias_texts(store, Named(own[2]), Named(own[3]), None, ANA)
    assert set(hashes(store).values()) == {own[3]}
    with pytest.raises(ConfigurationError, match="circle"):
        alias_texts(store, Named(own[3]), Named(own[1]), None, ANA)
    with pytest.raises(ConfigurationError, match="counts as another text already, by decision 1"):
        alias_texts(store, Named(own[1]), Named(own[3]), None, ANA)
    with pytest.raises(ConfigurationError, match="same text already"):
        alias_texts(store, named(store, 1), named(store, 3), None, ANA)
    withdraw_alias(store, Named(own[2]), Named(own[3]), None, ANA)
    assert hashes(store) == {1: own[2], 2: own[2], 3: own[3]}
    withdraw_alias(store, named(store, 1), named(store, 2), None, ANA)
    assert hashes(store) == own


def test_an_alias_is_of_texts_so_an_edited_issue_leaves_it(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash"), make_item(2, "Add")])
    alias_texts(store, named(store, 1), named(store, 2), None, ANA)
    run_with(store, plan, [make_item(1, "A crash elsewhere", updated_at=START + timedelta(days=9))])
    assert answers(store) == {1: "bug", 2: "feature"}
    run_with(store, plan, [make_item(1, "crash", updated_at=START + timedelta(days=10))])
    assert answers(store) == {1: "feature", 2: "feature"}


def test_an_alias_to_a_text_without_an_answer_says_that_it_will_be_asked(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash")])
    run_with(store, replace(plan, classifier=None), [make_item(2, "Add")])
    applied = alias_texts(store, named(store, 1), named(store, 2), None, ANA)
    assert applied.waiting == ("kind",)
    run_with(store, plan)
    assert answers(store) == {1: "feature", 2: "feature"}


@pytest.mark.parametrize(
    ("first", "second", "only", "words"),
    [
        ("1:ffffffffffffffff", "", None, "no text has or had the id 1:ffffffffffffffff"),
        ("", "", None, "same text already"),
        ("", "empty", None, "the text of octo/demo#3 is empty"),
        ("", "other", "issue_with_comments", "octo/demo#1 is no text of input issue_with_comments, but of issue"),
    ],
)
def test_what_cannot_be_an_alias_is_refused_in_one_line(
    first: str, second: str, only: str | None, words: str, store: Store, plan: Plan
) -> None:
    run_with(store, plan, [make_item(1, "crash"), make_item(2, "Add"), make_item(3, " ")])
    sides = [
        Named(word) if word.startswith("1:") else named(store, {"": 1, "empty": 3, "other": 2}[word])
        for word in (first, second)
    ]
    before = rows(store, "SELECT * FROM item_texts ORDER BY 1")
    with pytest.raises(ConfigurationError, match=words) as caught:
        alias_texts(store, sides[0], sides[1], only, ANA)
    assert "\n" not in str(caught.value)
    assert rows(store, "SELECT * FROM item_texts ORDER BY 1") == before
    assert rows(store, "SELECT FROM text_decisions") == []


@pytest.fixture
def talk(plan: Plan, tmp_path: Path) -> Plan:
    """The plan with a second task that reads comments."""
    words = TASK_FILE.replace(b'"issue"', b'"issue_with_comments"').replace(b'"kind"', b'"talk"')
    return replace(plan, tasks=(*plan.tasks, write_task(tmp_path, words, "talk")))


def test_texts_of_different_inputs_are_never_the_same(store: Store, talk: Plan) -> None:
    page = [make_item(1, "crash"), make_item(2, "Add"), make_comment(9, 1, "me too"), make_comment(8, 2, "and me")]
    run_with(store, talk, page)
    by_input = (
        "SELECT x.text_hash FROM texts x JOIN item_texts it ON it.text_id = x.id JOIN items i ON i.id = it.item_id"
    )
    ((of_issue,),) = rows(store, f"{by_input} WHERE i.external_id = 1 AND x.input = 'issue'")
    ((of_comments,),) = rows(store, f"{by_input} WHERE i.external_id = 2 AND x.input = 'issue_with_comments'")
    with pytest.raises(ConfigurationError, match="texts of different inputs are never the same"):
        alias_texts(store, Named(of_issue), Named(of_comments), None, ANA)
    applied = alias_texts(store, named(store, 1), named(store, 2), "issue", ANA)
    assert applied.inputs == ("issue",)
    assert rows(store, "SELECT task, category FROM issue_categories WHERE number = 1 ORDER BY 1") == [
        ("kind", "feature"),
        ("talk", "bug"),
    ]
    applied = alias_texts(store, named(store, 1), named(store, 2), None, ANA)
    assert applied.inputs == ("issue_with_comments",)
    assert rows(store, "SELECT DISTINCT category FROM issue_categories") == [("feature",)]


def test_a_split_issue_gets_a_text_of_its_own_and_is_asked_about(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash"), make_item(2, "crash"), make_item(3, "crash")])
    ledger, before = rows(store, LEDGER), hashes(store)
    applied = split_item(store, named(store, 2), ANA)
    assert (applied.items_moved, applied.waiting) == (1, ("kind",))
    assert answers(store) == {1: "bug", 3: "bug"}
    now = hashes(store)
    assert now[1] == now[3] == before[1] != now[2]
    assert now[2].startswith(f"{before[2]}~")
    assert run_with(store, plan).tally.counts["texts_asked"] == 1
    assert rows(store, LEDGER)[: len(ledger)] == ledger
    with pytest.raises(ConfigurationError, match="a text of its own already"):
        split_item(store, named(store, 2), ANA)
    withdraw_split(store, named(store, 2), BEN)
    assert hashes(store) == before
    with pytest.raises(ConfigurationError, match="has no text of its own"):
        withdraw_split(store, named(store, 2), BEN)
    count = len(asked(plan))
    split_item(store, named(store, 2), ANA)  # once more: what was answered for it counts again
    run_with(store, plan)
    assert (hashes(store), len(asked(plan))) == (now, count)


def test_a_split_holds_whatever_the_issue_says_later(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash"), make_item(2, "crash"), make_item(3, "Add")])
    split_item(store, named(store, 2), ANA)
    run_with(store, plan, [make_item(2, "Add", updated_at=START + timedelta(days=9))])
    now = hashes(store)
    assert now[2].startswith(f"{now[3]}~")
    assert asked(plan).count("Add") == 2
    assert rows(store, "SELECT count(DISTINCT family_hash) FROM issues WHERE number IN (2, 3)") == [(1,)]


def test_a_split_needs_somebody_to_be_split_from_and_keeps_answers_nobody_shares(store: Store, talk: Plan) -> None:
    page = [make_item(1, "crash"), make_item(2, "crash"), make_item(3, "Add"), make_comment(9, 2, "on ARM")]
    run_with(store, talk, page)
    with pytest.raises(ConfigurationError, match="nothing to split it from"):
        split_item(store, named(store, 3), ANA)
    before = rows(store, "SELECT task, category FROM issue_categories WHERE number = 2 AND task = 'talk'")
    applied = split_item(store, named(store, 2), ANA)
    assert (applied.inputs, applied.waiting) == (("issue",), ("kind",))
    assert rows(store, "SELECT task, category FROM issue_categories WHERE number = 2") == before
    withdraw_split(store, named(store, 2), BEN)
    assert not any(
        "~" in each[0] for each in rows(store, "SELECT text_hash FROM texts JOIN item_texts ON text_id = id")
    )
    assert len(rows(store, "SELECT task, category FROM issue_categories WHERE number = 2")) == 2


def test_decisions_outlive_a_change_of_the_rules(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash"), make_item(2, "Add"), make_item(3, "Add"), make_item(4, "crash")])
    alias_texts(store, named(store, 1), named(store, 2), None, ANA)
    split_item(store, named(store, 3), ANA)
    run_with(store, plan)
    before, count = (hashes(store), answers(store)), len(asked(plan))
    with store.transaction() as connection:
        connection.execute(
            text("UPDATE texts SET rules_version = 0, text_hash = '0:' || split_part(text_hash, ':', 2)")
        )
    with pytest.raises(ConfigurationError, match="run `issuetide dedup rehash` first"):
        withdraw_split(store, named(store, 3), BEN)
    outcome = run_with(store, plan)
    assert (outcome.status, len(asked(plan))) == ("ok", count)
    assert (hashes(store), answers(store)) == before
    withdraw_split(store, named(store, 3), BEN)
    withdraw_alias(store, named(store, 1), named(store, 2), None, BEN)
    assert answers(store) == {1: "bug", 2: "feature", 3: "feature", 4: "bug"}


def test_a_purge_of_one_issue_takes_no_alias_from_the_others(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash"), make_item(2, "Add"), make_item(3, "crash")])
    alias_texts(store, named(store, 1), named(store, 2), None, ANA)
    count = len(asked(plan))
    with store.transaction() as connection:
        (first,) = select_items(connection, "octo/demo", 1)
    purge_item(store, first, "asked for")
    run_with(store, plan, [make_item(4, "crash")])
    assert answers(store) == {2: "feature", 3: "feature", 4: "feature"}
    assert len(asked(plan)) == count


def test_a_purge_of_the_only_issue_of_an_alias_ends_it_and_erases_what_was_said(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash"), make_item(2, "Add")])
    alias_texts(store, named(store, 1), named(store, 2), None, Signed("ana", "both by zanzibar"))
    with store.transaction() as connection:
        (second,) = select_items(connection, "octo/demo", 2)
    purge_item(store, second, "asked for")
    assert rows(store, "SELECT FROM text_decisions") == []
    run_with(store, plan)
    assert answers(store) == {1: "bug"}


def test_the_decisions_on_an_issue_are_found_by_its_text(store: Store, plan: Plan) -> None:
    run_with(store, plan, [make_item(1, "crash"), make_item(2, "Add"), make_item(3, "Add")])
    alias_texts(store, named(store, 1), named(store, 2), None, ANA)
    split_item(store, named(store, 3), BEN)
    with store.transaction() as connection:
        ids = {
            number: [
                decision["id"]
                for decision in select_decisions_on(
                    connection,
                    list(
                        connection.execute(
                            text("SELECT text_id FROM item_texts WHERE item_id = :id"),
                            {"id": named(store, number).item_ids[0]},
                        ).scalars()
                    ),
                    named(store, number).item_ids[0],
                )
            ]
            for number in (1, 2, 3)
        }
    assert ids == {1: [1], 2: [1], 3: [2]}
