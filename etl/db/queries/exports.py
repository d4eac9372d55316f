"""Statements on exports: which documents a sink lacks, and what it is known to hold."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import Connection, text

from etl.db.queries.items import MICROSECONDS_NOW
from etl.records import Document, PushResult

_LACKS = """
    FROM {view} d
    LEFT JOIN exports e ON e.sink_id = :sink_id AND e.document_id = d.document_id
    LEFT JOIN dead_letters x ON x.sink_id = :sink_id AND x.document_id = d.document_id
    WHERE e.row_version IS DISTINCT FROM d.row_version AND x.row_version IS DISTINCT FROM d.row_version
"""
_PENDING = {
    "classifications": _LACKS.format(view="document_versions") + "AND (d.applies OR e.document_id IS NOT NULL)",
    "daily": _LACKS.format(view="daily_documents"),
    "runs": _LACKS.format(view="run_documents"),
}
"""By index: the documents that a sink lacks or holds in another version. Compared per row, never by a high-water mark:
row versions are not in commit order (facts/postgres.md)."""
_DELETIONS = """
    FROM deletions g
    JOIN exports e ON e.sink_id = :sink_id AND e.document_id = g.document_id AND e.row_version < g.row_version
    LEFT JOIN dead_letters x ON x.sink_id = :sink_id AND x.document_id = g.document_id
    WHERE x.row_version IS DISTINCT FROM g.row_version
"""
"""What a sink holds and must delete. Its row in `exports` then has the version of the deletion; should a run that read
before the purge write the document once more, that row is older again, and so the document is deleted again."""
_GONE = """
    FROM sinks
    WHERE regexp_replace(identity, '-v[0-9]+(-[0-9]+)?/[^/]*$', '') = :alias
          AND identity <> ALL (CAST(:there AS text[]))
