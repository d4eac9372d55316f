"""Statements on what people decided of texts: two are the same problem (alias), an item is another one (split)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from etl.db.queries.items import NEXT_ROW_VERSION


@dataclass(frozen=True, slots=True)
class NamedText:
    """A text that somebody named, by an id or by an issue that has it."""

    id: int
    input: str
    text_hash: str
    is_empty: bool


@dataclass(frozen=True, slots=True)
class Alias:
    """An alias that holds: the text `text_id` counts as `target_id`."""

    id: int
    text_id: int
    target_id: int


def select_texts_by_id(connection: Connection, text_hash: str) -> list[NamedText]:
    """The texts, one per input, that have this id or had it under earlier rules; an id may be cut short.

    Texts that people declared the same as another are given as they are, not as that other.
    """
    rows = connection.execute(
        text("""
            SELECT id, input, text_hash, body = '' AS is_empty, text_hash = :hash AS is_whole FROM texts
            WHERE starts_with(text_hash, :hash)
            UNION
            SELECT x.id, x.input, x.text_hash, x.body = '', f.former_hash = :hash
            FROM text_aliases f JOIN texts x ON x.id = f.text_id WHERE starts_with(f.former_hash, :hash)
            ORDER BY 2, 1
        """),
        {"hash": text_hash},
    ).all()
    whole = [row for row in rows if row.is_whole]
    return [NamedText(row.id, row.input, row.text_hash, row.is_empty) for row in whole or rows]


def select_texts_of_item(connection: Connection, item_ids: Sequence[int]) -> list[NamedText]:
    """The texts that an item has now, one per input (`item_ids`: its rows as an issue and as a pull request)."""
    rows = connection.execute(
        text("""
            SELECT DISTINCT ON (it.input) x.id, x.input, x.text_hash, x.body = ''
            FROM item_texts it JOIN texts x ON x.id = it.text_id WHERE it.item_id = ANY (:ids) ORDER BY it.input
        """),
        {"ids": list(item_ids)},
    )
    return [NamedText(*row) for row in rows]


def select_text_by_hash(connection: Connection, text_hash: str, name: str) -> NamedText | None:
    """The text of input `name` with exactly this id."""
    row = connection.execute(
        text("SELECT id, input, text_hash, body = '' FROM texts WHERE text_hash = :hash AND input = :input"),
        {"hash": text_hash, "input": name},
    ).one_or_none()
    return None if row is None else NamedText(*row)


def select_aliases(connection: Connection) -> dict[int, Alias]:
    """The aliases that hold, by the text that counts as another."""
    rows = connection.execute(
        text("""
            SELECT id, text_id, target_id FROM text_decisions
            WHERE kind = 'alias' AND withdrawn_at IS NULL ORDER BY id
        """)
    )
    return {row.text_id: Alias(*row) for row in rows}


def alias_chain(aliases: dict[int, Alias], text_id: int) -> list[Alias]:
    """The aliases that lead from a text to the one whose answers count for it, in order."""
    chain: list[Alias] = []
    met = {text_id}
    while (step := aliases.get(text_id)) is not None:
        chain.append(step)
        text_id = step.target_id
        if text_id in met:
            break
        met.add(text_id)
    return chain


def insert_alias(connection: Connection, text_id: int, target_id: int, by: str, reason: str) -> int:
    """Enters that a text counts as another; gives the decision's number."""
    return int(
        connection.execute(
            text("""
                INSERT INTO text_decisions (kind, text_id, target_id, made_by, reason)
                VALUES ('alias', :text_id, :target_id, :by, :reason) RETURNING id
            """),
            {"text_id": text_id, "target_id": target_id, "by": by, "reason": reason},
        ).scalar_one()
    )


def insert_split(connection: Connection, item_id: int, by: str, reason: str) -> int:
    """Enters that an item has texts of its own; gives the decision's number."""
    return int(
        connection.execute(
            text("""
                INSERT INTO text_decisions (kind, item_id, made_by, reason)
                VALUES ('split', :item_id, :by, :reason) RETURNING id
            """),
            {"item_id": item_id, "by": by, "reason": reason},
        ).scalar_one()
    )


