"""What Dashboards draws otherwise than the preview, said in words in the panel."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from etl.dashboards.panels import Panel
from etl.dashboards.search import enabled_parts

_KINDS = {
    "heatmap": "a heatmap",
    "tagcloud": "a cloud of words",
    "gauge": "a gauge",
    "goal": "a gauge with its goal",
}
_TABLE = {
    "showTotal": "adds a row of totals",
    "percentageCol": "adds a column of percentages",
    "showMetricsAtAllLevels": "shows the metrics of every level",
    "showPartialRows": "shows rows that end before the last level",
}
_SHAPES = {"histogram": "bars", "line": "a line", "area": "an area"}


def differences(panel: Panel) -> list[str]:
    """What Dashboards shows and the preview does not, each a sentence without its subject and point."""
    if panel.kind in {"search", "markdown", "input_control_vis"}:
        return []
    params: Mapping[str, Any] = panel.state.get("params", {})
    buckets, metrics = enabled_parts(panel.state)
    found = [f"draws this as {_KINDS[panel.kind]}"] if panel.kind in _KINDS else []
    splits = [str(agg["params"].get("field") or "query") for agg in buckets if agg.get("schema") == "split"]
    found += [f"draws one picture for each {name}" for name in splits]
    if any(agg.get("schema") == "radius" for agg in metrics):
        found.append("shows one of the metrics as the size of dots")
    if any(agg["params"].get("scaleMetricValues") for agg in buckets if agg["type"] == "date_histogram"):
        found.append("scales the values of bars that are not as wide as was asked for")
    rings = sum(agg.get("schema") == "segment" for agg in buckets)
    if panel.kind == "pie" and rings > 1:
        found.append(f"draws {rings} rings, one around the other; here is the outermost")
    if panel.kind == "pie" and len(metrics) > 1:
        found.append("draws a pie for each metric; here is the first")
    if panel.kind == "table":
        found += [words for name, words in _TABLE.items() if params.get(name)]
        found += ["sorts its rows by a column"] if _is_sorted(panel) else []
    return [*found, *_chart_differences(params)]


def shape_differences(panel: Panel, drawn: str, *, in_time: bool, parts: int) -> list[str]:
    """As `differences`, of a chart that the preview draws as 'histogram', 'area' or 'line' with so many parts a bar."""
    shown = [series for series in panel.state.get("params", {}).get("seriesParams", []) if series.get("show", True)]
    found = []
    for series in shown:
        if series.get("type", drawn) != drawn:
            name = series["data"].get("label") or series["data"]["id"]
            found.append(f"draws {name} as {_SHAPES.get(series['type'], series['type'])}")
    if drawn == "histogram" and parts > 1 and any(series.get("mode") == "normal" for series in shown):
        found.append("draws bars side by side")
    if drawn == "histogram" and in_time == (panel.kind == "horizontal_bar"):
        found.append("draws bars from left to right" if in_time else "draws them upright")
    return found


def _chart_differences(params: Mapping[str, Any]) -> Iterator[str]:
    for series in params.get("seriesParams", []):
        if not series.get("show", True):
            yield f"hides {series['data'].get('label') or series['data']['id']}"
    axes = [axis for axis in params.get("valueAxes", []) if axis.get("show", True)]
    if len(axes) > 1:
        yield "has several scales"
    for axis in axes:
        scale = axis.get("scale", {})
        if scale.get("type", "linear") != "linear":
            yield f"has a scale of the kind {scale['type']}"
        if scale.get("mode", "normal") not in {"normal", "percentage"}:
            yield f"stacks areas as a {scale['mode']}"
    if params.get("thresholdLine", {}).get("show"):
        yield f"has a line at {params['thresholdLine'].get('value')}"
    if params.get("orderBucketsBySum"):
        yield "orders bars by their sum"


def _is_sorted(panel: Panel) -> bool:
    """Whether a click on a column's head was saved, as 2.19 and 3.x or as Kibana wrote it."""
    state = json.loads(panel.item["attributes"].get("uiStateJSON") or "{}").get("vis", {})
    return bool(state.get("sortColumn")) or state.get("params", {}).get("sort", {}).get("direction") is not None
