"""Statements on measured quality: golden texts and their answers, kept evaluations, calibrations."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from etl.db.queries.classifications import BEST_FIRST
from etl.db.queries.items import NEXT_ROW_VERSION
from etl.db.store import serialize_item_writers
from etl.tasks import Task


@dataclass(frozen=True, slots=True)
class CurrentAnswer:
    """An answer of the ledger. classifier: who gave it; of an inherited one, who gave what it repeats."""

    classifier: str
    model: str
    prompt_version: str
    categories: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class NewEvaluation:
    """What is kept of an evaluation. metrics, thresholds: plain values."""

    task: str
    task_version: int
    classifier: str
    model: str
    prompt_version: str
    golden_set: str
    size: int
    metrics: dict[str, Any]
    thresholds: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Whose answers a calibration is for."""

    task: str
    classifier: str
    model: str
    prompt_version: str


def select_bodies(connection: Connection, text_ids: Sequence[int]) -> dict[int, str]:
    """By text: its words."""
    rows = connection.execute(text("SELECT id, body FROM texts WHERE id = ANY (:ids)"), {"ids": list(text_ids)})
    return {row.id: row.body for row in rows}


def select_text_ids_by_hash(connection: Connection, hashes: Sequence[str], name: str) -> dict[str, int]:
    """By id, of today or a former one: the stored text of input `name`."""
    rows = connection.execute(
        text("""
            SELECT x.text_hash AS hash, x.id FROM texts x WHERE x.input = :input AND x.text_hash = ANY (:hashes)
            UNION ALL
            SELECT f.former_hash, f.text_id FROM text_aliases f WHERE f.input = :input AND f.former_hash = ANY (:hashes)
        """),
        {"hashes": list(hashes), "input": name},
    )
    return {row.hash: row.id for row in rows}


def select_current_answers(
    connection: Connection, task: Task, text_ids: Sequence[int], model: str | None
) -> dict[int, CurrentAnswer]:
    """By text: the classifiers' answer that counts, or would if only this model had answered; overrides left out.

    An answer in which a category was removed from the task since has the one that it became.
    """
    rows = connection.execute(
        text(f"""
            SELECT DISTINCT ON (c.text_id) c.text_id, c.model, c.prompt_version, c.categories, c.confidences,
                   coalesce(s.classifier, c.classifier) AS classifier
            FROM classifications c LEFT JOIN classifications s ON s.id = c.inherited_from
            WHERE c.text_id = ANY (:ids) AND c.task = :task AND c.purpose = 'live'
                  AND c.outcome IN ('answered', 'abstained', 'refused')
                  AND (CAST(:model AS text) IS NULL OR c.model = :model)
            ORDER BY c.text_id, {BEST_FIRST.format("c")}
        """),  # noqa: S608  (a constant)
        {"ids": list(text_ids), "task": task.name, "model": model},
    )
    return {
        row.text_id: CurrentAnswer(
            row.classifier,
            row.model,
            row.prompt_version,
            tuple(
                (task.resolve_category(category) or category, confidence)
                for category, confidence in zip(row.categories, row.confidences, strict=True)
            ),
        )
        for row in rows
    }


def insert_evaluation(connection: Connection, evaluation: NewEvaluation) -> int:
    """Keeps an evaluation; gives its number."""
    return int(
        connection.execute(
            text("""
                INSERT INTO evaluations (task, task_version, classifier, model, prompt_version, golden_set, size,
                                         metrics, thresholds)
                VALUES (:task, :task_version, :classifier, :model, :prompt_version, :golden_set, :size,
                        CAST(:metrics AS jsonb), CAST(:thresholds AS jsonb)) RETURNING id
            """),
            {
                "task": evaluation.task,
                "task_version": evaluation.task_version,
                "classifier": evaluation.classifier,
                "model": evaluation.model,
                "prompt_version": evaluation.prompt_version,
                "golden_set": evaluation.golden_set,
                "size": evaluation.size,
                "metrics": json.dumps(evaluation.metrics),
                "thresholds": json.dumps(evaluation.thresholds),
            },
        ).scalar_one()
    )


