"""Statements of a true mirror: how far lists were read, what a sweep has yet to ask again, what has vanished."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Literal

from sqlalchemy import Connection, text

from etl.db.queries.items import NEXT_ROW_VERSION
from etl.db.queries.purges import identity_of, without_purged
from etl.db.store import serialize_item_writers
from etl.records import Item, Kind, Rejected, Repository, Stream, Vanished

_LONGEST_UNSEEN = "coalesce(k.checked_at, i.first_seen_at)"
_UNSEEN = f"{_LONGEST_UNSEEN} < :started_at"
_NEWEST_CHANGE = "i.updated_at DESC"
_ESTIMATES = "SELECT DISTINCT item_id FROM item_events WHERE kind = 'reopened' AND source = 'observed'"

Reach = Literal["ok", "issues_disabled", "out_of_reach"]


@dataclass(frozen=True, slots=True)
class Sweep:
    """A round of the rolling sweep over one scope of a repository.

    position: where its walk goes on (None: at the front). walked: the walk has shown every item.
    """

    repository_key: int
    filter: str
    started_at: datetime
    position: str | None
    walked: bool
    finished: bool


@dataclass(frozen=True, slots=True)
class StoredItem:
    """A stored item that a sweep asks about again."""

    id: int
    kind: Kind
    number: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class KeptObject:
    """An object that could not be used when it was read from `source`, with its bytes (the first mebibyte of them)."""

    id: int
    repository: Repository
    source: str
    line: str
    payload: bytes


def mark_read(connection: Connection, stream: Stream) -> None:
    """Remembers that a list was read to its end just now."""
    connection.execute(
        text("""
            UPDATE cursors SET read_at = now()
            WHERE source = :source AND repository_key = :key AND stream = :name AND filter = :filter
        """),
        {
            "source": stream.source,
            "key": stream.repository.key,
            "name": stream.name,
            "filter": stream.filter,
        },
    )


def update_reach(connection: Connection, name: str, reach: Reach) -> None:
    """Remembers how a stored repository ('owner/name', any case) answers now, if that is new."""
    connection.execute(
        text("""
            UPDATE repositories SET reach = :reach, reach_since = now()
            WHERE lower(full_name) = lower(:name) AND reach <> :reach
        """),
        {"name": name, "reach": reach},
    )


def insert_rejected(
    connection: Connection, source: str, repository_key: int, stream: str, rejected: Sequence[Rejected]
) -> None:
    """Keeps objects that could not be used, with their bytes, each once; those of purged items are not kept."""
    if not rejected:
        return
    rows = []
    for entry in without_purged(connection, repository_key, rejected):
        kind, external_id = identity_of(entry.payload)
        rows.append(
            {
                "source": source,
                "key": repository_key,
                "name": stream,
                "digest": blake2b(entry.payload, digest_size=16).hexdigest(),
                "line": entry.line,
                "payload": entry.payload,
                "kind": kind,
                "external_id": external_id,
            }
        )
    if rows:
        connection.execute(
            text("""
                INSERT INTO rejected_items (source, repository_key, stream, digest, line, payload, kind, external_id)
                VALUES (:source, :key, :name, :digest, :line, :payload, :kind, :external_id)
                ON CONFLICT (source, repository_key, digest) DO NOTHING
            """),
            rows,
        )


def count_rejected(connection: Connection, names: Sequence[str]) -> int:
    """How many kept objects of these repositories ('owner/name', any case; none: all) could not be used."""
    return int(connection.execute(text(f"SELECT count(*) {_REJECTED}"), _named(names)).scalar_one())


def select_rejected(connection: Connection, names: Sequence[str], after: int, limit: int) -> list[KeptObject]:
    """Up to `limit` kept objects of these repositories with an id above `after`, in order."""
    rows = connection.execute(
        text(f"""
            SELECT x.id, x.source, x.line, x.payload, r.key, r.host, r.github_id, r.full_name
            {_REJECTED} AND x.id > :after ORDER BY x.id LIMIT :limit
        """),
        {**_named(names), "after": after, "limit": limit},
    )
    return [
        KeptObject(
            row.id,
            Repository(row.key, row.host, row.github_id, row.full_name),
            row.source,
            row.line,
            bytes(row.payload),
        )
        for row in rows
    ]


_REJECTED = """
    FROM rejected_items x JOIN repositories r ON r.key = x.repository_key
    WHERE (:every_repository OR lower(r.full_name) = ANY (:names))