"""
"""What is known of indices of an alias ('cluster UUID/PREFIX-NAME') other than those that are there."""


def select_sink(connection: Connection, identity: str) -> int | None:
    """The id of the sink with this identity; None where none was met yet."""
    found = connection.execute(text("SELECT id FROM sinks WHERE identity = :identity"), {"identity": identity})
    return found.scalar_one_or_none()


def resolve_sink(connection: Connection, identity: str, *, is_current: bool = True) -> int:
    """The id of the sink with this identity, entered if new.

    An index that was deleted and made anew is a new sink with the same name: what the old one refused is forgotten, as
    all of it is sent again.
    is_current: it is the index that searches see; False: one that is being filled.
    """
    sink_id = _enter_sink(connection, identity)
    if is_current:
        connection.execute(text("UPDATE sinks SET last_met_at = clock_timestamp() WHERE id = :id"), {"id": sink_id})
    return sink_id


def _enter_sink(connection: Connection, identity: str) -> int:
    known = select_sink(connection, identity)
    if known is not None:
        return known
    connection.execute(
        text("DELETE FROM dead_letters USING sinks s WHERE s.id = sink_id AND starts_with(s.identity, :name)"),
        {"name": identity.rpartition("/")[0] + "/"},
    )
    return int(
        connection.execute(
            text("""
                INSERT INTO sinks (identity) VALUES (:identity)
                ON CONFLICT (identity) DO UPDATE SET identity = excluded.identity RETURNING id
            """),
            {"identity": identity},
        ).scalar_one()
    )


def select_current_identity(connection: Connection, identity: str) -> str | None:
    """The identity of the index that was last met behind the alias of this one; None where none ever was."""
    found = connection.execute(
        text("""
            SELECT identity FROM current_sinks
            WHERE alias = regexp_replace(:identity, '-v[0-9]+(-[0-9]+)?/[^/]*$', '')
        """),
        {"identity": identity},
    )
    return found.scalar_one_or_none()


def select_newest_sinks(connection: Connection, prefix: str) -> dict[str, int]:
    """By index name ('classifications', 'daily', 'runs'): the sink that was last met under this index prefix."""
    rows = connection.execute(
        text("""
            SELECT DISTINCT ON (index) index, id
            FROM (SELECT id, last_met_at, substring(alias FROM :pattern) AS index FROM current_sinks) AS s
            WHERE index IS NOT NULL ORDER BY index, last_met_at DESC, id DESC
        """),
        {"pattern": f"/{re.escape(prefix)}-(classifications|daily|runs)$"},
    )
    return {found[0]: found[1] for found in rows}


def select_sinks_met(connection: Connection, identities: Sequence[str]) -> dict[str, tuple[int, datetime | None]]:
    """Of these identities those that are known: id, and when a run last found the index behind its alias."""
    rows = connection.execute(
        text("SELECT identity, id, last_met_at FROM sinks WHERE identity = ANY (:identities)"),
        {"identities": list(identities)},
    )
    return {row.identity: (row.id, row.last_met_at) for row in rows}


def delete_sinks(connection: Connection, alias: str, there: Sequence[str]) -> int:
    """Forgets what was known of indices of `alias` ('cluster UUID/PREFIX-NAME') that are gone; gives how many.

    there: the identities of those that are there.
    """
    return connection.execute(text(f"DELETE {_GONE}"), {"alias": alias, "there": list(there)}).rowcount


def is_one_gone_unfinished(connection: Connection, alias: str, there: Sequence[str]) -> bool:
    """Whether an index of `alias` is gone that was being filled; parameters as of `delete_sinks`."""
    found = connection.execute(
        text(f"SELECT EXISTS (SELECT {_GONE} AND last_met_at IS NULL)"), {"alias": alias, "there": list(there)}
    )
    return bool(found.scalar_one())


def delete_unfinished(connection: Connection, alias: str, there: Sequence[str]) -> int:
    """As `delete_sinks`, but only of what was being filled."""
    return connection.execute(
        text(f"DELETE {_GONE} AND last_met_at IS NULL"), {"alias": alias, "there": list(there)}
    ).rowcount


def count_exported(connection: Connection, sink_id: int) -> int:
    """How many documents a sink is known to hold; those that it deleted are none."""
    return int(
        connection.execute(
            text("""
                SELECT count(*) FROM exports e
                WHERE e.sink_id = :sink_id AND NOT EXISTS (
                    SELECT FROM deletions g
                    WHERE g.document_id = e.document_id AND g.row_version <= e.row_version)
            """),
            {"sink_id": sink_id},
        ).scalar_one()
    )


def select_lost(connection: Connection, sink_id: int, new_sink_id: int) -> list[tuple[str, str]]:
    """What a new index refused although the one before it holds it: document id and reason."""
    rows = connection.execute(
        text("""
            SELECT x.document_id, x.reason FROM dead_letters x
            JOIN exports e ON e.sink_id = :old AND e.document_id = x.document_id
            WHERE x.sink_id = :new ORDER BY x.document_id
        """),
        {"old": sink_id, "new": new_sink_id},
    )
    return [(row.document_id, row.reason) for row in rows]


def count_dead_letters(connection: Connection, sink_id: int) -> int:
    """How many documents a sink refused."""
    return int(
        connection.execute(
            text("SELECT count(*) FROM dead_letters WHERE sink_id = :sink_id"), {"sink_id": sink_id}
        ).scalar_one()
    )


def count_pending_documents(connection: Connection, index: str, sink_id: int | None) -> int:
    """How many documents of `index` the sink lacks or must delete; with no sink at all, every document there is."""
    parameters = {"sink_id": sink_id if sink_id is not None else -1}
    pending = connection.execute(text(f"SELECT count(*) {_PENDING[index]}"), parameters).scalar_one()
    if index != "classifications":
        return int(pending)
    return int(pending) + int(connection.execute(text(f"SELECT count(*) {_DELETIONS}"), parameters).scalar_one())


def stream_pending_documents(connection: Connection, index: str, sink_id: int) -> Iterator[Document]:
    """What the sink must delete, then the documents of `index` that it lacks, in portions so that memory stays flat."""
    if index == "classifications":
        deletions = connection.execute(
            text(f"SELECT g.document_id, g.row_version {_DELETIONS}"), {"sink_id": sink_id}
        ).all()
        yield from (Document(row.document_id, row.row_version, None) for row in deletions)
    pending = _PENDING[index].replace("document_versions", "classification_documents")
    result = connection.execution_options(yield_per=2000).execute(
        text(f"SELECT d.document_id, d.row_version, CAST(d.source AS text) {pending}"),
        {"sink_id": sink_id},
    )
    for portion in result.partitions():
        for identifier, version, source in portion:
            yield Document(identifier, version, source)


def insert_push_results(connection: Connection, sink_id: int, results: Sequence[PushResult], run_id: int) -> None:
    """Remembers what the sink holds now, and what it refused.

    A stale document counts as held at our version: the sink has a newer one, and sending ours again changes nothing.
    What is held is no dead letter any more.
    """
    held = [result.document for result in results if result.status != "rejected"]
    if held:
        connection.execute(
            text("DELETE FROM dead_letters WHERE sink_id = :sink_id AND document_id = ANY (:ids)"),
            {"sink_id": sink_id, "ids": [document.id for document in held]},
        )
        connection.execute(
            text("""
                INSERT INTO exports AS e (sink_id, document_id, row_version)
                SELECT :sink_id, n.id, n.version
                FROM unnest(CAST(:ids AS text[]), CAST(:versions AS bigint[])) AS n (id, version)
                ON CONFLICT (sink_id, document_id) DO UPDATE SET row_version = excluded.row_version
            """),
            {
                "sink_id": sink_id,
                "ids": [document.id for document in held],
                "versions": [document.version for document in held],
            },
        )
    rejected = [result for result in results if result.status == "rejected"]
    if rejected:
        connection.execute(
            text("""
                INSERT INTO dead_letters AS x (sink_id, document_id, row_version, reason, run_id)
                VALUES (:sink_id, :id, :version, :reason, :run_id)
                ON CONFLICT (sink_id, document_id) DO UPDATE
                SET row_version = excluded.row_version, reason = excluded.reason, run_id = excluded.run_id,
                    created_at = now()
            """),
            [
                {
                    "sink_id": sink_id,
                    "id": result.document.id,
                    "version": result.document.version,
                    "reason": result.reason,
                    "run_id": run_id,
                }
                for result in rejected
            ],
        )


def delete_dead_letters(connection: Connection, sink_id: int | None = None) -> int:
    """Forgets every dead letter (of one sink), so that its document is tried again; gives how many there were."""
    return connection.execute(
        text("DELETE FROM dead_letters WHERE sink_id = coalesce(:sink_id, sink_id)"), {"sink_id": sink_id}
    ).rowcount


def select_dead_letters(connection: Connection, limit: int) -> list[tuple[str, str]]:
    """The newest dead letters of the indices that searches see: document id and reason."""
    rows = connection.execute(
        text("""
            SELECT document_id, reason FROM dead_letters WHERE sink_id IN (SELECT id FROM current_sinks)
            ORDER BY created_at DESC LIMIT :limit
        """),
        {"limit": limit},
    )
    return [(row.document_id, row.reason) for row in rows]


def day_has_begun(connection: Connection) -> bool:
    """Whether a UTC day has begun since `daily_counts` was computed; also true where it never was."""
    return bool(
        connection.execute(
            text("SELECT NOT EXISTS (SELECT FROM daily_counts WHERE day = (now() AT TIME ZONE 'UTC')::date)")
        ).scalar_one()
    )


def refresh_daily_counts(connection: Connection) -> int:
    """Brings `daily_counts` up to the view `daily_rows`; gives how many rows changed.

    What no item has any more on a day goes to zero instead of away, so that its document does, too.
    """
    return connection.execute(
        text(f"""
            WITH truth AS MATERIALIZED (SELECT * FROM daily_rows), changed AS (
                SELECT repository_key, task, category, family_hash, day, coalesce(t.opened, 0) AS opened,
                       coalesce(t.closed, 0) AS closed, coalesce(t.reopened, 0) AS reopened,
                       coalesce(t.open, 0) AS open, coalesce(t.new_families, 0) AS new_families
                FROM truth t
                FULL JOIN daily_counts d USING (repository_key, task, category, family_hash, day)
                WHERE d.row_version IS NULL
                      OR (coalesce(t.opened, 0), coalesce(t.closed, 0), coalesce(t.reopened, 0), coalesce(t.open, 0),
                          coalesce(t.new_families, 0)) <> (d.opened, d.closed, d.reopened, d.open, d.new_families)
            )
            INSERT INTO daily_counts AS d (repository_key, task, category, family_hash, day, opened, closed, reopened,
                                           open, new_families, row_version)
            SELECT repository_key, task, category, family_hash, day, opened, closed, reopened, open, new_families,
                   {MICROSECONDS_NOW}
            FROM changed
            ON CONFLICT (repository_key, task, category, day, family_hash) DO UPDATE
            SET opened = excluded.opened, closed = excluded.closed, reopened = excluded.reopened, open = excluded.open,
                new_families = excluded.new_families, row_version = greatest(d.row_version + 1, excluded.row_version)
        """)  # noqa: S608  (a constant)
    ).rowcount
