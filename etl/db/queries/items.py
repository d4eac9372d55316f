"""Statements on repositories, cursors and items."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, text

from etl.db.store import serialize_item_writers
from etl.records import Item, Origin, Repository, Stream

MICROSECONDS_NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
"""A row version. Time, not a counter: it keeps rising when a database is restored from a backup or made again, so
that an index which lived on never refuses its documents as stale."""
NEXT_ROW_VERSION = f"greatest(row_version + 1, {MICROSECONDS_NOW})"
"""What `row_version` becomes when a change shows in a document: now, and in any case higher than it was."""

_COLUMNS = (
    "repository_key, kind, external_id, parent_number, title, body, state, state_reason, author, author_type,"
    " author_association, labels, assignees, comments, created_at, updated_at, closed_at, merged_at, url, payload,"
    " content_hash"
)
_UPDATED = ", ".join(
    f"{name} = excluded.{name}"
    for name in (part.strip() for part in _COLUMNS.split(","))
    if name not in {"repository_key", "kind", "external_id"}
)
# By number: one that was purged as an issue does not come back as a pull request.
_WANTED = """
        WHERE NOT EXISTS (SELECT FROM purges g JOIN items p ON p.id = g.item_id
                          WHERE p.repository_key = n.repository_key
                                AND p.external_id = CASE n.kind WHEN 'comment' THEN n.parent_number
                                                                ELSE n.external_id END)
"""
_QUEUED = """
        INSERT INTO text_queue (item_id)
        SELECT id FROM merged WHERE kind <> 'comment'
        UNION
        SELECT p.id FROM merged m
        JOIN items p ON p.repository_key = m.repository_key AND p.external_id = m.parent_number
                        AND p.kind IN ('issue', 'pull_request')
        WHERE m.kind = 'comment'
        ON CONFLICT DO NOTHING
"""
_MEETS = text("""
    SELECT EXISTS (SELECT FROM incoming n JOIN items i USING (repository_key, kind, external_id)),
           EXISTS (SELECT FROM rejected_items)
""")
_LOAD = text(f"""
    WITH merged AS (
        INSERT INTO items ({_COLUMNS}, row_version)
        SELECT {_COLUMNS}, {MICROSECONDS_NOW} FROM incoming n
        {_WANTED}
        RETURNING id, repository_key, kind, parent_number, state, closed_at, updated_at
    ), queued AS (
        {_QUEUED}
    ), observed AS (
        INSERT INTO item_events (item_id, kind, at, source)
        SELECT id, 'closed', coalesce(closed_at, updated_at), 'observed'
        FROM merged WHERE kind <> 'comment' AND state = 'closed'
    )
    SELECT count(*), 0, 0 FROM merged
""")  # noqa: S608  (only our own column names are put in)
"""What `_MERGE` does to a page of which nothing is stored yet, as all of a first load are: a third of its planning."""

_MERGE = text(f"""
    WITH known AS MATERIALIZED (
        SELECT i.id, i.repository_key, i.kind, i.external_id, i.state, i.closed_at, i.updated_at, i.labels, i.tombstone
        FROM incoming n JOIN items i USING (repository_key, kind, external_id)
    ), merged AS (
        INSERT INTO items AS i ({_COLUMNS}, row_version)
        SELECT {_COLUMNS}, {MICROSECONDS_NOW} FROM incoming n
        {_WANTED}
        ON CONFLICT (repository_key, kind, external_id) DO UPDATE
        SET {_UPDATED},
            tombstone = CASE WHEN :revives OR excluded.updated_at > i.tombstoned_at THEN NULL ELSE i.tombstone END,
            tombstoned_at = CASE WHEN :revives OR excluded.updated_at > i.tombstoned_at THEN NULL
                                 ELSE i.tombstoned_at END,
            row_version = greatest(i.row_version + 1, excluded.row_version)
        WHERE i.tombstone IS DISTINCT FROM 'purged'
              AND (excluded.updated_at > i.updated_at OR excluded.updated_at = i.updated_at AND NOT :only_newer)
              AND (i.content_hash <> excluded.content_hash
                   OR i.tombstone IS NOT NULL AND (:revives OR excluded.updated_at > i.tombstoned_at))
        RETURNING id, repository_key, kind, external_id, parent_number, state, closed_at, updated_at, labels, tombstone,
                  xmax = 0 AS inserted
    ), queued AS (
        {_QUEUED}
    ), observed AS (
        INSERT INTO item_events (item_id, kind, at, label, source)
        SELECT id, event, at, label, 'observed'
        FROM (
            -- Closed again with another time: it was reopened in between, nobody saw when, so as late as can be.
            SELECT m.id, 'reopened' AS event, coalesce(m.closed_at, m.updated_at) AS at, NULL AS label, 1 AS place
            FROM merged m JOIN known k ON k.id = m.id
            WHERE m.kind <> 'comment' AND k.state = 'closed' AND m.state = 'closed' AND k.closed_at <> m.closed_at
            UNION ALL
            SELECT m.id, 'reopened', m.updated_at, NULL, 1
            FROM merged m JOIN known k ON k.id = m.id
            WHERE m.kind <> 'comment' AND k.state = 'closed' AND m.state = 'open'
            UNION ALL
            SELECT m.id, 'closed', coalesce(m.closed_at, m.updated_at), NULL, 2
            FROM merged m LEFT JOIN known k ON k.id = m.id
            WHERE m.kind <> 'comment' AND m.state = 'closed'
                  AND (k.id IS NULL OR k.state IS DISTINCT FROM 'closed' OR k.closed_at <> m.closed_at)
            UNION ALL
            -- A label that was renamed, or changed in silence, leaves updated_at as it was.
            SELECT m.id, c.event, CASE WHEN m.updated_at > k.updated_at THEN m.updated_at ELSE now() END, c.label, 3
            FROM merged m JOIN known k ON k.id = m.id AND k.labels <> m.labels
            CROSS JOIN LATERAL (SELECT 'labeled' AS event, unnest(m.labels) AS label EXCEPT ALL
                                SELECT 'labeled', unnest(k.labels)
                                UNION ALL
                                (SELECT 'unlabeled', unnest(k.labels) EXCEPT ALL
                                 SELECT 'unlabeled', unnest(m.labels))) AS c
        ) AS e
        ORDER BY id, place, label
    )
    SELECT count(*) FILTER (WHERE inserted), count(*) FILTER (WHERE NOT inserted),
           count(*) FILTER (WHERE k.tombstone IS NOT NULL AND m.tombstone IS NULL AND m.kind <> 'comment')
    FROM merged m LEFT JOIN known k ON k.id = m.id