def select_split(connection: Connection, item_id: int) -> int | None:
    """The number of the decision by which an item has texts of its own."""
    return connection.execute(
        text("SELECT id FROM text_decisions WHERE kind = 'split' AND item_id = :id AND withdrawn_at IS NULL"),
        {"id": item_id},
    ).scalar_one_or_none()


def withdraw(connection: Connection, decision_ids: Sequence[int], by: str, reason: str) -> None:
    """Ends decisions; they stay on record."""
    connection.execute(
        text("""
            UPDATE text_decisions SET withdrawn_at = now(), withdrawn_by = :by, withdrawn_reason = :reason
            WHERE id = ANY (:ids) AND withdrawn_at IS NULL
        """),
        {"ids": list(decision_ids), "by": by, "reason": reason},
    )


def end_void_aliases(connection: Connection, rules_version: int) -> int:
    """Ends those aliases that mean nothing since texts were merged; gives how many.

    Those are an alias of a text to itself, and where two aliases of one text, or aliases in a circle, have come about,
    all but the newest that can hold together.
    """
    rows = connection.execute(
        text("""
            SELECT id, text_id, target_id FROM text_decisions
            WHERE kind = 'alias' AND withdrawn_at IS NULL ORDER BY id DESC
        """)
    )
    holding: dict[int, Alias] = {}
    void = []
    for row in rows:
        alias = Alias(*row)
        reached = {alias.target_id, *(step.target_id for step in alias_chain(holding, alias.target_id))}
        if alias.text_id in holding or alias.text_id in reached:
            void.append(alias.id)
        else:
            holding[alias.text_id] = alias
    if void:
        withdraw(connection, void, "rehash", f"void since version {rules_version} of the rules made these texts one")
    return len(void)


def select_items_to_apply(connection: Connection, text_ids: Sequence[int]) -> list[int]:
    """The items that have one of these texts: those that a decision on them may move."""
    rows = connection.execute(
        text("SELECT DISTINCT item_id FROM item_texts WHERE text_id = ANY (:ids) ORDER BY 1"), {"ids": list(text_ids)}
    )
    return list(rows.scalars())


def count_sharing(connection: Connection, item_id: int) -> dict[str, int]:
    """By input: how many other items have the text of this one."""
    rows = connection.execute(
        text("""
            SELECT it.input, (SELECT count(*) FROM item_texts o WHERE o.text_id = it.text_id) - 1
            FROM item_texts it WHERE it.item_id = :id
        """),
        {"id": item_id},
    )
    return {row[0]: row[1] for row in rows}


def rename_text(connection: Connection, text_id: int, text_hash: str) -> None:
    """Gives a text another id, its items another version."""
    parameters = {"id": text_id, "hash": text_hash}
    connection.execute(text("UPDATE texts SET text_hash = :hash WHERE id = :id"), parameters)
    connection.execute(
        text(f"""
            UPDATE items SET row_version = {NEXT_ROW_VERSION}
            WHERE id IN (SELECT item_id FROM item_texts WHERE text_id = :id)
        """),  # noqa: S608  (a constant)
        parameters,
    )


def select_unanswered_tasks(connection: Connection, text_ids: Sequence[int]) -> list[str]:
    """The tasks that one of these texts waits for an answer to."""
    rows = connection.execute(
        text("""
            SELECT DISTINCT ti.task
            FROM item_texts it
            JOIN texts x ON x.id = it.text_id AND x.body <> ''
            JOIN task_items ti ON ti.item_id = it.item_id AND ti.input = it.input AND ti.applies
            WHERE it.text_id = ANY (:ids)
              AND NOT EXISTS (SELECT FROM current_answers a WHERE a.text_id = it.text_id AND a.task = ti.task)
            ORDER BY ti.task
        """),
        {"ids": list(text_ids)},
    )
    return list(rows.scalars())


