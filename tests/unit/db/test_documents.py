"""The documents that the views render, beside the mappings, over a database in which everything has happened."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import text

from etl.dashboards.saved_objects import load_mappings
from etl.db.queries import history, mirror
from etl.db.queries.evaluations import Calibrated, insert_calibration
from etl.db.queries.runs import close_run, insert_run, update_run
from etl.db.store import Store
from etl.errors import UnavailableError
from etl.evaluate.sheet import FilledRow
from etl.pipeline import Fetch, Plan, RunOutcome, run
from etl.records import Event, EventKind, Item, Scope, Vanished
from etl.sinks.base import IndexName
from etl.stages.annotations import override_item, store_reviews, withdraw_override
from etl.stages.decisions import Named, Signed
from tests.fakes import (
    REPOSITORY,
    START,
    TASK_FILE,
    FakeClassifier,
    FakeSink,
    FakeSource,
    SilentProgress,
    make_item,
    write_task,
)

HOUR = timedelta(hours=1)
ANNA = Signed("anna", "because it is so")
CLAUDE = Calibrated("kind", "claude", "model-1", "p1")
MAPPED: dict[str, tuple[type, ...]] = {
    "keyword": (str,),
    "text": (str,),
    "date": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
}


class _Desk:
    """A database that is worked on by runs and people, and what its sink holds."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.sink = FakeSink()
        self.classifier = FakeClassifier("claude")
        self.task = write_task(folder)
        self.plan = Plan("test", tasks=(self.task,), classifier=self.classifier, sink=self.sink)

    def run(self, *items: Item, **changes: Any) -> RunOutcome:
        own = Store(self.store.engine.url.render_as_string(hide_password=False))
        fetches = (Fetch(FakeSource(items), Scope(("octo/demo",))),)
        try:
            return run(own, replace(self.plan, fetches=fetches, **changes), SilentProgress())
        finally:
            own.close()

    def do(self, statement: str, **values: Any) -> list[Any]:
        with self.store.transaction() as connection:
            found = connection.execute(text(statement), values)
            return list(found) if found.returns_rows else []

    def rendered(self) -> dict[str, tuple[int, dict[str, Any]]]:
        return {row[0]: (row[1], row[2]) for row in self.do(
            "SELECT document_id, row_version, source FROM classification_documents")}  # fmt: skip

    def document(self, number: int) -> dict[str, Any]:
        return self.rendered()[f"42-issue-{number}-kind"][1]

    def held(self, index: IndexName) -> list[dict[str, Any]]:
        return [json.loads(document.source or "") for document in self.sink.documents[index].values()]

    def last_run(self, level: str = "run") -> dict[str, Any]:
        return max(
            (document for document in self.held("runs") if document["level"] == level),
            key=lambda document: int(document["run_id"]),
        )

    def item_id(self, number: int) -> int:
        return int(self.do("SELECT id FROM items WHERE external_id = :n AND kind = 'issue'", n=number)[0][0])

    def named(self, number: int) -> Named:
        return Named(f"octo/demo#{number}", (self.item_id(number),))

    def override(self, number: int, *categories: str) -> None:
        override_item(self.store, self.named(number), self.task, categories, ANNA)

    def review(self, number: int, *categories: str, text_hash: str | None = None) -> None:
        row = FilledRow(2, REPOSITORY.key, "issue", number, text_hash, categories, "looked at it")
        store_reviews(self.store, self.task, [row], "anna")

    def vanish(self, number: int) -> None:
        with self.store.transaction() as connection:
            mirror.update_vanished(connection, self.item_id(number), Vanished("deleted"))

    def tell_history(self, number: int, *kinds: EventKind) -> None:
        events = [
            Event(REPOSITORY, number, kind, at(number * 24 + 2 * place), None, "timeline", number * 100 + place)
            for place, kind in enumerate(kinds, 1)
        ]
        with self.store.transaction() as connection:
            history.replace_history(connection, self.item_id(number), START, events)

    def calibrate(self, *points: tuple[float, float]) -> None:
        with self.store.transaction() as connection:
            evaluation = connection.execute(
                text("""
                    INSERT INTO evaluations (task, task_version, classifier, model, prompt_version, golden_set, size,
                                             metrics, thresholds)
                    VALUES ('kind', 1, 'claude', 'model-1', 'p1', 'g', 1, '{}', '{}') RETURNING id
                """)
            ).scalar_one()
            insert_calibration(connection, CLAUDE, points, evaluation)


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[_Desk]:
    store = Store(database_url)
    yield _Desk(store, tmp_path)
    store.close()


