"""Statements on repositories, cursors and items."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, text

from etl.db.store import serialize_item_writers
from etl.records import Item, Repository, Stream

MICROSECONDS_NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
"""A row version. Time, not a counter: it keeps rising when a database is restored from a backup or made again, so
that an index which lived on never refuses its documents as stale."""

_COLUMNS = (
    "repository_key, kind, external_id, parent_number, title, body, state, state_reason, author, author_type,"
    " author_association, labels, assignees, comments, created_at, updated_at, closed_at, url, payload, content_hash"
)
_UPDATED = ", ".join(
    f"{name} = excluded.{name}"
    for name in (part.strip() for part in _COLUMNS.split(","))
    if name not in {"repository_key", "kind", "external_id"}
)
_MERGE = text(f"""
    WITH merged AS (
        INSERT INTO items AS i ({_COLUMNS}, row_version)
        SELECT {_COLUMNS}, {MICROSECONDS_NOW} FROM incoming
        ON CONFLICT (repository_key, kind, external_id) DO UPDATE
        SET {_UPDATED}, tombstone = NULL, tombstoned_at = NULL,
            row_version = greatest(i.row_version + 1, excluded.row_version)
        WHERE (i.content_hash <> excluded.content_hash OR i.tombstone IS NOT NULL)
              AND excluded.updated_at >= i.updated_at
        RETURNING id, repository_key, kind, parent_number, xmax = 0 AS inserted
    ), queued AS (
        INSERT INTO text_queue (item_id)
        SELECT id FROM merged WHERE kind <> 'comment'
        UNION
        SELECT p.id FROM merged m
        JOIN items p ON p.repository_key = m.repository_key AND p.external_id = m.parent_number
                        AND p.kind IN ('issue', 'pull_request')
        WHERE m.kind = 'comment'
        ON CONFLICT DO NOTHING
    )
    SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted) FROM merged
""")  # noqa: S608  (only our own column names are put in)


@dataclass(frozen=True, slots=True)
class Merged:
    """How many of a page's items were new and how many had changed; the rest were known as they are."""

    new: int
    changed: int


def resolve_repository(connection: Connection, repository: Repository) -> Repository:
    """The repository as stored, entered if new, its name brought up to date; its key is the one rows use.

    A repository first met in a file without its numeric id keeps the key it was given then. A rename shows in every
    document, so every item's version rises.
    """
    found = connection.execute(
        text("""
            SELECT key, github_id, full_name FROM repositories
            WHERE host = :host AND (github_id = :github_id OR lower(full_name) = lower(:full_name)
                                    AND (github_id IS NULL OR CAST(:github_id AS bigint) IS NULL))
            ORDER BY github_id = :github_id DESC NULLS LAST, github_id NULLS LAST LIMIT 1
        """),
        {"host": repository.host, "github_id": repository.github_id, "full_name": repository.full_name},
    ).one_or_none()
    if found is None:
        connection.execute(
            text("""
                INSERT INTO repositories (key, host, github_id, full_name)
                VALUES (:key, :host, :github_id, :full_name) ON CONFLICT DO NOTHING
            """),
            {
                "key": repository.key,
                "host": repository.host,
                "github_id": repository.github_id,
                "full_name": repository.full_name,
            },
        )
        return repository
    github_id = repository.github_id if repository.github_id is not None else found.github_id
    if (found.full_name, found.github_id) != (repository.full_name, github_id):
        connection.execute(
            text("UPDATE repositories SET full_name = :full_name, github_id = :github_id WHERE key = :key"),
            {"key": found.key, "full_name": repository.full_name, "github_id": github_id},
        )
    if found.full_name != repository.full_name:
        serialize_item_writers(connection)
        connection.execute(
            text(f"""
                UPDATE items SET row_version = greatest(row_version + 1, {MICROSECONDS_NOW}) WHERE repository_key = :key
            """),  # noqa: S608  (a constant)
            {"key": found.key},
        )
    return replace(repository, key=found.key, github_id=github_id)


def select_cursor(connection: Connection, stream: Stream) -> str | None:
    """Where reading `stream` goes on; None at the beginning."""
    return connection.execute(
        text("""
            SELECT cursor FROM cursors
            WHERE source = :source AND repository_key = :key AND stream = :name AND filter = :filter
        """),
        _stream_key(stream),
    ).scalar_one_or_none()