"""


def _named(names: Sequence[str]) -> dict[str, object]:
    return {"every_repository": not names, "names": [name.lower() for name in names]}


def delete_rejected(connection: Connection, rejected_id: int) -> None:
    """Forgets a kept object; to be called in the transaction that stores it."""
    connection.execute(text("DELETE FROM rejected_items WHERE id = :id"), {"id": rejected_id})


def open_sweep(connection: Connection, repository_key: int, scope_filter: str, interval: timedelta) -> Sweep:
    """The round under way, or a new one where the last has shown every item and began long enough ago.

    The fetch that first read a repository counts as a round: it saw everything.
    """
    parameters = {"key": repository_key, "filter": scope_filter, "interval": interval}
    connection.execute(
        text("""
            INSERT INTO sweeps (repository_key, filter, started_at, walked_at, finished_at, comments_started_at,
                                comments_walked_at)
            SELECT key, :filter, first_seen_at, first_seen_at, first_seen_at, first_seen_at, first_seen_at
            FROM repositories WHERE key = :key
            ON CONFLICT DO NOTHING
        """),
        parameters,
    )
    connection.execute(
        text("""
            UPDATE sweeps
            SET started_at = clock_timestamp(), position = NULL, walked_at = NULL, finished_at = NULL
            WHERE repository_key = :key AND filter = :filter
              AND walked_at IS NOT NULL AND started_at + :interval <= clock_timestamp()
        """),
        parameters,
    )
    row = connection.execute(
        text("SELECT * FROM sweeps WHERE repository_key = :key AND filter = :filter"), parameters
    ).one()
    walked, finished = row.walked_at is not None, row.finished_at is not None
    return Sweep(repository_key, scope_filter, row.started_at, row.position, walked, finished)


def update_sweep(connection: Connection, sweep: Sweep, position: str | None) -> None:
    """Where the walk goes on; None when it has shown every item."""
    connection.execute(
        text("""
            UPDATE sweeps
            SET position = CAST(:position AS text),
                walked_at = CASE WHEN CAST(:position AS text) IS NULL THEN clock_timestamp() END
            WHERE repository_key = :key AND filter = :filter
        """),
        {"position": position, "key": sweep.repository_key, "filter": sweep.filter},
    )


def finish_sweep(connection: Connection, sweep: Sweep) -> None:
    """Ends the round: nothing is left to ask again."""
    connection.execute(
        text("UPDATE sweeps SET finished_at = clock_timestamp() WHERE repository_key = :key AND filter = :filter"),
        {"key": sweep.repository_key, "filter": sweep.filter},
    )


def open_comment_walk(connection: Connection, sweep: Sweep, interval: timedelta) -> tuple[bool, str | None]:
    """Whether a walk over all comments is to go on, and where; a new one where the last began long enough ago."""
    row = connection.execute(
        text("""
            UPDATE sweeps
            SET comments_started_at = clock_timestamp(), comments_position = NULL, comments_walked_at = NULL
            WHERE repository_key = :key AND filter = :filter
              AND comments_walked_at IS NOT NULL AND comments_started_at + :interval <= clock_timestamp()
            RETURNING 1
        """),
        {"key": sweep.repository_key, "filter": sweep.filter, "interval": interval},
    ).one_or_none()
    if row is not None:
        return True, None
    stored = connection.execute(
        text(
            "SELECT comments_position, comments_walked_at FROM sweeps WHERE repository_key = :key AND filter = :filter"
        ),
        {"key": sweep.repository_key, "filter": sweep.filter},
    ).one()
    return stored.comments_walked_at is None, stored.comments_position


def update_comment_walk(connection: Connection, sweep: Sweep, position: str | None) -> None:
    """Where the walk over all comments goes on; None leaves that as it is."""
    connection.execute(
        text("""
            UPDATE sweeps SET comments_position = coalesce(:position, comments_position)
            WHERE repository_key = :key AND filter = :filter
        """),
        {"position": position, "key": sweep.repository_key, "filter": sweep.filter},
    )


def finish_comment_walk(connection: Connection, sweep: Sweep) -> None:
    """The walk has shown every comment."""
    connection.execute(
        text(
            "UPDATE sweeps SET comments_walked_at = clock_timestamp() WHERE repository_key = :key AND filter = :filter"
        ),
        {"key": sweep.repository_key, "filter": sweep.filter},
    )


def upsert_checks(connection: Connection, repository_key: int, items: Iterable[Item]) -> None:
    """Remembers that these items were seen at their source just now."""
    seen = [(item.kind, item.external_id) for item in items]
    connection.execute(
        text("""
            INSERT INTO item_checks (item_id, checked_at)
            SELECT i.id, clock_timestamp()
            FROM unnest(CAST(:kinds AS text[]), CAST(:numbers AS bigint[])) AS n (kind, number)
            JOIN items i ON i.repository_key = :key AND i.kind = n.kind AND i.external_id = n.number
            ON CONFLICT (item_id) DO UPDATE SET checked_at = excluded.checked_at
        """),
        {"key": repository_key, "kinds": [kind for kind, _ in seen], "numbers": [number for _, number in seen]},
    )


def select_unchecked(connection: Connection, sweep: Sweep, kinds: Sequence[Kind], limit: int) -> list[StoredItem]:
    """Items that this round has not seen at their source, the longest unseen first: vanished, or outside the lists."""
    return _select_due(connection, sweep, kinds, limit, f"i.tombstone IS NULL AND {_UNSEEN}", _LONGEST_UNSEEN)


def select_hidden(connection: Connection, sweep: Sweep, kinds: Sequence[Kind], limit: int) -> list[StoredItem]:
    """Hidden items that this round has not asked about: deleted since, or back outside a list narrowed to labels."""
    return _select_due(connection, sweep, kinds, limit, f"i.tombstone = 'hidden' AND {_UNSEEN}", _LONGEST_UNSEEN)


def select_miscounted(connection: Connection, sweep: Sweep, kinds: Sequence[Kind], limit: int) -> list[StoredItem]:
    """Items whose source counts other comments than are stored, and whose comments this round has not read again."""
    # Not a join of counted comments: before the first ANALYZE of a large load PostgreSQL plans that as a loop over
    # both, 230 seconds for 20,000 issues with 80,000 comments; this takes a tenth of one.
    is_due = """
        i.tombstone IS NULL
        AND i.comments <> (SELECT count(*) FROM items c
                           WHERE c.repository_key = i.repository_key AND c.kind = 'comment'
                                 AND c.parent_number = i.external_id AND c.tombstone IS NULL)
        AND (k.comments_checked_at IS NULL OR k.comments_checked_at < :started_at)
    """
    return _select_due(connection, sweep, kinds, limit, is_due, _NEWEST_CHANGE)


def select_estimated(
    connection: Connection, sweep: Sweep, kinds: Sequence[Kind], limit: int, *, every: bool
) -> list[StoredItem]:
    """Items whose history is an estimate (a reopening that was only observed), or with `every` not read since a change.

    An item whose timeline was read in its present state is not among them.
    """
    # The estimates are few and have an index of their own; a sweep with nothing to do must not read every item.
    source = "items i" if every else f"({_ESTIMATES}) AS e JOIN items i ON i.id = e.item_id"
    is_due = "i.tombstone IS NULL AND k.history_of IS DISTINCT FROM i.updated_at"
    return _select_due(connection, sweep, kinds, limit, is_due, _NEWEST_CHANGE, source)


def _select_due(
    connection: Connection,
    sweep: Sweep,
    kinds: Sequence[Kind],
    limit: int,
    is_due: str,
    order: str,
    source: str = "items i",
) -> list[StoredItem]:
    """The items of a sweep's repository and kinds (`i`, with what is known of them, `k`) for which `is_due` holds."""
    rows = connection.execute(
        text(f"""
            SELECT i.id, i.kind, i.external_id AS number, i.updated_at
            FROM {source} LEFT JOIN item_checks k ON k.item_id = i.id
            WHERE i.repository_key = :key AND i.kind = ANY (:kinds) AND {is_due}
            ORDER BY {order}, i.id LIMIT :limit
        """),  # noqa: S608  (constants)
        {"key": sweep.repository_key, "started_at": sweep.started_at, "kinds": list(kinds), "limit": limit},
    )
    return [StoredItem(row.id, row.kind, row.number, row.updated_at) for row in rows]


