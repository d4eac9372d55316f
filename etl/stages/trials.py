"""A comparison: two ways of answering a task's question, on the same sample of texts.

What has to be asked is asked for trial: kept in the ledger with its cost, never current, in no document. An answer that
stands there already, by the same prompt and model and whatever it was for, is taken from there. So a comparison may be
stopped and begun again at any moment, and one that is repeated costs nothing.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic

from etl import errors
from etl.classifiers.base import Classifier, SigningClassifier
from etl.db.queries import classifications, trials
from etl.db.queries.trials import LedgerAnswer, SampledText
from etl.db.store import Store
from etl.interrupts import interrupts
from etl.records import Answer, Signature, Text
from etl.stages.base import Advance, Progress, Tally
from etl.tasks import Task

_log = logging.getLogger(__name__)

_PORTION = 200
_LEASE_MINUTES = 15.0


@dataclass(frozen=True, slots=True)
class Variant:
    """One side of a comparison.

    name: as a person called it. task: the question in this side's words. classifier: whom it asks; None: nobody, the
    current answers are taken.
    """

    name: str
    task: Task
    classifier: Classifier | None = None


@dataclass(frozen=True, slots=True)
class TrialPlan:
    """What is compared, on how many texts at most.

    task: the question as of today; the texts are its. deadline: as that of the run.
    """

    task: Task
    first: Variant
    second: Variant
    sample: int
    deadline: float = float("inf")


@dataclass(slots=True)
class Side:
    """What became of one side. answers: by text. asked: texts asked now; reused: found in the ledger.

    estimated_usd: on a dry run, about what asking would cost.
    """

    name: str
    answers: dict[int, LedgerAnswer] = field(default_factory=dict)
    asked: int = 0
    reused: int = 0
    to_ask: int = 0
    estimated_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Trial:
    """A comparison's sample, and both sides' answers. tasks: the question as of today, and as each side asks it."""

    tasks: tuple[Task, ...]
    sample: tuple[SampledText, ...]
    first: Side
    second: Side


def trial_stage(
    store: Store,
    plan: TrialPlan,
    repository_keys: Sequence[int] | None,
    run_id: int,
    tally: Tally,
    progress: Progress,
    stops: list[errors.StopError],
) -> Trial:
    """Asks what is missing; a reason to stop is added to `stops`, and what is there is given all the same.

    Raises:
        LockedError: another process compares answers to this task at this moment.
        ConfigurationError: no text has an answer yet.
    """
    task = plan.task
    if not store.try_lock(f"compare {task.name}"):
        raise errors.LockedError(f"another comparison of task {task.name} is running right now; wait for its end")
    with store.transaction() as connection:
        sample = trials.select_sample(connection, task, repository_keys, plan.sample)
    if not sample:
        raise errors.ConfigurationError(
            f"no stored text has an answer to task {task.name} yet; `issuetide run` or `classify` first"
        )
    trial = Trial(
        (task, plan.first.task, plan.second.task), tuple(sample), Side(plan.first.name), Side(plan.second.name)
    )
    run, texts = _Run(run_id, plan.deadline, tally), [entry.text for entry in sample]
    for variant, side in ((plan.first, trial.first), (plan.second, trial.second)):
        asking = _fill_from_ledger(store, variant, side, texts, run)
        if asking is not None and not stops:
            try:
                _ask_side(asking, side, texts, progress)
            except errors.StopError as stop:
                stops.append(stop)
    return trial


@dataclass(frozen=True, slots=True)
class _Run:
    """What asking needs of the run."""

    run_id: int
    deadline: float
    tally: Tally


def _fill_from_ledger(store: Store, variant: Variant, side: Side, texts: Sequence[Text], run: _Run) -> "_Asking | None":
    """Takes the answers that are there; gives who can be asked for the others, None where nobody is."""
    ids = [text.id for text in texts]
    asking = None
    if variant.classifier is None:
        with store.transaction() as connection:
            found = trials.select_current_answers(connection, variant.task, ids)
    else:
        asking = _Asking(store, variant.task, variant.classifier, sign(variant.task, variant.classifier), run)
        found = asking.stored(ids)
    side.answers = {answer.text_id: answer for answer in found}
    side.reused = len(found)
    return asking


def _ask_side(asking: "_Asking", side: Side, texts: Sequence[Text], progress: Progress) -> None:
    """Asks about the texts that have no answer yet; on a dry run only says what that would cost."""
    hopeless = asking.hopeless([text.id for text in texts])
    missing = [text for text in texts if text.id not in side.answers and text.id not in hopeless]
    side.to_ask = len(missing)
    if asking.store.dry_run and asking.classifier.paid:
        side.estimated_usd = asking.classifier.estimate(asking.task, missing)
        return
    try:
        with progress.stage(f"ask {side.name}", len(missing)) as advance:
            for start in range(0, len(missing), _PORTION):
                side.asked += asking.ask(missing[start : start + _PORTION], advance)
    finally:
        side.answers |= {answer.text_id: answer for answer in asking.stored([text.id for text in missing])}


def sign(task: Task, classifier: Classifier) -> Signature:
    """What answers of `classifier` to `task` are stored with.

    Raises:
        ConfigurationError: it cannot tell.
    """
    if not isinstance(classifier, SigningClassifier):
        raise errors.ConfigurationError(f"answers by {classifier.name} cannot be compared; use claude, local or rules")
    return classifier.signature(task)


@dataclass(frozen=True, slots=True)
class _Asking:
    """One side that is asked."""

    store: Store
    task: Task
    classifier: Classifier
    signature: Signature
    run: _Run

    def stored(self, ids: Sequence[int]) -> list[LedgerAnswer]:
        """What the ledger has for these texts."""
        with self.store.transaction() as connection:
            return trials.select_answers_by(connection, self.task, self.classifier.name, self.signature, ids)

    def hopeless(self, ids: Sequence[int]) -> set[int]:
        """The texts that were asked about often enough in vain."""
        with self.store.transaction() as connection:
            return set(trials.select_hopeless(connection, self.task, self.classifier.name, self.signature, ids))

    def ask(self, portion: Sequence[Text], advance: Advance) -> int:
        """Asks about texts and appends each answer as it arrives, free ones together; gives how many were asked."""
        if monotonic() > self.run.deadline:
            raise errors.RateLimitError("the run's deadline passed during the comparison; the next one goes on")
        with self.store.transaction() as connection:
            ids = [text.id for text in portion]
            claimed = set(
                trials.claim_for_trial(connection, self.task, ids, run_id=self.run.run_id, lease_minutes=_LEASE_MINUTES)
            )
        asked = 0
        try:
            with interrupts.put_off():
                for answers in self._answers([text for text in portion if text.id in claimed]):
                    asked += self._keep(answers)
                    advance(len(answers), dollars=round(self.run.tally.cost_usd, 4))
        finally:
            with self.store.transaction() as connection:
                classifications.release_claims(connection, self.run.run_id)
        return asked

    def _answers(self, texts: Sequence[Text]) -> Iterator[list[Answer]]:
        arriving = (replace(answer, purpose="trial") for answer in self.classifier.classify(self.task, texts))
        if self.classifier.paid:
            yield from ([answer] for answer in arriving)
        else:
            yield list(arriving)

    def _keep(self, answers: Sequence[Answer]) -> int:
        kept = [answer for answer in answers if answer.outcome != "failed"]
        if kept:
            with self.store.transaction() as connection:
                classifications.insert_answers(connection, self.task, kept, self.run.run_id)
        for answer in answers:
            self.run.tally.count_answer(answer, self.task.name)
        return len(answers)
