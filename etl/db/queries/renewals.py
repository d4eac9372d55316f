"""Statements on answers that are to be given anew: which there are, and which name categories that are gone."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from etl.db.queries.classifications import BEST_FIRST, PendingScope
from etl.records import ANSWERS
from etl.tasks import Task


@dataclass(frozen=True, slots=True)
class AnswerGroup:
    """Current answers that have their versions in common, how many texts and items have one, and the newest's time."""

    task_version: int
    prompt_version: str
    classifier: str
    model: str
    texts: int
    items: int
    newest: datetime


def select_newest_version(connection: Connection, task: Task) -> int | None:
    """The highest version of the task that any run was ever given; None where there was none."""
    found = connection.execute(text("SELECT max(version) FROM tasks WHERE name = :name"), {"name": task.name})
    version: int | None = found.scalar_one()
    return version


def select_groups(connection: Connection, task: Task, scope: PendingScope) -> list[AnswerGroup]:
    """The answers of a scope with a renewal by their versions, oldest version of the task first."""
    rows = connection.execute(
        text(f"""
            SELECT c.task_version, c.prompt_version, c.classifier, c.model, count(DISTINCT it.text_id), count(*),
                   max(c.created_at) {scope.where} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        """),
        {"task": task.name, **scope.parameters},
    )
    return [AnswerGroup(*row) for row in rows]


def count_in_batches(connection: Connection, task: Task, scope: PendingScope) -> int:
    """How many texts of a scope an open batch is asking about at this moment."""
    return int(
        connection.execute(
            text(f"""
                SELECT count(DISTINCT it.text_id) {scope.where}
                  AND EXISTS (SELECT FROM claims b WHERE b.text_id = it.text_id AND b.task = :task
                                                         AND b.batch_id IS NOT NULL)
            """),  # noqa: S608  (a constant)
            {"task": task.name, **scope.parameters},
        ).scalar_one()
    )


def count_categories(connection: Connection, task: Task, scope: PendingScope) -> dict[str, int]:
    """By category: how many texts' current answers name it, whoever gave them, in the repositories of a scope."""
    rows = connection.execute(
        text(f"""
            SELECT u.category, count(DISTINCT it.text_id)
            FROM task_items ti
            JOIN items i ON i.id = ti.item_id
            JOIN item_texts it ON it.item_id = ti.item_id AND it.input = ti.input
            CROSS JOIN LATERAL (
                SELECT k.categories FROM classifications k
                WHERE k.text_id = it.text_id AND k.task = :task AND k.purpose = 'live' AND k.outcome IN {ANSWERS}
                ORDER BY {BEST_FIRST.format("k")}
                LIMIT 1) AS c
            CROSS JOIN LATERAL unnest(c.categories) AS u (category)
            WHERE ti.task = :task AND ti.applies
              AND (:every_repository OR i.repository_key = ANY (:repository_keys))
            GROUP BY 1 ORDER BY 1
        """),  # noqa: S608  (a constant)
        {"task": task.name, **scope.parameters},
    )
    return {row[0]: row[1] for row in rows}