def update_vanished(connection: Connection, item_id: int, vanished: Vanished) -> bool:
    """Marks an item as vanished and why; False where that was known. Its row stays, and so do its texts and answers."""
    serialize_item_writers(connection)
    changed = connection.execute(
        text(f"""
            UPDATE items SET tombstone = :reason, tombstoned_at = clock_timestamp(),
                             row_version = {NEXT_ROW_VERSION}
            WHERE id = :item_id AND tombstone IS DISTINCT FROM :reason AND tombstone IS DISTINCT FROM 'purged'
        """),  # noqa: S608  (a constant)
        {"item_id": item_id, "reason": vanished.reason},
    ).rowcount
    if vanished.repository is not None and vanished.number is not None:
        connection.execute(
            text("""
                INSERT INTO item_links (item_id, kind, repository, number)
                VALUES (:item_id, 'transferred_to', :repository, :number) ON CONFLICT DO NOTHING
            """),
            {"item_id": item_id, "repository": vanished.repository, "number": vanished.number},
        )
    _mark_checked(connection, item_id, "checked_at")
    return changed > 0


def update_comments(connection: Connection, item: StoredItem, repository_key: int, kept: Sequence[int]) -> int:
    """Marks an item's stored comments that are not among `kept` (ids) as deleted; gives how many.

    A text may have been made of them, so the item is queued to be fingerprinted again.
    """
    serialize_item_writers(connection)
    gone = connection.execute(
        text(f"""
            UPDATE items SET tombstone = 'deleted', tombstoned_at = clock_timestamp(),
                             row_version = {NEXT_ROW_VERSION}
            WHERE repository_key = :key AND kind = 'comment' AND parent_number = :number AND tombstone IS NULL
                  AND external_id <> ALL (:kept)
        """),  # noqa: S608  (a constant)
        {"key": repository_key, "number": item.number, "kept": list(kept)},
    ).rowcount
    if gone:
        connection.execute(
            text("INSERT INTO text_queue (item_id) VALUES (:item_id) ON CONFLICT DO NOTHING"), {"item_id": item.id}
        )
    _mark_checked(connection, item.id, "comments_checked_at")
    return gone


def _mark_checked(connection: Connection, item_id: int, column: Literal["checked_at", "comments_checked_at"]) -> None:
    """Remembers that an item, or that its comments, were asked for just now."""
    connection.execute(
        text(f"""
            INSERT INTO item_checks (item_id, {column}) VALUES (:item_id, clock_timestamp())
            ON CONFLICT (item_id) DO UPDATE SET {column} = excluded.{column}
        """),  # noqa: S608  (one of our own column names)
        {"item_id": item_id},
    )
