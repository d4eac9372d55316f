"""Statements on texts: what must be fingerprinted, and the fingerprints."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, text

from etl.db.queries.items import NEXT_ROW_VERSION
from etl.db.store import serialize_item_writers


@dataclass(frozen=True, slots=True)
class StoredComment:
    """A stored comment, as far as a text needs it."""

    author: str | None
    author_type: str | None
    body: str | None


@dataclass(frozen=True, slots=True)
class StoredText:
    """What the texts of one item are made from: its title, its body and its comments, oldest first."""

    item_id: int
    title: str | None
    body: str | None
    comments: tuple[StoredComment, ...]


@dataclass(frozen=True, slots=True)
class FingerprintedText:
    """One text of one item: which input it is, its ids, and what a classifier would read."""

    item_id: int
    input: str
    text_hash: str
    family_hash: str
    body: str


@dataclass(frozen=True, slots=True)
class KnownText:
    """A text that an item has, with the ids that its body has by itself: what people split off is not in them."""

    text_hash: str
    family_hash: str
    body: str


@dataclass(frozen=True, slots=True)
class Upserted:
    """How many texts were new, and which items have another text than before: (item, input, text)."""

    new: int = 0
    moved: tuple[tuple[int, str, int], ...] = ()


_OWN_MARK = "~"


def own_hash(text_hash: str, item_id: int) -> str:
    """The id of the text that an item has to itself because a person split it from the others."""
    return f"{text_hash}{_OWN_MARK}{item_id}"


def split_hash(text_hash: str) -> tuple[str, str]:
    """The id that a text has by its words, and what makes it an item's own: '' for a text that any item may have."""
    plain, mark, owner = text_hash.partition(_OWN_MARK)
    return plain, mark + owner


def take_queued_items(connection: Connection, limit: int, comments: int) -> list[StoredText]:
    """Up to `limit` queued items with their first `comments` comments, taken off the queue in this transaction.

    They are deleted first and read afterwards: an item that changes meanwhile is queued again behind this
    transaction, so no change is missed. Items are written in turn from here on, not only from the storing on: a purge
    between the two would be undone by it, and whoever holds that turn may wait for a row of the queue.
    """
    serialize_item_writers(connection)
    taken = connection.execute(
        text("""
            DELETE FROM text_queue WHERE item_id IN (
                SELECT item_id FROM text_queue ORDER BY item_id LIMIT :limit FOR UPDATE SKIP LOCKED)
            RETURNING item_id
        """),
        {"limit": limit},
    ).scalars()
    return select_stored_texts(connection, list(taken), comments)


def select_stored_texts(connection: Connection, item_ids: Sequence[int], comments: int) -> list[StoredText]:
    """What the texts of these items are made from, with their first `comments` comments; purged items have none."""
    rows = connection.execute(
        text("""
            SELECT i.id, i.title, i.body, c.authors, c.author_types, c.bodies
            FROM items i
            LEFT JOIN LATERAL (
                SELECT array_agg(f.author ORDER BY f.created_at, f.external_id) AS authors,
                       array_agg(f.author_type ORDER BY f.created_at, f.external_id) AS author_types,
                       array_agg(f.body ORDER BY f.created_at, f.external_id) AS bodies
                FROM (SELECT * FROM items c
                      WHERE c.repository_key = i.repository_key AND c.parent_number = i.external_id
                            AND c.kind = 'comment' AND c.tombstone IS NULL
                            AND c.author_type IS DISTINCT FROM 'Bot'
                      ORDER BY c.created_at, c.external_id LIMIT :comments) AS f
            ) AS c ON true
            WHERE i.id = ANY (:ids) AND i.tombstone IS DISTINCT FROM 'purged'
        """),
        {"ids": list(item_ids), "comments": comments},
    )
    return [
        StoredText(
            item_id=row.id,
            title=row.title,
            body=row.body,
            comments=tuple(map(StoredComment, row.authors or (), row.author_types or (), row.bodies or ())),
        )
        for row in rows
    ]


def select_known_texts(
    connection: Connection, item_ids: Sequence[int], rules_version: int
) -> dict[tuple[int, str], KnownText]:
    """By item and input: the text that the item has now, as far as its ids are of this version of the rules.

    Words that are still the same need not be normalized again.
    """
    rows = connection.execute(
        text("""
            SELECT it.item_id, it.input, x.text_hash, x.family_hash, x.body
            FROM item_texts it JOIN texts x ON x.id = it.text_id
            WHERE it.item_id = ANY (:ids) AND x.rules_version = :rules_version
                  AND NOT starts_with(x.text_hash, 'purged ')
        """),
        {"ids": list(item_ids), "rules_version": rules_version},
    )
    return {
        (row.item_id, row.input): KnownText(split_hash(row.text_hash)[0], row.family_hash, row.body) for row in rows
    }


