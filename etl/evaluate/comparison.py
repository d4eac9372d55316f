"""Two ways of answering the same question: how alike they are, what moved between categories, what each costs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from etl.evaluate.agreement import Agreement, compare_pairs
from etl.tasks import ABSTAINED, Task

REFUSED = "refused"
"""What stands for an answer that the model refused to give."""


@dataclass(frozen=True, slots=True)
class Said:
    """One answer. outcome: 'answered', 'abstained' or 'refused'. confidences: of the categories, in their order."""

    outcome: str
    categories: tuple[str, ...]
    confidences: tuple[float, ...]
    rationale: str
    model: str
    cost_usd: float


@dataclass(frozen=True, slots=True)
class AskedText:
    """A text that both were asked about. items: which issues have it. first, second: what they said; None: nothing."""

    text_hash: str
    items: tuple[str, ...]
    first: Said | None
    second: Said | None


@dataclass(frozen=True, slots=True)
class SideSummary:
    """One way of answering.

    answered: texts of the sample that it answered. usd_per_thousand: what a thousand such answers cost; None where
    there is none. models: how often each model, with its prompt version, answered.
    """

    name: str
    answered: int
    usd_per_thousand: float | None
    models: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Moved:
    """A text whose answers differ: what each said in one word, and in full."""

    items: tuple[str, ...]
    text_hash: str
    first_words: str
    second_words: str
    first: Said
    second: Said


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comes of a comparison.

    sampled: texts in the sample. agreement: over those that both answered; its categories say how often each chose one
    and how often both did. cells: how often which answer of the first met which of the second. moved: in the order of
    the sample.
    """

    task: str
    sampled: int
    first: SideSummary
    second: SideSummary
    agreement: Agreement
    cells: tuple[tuple[str, str, int], ...]
    moved: tuple[Moved, ...]


def compare_answers(tasks: Sequence[Task], names: tuple[str, str], texts: Sequence[AskedText]) -> Comparison:
    """Compares what two said of `texts`.

    tasks: the question in today's words and in those of either side: a category counts as what it is called in the last
    of them that has its word among the aliases.
    """
    both = [(text, text.first, text.second) for text in texts if text.first is not None and text.second is not None]
    pairs = [(_labels(tasks, first), _labels(tasks, second)) for _, first, second in both if first and second]
    cells = Counter((label_words(one), label_words(other)) for one, other in pairs)
    moved = [
        Moved(text.items, text.text_hash, label_words(pair[0]), label_words(pair[1]), first, second)
        for (text, first, second), pair in zip(both, pairs, strict=True)
        if first and second and pair[0] != pair[1]
    ]
    return Comparison(
        task=tasks[0].name,
        sampled=len(texts),
        first=_summarize(names[0], [text.first for text in texts]),
        second=_summarize(names[1], [text.second for text in texts]),
        agreement=compare_pairs(*names, pairs),
        cells=tuple((one, other, count) for (one, other), count in sorted(cells.items())),
        moved=tuple(moved),
    )


def _labels(tasks: Sequence[Task], said: Said) -> frozenset[str]:
    if said.outcome == REFUSED:
        return frozenset({REFUSED})
    return frozenset(_called(tasks, category) for category in said.categories)


def _called(tasks: Sequence[Task], category: str) -> str:
    for task in tasks:
        category = task.resolve_category(category) or category
    return category


def label_words(labels: frozenset[str]) -> str:
    """An answer in one word or a few: 'bug', 'build_ci + test', 'abstained'."""
    return " + ".join(sorted(labels)) or ABSTAINED


def _summarize(name: str, said: Sequence[Said | None]) -> SideSummary:
    given = [answer for answer in said if answer is not None]
    cost = 1000 * sum(answer.cost_usd for answer in given) / len(given) if given else None
    models = Counter(answer.model for answer in given)
    return SideSummary(name, len(given), cost, dict(models.most_common()))
