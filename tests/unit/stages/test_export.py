"""What the export stage must not lose when others change the database while it works."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from etl.db.store import Store
from etl.pipeline import Plan
from etl.records import Document, PushResult
from etl.sinks.base import IndexName
from tests.fakes import START, FakeClassifier, FakeSink, make_item, write_task
from tests.runs import rows, run_with


class Interrupting(FakeSink):
    """Lets another run fetch an issue, and leave it at that, while the daily documents are written."""

    def __init__(self, store: Store, plan: Plan) -> None:
        super().__init__()
        self.store, self.plan = store, plan
        self.interrupts = True

    def push(self, index: IndexName, documents: Iterable[Document]) -> Iterator[Sequence[PushResult]]:
        """Whole chunks, and the other run before the first one of `daily`."""
        if index == "daily" and self.interrupts:
            self.interrupts = False
            later = START + timedelta(days=1)
            closed = make_item(1, state="closed", closed_at=later, updated_at=later)
            # Of all repositories: the run that exports has the lock of this one.
            fetch = replace(self.plan, sink=None, tasks=(), classifier=None, repositories=())
            outcome = run_with(self.store, fetch, [closed])
            assert outcome.tally.counts["items_changed"] == 1
        yield from super().push(index, documents)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    made = Store(database_url)
    yield made
    made.close()


def test_an_issue_that_another_run_closes_during_an_export_is_counted_by_the_next_one(
    store: Store, tmp_path: Path
) -> None:
    task = write_task(tmp_path)
    plan = Plan(command="run", tasks=(task,), classifier=FakeClassifier(), repositories=("octo/demo",))
    sink = Interrupting(store, plan)
    run_with(store, replace(plan, sink=sink), [make_item(1), make_item(2)])
    assert not sink.interrupts
    run_with(store, replace(plan, sink=sink))
    wanted = rows(store, "SELECT category, day::text, opened, closed, open FROM category_daily ORDER BY 1, 2")
    told = [json.loads(document.source or "") for document in sink.documents["daily"].values()]
    assert sorted((one["category"], one["day"], one["opened"], one["closed"], one["open"]) for one in told) == [
        tuple(row) for row in wanted
    ]
    assert sum(row.closed for row in wanted) == 1
