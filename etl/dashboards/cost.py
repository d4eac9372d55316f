"""The dashboard Cost and health: what the runs paid, how fresh everything is, what waits or was refused."""

from etl.dashboards.colours import STATUSES
from etl.dashboards.layout import RUN_TASK_CONTROL, RUNS, RUNS_BY_TASK, WHOLE_RUNS, Outline
from etl.dashboards.parts import (
    Json,
    aggregation,
    by_terms,
    by_time,
    chart_state,
    count,
    figures_params,
    markdown,
    metrics,
    saved_search,
    table_params,
    visualization,
)
from etl.dashboards.saved_objects import SavedObject

_HEADER = """### What it costs, and whether it runs
Dollars, tokens, answers and waiting texts are those of the **task** on the right. Calls to GitHub, freshness and
documents are those of whole runs: the runs that asked the task and, where a run asked nobody, those that read its
repositories. Costs are US dollars by Issuetide's price table. Days are UTC. Back to
[Trends](#/view/issuetide-trends), [Quality](#/view/issuetide-quality).

**Dollars and tokens at 0?** Nothing was paid: the classifier `rules` is free, and an unchanged hour asks nobody.
**The last run is old?** `issuetide status` and `issuetide doctor` say why. **Documents refused?**
`issuetide export --replay-dead-letters` after mending the cause. **"No results found"?** No run of this task ended in
this time: choose another task, or widen the time range."""

OUTLINE = Outline(
    "issuetide-cost",
    "Issuetide: cost and health",
    "Dollars and tokens, the cache, GitHub's limits, freshness, what waits, what was refused, how runs ended.",
    "now-30d",
    (
        ("issuetide-cost-header", 0, 0, 28, 10),
        ("issuetide-run-controls", 28, 0, 20, 10),
        ("issuetide-freshness", 0, 10, 14, 6),
        ("issuetide-spent", 14, 10, 22, 6),
        ("issuetide-used", 36, 10, 12, 6),
        ("issuetide-cost-daily", 0, 16, 24, 13),
        ("issuetide-tokens", 24, 16, 24, 13),
        ("issuetide-cache", 0, 29, 24, 13),
        ("issuetide-models", 24, 29, 24, 13),
        ("issuetide-calls", 0, 42, 12, 13),
        ("issuetide-calls-left", 12, 42, 12, 13),
        ("issuetide-run-status", 24, 42, 24, 13),
        ("issuetide-backlog", 0, 55, 24, 13),
        ("issuetide-refused", 24, 55, 24, 13),
        ("issuetide-work", 0, 68, 24, 13),
        ("issuetide-duration", 24, 68, 24, 13),
        ("issuetide-fresh-repositories", 0, 81, 48, 11),
        ("issuetide-latest-runs", 0, 92, 48, 15),
    ),
    task_control=RUN_TASK_CONTROL,
    index=RUNS,
)

_PER_DAY = ("started_at", "d")

GOOD_READINGS = (
    r"status:(ok OR partial) AND command:(issuetide\ run* OR issuetide\ fetch* OR issuetide\ demo*)"
    rf" AND NOT command:*\-\-skip\-fetch* AND {WHOLE_RUNS}"
)
"""Runs that read to the end, as the alert on stale data has it, and the demo's: an export makes nothing fresh."""


def panels() -> list[SavedObject]:
    """The panels but for the controls."""
    return [
        markdown("issuetide-cost-header", "How to read this", _HEADER),
        *_figures(),
        *_spending(),
        *_calls(),
        *_waiting(),
        *_work(),
        _freshness_table(),
        saved_search(
            "issuetide-latest-runs",
            "Latest runs",
            RUNS,
            WHOLE_RUNS,
            (
                "started_at",
                "status",
                "command",
                "repositories",
                "tasks",
                "items_new",
                "items_changed",
                "texts_asked",
                "documents_written",
                "api_calls",
                "cost_usd",
                "error",
            ),
            "started_at",
        ),
    ]


