"""A dashboard out of its panels: the grid, the filter pill, the index patterns that every file carries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from etl.dashboards.parts import OURS, Json, controls, index_pattern, saved_object, search_source
from etl.dashboards.saved_objects import SavedObject, compact_json

CLASSIFICATIONS, DAILY, RUNS = "issuetide-classifications", "issuetide-daily", "issuetide-runs"
DEFAULT_TASK = "issue_kind"
TASK_CONTROL, RUN_TASK_CONTROL = "issuetide-task", "issuetide-run-task"
PRESENT = "NOT vanished:true"
"""Leaves out documents of issues that are gone, moved away, or no longer asked about."""
BY_CATEGORY = "level:category"
"""Of the daily counts those per category; the others are per family."""
WHOLE_RUNS, RUNS_BY_TASK = "level:run", "level:task"
"""Of the runs' records those of whole runs, and those of what runs did for one task each."""

_PATTERN_REFERENCE = "kibanaSavedObjectMeta.searchSourceJSON.filter[0].meta.index"


@dataclass(frozen=True, slots=True)
class Outline:
    """One dashboard. places: panel, x, y, width, height on the grid of 48 columns.

    task_control: the control whose choice of a task it opens with; index: whose field `task` that is.
    """

    identifier: str
    title: str
    description: str
    time_from: str
    places: Sequence[tuple[str, int, int, int, int]]
    task_control: str = TASK_CONTROL
    index: str = CLASSIFICATIONS


def dashboard(outline: Outline, panels: Mapping[str, SavedObject]) -> SavedObject:
    """The dashboard, opened with one task chosen.

    The task is a filter pill that belongs to the control (`controlledBy`): the control shows it as chosen and replaces
    it, instead of adding a second pill that contradicts it. A pill is also easy to edit by hand.
    """
    references = [("index-pattern", outline.index, _PATTERN_REFERENCE)]
    grid = []
    for number, (identifier, x, y, w, h) in enumerate(outline.places):
        index = str(number + 1)
        grid.append(
            {
                "version": "2.19.0",
                "gridData": {"x": x, "y": y, "w": w, "h": h, "i": index},
                "panelIndex": index,
                "embeddableConfig": {},
                "panelRefName": f"panel_{number}",
                # '' hides the title: words have a heading of their own.
                "title": "" if identifier.endswith("header") else _short_title(panels[identifier]),
            }
        )
        references.append((panels[identifier]["type"], identifier, f"panel_{number}"))
    attributes = {
        "title": outline.title,
        "description": outline.description,
        "hits": 0,
        "version": 1,
        "timeRestore": True,
        "timeFrom": outline.time_from,
        "timeTo": "now",
        "refreshInterval": {"pause": True, "value": 0},
        "optionsJSON": compact_json({"hidePanelTitles": False, "useMargins": True}),
        "panelsJSON": compact_json(grid),
        "kibanaSavedObjectMeta": search_source("", [_task_pill(outline.task_control)], index=False),
    }
    return saved_object("dashboard", outline.identifier, attributes, references)


def _short_title(item: SavedObject) -> str:
    return str(item["attributes"]["title"]).removeprefix(OURS)


def _task_pill(control: str) -> Json:
    return {
        "$state": {"store": "appState"},
        "meta": {
            "alias": None,
            "controlledBy": control,
            "disabled": False,
            "indexRefName": _PATTERN_REFERENCE,
            "key": "task",
            "negate": False,
            "params": {"query": DEFAULT_TASK},
            "type": "phrase",
        },
        "query": {"match_phrase": {"task": DEFAULT_TASK}},
    }


def index_patterns() -> list[SavedObject]:
    """The three indices, with how their fields are written: links, dollars, percentages."""
    link = {"id": "url", "params": {"type": "a", "urlTemplate": "{{rawValue}}", "labelTemplate": "{{value}}"}}
    plain, percent = {"id": "number", "params": {"pattern": "0"}}, {"id": "percent", "params": {"pattern": "0%"}}
    money, hours = {"id": "number", "params": {"pattern": "$0,0.00"}}, {"id": "number", "params": {"pattern": "0,0"}}
    short = {"id": "truncate", "params": {"fieldLength": 10}}
    return [
        index_pattern(
            "classifications",
            "created_at",
            {
                "confidence": percent,
                "confidence_given": percent,
                "family_hash": short,
                "hours_to_close": hours,
                "number": plain,
                "url": link,
            },
        ),
        index_pattern("daily", "day", {}),
        index_pattern(
            "runs",
            "started_at",
            {
                "cache_hit_rate": percent,
                "cost_audit_usd": money,
                "cost_batch_usd": money,
                "cost_trial_usd": money,
                "cost_usd": money,
                "run_id": plain,
            },
        ),
    ]


def issue_controls() -> SavedObject:
    """Task, repository and category: what the panels on issues are narrowed by."""
    return controls(
        "issuetide-controls",
        "What to show",
        CLASSIFICATIONS,
        (
            (TASK_CONTROL, "task", "Task (one question)", False),
            ("issuetide-repository", "repository", "Repository", True),
            ("issuetide-category", "primary_category", "Category", True),
        ),
    )


def run_controls() -> SavedObject:
    """Task, repository and classifier: what runs are narrowed by. The other indices have these fields as well."""
    return controls(
        "issuetide-run-controls",
        "Which runs",
        RUNS,
        (
            (RUN_TASK_CONTROL, "task", "Task (one question)", False),
            ("issuetide-run-repository", "repository", "Repository", True),
            ("issuetide-run-classifier", "classifier", "Classifier", True),
        ),
    )
