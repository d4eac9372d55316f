"""What a stated confidence is worth: how far it is off, and a monotone map that puts it right."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import exp, log, log1p

from etl.evaluate.metrics import Example, Interval, wilson

LEAST_EXAMPLES = 50
"""With fewer answers no map is fitted: it would be noise."""
LEAST_FOR_STEPS = 200
"""From so many answers on the map is an isotonic one; below, a curve with two parameters (Platt's)."""
MOST_POINTS = 20
_LEAST_IN_STEP = 10
_BINS = 10
_FOLDS = 5
_SEED = 20261121
_NARROWEST = 0.01
_MOST_STEPS = 50

Stated = tuple[float, bool]
"""A confidence, and whether that answer was right."""
Points = tuple[tuple[float, float], ...]
"""What given confidences are worth, ascending; straight lines between, level beyond the ends."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers with like confidences: from which to which, how many, their mean, and the share that is right."""

    low: float
    high: float
    answers: int
    confidence: float
    right: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far confidences are from what they are worth.

    ece: expected calibration error, the mean distance over `bins` weighted by their answers. brier: the mean square of
    the distance from 1 (right) or 0 (wrong).
    """

    answers: int
    ece: float
    brier: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """A map that was fitted, and what it is worth on answers that it was not fitted on (cross-fitting).

    problem: why it must not be used, in words; '' if it may.
    """

    method: str
    points: Points
    before: Reliability
    after: Reliability
    problem: str


def stated_confidences(examples: Sequence[Example]) -> list[Stated]:
    """Every category that was answered, its confidence and whether it is right; of a one-of task one per answer."""
    return [(confidence, name in example.right) for example in examples for name, confidence in example.answered]


def reliability(stated: Sequence[Stated]) -> Reliability:
    """ECE, Brier score and the calibration curve, over bins of equally many answers; equal confidences stay together.

    Bins of equal width would put nearly all answers of a model that says 0.9 or 0.95 into one.
    """
    if not stated:
        return Reliability(0, 0.0, 0.0, ())
    ordered = sorted(stated)
    bins, begin = [], 0
    for index in range(_BINS):
        end = max(begin, round((index + 1) * len(ordered) / _BINS))
        while begin < end < len(ordered) and ordered[end][0] == ordered[end - 1][0]:
            end += 1
        if end > begin:
            bins.append(_bin(ordered[begin:end]))
            begin = end
    ece = sum(entry.answers * abs(entry.confidence - entry.right) for entry in bins) / len(ordered)
    brier = sum((confidence - is_right) ** 2 for confidence, is_right in ordered) / len(ordered)
    return Reliability(len(ordered), ece, brier, tuple(bins))


def _bin(stated: Sequence[Stated]) -> Bin:
    right = sum(is_right for _, is_right in stated)
    mean = sum(confidence for confidence, _ in stated) / len(stated)
    return Bin(stated[0][0], stated[-1][0], len(stated), mean, right / len(stated), wilson(right, len(stated)))


def apply_points(points: Points, confidence: float) -> float:
    """What a stated confidence is worth; as the function `calibrated_confidence` of the database has it."""
    if confidence <= points[0][0]:
        return points[0][1]
    for (low, worth), (high, next_worth) in pairwise(points):
        if confidence < high:
            return worth + (confidence - low) * (next_worth - worth) / (high - low)
    return points[-1][1]


def fit_isotonic(stated: Sequence[Stated]) -> Points:
    """The best monotone map (pool adjacent violators), thinned to at most twenty points of ten answers or more."""
    steps: list[list[float]] = []  # answers, the sum of their confidences, how many are right
    for confidence, group in groupby(sorted(stated), key=lambda entry: entry[0]):
        hits = [is_right for _, is_right in group]
        steps.append([len(hits), confidence * len(hits), sum(hits)])
        while len(steps) > 1 and _level(steps[-2]) >= _level(steps[-1]):
            _merge(steps, len(steps) - 2)
    while (place := _place_to_merge(steps)) is not None:
        _merge(steps, place)
    if len(steps) == 1:
        return (0.0, _kept_inside(_level(steps[0]))), (1.0, _kept_inside(_level(steps[0])))
    return tuple((step[1] / step[0], _kept_inside(_level(step))) for step in steps)


def _level(step: Sequence[float]) -> float:
    return step[2] / step[0]


def _place_to_merge(steps: Sequence[Sequence[float]]) -> int | None:
    """Which step becomes one with the next: one that is too small with the likelier neighbour, or the two most alike.

    None where the steps are few and large enough.
    """
    if len(steps) == 1:
        return None
    rises = [_level(high) - _level(low) for low, high in pairwise(steps)]
    small = min(range(len(steps)), key=lambda place: steps[place][0])
    if steps[small][0] < _LEAST_IN_STEP:
        return min((place for place in (small - 1, small) if 0 <= place < len(rises)), key=lambda place: rises[place])
    if len(steps) > MOST_POINTS:
        return min(range(len(rises)), key=lambda place: rises[place])
    return None


def _merge(steps: list[list[float]], place: int) -> None:
    """Makes one step of that at `place` and the next."""
    one, other = steps[place], steps.pop(place + 1)
    steps[place] = [first + second for first, second in zip(one, other, strict=True)]


def _kept_inside(value: float) -> float:
    """No measured share is certainty."""
    return min(1 - _NARROWEST, max(_NARROWEST, value))


def _logit(confidence: float) -> float:
    inside = _kept_inside(confidence)
    return log(inside / (1 - inside))


def _sigmoid(value: float) -> float:
    return 1 / (1 + exp(-value)) if value >= 0 else exp(value) / (1 + exp(value))


def fit_platt(stated: Sequence[Stated]) -> Points:
    """A curve with two parameters over the log-odds of the confidence (Platt, 1999), as twenty points of it."""
    slope, offset = _platt_parameters(stated)
    grid = [place / (MOST_POINTS - 1) for place in range(MOST_POINTS)]
    return tuple((confidence, _kept_inside(_sigmoid(slope * _logit(confidence) + offset))) for confidence in grid)


def _platt_parameters(stated: Sequence[Stated]) -> tuple[float, float]:
    """Slope and offset, by Newton's method on the likelihood of Platt's softened targets; the slope never falls."""
    right = sum(is_right for _, is_right in stated)
    wrong = len(stated) - right
    high, low = (right + 1) / (right + 2), 1 / (wrong + 2)
    odds = [(_logit(confidence), high if is_right else low) for confidence, is_right in stated]
    slope, offset = 0.0, log((right + 1) / (wrong + 1))
    loss = _loss(odds, slope, offset)
    for _ in range(_MOST_STEPS):
        along, across = _newton_step(odds, slope, offset)
        scale = 1.0
        while scale > 1e-6 and (tried := _loss(odds, slope + scale * along, offset + scale * across)) >= loss:
            scale /= 2
        if scale <= 1e-6:
            break
        slope, offset, loss = slope + scale * along, offset + scale * across, tried
    return (slope, offset) if slope > 0 else (0.0, log((right + 1) / (wrong + 1)))


def _loss(odds: Sequence[tuple[float, float]], slope: float, offset: float) -> float:
    """The negative log-likelihood; log(1 + exp(v)) is written so that nothing overflows."""
    values = ((slope * x + offset, target) for x, target in odds)
    return sum(max(value, 0.0) + log1p(exp(-abs(value))) - target * value for value, target in values)


def _newton_step(odds: Sequence[tuple[float, float]], slope: float, offset: float) -> tuple[float, float]:
    first, second = 0.0, 0.0
    xx, x1, ones = 1e-9, 0.0, 1e-9
    for x, target in odds:
        said = _sigmoid(slope * x + offset)
        weight = said * (1 - said)
        first, second = first + (target - said) * x, second + target - said
        xx, x1, ones = xx + weight * x * x, x1 + weight * x, ones + weight
    size = xx * ones - x1 * x1
    return (ones * first - x1 * second) / size, (xx * second - x1 * first) / size


def fit(stated: Sequence[Stated]) -> Fit:
    """A monotone map from stated confidences to what they are worth, judged by cross-fitting.

    Each fifth of the answers is mapped by what the other four say; that is `after`. The map itself is of all of them.
    """
    method, fitter = ("isotonic", fit_isotonic) if len(stated) >= LEAST_FOR_STEPS else ("platt", fit_platt)
    before = reliability(stated)
    if len(stated) < LEAST_EXAMPLES:
        problem = f"{len(stated)} answers with a known right one are too few, {LEAST_EXAMPLES} are needed"
        return Fit(method, (), before, before, problem)
    after = reliability(_cross_fitted(stated, fitter))
    problem = ""
    if after.ece >= before.ece or after.brier > before.brier:
        problem = (
            f"it does not help: on answers that it was not fitted on the error goes from {before.ece:.3f} to"
            f" {after.ece:.3f} (Brier score from {before.brier:.4f} to {after.brier:.4f})"
        )
    return Fit(method, fitter(stated), before, after, problem)


def _cross_fitted(stated: Sequence[Stated], fitter: Callable[[Sequence[Stated]], Points]) -> list[Stated]:
    shuffled = sorted(stated)
    random.Random(_SEED).shuffle(shuffled)  # noqa: S311  (dividing, not a secret)
    mapped: list[Stated] = []
    for fold in range(_FOLDS):
        points = fitter([entry for place, entry in enumerate(shuffled) if place % _FOLDS != fold])
        mapped += [(apply_points(points, confidence), is_right) for confidence, is_right in shuffled[fold::_FOLDS]]
    return mapped
