"""Statements that erase an item for good, and leave a stub that no fetch fills again."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from etl.db.queries.inheritance import delete_kin
from etl.db.queries.items import MICROSECONDS_NOW, NEXT_ROW_VERSION
from etl.db.queries.near import delete_signatures
from etl.records import Rejected


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An issue or pull request that may be purged, as a person recognises it.

    ids: of its rows; there are two where GitHub has called one number both an issue and a pull request.
    document_prefixes: what the ids of its documents begin with.
    moved_to: 'owner/name#number' of where it was transferred to.
    """

    ids: tuple[int, ...]
    repository_key: int
    host: str
    repository: str
    number: int
    kind: str
    title: str | None
    comments: int
    tombstone: str | None
    moved_to: str | None
    document_prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ItemText:
    """A text of an item that is to be purged, and the other items that have it now, or another that it counts as."""

    id: int
    input: str
    text_hash: str
    body: str
    other_items: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Holder:
    """A sink that holds documents which it must delete; `sink` is its identity less what changes when it is emptied.

    kept: it is an index that was replaced, and no export writes to it any more.
    """

    sink: str
    documents: int
    kept: bool = False


def select_items(connection: Connection, repository: str, number: int, host: str | None = None) -> list[StoredItem]:
    """The stored issue or pull request with this number, once per repository of that name (of one host, or any)."""
    rows = connection.execute(
        text("""
            SELECT array_agg(i.id ORDER BY i.kind) AS ids, r.key, r.host, r.full_name, min(i.kind) AS kind,
                   max(i.title) AS title, min(i.tombstone) AS tombstone,
                   (SELECT count(*) FROM items c WHERE c.repository_key = r.key AND c.kind = 'comment'
                           AND c.parent_number = :number AND c.tombstone IS DISTINCT FROM 'purged') AS comments,
                   (SELECT min(l.repository || '#' || l.number) FROM item_links l
                    WHERE l.kind = 'transferred_to' AND l.item_id = ANY (array_agg(i.id))) AS moved_to,
                   array_agg(r.key || '-' || i.kind || '-' || i.external_id || '-') AS prefixes
            FROM items i JOIN repositories r ON r.key = i.repository_key
            WHERE lower(r.full_name) = lower(:repository) AND i.external_id = :number AND i.kind <> 'comment'
                  AND (CAST(:host AS text) IS NULL OR r.host = lower(:host))
            GROUP BY r.key, r.host, r.full_name ORDER BY r.host, r.key
        """),
        {"repository": repository, "number": number, "host": host},
    )
    return [
        StoredItem(
            tuple(row.ids),
            row.key,
            row.host,
            row.full_name,
            number,
            row.kind,
            row.title,
            row.comments,
            row.tombstone,
            row.moved_to,
            tuple(row.prefixes),
        )
        for row in rows
    ]


def lock_claims(connection: Connection) -> None:
    """Waits until no run is claiming texts or storing answers, and keeps all from it until this transaction ends.

    To be taken before the turn of writing items, as storing an answer does.
    """
    connection.execute(text("LOCK TABLE claims IN EXCLUSIVE MODE"))


def select_texts(connection: Connection, item: StoredItem) -> list[ItemText]:
    """The texts that the item has and had, with the other items that have them now.

    Also those that no item is known to have or to have had: before 0.2 it was not kept whose they were.
    """
    rows = connection.execute(
        text("""
            SELECT x.id, x.input, x.text_hash, x.body,
                   ARRAY(SELECT o.item_id FROM item_texts o
                         WHERE o.text_id IN (x.id, (SELECT a.target_id FROM alias_targets a WHERE a.text_id = x.id))
                               AND o.item_id <> ALL (:ids) ORDER BY o.item_id) AS others
            FROM texts x
            WHERE x.id IN (SELECT text_id FROM item_texts WHERE item_id = ANY (:ids)
                           UNION SELECT text_id FROM former_texts WHERE item_id = ANY (:ids))
               OR NOT starts_with(x.text_hash, 'purged ')
                  AND NOT EXISTS (SELECT FROM item_texts o WHERE o.text_id = x.id)
                  AND NOT EXISTS (SELECT FROM former_texts f WHERE f.text_id = x.id)
            ORDER BY x.id
        """),
        {"ids": list(item.ids)},
    )
    return [ItemText(row.id, row.input, row.text_hash, row.body, tuple(row.others)) for row in rows]


