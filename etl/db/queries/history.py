"""Statements on the history of items: when they were closed, reopened, labeled."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, text

from etl.db.queries.items import NEXT_ROW_VERSION
from etl.db.store import serialize_item_writers
from etl.records import Event


def insert_events(connection: Connection, events: Sequence[Event], keys: dict[int, int]) -> int:
    """Enters dated events of stored items, each once; gives how many were new. Events of items not stored are left out.

    keys: from the key an event's repository has in the record to the key its rows use.
    """
    if not events:
        return 0
    serialize_item_writers(connection)
    entered = connection.execute(
        text(f"""
            WITH entered AS (
                INSERT INTO item_events (item_id, kind, at, label, source, external_id)
                SELECT i.id, n.kind, n.at, n.label, n.source, n.external_id
                FROM unnest(CAST(:keys AS bigint[]), CAST(:numbers AS bigint[]), CAST(:kinds AS text[]),
                            CAST(:times AS timestamptz[]), CAST(:labels AS text[]), CAST(:sources AS text[]),
                            CAST(:ids AS bigint[])) AS n (key, number, kind, at, label, source, external_id)
                JOIN items i ON i.repository_key = n.key AND i.external_id = n.number AND i.kind <> 'comment'
                                AND i.tombstone IS DISTINCT FROM 'purged'
                ORDER BY n.at, n.external_id
                ON CONFLICT (item_id, external_id) WHERE external_id IS NOT NULL DO NOTHING
                RETURNING item_id
            ), moved AS (
                UPDATE items SET row_version = {NEXT_ROW_VERSION}
                WHERE id IN (SELECT item_id FROM entered)
            )
            SELECT count(*) FROM entered
        """),  # noqa: S608  (a constant)
        {
            "keys": [keys[event.repository.key] for event in events],
            "numbers": [event.number for event in events],
            "kinds": [event.kind for event in events],
            "times": [event.at for event in events],
            "labels": [event.label for event in events],
            "sources": [event.source for event in events],
            "ids": [event.external_id for event in events],
        },
    )
    return int(entered.scalar_one())


def replace_history(connection: Connection, item_id: int, seen: datetime, events: Sequence[Event]) -> bool:
    """Puts an item's own timeline in the place of whatever was known of its history; True if its states changed.

    Where the timeline lags behind the item's state, that state is entered as observed once more. A purged item gets no
    history.

    seen: `updated_at` of the item when its timeline was asked for.
    """
    serialize_item_writers(connection)
    if connection.execute(
        text("SELECT EXISTS (SELECT FROM purges WHERE item_id = :item_id)"), {"item_id": item_id}
    ).scalar_one():
        return False
    before = _states(connection, item_id)
    connection.execute(text("DELETE FROM item_events WHERE item_id = :item_id"), {"item_id": item_id})
    if events:
        connection.execute(
            text("""
                INSERT INTO item_events (item_id, kind, at, label, source, external_id)
                SELECT :item_id, n.kind, n.at, n.label, 'timeline', n.external_id
                FROM unnest(CAST(:kinds AS text[]), CAST(:times AS timestamptz[]), CAST(:labels AS text[]),
                            CAST(:ids AS bigint[])) AS n (kind, at, label, external_id)
                ORDER BY n.at, n.external_id
                ON CONFLICT (item_id, external_id) WHERE external_id IS NOT NULL DO NOTHING
            """),
            {
                "item_id": item_id,
                "kinds": [event.kind for event in events],
                "times": [event.at for event in events],
                "labels": [event.label for event in events],
                "ids": [event.external_id for event in events],
            },
        )
    connection.execute(
        text("""
            INSERT INTO item_events (item_id, kind, at, source)
            SELECT i.id, CASE i.state WHEN 'closed' THEN 'closed' ELSE 'reopened' END,
                   coalesce(i.closed_at, i.updated_at), 'observed'
            FROM items i
            WHERE i.id = :item_id
              AND CASE i.state WHEN 'closed' THEN 'closed' ELSE 'reopened' END <> coalesce(
                  (SELECT kind FROM state_changes WHERE item_id = :item_id ORDER BY at DESC, id DESC LIMIT 1),
                  'reopened')
        """),
        {"item_id": item_id},
    )
    connection.execute(
        text("""
            INSERT INTO item_checks (item_id, history_of) VALUES (:item_id, :seen)
            ON CONFLICT (item_id) DO UPDATE SET history_of = excluded.history_of
        """),
        {"item_id": item_id, "seen": seen},
    )
    changed = before != _states(connection, item_id)
    if changed:
        connection.execute(
            text(f"""
                UPDATE items SET row_version = {NEXT_ROW_VERSION} WHERE id = :item_id
            """),  # noqa: S608  (a constant)
            {"item_id": item_id},
        )
    return changed


def _states(connection: Connection, item_id: int) -> list[tuple[str, datetime]]:
    rows = connection.execute(
        text("SELECT kind, at FROM state_changes WHERE item_id = :item_id ORDER BY at, id"), {"item_id": item_id}
    )
    return [(row.kind, row.at) for row in rows]
