"""Reading a model's message."""

import json
from typing import Any

import pytest

from etl.classifiers.answers import clean_line, read_message, read_packed_message
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


# --- several texts in one message -------------------------------------------------------------------------------------

IDS = ["bcdf2345", "ghjk2345", "mnpq2345"]


def entry(identifier: object, category: object = "bug", confidence: object = 0.8) -> dict[str, Any]:
    return {"id": identifier, "rationale": f"why {identifier}", "category": category, "confidence": confidence}


def several(*entries: object) -> dict[str, Any]:
    return message(json.dumps({"answers": list(entries)}))


def test_each_entry_goes_to_the_text_whose_id_it_bears_whatever_the_order() -> None:
    body = several(entry(IDS[2], "question"), entry(IDS[0]), entry(IDS[1], "uncertain"))
    readings = read_packed_message(kind_task(), body, IDS)
    assert [(reading.outcome, reading.categories) for reading in readings] == [
        ("answered", (("bug", 0.8),)),
        ("abstained", ()),
        ("answered", (("question", 0.8),)),
    ]
    assert readings[2].rationale == f"why {IDS[2]}"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (several(entry(IDS[0]), entry(IDS[1])), "1 missing, 0 foreign"),
        (several(*map(entry, [*IDS, "zzzz9999"])), "0 missing, 1 foreign"),
        (several(*map(entry, [*IDS[:2], "zzzz9999"])), "1 missing, 1 foreign"),
        (several(*map(entry, [*IDS, IDS[0]])), "more than once"),
        (several(*map(entry, [IDS[0], IDS[0], IDS[1]])), "more than once"),
        (several(*map(entry, [*IDS[:2], IDS[2].upper()])), "1 missing, 1 foreign"),
        (several(*map(entry, [*IDS[:2], 3])), "1 missing, 1 foreign"),
        (several(*map(entry, [*IDS[:2], None])), "1 missing, 1 foreign"),
        (several(*map(entry, [*IDS[:2], [IDS[2]]])), "1 missing, 1 foreign"),
        (several(*map(entry, IDS[:2]), "text"), "no list of objects"),
        (several(), "3 missing"),
        (message('{"answers": {"id": "bcdf2345"}}'), "no list of objects"),
        (message('{"rationale": "r", "category": "bug", "confidence": 1}'), "no list of objects"),
        (message("[]"), "no JSON object"),
        (message("{"), "no JSON"),
        (message("[" * 100_000), "no JSON"),
        ({"type": "message", "stop_reason": "pause_turn", "content": []}, "pause_turn"),
        ({"type": "message", "stop_reason": "tool_use", "content": []}, "tool_use"),
    ],
)
def test_nothing_of_a_reply_is_used_whose_ids_are_not_exactly_those_asked(body: dict[str, Any], reason: str) -> None:
    readings = read_packed_message(kind_task(), body, IDS)
    assert [(reading.outcome, reading.categories) for reading in readings] == [("invalid", ())] * 3
    assert all(reason in reading.rationale for reading in readings)


def test_an_entry_that_cannot_be_read_is_invalid_alone() -> None:
    body = several(entry(IDS[0]), entry(IDS[1], "nonesuch"), entry(IDS[2], "bug", "high"))
    assert [reading.outcome for reading in read_packed_message(kind_task(), body, IDS)] == [
        "answered",
        "invalid",
        "invalid",
    ]


@pytest.mark.parametrize(("reason", "outcome"), [("refusal", "refused"), ("max_tokens", "truncated")])
def test_what_ends_early_ends_for_all(reason: str, outcome: str) -> None:
    readings = read_packed_message(kind_task(), message("{}", reason), IDS)
    assert [reading.outcome for reading in readings] == [outcome] * 3


def test_several_categories_are_read_of_each_entry() -> None:
    entries = [
        {"id": IDS[0], "rationale": "r", "categories": [{"category": "CI", "confidence": 0.6}]},
        {"id": IDS[1], "rationale": "r", "categories": []},
    ]
    readings = read_packed_message(areas_task(), several(*entries), IDS[:2])
    assert [reading.categories for reading in readings] == [(("build_ci", 0.6),), ()]
