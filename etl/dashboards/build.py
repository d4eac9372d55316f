"""Writes `dashboards/issuetide-trends.ndjson`: `python -m etl.dashboards.build`.

The panels are native visualizations only (no Vega, no TSVB, no plugin) and use nothing that Dashboards 2.19 does not
know, so that one file serves 2.19 and 3.x. A test compares the shipped file with what this module builds.
"""

from collections.abc import Mapping

from etl.dashboards.parts import (
    aggregation,
    by_terms,
    by_time,
    chart_params,
    figures_params,
    index_pattern,
    markdown,
    saved_object,
    saved_search,
    search_source,
    visualization,
)
from etl.dashboards.saved_objects import SavedObject, compact_json
from etl.resources import resource_folder

CLASSIFICATIONS, DAILY, RUNS = "issuetide-classifications", "issuetide-daily", "issuetide-runs"
DEFAULT_TASK = "issue_kind"
TASK_CONTROL = "issuetide-task"
PRESENT = "NOT vanished:true"
"""Leaves out documents of issues that are gone, moved away, or no longer asked about."""

NEEDS_A_LOOK = f"(confidence:<0.5 OR answer:(abstained OR refused)) AND {PRESENT}"

_HEADER = """### Issuetide: trends of issues
Each issue is asked one question, the **task**, and sorted into a category. Choose the task on the right (it opens with
`issue_kind`), then a repository or a category if you like. Click a legend entry or a bar to filter by it; the pills at
the top take it back.

*abstained*: the classifier could not tell. *unclassified*: not asked yet. *confidence*: how sure the classifier says it
is; where `calibrated` is true, how often such answers proved right.

**"No results found"?** Widen the time range (it goes by the day an issue was opened), choose another task, or ask the
command line: `issuetide status` shows what waits to be exported."""

_RUNS_HEADER = """### The runs behind it
What was read, asked and paid, and how fresh the rows above are. Costs are US dollars by the price table of Issuetide.
A run has no category: a category filter empties this part."""


def _controls() -> SavedObject:
    controls, references = [], []
    for number, (identifier, field, label, several) in enumerate(
        (
            (TASK_CONTROL, "task", "Task (one question)", False),
            ("issuetide-repository", "repository", "Repository", True),
            ("issuetide-category", "primary_category", "Category", True),
        )
    ):
        name = f"control_{number}_index_pattern"
        references.append(("index-pattern", CLASSIFICATIONS, name))
        controls.append(
            {
                "id": identifier,
                "fieldName": field,
                "parent": "",
                "label": label,
                "type": "list",
                "options": {
                    "type": "terms",
                    "multiselect": several,
                    "dynamicOptions": True,
                    "size": 100,
                    "order": "desc",
                },
                "indexPatternRefName": name,
            }
        )
    title = "Issuetide: what to show"
    params = {"controls": controls, "updateFiltersOnChange": True, "useTimeFilter": False, "pinFilters": False}
    attributes = {
        "title": title,
        "description": "",
        "version": 1,
        "visState": compact_json({"title": title, "type": "input_control_vis", "aggs": [], "params": params}),
        "uiStateJSON": "{}",
        "kibanaSavedObjectMeta": {"searchSourceJSON": "{}"},
    }
    return saved_object("visualization", "issuetide-controls", attributes, references)


def _issue_panels() -> list[SavedObject]:
    count = aggregation("1", "count", "metric", customLabel="Issues")
    by_category = by_terms("primary_category", "group", "Category", order_by="_key")
    return [
        _figures_panel(),
        visualization(
            "issuetide-opened",
            "Issuetide: issues opened, by category",
            {
                "type": "histogram",
                "aggs": [count, by_time("created_at"), by_category],
                "params": chart_params("histogram", {"1": "Issues"}, "Issues opened"),
            },
            CLASSIFICATIONS,
            PRESENT,
        ),
        visualization(
            "issuetide-share",
            "Issuetide: share of each category",
            {
                "type": "pie",
                "aggs": [count, by_terms("primary_category", "segment", "Category")],
                "params": {
                    "type": "pie",
                    "addTooltip": True,
                    "addLegend": True,
                    "legendPosition": "bottom",
                    "isDonut": True,
                    "labels": {"show": True, "values": True, "last_level": True, "truncate": 100},
                },
            },
            CLASSIFICATIONS,
            PRESENT,
        ),
        _open_by_category(),
        visualization(
            "issuetide-confidence",
            "Issuetide: average confidence, by category (calibrated where it was measured)",
            {
                "type": "line",
                "aggs": [
                    aggregation("1", "avg", "metric", field="confidence", customLabel="Average confidence"),
                    by_time("created_at"),
                    by_category,
                ],
                "params": chart_params("line", {"1": "Average confidence"}, "Average confidence", stacked=False),
            },
            CLASSIFICATIONS,
            f"_exists_:confidence AND {PRESENT}",
        ),
    ]


