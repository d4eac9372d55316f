"""What is shown as masked is what was masked: the changes of a text, put into it, give its normalized form."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.dedup import normalize
from etl.dedup.normalize import CAP
from etl.dedup.trace import Change, changes
from tests.unit.dedup.golden import stored
from tests.unit.dedup.test_normalize import ANY, IN_CASES, MIXED, SHAPES


def _changed(text: str) -> str:
    parts, position = [], 0
    for change in changes(text):
        assert position <= change.start <= change.end
        parts += [text[position : change.start], change.now]
        position = change.end
    return "".join([*parts, text[position:]])


def _masked(text: str) -> list[tuple[str, str]]:
    return [(text[change.start : change.end], change.now) for change in changes(text)]


def test_the_parts_that_a_row_masked_are_the_changes() -> None:
    assert _masked("worker-17 exited with code 137 after 20s") == [("17", "<n>"), ("20s", "<dur>")]
    assert _masked("got 3, want 3 of 3 3") == [("3", "<n>")] * 4
    assert _masked("2026-07-30T10:55:18.2467887Z ##[error]boom") == [("2026-07-30T10:55:18.2467887Z ##[error]", "")]
    assert _masked("nothing varies here") == []


def test_a_repeated_value_is_never_taken_for_its_neighbour() -> None:
    assert changes("\x1b[31m31 of 31\x1b[0m") == [
        Change(0, 7, "<n>"),
        Change(11, 17, "<n>"),
    ]


def test_what_is_left_out_of_a_long_text_is_one_change() -> None:
    text = "a" * CAP + "b" * CAP
    assert changes("x y " * CAP)[0].now == "\n"
    assert _changed(text) == normalize(text)


def test_the_changes_of_every_stored_text_give_its_normalized_form() -> None:
    assert not [row["text"] for row in stored() if _changed(row["text"]) != normalize(row["text"])]


@given(st.lists(st.sampled_from(IN_CASES), max_size=4).map("\n".join) | MIXED | ANY)
@settings(max_examples=1000, deadline=None)
def test_the_changes_of_any_text_give_its_normalized_form(text: str) -> None:
    assert _changed(text) == normalize(text)


@pytest.mark.parametrize("shape", SHAPES, ids=[ascii(shape) for shape in SHAPES])
def test_the_changes_of_a_hostile_text_give_its_normalized_form(shape: str) -> None:
    text = (shape * (CAP // 8 // len(shape) + 1))[: CAP // 8]
    assert _changed(text) == normalize(text)