""")  # noqa: S608  (only our own column names are put in)


@dataclass(frozen=True, slots=True)
class Merged:
    """How many of a page's items were new, had changed, or (among those) had vanished and are back."""

    new: int
    changed: int
    returned: int = 0


def resolve_repository(connection: Connection, repository: Repository, named_at: datetime | None = None) -> Repository:
    """The repository as stored, entered if new, its name brought up to date; its key is the one rows use.

    A repository first met in a file without its numeric id keeps the key it was given then. A rename shows in every
    document, so every item's version rises.

    named_at: when the repository had that name; None for now. Where it is known from later on, the stored name stays.
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
    if named_at is None and (found is None or found.full_name.lower() != repository.full_name.lower()):
        _free_name(connection, repository)
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
    if found.full_name != repository.full_name and _is_known_since(connection, found.key, named_at):
        repository = replace(repository, full_name=found.full_name)
    if (found.full_name, found.github_id) != (repository.full_name, github_id):
        connection.execute(
            text("UPDATE repositories SET full_name = :full_name, github_id = :github_id WHERE key = :key"),
            {"key": found.key, "full_name": repository.full_name, "github_id": github_id},
        )
    if found.full_name != repository.full_name:
        serialize_item_writers(connection)
        connection.execute(
            text(f"""
                UPDATE items SET row_version = {NEXT_ROW_VERSION} WHERE repository_key = :key
            """),  # noqa: S608  (a constant)
            {"key": found.key},
        )
    return replace(repository, key=found.key, github_id=github_id)


def _free_name(connection: Connection, repository: Repository) -> None:
    """Takes the repository's name from another one that had it: that was renamed, and nobody has asked for it since."""
    connection.execute(
        text("""
            UPDATE repositories SET full_name = full_name || '~' || github_id
            WHERE host = :host AND lower(full_name) = lower(:full_name) AND github_id <> :github_id
        """),
        {"host": repository.host, "github_id": repository.github_id, "full_name": repository.full_name},
    )


def _is_known_since(connection: Connection, key: int, time: datetime | None) -> bool:
    """Whether a list of the repository was read, or an item of it updated, at `time` or later; never for None."""
    if time is None:
        return False
    found = connection.execute(
        text("""
            SELECT EXISTS (SELECT FROM cursors WHERE repository_key = :key AND greatest(read_at, updated_at) >= :time)
                   OR EXISTS (SELECT FROM items WHERE repository_key = :key AND updated_at >= :time)
        """),
        {"key": key, "time": time},
    )
    return bool(found.scalar_one())


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


