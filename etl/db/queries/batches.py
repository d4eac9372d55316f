"""Statements on batches of requests: the intent, what they ask about, what became of each text.

A batch is open until `settled_at` says that it was collected, is lost at the vendor, or never came to be. While it is
open it holds the claims of its texts, which outlive the run that submitted it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, text

from etl.records import BatchedText, Purpose

MOST_FAILURES = 2
"""So often a text comes back from batches without an answer before only single requests ask about it."""

SPENT = f"""
    it.text_id IN (
        SELECT bt.text_id FROM batch_texts bt JOIN batches b ON b.id = bt.batch_id
        WHERE b.task = :task AND bt.outcome NOT IN ('answered', 'canceled') AND b.created_at > now() - interval '7 days'
        GROUP BY bt.text_id HAVING count(*) >= {MOST_FAILURES} OR bool_or(bt.outcome = 'unusable'))
"""  # noqa: S608  (a constant)
"""Condition on `it.text_id`: batches will not do for it, and a request of its own must ask `:task`.

For a week only: a vendor's bad day must not make a text dear for good. What a person canceled is no failure."""

_OPEN = """
    SELECT b.*, extract(epoch FROM clock_timestamp() - coalesce(b.submitted_at, b.created_at))::float8 AS age_seconds,
           r.ended_at IS NOT NULL AS run_has_ended
    FROM batches b JOIN runs r ON r.id = b.run_id
"""


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch that is about to be handed over; see the table `batches`."""

    task: str
    task_version: int
    task_sha256: str
    prompt_version: str
    classifier: str
    model: str
    token: str
    requests: int
    reserved_usd: float


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch that is not settled.

    age_seconds: since it was submitted, or intended, by the database's clock. run_has_ended: whether the run that
    submitted it is over, so that nobody else can be about to enter the vendor's id.
    """

    id: int
    task: str
    task_version: int
    task_sha256: str
    prompt_version: str
    model: str
    purpose: Purpose
    state: str
    token: str
    vendor_id: str | None
    requests: int
    texts: int
    run_id: int
    created_at: datetime
    age_seconds: float
    run_has_ended: bool


@dataclass(frozen=True, slots=True)
class WaitingText:
    """A text of an open batch of which nothing came back yet. purged: what its answer says of it is not to be kept."""

    sent: BatchedText
    purged: bool


@dataclass(frozen=True, slots=True)
class TextOutcome:
    """What came back for a text. message: why not an answer."""

    custom_id: str
    echo_id: str
    outcome: Literal["answered", "unusable", "errored", "canceled", "expired", "missing"]
    message: str | None = None


def begin_with_claims(connection: Connection) -> None:
    """Waits for a purge or new ids of texts under way. To be taken first: they too take claims before anything else."""
    connection.execute(text("LOCK TABLE claims IN ROW EXCLUSIVE MODE"))


def insert_batch(connection: Connection, batch: NewBatch, texts: Sequence[BatchedText], run_id: int) -> int | None:
    """Writes down that a batch is about to be submitted, and gives it the claims of its texts; gives its id.

    None, with nothing to be committed, where the run does not hold the claim of every text any more.
    """
    begin_with_claims(connection)
    batch_id = connection.execute(
        text("""
            INSERT INTO batches (task, task_version, task_sha256, prompt_version, classifier, model, token, requests,
                                 texts, reserved_usd, run_id)
            VALUES (:task, :task_version, :task_sha256, :prompt_version, :classifier, :model, :token, :requests,
                    :texts, :reserved_usd, :run_id) RETURNING id
        """),
        {
            "task": batch.task,
            "task_version": batch.task_version,
            "task_sha256": batch.task_sha256,
            "prompt_version": batch.prompt_version,
            "classifier": batch.classifier,
            "model": batch.model,
            "token": batch.token,
            "requests": batch.requests,
            "texts": len(texts),
            "reserved_usd": batch.reserved_usd,
            "run_id": run_id,
        },
    ).scalar_one()
    connection.execute(
        text("""
            INSERT INTO batch_texts (batch_id, custom_id, echo_id, text_id, redactions, truncated_chars)
            SELECT :batch_id, * FROM unnest(CAST(:custom_ids AS text[]), CAST(:echo_ids AS text[]),
                CAST(:text_ids AS bigint[]), CAST(:redactions AS int[]), CAST(:truncated AS int[]))
        """),
        {
            "batch_id": batch_id,
            "custom_ids": [entry.custom_id for entry in texts],
            "echo_ids": [entry.echo_id for entry in texts],
            "text_ids": [entry.text_id for entry in texts],
            "redactions": [entry.redactions for entry in texts],
            "truncated": [entry.truncated_chars for entry in texts],
        },
    )
    held = connection.execute(
        text("""
            UPDATE claims SET batch_id = :batch_id, expires_at = 'infinity'
            WHERE task = :task AND run_id = :run_id AND batch_id IS NULL AND text_id = ANY (:text_ids)
        """),
        {
            "batch_id": batch_id,
            "task": batch.task,
            "run_id": run_id,
            "text_ids": [entry.text_id for entry in texts],
        },
    ).rowcount
    return int(batch_id) if held == len(texts) else None


