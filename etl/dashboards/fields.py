"""docs/fields.md: every field of every index in words, as `schemas/opensearch/` describes it under `_meta.fields`.

    python -m etl.dashboards.fields

writes the page again.
"""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from etl.dashboards.saved_objects import load_mappings
from etl.resources import resource_folder
from etl.sinks.base import IndexName

_PREAMBLE = """# Fields

What is in the search indices, for those who make panels, queries and alerts of their own. Made by
`python -m etl.dashboards.fields` from `schemas/opensearch/`, which also makes the indices: mend it there, under
`_meta.fields`. PostgreSQL holds the same and more ([sql.md](sql.md)); words are in the [glossary](glossary.md).

All names are behind the prefix of `ISSUETIDE_INDEX_PREFIX`, which is `issuetide` unless you set it. A field that is
unknown or does not apply is missing, never null. Times are UTC. A `keyword` can be counted and filtered by as it is; a
`text` is searched in words and cannot be a bucket.

- **Filter by one `task`.** An issue has one document per task, so without a task it counts several times.
- **Leave out what has vanished**, in classifications: `NOT vanished:true`. The daily counts never hold it.
- **Choose a `level`**, in daily: `level:category` for everything, `level:family` for what comes again and again. Both
  together count twice.
- **Choose a `level`**, in runs: `level:run` for whole runs (calls, freshness, how they ended), `level:task` for what
  they did for one task (dollars, tokens, answers, waiting texts). Both together count dollars twice.
- **Sum what happened** (`opened`, `closed`, `reopened`, `new_families`) over any days; of `open` sum one day over
  repositories and categories, and take the mean of such sums over days.
- **What an answer cost** is in no classification: issues with the same text share one answer, and a sum would count
  its dollars once for each. Dollars are in the runs, and by day, model and purpose in the view `spending_daily`.
"""
_DAILY = """
Days without anything are there as well, so that a mean over days is right. Left out are days before 2008, when there
was no GitHub, on which nothing happened (issues can be imported with older dates), and of a long time in which nothing
of a category is open all days but the first and last 31: bars of up to a month show what they would show. A family has
rows only on days on which it changed, and while it is frequent: while five or more of the repository's issues that the
task is asked about belong to it. What no longer counts on a day is zero; its document stays.
"""
_NOTES: Mapping[str, str] = {"daily": _DAILY}


def render_fields() -> str:
    """The whole page."""
    parts = [_PREAMBLE]
    for index in get_args(IndexName):
        mappings = load_mappings(index)
        words = mappings["_meta"]["fields"]
        grain = mappings["_meta"]["grain"]
        parts.append(f"\n## {index}\n\n{grain[0].upper()}{grain[1:]}.\n{_NOTES.get(index, '')}")
        parts.append("\n| field | type | meaning |\n|---|---|---|\n")
        parts += [f"| {name} | {kind} | {words[name]} |\n" for name, kind in _kinds(mappings["properties"])]
    return "".join(parts)


def _kinds(properties: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each field with its type in words: that of the other field where it is only another name."""
    for name, mapping in properties.items():
        if mapping["type"] == "alias":
            yield name, properties[mapping["path"]]["type"]
        else:
            inner = "".join(f", `{name}.{key}` {each['type']}" for key, each in mapping.get("fields", {}).items())
            yield name, mapping["type"] + inner


def write_fields() -> None:
    """Writes docs/fields.md again."""
    path = resource_folder("schemas").parent / "docs" / "fields.md"
    path.write_text(render_fields(), encoding="utf-8")


if __name__ == "__main__":
    write_fields()
