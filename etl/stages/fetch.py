"""The fetch stage: reads a source into the database, a page and the cursor that follows it in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import Connection

from etl.db.queries import history, items, mirror
from etl.db.store import Store
from etl.errors import ConfigurationError
from etl.records import Item, Page, Repository, Scope, Stream
from etl.sources.base import Source
from etl.stages.base import Progress, Tally


@dataclass(frozen=True, slots=True)
class Fetched:
    """A repository that was read to its end: as the source calls it, the key it is stored under, its comments' list."""

    repository: Repository
    stored_key: int
    comments: Stream | None = None


def fetch_stage(
    store: Store, source: Source, scope: Scope, tally: Tally, progress: Progress, *, is_live: bool = True
) -> list[Fetched]:
    """Reads what `scope` asks of `source` into the database; what was read before a stop stays.

    is_live: the source answers for the repositories as they are now, as no file does.

    Raises:
        StopError: whatever ends the source's reading.
    """
    stored_keys: dict[int, int] = {}
    found: dict[int, Fetched] = {}
    new_before, changed_before = tally.counts["items_new"], tally.counts["items_changed"]
    with progress.stage(f"fetch {' '.join(scope.repositories) or source.name}") as advance:
        try:
            for stream in source.streams(scope):
                with store.transaction() as connection:
                    repository = items.resolve_repository(connection, stream.repository, _named_at(stream))
                    stored = replace(stream, repository=repository)
                    cursor = items.select_cursor(connection, stored) if scope.limit is None else None
                stored_keys[stream.repository.key] = stored.repository.key
                comments = stream if stream.name == "comments" else None
                found[stream.repository.key] = Fetched(stream.repository, stored.repository.key, comments)
                tally.repository_keys.add(stored.repository.key)
                for page in source.fetch(stream, scope, cursor):
                    with store.transaction() as connection:
                        merged = store_page(connection, page, stored, scope, stored_keys)
                    count_page(page, merged, tally)
                    tally.repository_keys.update(stored_keys.values())
                    new, changed = tally.counts["items_new"], tally.counts["items_changed"]
                    advance(len(page.items), new=new - new_before, changed=changed - changed_before)
                if scope.limit is None:
                    with store.transaction() as connection:
                        mirror.mark_read(connection, stored)
        except ConfigurationError:
            if is_live and not found:
                _remember_reach(store, scope, "out_of_reach")
            raise
        if is_live:
            _remember_reach(store, scope, "ok" if found else "issues_disabled")
    return list(found.values())


def _named_at(stream: Stream) -> datetime | None:
    """When the stream's repository had its name: now, or, in an archive, so long ago that no stored name gives way."""
    return datetime.min.replace(tzinfo=UTC) if stream.name == "archive" else None


def _remember_reach(store: Store, scope: Scope, reach: mirror.Reach) -> None:
    with store.transaction() as connection:
        for name in scope.repositories:
            mirror.update_reach(connection, name, reach)


def store_page(
    connection: Connection, page: Page, stream: Stream, scope: Scope, stored_keys: dict[int, int]
) -> items.Merged:
    """Stores a page and its cursor: what could not be used of it as well, so that the cursor passes nothing unkept.

    stored_keys: by the key a repository has at its source, the one it is stored under; takes those met here.
    """
    _resolve_repositories(connection, page, stored_keys)
    wanted = page.items
    if stream.name == "comments" and (scope.labels or scope.limit is not None):
        wanted = _of_stored_parents(connection, page.items, stream.repository.key)
    merged = items.upsert_items(connection, wanted, stored_keys, page.origin)
    history.insert_events(connection, page.events, stored_keys)
    mirror.insert_rejected(connection, stream.source, stream.repository.key, stream.name, page.skipped)
    if page.cursor is not None and scope.limit is None:
        items.upsert_cursor(connection, stream, page.cursor)
    return merged


def _resolve_repositories(connection: Connection, page: Page, stored_keys: dict[int, int]) -> None:
    """Enters the repositories of a page that were not met before.

    An archive calls one as it was called then: each name is entered with its time, the oldest first.
    """
    named: dict[Repository, datetime] = {}
    for item in page.items:
        named[item.repository] = max(item.updated_at, named.get(item.repository, item.updated_at))
    for event in page.events:
        named.setdefault(event.repository, event.at)
    for repository, at in sorted(named.items(), key=lambda pair: pair[1]):
        if page.origin == "archive":
            stored_keys[repository.key] = items.resolve_repository(connection, repository, at).key
        elif repository.key not in stored_keys:
            stored_keys[repository.key] = items.resolve_repository(connection, repository).key


def _of_stored_parents(connection: Connection, comments: Sequence[Item], repository_key: int) -> tuple[Item, ...]:
    """Those comments whose issue is stored: a list that was narrowed to labels has comments of many others."""
    numbers = {comment.parent_number for comment in comments if comment.parent_number is not None}
    known = items.select_known_parents(connection, repository_key, sorted(numbers))
    return tuple(comment for comment in comments if comment.parent_number in known)


def count_page(page: Page, merged: items.Merged, tally: Tally) -> None:
    """Counts what a page brought, once it is committed."""
    counts = tally.counts
    counts["items_read"] += len(page.items)
    counts["items_new"] += merged.new
    counts["items_changed"] += merged.changed
    counts["items_skipped"] += len(page.skipped)
    counts["characters_replaced"] += sum(item.replaced for item in page.items)
    counts["items_returned"] += merged.returned
    for rejected in page.skipped:
        tally.note(rejected.line)