def _figures_panel() -> SavedObject:
    figures = [
        {"input": {"query": query, "language": "lucene"}, "label": label}
        for label, query in (
            ("all", "*"),
            ("open now", "state:open"),
            ("confidence below 0.5", "confidence:<0.5"),
            ("abstained", "primary_category:abstained"),
            ("unclassified", "primary_category:unclassified"),
            ("set by a person", "overridden:true"),
        )
    ]
    return visualization(
        "issuetide-figures",
        "Issuetide: in figures",
        {
            "type": "metric",
            "aggs": [
                aggregation("1", "count", "metric", customLabel="issues"),
                aggregation("2", "filters", "group", filters=figures),
            ],
            "params": figures_params(30),
        },
        CLASSIFICATIONS,
        PRESENT,
    )


def _open_by_category() -> SavedObject:
    """Open issues over time: per day the sum over repositories, per bar the mean of its days.

    Dashboards widens intervals over long ranges. A plain sum over a bar of seven days would show seven times the open
    issues, and a maximum those of one repository only; the mean of daily sums is right for bars of any width.
    """
    per_day = by_terms("day", "bucketAgg", "Day", order_by="_key", size=400, identifier="1-bucket")
    metric = aggregation("1-metric", "sum", "metricAgg", field="open")
    return visualization(
        "issuetide-open",
        "Issuetide: open issues, by category",
        {
            "type": "area",
            "aggs": [
                aggregation(
                    "1", "avg_bucket", "metric", customBucket=per_day, customMetric=metric, customLabel="Open issues"
                ),
                by_time("day"),
                by_terms("category", "group", "Category", order_by="_key"),
            ],
            "params": chart_params("area", {"1": "Open issues"}, "Open issues"),
        },
        DAILY,
    )


def _repository_panels() -> list[SavedObject]:
    table = {"perPage": 10, "showPartialRows": False, "showMetricsAtAllLevels": False, "showTotal": False}
    return [
        visualization(
            "issuetide-repositories",
            "Issuetide: issues per repository, by category",
            {
                "type": "horizontal_bar",
                "aggs": [
                    aggregation("1", "count", "metric", customLabel="Issues"),
                    by_terms("repository", "segment", "Repository", size=15, identifier="2"),
                    by_terms("primary_category", "group", "Category", order_by="_key"),
                ],
                "params": chart_params("horizontal_bar", {"1": "Issues"}, "Issues", sideways=True),
            },
            CLASSIFICATIONS,
            PRESENT,
        ),
        visualization(
            "issuetide-repository-table",
            "Issuetide: repositories in figures",
            {
                "type": "table",
                "aggs": [
                    aggregation("1", "count", "metric", customLabel="Issues"),
                    aggregation("3", "avg", "metric", field="confidence", customLabel="Average confidence"),
                    aggregation(
                        "4", "median", "metric", field="hours_to_close", percents=[50], customLabel="Hours to close"
                    ),
                    by_terms("repository", "bucket", "Repository", size=200, identifier="2"),
                ],
                "params": {**table, "totalFunc": "sum", "percentageCol": ""},
            },
            CLASSIFICATIONS,
            PRESENT,
        ),
        saved_search(
            "issuetide-low-confidence",
            "Issuetide: newest issues that need a look (confidence below 0.5, or abstained)",
            CLASSIFICATIONS,
            NEEDS_A_LOOK,
            ("url", "title", "primary_category", "confidence", "calibrated", "rationale"),
            "created_at",
        ),
    ]


