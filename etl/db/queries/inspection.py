"""Statements for people: what is stored of one item, and how everything stands."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class ItemExplanation:
    """What is stored of one item: the item, its texts, every answer to them, its documents per task, near issues."""

    item: dict[str, Any]
    texts: list[dict[str, Any]]
    answers: list[dict[str, Any]]
    documents: list[dict[str, Any]]
    near: list[dict[str, Any]]


def select_explanation(connection: Connection, item_id: int) -> ItemExplanation:
    """Everything stored of an issue or pull request."""
    (item,) = _rows(
        connection,
        """
        SELECT i.id, r.full_name AS repository, r.key AS repository_key, i.kind, i.external_id AS number, i.title,
               i.state, i.labels, i.author, i.comments, i.created_at, i.updated_at, i.url, i.content_hash,
               i.row_version, i.tombstone, g.purged_at, g.reason AS purged_why,
               EXISTS (SELECT FROM text_queue q WHERE q.item_id = i.id) AS queued
        FROM items i JOIN repositories r ON r.key = i.repository_key LEFT JOIN purges g ON g.item_id = i.id
        WHERE i.id = :item_id
        """,
        item_id=item_id,
    )
    return ItemExplanation(
        item=item,
        texts=_rows(
            connection,
            """
            SELECT it.input, x.id AS text_id, x.text_hash, x.family_hash, x.rules_version, x.body,
                   (SELECT count(*) FROM item_texts o WHERE o.text_id = x.id) AS items_with_this_text,
                   ARRAY(SELECT f.former_hash FROM text_aliases f WHERE f.text_id = x.id
                         ORDER BY f.created_at DESC, f.former_hash) AS former_ids
            FROM item_texts it JOIN texts x ON x.id = it.text_id WHERE it.item_id = :item_id ORDER BY it.input
            """,
            item_id=item_id,
        ),
        answers=_rows(
            connection,
            """
            SELECT c.task, c.task_version, c.prompt_version, c.classifier, c.model, c.outcome, c.categories,
                   c.confidences, c.rationale, c.redactions, c.truncated_chars, c.input_tokens, c.cache_write_tokens,
                   c.cache_read_tokens, c.output_tokens, c.cost_usd, c.request_id, c.created_at,
                   c.pack, c.batch_id, c.purpose,
                   c.id IN (SELECT a.id FROM current_answers a WHERE a.text_id = c.text_id) AS current
            FROM item_texts it JOIN classifications c ON c.text_id = it.text_id
            WHERE it.item_id = :item_id ORDER BY c.task, c.id DESC
            """,
            item_id=item_id,
        ),
        documents=_rows(
            connection,
            """
            SELECT d.task, d.document_id, d.row_version, d.applies, d.source,
                   (SELECT max(e.row_version) FROM exports e JOIN current_sinks s ON s.id = e.sink_id
                    WHERE e.document_id = d.document_id) AS exported_version,
                   (SELECT max(x.reason) FROM dead_letters x JOIN current_sinks s ON s.id = x.sink_id
                    WHERE x.document_id = d.document_id) AS dead_letter
            FROM classification_documents d WHERE d.item_id = :item_id ORDER BY d.task
            """,
            item_id=item_id,
        ),
        near=_rows(
            connection,
            """
            SELECT s.full_name AS repository, j.external_id AS number, j.title, p.score,
                   (j.created_at, j.id) < (i.created_at, i.id) AS older
            FROM items i
            JOIN item_texts a ON a.item_id = i.id AND a.input = 'issue'
            JOIN LATERAL (SELECT other_text_id AS text_id, score FROM near_texts WHERE text_id = a.text_id
                          UNION ALL
                          SELECT text_id, score FROM near_texts WHERE other_text_id = a.text_id) AS p ON true
            JOIN item_texts b ON b.text_id = p.text_id AND b.input = 'issue'
            JOIN items j ON j.id = b.item_id AND j.kind = 'issue' AND j.tombstone IS NULL
            JOIN repositories s ON s.key = j.repository_key
            WHERE i.id = :item_id AND i.kind = 'issue' AND i.tombstone IS NULL
            ORDER BY p.score DESC, s.full_name, j.external_id
            """,
            item_id=item_id,
        ),
    )


@dataclass(frozen=True, slots=True)
class DatabaseServer:
    """What a PostgreSQL says of itself; `version_number` is 150004 for 15.4."""

    version: str
    version_number: int
    encoding: str
    now: datetime


def select_server(connection: Connection) -> DatabaseServer:
    """Version, encoding and clock of the server."""
    row = connection.execute(
        text("""
            SELECT current_setting('server_version'), CAST(current_setting('server_version_num') AS int),
                   current_setting('server_encoding'), now()
        """)
    ).one()
    return DatabaseServer(*row)


def select_repository_status(connection: Connection) -> list[dict[str, Any]]:
    """Per repository: how much is stored, what vanished, how it answers, and which tasks are asked of it."""
    return _rows(
        connection,
        """
        SELECT r.full_name AS repository, r.key AS repository_key,
               count(i.id) FILTER (WHERE i.kind = 'issue' AND i.tombstone IS NULL) AS issues,
               count(i.id) FILTER (WHERE i.kind = 'issue' AND i.tombstone IS NULL AND i.state = 'open') AS open,
               count(i.id) FILTER (WHERE i.kind = 'pull_request' AND i.tombstone IS NULL) AS pull_requests,
               count(i.id) FILTER (WHERE i.kind = 'comment' AND i.tombstone IS NULL) AS comments,
               count(i.id) FILTER (WHERE i.kind <> 'comment' AND i.tombstone <> 'purged') AS vanished,
               count(i.id) FILTER (WHERE i.kind <> 'comment' AND i.tombstone = 'purged') AS purged,
               (SELECT count(*) FROM rejected_items j WHERE j.repository_key = r.key) AS rejected_items,
               r.reach, r.reach_since,
               max(i.updated_at) FILTER (WHERE i.tombstone IS NULL) AS newest_change,
               (SELECT max(s.ended_at) FROM runs s
                WHERE s.status IN ('ok', 'partial') AND s.command NOT LIKE 'issuetide verify%'
                      AND r.full_name = ANY (s.repositories)) AS last_good_run,
               ARRAY(SELECT k.task FROM tracked_tasks k WHERE k.repository_key = r.key ORDER BY 1) AS tasks
        FROM repositories r LEFT JOIN items i ON i.repository_key = r.key
        GROUP BY r.key, r.full_name ORDER BY r.full_name
        """,
    )


def select_freshness(connection: Connection) -> list[dict[str, Any]]:
    """Per list that is read with a cursor: when it was last read to its end, and how long ago by the server's clock.

    A repository without any such list comes once, with nulls; `has_items` tells those that came from files from those
    whose reading never began.
    """
    return _rows(
        connection,
        """
        SELECT r.full_name AS repository, c.source, c.stream, c.filter, c.read_at,
               CAST(extract(epoch FROM clock_timestamp() - c.read_at) AS float8) AS age_seconds,
               r.reach, r.reach_since, EXISTS (SELECT FROM items i WHERE i.repository_key = r.key) AS has_items
        FROM repositories r LEFT JOIN cursors c ON c.repository_key = r.key
        ORDER BY r.full_name, r.key, c.stream DESC, c.filter
        """,
    )


def select_sweeps(connection: Connection) -> list[dict[str, Any]]:
    """Per repository and scope: the round of the sweep under way, or the last, and how many items it has checked."""
    return _rows(
        connection,
        """
        SELECT r.full_name AS repository, s.filter, s.started_at, s.walked_at, s.finished_at, n.items, n.checked
        FROM sweeps s JOIN repositories r ON r.key = s.repository_key
        CROSS JOIN LATERAL (
            SELECT count(*) AS items,
                   count(*) FILTER (WHERE coalesce(k.checked_at, i.first_seen_at) >= s.started_at) AS checked
            FROM items i LEFT JOIN item_checks k ON k.item_id = i.id
            WHERE i.repository_key = s.repository_key AND i.tombstone IS NULL
                  AND 'kind=' || i.kind = ANY (string_to_array(s.filter, ','))) AS n
        ORDER BY r.full_name, s.filter
        """,
    )


def select_rejected_lines(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """The newest kept objects that could not be used: where they came from, and what is wrong with them."""
    return _rows(
        connection,
        """
        SELECT r.full_name AS repository, x.source, x.line, x.created_at
        FROM rejected_items x JOIN repositories r ON r.key = x.repository_key
        ORDER BY x.id DESC LIMIT :limit
        """,
        limit=limit,
    )


def select_totals(connection: Connection) -> dict[str, Any]:
    """What waits and what failed, over everything."""
    return _rows(
        connection,
        """
        SELECT (SELECT count(*) FROM text_queue) AS items_to_fingerprint,
               (SELECT count(*) FROM texts) AS texts,
               (SELECT count(*) FROM classifications) AS answers,
               (SELECT count(*) FROM claims WHERE expires_at > now()) AS texts_being_asked,
               (SELECT count(*) FROM dead_letters WHERE sink_id IN (SELECT id FROM current_sinks)) AS dead_letters,
               (SELECT count(*) FROM rejected_items) AS rejected_items,
               (SELECT count(*) FROM open_conflicts) AS answer_conflicts,
               (SELECT coalesce(sum(cost_usd), 0) FROM runs) AS cost_usd,
               (SELECT coalesce(sum(redactions), 0) FROM runs) AS redactions
        """,
    )[0]


def select_repository_names(connection: Connection) -> list[str]:
    """'owner/name' of every stored repository."""
    return list(connection.execute(text("SELECT full_name FROM repositories ORDER BY full_name")).scalars())


def select_shared_names(connection: Connection) -> dict[str, list[str]]:
    """The names that repositories of several hosts have, each with the hosts: views tell those apart by no column."""
    rows = connection.execute(
        text("""
            SELECT full_name, array_agg(host ORDER BY host) AS hosts FROM repositories
            GROUP BY full_name HAVING count(*) > 1 ORDER BY full_name
        """)
    )
    return {row.full_name: row.hosts for row in rows}


def select_most_discussed_issue(connection: Connection) -> str:
    """'owner/name#number' of the issue with the most comments; '' where there is none."""
    found = connection.execute(
        text("SELECT repository || '#' || number FROM issues ORDER BY comments DESC NULLS LAST, number DESC LIMIT 1")
    )
    return str(found.scalar_one_or_none() or "")


def select_tracked_tasks(connection: Connection) -> list[str]:
    """The names of the tasks that were asked of some repository."""
    return list(connection.execute(text("SELECT DISTINCT task FROM tracked_tasks ORDER BY task")).scalars())


def _rows(connection: Connection, statement: str, **parameters: object) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(text(statement), parameters).mappings()]
