"""Makes a model: a linear one per outcome over the features of the texts, calibrated by cross-validation.

Each outcome is told from all others by a linear support vector machine on TF-IDF features that are scaled, half way, by
how unevenly they are spread between the two (Wang and Manning, "Baselines and Bigrams", 2012). What the machines say of
texts that they were not trained on is then turned into probabilities by a logistic regression, which is folded into the
weights: the stored model is one matrix. The same examples give the same model, whatever their order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from etl.classifiers.features import FIELDS, Extractor
from etl.classifiers.local_model import Header, LocalModel
from etl.errors import ConfigurationError, install_words
from etl.training.examples import TrainingSet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.intp]

FOLDS: Final = 5
SEED: Final = 20_261_121
LEAST_TEXTS: Final = 2
"""A feature that is in fewer texts says nothing of others."""

_STRENGTH = 0.05
_SMOOTHING = 0.1
_UNEVENNESS = 0.5
_CALIBRATION_STRENGTH = 100.0
_MISSING = f"`issuetide train` needs scikit-learn, which is not installed; run {install_words('ml')}"


def check_installed() -> None:
    """Passes where a model can be trained.

    Raises:
        ConfigurationError: the extra `ml` is not installed.
    """
    if find_spec("sklearn") is None:
        raise ConfigurationError(_MISSING)


@dataclass(frozen=True, slots=True)
class Matrix:
    """The texts of a training set as a sparse matrix of what was found where: ones, a column per feature.

    features: `field:words`, sorted within a field. blocks: by field, its columns. labels: texts by outcomes, ones.
    """

    found: Any
    features: tuple[str, ...]
    blocks: dict[str, tuple[int, int]]
    labels: "NDArray[np.bool_]"


@dataclass(frozen=True, slots=True)
class Linear:
    """A score per outcome: `weights` (features by outcomes) of what `scale` makes of a text, plus `intercepts`.

    inverse: of each feature, how rare it is; 0 for one that is not used.
    """

    inverse: "Floats"
    weights: "Floats"
    intercepts: "Floats"


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns scores into the logits of probabilities: `turn` (scores by outcomes) and `shift`."""

    turn: "Floats"
    shift: "Floats"


def build_matrix(training: TrainingSet, advance: Callable[[int], None] = lambda _: None) -> Matrix:
    """Reads every text of the set; `advance` is told of each."""
    import numpy as np
    from scipy.sparse import csr_matrix

    extractor = Extractor(training.task)
    read = []
    for entry in training.examples:
        read.append(extractor.extract(entry.body))
        advance(1)
    features: list[str] = []
    blocks: dict[str, tuple[int, int]] = {}
    columns: dict[str, dict[str, int]] = {}
    for field in FIELDS:
        words = sorted({word for found in read for word in found[field]})
        blocks[field] = (len(features), len(features) + len(words))
        columns[field] = {word: len(features) + place for place, word in enumerate(words)}
        features += [f"{field}:{word}" for word in words]
    indices = [sorted(columns[field][word] for field in FIELDS for word in found[field]) for found in read]
    ends = np.cumsum([0, *map(len, indices)])
    flat = np.array([column for row in indices for column in row], np.int32)
    labels = np.zeros((len(read), len(training.outcomes)), np.bool_)
    for row, places in enumerate(training.labels):
        labels[row, sorted(places)] = True
    found = csr_matrix((np.ones(len(flat)), flat, ends), (len(read), len(features)))
    return Matrix(found, tuple(features), blocks, labels)


def scale(matrix: Matrix, rows: "Places", inverse: "Floats") -> Any:  # noqa: ANN401  (a sparse matrix)
    """Texts as vectors: rare features count more, each field has the length of its weight."""
    import numpy as np
    from scipy.sparse import diags_array, hstack

    parts = []
    for field, weight in FIELDS.items():
        begin, end = matrix.blocks[field]
        part = matrix.found[rows, begin:end]
        lengths = np.sqrt(part @ (inverse[begin:end] ** 2))
        lengths[lengths == 0] = 1.0
        parts.append(diags_array(weight / lengths) @ part @ diags_array(inverse[begin:end]))
    return hstack(parts, format="csr")


def fit_linear(matrix: Matrix, rows: "Places") -> Linear:
    """The scores that tell each outcome from all others, learned from these rows."""
    import numpy as np
    from scipy.sparse import diags_array
    from sklearn.svm import LinearSVC

    texts = np.asarray(matrix.found[rows].sum(axis=0)).ravel()
    inverse = np.where(texts >= LEAST_TEXTS, 1.0 + np.log((1.0 + len(rows)) / (1.0 + texts)), 0.0)
    vectors = scale(matrix, rows, inverse)
    outcomes = matrix.labels.shape[1]
    weights, intercepts = np.zeros((len(matrix.features), outcomes)), np.zeros(outcomes)
    for place in range(outcomes):
        is_it = matrix.labels[rows, place]
        spread = _unevenness(vectors, is_it)
        machine = LinearSVC(C=_STRENGTH, random_state=SEED, max_iter=5_000)
        machine.fit(vectors @ diags_array(spread), is_it)
        weights[:, place], intercepts[place] = machine.coef_[0] * spread, machine.intercept_[0]
    return Linear(inverse, weights, intercepts)


