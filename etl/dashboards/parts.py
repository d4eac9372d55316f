"""The parts that a dashboard is put together from, as Dashboards stores them: objects, aggregations, parameters.

Only what 2.19 knows is used, so that one file serves 2.19 and 3.x.
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

Json = dict[str, Any]

OURS = "Issuetide: "
"""How the titles of ours begin in the lists of Dashboards; on a dashboard they are without."""
MOST_CATEGORIES = 100
"""How many categories a panel shows: of more the smallest are left out, and shares are those of the others."""
_INDEX_REFERENCE = "kibanaSavedObjectMeta.searchSourceJSON.index"


def saved_object(
    kind: str, identifier: str, attributes: Json, references: Sequence[tuple[str, str, str]]
) -> SavedObject:
    """A saved object; `references` are (type, id, name) each."""
    return {
        "type": kind,
        "id": identifier,
        "attributes": attributes,
        "references": [{"type": to, "id": target, "name": name} for to, target, name in references],
        "migrationVersion": {kind: MIGRATION_VERSIONS[kind]},
    }


def search_source(query: str, filters: Sequence[Json] = (), *, index: bool = True) -> Json:
    """What an object searches: a Lucene query and filters, over its index reference or over none."""
    source: Json = {"query": {"query": query, "language": "lucene"}, "filter": list(filters)}
    if index:
        source["indexRefName"] = _INDEX_REFERENCE
    return {"searchSourceJSON": compact_json(source)}


def index_pattern(index: str, time_field: str, formats: Mapping[str, Json]) -> SavedObject:
    """The index pattern of one of our indices, its fields from the mapping in `schemas/opensearch/`."""
    attributes = {
        "title": f"issuetide-{index}",
        "timeFieldName": time_field,
        "fields": compact_json(index_pattern_fields(load_mapping(index))),
        "fieldFormatMap": compact_json(formats),
    }
    return saved_object("index-pattern", f"issuetide-{index}", attributes, ())


def visualization(
    identifier: str,
    title: str,
    state: Json,
    index: str,
    query: str = "",
    *,
    colours: Mapping[str, str] | None = None,
) -> SavedObject:
    """A panel over an index pattern: `state` is its type, aggregations and parameters; colours by a part's name."""
    attributes = {
        "title": OURS + title,
        "description": "",
        "version": 1,
        "visState": compact_json({"title": OURS + title, **state}),
        "uiStateJSON": compact_json({"vis": {"colors": dict(colours)}} if colours else {}),
        "kibanaSavedObjectMeta": search_source(query),
    }
    return saved_object("visualization", identifier, attributes, [("index-pattern", index, _INDEX_REFERENCE)])


def markdown(identifier: str, title: str, words: str) -> SavedObject:
    """A panel of words."""
    params = {"markdown": words, "fontSize": 12, "openLinksInNewTab": False}
    attributes = {
        "title": OURS + title,
        "description": "",
        "version": 1,
        "visState": compact_json({"title": OURS + title, "type": "markdown", "aggs": [], "params": params}),
        "uiStateJSON": "{}",
        "kibanaSavedObjectMeta": {"searchSourceJSON": "{}"},
    }
    return saved_object("visualization", identifier, attributes, ())


def saved_search(identifier: str, title: str, index: str, query: str, columns: Sequence[str], sort: str) -> SavedObject:
    """A table of documents, newest by `sort` first."""
    attributes = {
        "title": OURS + title,
        "description": "",
        "hits": 0,
        "columns": list(columns),
        "sort": [[sort, "desc"]],
        "version": 1,
        "kibanaSavedObjectMeta": search_source(query),
    }
    return saved_object("search", identifier, attributes, [("index-pattern", index, _INDEX_REFERENCE)])


def aggregation(identifier: str, kind: str, schema: str, **params: Any) -> Json:  # noqa: ANN401  (an aggregation's own parameters)
    """One aggregation of a panel: a metric, or a way to part the documents."""
    return {"id": identifier, "enabled": True, "type": kind, "schema": schema, "params": params}


def count(label: str = "Issues") -> Json:
    """How many documents there are."""
    return aggregation("1", "count", "metric", customLabel=label)


def by_time(field: str, interval: str = "auto", *, schema: str = "segment", label: str = "") -> Json:
    """Bars along the time axis: 'd', 'w', 'M', or as wide as Dashboards finds fit."""
    named = {"customLabel": label} if label else {}
    return aggregation(
        "2",
        "date_histogram",
        schema,
        field=field,
        useNormalizedOpenSearchInterval=True,
        scaleMetricValues=False,
        interval=interval,
        drop_partials=False,
        min_doc_count=1,
        extended_bounds={},
        **named,
    )


