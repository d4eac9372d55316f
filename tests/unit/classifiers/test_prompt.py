"""A task as words, a text as data."""

import json
import re
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from etl.classifiers.prompt import (
    estimate_tokens,
    output_schema,
    prompt_tokens_estimate,
    prompt_version,
    render_item,
    render_system,
)
from tests.unit.classifiers.samples import areas_task, kind_task


def test_the_prompt_is_the_same_bytes_each_time() -> None:
    assert render_system(kind_task()) == render_system(kind_task())
    assert render_item("x") == render_item("x")


def test_the_prompt_says_what_the_task_says() -> None:
    prompt = render_system(kind_task())
    for words in (
        "Is the issue a report of a defect, a wish, or a question?",
        '<category id="bug">',
        "The software does something other than it promises.",
        "A crash, a wrong result, a regression.",
        "Something that never was promised.",
        "It ends with a segmentation fault.",
        "Judge by what the author wants",
        '"uncertain"',
    ):
        assert words in prompt


def test_a_deprecated_category_is_not_offered() -> None:
    assert "spam" not in render_system(kind_task())
    assert "spam" not in json.dumps(output_schema(kind_task()))


def test_the_prompt_has_no_date_and_no_hash_that_would_make_it_vary() -> None:
    task = kind_task()
    assert render_system(task) == render_system(replace(task, sha256="0" * 64, path="/elsewhere/kind.toml"))
    assert not re.search(r"20\d\d-\d\d", render_system(task))


def test_the_version_changes_with_the_words_also_when_nobody_raised_a_number() -> None:
    task = kind_task()
    assert prompt_version(task) == prompt_version(kind_task())
    assert prompt_version(task).startswith("p1.t3.s2.r2-")
    assert prompt_version(task) != prompt_version(replace(task, question="Is it?"))
    assert prompt_version(task) != prompt_version(replace(task, abstain="unsure"))


def test_one_of_asks_for_the_rationale_then_one_category_or_the_abstain_word() -> None:
    schema = output_schema(kind_task())
    assert list(schema["properties"]) == schema["required"] == ["rationale", "category", "confidence"]
    assert schema["properties"]["category"]["enum"] == ["bug", "feature", "question", "uncertain"]
    assert schema["additionalProperties"] is False


def test_many_of_asks_for_a_list_that_may_be_empty() -> None:
    schema = output_schema(areas_task())
    assert schema["required"] == ["rationale", "categories"]
    assert schema["properties"]["categories"]["items"]["properties"]["category"]["enum"] == [
        "documentation",
        "performance",
        "build_ci",
    ]
    assert "at most 2" in render_system(areas_task())


@given(st.text())
def test_any_text_travels_unchanged_as_data_in_one_block(text: str) -> None:
    messages = render_item(text)
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    (block,) = messages[-1]["content"]
    assert block["type"] == "tool_result"
    assert json.loads(block["content"]) == {"text": text}
    assert messages[:-1] == render_item("")[:-1]


def test_a_lone_surrogate_does_not_stop_a_request() -> None:
    json.dumps(render_item("a\ud800b")).encode()
    assert json.loads(render_item("a\ud800b")[-1]["content"][0]["content"]) == {"text": "a?b"}


def test_a_complaint_stands_beside_the_data_and_not_in_it() -> None:
    data, complaint = render_item("x", "Answer again.")[-1]["content"]
    assert json.loads(data["content"]) == {"text": "x"}
    assert complaint == {"type": "text", "text": "Answer again."}


def test_tokens_are_estimated_at_two_and_a_half_characters() -> None:
    assert (estimate_tokens(""), estimate_tokens("x"), estimate_tokens("x" * 250)) == (0, 1, 100)
    assert prompt_tokens_estimate(kind_task()) > 512
