"""How alike two answer who were asked about the same: people among each other, or a person and a classifier."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from etl.evaluate.metrics import Interval, cohens_kappa, kappa_interval, wilson

Pair = tuple[frozenset[str], frozenset[str]]
"""What one and the other said of one thing; the empty set is to abstain."""


@dataclass(frozen=True, slots=True)
class CategoryAgreement:
    """One category against all others: how often the one and the other chose it, how often both, and kappa."""

    category: str
    first: int
    second: int
    both: int
    kappa: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two who answered about the same `size` things. raw: the share of equal answers; kappa: what is beyond chance."""

    first: str
    second: str
    size: int
    agreed: int
    raw: float
    raw_interval: Interval
    kappa: float | None
    kappa_interval: Interval | None
    categories: tuple[CategoryAgreement, ...]


def compare_pairs(first: str, second: str, pairs: Sequence[Pair]) -> Agreement:
    """The agreement of two, as a whole and per category that one of them chose."""
    cells = Counter(pairs)
    agreed = sum(count for (one, other), count in cells.items() if one == other)
    names = sorted({name for pair in cells for said in pair for name in said})
    return Agreement(
        first=first,
        second=second,
        size=len(pairs),
        agreed=agreed,
        raw=agreed / len(pairs) if pairs else 0.0,
        raw_interval=wilson(agreed, len(pairs)),
        kappa=cohens_kappa(cells),
        kappa_interval=kappa_interval(cells),
        categories=tuple(_compare_category(name, pairs) for name in names),
    )


def _compare_category(name: str, pairs: Sequence[Pair]) -> CategoryAgreement:
    only = frozenset({name})
    binary = [(one & only, other & only) for one, other in pairs]
    return CategoryAgreement(
        category=name,
        first=sum(bool(one) for one, _ in binary),
        second=sum(bool(other) for _, other in binary),
        both=sum(bool(one and other) for one, other in binary),
        kappa=cohens_kappa(Counter(binary)),
    )


def majority(answers: Sequence[frozenset[str]], *, many: bool) -> frozenset[str] | None:
    """What more than half of several people said of one thing; None where no answer has that many.

    Of a many-of task it is asked category by category: the set of those that more than half chose.
    """
    if many:
        chosen = Counter(name for answer in answers for name in answer)
        if any(2 * count == len(answers) for count in chosen.values()):
            return None
        return frozenset(name for name, count in chosen.items() if 2 * count > len(answers))
    answer, count = Counter(answers).most_common(1)[0]
    return answer if 2 * count > len(answers) else None
