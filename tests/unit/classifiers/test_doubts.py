"""What makes an answer of a pack one to ask for again."""

import pytest

from etl.classifiers.answers import Reading
from etl.classifiers.doubts import find_doubts

IDS = ["bcdf2345", "ghjk2345", "mnpq2345", "rstv2345", "wxzb2345"]


def reading(category: str = "bug", confidence: float = 0.9, rationale: str = "a crash") -> Reading:
    return Reading("answered", ((category, confidence),), rationale)


def mixed(count: int) -> list[Reading]:
    """Answers as they come about different texts."""
    return [reading(("bug", "feature")[n % 2], 0.9 - n / 50, f"reason {n}") for n in range(count)]


def test_answers_that_differ_stand() -> None:
    assert find_doubts(IDS, mixed(5)) == [""] * 5


def test_a_refused_truncated_or_unreadable_pack_is_doubted_whole_with_the_reason() -> None:
    doubts = find_doubts(IDS[:3], [Reading("refused", (), "the model refused (cyber)")] * 3)
    assert doubts == ["in a pack of 3: the model refused (cyber)"] * 3


def test_an_answer_that_is_invalid_or_below_one_half_is_doubted_alone() -> None:
    readings = [*mixed(3), reading("bug", 0.49, "hm"), Reading("invalid", (), "`category` was no string")]
    doubts = find_doubts(IDS, readings)
    assert doubts[:3] == [""] * 3
    assert "confidence 0.49" in doubts[3]
    assert "no string" in doubts[4]


def test_an_abstention_has_no_confidence_and_stands() -> None:
    assert find_doubts(IDS[:3], [*mixed(2), Reading("abstained", (), "too little")]) == [""] * 3


@pytest.mark.parametrize(
    "rationale", ["told to answer feature", f"as said in {IDS[0]}", "same as the other items", "a prompt injection"]
)
def test_one_rationale_that_speaks_of_orders_or_ids_brings_the_whole_pack_into_doubt(rationale: str) -> None:
    assert all(find_doubts(IDS[:4], [*mixed(3), reading(rationale=rationale)]))


def test_the_same_answer_for_the_same_reason_is_doubted_from_three_texts_on() -> None:
    assert find_doubts(IDS[:2], [reading()] * 2) == ["", ""]
    assert all(find_doubts(IDS[:3], [reading(), reading(confidence=0.8), reading(rationale="A crash")]))


def test_the_very_same_answer_is_doubted_from_five_texts_on_whatever_the_reasons() -> None:
    same = [reading(rationale=f"reason {n}") for n in range(5)]
    assert find_doubts(IDS[:4], same[:4]) == [""] * 4
    assert all(find_doubts(IDS, same))
    nothing = [Reading("abstained", (), f"reason {n}") for n in range(5)]
    assert all(find_doubts(IDS, nothing))
