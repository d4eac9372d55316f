"""The `local` classifier: a small model trained on stored answers (`issuetide train`). Free, offline, fast.

It answers where its calibrated confidence clears the threshold that was chosen for the category when it was trained,
and abstains everywhere else: what it is not sure of is somebody else's to answer. Used alone an abstention is its
answer; in the cascade (`etl.stages.cascade`) such a text goes to Claude.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from etl.classifiers.features import FEATURES_VERSION, MAX_BODY_CHARS, MAX_TITLE_CHARS, Extractor
from etl.classifiers.local_model import OTHER, Header, LocalModel, Weighed, read_model
from etl.errors import ConfigurationError
from etl.records import Answer, Signature, Text
from etl.tasks import Task

LEAST_KNOWN = 5
"""A text with fewer features that the model knows (another language, a lone word) is not answered."""

_PORTION = 64
_QUOTES = 3
_PLACES = {
    "title": " in the title",
    "beginning": " at the beginning",
    "body": "",
    "code": " in code",
    "signs": "",
    "rules": "",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a model says of one text before anyone asks whether it is sure enough.

    categories: with their probabilities, the likeliest first; empty where none is. confidence: that all of it is right.
    """

    categories: tuple[tuple[str, float], ...]
    confidence: float


@dataclass(frozen=True, slots=True)
class _Ready:
    """A model with what finds the features of texts for it."""

    model: LocalModel
    extractor: Extractor
    version: str
    name: str


def judge(header: Header, probabilities: Sequence[float], at_most: int) -> Verdict:
    """The likeliest answer: of a one-of task the likeliest outcome, of a many-of task each likelier than not."""
    pairs = sorted(zip(header.outcomes, probabilities, strict=True), key=lambda pair: (-pair[1], pair[0]))
    if header.answers == "one_of":
        best, chance = pairs[0]
        return Verdict(() if best == OTHER else ((best, chance),), chance)
    chosen = tuple(pair for pair in pairs if pair[1] >= 0.5)
    sure = prod(max(chance, 1.0 - chance) for _, chance in pairs)
    # More than the task allows is a sign that the model is lost, not an answer to be cut.
    return Verdict(chosen, sure) if len(chosen) <= at_most else Verdict((), sure)


def clears(header: Header, verdict: Verdict) -> bool:
    """Whether the model is sure enough: the confidence reaches the threshold of every category that it names."""
    limits = [header.thresholds.get(category) for category, _ in verdict.categories]
    return bool(limits) and all(limit is not None and verdict.confidence >= limit for limit in limits)


class LocalClassifier:
    """Answers with trained models.

    models: by task's name, the bytes that `issuetide train` stored. Reading them is put off until a task is asked.
    """

    name = "local"
    paid = False

    def __init__(self, models: Mapping[str, bytes]) -> None:
        self._models = models
        self._ready: dict[str, _Ready] = {}

    def classify(self, task: Task, texts: Sequence[Text]) -> Iterator[Answer]:
        """An answer for each text, in order: a category, or an abstention that says how unsure it is.

        Raises:
            ConfigurationError: no model of the task is stored, it cannot be used, or numpy is not installed.
        """
        ready = self._get_ready(task)
        for start in range(0, len(texts), _PORTION):
            portion = texts[start : start + _PORTION]
            found = [ready.extractor.extract(text.body) for text in portion]
            for text, weighed in zip(portion, ready.model.weigh(found), strict=True):
                yield _answer(ready, text, weighed, task.at_most)

    def estimate(self, task: Task, texts: Sequence[Text]) -> float:  # noqa: ARG002  (the promise's names)
        """Nothing is paid."""
        return 0.0

    def signature(self, task: Task) -> Signature:
        """What answers to the task are stored with.

        Raises:
            ConfigurationError: as `classify`.
        """
        ready = self._get_ready(task)
        return Signature((ready.version,), ready.name)

    def _get_ready(self, task: Task) -> _Ready:
        if task.name not in self._ready:
            if task.name not in self._models:
                raise ConfigurationError(
                    f"no model of task {task.name} is trained; run `issuetide train --task {task.name}`, or use another"
                    " --classifier"
                )
            self._ready[task.name] = _prepare(task, self._models[task.name])
        return self._ready[task.name]


def model_name(sha256: str) -> str:
    """What the ledger calls a trained model: `local-` and the first digits of its bytes' SHA-256."""
    return f"local-{sha256[:12]}"


def _prepare(task: Task, content: bytes) -> _Ready:
    model = read_model(content, f"task {task.name}")
    header = model.header
    live = {category.id for category in task.live_categories}
    unknown = sorted(set(header.outcomes) - live - {OTHER})
    if header.task != task.name or header.answers != task.answers or unknown:
        raise ConfigurationError(
            f"the trained model of task {task.name} does not fit the task file"
            f"{f' (no such category: {unknown[0][:63]})' if unknown else ''}; train it again: `issuetide train`"
        )
    version = f"l{FEATURES_VERSION}.t{header.task_version}-{model.sha256[:8]}"
    return _Ready(model, Extractor(task), version, model_name(model.sha256))


def _answer(ready: _Ready, text: Text, weighed: Weighed, at_most: int) -> Answer:
    header = ready.model.header
    verdict = judge(header, weighed.probabilities, at_most)
    is_sure = clears(header, verdict) and weighed.known >= LEAST_KNOWN
    title = text.body.partition("\n")[0]
    read = min(len(title), MAX_TITLE_CHARS) + min(len(text.body) - len(title), MAX_BODY_CHARS + 1)
    return Answer(
        text_id=text.id,
        outcome="answered" if is_sure else "abstained",
        categories=tuple((name, round(chance, 4)) for name, chance in verdict.categories) if is_sure else (),
        rationale=_reasons(ready.model, weighed, verdict) if is_sure else _doubts(header, weighed, verdict),
        classifier=LocalClassifier.name,
        model=ready.name,
        prompt_version=ready.version,
        truncated_chars=len(text.body) - read,
    )


def _reasons(model: LocalModel, weighed: Weighed, verdict: Verdict) -> str:
    """What spoke most for the likeliest category."""
    outcome = model.header.outcomes.index(verdict.categories[0][0])
    words = [_describe(feature) for feature in model.strongest(weighed, outcome, _QUOTES)]
    return "weighed most: " + ", ".join(dict.fromkeys(words)) if words else "by the sum of many words"


def _describe(feature: str) -> str:
    field, _, words = feature.partition(":")
    if field == "rules":
        return f"a rule of the task on the {words.partition(' ')[0]}"
    return f'"{words}"{_PLACES[field]}' if field != "signs" else f"sign '{words}'"


def _doubts(header: Header, weighed: Weighed, verdict: Verdict) -> str:
    if weighed.known < LEAST_KNOWN:
        return "too few words that it knows"
    if not verdict.categories:
        return "not sure enough: no category it knows is likely"
    best = verdict.categories[0][0]
    limit = header.thresholds.get(best)
    needed = f"{limit:.2f} is needed" if limit is not None else "it never answers that"
    return f"not sure enough: {best} at {verdict.confidence:.2f}, {needed}"
