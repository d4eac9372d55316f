"""Promises of the ids as functions: pure, fixed points, linear, never an exception; whatever the text."""

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl import dedup
from etl.dedup import RULES_VERSION, family_hash, fingerprint, normalize, skeleton, text_hash
from etl.dedup.normalize import CAP, _tidy, clear_characters, table_steps
from etl.dedup.protected import restore
from etl.dedup.rules import STAR
from tests.unit.dedup.test_rows import CASES
from tests.unit.dedup.test_rules import DIFFERENT, SAME

FRAGMENTS = sorted(
    {part for _, *texts in SAME + DIFFERENT for text in texts for part in re.split(r"(\s+)", text) if part}
)
PIECES = st.one_of(
    st.sampled_from(FRAGMENTS), st.text("019afxAF.:-_/\\@#=<>[](){}'\"+,% \n\t\x1b\x00\u00e9\u200b\u0301", max_size=6)
)
MIXED = st.lists(PIECES, max_size=14).flatmap(
    lambda pieces: st.sampled_from(["", " "]).map(lambda gap: gap.join(pieces))
)
PLAIN = [
    "for ", "the ", "by", "from ", "user ", "true", "False", "nil", "None", "null", "TRUE", "a.b.c", "x.y.z.W", "() ",
    "say", " ", "[", "\n", "* ", "it.",
]  # fmt: skip
IN_CASES = sorted({text for cases in CASES.values() for _, *pair in cases for text in pair})
ANY = st.text(st.characters(codec=None), max_size=60)

SHAPES = [
    "1", "a", "a1", "1.", "a.", "1:", "1-", "a-", "a/", "/", "a:\\b\\", ":", "::", "a@", "@a/", "a@b.", "'", "\"",
    "[", "map[a:1 ", "{'a', ", " ", " \n", "http://", "http://a/", "0x", "0x1 ", "\x1b]", "\x1b[1", "<n>", "<n> ",
    "<dur>", "e\u0301", "1 2 ", "1,2", "1e", "1e-", "a_1", "_", "=", "a=", "/tmp/a1", "test", "test[",
    "\n::error a:", "2026-01-01 ", "10:10:10", "Jan ", "/-packages", "request id ", "-1", "*", "a* ", "(",
    "exit 1 ", "\x00", "\ud800", "\udfff\ud800",
]  # fmt: skip


@given(st.one_of(MIXED, ANY))
@settings(max_examples=600, deadline=None)
def test_normalizing_twice_changes_nothing(text: str) -> None:
    once = normalize(text)
    assert normalize(once) == once


@given(st.one_of(MIXED, ANY))
@settings(max_examples=200, deadline=None)
def test_equal_normalized_texts_have_equal_ids_and_families(text: str) -> None:
    ids = fingerprint(text)
    assert ids.normalized == normalize(text)
    assert (ids.text_hash, ids.family_hash) == (text_hash(text), family_hash(text))
    assert fingerprint(ids.normalized) == ids


@given(MIXED)
@settings(max_examples=200, deadline=None)
def test_a_normalized_text_holds_no_control_characters_and_no_empty_lines(text: str) -> None:
    normalized = normalize(text)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", normalized)
    assert not re.search(r"\A\s|\s\Z|\n\n| \n|\n |  ", normalized)
    assert unicodedata.is_normalized("NFC", normalized)
    assert "*" in skeleton(normalized) or not re.search(r"<n>", normalized)


@given(st.lists(st.sampled_from(PLAIN), max_size=9).map("".join) | MIXED)
@settings(max_examples=600, deadline=None)
def test_rows_and_lines_that_the_skeleton_passes_over_would_not_have_changed(text: str) -> None:
    normalized = normalize(text)
    after_every_row = "\n" + normalized
    for step in table_steps("SKELETON"):
        after_every_row = step.substitute(after_every_row)
    assert skeleton(normalized) == after_every_row[1:].replace(STAR, "*")


def _every_row_over_every_line(text: str) -> str:
    """What `normalize` gives, without any of its short cuts."""
    text = _tidy(clear_characters(text))
    for _ in range(8):
        before, text = text, "\n" + text
        for table in ("LINE_STARTS", "SHAPES", "KEEPERS", "MASKS"):
            for step in table_steps(table):
                text = step.substitute(text)
        text = _tidy(restore(text)[1:])
        if text == before:
            break
    return text


@given(st.lists(st.sampled_from(IN_CASES), max_size=4).map(" ".join) | MIXED)
@settings(max_examples=1000, deadline=None)
def test_rows_and_lines_that_the_table_passes_over_would_not_have_changed(text: str) -> None:
    assert normalize(text) == _every_row_over_every_line(text)


@pytest.mark.parametrize("shape", SHAPES, ids=[ascii(shape) for shape in SHAPES])
def test_a_hostile_text_gives_ids_without_an_exception(shape: str) -> None:
    text = (shape * (CAP // len(shape) + 1))[:CAP]
    ids = fingerprint(text)
    assert re.fullmatch(rf"{RULES_VERSION}:[0-9a-f]{{32}}", ids.text_hash)
    assert re.fullmatch(rf"{RULES_VERSION}:[0-9a-f]{{32}}", ids.family_hash)
    assert fingerprint(ids.normalized).text_hash == ids.text_hash


def test_a_text_longer_than_the_cap_is_known_by_its_head_and_tail() -> None:
    head, tail = "head " * 8000, " tail" * 8000
    assert text_hash(head + "middle" * 20_000 + tail) == text_hash(head + "other one" * 30_000 + tail)
    assert text_hash("other " + head + "middle" * 20_000 + tail) != text_hash(head + "middle" * 20_000 + tail)
    assert text_hash(head + "middle" * 20_000 + tail + " end") != text_hash(head + "middle" * 20_000 + tail)


def test_a_text_that_grows_beyond_the_cap_by_its_placeholders_stays_a_fixed_point() -> None:
    once = normalize("x 7 " * (CAP // 4))
    assert len(once) <= CAP
    assert normalize(once) == once


def test_what_postgresql_cannot_store_has_the_id_of_what_it_stores_instead() -> None:
    assert text_hash("a\x00b \ud800 c") == text_hash("a\ufffdb \ufffd c")


def test_meaning_is_not_rewritten_by_compatibility_forms() -> None:
    assert text_hash("x\u00b2") != text_hash("x2")
    assert text_hash("\uff1chtml\uff1e") != text_hash("<html>")


def test_digits_and_letters_of_other_scripts_never_take_part_in_rules() -> None:
    assert normalize("\u0663\u0664 items") == "\u0663\u0664 items"


def test_rows_are_separate_lines_and_never_reach_into_each_other() -> None:
    assert normalize("exit code\n137") == "exit code\n<n>"
    assert normalize("one 1\r\ntwo 2\rthree 3") == "one <n>\ntwo <n>\nthree <n>"
    assert normalize("a\x0bb\x0cc\x1cd\u2028e") == "a b cd\ne"


def test_the_two_ids_are_importable_under_the_names_that_are_promised() -> None:
    assert dedup.text_hash("") == fingerprint("").text_hash
    assert dedup.family_hash("") == fingerprint("").family_hash
