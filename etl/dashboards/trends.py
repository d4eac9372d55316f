"""The dashboard Trends: which kinds of issues come, stay open, and need a look."""

from etl.dashboards.colours import category_colours
from etl.dashboards.layout import BY_CATEGORY, CLASSIFICATIONS, DAILY, PRESENT, Outline
from etl.dashboards.parts import (
    MOST_CATEGORIES,
    Json,
    aggregation,
    by_category,
    by_queries,
    by_terms,
    by_time,
    chart_state,
    count,
    figures_params,
    markdown,
    metrics,
    ring_params,
    saved_search,
    table_params,
    visualization,
)
from etl.dashboards.saved_objects import SavedObject

NEEDS_A_LOOK = f"(confidence:<0.5 OR answer:(abstained OR refused)) AND NOT reviewed:true AND {PRESENT}"

_HEADER = """### What comes in, and what stays open
Each issue is asked one question, the **task**, and sorted into a category. Choose the task on the right (it opens with
`issue_kind`), then a repository or a category. A click on a legend entry or a bar filters by it; the pills at the top
take it back. Next: [Quality](#/view/issuetide-quality), [Cost and health](#/view/issuetide-cost).

*abstained*: the classifier could not tell. *unclassified*: not asked yet. *confidence*: how sure the classifier says it
is; calibrated (how often such answers proved right) where that was measured, as the column `calibrated` says.

**"No results found"?** Widen the time range (it goes by the day an issue was opened) or choose another task. Nothing at
all: `issuetide run` fills this, `issuetide status` says what waits, `issuetide dashboards check` names empty panels."""

OUTLINE = Outline(
    "issuetide-trends",
    "Issuetide: trends of issues",
    "Categories of issues over time, what stays open, new problems, and what needs a look.",
    "now-2y",
    (
        ("issuetide-header", 0, 0, 28, 10),
        ("issuetide-controls", 28, 0, 20, 10),
        ("issuetide-figures", 0, 10, 48, 6),
        ("issuetide-opened", 0, 16, 32, 14),
        ("issuetide-share", 32, 16, 16, 14),
        ("issuetide-open", 0, 30, 24, 14),
        ("issuetide-flow", 24, 30, 24, 14),
        ("issuetide-new-families", 0, 44, 16, 14),
        ("issuetide-families", 16, 44, 32, 14),
        ("issuetide-time-to-close", 0, 58, 24, 14),
        ("issuetide-confidence", 24, 58, 24, 14),
        ("issuetide-repositories", 0, 72, 24, 14),
        ("issuetide-repository-table", 24, 72, 24, 14),
        ("issuetide-low-confidence", 0, 86, 48, 16),
    ),
)


def panels() -> list[SavedObject]:
    """The panels but for the controls, which dashboards share."""
    return [
        markdown("issuetide-header", "How to read this", _HEADER),
        _figures(),
        *_opened(),
        *_open(),
        *_families(),
        *_answers(),
        *_repositories(),
        saved_search(
            "issuetide-low-confidence",
            "Newest issues that need a look (confidence below 50 % or abstained, seen by no person)",
            CLASSIFICATIONS,
            NEEDS_A_LOOK,
            ("url", "title", "primary_category", "confidence", "calibrated", "rationale"),
            "created_at",
        ),
    ]


def _figures() -> SavedObject:
    queries = {
        "all": "*",
        "open now": "state:open",
        "confidence below 50 %": "confidence:<0.5",
        "abstained": "primary_category:abstained",
        "unclassified": "primary_category:unclassified",
        "set by a person": "overridden:true",
    }
    state = {"type": "metric", "aggs": [count("issues"), by_queries(queries, "group", identifier="2")]}
    return visualization(
        "issuetide-figures", "Issues in figures", {**state, "params": figures_params(30)}, CLASSIFICATIONS, PRESENT
    )


def _opened() -> list[SavedObject]:
    return [
        visualization(
            "issuetide-opened",
            "Issues opened, by category",
            chart_state("histogram", [count()], [by_time("created_at"), by_category()], "Issues opened"),
            CLASSIFICATIONS,
            PRESENT,
            colours=category_colours(),
        ),
        visualization(
            "issuetide-share",
            "Share of each category",
            {
                "type": "pie",
                "aggs": [count(), by_terms("primary_category", "segment", "Category", size=MOST_CATEGORIES)],
                "params": ring_params(),
            },
            CLASSIFICATIONS,
            PRESENT,
            colours=category_colours(),
        ),
    ]


