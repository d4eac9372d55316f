"""Statements on what people answered: overrides, which win, and reviews, which measure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, text

from etl.db.queries.classifications import BEST_FIRST, CLASSIFIER_RANK
from etl.db.queries.items import NEXT_ROW_VERSION
from etl.records import WeekAnswer
from etl.tasks import Task

Role = Literal["override", "review"]


@dataclass(frozen=True, slots=True)
class AnnotatedItem:
    """An item that a person may answer about. applies: whether the task is asked of it as it is now."""

    id: int
    kind: str
    is_purged: bool
    is_tracked: bool
    applies: bool


@dataclass(frozen=True, slots=True)
class Annotation:
    """An answer of a person that holds."""

    id: int
    item_id: int
    annotator: str
    categories: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class ReviewedItem:
    """What one person answered about an item, and what the classifier's current answer is (None: there is none)."""

    item_id: int
    annotator: str
    role: Role
    categories: tuple[str, ...]
    text_id: int
    answered: tuple[str, ...] | None


def select_annotated_item(connection: Connection, item_ids: Sequence[int], task: str) -> AnnotatedItem:
    """What must be known of an item (its rows as issue and pull request) before a person answers `task` about it.

    Of two rows the one that the task is asked of.
    """
    row = connection.execute(
        text("""
            SELECT i.id, i.kind, i.tombstone IS NOT DISTINCT FROM 'purged' AS is_purged,
                   EXISTS (SELECT FROM tracked_tasks k WHERE k.repository_key = i.repository_key AND k.task = :task)
                       AS is_tracked,
                   coalesce(ti.applies, false) AS applies
            FROM items i LEFT JOIN task_items ti ON ti.item_id = i.id AND ti.task = :task
            WHERE i.id = ANY (:ids) ORDER BY ti.applies DESC NULLS LAST, i.kind LIMIT 1
        """),
        {"ids": list(item_ids), "task": task},
    ).one()
    return AnnotatedItem(row.id, row.kind, row.is_purged, row.is_tracked, row.applies)


def select_item_ids(connection: Connection, keys: Sequence[tuple[int, str, int]]) -> dict[tuple[int, str, int], int]:
    """By repository key, kind and number: the items that are stored and not purged."""
    rows = connection.execute(
        text("""
            SELECT i.repository_key, i.kind, i.external_id, i.id
            FROM unnest(CAST(:repositories AS bigint[]), CAST(:kinds AS text[]), CAST(:numbers AS bigint[]))
                 AS k (repository_key, kind, number)
            JOIN items i ON (i.repository_key, i.kind, i.external_id) = (k.repository_key, k.kind, k.number)
            WHERE i.tombstone IS DISTINCT FROM 'purged'
        """),
        {
            "repositories": [key[0] for key in keys],
            "kinds": [key[1] for key in keys],
            "numbers": [key[2] for key in keys],
        },
    )
    return {(row.repository_key, row.kind, row.external_id): row.id for row in rows}


def select_unanswered(
    connection: Connection, task: str, role: Role, annotator: str, keys: Sequence[tuple[int, str, int]]
) -> set[tuple[int, str, int]]:
    """Of these keys (repository, kind, number) the stored items that `annotator` never reviewed, or nobody overrode.

    What was withdrawn counts as said. Purged items are none of them.
    """
    rows = connection.execute(
        text("""
            SELECT i.repository_key, i.kind, i.external_id
            FROM items i
            WHERE i.id = ANY (:ids)
                  AND NOT EXISTS (SELECT FROM annotations n
                                  WHERE n.item_id = i.id AND n.task = :task AND n.role = :role
                                        AND (n.role = 'override' OR n.annotator = :annotator))
        """),
        {
            "ids": list(select_item_ids(connection, keys).values()),
            "task": task,
            "role": role,
            "annotator": annotator,
        },
    )
    return {(row.repository_key, row.kind, row.external_id) for row in rows}


def select_standing(
    connection: Connection, task: str, role: Role, item_ids: Sequence[int], annotator: str | None = None
) -> dict[int, Annotation]:
    """By item: the annotation that holds; of a review that of one annotator."""
    rows = connection.execute(
        text("""
            SELECT DISTINCT ON (item_id) id, item_id, annotator, categories, reason FROM annotations
            WHERE task = :task AND role = :role AND item_id = ANY (:ids) AND withdrawn_at IS NULL
                  AND (CAST(:annotator AS text) IS NULL OR annotator = :annotator)
            ORDER BY item_id, id DESC
        """),
        {"task": task, "role": role, "ids": list(item_ids), "annotator": annotator},
    )
    return {
        row.item_id: Annotation(row.id, row.item_id, row.annotator, tuple(row.categories), row.reason) for row in rows
    }


