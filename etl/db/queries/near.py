"""Statements on near-duplicates: signatures of long texts, the pairs that are near, and what documents say of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from etl.db.queries.items import NEXT_ROW_VERSION
from etl.db.store import lock_number, serialize_item_writers

MOST_PER_BAND = 20
"""With how many texts, the oldest, a new one is compared per band: a flood of alike texts stays linear."""

_DUE = """
    FROM texts x
    WHERE x.input = 'issue' AND x.id > :after AND octet_length(x.body) >= :least_bytes
      AND strpos(x.text_hash, '~') = 0
      AND EXISTS (SELECT FROM item_texts it WHERE it.text_id = x.id)
      AND NOT EXISTS (SELECT FROM near_signatures s WHERE s.text_id = x.id AND s.version >= :version)
"""
# A tilde marks a text that people split from others of the same words: they know that it is no duplicate.


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A text to be signed."""

    id: int
    body: str


@dataclass(frozen=True, slots=True)
class Signed:
    """A text's signature and the bands under which it is found; None and () for one too short to be compared."""

    text_id: int
    signature: bytes | None
    bands: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that may be near an older one, with that one's signature."""

    text_id: int
    other_text_id: int
    other_signature: bytes


def serialize_near(connection: Connection) -> None:
    """Waits until this transaction is the only one that signs texts: two at once would not see each other's."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": lock_number("near")})


def count_unsigned(connection: Connection, version: int, least_bytes: int) -> int:
    """How many texts of issues are to be signed."""
    values = {"version": version, "least_bytes": least_bytes, "after": 0}
    return int(connection.execute(text(f"SELECT count(*) {_DUE}"), values).scalar_one())


def select_unsigned(
    connection: Connection, version: int, least_bytes: int, *, after: int, limit: int
) -> list[Unsigned]:
    """The next texts to sign, by id. They are kept from a purge until this transaction ends, which then erases them."""
    rows = connection.execute(
        text(f"SELECT x.id, x.body {_DUE} ORDER BY x.id LIMIT :limit FOR KEY SHARE OF x"),
        {"version": version, "least_bytes": least_bytes, "after": after, "limit": limit},
    )
    return [Unsigned(row.id, row.body) for row in rows]


def upsert_signatures(connection: Connection, signed: Sequence[Signed], version: int) -> None:
    """Stores signatures; what an earlier one of the same text was near to is forgotten."""
    delete_signatures(connection, [entry.text_id for entry in signed])
    connection.execute(
        text("""
            INSERT INTO near_signatures (text_id, version, signature)
            SELECT n.id, :version, n.signature
            FROM unnest(CAST(:ids AS bigint[]), CAST(:signatures AS bytea[])) AS n (id, signature)
        """),
        {
            "ids": [entry.text_id for entry in signed],
            "signatures": [entry.signature for entry in signed],
            "version": version,
        },
    )
    connection.execute(
        text("""
            INSERT INTO near_bands (band, text_id)
            SELECT DISTINCT * FROM unnest(CAST(:bands AS bigint[]), CAST(:ids AS bigint[]))
        """),
        _by_band(signed),
    )


def delete_signatures(connection: Connection, text_ids: Sequence[int]) -> None:
    """Forgets the signatures of texts, and what they are near to."""
    ids = {"ids": list(text_ids)}
    connection.execute(text("DELETE FROM near_signatures WHERE text_id = ANY (:ids)"), ids)
    connection.execute(text("DELETE FROM near_texts WHERE text_id = ANY (:ids) OR other_text_id = ANY (:ids)"), ids)


def select_candidates(connection: Connection, signed: Sequence[Signed]) -> list[Candidate]:
    """The older texts that share a band with one of these, which are stored: per band the oldest few."""
    rows = connection.execute(
        text("""
            SELECT p.text_id, p.other_text_id, s.signature
            FROM (SELECT DISTINCT n.text_id, o.text_id AS other_text_id
                  FROM unnest(CAST(:bands AS bigint[]), CAST(:ids AS bigint[])) AS n (band, text_id)
                  CROSS JOIN LATERAL (
                      SELECT b.text_id FROM near_bands b WHERE b.band = n.band AND b.text_id < n.text_id
                      ORDER BY b.text_id LIMIT :most) AS o) AS p
            JOIN near_signatures s ON s.text_id = p.other_text_id
            ORDER BY p.text_id, p.other_text_id
        """),
        {**_by_band(signed), "most": MOST_PER_BAND},
    )
    return [Candidate(row.text_id, row.other_text_id, bytes(row.signature)) for row in rows]


def insert_near_texts(connection: Connection, pairs: Sequence[tuple[int, int, float]]) -> None:
    """Stores pairs of near texts: the newer one, the older one, their score."""
    connection.execute(
        text("""
            INSERT INTO near_texts (text_id, other_text_id, score)
            SELECT * FROM unnest(CAST(:ids AS bigint[]), CAST(:others AS bigint[]), CAST(:scores AS float8[]))
        """),
        {
            "ids": [pair[0] for pair in pairs],
            "others": [pair[1] for pair in pairs],
            "scores": [pair[2] for pair in pairs],
        },
    )


def refresh_near_items(connection: Connection) -> int:
    """Brings what documents say of near issues up to date; gives how many issues got a new version by that.

    Counted per text and not per pair of issues: two texts that a thousand issues each have would be a million pairs.
    """
    serialize_item_writers(connection)
    return connection.execute(
        text(f"""
            WITH sides AS (
                SELECT text_id, other_text_id FROM near_texts UNION ALL SELECT other_text_id, text_id FROM near_texts
            ), members AS MATERIALIZED (
                SELECT it.text_id, i.id AS item_id, i.created_at
                FROM item_texts it JOIN items i ON i.id = it.item_id AND i.kind = 'issue' AND i.tombstone IS NULL
                WHERE it.input = 'issue' AND it.text_id IN (SELECT text_id FROM sides)
            ), firsts AS MATERIALIZED (
                SELECT DISTINCT ON (text_id) text_id, item_id, created_at,
                       count(*) OVER (PARTITION BY text_id) AS issues
                FROM members ORDER BY text_id, created_at, item_id
            ), others AS MATERIALIZED (
                SELECT DISTINCT ON (s.text_id) s.text_id, f.item_id, f.created_at,
                       sum(f.issues) OVER (PARTITION BY s.text_id) AS issues
                FROM sides s JOIN firsts f ON f.text_id = s.other_text_id
                ORDER BY s.text_id, f.created_at, f.item_id
            ), truth AS MATERIALIZED (
                SELECT m.item_id, o.issues::int AS near_count,
                       CASE WHEN (o.created_at, o.item_id) < (m.created_at, m.item_id)
                            THEN r.full_name || '#' || i.external_id END AS near_of
                FROM members m
                JOIN others o ON o.text_id = m.text_id
                JOIN items i ON i.id = o.item_id
                JOIN repositories r ON r.key = i.repository_key
            ), gone AS (
                DELETE FROM near_items n WHERE NOT EXISTS (SELECT FROM truth t WHERE t.item_id = n.item_id)
                RETURNING item_id
            ), changed AS (
                INSERT INTO near_items AS n (item_id, near_count, near_of)
                SELECT item_id, near_count, near_of FROM truth
                ON CONFLICT (item_id) DO UPDATE SET near_count = excluded.near_count, near_of = excluded.near_of
                WHERE (n.near_count, n.near_of) IS DISTINCT FROM (excluded.near_count, excluded.near_of)
                RETURNING item_id
            )
            UPDATE items SET row_version = {NEXT_ROW_VERSION}
            WHERE id IN (SELECT item_id FROM gone UNION ALL SELECT item_id FROM changed)
        """)  # noqa: S608  (a constant)
    ).rowcount


def count_near(connection: Connection, least_score: float) -> int:
    """How many pairs of issues are near with at least this score."""
    return int(
        connection.execute(
            text("SELECT count(*) FROM near_duplicates WHERE other_is_older AND score >= :score"),
            {"score": least_score},
        ).scalar_one()
    )


def select_near(connection: Connection, least_score: float, limit: int) -> list[dict[str, Any]]:
    """The pairs of issues with the highest scores, each once, the newer issue first."""
    rows = connection.execute(
        text("""
            SELECT repository, number, title, other_repository, other_number, other_title, score
            FROM near_duplicates WHERE other_is_older AND score >= :score
            ORDER BY score DESC, repository, number, other_repository, other_number LIMIT :limit
        """),
        {"score": least_score, "limit": limit},
    )
    return [dict(row) for row in rows.mappings()]


def _by_band(signed: Sequence[Signed]) -> dict[str, Any]:
    return {
        "bands": [band for entry in signed for band in entry.bands],
        "ids": [entry.text_id for entry in signed for _ in entry.bands],
    }
