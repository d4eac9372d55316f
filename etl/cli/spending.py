"""What is spent and what asking would cost, in words and as values: for `status` and `--estimate`."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from etl.classifiers.base import Evidence, Forecast, Way
from etl.classifiers.prices import load_prices
from etl.cli.output import print_json, print_line, print_row
from etl.db.queries.spending import select_cache_use, select_standing
from etl.db.store import Store
from etl.pipeline import Plan, RunOutcome
from etl.settings import Settings
from etl.stages.estimate import Estimate
from etl.stages.spending import Caps, day_start, month_start, utc_now

_DAY = timedelta(days=1)


def collect_spending(connection: Connection, settings: Settings) -> dict[str, Any]:
    """What is spent today and this month (UTC) against the caps, what is on its way, and how well the cache is used."""
    now = utc_now()
    standing = select_standing(connection, day_start(now), month_start(now))
    cache = select_cache_use(connection, now - _DAY)
    return {
        "today_usd": standing.day,
        "month_usd": standing.month,
        "granted_usd": standing.granted,
        "in_batches_usd": standing.in_batches,
        "cap_run_usd": settings.issuetide_max_cost_usd,
        "cap_day_usd": settings.issuetide_max_cost_usd_day,
        "cap_month_usd": settings.issuetide_max_cost_usd_month,
        "cache": {
            "answers": cache.answers,
            "read_share": None if cache.read_share is None else round(cache.read_share, 4),
        },
    }


def spending_lines(spending: dict[str, Any]) -> list[str]:
    """The same for people."""
    parts = [
        f"{_dollars(spending[name])} {when}{_of_cap(spending[cap])}"
        for name, when, cap in (
            ("today_usd", "today", "cap_day_usd"),
            ("month_usd", "this month", "cap_month_usd"),
        )
    ]
    lines = [f"spent (UTC): {', '.join(parts)}"]
    held = [
        f"{_dollars(spending[name])} {words}"
        for name, words in (("granted_usd", "by runs under way"), ("in_batches_usd", "for batches under way"))
        if spending[name]
    ]
    if held:
        lines.append(f"held back of the caps: {', '.join(held)}")
    cache = spending["cache"]
    if cache["read_share"] is not None:
        lines.append(
            f"prompt cache: {100 * cache['read_share']:.0f} % of the prompt tokens of the last day's"
            f" {cache['answers']:,} live answers were read from it"
        )
    return lines


def _of_cap(cap: float | None) -> str:
    return "" if cap is None else f" of {_dollars(cap)}"


def _dollars(amount: float) -> str:
    return f"${amount:,.4f}"


def print_estimate(store: Store, plan: Plan, outcome: RunOutcome, settings: Settings, *, as_json: bool) -> None:
    """Prints what a run with `--estimate` found."""
    with store.transaction() as connection:
        spending = collect_spending(connection, settings)
    estimate = outcome.estimate
    if as_json:
        print_json(_estimate_values(outcome, plan.caps, spending))
    elif estimate is not None:
        for line in estimate_lines(estimate):
            print_row(line)
        for line in (*_cap_lines(plan.caps), *spending_lines(spending)):
            print_line(line)


def _estimate_values(outcome: RunOutcome, caps: Caps, spending: dict[str, Any]) -> dict[str, Any]:
    estimate = outcome.estimate
    values: dict[str, Any] = {"status": outcome.status, "exit_code": outcome.exit_code, "error": outcome.error}
    if estimate is not None:
        values |= {
            "classifier": estimate.classifier,
            "model": estimate.total.model or None,
            "prices_as_of": f"{load_prices().as_of}",
            "evidence": asdict(estimate.evidence),
            "tasks": [_forecast_values(forecast) for forecast in estimate.tasks],
            "total": _forecast_values(estimate.total),
        }
    return {**values, "caps": asdict(caps), "spending": spending}


def _forecast_values(forecast: Forecast) -> dict[str, Any]:
    ways = [
        {**asdict(way), "dollars": round(way.dollars, 6), "worst_usd": round(way.worst_usd, 6)} for way in forecast.ways
    ]
    return {"task": forecast.task, "texts": forecast.texts, "ways": ways}


def estimate_lines(estimate: Estimate) -> list[str]:
    """An estimate for people: a table per task and one for all; what is configured has a star."""
    total = estimate.total
    if not total.ways:
        return [f"{total.texts:,} texts wait; `{estimate.classifier}` answers them for nothing"]
    lines = [
        f"{total.texts:,} texts wait for `{estimate.classifier}` ({total.model}); nobody was asked, nothing written",
        f"{_evidence_words(estimate.evidence)}; prices of {load_prices().as_of}",
    ]
    for forecast in estimate.tasks:
        lines += _table(f"{forecast.task}: {forecast.texts:,} texts", forecast)
    if len(estimate.tasks) > 1:
        lines += _table(f"all tasks: {total.texts:,} texts", total)
    lines.append("* as a run would ask now; `at most` is what caps on dollars would set aside")
    return lines


def _evidence_words(evidence: Evidence) -> str:
    words = f"{evidence.chars_per_token:.2f} characters per token, {evidence.output_tokens:.0f} tokens per answer"
    if evidence.answers:
        return f"{words}, measured on {evidence.answers:,} stored answers"
    return f"{words}, as is usual: too few answers of this model are stored to measure it"


def _table(title: str, forecast: Forecast) -> Iterator[str]:
    yield f"{title:<44}{'requests':>10}{'about':>14}{'at most':>14}"
    for way in forecast.ways:
        star = "*" if way.configured else " "
        yield (
            f"{star} {way_words(way):<42}{way.requests:>10,}{_dollars(way.dollars):>14}{_dollars(way.worst_usd):>14}"
        )


def way_words(way: Way) -> str:
    """How a way asks."""
    where = "in batches" if way.executor == "batch" else "live"
    texts = "one text each" if way.pack == 1 else f"up to {way.pack} texts each"
    cache = "" if way.executor == "batch" else ", prompt cached" if way.cached else ", prompt not cached"
    return f"{where}, {texts}{cache}"


def _cap_lines(caps: Caps) -> Iterator[str]:
    named = [("run", caps.run), ("day", caps.day), ("month", caps.month)]
    words = [f"{_dollars(cap)} per {name}" for name, cap in named if cap is not None]
    yield f"caps: {', '.join(words)}" if words else "caps: none"