def insert_annotation(
    connection: Connection,
    task: Task,
    role: Role,
    annotation: Annotation,
    text_hash: str | None = None,
) -> int:
    """Enters an answer (its `id` is ignored) and gives its number.

    text_hash: of the text that the person saw; None stands for the one that the item has now.
    """
    return int(
        connection.execute(
            text("""
                INSERT INTO annotations (item_id, task, annotator, role, categories, reason, text_hash)
                VALUES (:item_id, :task, :annotator, :role, :categories, :reason,
                        coalesce(:text_hash, (SELECT x.text_hash FROM item_texts it JOIN texts x ON x.id = it.text_id
                                              WHERE it.item_id = :item_id AND it.input = :input)))
                RETURNING id
            """),
            {
                "item_id": annotation.item_id,
                "task": task.name,
                "annotator": annotation.annotator,
                "role": role,
                "categories": list(annotation.categories),
                "reason": annotation.reason,
                "text_hash": text_hash,
                "input": task.input,
            },
        ).scalar_one()
    )


def withdraw_annotations(connection: Connection, ids: Sequence[int], by: str, reason: str) -> None:
    """Ends annotations; they stay as history."""
    connection.execute(
        text("""
            UPDATE annotations SET withdrawn_at = now(), withdrawn_by = :by, withdrawn_reason = :reason
            WHERE id = ANY (:ids) AND withdrawn_at IS NULL
        """),
        {"ids": list(ids), "by": by, "reason": reason},
    )


def raise_item_version(connection: Connection, item_id: int) -> None:
    """Gives an item's documents another version, so that the next export writes them."""
    connection.execute(
        text(f"UPDATE items SET row_version = {NEXT_ROW_VERSION} WHERE id = :id"),  # noqa: S608  (a constant)
        {"id": item_id},
    )


_ANNOTATIONS = """
    SELECT n.id, n.role, r.full_name || '#' || i.external_id AS issue, n.task,
           category_ids(n.task, n.categories) AS categories, n.categories AS as_given, n.annotator, n.reason,
           n.text_hash, n.created_at, n.withdrawn_at, n.withdrawn_by, n.withdrawn_reason
    FROM annotations n JOIN items i ON i.id = n.item_id JOIN repositories r ON r.key = i.repository_key
"""


def select_overrides(connection: Connection, tasks: Sequence[str], *, withdrawn: bool) -> list[dict[str, Any]]:
    """The overrides that hold, of these tasks (empty: all), the newest first; also the withdrawn ones, if asked for."""
    rows = connection.execute(
        text(f"""
            {_ANNOTATIONS}
            WHERE n.role = 'override' AND (:withdrawn OR n.withdrawn_at IS NULL)
                  AND (cardinality(CAST(:tasks AS text[])) = 0 OR n.task = ANY (:tasks))
            ORDER BY n.id DESC
        """),
        {"tasks": list(tasks), "withdrawn": withdrawn},
    )
    return [dict(row) for row in rows.mappings()]


def select_annotations_of(connection: Connection, item_id: int) -> list[dict[str, Any]]:
    """Everything that people answered about an item, the newest first, withdrawn ones included."""
    rows = connection.execute(
        text(f"{_ANNOTATIONS} WHERE n.item_id = :id ORDER BY n.id DESC"),
        {"id": item_id},
    )
    return [dict(row) for row in rows.mappings()]


def select_answer_weeks(connection: Connection, task: str) -> list[str]:
    """The ISO weeks (UTC) in which answers to `task` came, as '2026-W47', the newest first, at most twelve."""
    rows = connection.execute(
        text("""
            SELECT DISTINCT to_char(created_at AT TIME ZONE 'UTC', 'IYYY-"W"IW') AS week FROM classifications
            WHERE task = :task AND purpose = 'live' AND outcome IN ('answered', 'abstained')
            ORDER BY week DESC LIMIT 12
        """),
        {"task": task},
    )
    return list(rows.scalars())


