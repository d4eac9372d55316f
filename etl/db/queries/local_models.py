"""Statements on trained models of the classifier `local`: their examples, the models, their answers and audits."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from etl.db.queries.classifications import PendingScope
from etl.records import Text
from etl.tasks import Task

COMPARED = 400
"""Over how many of a model's newest compared answers agreement is computed, so that it can change."""

MOST_MODELS = 10
"""So many of a task's newest models are looked at when it is decided whose answers are accepted."""

_SAME = "ARRAY(SELECT unnest({0}.categories) ORDER BY 1)"

_CLAUDE = """
    SELECT k.id, k.outcome, k.categories FROM classifications k
    WHERE k.text_id = l.text_id AND k.task = l.task AND k.classifier = 'claude' AND k.purpose IN ('live', 'audit')
          AND k.outcome IN ('answered', 'abstained') AND k.id > l.id
    ORDER BY k.id DESC LIMIT 1
"""

_MINE = "l.classifier = 'local' AND l.purpose = 'live' AND l.outcome = 'answered'"


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """A text with a known answer: what a person said of an item with it, else what Claude answered."""

    body: str
    categories: tuple[str, ...]
    by_person: bool


@dataclass(frozen=True, slots=True)
class NewModel:
    """A model that was trained, as it is stored."""

    content: bytes
    sha256: str
    examples: int
    metrics: Mapping[str, Any]
    thresholds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model as it is stored, without its content. metrics: as `etl.training` measured them."""

    id: int
    task: str
    task_version: int
    sha256: str
    examples: int
    metrics: dict[str, Any]
    thresholds: dict[str, float]
    trained_at: datetime


@dataclass(frozen=True, slots=True)
class CascadeAgreement:
    """How often Claude said what a model had answered, over the newest texts that both answered."""

    task: str
    model: str
    compared: int
    agreed: int

    @property
    def share(self) -> float:
        """Of those compared; 0 where none was."""
        return self.agreed / self.compared if self.compared else 0.0


@dataclass(frozen=True, slots=True)
class AnsweredTexts:
    """What the answers of Claude to a task cost: how many, and dollars per text."""

    texts: int
    dollars_per_text: float


def select_examples(connection: Connection, task: Task) -> Iterator[ExampleRow]:
    """Every text of the task's input with a known answer, each once.

    What people said of an item (an override, else its newest review) wins over Claude's newest live answer. Answers by
    rules, by `local` itself and inherited ones are no examples: a model would learn its own mistakes.
    """
    rows = connection.execute(
        text("""
            WITH said AS (
                SELECT DISTINCT ON (it.text_id) it.text_id, category_ids(n.task, n.categories) AS categories
                FROM annotations n
                JOIN item_texts it ON it.item_id = n.item_id AND it.input = :input
                WHERE n.task = :task AND n.withdrawn_at IS NULL
                ORDER BY it.text_id, n.role = 'override' DESC, n.id DESC
            ), answered AS (
                SELECT DISTINCT ON (c.text_id) c.text_id, c.categories
                FROM classifications c
                WHERE c.task = :task AND c.classifier = 'claude' AND c.purpose IN ('live', 'audit')
                      AND c.outcome IN ('answered', 'abstained')
                ORDER BY c.text_id, c.task_version DESC, c.id DESC
            )
            SELECT x.body, coalesce(s.categories, a.categories) AS categories, s.text_id IS NOT NULL AS by_person
            FROM said s FULL JOIN answered a USING (text_id)
            JOIN texts x ON x.id = coalesce(s.text_id, a.text_id) AND x.input = :input AND x.body <> ''
            ORDER BY x.id
        """),
        {"task": task.name, "input": task.input},
        execution_options={"yield_per": 500},
    )
    for row in rows:
        yield ExampleRow(row.body, tuple(row.categories), row.by_person)


def insert_model(connection: Connection, task: Task, model: NewModel) -> int:
    """Stores a trained model; it answers from now on. Gives its id."""
    return int(
        connection.execute(
            text("""
                INSERT INTO local_models (
                    task, task_version, task_sha256, content, sha256, examples, metrics, thresholds)
                VALUES (:task, :version, :task_sha256, :content, :sha256, :examples, CAST(:metrics AS jsonb),
                        CAST(:thresholds AS jsonb))
                RETURNING id
            """),
            {
                "task": task.name,
                "version": task.version,
                "task_sha256": task.sha256,
                "content": model.content,
                "sha256": model.sha256,
                "examples": model.examples,
                "metrics": json.dumps(model.metrics),
                "thresholds": json.dumps(dict(model.thresholds)),
            },
        ).scalar_one()
    )


def select_models(connection: Connection, task: str, most: int = MOST_MODELS) -> list[StoredModel]:
    """The models of a task, the newest first; that one answers."""
    rows = connection.execute(
        text("""
            SELECT id, task, task_version, sha256, examples, metrics, thresholds, trained_at
            FROM local_models WHERE task = :task ORDER BY id DESC LIMIT :most
        """),
        {"task": task, "most": most},
    )
    return [StoredModel(**row._mapping) for row in rows]


def select_content(connection: Connection, model_id: int) -> bytes:
    """The bytes of a model."""
    return bytes(
        connection.execute(text("SELECT content FROM local_models WHERE id = :id"), {"id": model_id}).scalar_one()
    )


def select_newest_contents(connection: Connection) -> dict[str, bytes]:
    """By task: the bytes of its newest model."""
    rows = connection.execute(text("SELECT DISTINCT ON (task) task, content FROM local_models ORDER BY task, id DESC"))
    return {row.task: bytes(row.content) for row in rows}


def select_agreement(connection: Connection, task: str, model: str) -> CascadeAgreement:
    """How often Claude said what the model had answered, over the newest `COMPARED` texts that both answered.

    model: as the ledger calls it. A refusal by Claude compares with nothing.
    """
    row = connection.execute(
        text(f"""
            SELECT count(*) AS compared, count(*) FILTER (WHERE is_same) AS agreed
            FROM (SELECT c.outcome = 'answered' AND {_SAME.format("c")} = {_SAME.format("l")} AS is_same
                  FROM classifications l CROSS JOIN LATERAL ({_CLAUDE}) AS c
                  WHERE {_MINE} AND l.task = :task AND l.model = :model
                  ORDER BY l.id DESC LIMIT :most) AS newest
        """),  # noqa: S608  (constants)
        {"task": task, "model": model, "most": COMPARED},
    ).one()
    return CascadeAgreement(task, model, row.compared, row.agreed)


def claim_audits(
    connection: Connection, task: Task, scope: PendingScope, model: str, *, share: float, run_id: int, limit: int
) -> list[Text]:
    """Up to `limit` texts that the model answered and whose answers are to be checked, claimed for this run.

    Which ones is told by a hash of task and text: another run would choose the same, and a share of 0.05 is part of a
    share of 0.1. A text that Claude was ever asked about is left out, whatever became of that.
    """
    rows = connection.execute(
        text(f"""
            WITH chosen AS (
                SELECT l.text_id FROM classifications l JOIN texts x ON x.id = l.text_id AND x.body <> ''
                WHERE {_MINE} AND l.task = :task AND l.model = :audited_model
                  AND CAST(CAST('x' || substr(md5(:task || ' ' || x.text_hash), 1, 8) AS bit(32)) AS bigint)
                      < CAST(:share AS float8) * 4294967296
                  AND NOT EXISTS (SELECT FROM classifications c
                                  WHERE c.text_id = l.text_id AND c.task = :task AND c.classifier = 'claude'
                                        AND c.purpose IN ('live', 'audit'))
                  AND NOT EXISTS (SELECT FROM claims k WHERE k.text_id = l.text_id AND k.task = :task
                                                         AND k.expires_at > now())
                  AND EXISTS (SELECT FROM item_texts it
                              JOIN items i ON i.id = it.item_id
                              JOIN task_items ti ON ti.item_id = it.item_id AND ti.input = it.input
                                                 AND ti.task = :task AND ti.applies
                              WHERE it.text_id = l.text_id
                                AND (:every_repository OR i.repository_key = ANY (:repository_keys)))
                ORDER BY l.id DESC LIMIT :limit
            ), claimed AS (
                INSERT INTO claims AS k (text_id, task, run_id, expires_at)
                SELECT DISTINCT text_id, :task, :run_id, now() + interval '15 minutes' FROM chosen
                ON CONFLICT (text_id, task) DO UPDATE
                SET run_id = excluded.run_id, expires_at = excluded.expires_at WHERE k.expires_at <= now()
                RETURNING text_id
            )
            SELECT x.id, x.text_hash, x.body FROM claimed JOIN texts x ON x.id = text_id ORDER BY x.id
        """),  # noqa: S608  (constants)
        {
            "task": task.name,
            **scope.parameters,
            "audited_model": model,
            "share": share,
            "run_id": run_id,
            "limit": limit,
        },
    )
    return [Text(id=row.id, text_hash=row.text_hash, body=row.body) for row in rows]


def select_mean_cost(connection: Connection, task: str) -> AnsweredTexts:
    """What Claude's newest thousand live answers to a task cost per text."""
    row = connection.execute(
        text("""
            SELECT count(*) AS texts, coalesce(avg(cost_usd), 0) AS dollars
            FROM (SELECT cost_usd FROM classifications
                  WHERE task = :task AND classifier = 'claude' AND purpose = 'live'
                  ORDER BY id DESC LIMIT 1000) AS newest
        """),
        {"task": task},
    ).one()
    return AnsweredTexts(row.texts, float(row.dollars))


def select_cascade_agreement(connection: Connection) -> list[dict[str, Any]]:
    """The view `cascade_agreement`, by task, the newest model first."""
    rows = connection.execute(text("SELECT * FROM cascade_agreement ORDER BY task, since DESC"))
    return [dict(row) for row in rows.mappings()]