def _run_panels() -> list[SavedObject]:
    return [
        markdown("issuetide-runs-header", "Issuetide: about the runs", _RUNS_HEADER),
        visualization(
            "issuetide-freshness",
            "Issuetide: freshness",
            {
                "type": "metric",
                "aggs": [
                    aggregation("1", "max", "metric", field="ended_at", customLabel="last complete run"),
                    aggregation("2", "sum", "metric", field="cost_usd", customLabel="cost in this time range"),
                ],
                "params": figures_params(20),
            },
            RUNS,
            "status:ok",
        ),
        _freshness_table(),
        *_run_charts(),
        saved_search(
            "issuetide-latest-runs",
            "Issuetide: latest runs",
            RUNS,
            "",
            (
                "ended_at",
                "status",
                "command",
                "repositories",
                "items_new",
                "items_changed",
                "items_vanished",
                "texts_asked",
                "documents_written",
                "api_calls",
                "waited_seconds",
                "rate_limit_left",
                "cost_usd",
                "error",
            ),
            "started_at",
        ),
    ]


def _freshness_table() -> SavedObject:
    """Per repository the end of the newest run that read it well, the stalest first, and what reading it took.

    A run that is partial read its lists to the end as well; what it could not use is kept.
    """
    by_repository = by_terms("repository", "bucket", "Repository", size=200, identifier="2")
    by_repository["params"]["order"] = "asc"
    return visualization(
        "issuetide-fresh-repositories",
        "Issuetide: freshness, by repository",
        {
            "type": "table",
            "aggs": [
                aggregation("1", "max", "metric", field="ended_at", customLabel="Last good run"),
                aggregation("3", "sum", "metric", field="api_calls", customLabel="Calls to GitHub"),
                aggregation("4", "sum", "metric", field="waited_seconds", customLabel="Seconds waited"),
                aggregation("5", "min", "metric", field="rate_limit_left", customLabel="Fewest calls left"),
                by_repository,
            ],
            "params": {
                "perPage": 10,
                "showPartialRows": False,
                "showMetricsAtAllLevels": False,
                "showTotal": False,
                "totalFunc": "sum",
                "percentageCol": "",
            },
        },
        RUNS,
        "status:(ok OR partial)",
    )


def _run_charts() -> list[SavedObject]:
    per_interval = by_time("started_at")
    work = {
        "1": ("items_new", "New issues"),
        "3": ("items_changed", "Changed issues"),
        "4": ("texts_asked", "Texts asked"),
    }
    return [
        visualization(
            "issuetide-cost",
            "Issuetide: cost of runs",
            {
                "type": "histogram",
                "aggs": [
                    aggregation("1", "sum", "metric", field="cost_usd", customLabel="US dollars"),
                    per_interval,
                    by_terms("model", "group", "Model", order_by="_key", size=10),
                ],
                "params": chart_params("histogram", {"1": "US dollars"}, "US dollars"),
            },
            RUNS,
        ),
        visualization(
            "issuetide-work",
            "Issuetide: what the runs did",
            {
                "type": "histogram",
                "aggs": [
                    *(
                        aggregation(key, "sum", "metric", field=field, customLabel=label)
                        for key, (field, label) in work.items()
                    ),
                    per_interval,
                ],
                "params": chart_params(
                    "histogram", {key: label for key, (_, label) in work.items()}, "Issues, texts", stacked=False
                ),
            },
            RUNS,
        ),
        visualization(
            "issuetide-run-status",
            "Issuetide: how the runs ended",
            {
                "type": "histogram",
                "aggs": [
                    aggregation("1", "count", "metric", customLabel="Runs"),
                    per_interval,
                    by_terms("status", "group", "Status", order_by="_key"),
                ],
                "params": chart_params("histogram", {"1": "Runs"}, "Runs"),
            },
            RUNS,
        ),
    ]