def select_week_answers(
    connection: Connection, task: Task, week: str, begin: datetime, *, size: int, lowest: int
) -> list[WeekAnswer]:
    """The sample of a week: `size` texts drawn from those answered in it, and the `lowest` confidences of the others.

    The draw depends on nothing but the week and the items, so everybody gets the same; so does the order, which tells
    nothing of why a text is in it. A text that several items have comes once, with the oldest of them.
    """
    rows = connection.execute(
        text(f"""
            WITH answers AS (
                SELECT DISTINCT ON (c.text_id)
                       i.repository_key || '-' || i.kind || '-' || i.external_id || '-' || :task AS document_id,
                       x.text_hash, r.full_name AS repository, i.external_id AS number, coalesce(i.title, '') AS title,
                       coalesce(i.url, '') AS url, x.body, c.categories, c.confidences[1] AS confidence, c.rationale
                FROM classifications c
                JOIN texts x ON x.id = c.text_id AND x.body <> ''
                JOIN item_texts it ON it.text_id = c.text_id AND it.input = :input
                JOIN task_items ti ON ti.item_id = it.item_id AND ti.task = :task AND ti.applies
                JOIN items i ON i.id = it.item_id
                JOIN repositories r ON r.key = i.repository_key
                WHERE c.task = :task AND c.purpose = 'live' AND c.outcome IN ('answered', 'abstained')
                      AND c.created_at >= :begin AND c.created_at < :begin + interval '7 days'
                ORDER BY c.text_id, i.created_at, i.id,
                         {CLASSIFIER_RANK.format("c")}, c.id DESC
            ), drawn AS (
                SELECT *, md5(:week || ' ' || document_id) AS place,
                       row_number() OVER (ORDER BY md5(:week || ' ' || document_id)) <= :size AS is_random
                FROM answers
            ), low AS (
                SELECT document_id FROM drawn WHERE NOT is_random AND confidence IS NOT NULL
                ORDER BY confidence, place LIMIT :lowest
            )
            SELECT d.*, CASE WHEN is_random THEN 'random' ELSE 'lowest' END AS chosen_as
            FROM drawn d WHERE is_random OR document_id IN (SELECT document_id FROM low)
            ORDER BY md5(place)
        """),  # noqa: S608  (a constant)
        {"task": task.name, "input": task.input, "week": week, "begin": begin, "size": size, "lowest": lowest},
    )
    return [
        WeekAnswer(
            document_id=row.document_id,
            text_hash=row.text_hash,
            repository=row.repository,
            number=row.number,
            title=row.title,
            url=row.url,
            body=row.body,
            categories=tuple(row.categories),
            confidence=row.confidence,
            rationale=row.rationale,
            chosen_as=row.chosen_as,
        )
        for row in rows
    ]


def select_reviewed_items(connection: Connection, task: Task) -> list[ReviewedItem]:
    """Every annotation of a task that holds, of items that have a text, with the classifier's answer to it.

    That is the answer that would count without any override: claude's before local's before that of rules.
    """
    rows = connection.execute(
        text(f"""
            SELECT n.item_id, n.annotator, n.role, category_ids(n.task, n.categories) AS categories, it.text_id,
                   c.id IS NOT NULL AS is_answered, category_ids(n.task, c.categories) AS answered
            FROM annotations n
            JOIN item_texts it ON it.item_id = n.item_id AND it.input = :input
            JOIN texts x ON x.id = it.text_id AND x.body <> ''
            LEFT JOIN LATERAL (
                SELECT k.id, k.categories FROM classifications k
                WHERE k.text_id = it.text_id AND k.task = n.task AND k.purpose = 'live'
                      AND k.outcome IN ('answered', 'abstained', 'refused')
                ORDER BY {BEST_FIRST.format("k")}
                LIMIT 1) AS c ON true
            WHERE n.task = :task AND n.withdrawn_at IS NULL
            ORDER BY n.item_id, n.role, n.annotator, n.id
        """),  # noqa: S608  (a constant)
        {"task": task.name, "input": task.input},
    )
    return [
        ReviewedItem(
            item_id=row.item_id,
            annotator=row.annotator,
            role=row.role,
            categories=tuple(row.categories),
            text_id=row.text_id,
            answered=tuple(row.answered) if row.is_answered else None,
        )
        for row in rows
    ]
