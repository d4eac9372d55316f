"""The colours of categories and statuses, the same in every panel, in Dashboards and in the HTML report."""

from etl.tasks import ABSTAINED, UNCLASSIFIED, load_tasks

PALETTE = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#4b3f9e",
    "#999933",
    "#882255",
    "#44aa99",
)
"""The report's colours `c0` to `c9` on a light page."""
GREY, LIGHT_GREY = "#8b929c", "#cdd3da"
"""The report's `ca` and `cu`: could not be told; not asked yet."""

STATUSES = {
    "ok": "#009e73",
    "partial": "#e69f00",
    "stopped_budget": "#cc79a7",
    "stopped_rate_limit": "#56b4e9",
    "locked": LIGHT_GREY,
    "interrupted": "#999933",
    "failed": "#d55e00",
}
ANSWERS = {"answered": "#0072b2", "abstained": GREY, "refused": "#d55e00", "unclassified": LIGHT_GREY}
CLASSIFIERS = {"claude": "#d55e00", "local": "#009e73", "family": "#56b4e9", "rules": "#4b3f9e", "human": "#e69f00"}


def category_colours() -> dict[str, str]:
    """Category -> colour, for the tasks that come with Issuetide; within a task no two are the same."""
    colours: dict[str, str] = {}
    for task in load_tasks().values():
        names = [category.id for category in task.categories]
        taken = {colours[name] for name in names if name in colours}
        free = [colour for colour in PALETTE if colour not in taken]
        for name in names:
            if name not in colours and free:
                colours[name] = free.pop(0)
    return {**colours, ABSTAINED: GREY, UNCLASSIFIED: LIGHT_GREY}
