"""The classify stage: asks about every pending text, and appends each answer to the ledger as it arrives."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from etl.classifiers.base import Classifier
from etl.db.queries import classifications
from etl.db.queries.classifications import By, PendingScope
from etl.db.store import Store
from etl.errors import BudgetError, RateLimitError
from etl.interrupts import interrupts
from etl.records import Answer, Text
from etl.stages.base import Advance, Progress, Tally
from etl.stages.batch_submission import Submission, choose_executor
from etl.stages.batches import Batching, Desk
from etl.stages.cache_watch import CacheWatch
from etl.stages.inherit import Inheritance, find_kin
from etl.stages.spending import SharedPurse
from etl.tasks import Task

_log = logging.getLogger(__name__)

_PAID_PORTION = 200
_FREE_PORTION = 2000
_BATCH_PORTION = 5000
_LEASE_MINUTES = 15.0


@dataclass(frozen=True, slots=True)
class Asking:
    """What the stage works with.

    classifier: whom it asks. scope: about which texts. max_items: about how many at most (None: all).
    deadline: the `time.monotonic()` value by which it ends.
    audit: the share of texts that are asked about although they could inherit an answer; None: nobody inherits.
    batching: how batches are used; None: not at all. purse: what is spent from. by: which of the pending texts.
    """

    classifier: Classifier
    scope: PendingScope
    max_items: int | None
    deadline: float
    audit: float | None = None
    batching: Batching | None = None
    purse: SharedPurse | None = None
    by: By = "any"


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
    work = _Work(store, asking, run_id, tally, progress)
    watch = CacheWatch(tally)
    try:
        for task, heritage in _with_heritage(work, tasks):
            left = _submit_task(work, task, heritage)
            total = _count_pending(left, task)
            with progress.stage(f"classify {task.name}", total) as advance:
                if total:
                    before = tally.counts["texts_asked"], tally.cost_usd
                    _classify_task(left, _Ledger(store, task, run_id, tally, watch, advance, *before), heritage)
    finally:
        _release_claims(work)


@dataclass(frozen=True, slots=True)
class _Work:
    """What the parts of this stage share, for one run."""

    store: Store
    asking: Asking
    run_id: int
    tally: Tally
    progress: Progress


def _submit_task(work: _Work, task: Task, heritage: Inheritance | None) -> _Work:
    """Hands the pending texts of a task over in batches, where that is how they are asked about.

    Gives the work that is left to do at once: everything, or only what batches do not answer.

    Raises: as `classify_stage`.
    """
    asking, tally = work.asking, work.tally
    if asking.batching is None:
        return work
    in_batches = replace(work, asking=replace(asking, by="batch"))
    pending = _count_pending(in_batches, task)
    executor, why = choose_executor(asking.batching, pending)
    if pending:
        tally.executors[task.name] = f"{executor}: {why}"
        _log.info("executor chosen task=%s executor=%s reason=%s", task.name, executor, why)
    if executor == "sync" or not pending:
        return work
    single = _count_pending(replace(work, asking=replace(asking, by="single")), task)
    if single:
        tally.executors[task.name] += f"; {single:,} that came back from batches without an answer are asked one by one"
    desk = Desk(work.store, asking.batching.batches, work.run_id, tally, asking.purse)
    with work.progress.stage(f"submit {task.name}", pending) as advance:
        submission = Submission(desk, task, advance)
        while portion := _next_portion(in_batches, task, _BATCH_PORTION):
            claimed = _claim(in_batches, task, heritage, portion)
            if not claimed or not submission.submit(claimed):
                break
    _release_claims(work)
    return replace(work, asking=replace(asking, by="single")) if submission.interrupted else work


def _count_pending(work: _Work, task: Task) -> int:
    with work.store.transaction() as connection:
        return classifications.count_pending(connection, task, work.asking.scope, work.asking.by)


def _claim(work: _Work, task: Task, heritage: Inheritance | None, limit: int) -> Sequence[Text]:
    """Claims pending texts, and notes what those that could inherit an answer would inherit."""
    with work.store.transaction() as connection:
        claimed = classifications.claim_pending(
            connection,
            task,
            work.asking.scope,
            run_id=work.run_id,
            limit=limit,
            lease_minutes=_LEASE_MINUTES,
            by=work.asking.by,
        )
        if claimed and heritage is not None:
            heritage.expect(connection, [entry.id for entry in claimed])
    return claimed


def _release_claims(work: _Work) -> None:
    with work.store.transaction() as connection:
        classifications.release_claims(connection, work.run_id)


def _with_heritage(work: _Work, tasks: Sequence[Task]) -> Iterator[tuple[Task, Inheritance | None]]:
    """Each task with who hands its answers on, which was done once; None where nobody does or answers are free."""
    asking = work.asking
    if asking.audit is None or not asking.classifier.paid:
        yield from ((task, None) for task in tasks)
        return
    find_kin(work.store, work.progress)
    for task in tasks:
        heritage = Inheritance(work.store, task, asking.scope, work.run_id, work.tally, asking.audit)
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
    watch: CacheWatch
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
            self.tally.count_answer(answer, self.task.name)
            self.watch.see(answer, self.task.name)
        asked = self.tally.counts["texts_asked"] - self.asked_before
        self.advance(len(answers), asked=asked, dollars=round(self.tally.cost_usd - self.dollars_before, 4))


def _classify_task(work: _Work, ledger: _Ledger, heritage: Inheritance | None) -> None:
    task, asking = ledger.task, work.asking
    most = _PAID_PORTION if asking.classifier.paid else _FREE_PORTION
    while portion := _next_portion(work, task, most):
        claimed = _claim(work, task, heritage, portion)
        if not claimed:
            return
        try:
            _ask(task, asking.classifier, claimed, ledger)
        except BudgetError as stop:
            with ledger.store.transaction() as connection:
                left = classifications.count_pending(connection, task, asking.scope)
            raise BudgetError(f"{stop}; {left:,} texts of {task.name} wait") from None
        if heritage is not None:
            ledger.advance(heritage.hand_on())


def _next_portion(work: _Work, task: Task, most: int) -> int:
    """How many texts to claim next, `most` or fewer; 0 where --max-items is used up and none is left.

    Raises:
        RateLimitError: the deadline has passed. BudgetError: --max-items is used up and some are left.
    """
    asking, counts = work.asking, work.tally.counts
    if monotonic() > asking.deadline:
        raise RateLimitError(f"the run's deadline passed while classifying {task.name}; the next run goes on")
    if asking.max_items is None:
        return most
    allowed = asking.max_items - counts["texts_asked"] - counts["texts_submitted"]
    if allowed > 0:
        return min(most, allowed)
    left = _count_pending(work, task)
    if left:
        raise BudgetError(f"--max-items {asking.max_items} is reached; {left} texts of {task.name} wait")
    return 0


def _ask(task: Task, classifier: Classifier, claimed: Sequence[Text], ledger: _Ledger) -> None:
    """Stores each paid answer as it arrives; free ones, which cost nothing to ask again, in one transaction."""
    free: list[Answer] = []
    with interrupts.put_off():
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
    work = _Work(store, asking, run_id, tally, progress)
    tally.estimated_usd = 0.0
    for task, _ in _with_heritage(work, tasks):
        tally.waiting_texts[task.name] = 0
        for portion in _claimed_portions(work, task):
            tally.waiting_texts[task.name] += len(portion)
            tally.estimated_usd += asking.classifier.estimate(task, portion)


def _claimed_portions(work: _Work, task: Task) -> Iterator[Sequence[Text]]:
    """The pending texts, as the classify stage would claim them; the claims, of no run, end with the dry run."""
    while True:
        portion = _FREE_PORTION
        if work.asking.max_items is not None:
            portion = min(portion, work.asking.max_items - sum(work.tally.waiting_texts.values()))
        claimed = _claim(replace(work, run_id=0), task, None, portion)
        if not claimed:
            return
        yield claimed


def count_waiting_texts(store: Store, tasks: Sequence[Task], scope: PendingScope) -> dict[str, int]:
    """By task: how many texts still wait for an answer."""
    with store.transaction() as connection:
        return {task.name: classifications.count_pending(connection, task, scope) for task in tasks}