def select_split_items(connection: Connection, item_ids: Sequence[int]) -> set[int]:
    """Those of the items that people gave texts of their own."""
    rows = connection.execute(
        text("""
            SELECT item_id FROM text_decisions
            WHERE kind = 'split' AND withdrawn_at IS NULL AND item_id = ANY (:ids)
        """),
        {"ids": list(item_ids)},
    )
    return set(rows.scalars())


def upsert_texts(connection: Connection, fingerprinted: Sequence[FingerprintedText], rules_version: int) -> Upserted:
    """Stores the texts and which item has which, as far as people did not decide otherwise.

    An item that was split off has a text of its own; one whose text was declared the same as another has that one. An
    item whose text is another than before gets a new version (its documents show the ids); the same text again changes
    no row.
    """
    if not fingerprinted:
        return Upserted()
    split = select_split_items(connection, [entry.item_id for entry in fingerprinted])
    if split:
        fingerprinted = [
            replace(entry, text_hash=own_hash(entry.text_hash, entry.item_id)) if entry.item_id in split else entry
            for entry in fingerprinted
        ]
    values = {
        "item_ids": [entry.item_id for entry in fingerprinted],
        "inputs": [entry.input for entry in fingerprinted],
        "hashes": [entry.text_hash for entry in fingerprinted],
    }
    new = connection.execute(
        text("""
            INSERT INTO texts (input, text_hash, family_hash, body, rules_version)
            SELECT DISTINCT ON (hash, input) input, hash, family, body, :rules_version
            FROM unnest(CAST(:inputs AS text[]), CAST(:hashes AS text[]), CAST(:families AS text[]),
                        CAST(:bodies AS text[])) WITH ORDINALITY AS n (input, hash, family, body, place)
            WHERE NOT EXISTS (SELECT FROM texts t WHERE t.text_hash = n.hash AND t.input = n.input)
            ORDER BY hash, input, place
            ON CONFLICT (text_hash, input) DO NOTHING
        """),
        {
            **values,
            "families": [entry.family_hash for entry in fingerprinted],
            "bodies": [entry.body for entry in fingerprinted],
            "rules_version": rules_version,
        },
    ).rowcount
    serialize_item_writers(connection)
    moved = connection.execute(
        text(f"""
            WITH named AS (
                SELECT n.item_id, n.input, coalesce(a.target_id, t.id) AS text_id
                FROM unnest(CAST(:item_ids AS bigint[]), CAST(:inputs AS text[]), CAST(:hashes AS text[]))
                     AS n (item_id, input, hash)
                JOIN texts t ON t.text_hash = n.hash AND t.input = n.input
                LEFT JOIN alias_targets a ON a.text_id = t.id
            ), left_behind AS (
                INSERT INTO former_texts (item_id, text_id)
                SELECT it.item_id, it.text_id
                FROM named n JOIN item_texts it ON it.item_id = n.item_id AND it.input = n.input
                WHERE it.text_id <> n.text_id
                ON CONFLICT DO NOTHING
            ), moved AS (
                INSERT INTO item_texts AS it (item_id, input, text_id)
                SELECT item_id, input, text_id FROM named
                ON CONFLICT (item_id, input) DO UPDATE SET text_id = excluded.text_id
                WHERE it.text_id <> excluded.text_id
                RETURNING item_id, input, text_id, xmax <> 0 AS replaced
            ), touched AS (
                UPDATE items SET row_version = {NEXT_ROW_VERSION}
                WHERE id IN (SELECT item_id FROM moved WHERE replaced)
            )
            SELECT item_id, input, text_id FROM moved WHERE replaced
        """),  # noqa: S608  (a constant)
        values,
    ).all()
    return Upserted(new, tuple((row.item_id, row.input, row.text_id) for row in moved))


def queue_every_item(connection: Connection) -> int:
    """Queues every issue and pull request, because a new input is to be made of each; gives how many."""
    return connection.execute(
        text("""
            INSERT INTO text_queue (item_id) SELECT id FROM items WHERE kind <> 'comment' ON CONFLICT DO NOTHING
        """)
    ).rowcount


def select_inputs(connection: Connection) -> list[str]:
    """The inputs that some task asks of, and `issue`, whose ids the view `issues` shows."""
    rows = connection.execute(text("SELECT DISTINCT input FROM tasks UNION SELECT 'issue' ORDER BY 1"))
    return list(rows.scalars())


def count_queued(connection: Connection) -> int:
    """How many items wait for fingerprinting."""
    return int(connection.execute(text("SELECT count(*) FROM text_queue")).scalar_one())
