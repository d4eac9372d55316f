"""What comes of a comparison: agreement, what moved, what it costs."""

import pytest

from etl.evaluate.comparison import AskedText, Said, compare_answers
from etl.tasks import Task, parse_task
from tests.fakes import TASK_FILE
from tests.unit.classifiers.samples import areas_task

TASK = parse_task(TASK_FILE, "kind.toml")
RENAMED = parse_task(TASK_FILE.replace(b'id = "bug"', b'id = "defect"\naliases = ["bug"]'), "kind.toml")


def said(*categories: str, outcome: str = "answered", cost: float = 0.001, model: str = "m") -> Said:
    return Said(outcome, categories, tuple(0.9 for _ in categories), "because", model, cost)


def texts(*pairs: tuple[Said | None, Said | None]) -> list[AskedText]:
    return [AskedText(f"h{place}", (f"octo/demo#{place}",), one, other) for place, (one, other) in enumerate(pairs, 1)]


def abstained() -> Said:
    return said(outcome="abstained")


def refused() -> Said:
    return said(outcome="refused")


def test_equal_answers_agree_and_the_others_are_listed_in_the_order_of_the_sample() -> None:
    found = compare_answers(
        [TASK],
        ("a", "b"),
        texts(
            (said("bug"), said("bug")),
            (said("bug"), said("feature")),
            (abstained(), abstained()),
            (refused(), said("bug")),
        ),
    )
    assert (found.agreement.size, found.agreement.agreed, found.agreement.raw) == (4, 2, 0.5)
    assert [(moved.items, moved.first_words, moved.second_words) for moved in found.moved] == [
        (("octo/demo#2",), "bug", "feature"),
        (("octo/demo#4",), "refused", "bug"),
    ]
    assert found.cells == (
        ("abstained", "abstained", 1),
        ("bug", "bug", 1),
        ("bug", "feature", 1),
        ("refused", "bug", 1),
    )


def test_kappa_takes_chance_into_account_and_has_an_interval() -> None:
    pairs = [(said("bug"), said("bug"))] * 20 + [(said("feature"), said("feature"))] * 20
    pairs += [(said("bug"), said("feature"))] * 5 + [(said("feature"), said("bug"))] * 5
    found = compare_answers([TASK], ("a", "b"), texts(*pairs)).agreement
    assert found.kappa == pytest.approx(0.6)
    assert found.kappa_interval is not None
    assert found.kappa_interval[0] < 0.6 < found.kappa_interval[1]


def test_a_text_that_only_one_answered_is_counted_but_not_compared() -> None:
    found = compare_answers([TASK], ("a", "b"), texts((said("bug"), None), (said("bug"), said("bug")), (None, None)))
    assert (found.sampled, found.first.answered, found.second.answered, found.agreement.size) == (3, 2, 1, 1)


def test_cost_is_given_per_thousand_answers_and_models_are_counted() -> None:
    found = compare_answers(
        [TASK],
        ("a", "b"),
        texts((said("bug", cost=0.002), said("bug", cost=0.0)), (said("bug", cost=0.004, model="n"), None)),
    )
    assert found.first.usd_per_thousand == pytest.approx(3.0)
    assert found.second.usd_per_thousand == 0.0
    assert found.first.models == {"m": 1, "n": 1}
    assert compare_answers([TASK], ("a", "b"), texts((None, None))).first.usd_per_thousand is None


@pytest.mark.parametrize("tasks", [[TASK, TASK, RENAMED], [TASK, RENAMED, TASK], [RENAMED, RENAMED, RENAMED]])
def test_a_category_that_was_renamed_counts_as_the_same(tasks: list[Task]) -> None:
    found = compare_answers(tasks, ("a", "b"), texts((said("bug"), said("defect")), (said("defect"), said("bug"))))
    assert found.moved == ()
    assert [entry.category for entry in found.agreement.categories] == ["defect"]


def test_several_categories_agree_in_any_order_and_only_as_a_whole() -> None:
    found = compare_answers(
        [areas_task()],
        ("a", "b"),
        texts(
            (said("build_ci", "documentation"), said("documentation", "build_ci")),
            (said("build_ci", "documentation"), said("build_ci")),
        ),
    )
    assert found.agreement.agreed == 1
    assert [(moved.first_words, moved.second_words) for moved in found.moved] == [
        ("build_ci + documentation", "build_ci")
    ]
    by_category = {entry.category: (entry.first, entry.second, entry.both) for entry in found.agreement.categories}
    assert by_category == {"build_ci": (2, 2, 2), "documentation": (2, 1, 1)}
