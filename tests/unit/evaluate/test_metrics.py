"""Figures against values computed by hand and by scikit-learn and scipy."""

import math
from collections import Counter
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.evaluate.metrics import Example, cohens_kappa, kappa_interval, measure, wilson

NAMES = ("bug", "feature", "question")


def example(right: str, answered: str, confidence: float = 0.9) -> Example:
    """A one-of example; '' for abstaining."""
    return Example(frozenset({right} if right else ()), ((answered, confidence),) if answered else ())


def examples_of(pairs: dict[tuple[str, str], int]) -> list[Example]:
    return [example(*pair) for pair, count in pairs.items() for _ in range(count)]


HAND = examples_of(
    {("bug", "bug"): 6, ("bug", "feature"): 2, ("bug", ""): 2, ("feature", "feature"): 4, ("feature", "bug"): 1}
)


def test_figures_are_those_computed_by_hand() -> None:
    scores = measure(HAND, NAMES)
    bug, feature = scores.categories
    assert (bug.category, bug.right, bug.given, bug.support) == ("bug", 6, 7, 10)
    assert (bug.precision, bug.recall) == (6 / 7, 6 / 10)
    assert bug.f1 == pytest.approx(12 / 17)
    assert (feature.precision, feature.recall) == (4 / 6, 4 / 5)
    assert scores.macro.f1 == pytest.approx((12 / 17 + 8 / 11) / 2)
    assert (scores.micro.precision, scores.micro.recall) == (10 / 13, 10 / 15)
    assert (scores.coverage, scores.accuracy, scores.accuracy_answered) == (13 / 15, 10 / 15, 10 / 13)
    assert scores.confusion == {
        "bug": {"bug": 6, "feature": 2, "abstained": 2},
        "feature": {"bug": 1, "feature": 4, "abstained": 0},
    }
    assert (scores.baseline.categories, scores.baseline.accuracy) == (("bug",), 10 / 15)
    assert scores.baseline.macro_f1 == pytest.approx((20 / 25 + 0) / 2)


def test_kappa_is_that_of_the_textbook() -> None:
    # Two readers, 50 applications: both yes 20, both no 15, differing 5 and 10.
    yes, no = frozenset({"yes"}), frozenset({"no"})
    assert cohens_kappa({(yes, yes): 20, (no, no): 15, (yes, no): 5, (no, yes): 10}) == pytest.approx(0.4)
    assert cohens_kappa({(yes, yes): 9}) is None
    assert kappa_interval({(yes, yes): 9}) is None


def test_full_agreement_on_a_few_is_no_certainty() -> None:
    yes, no = frozenset({"yes"}), frozenset({"no"})
    low, high = kappa_interval({(yes, yes): 2, (no, no): 2}) or (0, 0)
    assert (low < 0.1, high) == (True, 1.0)


def test_the_interval_of_a_share_is_wilsons() -> None:
    stats = import_module("scipy.stats")
    for right, whole in ((0, 10), (3, 10), (50, 60), (900, 900)):
        interval = stats.binomtest(right, whole).proportion_ci(0.95, method="wilson")
        assert wilson(right, whole) == pytest.approx((interval.low, interval.high))
    assert wilson(0, 0) == (0.0, 1.0)


def test_saying_nothing_is_right_where_people_say_that_the_text_does_not_decide() -> None:
    scores = measure(examples_of({("", ""): 3, ("", "bug"): 1, ("bug", "bug"): 4}), NAMES)
    assert scores.accuracy == 7 / 8
    assert scores.confusion["abstained"] == {"bug": 1, "abstained": 3}


def test_a_set_of_many_is_right_only_as_a_whole_and_each_category_counts_by_itself() -> None:
    many = [
        Example(frozenset({"a", "b"}), (("a", 0.9), ("b", 0.8))),
        Example(frozenset({"a", "b"}), (("a", 0.9),)),
        Example(frozenset({"b"}), (("a", 0.7), ("b", 0.6))),
    ]
    scores = measure(many, ("a", "b"), many=True)
    assert scores.accuracy == 1 / 3
    assert {s.category: (s.right, s.given, s.support) for s in scores.categories} == {"a": (2, 3, 2), "b": (2, 2, 3)}
    assert scores.micro.f1 == pytest.approx(2 * 4 / (5 + 5))
    assert scores.confusion == {}


