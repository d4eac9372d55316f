"""Statements that compare: what is stored with what a source shows, with itself, and with what a sink holds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, text

from etl.db.queries.items import MICROSECONDS_NOW
from etl.db.queries.mirror import StoredItem
from etl.db.store import serialize_item_writers
from etl.records import Item, Repository, Scope

_COLUMNS = (
    "title, body, state, state_reason, author, author_type, author_association, labels, assignees, comments,"
    " created_at, updated_at, closed_at, merged_at, url, payload, content_hash"
)
COLUMNS = tuple(name.strip() for name in _COLUMNS.split(","))
"""What is compared of an item: every column that comes from its source."""
_COPIED = 5_000


@dataclass(frozen=True, slots=True)
class StoredList:
    """A list that a repository is read by. read_at: when it was last read to its end; None: never."""

    name: str
    filter: str
    read_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredRepository:
    """A stored repository and the lists of one source that it is read by (none: it came from files)."""

    repository: Repository
    lists: tuple[StoredList, ...]


@dataclass(frozen=True, slots=True)
class StoredRow:
    """What is stored of an item. values: of `COLUMNS`. live_comments: how many stored comments of it are there."""

    item: StoredItem
    tombstone: str | None
    values: tuple[Any, ...]
    live_comments: int = 0


@dataclass(frozen=True, slots=True)
class WrongHistory:
    """An item whose last known change of state is not the state it has."""

    item: StoredItem
    state: str
    last: str


@dataclass(frozen=True, slots=True)
class IndexFinding:
    """A document that an index does not hold as it should; `held` is its version there.

    check: extra, missing, absent (believed to be held), version, refused, orphaned (neither there nor to be there, but
    believed to be held), pending (the next export sees to it).
    """

    check: str
    document_id: str
    wanted: int | None
    held: int | None


def select_repositories(connection: Connection, source: str) -> list[StoredRepository]:
    """Every stored repository with the lists of `source` that it is read by, by name."""
    rows = connection.execute(
        text("""
            SELECT r.key, r.host, r.github_id, r.full_name, c.stream, c.filter, c.read_at
            FROM repositories r
            LEFT JOIN cursors c ON c.repository_key = r.key AND c.source = :source
            ORDER BY lower(r.full_name), r.key, c.stream, c.filter
        """),
        {"source": source},
    )
    found: dict[int, tuple[Repository, list[StoredList]]] = {}
    for row in rows:
        repository = Repository(row.key, row.host, row.github_id, row.full_name)
        lists = found.setdefault(row.key, (repository, []))[1]
        if row.stream is not None:
            lists.append(StoredList(row.stream, row.filter, row.read_at))
    return [StoredRepository(repository, tuple(lists)) for repository, lists in found.values()]


def select_rows(connection: Connection, repository_key: int, items: Sequence[Item]) -> dict[tuple[str, int], StoredRow]:
    """What is stored of these issues and pull requests, by kind and number."""
    rows = connection.execute(
        text(f"""
            SELECT i.id, i.kind, i.external_id, i.tombstone, {_COLUMNS},
                   (SELECT count(*) FROM items c
                    WHERE c.repository_key = i.repository_key AND c.parent_number = i.external_id
                          AND c.kind = 'comment' AND c.tombstone IS NULL) AS live_comments
            FROM unnest(CAST(:kinds AS text[]), CAST(:numbers AS bigint[])) AS n (kind, number)
            JOIN items i ON i.repository_key = :key AND i.kind = n.kind AND i.external_id = n.number
        """),  # noqa: S608  (only our own column names are put in)
        {
            "key": repository_key,
            "kinds": [item.kind for item in items],
            "numbers": [item.external_id for item in items],
        },
    )
    return {(row.kind, row.external_id): _stored_row(row, row.live_comments) for row in rows}


def select_comments(connection: Connection, repository_key: int, number: int) -> dict[int, StoredRow]:
    """What is stored of the comments of an issue or pull request, by their ids; vanished ones too."""
    rows = connection.execute(
        text(f"""
            SELECT id, kind, external_id, tombstone, {_COLUMNS} FROM items
            WHERE repository_key = :key AND kind = 'comment' AND parent_number = :number
        """),  # noqa: S608  (only our own column names are put in)
        {"key": repository_key, "number": number},
    )
    return {row.external_id: _stored_row(row, 0) for row in rows}


def _stored_row(row: Any, live_comments: int) -> StoredRow:  # noqa: ANN401  (a row of SQLAlchemy's)
    item = StoredItem(row.id, row.kind, row.external_id, row.updated_at)
    values = tuple(getattr(row, name) for name in COLUMNS)
    return StoredRow(item, row.tombstone, values, live_comments)


def reset_items(connection: Connection, items: Mapping[int, datetime]) -> None:
    """Lets the next upsert replace these items (by id), which differ from a state of theirs as of that time."""
    if not items:
        return
    serialize_item_writers(connection)
    connection.execute(
        text("""
            UPDATE items i SET content_hash = '', updated_at = least(i.updated_at, n.updated_at)
            FROM unnest(CAST(:ids AS bigint[]), CAST(:times AS timestamptz[])) AS n (id, updated_at)
            WHERE i.id = n.id AND i.tombstone IS DISTINCT FROM 'purged'
        """),
        {"ids": list(items), "times": list(items.values())},
    )


def count_items(
    connection: Connection, repository_key: int, scopes: Sequence[Scope]
) -> dict[tuple[str, str], tuple[int, int]]:
    """By kind and state: how many issues and pull requests of the scopes are stored, and how many comments of them."""
    within, parameters = _within(scopes)
    rows = connection.execute(
        text(f"""
            SELECT i.kind, coalesce(i.state, 'open') AS state, count(*) AS items,
                   coalesce(sum(c.stored), 0)::bigint AS comments
            FROM items i
            LEFT JOIN (SELECT parent_number, count(*) AS stored FROM items
                       WHERE repository_key = :key AND kind = 'comment' AND tombstone IS NULL
                       GROUP BY parent_number) AS c ON c.parent_number = i.external_id
            WHERE i.repository_key = :key AND i.tombstone IS NULL AND ({within})
            GROUP BY 1, 2
        """),  # noqa: S608  (see `_within`)
        {"key": repository_key, **parameters},
    )
    return {(row.kind, row.state): (row.items, row.comments) for row in rows}


def stream_live_items(
    connection: Connection, repository_key: int, scopes: Sequence[Scope], *, by_label: bool
) -> Iterator[StoredItem]:
    """The stored issues and pull requests of the scopes that have not vanished, by number.

    by_label: only those whose stored labels are those of their scope; else all of its kinds.
    """
    within, parameters = _within(scopes, by_label=by_label)
    rows = connection.execution_options(yield_per=5_000).execute(
        text(f"""
            SELECT i.id, i.kind, i.external_id, i.updated_at FROM items i
            WHERE i.repository_key = :key AND i.tombstone IS NULL AND ({within}) ORDER BY i.external_id, i.kind
        """),  # noqa: S608  (see `_within`)
        {"key": repository_key, **parameters},
    )
    for portion in rows.partitions():
        for row in portion:
            yield StoredItem(row.id, row.kind, row.external_id, row.updated_at)


def _within(scopes: Sequence[Scope], *, by_label: bool = True) -> tuple[str, dict[str, list[str]]]:
    """The condition that an item `i` is of one of the scopes, of numbered parameters alone, and these."""
    conditions, parameters = ["false"], {}
    for place, scope in enumerate(scopes):
        parameters[f"kinds_{place}"] = [str(kind) for kind in scope.kinds]
        condition = f"i.kind = ANY (:kinds_{place})"
        if scope.labels and by_label:
            parameters[f"labels_{place}"] = [label.lower() for label in scope.labels]
            condition += f" AND EXISTS (SELECT FROM unnest(i.labels) AS l WHERE lower(l) = ANY (:labels_{place}))"
        conditions.append(f"({condition})")
    return " OR ".join(conditions), parameters


def select_without_text(connection: Connection, repository_key: int) -> list[StoredItem]:
    """Items that lack a text which some task asks of, although they do not wait for it."""
    rows = connection.execute(
        text("""
            SELECT i.id, i.kind, i.external_id, i.updated_at FROM items i
            WHERE i.repository_key = :key AND i.kind <> 'comment' AND i.tombstone IS NULL
                  AND NOT EXISTS (SELECT FROM text_queue q WHERE q.item_id = i.id)
                  AND EXISTS (SELECT FROM (SELECT DISTINCT input FROM tasks UNION SELECT 'issue') AS w
                              WHERE NOT EXISTS (SELECT FROM item_texts t WHERE t.item_id = i.id AND t.input = w.input))
            ORDER BY i.external_id
        """),
        {"key": repository_key},
    )
    return [StoredItem(row.id, row.kind, row.external_id, row.updated_at) for row in rows]


def queue_items(connection: Connection, items: Iterable[StoredItem]) -> None:
    """Has the texts of these items made again."""
    connection.execute(
        text("INSERT INTO text_queue (item_id) SELECT unnest(CAST(:ids AS bigint[])) ON CONFLICT DO NOTHING"),
        {"ids": [item.id for item in items]},
    )


def select_wrong_histories(connection: Connection, repository_key: int) -> list[WrongHistory]:
    """Items whose last change of state, by what is known of their history, did not lead to the state they have."""
    rows = connection.execute(
        text("""
            WITH last AS (
                SELECT DISTINCT ON (s.item_id) s.item_id, s.kind
                FROM state_changes s JOIN items i ON i.id = s.item_id AND i.repository_key = :key
                ORDER BY s.item_id, s.at DESC, s.id DESC
            )
            SELECT i.id, i.kind, i.external_id, i.updated_at, i.state, coalesce(l.kind, 'opened') AS last
            FROM items i LEFT JOIN last l ON l.item_id = i.id
            WHERE i.repository_key = :key AND i.kind <> 'comment' AND i.tombstone IS NULL AND i.state IS NOT NULL
                  AND (i.state = 'closed') <> (coalesce(l.kind, 'opened') = 'closed')
            ORDER BY i.external_id
        """),
        {"key": repository_key},
    )
    return [
        WrongHistory(StoredItem(row.id, row.kind, row.external_id, row.updated_at), row.state, row.last) for row in rows
    ]


def select_open_counts(connection: Connection) -> dict[str, tuple[int, int]]:
    """By repository: the last day's open issues as the view open_daily has them, and how many are open.

    Two may have one name, of GitHub and of a file of another host: the views add them up, and so does this.
    """
    rows = connection.execute(
        text("""
            SELECT r.full_name, coalesce(d.open, 0) AS by_day, coalesce(n.open, 0) AS now
            FROM repositories r
            LEFT JOIN (SELECT repository, sum(open) AS open
                       FROM (SELECT repository, open, rank() OVER (PARTITION BY repository ORDER BY day DESC) AS place
                             FROM open_daily) AS l
                       WHERE place = 1 GROUP BY repository) AS d ON d.repository = r.full_name
            LEFT JOIN (SELECT repository, count(*) FILTER (WHERE state <> 'closed') AS open FROM issues
                       GROUP BY repository) AS n ON n.repository = r.full_name
        """)
    )
    return {row.full_name: (row.by_day, row.now) for row in rows}


def count_set_aside(connection: Connection, repository_key: int) -> dict[str, int]:
    """What is kept of a repository beside items in sight: rejected objects, vanished and purged items, the queue."""
    row = connection.execute(
        text("""
            SELECT (SELECT count(*) FROM rejected_items WHERE repository_key = :key) AS rejected,
                   count(*) FILTER (WHERE i.tombstone = 'purged') AS purged,
                   count(*) FILTER (WHERE i.tombstone <> 'purged') AS vanished,
                   count(q.item_id) AS queued
            FROM items i LEFT JOIN text_queue q ON q.item_id = i.id
            WHERE i.repository_key = :key AND i.kind <> 'comment' AND (i.tombstone IS NOT NULL OR q.item_id IS NOT NULL)
        """),
        {"key": repository_key},
    ).one()
    return dict(row._mapping)


_WANTED = {
    "classifications": "SELECT document_id, row_version, applies FROM document_versions",
    "daily": "SELECT document_id, row_version, true AS applies FROM daily_documents",
    "runs": "SELECT document_id, row_version, true AS applies FROM run_documents",
}


def fill_held(connection: Connection, held: Iterable[tuple[str, int]]) -> None:
    """Puts what an index holds (ids and versions) into the table `held_documents`, which ends with the transaction."""
    # Reading the index may have to wait for it; this transaction holds no lock meanwhile.
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    connection.execute(text("DROP TABLE IF EXISTS held_documents"))
    connection.execute(text("CREATE TEMPORARY TABLE held_documents (document_id text, version bigint) ON COMMIT DROP"))
    driver = connection.connection.driver_connection
    if driver is None:  # pragma: no cover - a checked-out connection always has one
        raise RuntimeError("the connection was closed")
    remaining = iter(held)
    while portion := list(islice(remaining, _COPIED)):
        with driver.cursor() as cursor, cursor.copy("COPY held_documents FROM STDIN") as copy:
            for entry in portion:
                copy.write_row(entry)
    connection.execute(text("ANALYZE held_documents"))


def stream_index_findings(connection: Connection, index: str, sink_id: int) -> Iterator[IndexFinding]:
    """Which documents of an index, as `fill_held` entered it, are not what the database says; those that wait too.

    A document waits where it changed after the last one that the sink is known to hold; an older one should be there,
    and so should all of them where nothing is known to be held.
    A run's record never changes, so that a newer version of it is the same.
    """
    rows = connection.execution_options(yield_per=2_000).execute(
        text(f"""
            WITH wanted AS MATERIALIZED ({_WANTED[index]}),
                 believed AS MATERIALIZED (SELECT document_id, row_version FROM exports WHERE sink_id = :sink_id),
                 last AS (SELECT coalesce(max(row_version), 9223372036854775807) AS version FROM believed)
            SELECT * FROM (
                SELECT document_id, w.row_version AS wanted, h.version AS held,
                       CASE WHEN w.document_id IS NULL AND b.row_version < g.row_version THEN 'pending'
                            WHEN w.document_id IS NULL AND h.document_id IS NOT NULL THEN 'extra'
                            WHEN w.document_id IS NULL AND g.document_id IS NOT NULL THEN NULL
                            WHEN w.document_id IS NULL THEN 'orphaned'
                            WHEN h.version = w.row_version THEN NULL
                            WHEN x.row_version = w.row_version THEN 'refused'
                            WHEN h.version IS NULL AND b.document_id IS NOT NULL THEN 'absent'
                            WHEN h.version IS NULL AND NOT w.applies THEN NULL
                            WHEN h.version IS NULL AND w.row_version > l.version THEN 'pending'
                            WHEN h.version IS NULL THEN 'missing'
                            WHEN :index = 'runs' AND h.version > w.row_version THEN NULL
                            WHEN h.version = b.row_version AND w.row_version > l.version THEN 'pending'
                            ELSE 'version' END AS finding
                FROM wanted w
                FULL JOIN held_documents h USING (document_id)
                FULL JOIN believed b USING (document_id)
                LEFT JOIN deletions g USING (document_id)
                LEFT JOIN (SELECT document_id, row_version FROM dead_letters WHERE sink_id = :sink_id) AS x
                     USING (document_id)
                CROSS JOIN last l) AS f
            WHERE finding IS NOT NULL ORDER BY document_id
        """),  # noqa: S608  (a constant)
        {"sink_id": sink_id, "index": index},
    )
    for portion in rows.partitions():
        for row in portion:
            yield IndexFinding(row.finding, row.document_id, row.wanted, row.held)


def count_documents(connection: Connection, index: str, sink_id: int) -> dict[int, tuple[int, int]]:
    """By repository key (0: of none): how many documents an index should hold, and how many `fill_held` entered.

    A document that no longer applies should be there if it is known to have been written.
    """
    key = "0" if index == "runs" else "coalesce(substring(document_id FROM '^[0-9]{1,19}')::numeric, 0)"
    rows = connection.execute(
        text(f"""
            SELECT {key} AS key, count(*) FILTER (WHERE is_wanted) AS wanted, count(*) FILTER (WHERE is_held) AS held
            FROM (SELECT w.document_id, true AS is_wanted, false AS is_held FROM ({_WANTED[index]}) AS w
                  WHERE w.applies OR EXISTS (SELECT FROM exports e
                                             WHERE e.sink_id = :sink_id AND e.document_id = w.document_id)
                  UNION ALL
                  SELECT document_id, false, true FROM held_documents) AS d
            GROUP BY 1
        """),  # noqa: S608  (constants)
        {"sink_id": sink_id},
    )
    return {int(row.key): (row.wanted, row.held) for row in rows}


def correct_exports(connection: Connection, sink_id: int, held: Mapping[str, int | None]) -> None:
    """Makes what a sink is believed to hold what it holds: by document id the version there, None where it is not.

    What it refused is tried again.
    """
    parameters = {"sink_id": sink_id, "ids": list(held), "versions": list(held.values())}
    connection.execute(
        text("DELETE FROM dead_letters WHERE sink_id = :sink_id AND document_id = ANY (:ids)"), parameters
    )
    connection.execute(
        text("""
            WITH held AS (
                SELECT * FROM unnest(CAST(:ids AS text[]), CAST(:versions AS bigint[])) AS n (document_id, version)
            ), gone AS (
                DELETE FROM exports e USING held h
                WHERE e.sink_id = :sink_id AND e.document_id = h.document_id AND h.version IS NULL
            )
            INSERT INTO exports (sink_id, document_id, row_version)
            SELECT :sink_id, document_id, version FROM held WHERE version IS NOT NULL
            ON CONFLICT (sink_id, document_id) DO UPDATE SET row_version = excluded.row_version
        """),
        parameters,
    )


def believe_held(connection: Connection, sink_id: int) -> None:
    """Makes what a sink is believed to hold all that `fill_held` entered, and nothing else."""
    connection.execute(
        text("""
            WITH gone AS (
                DELETE FROM exports e WHERE e.sink_id = :sink_id
                       AND NOT EXISTS (SELECT FROM held_documents h WHERE h.document_id = e.document_id)
            )
            INSERT INTO exports AS e (sink_id, document_id, row_version)
            SELECT :sink_id, document_id, version FROM held_documents
            ON CONFLICT (sink_id, document_id) DO UPDATE SET row_version = excluded.row_version
            WHERE e.row_version <> excluded.row_version
        """),
        {"sink_id": sink_id},
    )


def raise_versions(connection: Connection, index: str, held: Mapping[str, int]) -> None:
    """Gives what these documents are made of a version above the one that the index has or had: it takes no older one.

    A run's record keeps its version.
    """
    parameters = {"ids": list(held), "versions": list(held.values())}
    if index == "classifications":
        serialize_item_writers(connection)
        connection.execute(
            text(f"""
                UPDATE items i SET row_version = greatest(i.row_version + 1, n.version + 1, {MICROSECONDS_NOW})
                FROM (SELECT d.item_id, max(h.version) AS version
                      FROM unnest(CAST(:ids AS text[]), CAST(:versions AS bigint[])) AS h (document_id, version)
                      JOIN document_versions d USING (document_id) GROUP BY d.item_id) AS n
                WHERE i.id = n.item_id
            """),  # noqa: S608  (a constant)
            parameters,
        )
    elif index == "daily":
        connection.execute(
            text(f"""
                UPDATE daily_counts d SET row_version = greatest(d.row_version + 1, n.version + 1, {MICROSECONDS_NOW})
                FROM unnest(CAST(:ids AS text[]), CAST(:versions AS bigint[])) AS n (document_id, version)
                WHERE d.repository_key || '-' || d.task || '-' || d.category || '-' || d.day
                      || CASE d.family_hash WHEN '' THEN '' ELSE '-' || d.family_hash END = n.document_id
            """),  # noqa: S608  (a constant)
            parameters,
        )
