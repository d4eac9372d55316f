"""One evaluation: everything that a golden set says of the answers of one classifier, or of the ledger's."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from etl.evaluate.calibration import Reliability, reliability, stated_confidences
from etl.evaluate.metrics import Example, Scores, measure
from etl.evaluate.thresholds import CurvePoint, Threshold, choose_thresholds, coverage_at, coverage_curve
from etl.tasks import Task

MIXED = "several"
"""Stands for a classifier, model or prompt where the answers come from more than one."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who gave an answer: classifier, model as answered, version of the prompt."""

    classifier: str
    model: str
    prompt_version: str


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer whose right one is known, and who gave it."""

    example: Example
    author: Author


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured. authors: who gave how many of the answers, most first.

    left_out: texts of the golden set that nobody was asked about. precision: the one that was wanted; best: what is
    answered at most with it, None where it is not reached. curve: coverage against precision, from the highest
    confidence down.
    """

    task: str
    task_version: int
    many: bool
    golden_set: str
    left_out: int
    authors: tuple[tuple[Author, int], ...]
    scores: Scores
    reliability: Reliability
    precision: float
    best: CurvePoint | None
    curve: tuple[CurvePoint, ...]
    thresholds: tuple[Threshold, ...]

    @property
    def author(self) -> Author:
        """Who gave the answers; a part that several share out is `MIXED`."""
        parts = [{getattr(author, name) for author, _ in self.authors} for name in Author.__dataclass_fields__]
        return Author(*(next(iter(part)) if len(part) == 1 else MIXED for part in parts))


def evaluate(
    task: Task, judged: Sequence[Judged], *, golden_set: str, left_out: int = 0, precision: float = 0.9
) -> Evaluation:
    """Measures answers against the right ones."""
    examples = [entry.example for entry in judged]
    many = task.answers == "many_of"
    scores = measure(examples, [category.id for category in task.categories], many=many)
    curve = coverage_curve(examples)
    return Evaluation(
        task=task.name,
        task_version=task.version,
        many=many,
        golden_set=golden_set,
        left_out=left_out,
        authors=tuple(Counter(entry.author for entry in judged).most_common()),
        scores=scores,
        reliability=reliability(stated_confidences(examples)),
        precision=precision,
        best=coverage_at(curve, precision),
        curve=tuple(curve),
        thresholds=tuple(choose_thresholds(examples, [entry.category for entry in scores.categories], precision)),
    )


def plain_values(evaluation: Evaluation) -> dict[str, Any]:
    """Everything measured as plain values, for JSON."""
    authors = [{**asdict(author), "answers": count} for author, count in evaluation.authors]
    return {**asdict(evaluation), "authors": authors}


def metrics_of(evaluation: Evaluation) -> dict[str, Any]:
    """The figures as they are kept in `evaluations`: without the points of the curve, and what has a column."""
    left_out = {"task", "task_version", "golden_set", "curve", "thresholds"}
    return {name: value for name, value in plain_values(evaluation).items() if name not in left_out}


def thresholds_of(evaluation: Evaluation) -> dict[str, float | None]:
    """By category: the confidence from which on its answers reach the wanted precision; None where none does."""
    return {threshold.category: threshold.confidence for threshold in evaluation.thresholds}
