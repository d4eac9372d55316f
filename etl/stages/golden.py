"""Golden sets: whose answers are measured against which right ones, and asking a classifier about them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from etl.classifiers.base import Classifier
from etl.db.queries import annotations, evaluations
from etl.db.queries.annotations import ReviewedItem
from etl.db.store import Store
from etl.dedup import text_hash
from etl.errors import RateLimitError
from etl.evaluate.agreement import majority
from etl.evaluate.answers import AnswersFile, KeptAnswer, text_key
from etl.evaluate.evaluation import Author, Judged
from etl.evaluate.golden import GoldenSet, GoldenText
from etl.evaluate.metrics import Example
from etl.interrupts import interrupts
from etl.records import Answer, Text
from etl.stages.base import Progress, Tally
from etl.tasks import Task

ANNOTATIONS = "annotations"
_PORTION = 200


@dataclass(frozen=True, slots=True)
class GoldenPlan:
    """Whom a run asks about which texts, and where the answers are kept. deadline: as that of the run."""

    task: Task
    texts: tuple[GoldenText, ...]
    classifier: Classifier
    answers: AnswersFile
    deadline: float


@dataclass(frozen=True, slots=True)
class Annotated:
    """The golden set that people's answers are. disputed: items of which no answer has a majority."""

    golden: GoldenSet
    text_ids: tuple[int, ...]
    disputed: int


def collect_annotated(store: Store, task: Task) -> Annotated:
    """Every item that somebody answered about: an override counts alone, else what most reviewers said.

    An item's line is its place. Several items with one text are several lines.
    """
    with store.transaction() as connection:
        rows = annotations.select_reviewed_items(connection, task)
        bodies = evaluations.select_bodies(connection, sorted({row.text_id for row in rows}))
    by_item: dict[int, list[ReviewedItem]] = {}
    for row in rows:
        by_item.setdefault(row.item_id, []).append(row)
    texts: list[GoldenText] = []
    text_ids: list[int] = []
    disputed = 0
    for said in by_item.values():
        overrides = [row for row in said if row.role == "override"]
        voices = overrides[-1:] or said
        right = majority([_resolved(task, row.categories) for row in voices], many=task.answers == "many_of")
        if right is None:
            disputed += 1
            continue
        texts.append(GoldenText(len(texts) + 1, bodies[said[0].text_id], right))
        text_ids.append(said[0].text_id)
    return Annotated(GoldenSet(ANNOTATIONS, tuple(texts)), tuple(text_ids), disputed)


def _resolved(task: Task, categories: Sequence[str]) -> frozenset[str]:
    return frozenset(task.resolve_category(category) or category for category in categories)


def find_text_ids(store: Store, task: Task, golden: GoldenSet) -> list[int | None]:
    """For each text of a golden set the stored one with the same id; None where none is stored."""
    hashes = [text_hash(entry.body) for entry in golden.texts]
    with store.transaction() as connection:
        found = evaluations.select_text_ids_by_hash(connection, sorted(set(hashes)), task.input)
    return [found.get(entry) for entry in hashes]


def judge_by_ledger(
    store: Store,
    task: Task,
    golden: GoldenSet,
    text_ids: Sequence[int | None],
    model: str | None = None,
) -> list[Judged]:
    """The right answers beside those of the ledger; texts that nobody was asked about are left out."""
    wanted = sorted({text_id for text_id in text_ids if text_id is not None})
    with store.transaction() as connection:
        found = evaluations.select_current_answers(connection, task, wanted, model)
    judged = []
    for entry, text_id in zip(golden.texts, text_ids, strict=True):
        answer = found.get(text_id) if text_id is not None else None
        if answer is not None:
            author = Author(answer.classifier, answer.model, answer.prompt_version)
            judged.append(Judged(Example(entry.right, answer.categories), author))
    return judged


def judge_by_answers(golden: GoldenSet, kept: dict[str, KeptAnswer]) -> list[Judged]:
    """The right answers beside those that were kept; a text without one is left out."""
    judged = []
    for entry in golden.texts:
        answer = kept.get(text_key(entry.body))
        if answer is not None:
            author = Author(answer.classifier, answer.model, answer.prompt_version)
            judged.append(Judged(Example(entry.right, answer.categories), author))
    return judged


def unanswered_texts(plan: GoldenPlan) -> list[Text]:
    """The distinct texts that have no kept answer yet; each one's id is its place among the golden texts."""
    waiting: dict[str, Text] = {}
    for place, entry in enumerate(plan.texts):
        key = text_key(entry.body)
        if key not in plan.answers.kept:
            waiting.setdefault(key, Text(place, key, entry.body))
    return list(waiting.values())


def golden_stage(
    plan: GoldenPlan, tally: Tally, progress: Progress, *, dry_run: bool, charged: Callable[[], None] | None = None
) -> None:
    """Asks about the texts that have no kept answer; each answer is kept as it comes. Nothing goes to the ledger.

    dry_run: only counts what would be asked of a paid classifier, and estimates it. charged: called after each answer
    that cost something, so that the run's record has its dollars whatever becomes of the run.

    Raises:
        BudgetError, RateLimitError, UnavailableError, ConfigurationError: as `Classifier.classify`.
    """
    waiting = unanswered_texts(plan)
    if dry_run and plan.classifier.paid:
        tally.waiting_texts[plan.task.name] = len(waiting)
        tally.estimated_usd = plan.classifier.estimate(plan.task, waiting)
        return
    with progress.stage(f"evaluate {plan.task.name}", len(waiting)) as advance:
        for begin in range(0, len(waiting), _PORTION):
            if monotonic() > plan.deadline:
                raise RateLimitError("the run's deadline passed while asking about a golden set; go on with a new run")
            with interrupts.put_off():
                for answer in plan.classifier.classify(plan.task, waiting[begin : begin + _PORTION]):
                    _keep(plan, answer, tally)
                    if charged is not None and answer.usage is not None:
                        charged()
                    advance(1, dollars=round(tally.cost_usd, 4))


def _keep(plan: GoldenPlan, answer: Answer, tally: Tally) -> None:
    tally.counts["texts_asked"] += 1
    tally.count_paid(answer)
    if answer.outcome == "failed":
        tally.counts["texts_failed"] += 1
        tally.note(f"line {plan.texts[answer.text_id].line} of the golden set: {answer.outcome}: {answer.rationale}")
    else:
        plan.answers.keep(plan.texts[answer.text_id].body, answer)