def select_claiming_runs(connection: Connection, text_ids: Sequence[int]) -> list[int]:
    """The runs that are asking about one of these texts right now. Batches under way do not count: they take hours."""
    rows = connection.execute(
        text("SELECT DISTINCT run_id FROM claims WHERE text_id = ANY (:ids) AND batch_id IS NULL ORDER BY 1"),
        {"ids": list(text_ids)},
    )
    return list(rows.scalars())


def erase_texts(connection: Connection, text_ids: Sequence[int]) -> None:
    """Empties texts. Their rows stay, under ids that no text has, for what their answers cost; the reasons go.

    Items that have one of them get it made anew. What people said of them ends, and their former ids go.
    """
    parameters = {"ids": list(text_ids)}
    connection.execute(
        text("UPDATE texts SET text_hash = 'purged ' || id, family_hash = 'purged', body = '' WHERE id = ANY (:ids)"),
        parameters,
    )
    connection.execute(
        text("""
            INSERT INTO text_queue (item_id) SELECT item_id FROM item_texts WHERE text_id = ANY (:ids)
            ON CONFLICT DO NOTHING
        """),
        parameters,
    )
    connection.execute(text("DELETE FROM text_aliases WHERE text_id = ANY (:ids)"), parameters)
    connection.execute(
        text("DELETE FROM text_decisions WHERE text_id = ANY (:ids) OR target_id = ANY (:ids)"), parameters
    )
    connection.execute(text("DELETE FROM answer_conflicts WHERE text_id = ANY (:ids)"), parameters)
    delete_signatures(connection, text_ids)
    delete_kin(connection, text_ids)
    _erase_reasons(connection, text_ids)


def replace_wording(connection: Connection, text_id: int, body: str) -> None:
    """Gives a text the wording of another item; the reasons of its answers, which may quote the former one, go."""
    connection.execute(text("UPDATE texts SET body = :body WHERE id = :text_id"), {"text_id": text_id, "body": body})
    connection.execute(
        text("UPDATE text_decisions SET reason = '' WHERE text_id = :text_id OR target_id = :text_id"),
        {"text_id": text_id},
    )
    _erase_reasons(connection, [text_id])
    connection.execute(
        text(f"""
            UPDATE items SET row_version = {NEXT_ROW_VERSION}
            WHERE id IN (SELECT item_id FROM item_texts WHERE text_id = :text_id)
        """),  # noqa: S608  (a constant)
        {"text_id": text_id},
    )


def _erase_reasons(connection: Connection, text_ids: Sequence[int]) -> None:
    """Also those that batches under way are yet to bring."""
    parameters = {"ids": list(text_ids)}
    connection.execute(
        text("UPDATE classifications SET rationale = '' WHERE text_id = ANY (:ids) AND rationale <> ''"), parameters
    )
    connection.execute(
        text("UPDATE batch_texts SET message = NULL, purged = true WHERE text_id = ANY (:ids)"), parameters
    )


def erase_item(connection: Connection, item: StoredItem, reason: str) -> int:
    """Empties an item and its comments: their numbers and times stay. Gives how many comments were emptied.

    Gone are its history, its links and which texts it had; its annotations keep who answered what. Its documents are
    entered as to be deleted. Empty texts first.
    """
    parameters = {"ids": list(item.ids)}
    comments = connection.execute(
        text(f"""
            UPDATE items
            SET {_NOTHING}, row_version = {NEXT_ROW_VERSION}
            WHERE repository_key = :key AND kind = 'comment' AND parent_number = :number
                  AND tombstone IS DISTINCT FROM 'purged'
        """),  # noqa: S608  (constants)
        {"key": item.repository_key, "number": item.number},
    ).rowcount
    _insert_deletions(connection, item)
    connection.execute(
        text(f"""
            UPDATE items SET {_NOTHING}, row_version = {NEXT_ROW_VERSION}
            WHERE id = ANY (:ids)
        """),  # noqa: S608  (constants)
        parameters,
    )
    for table in (
        "item_texts",
        "former_texts",
        "item_events",
        "item_links",
        "item_checks",
        "text_queue",
        "text_decisions",
        "near_items",
    ):
        connection.execute(text(f"DELETE FROM {table} WHERE item_id = ANY (:ids)"), parameters)  # noqa: S608
    connection.execute(
        text("""
            UPDATE annotations SET reason = '', text_hash = NULL, withdrawn_reason = left(withdrawn_reason, 0)
            WHERE item_id = ANY (:ids)
        """),
        parameters,
    )
    connection.execute(
        text("""
            INSERT INTO purges (item_id, reason) SELECT unnest(CAST(:ids AS bigint[])), :reason
            ON CONFLICT (item_id) DO UPDATE SET reason = excluded.reason
        """),
        {**parameters, "reason": reason},
    )
    return comments


