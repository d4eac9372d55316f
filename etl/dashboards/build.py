"""Writes `dashboards/issuetide-trends.ndjson`: `python -m etl.dashboards.build`.

The panels are native visualizations only (no Vega, no TSVB, no plugin) and use nothing that Dashboards 2.19 does not
know, so that one file serves 2.19 and 3.x. A test compares the shipped file with what this module builds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from etl.dashboards.saved_objects import (
    MIGRATION_VERSIONS,
    SavedObject,
    compact_json,
    index_pattern_fields,
    load_mapping,
)
from etl.resources import resource_folder

Json = dict[str, Any]

CLASSIFICATIONS, DAILY, RUNS = "issuetide-classifications", "issuetide-daily", "issuetide-runs"
DEFAULT_TASK = "issue_kind"
TASK_CONTROL = "issuetide-task"
PRESENT = "NOT vanished:true"
"""Leaves out documents of issues that are gone, moved away, or no longer asked about."""

NEEDS_A_LOOK = f"(confidence:<0.5 OR answer:(abstained OR refused)) AND {PRESENT}"
_INDEX_REFERENCE = "kibanaSavedObjectMeta.searchSourceJSON.index"

_HEADER = """### Issuetide: trends of issues
Each issue is asked one question, the **task**, and sorted into a category. Choose the task on the right (it opens with
`issue_kind`), then a repository or a category if you like. Click a legend entry or a bar to filter by it; the pills at
the top take it back.

*abstained*: the classifier could not tell. *unclassified*: not asked yet.

