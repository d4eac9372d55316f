"""From which confidence on answers are precise enough, and what that costs in coverage."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.evaluate.metrics import Example
from etl.evaluate.thresholds import choose_thresholds, coverage_at, coverage_curve


def answers(*counts: tuple[float, int, int]) -> list[Example]:
    """For each (confidence, right, wrong) so many answers `bug`."""
    made = []
    for confidence, right, wrong in counts:
        made += [Example(frozenset({"bug"}), (("bug", confidence),))] * right
        made += [Example(frozenset({"feature"}), (("bug", confidence),))] * wrong
    return made


HAND = [*answers((0.9, 12, 0), (0.8, 10, 2), (0.6, 4, 8)), *[Example(frozenset({"bug"}), ())] * 12]


def test_the_curve_goes_from_the_surest_answers_to_all() -> None:
    points = [(p.confidence, p.answers, p.coverage, p.precision) for p in coverage_curve(HAND)]
    assert points == [
        (0.9, 12, 12 / 48, 1.0),
        (0.8, 24, 24 / 48, 22 / 24),
        (0.6, 36, 36 / 48, pytest.approx(26 / 36)),
    ]


def test_the_most_coverage_with_a_precision_is_found_or_there_is_none() -> None:
    curve = coverage_curve(HAND)
    best = coverage_at(curve, 0.9)
    assert best is not None
    assert (best.confidence, best.coverage) == (0.8, 0.5)
    assert coverage_at(coverage_curve(answers((0.9, 2, 8))), 0.9) is None


def test_a_threshold_is_the_lowest_that_reaches_the_precision() -> None:
    bug, feature = choose_thresholds(HAND, ("bug", "feature"), 0.9)
    assert (bug.confidence, bug.answers) == (0.8, 24)
    assert bug.kept == pytest.approx(24 / 36)
    assert bug.precision == pytest.approx(22 / 24)
    assert (feature.confidence, feature.answers) == (None, 0)


def test_a_few_right_answers_at_the_top_are_no_proof() -> None:
    (bug,) = choose_thresholds(answers((0.99, 9, 0), (0.5, 1, 9)), ("bug",), 0.9)
    assert (bug.confidence, bug.answers) == (None, 19)


def test_of_many_categories_a_text_counts_once_in_the_coverage() -> None:
    both = [Example(frozenset({"a"}), (("a", 0.9), ("b", 0.5)))]
    assert [(p.coverage, p.precision) for p in coverage_curve(both)] == [(1.0, 1.0), (1.0, 0.5)]


pairs = st.lists(st.tuples(st.integers(1, 10).map(lambda n: n / 10), st.booleans()), min_size=1, max_size=80)


@settings(deadline=None)
@given(pairs, st.sampled_from([0.5, 0.8, 0.95]))
def test_what_lies_above_a_threshold_is_as_precise_as_wanted(stated: list[tuple[float, bool]], wanted: float) -> None:
    examples = [Example(frozenset({"bug" if right else "x"}), (("bug", confidence),)) for confidence, right in stated]
    (found,) = choose_thresholds(examples, ("bug",), wanted)
    if found.confidence is not None:
        above = [right for confidence, right in stated if confidence >= found.confidence]
        assert (len(above), sum(above) / len(above)) == (found.answers, found.precision)
        assert found.precision >= wanted
    coverages = [point.coverage for point in coverage_curve(examples)]
    assert coverages == sorted(coverages)