def test_nothing_at_all_has_figures_too() -> None:
    scores = measure([], NAMES)
    assert (scores.size, scores.accuracy, scores.macro.f1, scores.kappa) == (0, 0.0, 0.0, None)


def test_the_same_examples_give_the_same_intervals_which_hold_the_value() -> None:
    first, second = measure(HAND, NAMES), measure(list(reversed(HAND)), NAMES)
    assert [score.f1_interval for score in first.categories] != [(0.0, 1.0)] * 2
    for score in first.categories:
        assert score.f1_interval[0] <= score.f1 <= score.f1_interval[1]
    assert first.macro.f1_interval[0] <= first.macro.f1 <= first.macro.f1_interval[1]
    assert measure(HAND, NAMES) == first
    assert second.macro.f1 == first.macro.f1


word = st.sampled_from(["", *NAMES])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(NAMES), word), min_size=1, max_size=60))
def test_one_of_figures_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    sklearn = import_module("sklearn.metrics")
    scores = measure(examples_of(dict(Counter(pairs))), NAMES)
    rights, answers = [right for right, _ in pairs], [answer for _, answer in pairs]
    labels = [score.category for score in scores.categories]
    precision, recall, f1, support = sklearn.precision_recall_fscore_support(
        rights, answers, labels=labels, zero_division=0
    )
    assert [score.precision for score in scores.categories] == pytest.approx(list(precision))
    assert [score.recall for score in scores.categories] == pytest.approx(list(recall))
    assert [score.f1 for score in scores.categories] == pytest.approx(list(f1))
    assert [score.support for score in scores.categories] == list(support)
    assert scores.macro.f1 == pytest.approx(f1.mean())
    assert scores.accuracy == pytest.approx(sklearn.accuracy_score(rights, answers))
    micro = sklearn.f1_score(rights, answers, labels=labels, average="micro", zero_division=0)
    assert scores.micro.f1 == pytest.approx(micro)
    if len({*rights, *answers}) > 1:
        assert scores.kappa == pytest.approx(sklearn.cohen_kappa_score(rights, answers))
    else:
        assert scores.kappa is None
    matrix = sklearn.confusion_matrix(rights, answers, labels=[*labels, ""]).tolist()
    assert [list(row.values()) for row in scores.confusion.values()] == matrix[: len(labels)]


chosen = st.sets(st.sampled_from(NAMES))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(chosen, chosen), min_size=1, max_size=40))
def test_many_of_figures_are_those_of_scikit_learn(pairs: list[tuple[set[str], set[str]]]) -> None:
    sklearn = import_module("sklearn.metrics")
    examples = [Example(frozenset(right), tuple((name, 0.8) for name in answer)) for right, answer in pairs]
    scores = measure(examples, NAMES, many=True)
    used = [score.category for score in scores.categories]
    truth = [[int(name in right) for name in used] for right, _ in pairs]
    given_ = [[int(name in answer) for name in used] for _, answer in pairs]
    if not used:
        assert scores.accuracy == 1.0
        return
    expected = sklearn.f1_score(truth, given_, average=None, zero_division=0)
    binary = len(used) == 1  # scikit-learn takes one column for two classes, and gives both
    assert [score.f1 for score in scores.categories] == pytest.approx(list(expected)[-1:] if binary else list(expected))
    if not binary:
        assert scores.accuracy == pytest.approx(sklearn.accuracy_score(truth, given_))
        micro = sklearn.f1_score(truth, given_, average="micro", zero_division=0)
        assert scores.micro.f1 == pytest.approx(micro)


@given(st.integers(0, 300), st.integers(0, 300))
def test_an_interval_lies_within_0_and_1_around_its_share(right: int, wrong: int) -> None:
    low, high = wilson(right, right + wrong)
    assert 0 <= low <= high <= 1
    if right + wrong:
        share = right / (right + wrong)
        assert low <= share + 1e-12
        assert high >= share - 1e-12
        assert not math.isclose(low, high)
