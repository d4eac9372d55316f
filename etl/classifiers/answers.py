"""Reads what a model answered: a message of the Messages API as an outcome, categories and a rationale. Pure.

Structured output makes a wrong form rare, not impossible: the vendor does not promise the enum's capitalisation, ranges
and lengths cannot be asked for, and a message may end early. So everything is checked again here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etl.records import Outcome
from etl.tasks import Task

MAX_RATIONALE_CHARS = 300

Categories = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a message says. rationale: the model's; for the other outcomes what happened, in our words."""

    outcome: Outcome
    categories: Categories
    rationale: str


class _NotAnAnswerError(Exception):
    """What the model wrote cannot be read as an answer; the message says why, without the model's words."""


def clean_line(value: str, limit: int = MAX_RATIONALE_CHARS) -> str:
    """`value` as one line without what PostgreSQL or a terminal refuses: control characters, lone surrogates."""
    text = value.encode("utf-8", "replace").decode("utf-8")
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _read_confidence(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise _NotAnAnswerError("`confidence` was no number")
    return min(1.0, max(0.0, float(value)))


def _read_category(task: Task, value: object) -> str | None:
    """The category's id, or None for the abstain word, whatever the case."""
    if not isinstance(value, str):
        raise _NotAnAnswerError("`category` was no string")
    if value.strip().casefold() == task.abstain.casefold():
        return None
    resolved = task.resolve_category(value)
    if resolved is None or resolved not in {category.id for category in task.live_categories}:
        raise _NotAnAnswerError("`category` was none of the allowed ids")
    return resolved


def _read_categories(task: Task, answer: Mapping[str, Any]) -> Categories:
    if task.answers == "one_of":
        category = _read_category(task, answer.get("category"))
        confidence = _read_confidence(answer.get("confidence"))
        return () if category is None else ((category, confidence),)
    choices = answer.get("categories")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise _NotAnAnswerError("`categories` was no list of objects")
    best: dict[str, float] = {}
    for choice in choices:
        category = _read_category(task, choice.get("category"))
        if category is not None:
            best[category] = max(best.get(category, 0.0), _read_confidence(choice.get("confidence")))
    return tuple(sorted(best.items(), key=lambda pair: -pair[1])[: task.at_most])


def _read_object(body: Mapping[str, Any]) -> dict[str, Any]:
    blocks = [block for block in body.get("content") or () if isinstance(block, dict)]
    texts = [block.get("text") for block in blocks if block.get("type") == "text"]
    if len(texts) != 1 or not isinstance(texts[0], str):
        raise _NotAnAnswerError(f"it had {len(texts)} text blocks instead of one")
    try:
        answer = json.loads(texts[0])
    except (ValueError, RecursionError):
        raise _NotAnAnswerError("it was no JSON") from None
    if not isinstance(answer, dict):
        raise _NotAnAnswerError("it was no JSON object")
    return answer


def _read_one(task: Task, answer: Mapping[str, Any]) -> Reading:
    categories = _read_categories(task, answer)
    rationale = answer.get("rationale")
    return Reading(
        "answered" if categories else "abstained",
        categories,
        clean_line(rationale if isinstance(rationale, str) else ""),
    )


def _read_unfinished(body: Mapping[str, Any]) -> Reading | None:
    """What a message that did not end by itself stands for; None where it did."""
    reason = str(body.get("stop_reason"))
    if reason == "refusal":
        details = body.get("stop_details")
        category = details.get("category") if isinstance(details, dict) else None
        return Reading("refused", (), clean_line(f"the model refused ({category or 'no category given'})"))
    if reason in {"max_tokens", "model_context_window_exceeded"}:
        return Reading("truncated", (), f"the answer was cut off ({reason})")
    if reason != "end_turn":
        return Reading("invalid", (), clean_line(f"it ended with {reason}"))
    return None


def read_message(task: Task, body: Mapping[str, Any]) -> Reading:
    """What the message `body` (a JSON object of type 'message') answers to `task`.

    Never raises: what cannot be read is the outcome 'invalid', with the reason as its rationale. Only a message that
    ended by itself (`end_turn`) with exactly one text block is read as an answer; blocks are picked by type, as
    thinking may come first. Confidences are brought into 0..1, categories into the task's ids, whatever their case.
    """
    try:
        return _read_unfinished(body) or _read_one(task, _read_object(body))
    except _NotAnAnswerError as error:
        return Reading("invalid", (), str(error))


def read_packed_message(task: Task, body: Mapping[str, Any], ids: Sequence[str]) -> list[Reading]:
    """What the message `body` answers about each of the texts that were asked about under `ids`, in their order.

    Never raises. Nothing of a reply is used unless its ids are exactly those that were asked, each once: where one is
    missing, doubled or foreign, no entry is certain to belong to the text whose id it bears. Then, and where the whole
    message is no answer, every reading is the same. An entry that cannot be read is 'invalid' alone.
    """
    whole = _read_unfinished(body)
    if whole is not None:
        return [whole] * len(ids)
    try:
        by_id = _entries_by_id(body, ids)
    except _NotAnAnswerError as error:
        return [Reading("invalid", (), str(error))] * len(ids)
    return [_read_entry(task, by_id[identifier]) for identifier in ids]


def _entries_by_id(body: Mapping[str, Any], ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    entries = _read_object(body).get("answers")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _NotAnAnswerError("`answers` was no list of objects")
    by_id = {str(entry.get("id")): entry for entry in entries}
    if len(entries) != len(by_id):
        raise _NotAnAnswerError("it answered one id more than once")
    if set(by_id) != set(ids):
        missing, foreign = len(set(ids) - set(by_id)), len(set(by_id) - set(ids))
        raise _NotAnAnswerError(f"its ids were not those asked ({missing} missing, {foreign} foreign)")
    return by_id


def _read_entry(task: Task, entry: Mapping[str, Any]) -> Reading:
    try:
        return _read_one(task, entry)
    except _NotAnAnswerError as error:
        return Reading("invalid", (), str(error))
