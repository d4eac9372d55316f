"""The fetch stage: reads a source into the database, a page and the cursor that follows it in one transaction."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from etl.db.queries import items
from etl.db.store import Store
from etl.records import Item, Page, Scope, Stream
from etl.sources.base import Source
from etl.stages.base import Progress, Tally


def fetch_stage(store: Store, source: Source, scope: Scope, tally: Tally, progress: Progress) -> None:
    """Reads what `scope` asks of `source` into the database; what was read before a stop stays.

    Raises:
        StopError: whatever ends the source's reading.
    """
    stored_keys: dict[int, int] = {}
    with progress.stage(f"fetch {' '.join(scope.repositories) or source.name}") as advance:
        for stream in source.streams(scope):
            with store.transaction() as connection:
                stored = replace(stream, repository=items.resolve_repository(connection, stream.repository))
                cursor = items.select_cursor(connection, stored) if scope.limit is None else None
            stored_keys[stream.repository.key] = stored.repository.key
            tally.repository_keys.add(stored.repository.key)
            for page in source.fetch(stream, scope, cursor):
                with store.transaction() as connection:
                    merged = _store_page(connection, page, stored, scope, stored_keys)
                _count_page(page, merged, tally)
                tally.repository_keys.update(stored_keys.values())
                advance(len(page.items), new=tally.counts["items_new"], changed=tally.counts["items_changed"])


def _store_page(
    connection: Connection, page: Page, stream: Stream, scope: Scope, stored_keys: dict[int, int]
) -> items.Merged:
    """Stores a page and its cursor.

    stored_keys: by the key a repository has at its source, the one it is stored under; takes those met here.
    """
    for item in page.items:
        if item.repository.key not in stored_keys:
            stored_keys[item.repository.key] = items.resolve_repository(connection, item.repository).key
    wanted = page.items
    if stream.name == "comments" and (scope.labels or scope.limit is not None):
        wanted = _of_stored_parents(connection, page.items, stream.repository.key)
    merged = items.upsert_items(connection, wanted, stored_keys)
    if page.cursor is not None and scope.limit is None:
        items.upsert_cursor(connection, stream, page.cursor)
    return merged


def _of_stored_parents(connection: Connection, comments: Sequence[Item], repository_key: int) -> tuple[Item, ...]:
    """Those comments whose issue is stored: a list that was narrowed to labels has comments of many others."""
    numbers = {comment.parent_number for comment in comments if comment.parent_number is not None}
    known = items.select_known_parents(connection, repository_key, sorted(numbers))
    return tuple(comment for comment in comments if comment.parent_number in known)


def _count_page(page: Page, merged: items.Merged, tally: Tally) -> None:
    """Counts what a page brought, once it is committed."""
    counts = tally.counts
    counts["items_read"] += len(page.items)
    counts["items_new"] += merged.new
    counts["items_changed"] += merged.changed
    counts["items_skipped"] += len(page.skipped)
    counts["characters_replaced"] += sum(item.replaced for item in page.items)
    for line in page.skipped:
        tally.note(line)
