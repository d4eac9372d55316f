"""Why an answer that came in a pack does not stand, so that its text is asked about alone. Pure.

One text of a pack may try to speak for the others. What would show that is cheap to look for and costs at most one more
request per text where it errs; what a text says of itself alone it may say in a pack too. In this order:

- The reply is none, or its ids are not those that were asked (`answers.read_packed_message`): no answer of it stands.
- A rationale names an id, or speaks of orders or of other items: a text was obeyed, nobody knows for how many.
- All answers are the same to the last digit, or for the very same reason: that is what "everything here is a feature"
  brings about, and hardly ever what ten issues do.
- One entry is unusable, or its confidence says that the opposite is likelier: it alone does not stand.
"""

from collections.abc import Sequence
from typing import Final

from etl.classifiers.answers import Reading
from etl.classifiers.suspicion import speaks_of_orders

LEAST_CONFIDENCE: Final = 0.5
"""A packed answer below it is asked for again alone: the model itself would rather bet against it."""

_LEAST_SAME_REASON = 3
_LEAST_SAME_ANSWER = 5
"""How many texts must share an answer to make it odd, with the same reason and with other reasons."""


def find_doubts(ids: Sequence[str], readings: Sequence[Reading]) -> list[str]:
    """Why each answer does not stand, in the order of `readings`; '' where it does. ids: the echo ids of the pack."""
    whole = _doubt_of_all(ids, readings)
    if whole:
        return [f"in a pack of {len(readings)}: {whole}"] * len(readings)
    return [_doubt_of_one(reading, len(readings)) for reading in readings]


def _doubt_of_all(ids: Sequence[str], readings: Sequence[Reading]) -> str:
    if all(reading.outcome in {"refused", "truncated", "invalid"} for reading in readings):
        return readings[0].rationale
    if any(identifier in reading.rationale for identifier in ids for reading in readings):
        return "a rationale named an id"
    if any(speaks_of_orders(reading.rationale) for reading in readings):
        return "a rationale spoke of orders or of other items"
    if len({reading.categories for reading in readings}) == 1 and len(readings) >= _LEAST_SAME_ANSWER:
        return "every text got the same answer"
    same_words = len({(_names(reading), reading.rationale.lower()) for reading in readings}) == 1
    return "every text got the same answer" if same_words and len(readings) >= _LEAST_SAME_REASON else ""


def _doubt_of_one(reading: Reading, texts: int) -> str:
    if reading.outcome == "invalid":
        return f"in a pack of {texts}: {reading.rationale}"
    if reading.outcome == "answered" and reading.categories[0][1] < LEAST_CONFIDENCE:
        return f"in a pack of {texts}: confidence {reading.categories[0][1]:.2f}"
    return ""


def _names(reading: Reading) -> tuple[str, ...]:
    return tuple(category for category, _ in reading.categories)
