"""What people answer about items: it wins for ever, is measured, can be taken back, and is never lost."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from etl.db.queries.annotations import select_annotations_of, select_overrides, select_week_answers
from etl.db.queries.purges import select_items
from etl.db.store import Store
from etl.errors import ConfigurationError
from etl.evaluate.sheet import FilledRow
from etl.pipeline import Fetch, Plan, RunOutcome, run
from etl.records import Item, Scope
from etl.stages.annotations import (
    Overridden,
    Reviewed,
    override_item,
    read_categories,
    store_reviews,
    withdraw_override,
)
from etl.stages.classify import register_tasks
from etl.stages.decisions import Named, Signed
from etl.stages.golden import collect_annotated
from etl.stages.purge import purge_item
from etl.tasks import Task
from tests.fakes import START, TASK_FILE, FakeClassifier, FakeSink, FakeSource, SilentProgress, make_item, write_task

ANA = Signed("ana", "the trace is ours")
BEN = Signed("ben", "asked for, not broken")


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url)
    yield store
    store.close()


@pytest.fixture
def sink() -> FakeSink:
    return FakeSink()


@pytest.fixture
def plan(tmp_path: Path, sink: FakeSink) -> Plan:
    tasks = (write_task(tmp_path),)
    return Plan("test", tasks=tasks, classifier=FakeClassifier(), repositories=("octo/demo",), sink=sink)


def run_with(store: Store, plan: Plan, *items: Any, **changes: Any) -> RunOutcome:
    own = Store(store.engine.url.render_as_string(hide_password=False))
    try:
        fetches = (Fetch(FakeSource(items), Scope(("octo/demo",))),) if items else ()
        return run(own, replace(plan, fetches=fetches, **changes), SilentProgress())
    finally:
        own.close()


def rows(store: Store, statement: str) -> list[tuple[Any, ...]]:
    with store.transaction() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def named(store: Store, number: int) -> Named:
    with store.transaction() as connection:
        (item,) = select_items(connection, "octo/demo", number)
    return Named(f"octo/demo#{number}", item.ids)


def override(store: Store, plan: Plan, number: int, *words: str, signed: Signed = ANA) -> Overridden:
    task = plan.tasks[0]
    return override_item(store, named(store, number), task, read_categories(task, words), signed)


def documents(sink: FakeSink) -> dict[int, dict[str, Any]]:
    sources = [json.loads(document.source or "") for document in sink.documents["classifications"].values()]
    return {source["number"]: source for source in sources}


CRASH = make_item(1, "It crashes", "A crash in the parser, each time.")
WISH = make_item(2, "Please add colours", "Add some more of them to the panel.")


def test_an_override_wins_in_views_at_once_and_in_documents_with_the_next_export(
    store: Store, plan: Plan, sink: FakeSink
) -> None:
    run_with(store, plan, CRASH, WISH)
    assert (documents(sink)[1]["categories"], documents(sink)[1]["overridden"]) == (["bug"], False)
    result = override(store, plan, 1, "Feature")
    assert (result.categories, result.replaced, result.applies) == (("feature",), None, True)
    view = (
        "SELECT category, confidence, classifier, model, rationale, overridden FROM issue_categories WHERE number = 1"
    )
    assert rows(store, view) == [("feature", 1.0, "person", None, "the trace is ours", True)]
    other = documents(sink)[2]
    run_with(store, plan)
    assert documents(sink)[2] == other
    document = documents(sink)[1]
    assert (document["categories"], document["classifier"], document["overridden"]) == (["feature"], "person", True)
    assert (document["confidence"], document["calibrated"]) == (1.0, False)


def test_an_override_survives_an_edit_and_a_better_answer(store: Store, plan: Plan, sink: FakeSink) -> None:
    run_with(store, plan, CRASH)
    override(store, plan, 1, "feature")
    edited = make_item(1, "It crashes", "Quite another crash now.", updated_at=CRASH.updated_at + timedelta(days=1))
    run_with(store, plan, edited, classifier=FakeClassifier("claude"))
    assert rows(store, "SELECT count(*) FROM classifications") == [(2,)]
    assert rows(store, "SELECT category, overridden FROM issue_categories") == [("feature", True)]
    assert documents(sink)[1]["categories"] == ["feature"]


def test_saying_the_same_twice_changes_nothing_and_saying_otherwise_takes_its_place(store: Store, plan: Plan) -> None:
    run_with(store, plan, CRASH)
    first = override(store, plan, 1, "feature")
    version = rows(store, "SELECT row_version FROM items")
    assert override(store, plan, 1, "feature").annotation_id is None
    assert rows(store, "SELECT row_version FROM items") == version
    second = override(store, plan, 1, "bug", signed=BEN)
    assert second.replaced == first.annotation_id
    with store.transaction() as connection:
        (held,) = select_overrides(connection, ["kind"], withdrawn=False)
        both = select_overrides(connection, [], withdrawn=True)
    assert (held["issue"], held["categories"], held["annotator"]) == ("octo/demo#1", ["bug"], "ben")
    ended = both[1]
    assert (ended["annotator"], ended["withdrawn_by"]) == ("ana", "ben")
    assert ended["withdrawn_reason"] == f"replaced by override {second.annotation_id}"


def test_a_withdrawn_override_lets_the_classifier_count_again_and_stays_as_history(
    store: Store, plan: Plan, sink: FakeSink
) -> None:
    run_with(store, plan, CRASH)
    override(store, plan, 1, "feature")
    run_with(store, plan)
    withdraw_override(store, named(store, 1), plan.tasks[0], BEN)
    run_with(store, plan)
    assert (documents(sink)[1]["categories"], documents(sink)[1]["overridden"]) == (["bug"], False)
    with store.transaction() as connection:
        (entry,) = select_annotations_of(connection, named(store, 1).item_ids[0])
    assert (entry["annotator"], entry["reason"], entry["withdrawn_by"]) == ("ana", ANA.why, "ben")
    assert (entry["withdrawn_reason"], entry["withdrawn_at"] is not None) == (BEN.why, True)
    with pytest.raises(ConfigurationError, match="no override for task kind holds on octo/demo#1"):
        withdraw_override(store, named(store, 1), plan.tasks[0], BEN)


def test_the_abstain_word_overrides_to_not_decidable(store: Store, plan: Plan) -> None:
    run_with(store, plan, CRASH)
    assert override(store, plan, 1, "Uncertain").categories == ()
    assert rows(store, "SELECT category, abstained, overridden FROM issue_categories") == [(None, True, True)]


NEXT = TASK_FILE.replace(b"version = 1", b"version = 2")
MERGED = NEXT.replace(
    b'id = "feature"\ndefinition = "Something is wanted."',
    b'id = "wish"\ndefinition = "Something is wanted."\naliases = ["Feature", "request"]',
)


def test_a_category_that_was_removed_shows_as_the_one_that_took_its_word(
    store: Store, plan: Plan, sink: FakeSink, tmp_path: Path
) -> None:
    run_with(store, plan, CRASH)
    override(store, plan, 1, "feature")
    run_with(store, plan)
    renamed = write_task(tmp_path, MERGED)
    run_with(store, plan, tasks=(renamed,))
    assert rows(store, "SELECT category FROM issue_categories") == [("wish",)]
    assert (documents(sink)[1]["categories"], documents(sink)[1]["primary_category"]) == (["wish"], "wish")
    with store.transaction() as connection:
        (entry,) = select_overrides(connection, [], withdrawn=False)
    assert (entry["categories"], entry["as_given"]) == (["wish"], ["feature"])
    golden = collect_annotated(store, renamed).golden
    assert [entry.right for entry in golden.texts] == [frozenset({"wish"})]


def test_two_removed_categories_that_became_one_show_it_once(store: Store, plan: Plan, tmp_path: Path) -> None:
    many = TASK_FILE.replace(b'answers = "one_of"', b'answers = "many_of"\nat_most = 2')
    task = write_task(tmp_path, many)
    run_with(store, plan, CRASH, tasks=(task,))
    override_item(store, named(store, 1), task, read_categories(task, ["feature", "bug"]), ANA)
    assert rows(store, "SELECT category FROM issue_categories ORDER BY 1") == [("bug",), ("feature",)]
    one = many.replace(b"version = 1", b"version = 2").replace(
        b'[[categories]]\nid = "feature"\ndefinition = "Something is wanted."\n', b""
    )
    merged = write_task(tmp_path, one.replace(b'is broken."', b'is broken or wanted."\naliases = ["feature"]'))
    register_tasks(store, [merged])
    assert rows(store, "SELECT category, confidence FROM issue_categories") == [("bug", 1.0)]


def test_a_deprecated_category_is_refused_for_new_overrides_with_what_is_allowed(tmp_path: Path) -> None:
    task = write_task(tmp_path, TASK_FILE.replace(b'is wanted."', b'is wanted."\ndeprecated = true'))
    with pytest.raises(ConfigurationError, match=r"feature of task kind is deprecated; allowed are bug and uncertain"):
        read_categories(task, ["feature"])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("nonsense",), "'nonsense' is no category of task kind; allowed are bug, feature and uncertain"),
        (("bug", "feature"), "at most 1 categories per text, not 2"),
        (("bug", "uncertain"), "cannot stand beside another one"),
        ((), "name the right answer with --category"),
    ],
)
def test_words_that_cannot_be_meant_are_refused(words: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        read_categories(write_task(tmp_path), words)


def test_a_task_that_was_never_asked_and_a_pull_request_are_refused(store: Store, plan: Plan, tmp_path: Path) -> None:
    pull = make_item(3, "Mend it", "A change.", kind="pull_request")
    run_with(store, plan, CRASH, pull)
    with pytest.raises(
        ConfigurationError, match=r"octo/demo#3 is of kind pull_request; task kind is asked of issue only"
    ):
        override(store, plan, 3, "bug")
    other = write_task(tmp_path, TASK_FILE.replace(b'name = "kind"', b'name = "other"'), "other")
    with pytest.raises(ConfigurationError, match="task other was never asked of the repository of octo/demo#1"):
        override_item(store, named(store, 1), other, ("bug",), ANA)


def test_an_override_where_the_task_does_not_apply_says_so_and_waits(store: Store, plan: Plan) -> None:
    run_with(store, plan, CRASH, make_item(4, "DISABLED crash", "Text."))
    assert override(store, plan, 4, "bug").applies is False
    assert rows(store, "SELECT count(*) FROM issue_categories WHERE number = 4") == [(0,)]


def test_a_purge_erases_what_people_wrote_and_nothing_may_be_said_afterwards(store: Store, plan: Plan) -> None:
    run_with(store, plan, CRASH)
    override(store, plan, 1, "feature", signed=Signed("ana", "zanzibar one"))
    withdraw_override(store, named(store, 1), plan.tasks[0], Signed("ana", "zanzibar two"))
    review(store, plan, 1, "bug", "ben", why="zanzibar three")
    with store.transaction() as connection:
        (item,) = select_items(connection, "octo/demo", 1)
    purge_item(store, item, "asked for")
    assert rows(store, "SELECT count(*) FROM annotations n WHERE CAST(n AS text) LIKE '%zanzibar%'") == [(0,)]
    assert rows(store, "SELECT annotator, reason, withdrawn_reason, text_hash FROM annotations ORDER BY id") == [
        ("ana", "", "", None),
        ("ben", "", None, None),
    ]
    assert rows(store, "SELECT count(*) FROM pg_stats WHERE CAST(most_common_vals AS text) LIKE '%zanzibar%'") == [(0,)]
    with pytest.raises(ConfigurationError, match="was purged"):
        override(store, plan, 1, "bug")
    with pytest.raises(ConfigurationError, match="purged since"):
        review(store, plan, 1, "feature", "ben")


def review(store: Store, plan: Plan, number: int, category: str, annotator: str, why: str = "") -> Reviewed:
    chosen = () if category == "uncertain" else (category,)
    return store_reviews(store, plan.tasks[0], [FilledRow(2, 42, "issue", number, None, chosen, why)], annotator)


def test_a_review_changes_no_answer_and_reading_it_twice_sends_its_document_once(store: Store, plan: Plan) -> None:
    run_with(store, plan, CRASH)
    before = rows(store, "SELECT row_version FROM items")
    assert review(store, plan, 1, "feature", "ana", "said so") == Reviewed(1, 0, 0)
    reviewed = rows(store, "SELECT row_version FROM items")
    assert reviewed > before  # its document says whether the reviewers agree
    assert review(store, plan, 1, "feature", "ana", "said so") == Reviewed(0, 0, 1)
    assert rows(store, "SELECT category, overridden FROM issue_categories") == [("bug", False)]
    assert rows(store, "SELECT row_version FROM items") == reviewed
    assert rows(store, "SELECT annotator, categories, text_hash = (SELECT text_hash FROM texts) FROM annotations") == [
        ("ana", ["feature"], True)
    ]


def test_a_changed_review_takes_the_place_of_the_persons_own_earlier_one_only(store: Store, plan: Plan) -> None:
    run_with(store, plan, CRASH)
    review(store, plan, 1, "feature", "ana")
    review(store, plan, 1, "feature", "ben")
    assert review(store, plan, 1, "bug", "ana") == Reviewed(0, 1, 0)
    held = "SELECT annotator, categories FROM annotations WHERE withdrawn_at IS NULL ORDER BY 1"
    assert rows(store, held) == [("ana", ["bug"]), ("ben", ["feature"])]


def test_an_unknown_issue_in_a_sheet_stores_nothing_of_it(store: Store, plan: Plan) -> None:
    run_with(store, plan, CRASH)
    sheet = [
        FilledRow(2, 42, "issue", 1, None, ("bug",), ""),
        FilledRow(7, 42, "issue", 999, None, ("bug",), ""),
    ]
    with pytest.raises(ConfigurationError, match="in line 7 are not stored"):
        store_reviews(store, plan.tasks[0], sheet, "ana")
    assert rows(store, "SELECT count(*) FROM annotations") == [(0,)]


def right_answers(store: Store, task: Task) -> list[set[str]]:
    return sorted((set(entry.right) for entry in collect_annotated(store, task).golden.texts), key=len)


def test_the_golden_set_is_what_most_reviewers_said_and_an_override_alone(store: Store, plan: Plan) -> None:
    task = plan.tasks[0]
    run_with(store, plan, CRASH, WISH)
    for name in ("ana", "ben"):
        review(store, plan, 1, "feature", name)
    review(store, plan, 1, "bug", "cleo")
    review(store, plan, 2, "bug", "ana")
    review(store, plan, 2, "feature", "ben")
    assert right_answers(store, task) == [{"feature"}]
    assert collect_annotated(store, task).disputed == 1
    override(store, plan, 1, "bug")
    override(store, plan, 2, "uncertain")
    assert right_answers(store, task) == [set(), {"bug"}]
    assert collect_annotated(store, task).disputed == 0


WEEK, BEGIN = "2026-W10", datetime(2026, 3, 2, tzinfo=UTC)


def answer_in_that_week(store: Store, plan: Plan, *items: Item) -> None:
    """Has the items answered, and dates the answers back: no test runs over the end of a week."""
    run_with(store, plan, *items)
    with store.transaction() as connection:
        connection.execute(text("UPDATE classifications SET created_at = :begin"), {"begin": BEGIN})


def sample(store: Store, task: Task, size: int, lowest: int) -> list[tuple[int, str]]:
    with store.transaction() as connection:
        found = select_week_answers(connection, task, WEEK, BEGIN, size=size, lowest=lowest)
    return [(entry.number, entry.chosen_as) for entry in found]


def test_everybody_gets_the_same_sample_of_a_week_and_the_least_confident_beside_it(store: Store, plan: Plan) -> None:
    items = [make_item(number, f"Case {number}", f"crash {'x' * number} here") for number in range(1, 31)]
    answer_in_that_week(store, plan, *items)
    with store.transaction() as connection:
        connection.execute(text("UPDATE classifications SET confidences = ARRAY[0.3 + text_id / 100.0]"))
    first = sample(store, plan.tasks[0], 5, 3)
    assert first == sample(store, plan.tasks[0], 5, 3)
    drawn = {number for number, chosen in first if chosen == "random"}
    low = {number for number, chosen in first if chosen == "lowest"}
    assert (len(drawn), len(low)) == (5, 3)
    others = [row[0] for row in rows(store, "SELECT number FROM issue_categories ORDER BY confidence")]
    assert low == set([number for number in others if number not in drawn][:3])
    assert drawn < {number for number, _ in sample(store, plan.tasks[0], 8, 0)}
    with store.transaction() as connection:
        connection.execute(text("UPDATE classifications SET created_at = created_at - interval '7 days'"))
    assert sample(store, plan.tasks[0], 5, 3) == []


def test_issues_with_one_text_are_reviewed_once(store: Store, plan: Plan) -> None:
    copies = [
        make_item(number, "It crashes", CRASH.body, created_at=START + timedelta(days=number)) for number in (5, 3)
    ]
    answer_in_that_week(store, plan, *copies)
    assert sample(store, plan.tasks[0], 5, 5) == [(3, "random")]
