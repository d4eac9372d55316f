"""Writes `dashboards/*.ndjson`, a file per dashboard: `python -m etl.dashboards.build`.

The panels are native visualizations only (no Vega, no TSVB, no plugin) and use nothing that Dashboards 2.19 does not
know, so that one file serves 2.19 and 3.x. A test compares the shipped files with what this module builds. Whoever
edits in Dashboards instead takes `issuetide dashboards export`, which writes the same form.
"""

from etl.dashboards import cost, quality, trends
from etl.dashboards.layout import dashboard, index_patterns, issue_controls, run_controls
from etl.dashboards.normal_form import file_text, normalize
from etl.dashboards.saved_objects import SavedObject
from etl.resources import resource_folder


def build_saved_objects() -> dict[str, list[SavedObject]]:
    """File's name without its ending -> its objects: index patterns first, the dashboard last."""
    files = {}
    for outline, made, chooser in (
        (trends.OUTLINE, trends.panels(), issue_controls()),
        (quality.OUTLINE, quality.panels(), issue_controls()),
        (cost.OUTLINE, cost.panels(), run_controls()),
    ):
        panels = {item["id"]: item for item in (chooser, *made)}
        objects = [*panels.values(), dashboard(outline, panels)]
        # Only what it refers to, as Dashboards exports it.
        asked = {reference["id"] for item in objects for reference in item["references"]}
        patterns = [item for item in index_patterns() if item["id"] in asked]
        files[outline.identifier] = normalize([*patterns, *objects])
    return files


def write_saved_objects() -> None:
    """Writes the shipped files again."""
    for name, objects in build_saved_objects().items():
        path = resource_folder("dashboards") / f"{name}.ndjson"
        path.write_text(file_text(objects), encoding="utf-8")


if __name__ == "__main__":
    write_saved_objects()
