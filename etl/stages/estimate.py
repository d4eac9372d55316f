"""The estimate: what answering what waits would cost, in each way it can be asked; asks nobody, changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from etl.classifiers.base import (
    ENTRY_TOKENS,
    REQUEST_TOKENS,
    USUAL,
    Classifier,
    Evidence,
    Forecast,
    ForecastingClassifier,
    PaidClassifier,
    Way,
)
from etl.db.queries.classifications import count_pending, select_pending_texts
from etl.db.queries.spending import select_token_evidence
from etl.db.store import Store
from etl.stages.base import Progress
from etl.stages.batch_submission import choose_executor
from etl.stages.classify import Asking
from etl.tasks import Task

_LEAST_EVIDENCE = 50
_MOST_EVIDENCE = 2_000
_PORTION = 2_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """What was found. tasks: in the run's order, a free classifier's without any way. total: over all of them."""

    classifier: str
    evidence: Evidence
    tasks: tuple[Forecast, ...]
    total: Forecast


def estimate_costs(store: Store, tasks: Sequence[Task], asking: Asking, progress: Progress) -> Estimate:
    """What it would cost to answer the tasks for the texts that wait, the newest `max_items` of them (None: all).

    Texts that may turn out to inherit an answer are counted with the others.
    """
    evidence = find_evidence(store, asking.classifier)
    found: list[Forecast] = []
    left = asking.max_items
    for task in tasks:
        forecast = _estimate_task(store, task, replace(asking, max_items=left), evidence, progress)
        left = None if left is None else left - forecast.texts
        found.append(forecast)
    total = found[0]
    for forecast in found[1:]:
        total = add_forecasts(total, forecast)
    return Estimate(asking.classifier.name, evidence, tuple(found), replace(total, task="total"))


def find_evidence(store: Store, classifier: Classifier) -> Evidence:
    """What stored answers say of the model's tokens; what is usual where there are too few."""
    if not isinstance(classifier, PaidClassifier):
        return USUAL
    with store.transaction() as connection:
        found = select_token_evidence(
            connection,
            classifier.model,
            request_tokens=REQUEST_TOKENS,
            entry_tokens=ENTRY_TOKENS,
            limit=_MOST_EVIDENCE,
        )
    if found.answers < _LEAST_EVIDENCE or found.chars_per_token <= 0:
        return replace(USUAL, prompt_tokens=found.prompt_tokens)
    return Evidence(found.chars_per_token, found.output_tokens, found.answers, found.prompt_tokens)


def _estimate_task(store: Store, task: Task, asking: Asking, evidence: Evidence, progress: Progress) -> Forecast:
    classifier, limit = asking.classifier, asking.max_items
    with store.transaction() as connection:
        waiting = count_pending(connection, task, asking.scope)
        if not isinstance(classifier, ForecastingClassifier):
            texts = waiting if limit is None else min(waiting, limit)
            return Forecast(task.name, texts, "", ())
        batch_pack = None if asking.batching is None else asking.batching.batches.pack
        total = classifier.forecast(task, (), evidence, batch_pack)
        with progress.stage(f"estimate {task.name}", waiting) as advance:
            for portion in select_pending_texts(connection, task, asking.scope, limit, _PORTION):
                total = add_forecasts(total, classifier.forecast(task, portion, evidence, batch_pack))
                advance(len(portion))
    executor, _ = choose_executor(asking.batching, waiting)
    return total if executor == "sync" else _in_batches(total, batch_pack)


def _in_batches(forecast: Forecast, pack: int | None) -> Forecast:
    """The same, marked as configured where it goes in batches of requests about so many texts."""
    ways = [replace(way, configured=way.executor == "batch" and way.pack == pack) for way in forecast.ways]
    return replace(forecast, ways=tuple(ways))


def add_forecasts(first: Forecast, second: Forecast) -> Forecast:
    """Both together: their ways are the same ones, except that a prompt too short for the cache has fewer."""
    ways: dict[tuple[str, int, bool], Way] = {}
    for way in (*first.ways, *second.ways):
        known = ways.get(key := (way.executor, way.pack, way.cached))
        ways[key] = way if known is None else _add_ways(known, way)
    return Forecast(first.task, first.texts + second.texts, first.model, tuple(ways.values()))


def _add_ways(first: Way, second: Way) -> Way:
    return replace(
        first,
        requests=first.requests + second.requests,
        dollars=first.dollars + second.dollars,
        worst_usd=first.worst_usd + second.worst_usd,
        configured=first.configured or second.configured,
    )