def at(hours: float) -> datetime:
    return START + hours * HOUR


def closed(number: int, title: str, hours: float, **changes: Any) -> Item:
    """An issue, created `number` days after `START` and closed so many hours later."""
    when = at(number * 24 + hours)
    return make_item(
        number, title, state="closed", closed_at=when, updated_at=changes.pop("updated_at", when), **changes
    )


def everything(desk: _Desk) -> Iterator[Callable[[], object]]:
    """One after another what can happen to documents of classifications."""
    family = [make_item(20 + n, f"crash in worker {n}") for n in range(6)]
    first = [
        make_item(1, "crash at start", labels=("bug", "p1"), author_type="Bot"),
        closed(2, "Add a button", 5, state_reason="completed"),
        make_item(3, "hmm"),
        make_item(4, "please refuse"),
        make_item(5, "it fails to be asked"),
        make_item(6, "crash in a request", kind="pull_request", author=None),
        make_item(7, "DISABLED crash"),
        *family,
    ]
    yield lambda: desk.run(*first)
    yield lambda: desk.run(make_item(2, "Add a button", state_reason="reopened", updated_at=at(60)))
    yield lambda: desk.run(closed(2, "Add a button", 40, updated_at=at(88)))
    yield lambda: desk.tell_history(2, "closed", "reopened", "closed")
    yield lambda: desk.override(1, "feature")
    yield lambda: desk.review(3, "bug")
    yield lambda: desk.review(2, "feature")
    yield lambda: desk.review(2, "bug")
    yield lambda: desk.override(5, "bug")
    yield lambda: desk.calibrate((0.0, 0.0), (1.0, 0.6))
    yield lambda: desk.vanish(3)
    yield lambda: desk.run(make_item(3, "hmm", updated_at=at(999)))
    yield lambda: desk.vanish(4)
    yield lambda: desk.run(make_item(1, "DISABLED crash at start", labels=("x",), updated_at=at(999)))
    yield lambda: desk.run(make_item(1, "crash at the start", labels=("x",), updated_at=at(1000)))
    yield lambda: withdraw_override(desk.store, desk.named(1), desk.task, ANNA)
    yield lambda: desk.run(closed(20, "crash in worker 0", 3, state_reason="completed"))
    near = "INSERT INTO near_items (item_id, near_count, near_of) SELECT id, 2, 'octo/demo#1' FROM items LIMIT 3"
    version = "UPDATE items SET row_version = row_version + 1"
    yield lambda: (desk.do(near), desk.do(version))
    yield lambda: desk.run()


def test_whatever_changes_a_document_raises_its_version(desk: _Desk) -> None:
    before = desk.rendered()
    changes = 0
    for act in everything(desk):
        act()
        after = desk.rendered()
        for key, (version, source) in after.items():
            if key in before and before[key][1] != source:
                changes += 1
                assert version > before[key][0], (key, before[key][1], source)
        before = after
    assert changes > 20


def test_documents_have_the_fields_that_are_described_and_all_of_them(desk: _Desk) -> None:
    for act in everything(desk):
        act()
    desk.sink.rejects.add("42-issue-8-kind")
    desk.run(make_item(8, "crash"), make_item(9, "crash too", updated_at=at(2000)), max_items=1)
    for index in get_args(IndexName):
        properties = load_mappings(index)["properties"]
        seen: set[str] = set()
        for document in desk.held(index):
            for name, value in document.items():
                seen.add(name)
                kind = properties[name]["type"]
                values = value if isinstance(value, list) else [value]
                for each in values:
                    assert isinstance(each, MAPPED[kind]), (index, name, value)
                    assert kind == "boolean" or not isinstance(each, bool), (index, name, value)
                    if kind == "date":
                        datetime.fromisoformat(str(each))
        described = {name for name, mapping in properties.items() if mapping["type"] != "alias"}
        never = described - seen - {"rate_limit_left"}
        assert not never, f"{index}: no document has {never}"


def test_an_hour_without_changes_sends_nothing_after_everything(desk: _Desk) -> None:
    for act in everything(desk):
        act()
    desk.run()
    pushed = desk.sink.pushed
    assert desk.run().tally.counts["documents_written"] == 0
    assert desk.sink.pushed == pushed


