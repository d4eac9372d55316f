"""Texts with known answers, and which categories can be learned from them. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from etl.classifiers.local_model import OTHER
from etl.errors import ConfigurationError
from etl.tasks import Task

LEAST_PER_CATEGORY = 30
"""With fewer examples a category is not learned: its threshold would be chosen from a handful of answers."""

LEAST_OTHER = 10
"""So many texts of no category that is learned make an outcome of their own, which keeps the model from guessing."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text, and the categories that are right for it; none where it does not decide it."""

    body: str
    right: frozenset[str]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What a model is trained on, in an order that depends on nothing but the examples.

    outcomes: what it can answer; `OTHER` is last where it is there. too_few: categories that are not learned, with how
    many examples they have. labels: by example, the places of its outcomes.
    """

    task: Task
    examples: tuple[Labelled, ...]
    outcomes: tuple[str, ...]
    labels: tuple[frozenset[int], ...]
    too_few: dict[str, int]

    @property
    def categories(self) -> tuple[str, ...]:
        """The outcomes that can be answered."""
        return tuple(name for name in self.outcomes if name != OTHER)

    def counts(self) -> dict[str, int]:
        """By outcome: of how many examples it is right."""
        found = Counter(place for places in self.labels for place in places)
        return {name: found[place] for place, name in enumerate(self.outcomes)}


def prepare_examples(task: Task, labelled: Iterable[Labelled], least: int = LEAST_PER_CATEGORY) -> TrainingSet:
    """The training set of a task: each text once (the last answer to it counts), in the order of the texts' hashes.

    least: with fewer examples a category is not learned.

    Raises:
        ConfigurationError: fewer than two outcomes have enough examples; says how many are needed of what.
    """
    by_text = {entry.body: entry for entry in labelled if entry.body.strip()}
    ordered = sorted(by_text.values(), key=lambda entry: sha256(entry.body.encode("utf-8", "replace")).digest())
    counts = Counter(category for entry in ordered for category in entry.right)
    names = [category.id for category in task.live_categories]
    learned = [name for name in names if counts[name] >= least]
    too_few = {name: counts[name] for name in names if name not in learned}
    labels = _label_one(ordered, learned) if task.answers == "one_of" else _label_many(ordered, learned)
    others = sum(learned.index(OTHER) in places for places in labels) if OTHER in learned else 0
    kept = [
        (entry, places)
        for entry, places in zip(ordered, labels, strict=True)
        if task.answers == "many_of" or (places and not (0 < others < LEAST_OTHER and learned[max(places)] == OTHER))
    ]
    outcomes = tuple(name for name in learned if name != OTHER or others >= LEAST_OTHER)
    if not outcomes or (len(outcomes) < 2 and task.answers == "one_of"):
        raise _too_few(task, ordered, counts, names)
    return TrainingSet(task, tuple(entry for entry, _ in kept), outcomes, tuple(places for _, places in kept), too_few)


def _label_one(ordered: Sequence[Labelled], learned: list[str]) -> list[frozenset[int]]:
    """The outcome of each example of a one-of task; `OTHER` joins the outcomes where an example needs it."""
    if any(not entry.right <= set(learned) or not entry.right for entry in ordered):
        learned.append(OTHER)
    other = len(learned) - 1
    return [
        frozenset({learned.index(min(entry.right))} if entry.right and entry.right <= set(learned) else {other})
        for entry in ordered
    ]


def _label_many(ordered: Sequence[Labelled], learned: list[str]) -> list[frozenset[int]]:
    return [frozenset(learned.index(name) for name in entry.right if name in learned) for entry in ordered]


def _too_few(task: Task, ordered: Sequence[Labelled], counts: Counter[str], names: Sequence[str]) -> ConfigurationError:
    standing = ", ".join(f"{name} {counts[name]}" for name in names)
    return ConfigurationError(
        f"too few examples to train task {task.name}: {LEAST_PER_CATEGORY} texts are needed of each of at least two"
        f" categories, and there are {len(ordered)} texts ({standing}); let Claude answer more texts first, or give a"
        " file of answered ones with --input"
    )
