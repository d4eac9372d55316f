"""How good a model is on texts it was not trained on, and from which confidence on it may answer. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any, Final

from etl.classifiers.local import Verdict, judge
from etl.classifiers.local_model import Header
from etl.evaluate.calibration import reliability
from etl.evaluate.metrics import Example, Interval, measure, wilson

LEAST_ANSWERS: Final = 20
"""So many answers of a category must lie above a threshold for their agreement to be believed."""

MOST_POINTS: Final = 40


@dataclass(frozen=True, slots=True)
class Held:
    """What a model says of a text that it was not trained on. agrees: it is exactly what was known of it."""

    fold: int
    verdict: Verdict
    right: frozenset[str]

    @property
    def agrees(self) -> bool:
        """Whether exactly the right categories are named."""
        return frozenset(category for category, _ in self.verdict.categories) == self.right


@dataclass(frozen=True, slots=True)
class CategoryThreshold:
    """From which confidence on a category is answered; None: never.

    answers: of the texts on which it would be answered so; of: of those it is the likeliest for. agreed: how many of
    the answers agree.
    """

    category: str
    confidence: float | None
    answers: int
    of: int
    agreed: int


@dataclass(frozen=True, slots=True)
class Point:
    """What is reached with only answers from `confidence` on: the share of texts, and how many of those agree."""

    confidence: float
    coverage: float
    agreement: float


@dataclass(frozen=True, slots=True)
class Quality:
    """All that was measured, by cross-validation.

    wanted: the agreement that the thresholds were chosen for. coverage, agreement: at thresholds that were chosen
    without the fold they are used on, so both are what new texts of the same kind can expect.
    """

    texts: int
    wanted: float
    accuracy: float
    macro_f1: float
    macro_f1_interval: Interval
    ece: float
    coverage: float
    agreement: float
    agreement_interval: Interval
    categories: tuple[Mapping[str, Any], ...]
    thresholds: tuple[CategoryThreshold, ...]
    curve: tuple[Point, ...]

    def as_metrics(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)

    def chosen(self) -> dict[str, float]:
        """By category: the confidence from which on it is answered, where it ever is."""
        return {entry.category: entry.confidence for entry in self.thresholds if entry.confidence is not None}


def hold_out(
    header: Header, rows: Sequence[Sequence[float]], folds: Sequence[int], right: Sequence[frozenset[str]], at_most: int
) -> list[Held]:
    """The verdicts on texts whose probabilities come from models trained without their fold."""
    return [Held(fold, judge(header, row, at_most), truth) for row, fold, truth in zip(rows, folds, right, strict=True)]


def choose_thresholds(held: Sequence[Held], categories: Sequence[str], wanted: float) -> list[CategoryThreshold]:
    """For each category the lowest confidence from which on its answers agree as often as wanted."""
    return [_choose(held, category, wanted) for category in categories]


def _choose(held: Sequence[Held], category: str, wanted: float) -> CategoryThreshold:
    mine = sorted(
        ((entry.verdict.confidence, entry.agrees) for entry in held if category in dict(entry.verdict.categories)),
        reverse=True,
    )
    margin = 0.5 * sqrt(
        wanted * (1.0 - wanted)
    )  # half a standard error: the best of many places looks better than it is
    best: tuple[float | None, int, int] = (None, 0, 0)
    agreed = 0
    for place, (confidence, agrees) in enumerate(mine, 1):
        agreed += agrees
        is_last = place == len(mine) or mine[place][0] < confidence
        if is_last and place >= LEAST_ANSWERS and agreed >= wanted * place + margin * sqrt(place):
            best = (confidence, place, agreed)
    return CategoryThreshold(category, best[0], best[1], len(mine), best[2])


def _is_given(verdict: Verdict, thresholds: Mapping[str, float]) -> bool:
    limits = [thresholds.get(category) for category, _ in verdict.categories]
    return bool(limits) and all(limit is not None and verdict.confidence >= limit for limit in limits)


def _cross_checked(held: Sequence[Held], categories: Sequence[str], wanted: float) -> tuple[int, int]:
    """How many answers are given at thresholds that were chosen without their fold, and how many of them agree."""
    given = agreed = 0
    for fold in sorted({entry.fold for entry in held}):
        others = [entry for entry in held if entry.fold != fold]
        limits = {
            entry.category: entry.confidence
            for entry in choose_thresholds(others, categories, wanted)
            if entry.confidence is not None
        }
        answered = [entry for entry in held if entry.fold == fold and _is_given(entry.verdict, limits)]
        given += len(answered)
        agreed += sum(entry.agrees for entry in answered)
    return given, agreed


def draw_curve(held: Sequence[Held]) -> list[Point]:
    """Coverage and agreement for one confidence for all categories, from the surest on; at most `MOST_POINTS`."""
    named = sorted((entry for entry in held if entry.verdict.categories), key=lambda entry: -entry.verdict.confidence)
    points = []
    agreed = 0
    for place, entry in enumerate(named, 1):
        agreed += entry.agrees
        if place == len(named) or named[place].verdict.confidence < entry.verdict.confidence:
            points.append(Point(entry.verdict.confidence, place / len(held), agreed / place))
    if len(points) <= MOST_POINTS:
        return points
    step = (len(points) - 1) / (MOST_POINTS - 1)
    return [points[round(place * step)] for place in range(MOST_POINTS)]


def measure_quality(held: Sequence[Held], categories: Sequence[str], wanted: float, *, many: bool) -> Quality:
    """Every figure of verdicts on held out texts."""
    scores = measure([Example(entry.right, entry.verdict.categories) for entry in held], categories, many=many)
    stated = [(entry.verdict.confidence, entry.agrees) for entry in held if entry.verdict.categories]
    given, agreed = _cross_checked(held, categories, wanted)
    return Quality(
        texts=len(held),
        wanted=wanted,
        accuracy=scores.accuracy,
        macro_f1=scores.macro.f1,
        macro_f1_interval=scores.macro.f1_interval,
        ece=reliability(stated).ece if stated else 0.0,
        coverage=given / len(held),
        agreement=agreed / given if given else 0.0,
        agreement_interval=wilson(agreed, given),
        categories=tuple(
            {
                "category": entry.category,
                "support": entry.support,
                "precision": entry.precision,
                "recall": entry.recall,
                "f1": entry.f1,
            }
            for entry in scores.categories
        ),
        thresholds=tuple(choose_thresholds(held, categories, wanted)),
        curve=tuple(draw_curve(held)),
    )
