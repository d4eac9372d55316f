"""Precision, recall, F1, kappa and a confusion matrix of answers whose right ones are known, with 95 % intervals."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from etl.tasks import ABSTAINED

Interval = tuple[float, float]
Cells = Mapping[tuple[frozenset[str], frozenset[str]], int]
"""How often which right set met which answered one."""

_Z = 1.959963984540054
_MOST_RESAMPLES = 1000
_LEAST_RESAMPLES = 200
_MOST_DRAWS = 5_000_000
_SEED = 20261121
_MACRO, _MICRO = "macro average", "micro average"  # no category id has a space


@dataclass(frozen=True, slots=True)
class Example:
    """A text with the right answer and the one that was given.

    right: category ids; empty where people said that the text does not decide it. answered: category ids with their
    confidences, the most confident first; empty where nobody answered or the classifier abstained.
    """

    right: frozenset[str]
    answered: tuple[tuple[str, float], ...]

    @property
    def chosen(self) -> frozenset[str]:
        """The categories that were answered."""
        return frozenset(category for category, _ in self.answered)


@dataclass(frozen=True, slots=True)
class CategoryScore:
    """One category against all others. right: answered and right; given: answered at all; support: right at all.

    A share whose whole is empty is 0 (as scikit-learn has it), its interval 0 to 1.
    """

    category: str
    right: int
    given: int
    support: int
    precision: float
    precision_interval: Interval
    recall: float
    recall_interval: Interval
    f1: float
    f1_interval: Interval


@dataclass(frozen=True, slots=True)
class Mean:
    """Precision, recall and F1 of all categories together."""

    precision: float
    recall: float
    f1: float
    f1_interval: Interval


@dataclass(frozen=True, slots=True)
class Baseline:
    """What answering the most frequent right set to every text would reach."""

    categories: tuple[str, ...]
    accuracy: float
    macro_f1: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Everything measured on a golden set.

    coverage: the share of texts that got a category. accuracy: of all texts, those answered with exactly the right set
    (saying nothing is right where the right set is empty). accuracy_answered: the same of those that got a category.
    kappa: Cohen's, of the whole answers, abstaining being one of them; None where both sides always say the same.
    confusion: by right and by answered category, 'abstained' among both; of a many-of task empty, as its categories
    are judged one by one.
    """

    size: int
    answered: int
    coverage: float
    accuracy: float
    accuracy_interval: Interval
    accuracy_answered: float
    accuracy_answered_interval: Interval
    macro: Mean
    micro: Mean
    kappa: float | None
    kappa_interval: Interval | None
    baseline: Baseline
    categories: tuple[CategoryScore, ...]
    confusion: dict[str, dict[str, int]]


def wilson(right: int, whole: int) -> Interval:
    """The 95 % interval of a share `right` of `whole` (Wilson, 1927); 0 to 1 of nothing."""
    if whole == 0:
        return 0.0, 1.0
    share, square = right / whole, _Z * _Z
    middle = (share + square / (2 * whole)) / (1 + square / whole)
    half = _Z / (1 + square / whole) * sqrt(share * (1 - share) / whole + square / (4 * whole * whole))
    return max(0.0, middle - half), min(1.0, middle + half)


def cohens_kappa(cells: Cells) -> float | None:
    """Agreement of two beyond chance: 1 is always, 0 as by chance; None where both always say one and the same."""
    whole = sum(cells.values())
    first: Counter[frozenset[str]] = Counter()
    second: Counter[frozenset[str]] = Counter()
    for (one, other), count in cells.items():
        first[one] += count
        second[other] += count
    chance = sum(first[word] * second[word] for word in first) / (whole * whole) if whole else 1.0
    if chance >= 1.0:
        return None
    agreed = sum(count for (one, other), count in cells.items() if one == other) / whole
    return (agreed - chance) / (1 - chance)


def kappa_interval(cells: Cells) -> Interval | None:
    """The 95 % interval of `cohens_kappa`: Wilson's of the raw agreement, on kappa's scale (chance held fixed).

    Unlike the usual one of the variance it is no point where two agree on all of a few.
    """
    kappa = cohens_kappa(cells)
    if kappa is None:
        return None
    whole = sum(cells.values())
    agreed = sum(count for (one, other), count in cells.items() if one == other)
    # From kappa = (agreed - chance) / (1 - chance); with full agreement the chance is asked for again.
    chance = (agreed / whole - kappa) / (1 - kappa) if kappa < 1 else _chance_of_full(cells, whole)
    low, high = wilson(agreed, whole)
    return (low - chance) / (1 - chance), (high - chance) / (1 - chance)


def _chance_of_full(cells: Cells, whole: int) -> float:
    return float(sum(count * count for count in cells.values())) / (whole * whole)


