"""The cascade on a real database: what the model is sure of costs nothing, a share is checked, and it can be wrong."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from etl.classifiers.base import Classifier
from etl.db.queries import local_models
from etl.db.queries.local_models import CascadeAgreement, NewModel
from etl.db.store import Store
from etl.errors import BudgetError, ConfigurationError
from etl.pipeline import Fetch, Plan, RunOutcome, run
from etl.records import Answer, Scope, Text
from etl.stages.cascade import LEAST_COMPARED, Cascade, standing_of
from etl.tasks import Task
from tests.fakes import FakeClassifier, FakeSource, SilentProgress, make_item, write_task

SCOPE = Scope(("octo/demo",))


class SureOf:
    """A trained model that is sure of texts with one word; what it says of them is in its bytes."""

    name = "local"
    paid = False

    def __init__(self, models: Mapping[str, bytes]) -> None:
        self.says = {task: json.loads(content) for task, content in models.items()}

    def classify(self, task: Task, texts: Sequence[Text]) -> Iterator[Answer]:
        """What its bytes say of texts with `crash`, an abstention otherwise."""
        said = self.says[task.name]
        for entry in texts:
            sure = "crash" in entry.body
            yield Answer(
                entry.id,
                "answered" if sure else "abstained",
                ((said["category"], 0.97),) if sure else (),
                "because",
                "local",
                f"local-{said['sha256'][:12]}",
                "l1",
            )

    def estimate(self, task: Task, texts: Sequence[Text]) -> float:
        """Nothing is paid."""
        return 0.0


def name_of(number: int) -> str:
    """A word for a number: digits do not make texts distinct."""
    return "".join("abcdefghij"[int(digit)] for digit in f"{number:04d}")


def crash(number: int) -> str:
    return f"It will crash in {name_of(number)}"


def wish(number: int) -> str:
    return f"Add a button to {name_of(number)}"


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return write_task(tmp_path)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url)
    yield store
    store.close()


def train(store: Store, task: Task, category: str = "bug", sha256: str = "a" * 64, wanted: float = 0.9) -> None:
    content = json.dumps({"category": category, "sha256": sha256}).encode()
    metrics = {"wanted": wanted, "curve": [{"confidence": 0.9, "coverage": 0.5, "agreement": 0.95}]}
    with store.transaction() as connection:
        local_models.insert_model(connection, task, NewModel(content, sha256, 100, metrics, {"bug": 0.9}))


def do(
    store: Store, task: Task, crashes: int = 0, others: int = 0, audit: float | None = 0.0, **changes: Any
) -> tuple[RunOutcome, FakeClassifier]:
    """A run that reads so many issues first; whose audit is None has no cascade."""
    claude = changes.pop("claude", None) or FakeClassifier("claude")
    dry_run = changes.pop("dry_run", False)
    items = [make_item(number, crash(number)) for number in range(1, crashes + 1)]
    items += [make_item(1000 + number, wish(number)) for number in range(others)]
    plan = Plan(
        "test",
        (Fetch(FakeSource(items), SCOPE),) if items else (),
        (task,),
        claude,
        repositories=SCOPE.repositories,
        cascade=None if audit is None else Cascade(audit, changes.pop("read", SureOf)),
        **changes,
    )
    own = Store(store.engine.url.render_as_string(hide_password=False), dry_run=dry_run)
    try:
        return run(own, plan, SilentProgress()), claude
    finally:
        own.close()


def rows(store: Store, statement: str) -> list[Any]:
    with store.transaction() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


LEDGER = "SELECT classifier, purpose, count(*) FROM classifications GROUP BY 1, 2 ORDER BY 1, 2"


def test_what_the_model_is_sure_of_is_answered_by_it_and_the_rest_by_claude(store: Store, task: Task) -> None:
    train(store, task)
    outcome, claude = do(store, task, crashes=5, others=3)
    assert outcome.status == "ok"
    assert sorted(claude.asked) == sorted(wish(number) for number in range(3))
    assert rows(store, LEDGER) == [("claude", "live", 3), ("local", "live", 5)]
    assert outcome.tally.counts["texts_local"] == 5
    assert outcome.tally.counts["texts_asked"] == 3
    assert rows(store, "SELECT texts_local, texts_asked FROM runs") == [(5, 3)]
    assert rows(store, "SELECT DISTINCT cost_usd FROM classifications WHERE classifier = 'local'") == [(0,)]
    assert rows(store, "SELECT count(*) FROM claims") == [(0,)]


def test_a_second_run_has_nothing_to_do(store: Store, task: Task) -> None:
    train(store, task)
    do(store, task, crashes=5, others=3)
    outcome, claude = do(store, task)
    assert (claude.asked, outcome.tally.counts["texts_local"]) == ([], 0)


def test_without_the_cascade_its_answers_satisfy_nobody(store: Store, task: Task) -> None:
    train(store, task)
    do(store, task, crashes=5)
    _, claude = do(store, task, audit=None)
    assert len(claude.asked) == 5
    assert rows(store, "SELECT DISTINCT classifier FROM current_answers") == [("claude",)]


def test_without_a_model_claude_answers_all_and_the_run_says_why(store: Store, task: Task) -> None:
    outcome, claude = do(store, task, crashes=4)
    assert len(claude.asked) == 4
    assert any("no model of task kind is trained" in line for line in outcome.tally.remarks)
    assert outcome.status == "ok"


def test_a_share_is_asked_of_claude_and_never_current(store: Store, task: Task) -> None:
    train(store, task, category="feature")  # wrong: claude says bug
    outcome, claude = do(store, task, crashes=40, audit=0.5)
    audited = len(claude.asked)
    assert 8 <= audited <= 32
    assert rows(store, LEDGER) == [("claude", "audit", audited), ("local", "live", 40)]
    assert rows(store, "SELECT DISTINCT classifier FROM current_answers") == [("local",)] or audited >= LEAST_COMPARED
    assert rows(store, "SELECT answered, compared, agreed FROM cascade_agreement") == [(40, audited, 0)]
    assert outcome.tally.cost_usd == pytest.approx(0.001 * audited)
    parts = "SELECT classifier, answers, cost_usd::float8, cost_audit_usd::float8, checks, checks_agreed FROM run_tasks"
    dollars = pytest.approx(0.001 * audited)
    assert rows(store, f"{parts} ORDER BY 1") == [
        ("claude", audited, dollars, dollars, audited, 0),
        ("local", 40, 0, 0, 0, 0),
    ]


def test_nothing_is_audited_twice_and_a_larger_share_contains_the_smaller(store: Store, task: Task) -> None:
    train(store, task)
    _, first = do(store, task, crashes=60, audit=0.2)
    _, again = do(store, task, audit=0.2)
    _, more = do(store, task, audit=1.0)
    assert 2 <= len(first.asked) <= 25
    assert again.asked == []
    assert sorted(first.asked + more.asked) == sorted(crash(number) for number in range(1, 61))


def test_a_model_that_is_often_wrong_is_switched_off_and_claude_answers_instead(store: Store, task: Task) -> None:
    train(store, task, category="feature")
    outcome, claude = do(store, task, crashes=60, audit=0.8)
    assert any(line.startswith("cascade off for task kind: ") for line in outcome.tally.remarks)
    # Those that were audited have an answer by claude that is not current: they are asked about live as well.
    assert len(set(claude.asked)) == 60
    assert rows(store, "SELECT DISTINCT classifier, categories[1] FROM current_answers") == [("claude", "bug")]
    _, later = do(store, task, crashes=65, audit=0.8)
    assert len(later.asked) == 5
    assert rows(store, "SELECT count(*) FROM classifications WHERE classifier = 'local'") == [(60,)]


def test_a_new_model_begins_anew_and_the_answers_of_the_refused_one_stay_void(store: Store, task: Task) -> None:
    train(store, task, category="feature")
    claude = FakeClassifier("claude", raises_after=50, stop=BudgetError("enough"))
    do(store, task, crashes=60, audit=1.0, claude=claude)
    train(store, task, category="bug", sha256="b" * 64)
    outcome, claude = do(store, task, audit=0.0)
    assert claude.asked == []
    assert outcome.tally.counts["texts_local"] > 0
    assert rows(store, "SELECT DISTINCT categories[1] FROM current_answers") == [("bug",)]


def test_an_older_model_that_agrees_keeps_its_answers(store: Store, task: Task) -> None:
    train(store, task)
    do(store, task, crashes=5)
    train(store, task, sha256="b" * 64)
    outcome, claude = do(store, task)
    assert (claude.asked, outcome.tally.counts["texts_local"]) == ([], 0)


def test_a_run_that_stops_in_an_audit_leaves_it_due_and_pays_nothing_twice(store: Store, task: Task) -> None:
    train(store, task)
    stopped, claude = do(
        store, task, crashes=20, audit=1.0, claude=FakeClassifier("claude", raises_after=7, stop=BudgetError("enough"))
    )
    assert stopped.status == "stopped_budget"
    assert rows(store, "SELECT count(*) FROM claims") == [(0,)]
    _, again = do(store, task, audit=1.0)
    assert sorted(claude.asked + again.asked) == sorted(crash(number) for number in range(1, 21))


def test_a_dry_run_asks_nobody_and_estimates_what_is_left(store: Store, task: Task) -> None:
    train(store, task)
    outcome, claude = do(store, task, crashes=5, others=3, audit=1.0, dry_run=True)
    assert claude.asked == []
    assert outcome.tally.waiting_texts == {"kind": 3}
    assert rows(store, "SELECT count(*) FROM classifications") == [(0,)]


def test_a_model_that_cannot_be_used_stops_the_asking_instead_of_making_it_dear(store: Store, task: Task) -> None:
    def refuse(_models: Mapping[str, bytes]) -> Classifier:
        raise ConfigurationError("the trained model of task kind cannot be used")

    train(store, task)
    outcome, claude = do(store, task, crashes=5, read=refuse)
    assert (outcome.status, outcome.exit_code, claude.asked) == ("failed", 3, [])


def test_the_cap_on_texts_is_for_those_that_claude_is_asked_about(store: Store, task: Task) -> None:
    train(store, task)
    outcome, claude = do(store, task, crashes=5, others=3, max_items=2)
    assert (len(claude.asked), outcome.tally.counts["texts_local"]) == (2, 5)
    assert outcome.status == "stopped_budget"


@pytest.mark.parametrize(
    ("compared", "agreed", "wanted", "standing"),
    [
        (0, 0, 0.95, "learning"),
        (LEAST_COMPARED - 1, 0, 0.95, "learning"),
        (LEAST_COMPARED, 0, 0.95, "refused"),
        (LEAST_COMPARED, LEAST_COMPARED, 0.95, "on"),
        (100, 92, 0.95, "on"),  # the interval reaches to 96 %
        (400, 368, 0.95, "refused"),  # the same share of more: it ends at 94 %
        (400, 380, 0.95, "on"),
        (400, 300, 0.7, "on"),
    ],
)
def test_a_model_is_refused_when_even_the_upper_end_of_the_interval_is_too_low(
    compared: int, agreed: int, wanted: float, standing: str
) -> None:
    assert standing_of(CascadeAgreement("kind", "local-1", compared, agreed), wanted) == standing
