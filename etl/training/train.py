"""Trains a model and measures it, in one go."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from etl.classifiers.local_model import Header, LocalModel
from etl.tasks import Task
from etl.training import fit, quality
from etl.training.examples import Labelled, TrainingSet, prepare_examples
from etl.training.quality import Quality


class Watcher(Protocol):
    """Who is told how far the training is."""

    def stage(self, title: str, total: int | None = None) -> AbstractContextManager[Any]:
        """One stage; what it gives is called with the number of steps done."""
        ...


class _Nobody:
    def stage(self, title: str, total: int | None = None) -> AbstractContextManager[Any]:  # noqa: ARG002
        """Nobody looks."""
        return nullcontext(lambda _: None)


@dataclass(frozen=True, slots=True)
class Trained:
    """A model, what it was trained on, and how good it is."""

    model: LocalModel
    training: TrainingSet
    quality: Quality

    def metrics(self) -> dict[str, Any]:
        """As they are stored beside the model."""
        counts = {name or "other": count for name, count in self.training.counts().items()}
        return {"examples": counts, "too_few": self.training.too_few, **self.quality.as_metrics()}


@dataclass(frozen=True, slots=True)
class CrossValidated:
    """The features of a training set's texts, and what is said of each by a model that was trained without its fold."""

    matrix: fit.Matrix
    scores: Any
    held: tuple[quality.Held, ...]


def train(task: Task, labelled: Iterable[Labelled], wanted: float, watcher: Watcher | None = None) -> Trained:
    """A model of the task that answers where it agrees with the examples in `wanted` (0..1) of all cases.

    Raises:
        ConfigurationError: too few examples, or the extra `ml` is not installed.
    """
    fit.check_installed()
    watching = watcher or _Nobody()
    training = prepare_examples(task, labelled)
    checked = cross_validate(training, watching)
    found = quality.measure_quality(checked.held, training.categories, wanted, many=task.answers == "many_of")
    with watching.stage(f"train {task.name}", 1) as advance:
        calibration = fit.fit_calibration(checked.scores, checked.matrix.labels, task.answers)
        model = fit.make_model(training, checked.matrix, calibration, found.chosen())
        advance(1)
    return Trained(model, training, found)


def cross_validate(
    training: TrainingSet, watcher: Watcher | None = None, folds: Sequence[int] | None = None
) -> CrossValidated:
    """What models say of each text that were trained without its fold; folds: by text, None: evenly by outcome."""
    task, watching = training.task, watcher or _Nobody()
    with watching.stage(f"read texts of {task.name}", len(training.examples)) as advance:
        matrix = fit.build_matrix(training, advance)
    places = fit.split_folds(matrix) if folds is None else fit.given_folds(folds)
    with watching.stage(f"cross-validate {task.name}", fit.FOLDS) as advance:
        scores = fit.score_held_out(matrix, places, advance)
    rows = fit.calibrate_held_out(scores, matrix, places, task.answers)
    header = Header(task.name, task.version, task.sha256, task.answers, training.outcomes, {}, len(places))
    right = [entry.right for entry in training.examples]
    held = quality.hold_out(header, rows.tolist(), places.tolist(), right, task.at_most)
    return CrossValidated(matrix, scores, tuple(held))
