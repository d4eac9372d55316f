"""Goals that a change of the rules must not miss: pairs, and failures that recur, as `benchmarks.dedup` has them."""

import json
from collections import defaultdict

import pytest

from benchmarks.dedup.accuracy import PAIRS, grouping
from benchmarks.dedup.recurring import renderings
from etl.dedup import text_hash

ROWS = [json.loads(line) for line in PAIRS.read_text("ascii").splitlines()]


@pytest.mark.parametrize("round_", sorted({row["round"] for row in ROWS}))
@pytest.mark.parametrize(("must", "goal"), [("split", 0.95), ("merge", 0.85)])
def test_pairs_are_told_apart_or_meet_as_often_as_promised(round_: int, must: str, goal: float) -> None:
    asked = [row for row in ROWS if (row["round"], row["must"]) == (round_, must)]
    right = sum((text_hash(row["one"]) == text_hash(row["other"])) == (must == "merge") for row in asked)
    assert len(asked) >= 40
    assert right / len(asked) >= goal


def test_a_failure_that_recurs_has_hardly_more_than_one_id_and_shares_it_with_no_other() -> None:
    ids, failures = defaultdict(set), defaultdict(set)
    for number, text in renderings():
        ids[number].add(text_hash(text))
        failures[text_hash(text)].add(number)
    assert sum(map(len, ids.values())) / len(ids) <= 1.2
    assert all(len(of_id) == 1 for of_id in failures.values())


def test_the_measures_of_a_grouping_are_those_of_their_definitions() -> None:
    assert grouping(["a", "a", "b", "b"], ["1", "1", "2", "3"]) == (0.5, 2 * 1 / (3 + 2), 1.0, 1.5)
    assert grouping(["a", "a", "b"], ["1", "1", "1"]) == (0.0, 0.0, 0.0, 0.5)
