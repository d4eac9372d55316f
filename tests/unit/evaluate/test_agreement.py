"""How far two agree, and what several people say together."""

import pytest

from etl.evaluate.agreement import compare_pairs, majority

BUG, FEATURE, NOTHING = frozenset({"bug"}), frozenset({"feature"}), frozenset[str]()
BOTH = BUG | FEATURE


def test_two_are_compared_as_a_whole_and_per_category() -> None:
    found = compare_pairs(
        "ana", "ben", [(BUG, BUG)] * 20 + [(FEATURE, FEATURE)] * 15 + [(BUG, FEATURE)] * 5 + [(FEATURE, BUG)] * 10
    )
    assert (found.size, found.agreed, found.raw) == (50, 35, 0.7)
    assert found.kappa == pytest.approx(0.4)
    assert found.kappa_interval is not None
    assert found.kappa_interval[0] < 0.4 < found.kappa_interval[1]
    bug = found.categories[0]
    assert (bug.category, bug.first, bug.second, bug.both) == ("bug", 25, 30, 20)
    assert bug.kappa == pytest.approx(0.4)


def test_nobody_has_no_agreement() -> None:
    found = compare_pairs("ana", "ben", [])
    assert (found.size, found.raw, found.kappa, found.categories) == (0, 0.0, None, ())


@pytest.mark.parametrize(
    ("answers", "many", "expected"),
    [
        ([BUG], False, BUG),
        ([BUG, FEATURE], False, None),
        ([BUG, BUG, FEATURE], False, BUG),
        ([BUG, FEATURE, NOTHING], False, None),
        ([NOTHING, NOTHING, BUG], False, NOTHING),
        ([BOTH, BUG, BUG], True, BUG),
        ([BOTH, BOTH, BUG], True, BOTH),
        ([BOTH, BUG], True, None),
        ([NOTHING, NOTHING, BUG], True, NOTHING),
    ],
)
def test_a_majority_is_more_than_half(
    answers: list[frozenset[str]], many: bool, expected: frozenset[str] | None
) -> None:
    assert majority(answers, many=many) == expected
