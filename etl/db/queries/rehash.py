"""Statements that give stored texts new ids, and merge those that have become one. Answers stay with their text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from etl.db.queries.classifications import BEST_FIRST
from etl.db.queries.items import NEXT_ROW_VERSION


@dataclass(frozen=True, slots=True)
class OldText:
    """A text whose ids are of earlier rules."""

    id: int
    input: str
    text_hash: str
    body: str


@dataclass(frozen=True, slots=True)
class NewIds:
    """The ids that a text has under new rules; body: its words, cleaned anew where that made a difference."""

    text_id: int
    former_hash: str
    text_hash: str
    family_hash: str
    body: str
    input: str


@dataclass(frozen=True, slots=True)
class CurrentAnswer:
    """The answer of a text that counts for a task."""

    id: int
    text_id: int
    task: str
    outcome: str
    categories: tuple[str, ...]
    classifier: str


@dataclass(frozen=True, slots=True)
class RulesStanding:
    """Which versions of the rules the stored ids are of, and how many texts have older ids than `version`."""

    oldest: int | None
    newest: int | None
    outdated: int


def select_rules_standing(connection: Connection, version: int) -> RulesStanding:
    """How the stored ids stand to version `version` of the rules."""
    row = connection.execute(
        text("""
            SELECT (SELECT min(rules_version) FROM texts), (SELECT max(rules_version) FROM texts),
                   (SELECT count(*) FROM texts WHERE rules_version < :version)
        """),
        {"version": version},
    ).one()
    return RulesStanding(*row)


def select_queued(connection: Connection) -> set[int]:
    """The items whose texts wait to be made."""
    return set(connection.execute(text("SELECT item_id FROM text_queue")).scalars())


def select_newest_text(connection: Connection) -> int:
    """The highest number of a text; 0 where there is none."""
    return int(connection.execute(text("SELECT coalesce(max(id), 0) FROM texts")).scalar_one())


def select_old_texts(connection: Connection, version: int, limit: int) -> list[OldText]:
    """Up to `limit` texts with ids of earlier rules, the oldest first."""
    rows = connection.execute(
        text("""
            SELECT id, input, text_hash, body FROM texts
            WHERE rules_version < :version ORDER BY rules_version, id LIMIT :limit FOR UPDATE
        """),
        {"version": version, "limit": limit},
    )
    return [OldText(*row) for row in rows]


def mark_as_current(connection: Connection, text_ids: Sequence[int], version: int) -> None:
    """Says that these texts need no other ids: they were erased."""
    connection.execute(
        text("UPDATE texts SET rules_version = :version WHERE id = ANY (:ids)"),
        {"version": version, "ids": list(text_ids)},
    )


def select_holders(connection: Connection, fresh: Sequence[NewIds]) -> list[tuple[int, str, str]]:
    """The texts that have one of the new ids already: (text, id, input)."""
    rows = connection.execute(
        text("""
            SELECT DISTINCT t.id, t.text_hash, t.input
            FROM unnest(CAST(:hashes AS text[]), CAST(:inputs AS text[])) AS n (hash, input)
            JOIN texts t ON t.text_hash = n.hash AND t.input = n.input
        """),
        {"hashes": [entry.text_hash for entry in fresh], "inputs": [entry.input for entry in fresh]},
    )
    return [(row.id, row.text_hash, row.input) for row in rows]


def select_items_with(connection: Connection, text_ids: Sequence[int], most: int) -> dict[int, list[int]]:
    """By text: the first items that have it, at most `most` of them."""
    rows = connection.execute(
        text("""
            SELECT t.id, ARRAY(SELECT it.item_id FROM item_texts it WHERE it.text_id = t.id
                               ORDER BY it.item_id LIMIT :most) AS items
            FROM unnest(CAST(:ids AS bigint[])) AS t (id)
        """),
        {"ids": list(text_ids), "most": most},
    )
    return {row.id: list(row.items) for row in rows}


def select_asking_runs(connection: Connection, text_ids: Sequence[int]) -> list[int]:
    """The runs that are asking about one of these texts right now. Batches under way do not count: they take hours."""
    rows = connection.execute(
        text("""
            SELECT DISTINCT run_id FROM claims
            WHERE text_id = ANY (:ids) AND batch_id IS NULL AND expires_at > now() ORDER BY 1
        """),
        {"ids": list(text_ids)},
    )
    return list(rows.scalars())


def select_current_answers(connection: Connection, text_ids: Sequence[int]) -> list[CurrentAnswer]:
    """The answers of these texts that count, those first that would count if all were of one text."""
    rows = connection.execute(
        text(f"""
            SELECT id, text_id, task, outcome, categories, classifier FROM current_answers a
            WHERE text_id = ANY (:ids) ORDER BY {BEST_FIRST.format("a")}
        """),  # noqa: S608  (a constant)
        {"ids": list(text_ids)},
    )
    return [
        CurrentAnswer(row.id, row.text_id, row.task, row.outcome, tuple(row.categories), row.classifier) for row in rows
    ]


def insert_conflicts(
    connection: Connection, survivors: Mapping[int, int], pairs: Sequence[tuple[CurrentAnswer, CurrentAnswer]]
) -> None:
    """Keeps that of two answers the first counts and the second differs; `survivors`: the text that each becomes."""
    connection.execute(
        text("""
            INSERT INTO answer_conflicts (text_id, task, kept_id, other_id)
            VALUES (:text_id, :task, :kept, :other) ON CONFLICT DO NOTHING
        """),
        [
            {"text_id": survivors[kept.text_id], "task": kept.task, "kept": kept.id, "other": other.id}
            for kept, other in pairs
        ],
    )


def merge_texts(connection: Connection, survivors: Mapping[int, int]) -> None:
    """Gives everything that the first text of each pair has to the second, and deletes the first.

    Items, answers of any kind, also those that batches are yet to bring, former ids, decisions and conflicts move. No
    answer is changed or lost.
    """
    parameters = {"losers": list(survivors.keys()), "keepers": list(survivors.values())}
    pairs = "unnest(CAST(:losers AS bigint[]), CAST(:keepers AS bigint[])) AS m (loser, keeper)"
    for table, column in _MOVED:
        connection.execute(
            text(f"UPDATE {table} AS t SET {column} = m.keeper FROM {pairs} WHERE t.{column} = m.loser"),  # noqa: S608
            parameters,
        )
    connection.execute(
        text(f"""
            INSERT INTO former_texts (item_id, text_id)
            SELECT f.item_id, m.keeper FROM {pairs} JOIN former_texts f ON f.text_id = m.loser ON CONFLICT DO NOTHING
        """),  # noqa: S608  (a constant)
        parameters,
    )
    # A text that an item has is none that it had: it may have had both, one after the other.
    connection.execute(
        text("""
            DELETE FROM former_texts f
            WHERE f.text_id = ANY (:losers)
               OR f.text_id = ANY (:keepers)
                  AND EXISTS (SELECT FROM item_texts it WHERE it.item_id = f.item_id AND it.text_id = f.text_id)
        """),
        parameters,
    )
    connection.execute(
        text(f"""
            INSERT INTO inheritance_audits (text_id, task, inherited_from, run_id, created_at)
            SELECT m.keeper, a.task, a.inherited_from, a.run_id, a.created_at
            FROM {pairs} JOIN inheritance_audits a ON a.text_id = m.loser ORDER BY a.created_at ON CONFLICT DO NOTHING
        """),  # noqa: S608  (a constant)
        parameters,
    )
    connection.execute(
        text(f"""
            INSERT INTO claims (text_id, task, run_id, expires_at, batch_id)
            SELECT DISTINCT ON (m.keeper, c.task) m.keeper, c.task, c.run_id, c.expires_at, c.batch_id
            FROM {pairs} JOIN claims c ON c.text_id = m.loser AND c.batch_id IS NOT NULL
            ORDER BY m.keeper, c.task, c.batch_id ON CONFLICT DO NOTHING
        """),  # noqa: S608  (a constant)
        parameters,
    )
    connection.execute(text("DELETE FROM claims WHERE text_id = ANY (:losers)"), parameters)
    connection.execute(text("DELETE FROM texts WHERE id = ANY (:losers)"), parameters)


_MOVED = (
    ("item_texts", "text_id"),
    ("classifications", "text_id"),
    ("batch_texts", "text_id"),
    ("text_aliases", "text_id"),
    ("text_decisions", "text_id"),
    ("text_decisions", "target_id"),
    ("answer_conflicts", "text_id"),
)


def insert_former_ids(connection: Connection, fresh: Sequence[NewIds], survivors: Mapping[int, int]) -> None:
    """Keeps the ids that texts had until now, so that they are still found by them."""
    connection.execute(
        text("""
            INSERT INTO text_aliases (former_hash, input, text_id)
            SELECT * FROM unnest(CAST(:hashes AS text[]), CAST(:inputs AS text[]), CAST(:ids AS bigint[]))
            ON CONFLICT (former_hash, input) DO UPDATE SET text_id = excluded.text_id
        """),
        {
            "hashes": [entry.former_hash for entry in fresh],
            "inputs": [entry.input for entry in fresh],
            "ids": [survivors.get(entry.text_id, entry.text_id) for entry in fresh],
        },
    )


def rename_texts(connection: Connection, fresh: Sequence[NewIds], version: int) -> None:
    """Gives texts their new ids; every item with one of them gets a new version, since its documents show the ids."""
    ids = {"ids": [entry.text_id for entry in fresh]}
    connection.execute(
        text("""
            UPDATE texts AS t
            SET text_hash = n.hash, family_hash = n.family, rules_version = :version,
                body = CASE WHEN t.body = n.body THEN t.body ELSE n.body END
            FROM unnest(CAST(:ids AS bigint[]), CAST(:hashes AS text[]), CAST(:families AS text[]),
                        CAST(:bodies AS text[])) AS n (id, hash, family, body)
            WHERE t.id = n.id
        """),
        {
            **ids,
            "hashes": [entry.text_hash for entry in fresh],
            "families": [entry.family_hash for entry in fresh],
            "bodies": [entry.body for entry in fresh],
            "version": version,
        },
    )
    connection.execute(
        text(f"""
            UPDATE items SET row_version = {NEXT_ROW_VERSION}
            WHERE id IN (SELECT item_id FROM item_texts WHERE text_id = ANY (:ids))
        """),  # noqa: S608  (a constant)
        ids,
    )


def count_asked_anew(connection: Connection, text_ids: Sequence[int]) -> dict[str, int]:
    """By task: how many of these texts wait for an answer although an item of theirs had one under a former text."""
    rows = connection.execute(
        text("""
            SELECT ti.task, count(DISTINCT it.text_id)
            FROM item_texts it
            JOIN texts x ON x.id = it.text_id AND x.body <> ''
            JOIN task_items ti ON ti.item_id = it.item_id AND ti.input = it.input AND ti.applies
            WHERE it.text_id = ANY (:ids)
              AND NOT EXISTS (SELECT FROM current_answers a WHERE a.text_id = it.text_id AND a.task = ti.task)
              AND EXISTS (SELECT FROM former_texts f JOIN classifications c ON c.text_id = f.text_id
                          WHERE f.item_id = it.item_id AND c.task = ti.task AND c.purpose = 'live'
                                AND c.outcome IN ('answered', 'abstained', 'refused'))
            GROUP BY ti.task ORDER BY ti.task
        """),
        {"ids": list(text_ids)},
    )
    return {row[0]: row[1] for row in rows}


def select_examples(connection: Connection, text_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """By text, for people: the first line of it, how many items have it, and the first of them."""
    rows = connection.execute(
        text("""
            SELECT x.id, left(split_part(x.body, E'\\n', 1), 100) AS first_line, n.items, n.names
            FROM texts x
            CROSS JOIN LATERAL (
                SELECT count(*) AS items, (array_agg(r.full_name || '#' || i.external_id
                                           ORDER BY r.full_name, i.external_id))[1:3] AS names
                FROM item_texts it JOIN items i ON i.id = it.item_id JOIN repositories r ON r.key = i.repository_key
                WHERE it.text_id = x.id) AS n
            WHERE x.id = ANY (:ids)
        """),
        {"ids": list(text_ids)},
    )
    return {row.id: {"first_line": row.first_line, "items": row.items, "issues": list(row.names or ())} for row in rows}


def select_open_conflicts(connection: Connection, limit: int | None = None) -> list[dict[str, Any]]:
    """The conflicts that nobody has settled, the newest first, with the first issues of their texts."""
    rows = connection.execute(
        text("""
            SELECT c.id, c.text_hash, c.input, c.task, c.kept, c.kept_outcome, c.kept_classifier, c.other,
                   c.other_outcome, c.other_classifier, c.noticed_at,
                   ARRAY(SELECT r.full_name || '#' || i.external_id
                         FROM item_texts it JOIN items i ON i.id = it.item_id
                         JOIN repositories r ON r.key = i.repository_key
                         WHERE it.text_id = c.text_id ORDER BY r.full_name, i.external_id LIMIT 3) AS issues
            FROM open_conflicts c ORDER BY c.id DESC LIMIT :limit
        """),
        {"limit": limit},
    )
    return [dict(row) for row in rows.mappings()]


def count_open_conflicts(connection: Connection) -> int:
    """How many conflicts nobody has settled."""
    return int(connection.execute(text("SELECT count(*) FROM open_conflicts")).scalar_one())


def resolve_conflict(connection: Connection, conflict_id: int, by: str, reason: str) -> bool:
    """Settles a conflict: a person has seen it. False where it is none, or settled."""
    done = connection.execute(
        text("""
            UPDATE answer_conflicts SET resolved_at = now(), resolved_by = :by, resolved_reason = :reason
            WHERE id = :id AND resolved_at IS NULL
        """),
        {"id": conflict_id, "by": by, "reason": reason},
    )
    return bool(done.rowcount)