def select_evaluations(connection: Connection, tasks: Sequence[str]) -> list[dict[str, Any]]:
    """The kept evaluations of these tasks (empty: all), the newest first."""
    rows = connection.execute(
        text("""
            SELECT id, task, task_version, classifier, model, prompt_version, golden_set, size, metrics, thresholds,
                   created_at
            FROM evaluations
            WHERE cardinality(CAST(:tasks AS text[])) = 0 OR task = ANY (:tasks) ORDER BY id DESC
        """),
        {"tasks": list(tasks)},
    )
    return [dict(row) for row in rows.mappings()]


def insert_calibration(
    connection: Connection, who: Calibrated, points: Sequence[tuple[float, float]], evaluation_id: int
) -> int:
    """Lets a map from given to calibrated confidences hold for somebody's answers, in the place of an earlier one.

    Their items get another version, so that the next export writes what is shown now. Gives its number.
    """
    serialize_item_writers(connection)
    _withdraw(connection, who)
    number = connection.execute(
        text("""
            INSERT INTO calibrations (task, classifier, model, prompt_version, given, calibrated, evaluation_id)
            VALUES (:task, :classifier, :model, :prompt_version, :given, :calibrated, :evaluation_id) RETURNING id
        """),
        {
            **_parameters(who),
            "given": [given for given, _ in points],
            "calibrated": [calibrated for _, calibrated in points],
            "evaluation_id": evaluation_id,
        },
    ).scalar_one()
    _raise_versions(connection, who)
    return int(number)


def select_calibrations(connection: Connection, tasks: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The calibrations that hold, of these tasks (empty: all), and what their evaluation was."""
    rows = connection.execute(
        text("""
            SELECT b.id, b.task, b.classifier, b.model, b.prompt_version, b.given, b.calibrated, b.created_at,
                   b.evaluation_id, e.golden_set, e.size
            FROM calibrations b JOIN evaluations e ON e.id = b.evaluation_id
            WHERE b.withdrawn_at IS NULL AND (cardinality(CAST(:tasks AS text[])) = 0 OR b.task = ANY (:tasks))
            ORDER BY b.id DESC
        """),
        {"tasks": list(tasks)},
    )
    return [dict(row) for row in rows.mappings()]


def withdraw_calibration(connection: Connection, who: Calibrated) -> None:
    """Ends a calibration: the confidences are shown as stated again; their items get another version."""
    serialize_item_writers(connection)
    _withdraw(connection, who)
    _raise_versions(connection, who)


def _withdraw(connection: Connection, who: Calibrated) -> None:
    connection.execute(
        text("""
            UPDATE calibrations SET withdrawn_at = now()
            WHERE (task, classifier, model, prompt_version) = (:task, :classifier, :model, :prompt_version)
                  AND withdrawn_at IS NULL
        """),
        _parameters(who),
    )


def _raise_versions(connection: Connection, who: Calibrated) -> None:
    connection.execute(
        text(f"""
            UPDATE items SET row_version = {NEXT_ROW_VERSION}
            WHERE id IN (
                SELECT it.item_id
                FROM classifications c JOIN item_texts it ON it.text_id = c.text_id
                LEFT JOIN classifications s ON s.id = c.inherited_from
                WHERE (c.task, c.model, c.prompt_version) = (:task, :model, :prompt_version)
                      AND coalesce(s.classifier, c.classifier) = :classifier AND c.purpose = 'live')
        """),  # noqa: S608  (a constant)
        _parameters(who),
    )


def _parameters(who: Calibrated) -> dict[str, str]:
    return {
        "task": who.task,
        "classifier": who.classifier,
        "model": who.model,
        "prompt_version": who.prompt_version,
    }
