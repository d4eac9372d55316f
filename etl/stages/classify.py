"""The classify stage: asks about every pending text, and appends each answer to the ledger as it arrives."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from etl.classifiers.base import Classifier
from etl.db.queries import classifications
from etl.db.queries.classifications import PendingScope
from etl.db.store import Store
from etl.errors import BudgetError, RateLimitError
from etl.records import ANSWERS, Answer, Text
from etl.stages.base import Advance, Progress, Tally
from etl.stages.inherit import Inheritance, find_kin
from etl.tasks import Task

_PAID_PORTION = 200
_FREE_PORTION = 2000
_LEASE_MINUTES = 15.0


@dataclass(frozen=True, slots=True)
class Asking:
    """What the stage works with.

    classifier: whom it asks. scope: about which texts. max_items: about how many at most (None: all).
    deadline: the `time.monotonic()` value by which it ends.
    audit: the share of texts that are asked about although they could inherit an answer; None: nobody inherits.
    """

    classifier: Classifier
    scope: PendingScope
    max_items: int | None
    deadline: float
    audit: float | None = None


def register_tasks(store: Store, tasks: Sequence[Task]) -> None:
    """Makes this run's tasks known to the database.

    Raises:
        ConfigurationError: a version of a task has answers that were given under other content.
    """
    with store.transaction() as connection:
        for task in tasks:
            classifications.register_task(connection, task, Path(task.path).read_text(encoding="utf-8"))


def classify_stage(
    store: Store, tasks: Sequence[Task], asking: Asking, run_id: int, tally: Tally, progress: Progress
) -> None:
    """Asks the classifier about every pending text of the tasks, newest items first.

    Raises:
        BudgetError: a cap was reached. RateLimitError: the deadline was. What was not asked stays pending.
    """
    try:
        for task, heritage in _with_heritage(store, tasks, asking, run_id, tally, progress):
            with store.transaction() as connection:
                total = classifications.count_pending(connection, task, asking.scope)
            with progress.stage(f"classify {task.name}", total) as advance:
                if total:
                    before = tally.counts["texts_asked"], tally.cost_usd
                    _classify_task(task, asking, _Ledger(store, task, run_id, tally, advance, *before), heritage)
    finally:
        with store.transaction() as connection:
            classifications.release_claims(connection, run_id)


def _with_heritage(
    store: Store, tasks: Sequence[Task], asking: Asking, run_id: int, tally: Tally, progress: Progress
) -> Iterator[tuple[Task, Inheritance | None]]:
    """Each task with who hands its answers on, which was done once; None where nobody does or answers are free."""
    if asking.audit is None or not asking.classifier.paid:
        yield from ((task, None) for task in tasks)
        return
    find_kin(store, progress)
    for task in tasks:
        heritage = Inheritance(store, task, asking.scope, run_id, tally, asking.audit)
        heritage.begin()
        heritage.hand_on()
        yield task, heritage


@dataclass(frozen=True, slots=True)
class _Ledger:
    """Where the answers of one task go, and who counts them.

    asked_before, dollars_before: what the run had counted when this task began: a stage shows its own numbers.
    """

    store: Store
    task: Task
    run_id: int
    tally: Tally
    advance: Advance
    asked_before: int
    dollars_before: float

    def keep(self, answers: Sequence[Answer]) -> None:
        """Appends the answers and counts them. A failed request is no answer: its text stays pending."""
        kept = [answer for answer in answers if answer.outcome != "failed"]
        if kept:
            with self.store.transaction() as connection:
                classifications.insert_answers(connection, self.task, kept, self.run_id)
        for answer in answers:
            self._count(answer)
        asked = self.tally.counts["texts_asked"] - self.asked_before
        self.advance(len(answers), asked=asked, dollars=round(self.tally.cost_usd - self.dollars_before, 4))

    def _count(self, answer: Answer) -> None:
        counts = self.tally.counts
        counts["texts_asked"] += 1
        self.tally.model = answer.model or self.tally.model
        if answer.usage is not None:
            counts["input_tokens"] += answer.usage.input_tokens
            counts["cache_write_tokens"] += answer.usage.cache_write_tokens
            counts["cache_read_tokens"] += answer.usage.cache_read_tokens
            counts["output_tokens"] += answer.usage.output_tokens
            self.tally.cost_usd += answer.usage.cost_usd
        if answer.outcome not in ANSWERS:
            counts["texts_failed"] += 1
            self.tally.note(f"text {answer.text_id} of task {self.task.name}: {answer.outcome}: {answer.rationale}")


def _classify_task(task: Task, asking: Asking, ledger: _Ledger, heritage: Inheritance | None) -> None:
    while portion := _next_portion(task, asking, ledger):
        with ledger.store.transaction() as connection:
            claimed = classifications.claim_pending(
                connection, task, asking.scope, run_id=ledger.run_id, limit=portion, lease_minutes=_LEASE_MINUTES
            )
            if claimed and heritage is not None:
                heritage.expect(connection, [entry.id for entry in claimed])
        if not claimed:
            return
        _ask(task, asking.classifier, claimed, ledger)
        if heritage is not None:
            ledger.advance(heritage.hand_on())


def _next_portion(task: Task, asking: Asking, ledger: _Ledger) -> int:
    """How many texts to claim next; 0 where --max-items is used up and none is left.

    Raises:
        RateLimitError: the deadline has passed. BudgetError: --max-items is used up and some are left.
    """
    if monotonic() > asking.deadline:
        raise RateLimitError(f"the run's deadline passed while classifying {task.name}; the next run goes on")
    portion = _PAID_PORTION if asking.classifier.paid else _FREE_PORTION
    if asking.max_items is None:
        return portion
    allowed = asking.max_items - ledger.tally.counts["texts_asked"]
    if allowed > 0:
        return min(portion, allowed)
    with ledger.store.transaction() as connection:
        left = classifications.count_pending(connection, task, asking.scope)
    if left:
        raise BudgetError(f"--max-items {asking.max_items} is reached; {left} texts of {task.name} wait")
    return 0


def _ask(task: Task, classifier: Classifier, claimed: Sequence[Text], ledger: _Ledger) -> None:
    """Stores each paid answer as it arrives; free ones, which cost nothing to ask again, in one transaction."""
    free: list[Answer] = []
    try:
        for answer in classifier.classify(task, claimed):
            if answer.usage is None and answer.outcome != "failed":
                free.append(answer)
            else:
                ledger.keep([answer])
    finally:
        if free:
            ledger.keep(free)


def estimate_stage(
    store: Store, tasks: Sequence[Task], asking: Asking, run_id: int, tally: Tally, progress: Progress
) -> None:
    """Counts the pending texts of the tasks without asking anyone (a dry run), with what asking would cost.

    What can be inherited now is left out; what could be once the first are answered is not known yet.
    """
    tally.estimated_usd = 0.0
    for task, _ in _with_heritage(store, tasks, asking, run_id, tally, progress):
        tally.waiting_texts[task.name] = 0
        for portion in _claimed_portions(store, task, asking, tally):
            tally.waiting_texts[task.name] += len(portion)
            tally.estimated_usd += asking.classifier.estimate(task, portion)


def _claimed_portions(store: Store, task: Task, asking: Asking, tally: Tally) -> Iterator[Sequence[Text]]:
    """The pending texts, as the classify stage would claim them; the claims end with the dry run."""
    while True:
        portion = _FREE_PORTION
        if asking.max_items is not None:
            portion = min(portion, asking.max_items - sum(tally.waiting_texts.values()))
        with store.transaction() as connection:
            claimed = classifications.claim_pending(
                connection, task, asking.scope, run_id=0, limit=portion, lease_minutes=_LEASE_MINUTES
            )
        if not claimed:
            return
        yield claimed


def count_waiting_texts(store: Store, tasks: Sequence[Task], scope: PendingScope) -> dict[str, int]:
    """By task: how many texts still wait for an answer."""
    with store.transaction() as connection:
        return {task.name: classifications.count_pending(connection, task, scope) for task in tasks}