def by_terms(
    field: str,
    schema: str,
    label: str,
    *,
    order_by: str = "1",
    size: int = 20,
    identifier: str = "3",
    ascending: bool | None = None,
    missing: str | None = None,
) -> Json:
    """One part per value of `field`, the `size` largest by metric `order_by`, or by name (`_key`).

    missing: the name of one more part, for documents without the field.
    """
    upwards = order_by == "_key" if ascending is None else ascending
    return aggregation(
        identifier,
        "terms",
        schema,
        field=field,
        orderBy=order_by,
        order="asc" if upwards else "desc",
        size=size,
        otherBucket=False,
        otherBucketLabel="Other",
        missingBucket=missing is not None,
        missingBucketLabel=missing or "Missing",
        customLabel=label,
    )


def by_category(field: str = "primary_category") -> Json:
    """One part per category, by name, so that each keeps its place from bar to bar."""
    return by_terms(field, "group", "Category", size=MOST_CATEGORIES, order_by="_key")


def by_queries(queries: Mapping[str, str], schema: str, *, identifier: str = "3") -> Json:
    """One part per Lucene query, by its name."""
    filters = [{"input": {"query": query, "language": "lucene"}, "label": label} for label, query in queries.items()]
    return aggregation(identifier, "filters", schema, filters=filters)


def metrics(kind: str, fields: Mapping[str, tuple[str, str]], schema: str = "metric") -> list[Json]:
    """One metric of the same kind per entry: id -> (field, label)."""
    return [
        aggregation(identifier, kind, schema, field=field, customLabel=label)
        for identifier, (field, label) in fields.items()
    ]


def chart_params(
    kind: str,
    labels: Mapping[str, str],
    axis_title: str,
    *,
    stacked: bool = True,
    shares: bool = False,
) -> Json:
    """Parameters of an area, line, histogram or horizontal bar chart; `labels` is metric id -> label.

    shares: every bar is as high as the others, its parts are shares of it.
    """
    sideways = kind == "horizontal_bar"
    shape = "histogram" if sideways else kind
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
                "scale": {"type": "linear", "mode": "percentage" if shares else "normal"},
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
            for identifier, label in labels.items()
        ],
        "addTooltip": True,
        "addLegend": True,
        "legendPosition": "bottom" if not sideways else "right",
        "times": [],
        "addTimeMarker": False,
        "labels": {"show": False},
        "thresholdLine": {"show": False, "value": 10, "width": 1, "style": "full", "color": "#E7664C"},
    }


def chart_state(kind: str, measures: Sequence[Json], buckets: Sequence[Json], axis_title: str, **style: Any) -> Json:  # noqa: ANN401  (as `chart_params` takes it)
    """What a chart is: its metrics, each under the name that it has there, over its buckets.

    style: as `chart_params` takes it.
    """
    labels = {measure["id"]: measure["params"]["customLabel"] for measure in measures}
    return {
        "type": kind,
        "aggs": [*measures, *buckets],
        "params": chart_params(kind, labels, axis_title, **style),
    }


def figures_params(font_size: int) -> Json:
    """Parameters of a panel of plain figures."""
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


def ring_params() -> Json:
    """Parameters of a ring of shares."""
    return {
        "type": "pie",
        "addTooltip": True,
        "addLegend": True,
        "legendPosition": "bottom",
        "isDonut": True,
        "labels": {"show": True, "values": True, "last_level": True, "truncate": 100},
    }


def table_params(rows: int = 10) -> Json:
    """Parameters of a table that shows `rows` rows at once."""
    return {
        "perPage": rows,
        "showPartialRows": False,
        "showMetricsAtAllLevels": False,
        "showTotal": False,
        "totalFunc": "sum",
        "percentageCol": "",
    }


def controls(identifier: str, title: str, index: str, entries: Sequence[tuple[str, str, str, bool]]) -> SavedObject:
    """Lists to choose from; an entry is (id, field, label, several at once)."""
    listed, references = [], []
    for number, (control, field, label, several) in enumerate(entries):
        name = f"control_{number}_index_pattern"
        references.append(("index-pattern", index, name))
        options = {"type": "terms", "multiselect": several, "dynamicOptions": True, "size": 100, "order": "desc"}
        listed.append(
            {
                "id": control,
                "fieldName": field,
                "parent": "",
                "label": label,
                "type": "list",
                "options": options,
                "indexPatternRefName": name,
            }
        )
    params = {"controls": listed, "updateFiltersOnChange": True, "useTimeFilter": False, "pinFilters": False}
    attributes = {
        "title": OURS + title,
        "description": "",
        "version": 1,
        "visState": compact_json({"title": OURS + title, "type": "input_control_vis", "aggs": [], "params": params}),
        "uiStateJSON": "{}",
        "kibanaSavedObjectMeta": {"searchSourceJSON": "{}"},
    }
    return saved_object("visualization", identifier, attributes, references)