def test_time_to_close_leaves_out_what_lay_between_a_closing_and_a_reopening(desk: _Desk) -> None:
    desk.run(closed(2, "Add a button", 5))
    assert (desk.document(2)["hours_to_close"], desk.document(2)["reopened"]) == (5, 0)
    desk.run(make_item(2, "Add a button", updated_at=at(60)))
    found = desk.document(2)
    assert "hours_to_close" not in found
    assert "closed_at" not in found
    assert (found["reopened"], found["first_closed_at"]) == (1, at(53).isoformat())
    desk.run(closed(2, "Add a button", 22))
    assert (desk.document(2)["hours_to_close"], desk.document(2)["reopened"]) == (5 + 10, 1)
    assert desk.do("SELECT hours_to_close FROM issue_times") == [(15,)]


def test_an_override_keeps_what_the_classifier_had_said_beside_it(desk: _Desk) -> None:
    desk.run(make_item(1, "crash"), make_item(2, "hmm"), make_item(3, "it fails to be asked"))
    assert not desk.document(1)["reviewed"]
    assert not {"agreed", "category_given", "classifier_given"} & desk.document(1).keys()
    for number in (1, 2, 3):
        desk.override(number, "feature")
    names = ("primary_category", "classifier", "overridden", "reviewed", "agreed", "category_given", "classifier_given")
    found = [tuple(desk.document(number).get(name) for name in names) for number in (1, 2, 3)]
    assert found == [
        ("feature", "person", True, True, False, "bug", "claude"),
        ("feature", "person", True, True, False, "abstained", "claude"),
        ("feature", "person", True, True, None, "unclassified", None),
    ]
    desk.override(1, "bug")
    assert desk.document(1)["agreed"]


def test_a_review_says_whether_it_agrees_and_wins_over_nothing(desk: _Desk) -> None:
    desk.run(make_item(1, "crash"), make_item(2, "crash and more"))
    desk.review(1, "feature")
    names = ("primary_category", "overridden", "reviewed", "agreed", "category_given", "classifier_given")
    assert tuple(desk.document(1)[name] for name in names) == ("bug", False, True, False, "bug", "claude")
    desk.review(1, "bug")
    assert desk.document(1)["agreed"]
    desk.review(2, "bug", text_hash="of another text")
    assert not desk.document(2)["reviewed"]


def test_a_calibrated_confidence_says_so_and_that_of_a_person_is_none(desk: _Desk) -> None:
    desk.run(make_item(1, "crash"), make_item(2, "crash too"), make_item(3, "hmm"))
    desk.override(2, "bug")
    names = ("confidence", "confidence_given", "calibrated")
    assert [desk.document(1)[name] for name in names] == [0.9, 0.9, False]
    desk.calibrate((0.0, 0.0), (1.0, 0.5))
    assert [desk.document(1)[name] for name in names] == [pytest.approx(0.45), 0.9, True]
    assert [desk.document(2)[name] for name in names] == [1, 1, False]
    assert not set(names) & desk.document(3).keys()


def test_what_vanished_says_when_and_why_and_is_itself_again_when_it_returns(desk: _Desk) -> None:
    desk.run(make_item(1, "crash"))
    desk.vanish(1)
    found = desk.document(1)
    assert (found["vanished"], found["vanished_reason"]) == (True, "deleted")
    assert datetime.fromisoformat(found["vanished_at"]) > START
    desk.run(make_item(1, "crash", updated_at=at(999)))
    assert not desk.document(1)["vanished"]
    assert not {"vanished_at", "vanished_reason"} & desk.document(1).keys()


def test_a_version_beyond_all_dates_leaves_out_when_it_was_last_seen(desk: _Desk) -> None:
    desk.run(make_item(1, "crash"))
    assert datetime.fromisoformat(desk.document(1)["last_seen_at"]) > START
    desk.do("UPDATE items SET row_version = 2305843009213693952")
    assert "last_seen_at" not in desk.document(1)


def test_a_run_says_what_it_left_waiting(desk: _Desk) -> None:
    desk.run(*(make_item(number, f"crash of kind {'abcd'[number]}") for number in range(4)), max_items=1)
    found = desk.last_run()
    assert (found["status"], found["texts_waiting"], found["texts_in_batches"]) == ("stopped_budget", 3, 0)
    desk.run()
    assert (desk.last_run()["texts_waiting"], desk.last_run()["documents_waiting"]) == (0, 0)
    desk.run(classifier=None)
    assert "texts_waiting" not in desk.last_run(), "nobody was asked, so nobody knows"


