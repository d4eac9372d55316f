"""From which confidence on answers are precise enough, and how many texts still get one."""

from collections.abc import Sequence
from dataclasses import dataclass

from etl.evaluate.metrics import Example, Interval, wilson

LEAST_ANSWERS = 10
"""So many answers of a category must lie above a threshold for its precision to be believed at all."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What is reached when only answers from `confidence` on count.

    coverage: the share of all texts that still get one. precision: the share of those answers that are right; of a
    many-of task of their categories.
    """

    confidence: float
    coverage: float
    precision: float
    answers: int


@dataclass(frozen=True, slots=True)
class Threshold:
    """From which confidence on a category's answers are precise enough.

    confidence: None where no threshold reaches the wanted precision with enough answers. answers, precision and its
    interval: of those above it (of all its answers where there is none); kept: their share of the category's answers.
    """

    category: str
    confidence: float | None
    answers: int
    kept: float
    precision: float
    interval: Interval


def coverage_curve(examples: Sequence[Example]) -> list[CurvePoint]:
    """Coverage and precision at every confidence that was given, from the highest down."""
    given = sorted(
        ((confidence, place, category in example.right) for place, example in enumerate(examples)
         for category, confidence in example.answered),
        key=lambda entry: -entry[0],
    )  # fmt: skip
    points: list[CurvePoint] = []
    texts: set[int] = set()
    right = 0
    for index, (confidence, place, is_right) in enumerate(given):
        texts.add(place)
        right += is_right
        if index + 1 == len(given) or given[index + 1][0] < confidence:
            points.append(CurvePoint(confidence, len(texts) / len(examples), right / (index + 1), index + 1))
    return points


def coverage_at(points: Sequence[CurvePoint], precision: float) -> CurvePoint | None:
    """The point with the most coverage that is at least so precise, of those with enough answers to tell."""
    fits = [point for point in points if point.precision >= precision and point.answers >= LEAST_ANSWERS]
    return max(fits, key=lambda point: point.coverage, default=None)


def choose_thresholds(examples: Sequence[Example], categories: Sequence[str], precision: float) -> list[Threshold]:
    """For each category the lowest confidence from which on its answers reach `precision`."""
    return [_choose(category, _answers_of(examples, category), precision) for category in categories]


def _answers_of(examples: Sequence[Example], category: str) -> list[tuple[float, bool]]:
    """The confidences of a category's answers, the highest first, and whether each is right."""
    pairs = [
        (confidence, category in example.right)
        for example in examples
        for name, confidence in example.answered
        if name == category
    ]
    return sorted(pairs, key=lambda pair: -pair[0])


def _choose(category: str, answers: Sequence[tuple[float, bool]], precision: float) -> Threshold:
    found, right = None, 0
    for index, (confidence, is_right) in enumerate(answers):
        right += is_right
        ends = index + 1 == len(answers) or answers[index + 1][0] < confidence
        if ends and index + 1 >= LEAST_ANSWERS and right / (index + 1) >= precision:
            found = (confidence, index + 1, right)
    threshold, count, hits = found if found is not None else (None, len(answers), right)
    return Threshold(
        category=category,
        confidence=threshold,
        answers=count,
        kept=count / len(answers) if answers else 0.0,
        precision=hits / count if count else 0.0,
        interval=wilson(hits, count),
    )