def measure(examples: Sequence[Example], categories: Sequence[str], *, many: bool = False) -> Scores:
    """Every figure of these examples; `categories` gives the order, one that is neither right nor given is left out.

    Intervals of precision, recall and accuracy are Wilson's; those of F1 are from a bootstrap with a fixed seed, so
    the same examples give the same figures.
    """
    cells = Counter((example.right, example.chosen) for example in examples)
    counts = _count(cells)
    named = [name for name in categories if any(counts.get(name, ()))]
    named += sorted(set(counts) - set(named))
    spread = _bootstrap(cells, named)
    size, answered = len(examples), sum(count for (_, chosen), count in cells.items() if chosen)
    exact = sum(count for (right, chosen), count in cells.items() if right == chosen)
    exact_answered = sum(count for (right, chosen), count in cells.items() if right == chosen and chosen)
    scores = tuple(_score(name, counts[name], spread[name]) for name in named)
    return Scores(
        size=size,
        answered=answered,
        coverage=_share(answered, size),
        accuracy=_share(exact, size),
        accuracy_interval=wilson(exact, size),
        accuracy_answered=_share(exact_answered, answered),
        accuracy_answered_interval=wilson(exact_answered, answered),
        macro=_macro(scores, spread[_MACRO]),
        micro=_micro(scores, spread[_MICRO]),
        kappa=cohens_kappa(cells),
        kappa_interval=kappa_interval(cells),
        baseline=_baseline(cells, named),
        categories=scores,
        confusion={} if many else _confusion(cells, named),
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _count(cells: Cells) -> dict[str, tuple[int, int, int]]:
    """By category: how often right and given, given, and right at all."""
    right: Counter[str] = Counter()
    given: Counter[str] = Counter()
    support: Counter[str] = Counter()
    for (truth, chosen), count in cells.items():
        for name in truth:
            support[name] += count
        for name in chosen:
            given[name] += count
            if name in truth:
                right[name] += count
    return {name: (right[name], given[name], support[name]) for name in support | given}


def _f1(counts: tuple[int, int, int]) -> float:
    return _share(2 * counts[0], counts[1] + counts[2])


def _score(name: str, counts: tuple[int, int, int], f1_interval: Interval) -> CategoryScore:
    right, given, support = counts
    return CategoryScore(
        category=name,
        right=right,
        given=given,
        support=support,
        precision=_share(right, given),
        precision_interval=wilson(right, given),
        recall=_share(right, support),
        recall_interval=wilson(right, support),
        f1=_f1(counts),
        f1_interval=f1_interval,
    )


def _macro(scores: Sequence[CategoryScore], f1_interval: Interval) -> Mean:
    count = max(1, len(scores))
    return Mean(
        sum(score.precision for score in scores) / count,
        sum(score.recall for score in scores) / count,
        sum(score.f1 for score in scores) / count,
        f1_interval,
    )


def _micro(scores: Sequence[CategoryScore], f1_interval: Interval) -> Mean:
    right, given = sum(score.right for score in scores), sum(score.given for score in scores)
    support = sum(score.support for score in scores)
    return Mean(_share(right, given), _share(right, support), _f1((right, given, support)), f1_interval)


def _bootstrap(cells: Cells, names: Sequence[str]) -> dict[str, Interval]:
    """The middle 95 % of the F1s of resampled examples, by category, and under `_MACRO` and `_MICRO`."""
    kinds, weights = list(cells), list(cells.values())
    size = sum(weights)
    drawn: dict[str, list[float]] = {name: [] for name in (*names, _MACRO, _MICRO)}
    if size:
        chance = random.Random(_SEED)  # noqa: S311  (resampling, not a secret)
        for _ in range(max(_LEAST_RESAMPLES, min(_MOST_RESAMPLES, _MOST_DRAWS // size))):
            counts = _count(Counter(chance.choices(kinds, weights, k=size)))
            f1s = [_f1(counts.get(name, (0, 0, 0))) for name in names]
            for name, value in zip(names, f1s, strict=True):
                drawn[name].append(value)
            drawn[_MACRO].append(_share(sum(f1s), len(names)))
            sums = [sum(column) for column in zip(*counts.values(), strict=True)] or [0, 0, 0]
            drawn[_MICRO].append(_f1((sums[0], sums[1], sums[2])))
    return {name: _middle(values) for name, values in drawn.items()}


def _middle(values: list[float]) -> Interval:
    if not values:
        return 0.0, 1.0
    values.sort()
    last = len(values) - 1
    return values[round(0.025 * last)], values[round(0.975 * last)]


def _baseline(cells: Cells, names: Sequence[str]) -> Baseline:
    truths: Counter[frozenset[str]] = Counter()
    for (right, _), count in cells.items():
        truths[right] += count
    if not truths:
        return Baseline((), 0.0, 0.0)
    most = min(truths, key=lambda right: (-truths[right], sorted(right)))
    counts = _count({(right, most): count for right, count in truths.items()})
    present = [name for name in names if counts.get(name, (0, 0, 0))[2]]
    macro = _share(sum(_f1(counts[name]) for name in present), len(present))
    return Baseline(tuple(sorted(most)), _share(truths[most], sum(truths.values())), macro)


def _confusion(cells: Cells, names: Sequence[str]) -> dict[str, dict[str, int]]:
    columns = [*names, ABSTAINED]
    matrix = {row: dict.fromkeys(columns, 0) for row in columns}
    for (right, chosen), count in cells.items():
        matrix[_one(right)][_one(chosen)] += count
    if not any(matrix[ABSTAINED].values()):
        del matrix[ABSTAINED]
    return matrix


def _one(answer: frozenset[str]) -> str:
    return min(answer) if answer else ABSTAINED