def _open() -> list[SavedObject]:
    """Open issues over time: per day the sum over repositories, per bar the mean of its days.

    Dashboards widens intervals over long ranges. A plain sum over a bar of seven days would show seven times the open
    issues, and a maximum those of one repository only; the mean of daily sums is right for bars of any width.
    """
    per_day = by_terms("day", "bucketAgg", "Day", order_by="_key", size=400, identifier="1-bucket")
    metric = aggregation("1-metric", "sum", "metricAgg", field="open")
    mean = aggregation(
        "1", "avg_bucket", "metric", customBucket=per_day, customMetric=metric, customLabel="Open issues"
    )
    flow = {"1": ("opened", "Opened"), "3": ("closed", "Closed")}
    return [
        visualization(
            "issuetide-open",
            "Open issues, by category",
            chart_state(
                "area",
                [mean],
                [by_time("day"), by_category("category")],
                "Open issues",
            ),
            DAILY,
            BY_CATEGORY,
            colours=category_colours(),
        ),
        visualization(
            "issuetide-flow",
            "Opened and closed",
            chart_state("line", metrics("sum", flow), [by_time("day")], "Issues", stacked=False),
            DAILY,
            BY_CATEGORY,
            colours={"Opened": "#d55e00", "Closed": "#009e73"},
        ),
    ]


def _families() -> list[SavedObject]:
    """Families are issues of one problem; a family is new where its first issue in a repository was opened."""
    return [
        visualization(
            "issuetide-new-families",
            "New problems (families of issues first seen then), by category",
            chart_state(
                "histogram",
                metrics("sum", {"1": ("new_families", "New families")}),
                [by_time("day"), by_category("category")],
                "New families",
            ),
            DAILY,
            BY_CATEGORY,
            colours=category_colours(),
        ),
        visualization(
            "issuetide-families",
            "Problems with most issues (families)",
            {
                "type": "table",
                "aggs": [
                    count(),
                    _newest("3", "title.keyword", "Newest title"),
                    _newest("6", "url", "Newest issue"),
                    aggregation("4", "min", "metric", field="created_at", customLabel="First"),
                    aggregation("5", "max", "metric", field="created_at", customLabel="Last"),
                    by_terms("family_hash", "bucket", "Family", identifier="2"),
                ],
                "params": table_params(),
            },
            CLASSIFICATIONS,
            PRESENT,
        ),
    ]


def _newest(identifier: str, field: str, label: str) -> Json:
    """What `field` is in the issue of a part that was opened last."""
    return aggregation(
        identifier,
        "top_hits",
        "metric",
        field=field,
        aggregate="concat",
        size=1,
        sortField="created_at",
        sortOrder="desc",
        customLabel=label,
    )


def _answers() -> list[SavedObject]:
    hours = aggregation("1", "median", "metric", field="hours_to_close", percents=[50], customLabel="Median hours")
    return [
        visualization(
            "issuetide-time-to-close",
            "Median hours to close, by when it was opened and category",
            chart_state("line", [hours], [by_time("created_at"), by_category()], "Hours open", stacked=False),
            CLASSIFICATIONS,
            f"_exists_:hours_to_close AND {PRESENT}",
            colours=category_colours(),
        ),
        visualization(
            "issuetide-confidence",
            "Average confidence, by category (calibrated where that was measured)",
            chart_state(
                "line",
                [aggregation("1", "avg", "metric", field="confidence", customLabel="Average confidence")],
                [by_time("created_at"), by_category()],
                "Average confidence",
                stacked=False,
            ),
            CLASSIFICATIONS,
            f"_exists_:confidence AND {PRESENT}",
            colours=category_colours(),
        ),
    ]


def _repositories() -> list[SavedObject]:
    return [
        visualization(
            "issuetide-repositories",
            "Issues per repository, by category",
            chart_state(
                "horizontal_bar",
                [count()],
                [
                    by_terms("repository", "segment", "Repository", size=15, identifier="2"),
                    by_category(),
                ],
                "Issues",
            ),
            CLASSIFICATIONS,
            PRESENT,
            colours=category_colours(),
        ),
        visualization(
            "issuetide-repository-table",
            "Repositories in figures",
            {
                "type": "table",
                "aggs": [
                    count(),
                    aggregation("3", "avg", "metric", field="confidence", customLabel="Average confidence"),
                    aggregation(
                        "4", "median", "metric", field="hours_to_close", percents=[50], customLabel="Hours to close"
                    ),
                    aggregation("5", "cardinality", "metric", field="family_hash", customLabel="Problems"),
                    by_terms("repository", "bucket", "Repository", size=200, identifier="2"),
                ],
                "params": table_params(),
            },
            CLASSIFICATIONS,
            PRESENT,
        ),
    ]