def _figures() -> list[SavedObject]:
    spent = {
        "1": ("cost_usd", "US dollars"),
        "2": ("prompt_tokens", "tokens sent"),
        "3": ("output_tokens", "tokens answered"),
        "4": ("answers", "answers"),
    }
    used = {"1": ("api_calls", "calls to GitHub"), "2": ("dead_letters", "documents refused")}
    newest = metrics("max", {"1": ("ended_at", "last good run")})
    return [
        _sums("issuetide-freshness", "Freshness", newest, GOOD_READINGS),
        _sums("issuetide-spent", "The task, in this time range", metrics("sum", spent), RUNS_BY_TASK),
        _sums("issuetide-used", "Whole runs, in this time range", metrics("sum", used), WHOLE_RUNS),
    ]


def _sums(identifier: str, title: str, aggregations: list[Json], query: str) -> SavedObject:
    state = {"type": "metric", "aggs": aggregations, "params": figures_params(20)}
    return visualization(identifier, title, state, RUNS, query)


def _spending() -> list[SavedObject]:
    kinds = {
        "1": ("cache_read_tokens", "Read from the cache"),
        "3": ("cache_write_tokens", "Written to the cache"),
        "4": ("input_tokens", "Not cached"),
    }
    colours = {"Read from the cache": "#009e73", "Written to the cache": "#e69f00", "Not cached": "#0072b2"}
    tokens = {**kinds, "5": ("output_tokens", "Answers")}
    return [
        visualization(
            "issuetide-cost-daily",
            "US dollars per day and model",
            chart_state(
                "histogram",
                metrics("sum", {"1": ("cost_usd", "US dollars")}),
                [by_time(*_PER_DAY), by_terms("model", "group", "Model", order_by="_key", missing="(no model asked)")],
                "US dollars",
            ),
            RUNS,
            RUNS_BY_TASK,
        ),
        visualization(
            "issuetide-tokens",
            "Tokens per day",
            chart_state("histogram", metrics("sum", tokens), [by_time(*_PER_DAY)], "Tokens"),
            RUNS,
            RUNS_BY_TASK,
            colours={**colours, "Answers": "#4b3f9e"},
        ),
        visualization(
            "issuetide-cache",
            "Cache hit rate: where the tokens of prompts came from, per day",
            chart_state(
                "histogram", metrics("sum", kinds), [by_time(*_PER_DAY)], "Share of prompt tokens", shares=True
            ),
            RUNS,
            RUNS_BY_TASK,
            colours=colours,
        ),
        _models_table(),
    ]


def _models_table() -> SavedObject:
    sums = {
        "1": ("cost_usd", "US dollars"),
        "4": ("cost_batch_usd", "In batches"),
        "5": ("cost_audit_usd", "For audits"),
        "6": ("prompt_tokens", "Sent"),
        "7": ("output_tokens", "Received"),
        "8": ("answers", "Answers"),
    }
    time = by_time(*_PER_DAY, schema="bucket", label="Day")
    state = {
        "type": "table",
        "aggs": [*metrics("sum", sums), time, by_terms("model", "bucket", "Model", missing="(no model asked)")],
        "params": table_params(),
    }
    return visualization("issuetide-models", "Dollars and tokens per day and model", state, RUNS, RUNS_BY_TASK)