def upsert_cursor(connection: Connection, stream: Stream, cursor: str) -> None:
    """Remembers where reading `stream` goes on; to be called in the transaction that stores the page before it."""
    connection.execute(
        text("""
            INSERT INTO cursors (source, repository_key, stream, filter, cursor)
            VALUES (:source, :key, :name, :filter, :cursor)
            ON CONFLICT (source, repository_key, stream, filter) DO UPDATE
            SET cursor = excluded.cursor, updated_at = now() WHERE cursors.cursor <> excluded.cursor
        """),
        {**_stream_key(stream), "cursor": cursor},
    )


def _stream_key(stream: Stream) -> dict[str, Any]:
    return {
        "source": stream.source,
        "key": stream.repository.key,
        "name": stream.name,
        "filter": stream.filter,
    }


def upsert_items(connection: Connection, items: Iterable[Item], keys: dict[int, int]) -> Merged:
    """Brings a page's items in: new rows inserted, changed ones replaced whole, unchanged and older ones left alone.

    keys: from the key an item's repository has in the record to the key its rows use (`resolve_repository`).
    Every issue or pull request whose text may have changed (its own or a comment's) is queued for fingerprinting.
    """
    newest: dict[tuple[int, str, int], Item] = {}
    for item in items:
        identity = (keys[item.repository.key], item.kind, item.external_id)
        known = newest.get(identity)
        if known is None or item.updated_at >= known.updated_at:
            newest[identity] = item
    if not newest:
        return Merged(0, 0)
    connection.execute(
        text(f"""
            CREATE TEMPORARY TABLE IF NOT EXISTS incoming ON COMMIT DELETE ROWS AS
            SELECT {_COLUMNS} FROM items WITH NO DATA
        """)  # noqa: S608  (only our own column names are put in)
    )
    connection.execute(text("TRUNCATE incoming")) if connection.in_nested_transaction() else None
    _copy_items(connection, newest)
    serialize_item_writers(connection)
    new, changed = connection.execute(_MERGE).one()
    return Merged(new, changed)


@lru_cache(4096)
def _array_literal(values: tuple[str, ...]) -> str:
    """The words as PostgreSQL writes an array. Sets of labels repeat, and formatting one costs more than a row."""
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in quoted) + "}"


def _copy_items(connection: Connection, newest: dict[tuple[int, str, int], Item]) -> None:
    driver = connection.connection.driver_connection
    if driver is None:  # pragma: no cover - a checked-out connection always has one
        raise RuntimeError("the connection was closed")
    with driver.cursor() as cursor, cursor.copy(f"COPY incoming ({_COLUMNS}) FROM STDIN") as copy:
        for (key, kind, external_id), i in newest.items():
            copy.write_row(
                (
                    key,
                    kind,
                    external_id,
                    i.parent_number,
                    i.title,
                    i.body,
                    i.state,
                    i.state_reason,
                    i.author,
                    i.author_type,
                    i.author_association,
                    _array_literal(i.labels),
                    _array_literal(i.assignees),
                    i.comments,
                    i.created_at,
                    i.updated_at,
                    i.closed_at,
                    i.url,
                    i.payload,
                    i.content_hash,
                )
            )


def select_known_parents(connection: Connection, repository_key: int, numbers: Sequence[int]) -> set[int]:
    """Which of the issue and pull request `numbers` of a repository are stored."""
    rows = connection.execute(
        text("""
            SELECT external_id FROM items
            WHERE repository_key = :key AND kind IN ('issue', 'pull_request') AND external_id = ANY (:numbers)
        """),
        {"key": repository_key, "numbers": list(numbers)},
    )
    return set(rows.scalars())


def select_repository_keys(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """The keys of the stored repositories among `names` ('owner/name', any case), by lower-cased name."""
    rows = connection.execute(
        text("SELECT lower(full_name) AS name, key FROM repositories WHERE lower(full_name) = ANY (:names)"),
        {"names": [name.lower() for name in names]},
    )
    return {row.name: row.key for row in rows}