def _unevenness(vectors: Any, is_it: "NDArray[np.bool_]") -> "Floats":  # noqa: ANN401  (a sparse matrix)
    """By feature: how far from evenly it is spread between the outcome's texts and all others, half of it taken."""
    import numpy as np

    inside = np.asarray(vectors[is_it].sum(axis=0)).ravel() + _SMOOTHING
    outside = np.asarray(vectors[~is_it].sum(axis=0)).ravel() + _SMOOTHING
    ratio = np.abs(np.log((inside / inside.sum()) / (outside / outside.sum())))
    uneven: Floats = _UNEVENNESS * ratio + (1.0 - _UNEVENNESS)
    return uneven


def score(matrix: Matrix, rows: "Places", linear: Linear) -> "Floats":
    """What the linear scores say of these rows."""
    scores: Floats = scale(matrix, rows, linear.inverse) @ linear.weights + linear.intercepts
    return scores


def split_folds(matrix: Matrix) -> "Places":
    """By text: the fold that it is in; every outcome is spread evenly over them (of several, the rarest of a text)."""
    import numpy as np

    order = np.random.default_rng(SEED).permutation(len(matrix.labels))
    support = matrix.labels.sum(axis=0)
    rarest = np.where(matrix.labels, support, support.sum() + 1).argmin(axis=1)
    rarest[~matrix.labels.any(axis=1)] = -1
    folds = np.zeros(len(order), np.intp)
    dealt = 0
    for outcome in sorted(set(rarest.tolist())):
        for row in order[rarest[order] == outcome]:
            folds[row] = dealt % FOLDS
            dealt += 1
    return folds


def given_folds(folds: Sequence[int]) -> "Places":
    """By text: the fold that somebody else chose, numbered from 0 to `FOLDS` - 1."""
    import numpy as np

    return np.array(folds, np.intp)


def score_held_out(matrix: Matrix, folds: "Places", advance: Callable[[int], None] = lambda _: None) -> "Floats":
    """What is said of every text by a model that was trained without its fold."""
    import numpy as np

    scores = np.zeros(matrix.labels.shape)
    for fold in range(FOLDS):
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        scores[outside] = score(matrix, outside, fit_linear(matrix, inside))
        advance(1)
    return scores


def fit_calibration(scores: "Floats", labels: "NDArray[np.bool_]", answers: str) -> Calibration:
    """What turns scores into probabilities, learned from scores of texts that the models were not trained on."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    outcomes = labels.shape[1]
    turn, shift = np.zeros((outcomes, outcomes)), np.zeros(outcomes)
    if answers == "many_of":
        for place in range(outcomes):
            fitted = LogisticRegression(C=_CALIBRATION_STRENGTH).fit(scores[:, [place]], labels[:, place])
            turn[place, place], shift[place] = fitted.coef_[0, 0], fitted.intercept_[0]
        return Calibration(turn, shift)
    fitted = LogisticRegression(C=_CALIBRATION_STRENGTH, max_iter=1_000).fit(scores, labels.argmax(axis=1))
    if outcomes == 2:  # of two outcomes scikit-learn gives the second one's logit
        turn[:, 1], shift[1] = fitted.coef_[0], fitted.intercept_[0]
    else:
        turn, shift = fitted.coef_.T, fitted.intercept_
    return Calibration(turn, shift)


def probabilities(scores: "Floats", calibration: Calibration, answers: str) -> "Floats":
    """The probability of each outcome."""
    import numpy as np

    logits = scores @ calibration.turn + calibration.shift
    if answers == "many_of":
        single: Floats = 1.0 / (1.0 + np.exp(-np.clip(logits, -60, 60)))
        return single
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shared: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shared


def calibrate_held_out(scores: "Floats", matrix: Matrix, folds: "Places", answers: str) -> "Floats":
    """Probabilities of every text by a calibration that was fitted without its fold."""
    import numpy as np

    found = np.zeros(scores.shape)
    for fold in range(FOLDS):
        inside, outside = folds != fold, folds == fold
        calibration = fit_calibration(scores[inside], matrix.labels[inside], answers)
        found[outside] = probabilities(scores[outside], calibration, answers)
    return found


def make_model(
    training: TrainingSet, matrix: Matrix, calibration: Calibration, thresholds: dict[str, float]
) -> LocalModel:
    """The model that is stored: trained on all texts, features that are not used left out."""
    import numpy as np

    linear = fit_linear(matrix, np.arange(len(matrix.labels)))
    used = np.flatnonzero(linear.inverse)
    field_weights = np.zeros(len(matrix.features))
    for field, weight in FIELDS.items():
        field_weights[slice(*matrix.blocks[field])] = weight
    weights = (linear.weights @ calibration.turn) * (linear.inverse * field_weights)[:, None]
    intercepts = linear.intercepts @ calibration.turn + calibration.shift
    task = training.task
    header = Header(
        task=task.name,
        task_version=task.version,
        task_sha256=task.sha256,
        answers=task.answers,
        outcomes=training.outcomes,
        thresholds=thresholds,
        examples=len(training.examples),
    )
    return LocalModel(
        header,
        [matrix.features[column] for column in used],
        (linear.inverse[used] ** 2).astype(np.float32),
        weights[used].astype(np.float32),
        intercepts.astype(np.float32),
    )