def _calls() -> list[SavedObject]:
    """The calls of days, in a chart of their own: beside the thousands that are left a few would not be seen."""
    room = [
        *metrics("min", {"1": ("rate_limit_left", "Fewest calls left")}),
        *metrics("max", {"3": ("api_calls", "Most calls of a run")}),
    ]
    return [
        visualization(
            "issuetide-calls",
            "Calls to GitHub per day",
            chart_state("histogram", metrics("sum", {"1": ("api_calls", "Calls")}), [by_time(*_PER_DAY)], "Calls"),
            RUNS,
            WHOLE_RUNS,
            colours={"Calls": "#0072b2"},
        ),
        visualization(
            "issuetide-calls-left",
            "Calls left, and what a run takes",
            chart_state("line", room, [by_time(*_PER_DAY)], "Calls", stacked=False),
            RUNS,
            WHOLE_RUNS,
            colours={"Fewest calls left": "#d55e00", "Most calls of a run": "#0072b2"},
        ),
        visualization(
            "issuetide-run-status",
            "How the runs ended",
            chart_state(
                "histogram",
                [count("Runs")],
                [by_time(*_PER_DAY), by_terms("status", "group", "Status", order_by="_key")],
                "Runs",
            ),
            RUNS,
            WHOLE_RUNS,
            colours=STATUSES,
        ),
    ]


def _waiting() -> list[SavedObject]:
    """What waits at the end of runs: the largest of a bar, so that a jam of hours shows in a bar of a day."""
    waiting = {
        "1": ("texts_waiting", "Texts without an answer"),
        "3": ("texts_in_batches", "Of these, in batches"),
    }
    refused = {
        "1": ("documents_refused", "Refused, standing"),
        "3": ("dead_letters", "Refused in a run"),
        "4": ("documents_waiting", "Waiting"),
    }
    return [
        visualization(
            "issuetide-backlog",
            "Backlog of texts at the end of runs",
            chart_state("line", metrics("max", waiting), [by_time("started_at")], "Texts", stacked=False),
            RUNS,
            RUNS_BY_TASK,
        ),
        visualization(
            "issuetide-refused",
            "Documents that the index refused, and that wait",
            chart_state("line", metrics("max", refused), [by_time("started_at")], "Documents", stacked=False),
            RUNS,
            WHOLE_RUNS,
            colours={"Refused, standing": "#d55e00", "Refused in a run": "#e69f00", "Waiting": "#0072b2"},
        ),
    ]


def _work() -> list[SavedObject]:
    work = {
        "1": ("items_new", "New items"),
        "3": ("items_changed", "Changed items"),
        "4": ("texts_asked", "Texts asked"),
        "5": ("texts_inherited", "Texts that inherited"),
    }
    labels = {"1": "Longest", "3": "Average"}
    return [
        visualization(
            "issuetide-work",
            "What the runs did, per day (items: issues, pull requests, comments)",
            chart_state("line", metrics("sum", work), [by_time(*_PER_DAY)], "Items, texts", stacked=False),
            RUNS,
            WHOLE_RUNS,
        ),
        visualization(
            "issuetide-duration",
            "Seconds that runs took",
            chart_state(
                "line",
                [
                    *metrics("max", {"1": ("duration_seconds", labels["1"])}),
                    *metrics("avg", {"3": ("duration_seconds", labels["3"])}),
                ],
                [by_time("started_at")],
                "Seconds",
                stacked=False,
            ),
            RUNS,
            WHOLE_RUNS,
            colours={"Longest": "#d55e00", "Average": "#0072b2"},
        ),
    ]


def _freshness_table() -> SavedObject:
    """Per repository the end of the newest run that read it well, the stalest first, and what reading it took.

    A run that is partial read its lists to the end as well; what it could not use is kept.
    """
    return visualization(
        "issuetide-fresh-repositories",
        "Freshness, by repository",
        {
            "type": "table",
            "aggs": [
                aggregation("1", "max", "metric", field="ended_at", customLabel="Last good run"),
                aggregation("3", "sum", "metric", field="api_calls", customLabel="Calls to GitHub"),
                aggregation("4", "sum", "metric", field="waited_seconds", customLabel="Seconds waited"),
                aggregation("5", "min", "metric", field="rate_limit_left", customLabel="Fewest calls left"),
                by_terms("repository", "bucket", "Repository", size=200, identifier="2", ascending=True),
            ],
            "params": table_params(),
        },
        RUNS,
        GOOD_READINGS,
    )