LAYOUT = (
    ("issuetide-header", 0, 0, 28, 9),
    ("issuetide-controls", 28, 0, 20, 9),
    ("issuetide-figures", 0, 9, 48, 6),
    ("issuetide-opened", 0, 15, 32, 14),
    ("issuetide-share", 32, 15, 16, 14),
    ("issuetide-open", 0, 29, 24, 14),
    ("issuetide-confidence", 24, 29, 24, 14),
    ("issuetide-low-confidence", 0, 43, 48, 16),
    ("issuetide-repositories", 0, 59, 28, 14),
    ("issuetide-repository-table", 28, 59, 20, 14),
    ("issuetide-runs-header", 0, 73, 28, 6),
    ("issuetide-freshness", 28, 73, 20, 6),
    ("issuetide-cost", 0, 79, 16, 12),
    ("issuetide-work", 16, 79, 16, 12),
    ("issuetide-run-status", 32, 79, 16, 12),
    ("issuetide-fresh-repositories", 0, 91, 48, 10),
    ("issuetide-latest-runs", 0, 101, 48, 14),
)
"""Panel, x, y, width, height on the grid of 48 columns."""


def _dashboard(panels: Mapping[str, SavedObject]) -> SavedObject:
    """The dashboard, opened with one task chosen.

    The task is a filter pill that belongs to the control (`controlledBy`): the control shows it as chosen and replaces
    it, instead of adding a second pill that contradicts it. A pill is also easy to edit by hand.
    """
    filter_reference = "kibanaSavedObjectMeta.searchSourceJSON.filter[0].meta.index"
    task_filter = {
        "$state": {"store": "appState"},
        "meta": {
            "alias": None,
            "controlledBy": TASK_CONTROL,
            "disabled": False,
            "indexRefName": filter_reference,
            "key": "task",
            "negate": False,
            "params": {"query": DEFAULT_TASK},
            "type": "phrase",
        },
        "query": {"match_phrase": {"task": DEFAULT_TASK}},
    }
    grid, references = [], [("index-pattern", CLASSIFICATIONS, filter_reference)]
    for number, (identifier, x, y, w, h) in enumerate(LAYOUT):
        index = str(number + 1)
        grid.append(
            {
                "version": "2.19.0",
                "gridData": {"x": x, "y": y, "w": w, "h": h, "i": index},
                "panelIndex": index,
                "embeddableConfig": {},
                "panelRefName": f"panel_{number}",
            }
        )
        references.append((panels[identifier]["type"], identifier, f"panel_{number}"))
    attributes = {
        "title": "Issuetide: trends of issues",
        "description": "Categories of issues over time, what is open, what needs a look, and the runs behind it.",
        "hits": 0,
        "version": 1,
        "timeRestore": True,
        "timeFrom": "now-2y",
        "timeTo": "now",
        "refreshInterval": {"pause": True, "value": 0},
        "optionsJSON": compact_json({"hidePanelTitles": False, "useMargins": True}),
        "panelsJSON": compact_json(grid),
        "kibanaSavedObjectMeta": search_source("", [task_filter], index=False),
    }
    return saved_object("dashboard", "issuetide-trends", attributes, references)


def build_saved_objects() -> list[SavedObject]:
    """Every object of the trend dashboard: index patterns first, the dashboard last."""
    link = {"id": "url", "params": {"type": "a", "urlTemplate": "{{rawValue}}", "labelTemplate": "{{value}}"}}
    plain, percent = {"id": "number", "params": {"pattern": "0"}}, {"id": "percent", "params": {"pattern": "0%"}}
    money = {"id": "number", "params": {"pattern": "$0,0.00"}}
    patterns = [
        index_pattern("classifications", "created_at", {"confidence": percent, "number": plain, "url": link}),
        index_pattern("daily", "day", {}),
        index_pattern("runs", "started_at", {"cost_usd": money, "run_id": plain}),
    ]
    panels = [
        markdown("issuetide-header", "Issuetide: how to read this", _HEADER),
        _controls(),
        *_issue_panels(),
        *_repository_panels(),
        *_run_panels(),
    ]
    return [*patterns, *panels, _dashboard({panel["id"]: panel for panel in panels})]


def write_saved_objects() -> None:
    """Writes the shipped file again."""
    path = resource_folder("dashboards") / "issuetide-trends.ndjson"
    path.write_text("".join(compact_json(item) + "\n" for item in build_saved_objects()), encoding="utf-8")


if __name__ == "__main__":
    write_saved_objects()
