"""Calibration: the error is measured, the map is monotone, better than what was stated, or refused."""

import random
from importlib import import_module
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.evaluate.calibration import (
    LEAST_EXAMPLES,
    MOST_POINTS,
    Stated,
    apply_points,
    fit,
    fit_isotonic,
    fit_platt,
    reliability,
    stated_confidences,
)
from etl.evaluate.metrics import Example


def overconfident(count: int, seed: int = 1) -> list[Stated]:
    """Answers that say 0.5 to 1 and are right about as often as the square of it."""
    chance = random.Random(seed)
    said = [round(chance.uniform(0.5, 1.0), 3) for _ in range(count)]
    return [(confidence, chance.random() < confidence**2) for confidence in said]


def test_the_error_is_that_computed_by_hand() -> None:
    found = reliability([(0.5, True), (0.5, False), (0.9, True), (0.9, True), (0.9, False), (0.9, True)])
    assert [(entry.answers, entry.right) for entry in found.bins] == [(2, 0.5), (4, 0.75)]
    assert found.ece == pytest.approx(4 / 6 * 0.15)
    assert found.brier == pytest.approx((2 * 0.25 + 3 * 0.01 + 0.81) / 6)


def test_equal_confidences_are_never_divided() -> None:
    found = reliability([(0.9, place % 2 == 0) for place in range(97)] + [(0.95, True)] * 3)
    assert [(entry.low, entry.high, entry.answers) for entry in found.bins] == [(0.9, 0.9, 97), (0.95, 0.95, 3)]


def test_without_equal_ones_the_curve_is_scikit_learns_by_quantiles() -> None:
    calibration = import_module("sklearn.calibration")
    chance = random.Random(7)
    stated = [(place / 1000, chance.random() < place / 1000) for place in range(1000)]
    right, mean = calibration.calibration_curve(
        [is_right for _, is_right in stated], [confidence for confidence, _ in stated], n_bins=10, strategy="quantile"
    )
    found = reliability(stated)
    assert [entry.right for entry in found.bins] == pytest.approx(list(right), abs=0.011)
    assert [entry.confidence for entry in found.bins] == pytest.approx(list(mean), abs=0.001)


def test_brier_is_scikit_learns() -> None:
    metrics = import_module("sklearn.metrics")
    stated = overconfident(200)
    expected = metrics.brier_score_loss([right for _, right in stated], [confidence for confidence, _ in stated])
    assert reliability(stated).brier == pytest.approx(expected)


def test_of_many_categories_each_answered_one_is_a_statement() -> None:
    example = Example(frozenset({"a"}), (("a", 0.9), ("b", 0.4)))
    assert stated_confidences([example, Example(frozenset(), ())]) == [(0.9, True), (0.4, False)]


confidences = st.integers(0, 40).map(lambda number: number / 40)


@settings(deadline=None)
@given(st.lists(st.tuples(confidences, st.booleans()), min_size=1, max_size=300))
def test_an_isotonic_map_rises_has_few_points_and_stays_within_0_and_1(stated: list[Stated]) -> None:
    points = fit_isotonic(stated)
    assert 2 <= len(points) <= MOST_POINTS
    assert all(low[0] < high[0] and low[1] <= high[1] for low, high in pairwise(points))
    values = [apply_points(points, number / 100) for number in range(101)]
    assert values == sorted(values)
    assert 0 < values[0] <= values[-1] < 1


@settings(deadline=None)
@given(st.lists(st.tuples(confidences, st.booleans()), min_size=1, max_size=200))
def test_a_platt_map_rises_and_stays_within_0_and_1(stated: list[Stated]) -> None:
    points = fit_platt(stated)
    assert len(points) <= MOST_POINTS
    assert all(low[0] < high[0] and low[1] <= high[1] + 1e-12 for low, high in pairwise(points))
    assert all(0 < worth < 1 for _, worth in points)


def test_isotonic_steps_are_scikit_learns_where_they_are_large() -> None:
    isotonic = import_module("sklearn.isotonic")
    levels = {0.2: (10, 50), 0.4: (5, 50), 0.6: (30, 50), 0.9: (45, 50)}  # 0.2 and 0.4 violate the order
    stated = [(level, place < right) for level, (right, whole) in levels.items() for place in range(whole)]
    expected = isotonic.IsotonicRegression().fit([c for c, _ in stated], [float(r) for _, r in stated])
    points = fit_isotonic(stated)
    assert [given for given, _ in points] == pytest.approx([0.3, 0.6, 0.9])
    assert [worth for _, worth in points] == pytest.approx([0.15, 0.6, 0.9])
    assert list(expected.predict([0.2, 0.4, 0.6, 0.9])) == pytest.approx([0.15, 0.15, 0.6, 0.9])


def test_platts_curve_is_the_likeliest_one() -> None:
    optimize = import_module("scipy.optimize")
    numpy = import_module("numpy")
    stated = overconfident(150)
    right = sum(is_right for _, is_right in stated)
    targets = numpy.array(
        [(right + 1) / (right + 2) if is_right else 1 / (len(stated) - right + 2) for _, is_right in stated]
    )
    inside = numpy.clip([confidence for confidence, _ in stated], 0.01, 0.99)
    odds = numpy.log(inside / (1 - inside))

    def loss(parameters: list[float]) -> float:
        value = parameters[0] * odds + parameters[1]
        return float(numpy.sum(numpy.logaddexp(0, value) - targets * value))

    best = optimize.minimize(loss, [0.0, 0.0], method="BFGS").x
    points = fit_platt(stated)
    for given_, worth in points[4:-1]:
        value = best[0] * numpy.log(given_ / (1 - given_)) + best[1]
        assert worth == pytest.approx(1 / (1 + numpy.exp(-value)), abs=1e-4)


@pytest.mark.parametrize(("count", "method"), [(120, "platt"), (600, "isotonic")])
def test_overconfident_answers_are_put_right_on_answers_that_were_not_seen(count: int, method: str) -> None:
    found = fit(overconfident(count))
    assert (found.method, found.problem) == (method, "")
    assert found.after.ece < 0.75 * found.before.ece
    unseen = overconfident(2000, seed=2)
    mapped = [(apply_points(found.points, confidence), is_right) for confidence, is_right in unseen]
    assert reliability(mapped).ece < 0.5 * reliability(unseen).ece
    assert reliability(mapped).brier < reliability(unseen).brier


def test_too_few_answers_are_refused_and_counted() -> None:
    found = fit(overconfident(LEAST_EXAMPLES - 1))
    assert found.points == ()
    assert "49 answers with a known right one are too few, 50 are needed" in found.problem


def test_a_map_that_does_not_help_is_refused() -> None:
    chance = random.Random(5)
    honest = [(level / 10, chance.random() < level / 10) for level in range(1, 10) for _ in range(200)]
    found = fit(honest)
    assert found.problem == "" or "does not help" in found.problem
    level = [(0.8, place % 5 != 0) for place in range(300)]
    assert "does not help" in fit(level).problem


def test_the_same_answers_in_another_order_give_the_same_map() -> None:
    stated = overconfident(400)
    assert fit(stated) == fit(list(reversed(stated)))
