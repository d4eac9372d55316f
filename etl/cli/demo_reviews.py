"""What invented people say of the demo's answers: stored as `review --read` and `override` would, and only once."""

import json
from collections.abc import Mapping

from etl.db.queries.annotations import Role, select_item_ids, select_unanswered
from etl.db.store import Store
from etl.evaluate.sheet import FilledRow, read_sheet
from etl.stages.annotations import override_item, store_reviews
from etl.stages.decisions import Named, Signed
from etl.tasks import Task


def store_demo_reviews(store: Store, tasks: Mapping[str, Task], content: str) -> int:
    """Stores the judgements of `content` (`etl.demo` says what its lines are); gives how many were new.

    Nothing is said twice: of an issue that its annotator has reviewed before, or anybody has overridden, whatever is
    there stays, also where it was withdrawn since. Issues that are not stored, or were purged, are passed over.

    Raises:
        ConfigurationError: a line cannot be read.
    """
    sheets: dict[tuple[str, Role, str], list[str]] = {}
    for line in content.splitlines():
        row = json.loads(line)
        task = row["document_id"].rpartition("-")[2]
        sheets.setdefault((task, row["role"], row["by"]), []).append(line)
    new = 0
    for (name, role, by), lines in sheets.items():
        rows = _left(store, tasks[name], role, by, read_sheet("\n".join(lines), tasks[name]))
        if role == "review":
            store_reviews(store, tasks[name], rows, by)
        else:
            _override(store, tasks[name], rows, by)
        new += len(rows)
    return new


def _left(store: Store, task: Task, role: Role, by: str, rows: list[FilledRow]) -> list[FilledRow]:
    with store.transaction() as connection:
        found = select_unanswered(connection, task.name, role, by, [_key(row) for row in rows])
    return [row for row in rows if _key(row) in found]


def _override(store: Store, task: Task, rows: list[FilledRow], by: str) -> None:
    with store.transaction() as connection:
        ids = select_item_ids(connection, [_key(row) for row in rows])
    for row in rows:
        named = Named(f"issue {row.number} of the sample", (ids[_key(row)],))
        override_item(store, named, task, row.categories, Signed(by, row.why))


def _key(row: FilledRow) -> tuple[int, str, int]:
    return row.repository_key, row.kind, row.number