_NOTHING = (
    "title = NULL, body = NULL, author = NULL, author_type = NULL, author_association = NULL, labels = '{}',"
    " assignees = '{}', url = NULL, payload = '{}', content_hash = 'purged', tombstone = 'purged',"
    " tombstoned_at = clock_timestamp()"
)


def _insert_deletions(connection: Connection, item: StoredItem) -> None:
    """Enters every document of the item as to be deleted, also those that no sink is known to hold.

    A run that is exporting at this moment may be writing one for the first time. Their version is above that of any
    document of the item so far.
    """
    connection.execute(
        text(f"""
            INSERT INTO deletions (document_id, row_version)
            SELECT d.document_id, greatest(max(i.row_version) + 1, {MICROSECONDS_NOW})
            FROM (SELECT p.prefix, p.prefix || k.task AS document_id
                  FROM unnest(CAST(:prefixes AS text[])) AS p (prefix), (SELECT DISTINCT task FROM tracked_tasks) AS k
                  UNION
                  SELECT p.prefix, e.document_id
                  FROM unnest(CAST(:prefixes AS text[])) AS p (prefix)
                  JOIN exports e ON starts_with(e.document_id, p.prefix)) AS d
            JOIN items i ON i.id = ANY (:ids)
            GROUP BY d.document_id
            ON CONFLICT (document_id) DO NOTHING
        """),  # noqa: S608  (a constant)
        {"prefixes": list(item.document_prefixes), "ids": list(item.ids)},
    )


def erase_refusals(connection: Connection, item: StoredItem, text_ids: Sequence[int]) -> None:
    """Forgets what sinks refused of the item, and in the records of runs the lines on its documents and texts.

    Both may quote a value: OpenSearch shows what it could not parse, an invalid answer what it was asked.
    """
    connection.execute(
        text("""
            DELETE FROM dead_letters x USING unnest(CAST(:prefixes AS text[])) AS p (prefix)
            WHERE starts_with(x.document_id, p.prefix)
        """),
        {"prefixes": list(item.document_prefixes)},
    )
    lines = [f"dead letter {prefix}" for prefix in item.document_prefixes]
    lines += [f"text {text_id} of task " for text_id in text_ids]
    connection.execute(
        text("""
            UPDATE runs SET notes = (
                SELECT jsonb_agg(CASE WHEN EXISTS (SELECT FROM unnest(CAST(:lines AS text[])) AS l (begins)
                                                   WHERE starts_with(n.line, l.begins))
                                      THEN 'on an item that was purged since' ELSE n.line END ORDER BY n.place)
                FROM jsonb_array_elements_text(notes) WITH ORDINALITY AS n (line, place))
            WHERE EXISTS (SELECT FROM jsonb_array_elements_text(notes) AS n (line),
                                      unnest(CAST(:lines AS text[])) AS l (begins)
                          WHERE starts_with(n.line, l.begins))
        """),
        {"lines": lines},
    )


def forget_statistics(connection: Connection) -> None:
    """Samples the tables anew that keep their rows: what the planner knows of them is words of their rows.

    Of the others no words are sampled at all (migration 0002).
    """
    connection.execute(text("ANALYZE items, texts, classifications, annotations, runs"))