def mark_submitted(connection: Connection, batch_id: int, vendor_id: str) -> bool:
    """Enters the vendor's id of a batch. False where another batch has it: it is not this one's."""
    done = connection.execute(
        text("""
            UPDATE batches SET state = 'submitted', vendor_id = :vendor_id, submitted_at = clock_timestamp()
            WHERE id = :id AND vendor_id IS NULL AND settled_at IS NULL
                  AND NOT EXISTS (SELECT FROM batches o WHERE o.vendor_id = :vendor_id)
        """),
        {"id": batch_id, "vendor_id": vendor_id},
    )
    return bool(done.rowcount)


def adopt_batch(connection: Connection, batch_id: int, vendor_id: str) -> bool:
    """As `mark_submitted`, for a batch that was found at the vendor: it was submitted when it was intended."""
    found = mark_submitted(connection, batch_id, vendor_id)
    connection.execute(text("UPDATE batches SET submitted_at = created_at WHERE id = :id"), {"id": batch_id})
    return found


def select_open_batches(connection: Connection, task: str | None = None) -> list[OpenBatch]:
    """The batches that are not settled, the oldest first; of one task or all."""
    rows = connection.execute(
        text(f"{_OPEN} WHERE b.settled_at IS NULL AND (CAST(:task AS text) IS NULL OR b.task = :task) ORDER BY b.id"),
        {"task": task},
    )
    return [_open_batch(row) for row in rows]


def select_open_batch(connection: Connection, batch_id: int) -> OpenBatch | None:
    """One batch as it is now; None where it is settled or unknown."""
    row = connection.execute(text(f"{_OPEN} WHERE b.id = :id AND b.settled_at IS NULL"), {"id": batch_id}).one_or_none()
    return None if row is None else _open_batch(row)


def _open_batch(row: Any) -> OpenBatch:  # noqa: ANN401  (a row)
    return OpenBatch(**{name: getattr(row, name) for name in OpenBatch.__dataclass_fields__})


def select_task_file(connection: Connection, name: str, version: int) -> str:
    """The content of a version of a task, as it was asked."""
    return str(
        connection.execute(
            text("SELECT content FROM tasks WHERE name = :name AND version = :version"),
            {"name": name, "version": version},
        ).scalar_one()
    )


def select_known_vendor_ids(connection: Connection) -> set[str]:
    """The vendor's ids of all batches of ours."""
    return set(connection.execute(text("SELECT vendor_id FROM batches WHERE vendor_id IS NOT NULL")).scalars())


def select_waiting_texts(
    connection: Connection, batch_id: int, custom_ids: Sequence[str] | None = None
) -> list[WaitingText]:
    """The texts of a batch of which nothing came back yet; of some requests only, these are locked until the commit."""
    rows = connection.execute(
        text(f"""
            SELECT text_id, custom_id, echo_id, redactions, truncated_chars, purged FROM batch_texts
            WHERE batch_id = :batch_id AND outcome IS NULL
                  AND (CAST(:custom_ids AS text[]) IS NULL OR custom_id = ANY (:custom_ids))
            ORDER BY custom_id, echo_id {"" if custom_ids is None else "FOR UPDATE"}
        """),  # noqa: S608  (a constant)
        {"batch_id": batch_id, "custom_ids": None if custom_ids is None else list(custom_ids)},
    )
    return [WaitingText(BatchedText(*row[:-1]), row.purged) for row in rows]


def update_outcomes(connection: Connection, batch_id: int, outcomes: Sequence[TextOutcome]) -> None:
    """Enters what came back for texts of a batch, and ends their claims: without an answer they are pending again."""
    parameters = {
        "batch_id": batch_id,
        "custom_ids": [entry.custom_id for entry in outcomes],
        "echo_ids": [entry.echo_id for entry in outcomes],
        "outcomes": [entry.outcome for entry in outcomes],
        "messages": [entry.message for entry in outcomes],
    }
    connection.execute(
        text("""
            WITH done AS (
                UPDATE batch_texts t SET outcome = n.outcome, message = CASE WHEN t.purged THEN NULL ELSE n.message END
                FROM unnest(CAST(:custom_ids AS text[]), CAST(:echo_ids AS text[]), CAST(:outcomes AS text[]),
                            CAST(:messages AS text[])) AS n (custom_id, echo_id, outcome, message)
                WHERE t.batch_id = :batch_id AND t.custom_id = n.custom_id AND t.echo_id = n.echo_id
                RETURNING t.text_id)
            DELETE FROM claims WHERE batch_id = :batch_id AND text_id IN (SELECT text_id FROM done)
        """),
        parameters,
    )


