"""The `rules` classifier: patterns of the task file, weighed. Works offline, costs nothing, and is honest about it.

Each rule that is found adds its weight once to its category's score. What comes of the scores:

- one-of: the best category answers if it leads the next one by `MIN_MARGIN`; its confidence is
  `0.9 * (1 - exp(-margin / 1.5))`: 0.44 for a lead of one point, 0.66 for two, 0.78 for three, never above 0.9, since
  patterns do not read. The abstain word takes part like a category: where it leads, or nothing leads, the answer is to
  abstain.
- many-of: every category of at least `MIN_SCORE` points answers, up to the task's `at_most`, with the same formula over
  its own score less the abstain word's points.

A hostile text can be long, and a task file's pattern can be slow on it: only the first `MAX_CHARS` characters are
looked at, of the title `MAX_TITLE_CHARS`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from etl.classifiers.redact import redact
from etl.classifiers.scan import Finder, fold_text
from etl.records import Answer, Signature, Text
from etl.tasks import Rule, Task

FORMULA_VERSION = 1
"""Raise it with any change of how scores become answers."""
MAX_CHARS = 16_000
MAX_TITLE_CHARS = 300
MAX_CONFIDENCE = 0.9
MIN_MARGIN = 0.5
MIN_SCORE = 1.0

_SCALE = 1.5
_QUOTES = 3
_QUOTE_CHARS = 40
_LONGEST_MATCH = 400


@dataclass(frozen=True, slots=True)
class _ReadyRule:
    rule: Rule
    finder: Finder


@dataclass(frozen=True, slots=True)
class _Found:
    """A rule that was found, and what it matched."""

    rule: Rule
    words: str


def _confidence(points: float) -> float:
    return round(MAX_CONFIDENCE * (1 - math.exp(-points / _SCALE)), 4)


def _quote(found: _Found) -> str:
    """The matched words in one short line without secrets; the pattern where it matched nothing to be seen."""
    words, _ = redact(found.words[:_LONGEST_MATCH])
    words = "".join(character for character in " ".join(words.split()) if character.isprintable())
    shown = words or found.rule.pattern.pattern
    shown = shown if len(shown) <= _QUOTE_CHARS else shown[: _QUOTE_CHARS - 1].rstrip() + "…"
    return f'"{shown}"' if words else f"/{shown}/"


def _describe(found: Iterable[_Found]) -> str:
    """What the strongest rules matched and what each speaks for (or, with a minus, against), as the rationale says."""
    left = sorted(found, key=lambda entry: abs(entry.rule.weight))
    quotes: dict[str, None] = {}  # several rules may match the same words
    while left and len(quotes) < _QUOTES:
        entry = left.pop()
        quotes[f"{_quote(entry)} ({'-' if entry.rule.weight < 0 else ''}{entry.rule.category})"] = None
    return "matched " + ", ".join(quotes) + (f" and {len(left)} more" if left else "")


class RulesClassifier:
    """Answers by the task file's `[[rules]]`. Takes no settings, asks nobody, and answers the same every time."""

    name = "rules"
    paid = False

    def classify(self, task: Task, texts: Sequence[Text]) -> Iterator[Answer]:
        """An answer for each text, in order. Raises nothing; a task without rules abstains from everything."""
        live = {category.id for category in task.live_categories} | {task.abstain}
        ready = [_ReadyRule(rule, Finder(rule.pattern)) for rule in task.rules if rule.category in live]
        version = prompt_version(task)
        for text in texts:
            shown = text.body[:MAX_CHARS]
            scores, found = _score(ready, shown)
            categories, why = _choose(task, scores)
            yield Answer(
                text_id=text.id,
                outcome="answered" if categories else "abstained",
                categories=categories,
                rationale=f"{why}{_describe(found)}" if found else "no pattern matched",
                classifier=self.name,
                model=_model(task),
                prompt_version=version,
                truncated_chars=len(text.body) - len(shown),
            )

    def signature(self, task: Task) -> Signature:
        """What an answer is stored with; see `base.SigningClassifier`."""
        return Signature((prompt_version(task),), _model(task))

    def estimate(self, task: Task, texts: Sequence[Text]) -> float:  # noqa: ARG002  (the promise's names)
        """Nothing is paid."""
        return 0.0


def prompt_version(task: Task) -> str:
    """Names what shapes an answer: the formula's version, the task's, and eight digits of its file's SHA-256."""
    return f"r{FORMULA_VERSION}.t{task.version}-{task.sha256[:8]}"


def _model(task: Task) -> str:
    return f"rules-{task.version}"


def _score(ready: Sequence[_ReadyRule], text: str) -> tuple[dict[str, float], list[_Found]]:
    """Points per category, and the rules that gave them with what they matched."""
    fields = {"title": fold_text(text.partition("\n")[0][:MAX_TITLE_CHARS]), "text": fold_text(text)}
    scores: dict[str, float] = {}
    found: list[_Found] = []
    for entry in ready:
        rule = entry.rule
        if match := entry.finder.find(fields[rule.field]):
            scores[rule.category] = scores.get(rule.category, 0.0) + rule.weight
            found.append(_Found(rule, match[0]))
    return scores, found


def _choose(task: Task, scores: Mapping[str, float]) -> tuple[tuple[tuple[str, float], ...], str]:
    """The categories that the points speak for, and what to say first where they do not decide."""
    against = scores.get(task.abstain, 0.0)
    ranked = sorted(
        ((category, points) for category, points in scores.items() if category != task.abstain and points > 0),
        key=lambda pair: (-pair[1], pair[0]),
    )
    if task.answers == "many_of":
        clear = [(category, points - against) for category, points in ranked if points - against >= MIN_SCORE]
        why = "" if clear else "too weak: "
        return tuple((category, _confidence(points)) for category, points in clear[: task.at_most]), why
    if not ranked:
        return (), "speaks for no category: "
    best, points = ranked[0]
    margin = points - max(against, ranked[1][1] if len(ranked) > 1 else 0.0)
    if margin < MIN_MARGIN:
        return (), "undecided: "
    return ((best, _confidence(margin)),), ""
