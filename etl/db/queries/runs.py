"""Statements on runs: every run leaves a record, also one that failed or was killed."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from etl.db.queries.run_tasks import insert_run_tasks
from etl.db.store import lock_number

COUNTERS = (
    "items_read",
    "items_new",
    "items_changed",
    "items_skipped",
    "characters_replaced",
    "texts_new",
    "texts_asked",
    "texts_failed",
    "documents_written",
    "dead_letters",
    "api_calls",
    "input_tokens",
    "cache_write_tokens",
    "cache_read_tokens",
    "output_tokens",
    "cost_usd",
    "items_vanished",
    "items_returned",
    "sweep_calls",
    "waited_seconds",
    "rate_limit_left",
    "texts_inherited",
    "texts_local",
    "texts_submitted",
    "texts_collected",
    "redactions",
    "texts_waiting",
    "texts_in_batches",
    "documents_waiting",
)
"""What a run counts; each is a column of `runs`."""


def run_lock_name(run_id: int) -> str:
    """The lock a run holds while it lives, by which others can tell."""
    return f"run {run_id}"


def insert_run(
    connection: Connection, *, command: str, repositories: Sequence[str], tasks: Sequence[str], classifier: str | None
) -> int:
    """Opens the record of a run; gives its id."""
    return int(
        connection.execute(
            text("""
                INSERT INTO runs (command, repositories, tasks, classifier)
                VALUES (:command, :repositories, :tasks, :classifier) RETURNING id
            """),
            {"command": command, "repositories": list(repositories), "tasks": list(tasks), "classifier": classifier},
        ).scalar_one()
    )


def update_run(connection: Connection, run_id: int, counters: Mapping[str, float], model: str | None) -> None:
    """Writes the counters so far into the run's record."""
    assignments = ", ".join(f"{name} = :{name}" for name in COUNTERS if name in counters)
    connection.execute(
        text(f"UPDATE runs SET {assignments}, model = coalesce(:model, model) WHERE id = :run_id"),  # noqa: S608
        {**{name: value for name, value in counters.items() if name in COUNTERS}, "model": model, "run_id": run_id},
    )


def update_run_repositories(connection: Connection, run_id: int, keys: Sequence[int]) -> None:
    """Enters which repositories the run met, where the user named none (a file has its own)."""
    connection.execute(
        text("""
            UPDATE runs SET repositories = ARRAY(SELECT full_name FROM repositories WHERE key = ANY (:keys) ORDER BY 1)
            WHERE id = :run_id AND repositories = '{}'
        """),
        {"run_id": run_id, "keys": list(keys)},
    )


_PAID_FOR = """
    SELECT r.id, coalesce(sum(t.cost_batch_usd), 0) AS batch, coalesce(sum(t.cost_audit_usd), 0) AS audit,
           coalesce(sum(t.cost_trial_usd), 0) AS trial, coalesce(sum(t.answers), 0) AS asked,
           coalesce(sum(t.input_tokens), 0) AS input, coalesce(sum(t.cache_write_tokens), 0) AS cache_write,
           coalesce(sum(t.cache_read_tokens), 0) AS cache_read, coalesce(sum(t.output_tokens), 0) AS output,
           coalesce(sum(t.cost_usd), 0) AS dollars, max(t.model) FILTER (WHERE t.cost_usd > 0) AS model
    FROM runs r LEFT JOIN run_tasks t ON t.run_id = r.id WHERE r.id = ANY (:ids) GROUP BY r.id
"""
"""What runs asked and paid for, over their tasks."""


def close_run(
    connection: Connection,
    run_id: int,
    *,
    status: str,
    error: str | None,
    notes: Sequence[str],
    waiting: Mapping[str, tuple[int, int]] | None = None,
) -> None:
    """Ends the record of a run: when, how, what was left behind, what it did for each task, what its dollars were for.

    waiting: as `insert_run_tasks` takes it.
    """
    insert_run_tasks(connection, [run_id], waiting)
    connection.execute(
        text(f"""
            WITH paid AS ({_PAID_FOR})
            UPDATE runs SET ended_at = clock_timestamp(), status = :status, error = :error,
                            notes = CAST(:notes AS jsonb), cost_batch_usd = paid.batch, cost_audit_usd = paid.audit,
                            cost_trial_usd = paid.trial,
                            documents_refused = (SELECT count(*) FROM dead_letters
                                                 WHERE sink_id IN (SELECT id FROM current_sinks))
            FROM paid WHERE runs.id = paid.id
        """),  # noqa: S608  (constants)
        {"ids": [run_id], "status": status, "error": error, "notes": json.dumps(list(notes))},
    )


def close_interrupted_runs(connection: Connection) -> list[int]:
    """Closes the records of runs that died without doing so, ends their claims and grants; gives their ids.

    What they asked and spent is taken from the ledger, which has every answer that they stored. A run is dead when
    nobody holds its lock. The locks taken here to find out end with this transaction.
    """
    open_runs = connection.execute(text("SELECT id FROM runs WHERE ended_at IS NULL ORDER BY id")).scalars().all()
    dead = [
        run_id
        for run_id in open_runs
        if connection.execute(
            text("SELECT pg_try_advisory_xact_lock(:n)"), {"n": lock_number(run_lock_name(run_id))}
        ).scalar_one()
    ]
    if dead:
        insert_run_tasks(connection, dead)
        connection.execute(
            text(f"""
                WITH paid AS ({_PAID_FOR})
                UPDATE runs SET status = 'interrupted', ended_at = clock_timestamp(),
                                error = 'the process ended without closing its record; the next run went on from there',
                                texts_asked = greatest(texts_asked, asked),
                                input_tokens = greatest(input_tokens, input),
                                cache_write_tokens = greatest(cache_write_tokens, cache_write),
                                cache_read_tokens = greatest(cache_read_tokens, cache_read),
                                output_tokens = greatest(output_tokens, output),
                                cost_usd = greatest(cost_usd, dollars), cost_batch_usd = batch, cost_audit_usd = audit,
                                cost_trial_usd = trial, model = coalesce(runs.model, nullif(paid.model, ''))
                FROM paid WHERE runs.id = paid.id
            """),  # noqa: S608  (constants)
            {"ids": dead},
        )
        # Claims of batches are held until the batch is settled, whatever became of the run that submitted it.
        connection.execute(text("DELETE FROM claims WHERE run_id = ANY (:ids) AND batch_id IS NULL"), {"ids": dead})
        connection.execute(text("DELETE FROM spend_grants WHERE run_id = ANY (:ids)"), {"ids": dead})
    return dead


def select_last_runs(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """The newest runs as `run_summary` shows them, newest first."""
    rows = connection.execute(text("SELECT * FROM run_summary ORDER BY run_id DESC LIMIT :limit"), {"limit": limit})
    return [dict(row._mapping) for row in rows]