**"No results found"?** Widen the time range (it goes by the day an issue was opened), choose another task, or ask the
command line: `issuetide status` shows what waits to be exported."""

_RUNS_HEADER = """### The runs behind it
What was read, asked and paid, and how fresh the rows above are. Costs are US dollars by the price table of Issuetide.
A run has no category: a category filter empties this part."""


def _object(kind: str, identifier: str, attributes: Json, references: Sequence[tuple[str, str, str]]) -> SavedObject:
    return {
        "type": kind,
        "id": identifier,
        "attributes": attributes,
        "references": [{"type": to, "id": target, "name": name} for to, target, name in references],
        "migrationVersion": {kind: MIGRATION_VERSIONS[kind]},
    }


def _source(query: str, filters: Sequence[Json] = (), *, index: bool = True) -> Json:
    source: Json = {"query": {"query": query, "language": "lucene"}, "filter": list(filters)}
    if index:
        source["indexRefName"] = _INDEX_REFERENCE
    return {"searchSourceJSON": compact_json(source)}


def _pattern(index: str, time_field: str, formats: Mapping[str, Json]) -> SavedObject:
    attributes = {
        "title": f"issuetide-{index}",
        "timeFieldName": time_field,
        "fields": compact_json(index_pattern_fields(load_mapping(index))),
        "fieldFormatMap": compact_json(formats),
    }
    return _object("index-pattern", f"issuetide-{index}", attributes, ())


def _visualization(identifier: str, title: str, state: Json, index: str, query: str = "") -> SavedObject:
    attributes = {
        "title": title,
        "description": "",
        "version": 1,
        "visState": compact_json({"title": title, **state}),
        "uiStateJSON": "{}",
        "kibanaSavedObjectMeta": _source(query),
    }
    return _object("visualization", identifier, attributes, [("index-pattern", index, _INDEX_REFERENCE)])


def _markdown(identifier: str, title: str, words: str) -> SavedObject:
    params = {"markdown": words, "fontSize": 12, "openLinksInNewTab": False}
    attributes = {
        "title": title,
        "description": "",
        "version": 1,
        "visState": compact_json({"title": title, "type": "markdown", "aggs": [], "params": params}),
        "uiStateJSON": "{}",
        "kibanaSavedObjectMeta": {"searchSourceJSON": "{}"},
    }
    return _object("visualization", identifier, attributes, ())


def _saved_search(
    identifier: str, title: str, index: str, query: str, columns: Sequence[str], sort: str
) -> SavedObject:
    attributes = {
        "title": title,
        "description": "",
        "hits": 0,
        "columns": list(columns),
        "sort": [[sort, "desc"]],
        "version": 1,
        "kibanaSavedObjectMeta": _source(query),
    }
    return _object("search", identifier, attributes, [("index-pattern", index, _INDEX_REFERENCE)])


def _agg(identifier: str, kind: str, schema: str, **params: Any) -> Json:  # noqa: ANN401  (an aggregation's own parameters)
    return {"id": identifier, "enabled": True, "type": kind, "schema": schema, "params": params}


def _by_time(field: str) -> Json:
    return _agg(
        "2",
        "date_histogram",
        "segment",
        field=field,
        useNormalizedOpenSearchInterval=True,
        scaleMetricValues=False,
        interval="auto",
        drop_partials=False,
        min_doc_count=1,
        extended_bounds={},
    )


def _terms(field: str, schema: str, label: str, *, order_by: str = "1", size: int = 20, identifier: str = "3") -> Json:
    return _agg(
        identifier,
        "terms",
        schema,
        field=field,
        orderBy=order_by,
        order="asc" if order_by == "_key" else "desc",
        size=size,
        otherBucket=False,
        otherBucketLabel="Other",
        missingBucket=False,
        missingBucketLabel="Missing",
        customLabel=label,
    )


def _chart(
    kind: str, metrics: Mapping[str, str], axis_title: str, *, stacked: bool = True, sideways: bool = False
) -> Json:
    """Parameters of an area, line, histogram or horizontal bar chart; `metrics` is aggregation id -> label."""
    shape = "histogram" if kind == "horizontal_bar" else kind
    return {
        "type": shape,
        "grid": {"categoryLines": False, "valueAxis": "ValueAxis-1"},
        "categoryAxes": [
            {
                "id": "CategoryAxis-1",
                "type": "category",
                "position": "left" if sideways else "bottom",
                "show": True,
                "style": {},
                "scale": {"type": "linear"},
                "labels": {"show": True, "rotate": 0, "filter": not sideways, "truncate": 200 if sideways else 100},
                "title": {},
            }
        ],
        "valueAxes": [
            {
                "id": "ValueAxis-1",
                "name": "BottomAxis-1" if sideways else "LeftAxis-1",
                "type": "value",
                "position": "bottom" if sideways else "left",
                "show": True,
                "style": {},
                "scale": {"type": "linear", "mode": "normal"},
                "labels": {"show": True, "rotate": 0, "filter": True, "truncate": 100},
                "title": {"text": axis_title},
            }
        ],
        "seriesParams": [
            {
                "show": True,
                "type": shape,
                "mode": "stacked" if stacked else "normal",
                "data": {"id": identifier, "label": label},
                "valueAxis": "ValueAxis-1",
                "drawLinesBetweenPoints": True,
                "showCircles": True,
                "lineWidth": 2,
                "interpolate": "linear",
            }
            for identifier, label in metrics.items()
        ],
        "addTooltip": True,
        "addLegend": True,
        "legendPosition": "bottom" if not sideways else "right",
        "times": [],
        "addTimeMarker": False,
        "labels": {"show": False},
        "thresholdLine": {"show": False, "value": 10, "width": 1, "style": "full", "color": "#E7664C"},
    }


def _figures(font_size: int) -> Json:
    return {
        "addTooltip": True,
        "addLegend": False,
        "type": "metric",
        "metric": {
            "percentageMode": False,
            "useRanges": False,
            "colorSchema": "Green to Red",
            "metricColorMode": "None",
            "colorsRange": [{"from": 0, "to": 10000}],
            "labels": {"show": True},
            "invertColors": False,
            "style": {"bgFill": "#000", "bgColor": False, "labelColor": False, "subText": "", "fontSize": font_size},
        },
    }


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
    return _object("visualization", "issuetide-controls", attributes, references)


def _issue_panels() -> list[SavedObject]:
    count = _agg("1", "count", "metric", customLabel="Issues")
    by_category = _terms("primary_category", "group", "Category", order_by="_key")
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
    return [
        _visualization(
            "issuetide-figures",
            "Issuetide: in figures",
            {
                "type": "metric",
                "aggs": [
                    _agg("1", "count", "metric", customLabel="issues"),
                    _agg("2", "filters", "group", filters=figures),
                ],
                "params": _figures(30),
            },
            CLASSIFICATIONS,
            PRESENT,
        ),
        _visualization(
            "issuetide-opened",
            "Issuetide: issues opened, by category",
            {
                "type": "histogram",
                "aggs": [count, _by_time("created_at"), by_category],
                "params": _chart("histogram", {"1": "Issues"}, "Issues opened"),
            },
            CLASSIFICATIONS,
            PRESENT,
        ),
        _visualization(
            "issuetide-share",
            "Issuetide: share of each category",
            {
                "type": "pie",
                "aggs": [count, _terms("primary_category", "segment", "Category")],
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
        _visualization(
            "issuetide-confidence",
            "Issuetide: average confidence, by category",
            {
                "type": "line",
                "aggs": [
                    _agg("1", "avg", "metric", field="confidence", customLabel="Average confidence"),
                    _by_time("created_at"),
                    by_category,
                ],
                "params": _chart("line", {"1": "Average confidence"}, "Average confidence", stacked=False),
            },
            CLASSIFICATIONS,
            f"_exists_:confidence AND {PRESENT}",
        ),
    ]


def _open_by_category() -> SavedObject:
    """Open issues over time: per day the sum over repositories, per bar the mean of its days.

    Dashboards widens intervals over long ranges. A plain sum over a bar of seven days would show seven times the open
    issues, and a maximum those of one repository only; the mean of daily sums is right for bars of any width.
    """
    per_day = _terms("day", "bucketAgg", "Day", order_by="_key", size=400, identifier="1-bucket")
    metric = _agg("1-metric", "sum", "metricAgg", field="open")
    return _visualization(
        "issuetide-open",
        "Issuetide: open issues, by category",
        {
            "type": "area",
            "aggs": [
                _agg("1", "avg_bucket", "metric", customBucket=per_day, customMetric=metric, customLabel="Open issues"),
                _by_time("day"),
                _terms("category", "group", "Category", order_by="_key"),
            ],
            "params": _chart("area", {"1": "Open issues"}, "Open issues"),
        },
        DAILY,
    )


def _repository_panels() -> list[SavedObject]:
    table = {"perPage": 10, "showPartialRows": False, "showMetricsAtAllLevels": False, "showTotal": False}
    return [
        _visualization(
            "issuetide-repositories",
            "Issuetide: issues per repository, by category",
            {
                "type": "horizontal_bar",
                "aggs": [
                    _agg("1", "count", "metric", customLabel="Issues"),
                    _terms("repository", "segment", "Repository", size=15, identifier="2"),
                    _terms("primary_category", "group", "Category", order_by="_key"),
                ],
                "params": _chart("horizontal_bar", {"1": "Issues"}, "Issues", sideways=True),
            },
            CLASSIFICATIONS,
            PRESENT,
        ),
        _visualization(
            "issuetide-repository-table",
            "Issuetide: repositories in figures",
            {
                "type": "table",
                "aggs": [
                    _agg("1", "count", "metric", customLabel="Issues"),
                    _agg("3", "avg", "metric", field="confidence", customLabel="Average confidence"),
                    _agg("4", "median", "metric", field="hours_to_close", percents=[50], customLabel="Hours to close"),
                    _terms("repository", "bucket", "Repository", size=200, identifier="2"),
                ],
                "params": {**table, "totalFunc": "sum", "percentageCol": ""},
            },
            CLASSIFICATIONS,
            PRESENT,
        ),
        _saved_search(
            "issuetide-low-confidence",
            "Issuetide: newest issues that need a look (confidence below 0.5, or abstained)",
            CLASSIFICATIONS,
            NEEDS_A_LOOK,
            ("url", "title", "primary_category", "confidence", "rationale"),
            "created_at",
        ),
    ]


def _run_panels() -> list[SavedObject]:
    per_interval = _by_time("started_at")
    work = {
        "1": ("items_new", "New issues"),
        "3": ("items_changed", "Changed issues"),
        "4": ("texts_asked", "Texts asked"),
    }
    return [
        _markdown("issuetide-runs-header", "Issuetide: about the runs", _RUNS_HEADER),
        _visualization(
            "issuetide-freshness",
            "Issuetide: freshness",
            {
                "type": "metric",
                "aggs": [
                    _agg("1", "max", "metric", field="ended_at", customLabel="last complete run"),
                    _agg("2", "sum", "metric", field="cost_usd", customLabel="cost in this time range"),
                ],
                "params": _figures(20),
            },
            RUNS,
            "status:ok",
        ),
        _visualization(
            "issuetide-cost",
            "Issuetide: cost of runs",
            {
                "type": "histogram",
                "aggs": [
                    _agg("1", "sum", "metric", field="cost_usd", customLabel="US dollars"),
                    per_interval,
                    _terms("model", "group", "Model", order_by="_key", size=10),
                ],
                "params": _chart("histogram", {"1": "US dollars"}, "US dollars"),
            },
            RUNS,
        ),
        _visualization(
            "issuetide-work",
            "Issuetide: what the runs did",
            {
                "type": "histogram",
                "aggs": [
                    *(
                        _agg(key, "sum", "metric", field=field, customLabel=label)
                        for key, (field, label) in work.items()
                    ),
                    per_interval,
                ],
                "params": _chart(
                    "histogram", {key: label for key, (_, label) in work.items()}, "Issues, texts", stacked=False
                ),
            },
            RUNS,
        ),
        _visualization(
            "issuetide-run-status",
            "Issuetide: how the runs ended",
            {
                "type": "histogram",
                "aggs": [
                    _agg("1", "count", "metric", customLabel="Runs"),
                    per_interval,
                    _terms("status", "group", "Status", order_by="_key"),
                ],
                "params": _chart("histogram", {"1": "Runs"}, "Runs"),
            },
            RUNS,
        ),
        _saved_search(
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
                "texts_asked",
                "documents_written",
                "cost_usd",
                "error",
            ),
            "started_at",
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
    ("issuetide-latest-runs", 0, 91, 48, 14),
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
        "kibanaSavedObjectMeta": _source("", [task_filter], index=False),
    }
    return _object("dashboard", "issuetide-trends", attributes, references)


def build_saved_objects() -> list[SavedObject]:
    """Every object of the trend dashboard: index patterns first, the dashboard last."""
    link = {"id": "url", "params": {"type": "a", "urlTemplate": "{{rawValue}}", "labelTemplate": "{{value}}"}}
    plain, percent = {"id": "number", "params": {"pattern": "0"}}, {"id": "percent", "params": {"pattern": "0%"}}
    money = {"id": "number", "params": {"pattern": "$0,0.00"}}
    patterns = [
        _pattern("classifications", "created_at", {"confidence": percent, "number": plain, "url": link}),
        _pattern("daily", "day", {}),
        _pattern("runs", "started_at", {"cost_usd": money, "run_id": plain}),
    ]
    panels = [
        _markdown("issuetide-header", "Issuetide: how to read this", _HEADER),
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