def select_holders(connection: Connection, item: StoredItem) -> list[Holder]:
    """The sinks that hold documents of a purged item and have not deleted them yet; of one made anew only the last."""
    rows = connection.execute(
        text("""
            SELECT s.sink, count(*) AS documents,
                   s.last_met_at IS NOT NULL AND s.id NOT IN (SELECT id FROM current_sinks) AS kept
            FROM (SELECT DISTINCT ON (sink) id, sink, last_met_at
                  FROM (SELECT id, last_met_at, regexp_replace(identity, '/[^/]*$', '') AS sink FROM sinks) AS n
                  ORDER BY sink, id DESC) AS s
            JOIN exports e ON e.sink_id = s.id
            JOIN deletions g ON g.document_id = e.document_id AND e.row_version < g.row_version
            WHERE EXISTS (SELECT FROM unnest(CAST(:prefixes AS text[])) AS p (prefix)
                          WHERE starts_with(g.document_id, p.prefix))
            GROUP BY s.id, s.sink, s.last_met_at ORDER BY s.sink
        """),
        {"prefixes": list(item.document_prefixes)},
    )
    return [Holder(row.sink, row.documents, row.kept) for row in rows]


def delete_rejected(connection: Connection, item: StoredItem) -> int:
    """Deletes the kept objects that could not be used and are of the item; gives how many.

    An object of a file may be kept under another repository of that file: so all that mention the number are looked at.
    """
    rows = connection.execute(
        text("""
            SELECT id, repository_key, payload FROM rejected_items
            WHERE position(CAST(:digits AS bytea) IN payload) > 0
        """),
        {"digits": str(item.number).encode()},
    ).all()
    name = item.repository.lower().encode()
    doomed = [
        row.id
        for row in rows
        if (row.repository_key == item.repository_key or name in bytes(row.payload).lower())
        and tells_of(bytes(row.payload), item.number)
    ]
    if doomed:
        connection.execute(text("DELETE FROM rejected_items WHERE id = ANY (:ids)"), {"ids": doomed})
    return len(doomed)


def without_purged(connection: Connection, repository_key: int, rejected: Sequence[Rejected]) -> list[Rejected]:
    """Those objects that are of no purged item: what is erased is not kept again as something that cannot be used."""
    purged = connection.execute(
        text("""
            SELECT r.key, lower(r.full_name) AS name, i.external_id
            FROM purges g JOIN items i ON i.id = g.item_id JOIN repositories r ON r.key = i.repository_key
        """)
    ).all()
    return [
        entry
        for entry in rejected
        if not any(
            (row.key == repository_key or row.name.encode() in entry.payload.lower())
            and tells_of(entry.payload, row.external_id)
            for row in purged
        )
    ]


def tells_of(payload: bytes, number: int) -> bool:
    """Whether an object that could not be used is issue or pull request `number`, a comment on it, or an event of it.

    By its own number where it can be read at all; else wherever such a number stands in it.
    """
    told = number_of(payload)
    if told is not None:
        return told == number
    mark = rb'"number"\s*:\s*%d(?!\d)|/(?:issues|pull)/%d(?!\d)' % (number, number)
    return re.search(mark, payload) is not None


def number_of(payload: bytes) -> int | None:
    """The number of the issue or pull request that an object is, was made on, or tells of; None if it does not say."""
    record = _decoded(payload)
    inner = record.get("payload")
    if isinstance(inner, dict):  # an event of GH Archive
        record = next((inner[key] for key in ("issue", "pull_request") if isinstance(inner.get(key), dict)), record)
    if isinstance(address := record.get("issue_url"), str):
        tail = address.rpartition("/")[2]
        return int(tail) if tail.isascii() and tail.isdecimal() and len(tail) < 19 else None
    number = record.get("number")
    return number if type(number) is int else None


def identity_of(payload: bytes) -> tuple[str | None, int | None]:
    """Kind and number (of a comment its id) of an object that could not be used, where it says both; else None."""
    record = _decoded(payload)
    is_comment = "issue_url" in record
    number = record.get("id" if is_comment else "number")
    if type(number) is not int or not 0 < number < 2**63:
        return None, None
    if is_comment:
        return "comment", number
    return ("issue" if record.get("pull_request") is None else "pull_request"), number


def _decoded(payload: bytes) -> dict[str, Any]:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
