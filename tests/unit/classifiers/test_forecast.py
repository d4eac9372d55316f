"""What each way of asking would cost."""

from dataclasses import replace

import pytest

from etl.classifiers.attempts import worst_case
from etl.classifiers.base import USUAL, Evidence, Way
from etl.classifiers.forecast import Packs, forecast_ways
from etl.classifiers.prices import load_prices
from etl.classifiers.prompt import prompt_tokens_estimate, prompt_version
from etl.classifiers.requests import make_prompt, prepare, show
from etl.records import Text
from etl.tasks import load_tasks

TASK = load_tasks()["issue_kind"]
FACTS = load_prices().facts("claude-haiku-5-5")
TEXTS = [
    Text(number, f"1:{number}", f"Crash {number}\n\n{'It fails when the panel opens. ' * 20}") for number in range(30)
]


def ways(texts: list[Text] = TEXTS, evidence: Evidence = USUAL, live: int = 1, batch: int = 1) -> dict[str, Way]:
    found = forecast_ways(TASK, FACTS, texts, evidence, Packs(live, batch))
    return {f"{way.executor} {way.pack} {'cached' if way.cached else ''}".strip(): way for way in found}


def test_alone_and_without_the_cache_every_request_pays_the_whole_prompt() -> None:
    prefix = prompt_tokens_estimate(TASK)
    one = sum(FACTS.cost(prefix + 40 + -(-len(text.body) * 10 // 25), 0, 0, 60) for text in TEXTS)
    assert ways()["sync 1"].dollars == pytest.approx(one)
    assert ways()["sync 1"].requests == len(TEXTS)


def test_the_cache_is_written_once_and_read_by_all_others() -> None:
    saved = ways()["sync 1"].dollars - ways()["sync 1 cached"].dollars
    prefix = prompt_tokens_estimate(TASK)
    expected = FACTS.cost(prefix, 0, 0, 0) * 30 - FACTS.cost(0, prefix, 0, 0) - FACTS.cost(0, 0, prefix, 0) * 29
    assert saved == pytest.approx(expected)


def test_a_batch_costs_half_and_so_does_its_worst_case() -> None:
    assert ways()["batch 1"].dollars == pytest.approx(ways()["sync 1"].dollars / 2)
    assert ways()["batch 1"].worst_usd == pytest.approx(ways()["sync 1"].worst_usd / 2)


def test_the_worst_case_is_what_the_gate_would_reserve() -> None:
    prompt = make_prompt(TASK)
    reserved = [worst_case(prepare(prompt, FACTS, FACTS.id, [show(text)]).arguments, FACTS) for text in TEXTS]
    assert ways()["sync 1 cached"].worst_usd == pytest.approx(sum(reserved))
    assert ways()["sync 1 cached"].worst_usd > ways()["sync 1 cached"].dollars


def test_packing_makes_fewer_requests_and_costs_less() -> None:
    found = ways(live=5, batch=10)
    assert (found["sync 5 cached"].requests, found["batch 10"].requests) == (6, 3)
    assert found["batch 10"].dollars < found["batch 1"].dollars
    assert found["sync 5"].dollars < found["sync 1"].dollars
    assert "batch 5" not in found
    assert "sync 10" not in found


@pytest.mark.parametrize(("live", "name"), [(1, "sync 1 cached"), (5, "sync 5 cached"), (20, "sync 20 cached")])
def test_the_way_a_run_would_ask_live_is_marked(live: int, name: str) -> None:
    assert [way for way, one in ways(live=live).items() if one.configured] == [name]


def test_a_prompt_below_the_models_minimum_is_never_cached() -> None:
    choosy = replace(FACTS, cache_minimum=100_000)
    found = forecast_ways(TASK, choosy, TEXTS, USUAL, Packs(1, 1))
    assert not [way for way in found if way.cached]
    assert [(way.executor, way.pack) for way in found if way.configured] == [("sync", 1)]


def test_what_was_measured_takes_the_place_of_what_is_usual() -> None:
    measured = Evidence(5.0, 30.0, 100, {prompt_version(TASK): 1_000})
    one = sum(FACTS.cost(1_000 + 40 + -(-len(text.body) // 5), 0, 0, 30) for text in TEXTS)
    assert ways(evidence=measured)["sync 1"].dollars == pytest.approx(one)


def test_nothing_costs_nothing() -> None:
    assert {(way.requests, way.dollars, way.worst_usd) for way in ways([]).values()} == {(0, 0.0, 0.0)}