def upsert_items(
    connection: Connection, items: Iterable[Item], keys: dict[int, int], origin: Origin = "live"
) -> Merged:
    """Brings a page's items in: new rows inserted, changed ones replaced whole, unchanged and older ones left alone.

    keys: from the key an item's repository has in the record to the key its rows use (`resolve_repository`).
    origin: how far they win over stored rows, as `Page` says; a purged item stays as it is.
    Every issue or pull request whose text may have changed (its own or a comment's) is queued for fingerprinting, and
    what differs in state and labels from what was stored is entered as an event. Kept objects that could not be used
    are forgotten once the same thing is stored.
    """
    newest: dict[tuple[int, str, int], Item] = {}
    for item in items:
        identity = (keys[item.repository.key], item.kind, item.external_id)
        known = newest.get(identity)
        if known is None or item.updated_at >= known.updated_at:
            newest[identity] = item
    if not newest:
        return Merged(0, 0)
    _create_incoming(connection)
    connection.execute(text("TRUNCATE incoming")) if connection.in_nested_transaction() else None
    _copy_items(connection, newest)
    serialize_item_writers(connection)
    is_known, is_any_rejected = connection.execute(_MEETS).one()
    rights = {"revives": origin == "live", "only_newer": origin == "archive"}
    merged = Merged(*(connection.execute(_MERGE, rights) if is_known else connection.execute(_LOAD)).one())
    if is_any_rejected and origin != "archive":
        # What could not be used before and is stored now: an archive's object may be from long before.
        connection.execute(
            text("""
                DELETE FROM rejected_items x USING incoming n
                WHERE (x.repository_key, x.kind, x.external_id) = (n.repository_key, n.kind, n.external_id)
            """)
        )
    if merged.returned:
        connection.execute(
            text("""
                DELETE FROM item_links l USING items i
                WHERE i.id = l.item_id AND l.kind = 'transferred_to' AND i.tombstone IS NULL
            """)
        )
    _merge_links(connection, newest)
    return merged


def _create_incoming(connection: Connection) -> None:
    """Makes the table that pages are copied into, unless this connection has it already.

    Bodies and payloads are not compressed in it, as they are not in `items`. A table made by AS does not take that
    over, and to compress them, or only to try, takes a third of the server's CPU of a first load.
    """
    if connection.execute(text("SELECT to_regclass('pg_temp.incoming') IS NOT NULL")).scalar_one():
        return
    connection.execute(
        text(f"""
            CREATE TEMPORARY TABLE incoming ON COMMIT DELETE ROWS AS
            SELECT {_COLUMNS} FROM items WITH NO DATA
        """)  # noqa: S608  (only our own column names are put in)
    )
    connection.execute(
        text("""
            ALTER TABLE incoming ALTER COLUMN body SET STORAGE EXTERNAL, ALTER COLUMN payload SET STORAGE EXTERNAL
        """)
    )


def _merge_links(connection: Connection, newest: dict[tuple[int, str, int], Item]) -> None:
    """Makes the links of the page's pull requests those that their texts have now."""
    pulls = {identity: item for identity, item in newest.items() if identity[1] == "pull_request"}
    if not pulls:
        return
    links = [(key, number, link) for (key, _, number), item in pulls.items() for link in item.links]
    connection.execute(
        text("""
            WITH pulls AS (
                SELECT i.id, i.repository_key, i.external_id
                FROM unnest(CAST(:pull_keys AS bigint[]), CAST(:pull_numbers AS bigint[]), CAST(:hashes AS text[]))
                     AS n (key, number, content_hash)
                JOIN items i ON i.repository_key = n.key AND i.kind = 'pull_request' AND i.external_id = n.number
                                AND i.content_hash = n.content_hash
            ), links AS (
                SELECT p.id, n.repository, n.number
                FROM unnest(CAST(:keys AS bigint[]), CAST(:numbers AS bigint[]), CAST(:repositories AS text[]),
                            CAST(:targets AS bigint[])) AS n (key, pull, repository, number)
                JOIN pulls p ON p.repository_key = n.key AND p.external_id = n.pull
            ), gone AS (
                DELETE FROM item_links l USING pulls p
                WHERE l.item_id = p.id AND l.kind = 'fixes'
                      AND NOT EXISTS (SELECT FROM links k
                                      WHERE (k.id, k.repository, k.number) = (l.item_id, l.repository, l.number))
            )
            INSERT INTO item_links (item_id, kind, repository, number)
            SELECT id, 'fixes', repository, number FROM links
            ON CONFLICT DO NOTHING
        """),
        {
            "pull_keys": [key for key, _, _ in pulls],
            "pull_numbers": [number for _, _, number in pulls],
            "hashes": [item.content_hash for item in pulls.values()],
            "keys": [key for key, _, _ in links],
            "numbers": [number for _, number, _ in links],
            "repositories": [link.repository for _, _, link in links],
            "targets": [link.number for _, _, link in links],
        },
    )


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
                    i.merged_at,
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