def test_a_run_says_what_the_index_lacks_and_what_stands_refused(desk: _Desk) -> None:
    desk.sink.rejects.add("42-issue-1-kind")
    desk.run(make_item(1, "crash"), make_item(2, "Add"))
    found = desk.last_run()
    assert (found["dead_letters"], found["documents_refused"], found["documents_waiting"]) == (1, 1, 0)
    desk.sink.raises = UnavailableError("the sink is away")
    desk.run(make_item(2, "Add more", updated_at=at(999)))
    left = desk.do("SELECT documents_waiting, documents_refused, dead_letters FROM run_summary WHERE run_id = 2")
    assert left == [(1, 1, 0)]


def test_a_run_says_what_its_dollars_were_for_and_how_much_came_from_the_cache(desk: _Desk) -> None:
    desk.run(make_item(1, "crash"), make_item(2, "Add"))
    found = desk.last_run()
    assert (found["prompt_tokens"], found["cache_hit_rate"]) == (220, pytest.approx(200 / 220, abs=1e-4))
    assert found["cost_usd"] == pytest.approx(0.002)
    assert [found[f"cost_{part}_usd"] for part in ("batch", "audit", "trial")] == [0, 0, 0]
    desk.run()
    assert "cache_hit_rate" not in desk.last_run()


def test_the_parts_of_a_runs_dollars_come_from_the_ledger(desk: _Desk) -> None:
    class Dear(FakeClassifier):
        def classify(self, task: Any, texts: Any) -> Any:
            yield from super().classify(task, texts)
            desk.do(
                """
                INSERT INTO classifications (text_id, task, task_version, task_sha256, prompt_version, classifier,
                                             model, purpose, outcome, categories, confidences, rationale, cost_usd,
                                             run_id)
                SELECT (SELECT min(id) FROM texts), 'kind', 1, 'x', 'p1', 'claude', 'm', purpose, 'abstained', '{}',
                       '{}', '', dollars, 1
                FROM (VALUES ('audit', 0.5), ('trial', 0.25), ('trial', 0.125)) AS v (purpose, dollars)
                """
            )

    desk.run(make_item(1, "crash"), classifier=Dear("claude"))
    found = desk.last_run()
    assert (found["cost_audit_usd"], found["cost_trial_usd"], found["cost_batch_usd"]) == (0.5, 0.375, 0)


def test_what_a_run_did_for_each_task_stands_apart(desk: _Desk, tmp_path: Path) -> None:
    other = write_task(tmp_path, TASK_FILE.replace(b'name = "kind"', b'name = "second"'), "second")
    desk.run(make_item(1, "crash"), tasks=(desk.task,))
    desk.run(make_item(2, "crash too"), make_item(3, "Add"), tasks=(desk.task, other), max_items=4)
    parts = {part["tasks"][0]: part for part in desk.held("runs") if (part["run_id"], part["level"]) == (2, "task")}
    names = ("answers", "cost_usd", "texts_waiting", "prompt_tokens", "classifier", "model")
    assert {task: [part[name] for name in names] for task, part in parts.items()} == {
        "kind": [2, pytest.approx(0.002), 0, 220, "claude", "model-1"],
        "second": [2, pytest.approx(0.002), 1, 220, "claude", "model-1"],
    }
    whole = desk.last_run()
    assert (whole["tasks"], whole["texts_waiting"]) == (["kind", "second"], 1)
    assert whole["cost_usd"] == pytest.approx(sum(part["cost_usd"] for part in parts.values()))


def test_a_run_that_asks_nobody_is_one_of_the_tasks_that_are_asked_of_its_repositories(desk: _Desk) -> None:
    desk.run(make_item(1, "crash"), tasks=(), classifier=None)
    assert desk.last_run()["tasks"] == [], "no task is asked of the repository yet"
    desk.run(make_item(1, "crash"))
    for repositories in (("octo/demo",), ("OCTO/demo",), ()):
        desk.run(tasks=(), classifier=None, repositories=repositories)
        assert desk.last_run()["tasks"] == ["kind"]
    assert desk.last_run("task")["run_id"] == 2, "nothing was done for a task since"


def test_what_a_run_paid_beside_the_ledger_is_its_one_tasks(desk: _Desk) -> None:
    desk.run(make_item(1, "crash"))
    with desk.store.transaction() as connection:
        run_id = insert_run(connection, command="evaluate", repositories=(), tasks=["kind"], classifier="claude")
        counters = {"input_tokens": 7, "cost_usd": 0.5}
        update_run(connection, run_id, counters, "model-1")
        close_run(connection, run_id, status="ok", error=None, notes=())
    found = desk.do("SELECT task, model, answers, input_tokens, cost_usd::float8 FROM run_tasks WHERE run_id = 2")
    assert found == [("kind", "model-1", 0, 7, 0.5)]