def settle_batch(
    connection: Connection,
    batch_id: int,
    state: Literal["collected", "lost", "abandoned"],
    *,
    left: Literal["missing", "expired"] | None,
    error: str | None = None,
) -> int:
    """Closes a batch: texts of which nothing came back are pending again. Gives how many these are.

    left: what is entered for them, which counts as a failure; None where they were not asked about at all.
    """
    begin_with_claims(connection)
    waiting = connection.execute(
        text("""
            WITH done AS (UPDATE batch_texts SET outcome = :left WHERE batch_id = :id AND outcome IS NULL RETURNING 1)
            SELECT count(*) FROM done
        """),
        {"id": batch_id, "left": left},
    ).scalar_one()
    connection.execute(text("DELETE FROM claims WHERE batch_id = :id"), {"id": batch_id})
    connection.execute(
        text("""
            UPDATE batches SET state = :state, settled_at = clock_timestamp(), error = :error,
                               erased_at = CASE WHEN vendor_id IS NULL THEN clock_timestamp() END
            WHERE id = :id
        """),
        {"id": batch_id, "state": state, "error": error},
    )
    return int(waiting)


def count_outcomes(connection: Connection, batch_id: int) -> dict[str, int]:
    """How many texts of a batch came back how, by outcome; those of which nothing came back yet are left out."""
    rows = connection.execute(
        text("""
            SELECT outcome, count(*) AS texts FROM batch_texts
            WHERE batch_id = :id AND outcome IS NOT NULL GROUP BY outcome
        """),
        {"id": batch_id},
    )
    return {row.outcome: row.texts for row in rows}


def select_unerased(connection: Connection, limit: int) -> list[tuple[int, str]]:
    """Settled batches whose results are still at the vendor, (id, vendor's id); after 29 days nothing is there."""
    rows = connection.execute(
        text("""
            SELECT id, vendor_id FROM batches
            WHERE settled_at IS NOT NULL AND erased_at IS NULL AND vendor_id IS NOT NULL
                  AND created_at > now() - interval '29 days'
            ORDER BY id LIMIT :limit
        """),
        {"limit": limit},
    )
    return [(row.id, row.vendor_id) for row in rows]


def mark_erased(connection: Connection, batch_id: int) -> None:
    """Nothing of the batch is left at the vendor."""
    connection.execute(text("UPDATE batches SET erased_at = clock_timestamp() WHERE id = :id"), {"id": batch_id})


def select_under_way(connection: Connection) -> dict[str, dict[str, Any]]:
    """By task: how many texts are in batches under way, in how many batches, and since when the oldest is."""
    rows = connection.execute(
        text("""
            SELECT b.task, count(*) AS batches, min(coalesce(b.submitted_at, b.created_at)) AS since,
                   CAST(sum((SELECT count(*) FROM batch_texts t WHERE t.batch_id = b.id AND t.outcome IS NULL)) AS int)
                   AS texts
            FROM batches b WHERE b.settled_at IS NULL GROUP BY b.task ORDER BY b.task
        """)
    )
    return {row.task: {"texts": row.texts, "batches": row.batches, "since": row.since} for row in rows}


def select_batches(connection: Connection, limit: int, *, only_open: bool) -> list[dict[str, Any]]:
    """The newest batches for people, with what became of their texts and what they cost."""
    rows = connection.execute(
        text("""
            SELECT b.id, b.task, b.task_version, b.prompt_version, b.model, b.state, b.vendor_id, b.requests, b.texts,
                   b.reserved_usd, b.run_id, b.created_at, b.submitted_at, b.settled_at, b.erased_at, b.error,
                   (SELECT coalesce(sum(c.cost_usd), 0) FROM classifications c WHERE c.batch_id = b.id) AS cost_usd,
                   (SELECT coalesce(json_object_agg(o.outcome, o.texts), '{}')
                    FROM (SELECT coalesce(t.outcome, 'waiting') AS outcome, count(*) AS texts FROM batch_texts t
                          WHERE t.batch_id = b.id GROUP BY 1) AS o) AS outcomes
            FROM batches b WHERE NOT :only_open OR b.settled_at IS NULL ORDER BY b.id DESC LIMIT :limit
        """),
        {"limit": limit, "only_open": only_open},
    )
    return [dict(row) for row in rows.mappings()]
