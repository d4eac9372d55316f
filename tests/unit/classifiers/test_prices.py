"""The price table and the cap on spending."""

import pytest

from etl.classifiers.prices import PriceTable, Spending, load_prices, parse_prices
from etl.errors import BudgetError, ConfigurationError


@pytest.fixture
def prices() -> PriceTable:
    return load_prices()


def test_a_request_costs_each_kind_of_token_at_its_own_rate(prices: PriceTable) -> None:
    cost = prices.facts("claude-haiku-5-5").cost(1_000, 2_000, 3_000, 4_000)
    assert cost == pytest.approx((1_000 * 0.10 + 2_000 * 0.125 + 3_000 * 0.01 + 4_000 * 0.50) / 1e6)


def test_a_prompt_above_100k_tokens_costs_five_times_as_much_cached_tokens_included(prices: PriceTable) -> None:
    facts = prices.facts("claude-haiku-5-5")
    assert facts.cost(100_000, 0, 0, 0) == pytest.approx(0.01)
    assert facts.cost(1, 0, 100_000, 0) == pytest.approx((0.50 + 100_000 * 0.05) / 1e6)


def test_a_dated_id_is_found_by_its_undated_one(prices: PriceTable) -> None:
    assert prices.facts("claude-haiku-4-5-20251001") == prices.facts("claude-haiku-4-5")
    assert prices.facts("claude-haiku-4-5-preview").known is False


def test_an_unknown_model_is_priced_at_the_dearest_rates_and_asked_nothing_special(prices: PriceTable) -> None:
    unknown = prices.facts("claude-nonesuch-9")
    assert not unknown.known
    assert (unknown.thinking, unknown.effort) == ("", "")
    assert all(unknown.cost(1, 1, 1, 1) >= facts.cost(1, 1, 1, 1) for facts in prices.models.values())


def test_the_default_model_is_in_the_table(prices: PriceTable) -> None:
    facts = prices.facts("claude-haiku-5-5")
    assert (facts.known, facts.cache_minimum, facts.thinking, facts.effort) == (True, 512, "disabled", "low")


def test_in_a_batch_everything_costs_half_the_dearer_tier_and_the_cache_included(prices: PriceTable) -> None:
    facts = prices.facts("claude-haiku-5-5")
    for counts in ((1_000, 0, 0, 45), (0, 4_000, 0, 45), (600, 0, 4_000, 45), (100_000, 0, 1, 45)):
        assert facts.cost(*counts, batch=True) == pytest.approx(facts.cost(*counts) / 2)
    assert prices.facts("claude-nonesuch-9").cost(1_000, 0, 0, 0, batch=True) > 0


@pytest.mark.parametrize(
    ("model", "successor"),
    [
        ("claude-haiku-4-5", "claude-haiku-5-5"),
        ("claude-haiku-4-5-20251001", "claude-haiku-5-5"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-5-5"),
        ("claude-3-5-haiku-20241022", "claude-haiku-5-5"),
        ("claude-3-opus", "claude-opus-5-5"),
        ("claude-haiku-5-5", ""),
        ("claude-nonesuch-9", ""),
    ],
)
def test_a_model_that_goes_names_its_successor_also_where_its_price_is_not_known(
    prices: PriceTable, model: str, successor: str
) -> None:
    assert prices.facts(model).successor == successor


def test_the_newest_models_have_prices_and_no_successor(prices: PriceTable) -> None:
    assert all(not prices.facts(successor).successor for successor in prices.successors.values())


def test_a_successor_that_has_no_prices_is_refused() -> None:
    content = b"as_of = 2026-01-01\nbatch_factor = 0.5\n[models.a]\ninput = 1\ncache_write = 1\ncache_read = 1\n"
    content += b"output = 1\ncache_minimum = 1\nthinking = ''\neffort = ''\nthinks = false\nsuccessor = 'b'"
    with pytest.raises(ConfigurationError, match="'b'"):
        parse_prices(content, "my/prices.toml")


@pytest.mark.parametrize(
    "content",
    [b"", b"as_of = 2026-01-01", b"as_of = 'x'\n[models]\n", b"\xff", b"as_of = 2026-01-01\n[models.a]\ninput = 1"],
)
def test_a_malformed_table_names_its_file(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"my/prices\.toml"):
        parse_prices(content, "my/prices.toml")


def test_reservations_count_against_the_cap_until_they_are_settled() -> None:
    spending = Spending(1.0)
    spending.reserve(0.6)
    with pytest.raises(BudgetError, match=r"\$1\.0000"):
        spending.reserve(0.6)
    spending.settle(0.6, 0.1)
    spending.reserve(0.6)
    assert spending.spent == pytest.approx(0.1)


def test_without_a_cap_nothing_is_refused_and_all_is_counted() -> None:
    spending = Spending(None)
    spending.reserve(1e9)
    spending.settle(1e9, 2.0)
    assert spending.spent == 2.0