_DECISIONS = """
    SELECT d.id, d.kind, coalesce(x.input, 'all') AS input, x.text_hash, t.text_hash AS target_hash,
           r.full_name || '#' || i.external_id AS issue, d.made_by, d.reason, d.created_at,
           d.withdrawn_at, d.withdrawn_by, d.withdrawn_reason
    FROM text_decisions d
    LEFT JOIN texts x ON x.id = d.text_id
    LEFT JOIN texts t ON t.id = d.target_id
    LEFT JOIN items i ON i.id = d.item_id
    LEFT JOIN repositories r ON r.key = i.repository_key
"""


def select_decisions(connection: Connection, *, withdrawn: bool) -> list[dict[str, Any]]:
    """What people decided, the newest first; also what was withdrawn, if asked for."""
    rows = connection.execute(
        text(f"{_DECISIONS} WHERE :withdrawn OR d.withdrawn_at IS NULL ORDER BY d.id DESC"), {"withdrawn": withdrawn}
    )
    return [dict(row) for row in rows.mappings()]


def select_decisions_on(
    connection: Connection, text_ids: Sequence[int], item_id: int | None = None
) -> list[dict[str, Any]]:
    """The decisions that hold on an item, or on one of these texts, also where another text counts as one of them."""
    rows = connection.execute(
        text(f"""
            {_DECISIONS}
            WHERE d.withdrawn_at IS NULL
              AND (d.item_id = CAST(:item AS bigint) OR d.text_id = ANY (:ids) OR d.target_id = ANY (:ids)
                   OR d.text_id IN (SELECT text_id FROM alias_targets WHERE target_id = ANY (:ids)))
            ORDER BY d.id
        """),  # noqa: S608  (a constant)
        {"item": item_id, "ids": list(text_ids)},
    )
    return [dict(row) for row in rows.mappings()]


def select_text_explanation(connection: Connection, text_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Everything that is known of texts, one per input: ids, words, items, and how often they were answered."""
    rows = connection.execute(
        text("""
            SELECT x.id AS text_id, x.input, x.text_hash, x.family_hash, x.rules_version, x.body, x.first_seen_at,
                   (SELECT count(*) FROM item_texts it WHERE it.text_id = x.id) AS items_with_this_text,
                   ARRAY(SELECT r.full_name || '#' || i.external_id
                         FROM item_texts it JOIN items i ON i.id = it.item_id
                         JOIN repositories r ON r.key = i.repository_key
                         WHERE it.text_id = x.id ORDER BY r.full_name, i.external_id LIMIT 20) AS issues,
                   ARRAY(SELECT f.former_hash FROM text_aliases f WHERE f.text_id = x.id
                         ORDER BY f.created_at, f.former_hash) AS former_ids
            FROM texts x WHERE x.id = ANY (:ids) ORDER BY x.input, x.id
        """),
        {"ids": list(text_ids)},
    )
    return [dict(row) for row in rows.mappings()]


def select_answers_of(connection: Connection, text_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Every answer that texts have, and which of them count."""
    rows = connection.execute(
        text("""
            SELECT c.text_id, c.task, c.task_version, c.prompt_version, c.classifier, c.model, c.outcome, c.categories,
                   c.confidences, c.rationale, c.cost_usd, c.created_at, c.redactions, c.truncated_chars, c.pack,
                   c.batch_id, c.purpose,
                   c.id IN (SELECT a.id FROM current_answers a WHERE a.text_id = c.text_id) AS current
            FROM classifications c WHERE c.text_id = ANY (:ids) ORDER BY c.task, c.id DESC
        """),
        {"ids": list(text_ids)},
    )
    return [dict(row) for row in rows.mappings()]


def select_conflicts_of(connection: Connection, text_ids: Sequence[int]) -> list[dict[str, Any]]:
    """The conflicts of texts that nobody has settled."""
    rows = connection.execute(
        text("SELECT * FROM open_conflicts WHERE text_id = ANY (:ids) ORDER BY id"), {"ids": list(text_ids)}
    )
    return [dict(row) for row in rows.mappings()]
