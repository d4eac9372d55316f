"""How well the `rules` classifier answers a task on texts whose right answer is known.

    python benchmarks/rules_quality.py FILE [--task issue_kind] [--gold label] [--only bug] [--json]

FILE has one JSON object a line (plain or gzip): `title` and `body` of an issue, or `text` as it would be sent; and the
right answer under --gold: a category id, one of its aliases, true or false, or a list of them for a many-of task. Each
text is prepared as a run prepares it. With --only the question is narrowed to one category against all others, for
files that know no more (`bug`, `non-bug`); then a right answer that is no category of the task counts as "other".

What the figures mean. coverage: the share of texts that got an answer. accuracy: the share of those whose answer is
exactly the right set. accuracy_all and the per-category figures count an abstention as a miss, so they fall when the
classifier keeps silent. macro_f1 is the plain mean of the categories' F1, macro_f1_answered the same over the texts
that got an answer.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from etl.classifiers.rules import RulesClassifier
from etl.dedup import issue_text
from etl.errors import ConfigurationError, StopError
from etl.records import Text
from etl.tasks import Task, load_tasks, select_tasks

OTHER = "other"


@dataclass(frozen=True, slots=True)
class Labelled:
    """One text and the set of categories that is right for it."""

    text: str
    gold: frozenset[str]


@dataclass(frozen=True, slots=True)
class CategoryFigures:
    """One category's share of right answers; support is in how many texts it is right."""

    category: str
    support: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Figures:
    """All that is measured on one file; shares are from 0 to 1."""

    task: str
    task_version: int
    texts: int
    coverage: float
    accuracy: float
    accuracy_all: float
    macro_f1: float
    macro_f1_answered: float
    mean_confidence: float
    categories: tuple[CategoryFigures, ...]


def _resolve(task: Task, word: object, only: str | None, where: str) -> str:
    """The category that a right answer in the file means."""
    spelled = str(word).lower() if isinstance(word, bool) else str(word)
    category = task.resolve_category(spelled)
    if only is not None:
        return only if category == only else OTHER
    if category is None:
        raise ConfigurationError(f"{where}: {spelled!r} is no category of task {task.name!r} (narrow with --only?)")
    return category


def read_labelled(path: Path, task: Task, gold: str, only: str | None) -> Iterator[Labelled]:
    """The labelled texts of a file, in order.

    Raises:
        ConfigurationError: a line is no JSON object, lacks a key, or names an unknown category; it says which line.
    """
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for number, line in enumerate(content.splitlines(), 1):
        where = f"{path} line {number}"
        try:
            row: dict[str, Any] = json.loads(line)
            words = row[gold] if isinstance(row[gold], list) else [row[gold]]
            text = row["text"] if "text" in row else issue_text(row["title"], row["body"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{where}: needs title and body, or text, and {gold!r} ({error!r})") from None
        yield Labelled(text, frozenset(_resolve(task, word, only, where) for word in words))


def classify_sets(task: Task, texts: Sequence[str], only: str | None) -> list[tuple[frozenset[str], float]]:
    """What the classifier answers to each text, and its highest confidence; the empty set where it abstains."""
    asked = [Text(id=number, text_hash="", body=text) for number, text in enumerate(texts)]
    answered = []
    for answer in RulesClassifier().classify(task, asked):
        chosen = frozenset(category for category, _ in answer.categories)
        if only is not None and chosen:
            chosen = frozenset({only}) if only in chosen else frozenset({OTHER})
        answered.append((chosen, max((confidence for _, confidence in answer.categories), default=0.0)))
    return answered


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def measure_categories(
    categories: Sequence[str], pairs: Sequence[tuple[frozenset[str], frozenset[str]]]
) -> tuple[CategoryFigures, ...]:
    """Precision, recall and F1 of each category over pairs of the right and the answered set.

    A category that is neither right nor answered anywhere is left out.
    """
    figures = []
    for category in categories:
        right = sum(category in gold and category in answer for gold, answer in pairs)
        support = sum(category in gold for gold, _ in pairs)
        given = sum(category in answer for _, answer in pairs)
        if support or given:
            f1 = _share(2 * right, support + given)
            figures.append(CategoryFigures(category, support, _share(right, given), _share(right, support), f1))
    return tuple(figures)


def measure(task: Task, labelled: Sequence[Labelled], only: str | None = None) -> Figures:
    """Every figure of `task` on the labelled texts."""
    answered = classify_sets(task, [entry.text for entry in labelled], only)
    pairs = [(entry.gold, answer) for entry, (answer, _) in zip(labelled, answered, strict=True)]
    some = [pair for pair in pairs if pair[1]]
    right = sum(gold == answer for gold, answer in some)
    names = [only, OTHER] if only is not None else [category.id for category in task.live_categories]
    categories = measure_categories(names, pairs)
    covered = measure_categories(names, some)
    confidences = [confidence for answer, confidence in answered if answer]
    return Figures(
        task=task.name,
        task_version=task.version,
        texts=len(pairs),
        coverage=_share(len(some), len(pairs)),
        accuracy=_share(right, len(some)),
        accuracy_all=_share(right, len(pairs)),
        macro_f1=sum(entry.f1 for entry in categories) / max(1, len(categories)),
        macro_f1_answered=sum(entry.f1 for entry in covered) / max(1, len(covered)),
        mean_confidence=sum(confidences) / max(1, len(confidences)),
        categories=categories,
    )


def render_table(figures: Figures) -> str:
    """The figures as lines for a terminal."""
    lines = [
        f"task {figures.task} version {figures.task_version}, {figures.texts} texts",
        *(
            f"{name:<18} {getattr(figures, name):6.3f}"
            for name in ("coverage", "accuracy", "accuracy_all", "macro_f1", "macro_f1_answered", "mean_confidence")
        ),
        "",
        f"{'category':<18} {'support':>7} {'precision':>9} {'recall':>7} {'f1':>7}",
        *(
            f"{entry.category:<18} {entry.support:>7} {entry.precision:>9.3f} {entry.recall:>7.3f} {entry.f1:>7.3f}"
            for entry in figures.categories
        ),
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Quality of the rules classifier on labelled texts.")
    parser.add_argument("file", type=Path, help="JSON lines, plain or .gz")
    parser.add_argument("--task", default="issue_kind", help="which task's rules (default: issue_kind)")
    parser.add_argument("--gold", default="label", help="the key that holds the right answer (default: label)")
    parser.add_argument("--only", help="one category against all others")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    try:
        (task,) = select_tasks(load_tasks(), [options.task])
        if options.only is not None and options.only not in {category.id for category in task.categories}:
            raise ConfigurationError(f"--only {options.only!r} is no category of task {task.name!r}")
        labelled = list(read_labelled(options.file, task, options.gold, options.only))
    except (StopError, OSError) as error:
        print(f"rules_quality: {error}", file=sys.stderr)
        return ConfigurationError.exit_code
    figures = measure(task, labelled, options.only)
    print(json.dumps(asdict(figures), indent=2) if options.json else render_table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
