"""Reading a model's message."""

import json
from typing import Any

import pytest

from etl.classifiers.answers import clean_line, read_message
from tests.unit.classifiers.samples import areas_task, kind_task


def message(text: str, stop_reason: str = "end_turn", **more: Any) -> dict[str, Any]:
    return {"type": "message", "stop_reason": stop_reason, "content": [{"type": "text", "text": text}], **more}


def one(category: object, confidence: object = 0.8) -> dict[str, Any]:
    return message(json.dumps({"rationale": "why", "category": category, "confidence": confidence}))


@pytest.mark.parametrize("word", ["bug", "BUG", " Bug ", "defect", "DEFECT"])
def test_a_category_is_known_by_its_id_and_aliases_in_any_case(word: str) -> None:
    reading = read_message(kind_task(), one(word))
    assert (reading.outcome, reading.categories, reading.rationale) == ("answered", (("bug", 0.8),), "why")


@pytest.mark.parametrize("word", ["uncertain", "Uncertain"])
def test_the_abstain_word_is_an_answer_without_a_category(word: str) -> None:
    assert read_message(kind_task(), one(word)).outcome == "abstained"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (one("spam"), "none of the allowed ids"),
        (one("nonesuch"), "none of the allowed ids"),
        (one(None), "no string"),
        (one("bug", "high"), "no number"),
        (one("bug", True), "no number"),
        (message('{"rationale": "r", "category": "bug", "confidence": NaN}'), "no number"),
        (message('{"rationale": "r", "category": "bug"}'), "no number"),
        (message("[]"), "no JSON object"),
        (message("{"), "no JSON"),
        (message("[" * 100_000), "no JSON"),
        ({"stop_reason": "end_turn", "content": []}, "0 text blocks"),
        ({"stop_reason": "end_turn"}, "0 text blocks"),
        (message("{}", "tool_use"), "ended with tool_use"),
        ({}, "ended with None"),
    ],
)
def test_anything_else_is_invalid_with_the_reason(body: dict[str, Any], reason: str) -> None:
    reading = read_message(kind_task(), body)
    assert (reading.outcome, reading.categories) == ("invalid", ())
    assert reason in reading.rationale


@pytest.mark.parametrize("choices", ["bug", [1], [{"category": "documentation"}], [{"category": "x", "confidence": 1}]])
def test_a_list_of_categories_is_checked_too(choices: object) -> None:
    body = message(json.dumps({"rationale": "r", "categories": choices}))
    assert read_message(areas_task(), body).outcome == "invalid"


def test_a_refusal_is_told_with_and_without_its_details() -> None:
    body = {"stop_reason": "refusal", "stop_details": {"type": "refusal", "category": "cyber"}, "content": []}
    assert read_message(kind_task(), body).rationale == "the model refused (cyber)"
    assert read_message(kind_task(), {"stop_reason": "refusal"}).rationale == "the model refused (no category given)"


def test_a_rationale_of_another_type_is_left_empty() -> None:
    body = message(json.dumps({"rationale": 5, "category": "bug", "confidence": 1}))
    assert read_message(kind_task(), body).rationale == ""


def test_a_line_is_cleaned_and_bounded() -> None:
    assert clean_line(" a\n\tb\x00c\ud800\u202e ") == "a b c?"
    assert clean_line("x" * 400, 10) == "x" * 9 + "…"
