"""The trained model of the `local` classifier: features with their weights, as plain numbers. Reading one runs no code.

A model is a matrix: a row per feature (`features.py`), a column per outcome. Within a field the weights of the features
found are divided by the length of the field's vector, so that a long text weighs no more than a short one; their sums
are, by softmax (one-of) or by the logistic function (many-of), probabilities that were calibrated by cross-validation.

As bytes: a line that names the format, a line of JSON, the features (UTF-8, one a line), then the numbers
(little-endian float32). Every length is in the JSON and must fit the file exactly, so nothing is ever made that is
larger than the file. Only numpy is needed to answer.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from etl.classifiers.features import FEATURES_VERSION, FIELDS
from etl.errors import ConfigurationError, install_words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

FORMAT: Final = b"issuetide-local-model 1\n"
OTHER: Final = ""
"""The outcome that stands for what the model does not know: abstentions, and categories with too few examples."""

MAX_BYTES: Final = 64_000_000
_MAX_HEADER = 1_000_000
_MISSING = f"the classifier `local` needs numpy, which is not installed; run {install_words('ml')}"


@dataclass(frozen=True, slots=True)
class Header:
    """What a model says of itself.

    outcomes: category ids; OTHER may be the last one of a one-of task. thresholds: by category, the confidence from
    which on it answers; a category without one never does. task_sha256: of the task file it was trained with.
    """

    task: str
    task_version: int
    task_sha256: str
    answers: str
    outcomes: tuple[str, ...]
    thresholds: Mapping[str, float]
    examples: int
    features_version: int = FEATURES_VERSION


@dataclass(frozen=True, slots=True)
class Weighed:
    """What a model makes of one text.

    probabilities: of each outcome. known: how many of the text's features the model knows. _rows, _lengths: which, and
    the length of the vector of the field that each is in.
    """

    probabilities: tuple[float, ...]
    known: int
    rows: "NDArray[np.intp]"
    lengths: "NDArray[np.float32]"


def check_installed() -> None:
    """Passes where models can be used, without loading what they need.

    Raises:
        ConfigurationError: the extra `ml` is not installed.
    """
    if find_spec("numpy") is None:
        raise ConfigurationError(_MISSING)


def numpy() -> Any:  # noqa: ANN401  (a module that may not be there)
    """The library.

    Raises:
        ConfigurationError: the extra `ml` is not installed.
    """
    try:
        import numpy as np
    except ImportError:
        raise ConfigurationError(_MISSING) from None
    return np


class LocalModel:
    """A model in memory.

    features: `field:words`, each once. squares: of each feature, what it adds to the square of its field's length.
    weights: of each feature for each outcome. intercepts: of each outcome.
    """

    def __init__(
        self, header: Header, features: Sequence[str], squares: "Floats", weights: "Floats", intercepts: "Floats"
    ) -> None:
        np = numpy()
        self.header = header
        self.features = tuple(features)
        self._squares, self._weights, self._intercepts = squares, weights, intercepts
        # The first row stands for nothing found: it begins every field, so that no field is without a row.
        table = np.zeros((len(self.features) + 1, 1 + len(header.outcomes)), np.float32)
        table[1:, 0], table[1:, 1:] = squares, weights
        self._table = table
        self._rows: dict[str, dict[str, int]] = {field: {} for field in FIELDS}
        for row, feature in enumerate(self.features, 1):
            field, _, words = feature.partition(":")
            self._rows[field][words] = row

    @cached_property
    def sha256(self) -> str:
        """Of the model's bytes: its identity."""
        return sha256(self.to_bytes()).hexdigest()

    def weigh(self, found: Sequence[Mapping[str, set[str]]]) -> Iterator[Weighed]:
        """What each text's features speak for, in order; several at once are quicker than one by one."""
        np = numpy()
        rows, starts = self._collect(found)
        gathered = self._table[rows]
        sums = np.add.reduceat(gathered, starts, axis=0)
        lengths = np.sqrt(sums[:, :1])
        lengths[lengths == 0.0] = 1.0
        fields = len(FIELDS)
        scores = (sums[:, 1:] / lengths).reshape(len(found), fields, -1).sum(axis=1) + self._intercepts
        probabilities = self._probabilities(scores).tolist()
        sizes = np.diff(np.append(starts, len(rows)))
        spread = np.repeat(lengths[:, 0], sizes)
        ends = np.append(starts[::fields], len(rows))
        for place, chances in enumerate(probabilities):
            part = slice(int(ends[place]), int(ends[place + 1]))
            known = part.stop - part.start - fields
            yield Weighed(tuple(chances), known, rows[part], spread[part])

    def _collect(self, found: Sequence[Mapping[str, set[str]]]) -> tuple["NDArray[np.intp]", "NDArray[np.intp]"]:
        """The rows of all texts' features, field by field, and where each field begins."""
        np = numpy()
        rows: list[int] = []
        starts: list[int] = []
        fields = [(field, self._rows[field].get) for field in FIELDS]
        for entry in found:
            for field, row_of in fields:
                starts.append(len(rows))
                rows.append(0)
                rows += filter(None, map(row_of, entry[field]))
        return np.array(rows, np.intp), np.array(starts, np.intp)

    def _probabilities(self, scores: "Floats") -> Any:  # noqa: ANN401  (an array)
        np = numpy()
        if self.header.answers == "many_of":
            return 1.0 / (1.0 + np.exp(-np.clip(scores, -60.0, 60.0)))
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def strongest(self, weighed: Weighed, outcome: int, most: int) -> list[str]:
        """The features of a text that speak most for an outcome, against the mean of all outcomes; the best first."""
        np = numpy()
        weights = self._table[weighed.rows, 1:]
        against = weights.mean(axis=1) if weights.shape[1] > 1 else 0.0
        worth = (weights[:, outcome] - against) / weighed.lengths
        best = np.argpartition(-worth, min(most, len(worth) - 1))[:most]
        ordered = sorted(best.tolist(), key=lambda place: (-worth[place], int(weighed.rows[place])))
        return [self.features[int(weighed.rows[place]) - 1] for place in ordered if worth[place] > 0]

    def to_bytes(self) -> bytes:
        """The model as it is stored."""
        names = "\n".join(self.features).encode()
        header = {
            "task": self.header.task,
            "task_version": self.header.task_version,
            "task_sha256": self.header.task_sha256,
            "answers": self.header.answers,
            "outcomes": list(self.header.outcomes),
            "thresholds": dict(self.header.thresholds),
            "examples": self.header.examples,
            "features_version": self.header.features_version,
            "features": len(self.features),
            "features_bytes": len(names),
        }
        line = json.dumps(header, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        numbers = (self._squares, self._weights, self._intercepts)
        return FORMAT + line + names + b"".join(array.astype("<f4").tobytes() for array in numbers)


def read_model(content: bytes, where: str) -> LocalModel:
    """The model in `content`; `where` says in errors which one it is.

    Raises:
        ConfigurationError: it is none, is damaged, or was trained with other features; or numpy is not installed.
    """
    np = numpy()
    if len(content) > MAX_BYTES or not content.startswith(FORMAT):
        raise _unusable(where, "it is no model of this release")
    end = content.find(b"\n", len(FORMAT), len(FORMAT) + _MAX_HEADER)
    header, count, size = _read_header(content[len(FORMAT) : end], where)
    if header.features_version != FEATURES_VERSION:
        raise _unusable(where, "it was trained with another release, which reads texts differently")
    columns = len(header.outcomes)
    begin = end + 1 + size
    if count < 1 or size < 1 or len(content) != begin + 4 * (count + count * columns + columns):
        raise _unusable(where, "its length is not what it says")
    try:
        features = content[end + 1 : begin].decode().split("\n")
    except UnicodeDecodeError:
        raise _unusable(where, "its words are no text") from None
    known = all(feature.partition(":")[0] in FIELDS for feature in features)
    if len(features) != count or len(set(features)) != count or not known:
        raise _unusable(where, "its features are not what it says")
    numbers = np.frombuffer(content, "<f4", offset=begin).astype(np.float32)
    squares, weights = numbers[:count], numbers[count : count + count * columns].reshape(count, columns)
    # Sums of so many numbers must stay far from what a float can hold.
    if not np.isfinite(numbers).all() or np.abs(numbers).max() > 1e6 or squares.min() < 0:
        raise _unusable(where, "its weights are no numbers that can be reckoned with")
    return LocalModel(header, features, squares, weights, numbers[-columns:])


def _read_header(line: bytes, where: str) -> tuple[Header, int, int]:
    """What the line of JSON says: the header, how many features there are, and how many bytes they take."""
    try:
        said = json.loads(line)
        outcomes = tuple(_text(word) for word in said["outcomes"])
        header = Header(
            task=_text(said["task"]),
            task_version=_whole(said["task_version"]),
            task_sha256=_text(said["task_sha256"]),
            answers=_text(said["answers"]),
            outcomes=outcomes,
            thresholds={_text(word): _share(number) for word, number in said["thresholds"].items()},
            examples=_whole(said["examples"]),
            features_version=_whole(said["features_version"]),
        )
        sizes = _whole(said["features"]), _whole(said["features_bytes"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _unusable(where, "its header cannot be read") from None
    named = set(outcomes) - {OTHER}
    if not named or len(set(outcomes)) != len(outcomes) or not set(header.thresholds) <= named:
        raise _unusable(where, "its outcomes cannot be told apart")
    if header.answers not in {"one_of", "many_of"} or OTHER in outcomes[:-1]:
        raise _unusable(where, "its kind of answers is unknown")
    return header, *sizes


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_BYTES:
        raise ValueError
    return value


def _share(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or not 0 <= value <= 1:
        raise ValueError
    return float(value)


def _unusable(where: str, why: str) -> ConfigurationError:
    return ConfigurationError(f"the trained model of {where} cannot be used: {why}; train it again: `issuetide train`")
