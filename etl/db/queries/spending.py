"""Statements on what is spent: what counts against the caps, and what living runs may still spend."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from etl.db.queries.runs import run_lock_name
from etl.db.store import lock_number

_GRANTS = lock_number("spend grants")
_GOLDEN_RUNS = "command LIKE 'issuetide evaluate%'"
"""Condition on `runs`: those whose answers are in no ledger, so that their record counts; so does `spending_daily`."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Dollars that count against caps.

    day, month: what the ledger says since the two moments that were asked about. held: what others hold: grants of
    other living runs, and batches that are not collected.
    """

    day: float
    month: float
    held: float


@dataclass(frozen=True, slots=True)
class Standing:
    """What has become of the caps, for people: dollars of today and this month, and what is on its way."""

    day: float
    month: float
    granted: float
    in_batches: float


@dataclass(frozen=True, slots=True)
class TokenEvidence:
    """Of how many answers; characters sent per token; tokens per answer; tokens of each prompt, by its version."""

    answers: int
    chars_per_token: float
    output_tokens: float
    prompt_tokens: dict[str, int]


_CACHED_ANSWERS = """
    SELECT c.text_id, c.prompt_version, c.truncated_chars, c.output_tokens, c.pack, c.input_tokens,
           c.cache_read_tokens + c.cache_write_tokens AS cached
    FROM classifications c
    WHERE c.classifier = 'claude' AND :model IN (c.model, regexp_replace(c.model, '-[0-9]{8}$', ''))
      AND c.outcome IN ('answered', 'abstained') AND c.cache_read_tokens + c.cache_write_tokens > 0
    ORDER BY c.id DESC LIMIT :limit
"""


def select_token_evidence(
    connection: Connection, model: str, *, request_tokens: int, entry_tokens: int, limit: int
) -> TokenEvidence:
    """What the newest `limit` answers of `model` whose prompt was cached say of tokens.

    request_tokens: of a request that are neither prompt nor text; entry_tokens: of each text in a pack. A model's
    dated id counts as the same model.
    """
    row = connection.execute(
        text(f"""
            WITH newest AS ({_CACHED_ANSWERS}), counted AS (
                SELECT text_id, truncated_chars, output_tokens,
                       input_tokens - :request_tokens / pack
                       - CASE WHEN pack > 1 THEN :entry_tokens ELSE 0 END AS tokens
                FROM newest)
            SELECT count(*) AS answers,
                   coalesce(sum(greatest(char_length(x.body) - n.truncated_chars, 0)), 0)::float AS characters,
                   coalesce(sum(n.tokens), 0)::float AS tokens, coalesce(avg(n.output_tokens), 0)::float AS output
            FROM counted n JOIN texts x ON x.id = n.text_id WHERE n.tokens > 0
        """),  # noqa: S608  (a constant)
        {"model": model, "request_tokens": request_tokens, "entry_tokens": entry_tokens, "limit": limit},
    ).one()
    prompts = connection.execute(
        text(f"""
            WITH newest AS ({_CACHED_ANSWERS})
            SELECT prompt_version, percentile_disc(0.5) WITHIN GROUP (ORDER BY cached * pack) FROM newest GROUP BY 1
        """),  # noqa: S608  (a constant)
        {"model": model, "limit": limit},
    )
    return TokenEvidence(
        int(row.answers),
        row.characters / row.tokens if row.tokens else 0.0,
        float(row.output),
        {prompt: int(tokens) for prompt, tokens in prompts},
    )


def serialize_grants(connection: Connection) -> None:
    """Waits until this transaction is the only one that gives grants; ends with the transaction."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _GRANTS})


def select_last_answer_id(connection: Connection) -> int:
    """The id of the newest row of the ledger; 0 where it is empty."""
    return int(connection.execute(text("SELECT coalesce(max(id), 0) FROM classifications")).scalar_one())


def select_own_answers(connection: Connection, run_id: int, after_id: int) -> tuple[int, float]:
    """Of the run's answers after `after_id` that came in no batch: the id of the newest, and their dollars."""
    row = connection.execute(
        text("""
            SELECT coalesce(max(id), :after_id) AS last_id, coalesce(sum(cost_usd), 0) AS dollars
            FROM classifications WHERE id > :after_id AND run_id = :run_id AND batch_id IS NULL
        """),
        {"run_id": run_id, "after_id": after_id},
    ).one()
    return int(row.last_id), float(row.dollars)


def select_spent(connection: Connection, run_id: int, after_id: int, day: datetime, month: datetime) -> Spent:
    """What counts against the caps beside what run `run_id` has in its purse.

    The answers on golden sets are in no ledger: for those the record of their run counts.
    after_id: its answers after this one are in its purse. day, month: when they began.
    """
    row = connection.execute(
        text(f"""
            WITH paid AS (
                SELECT c.created_at, c.cost_usd FROM classifications c
                WHERE c.created_at >= least(CAST(:day AS timestamptz), CAST(:month AS timestamptz))
                  AND (c.run_id <> :run_id OR c.id <= :after_id OR c.batch_id IS NOT NULL)
                  AND NOT EXISTS (SELECT FROM spend_grants g
                                  WHERE g.run_id = c.run_id AND g.run_id <> :run_id AND c.id > g.after_id
                                    AND c.batch_id IS NULL)
                UNION ALL
                SELECT r.started_at, r.cost_usd FROM runs r
                WHERE r.{_GOLDEN_RUNS} AND r.id <> :run_id
                  AND r.started_at >= least(CAST(:day AS timestamptz), CAST(:month AS timestamptz))
                  AND NOT EXISTS (SELECT FROM spend_grants g WHERE g.run_id = r.id))
            SELECT (SELECT coalesce(sum(cost_usd) FILTER (WHERE created_at >= :day), 0) FROM paid) AS day,
                   (SELECT coalesce(sum(cost_usd) FILTER (WHERE created_at >= :month), 0) FROM paid) AS month,
                   (SELECT coalesce(sum(dollars), 0) FROM spend_grants WHERE run_id <> :run_id)
                   + (SELECT coalesce(sum(reserved_usd), 0) FROM batches WHERE settled_at IS NULL) AS held
        """),  # noqa: S608  (a constant)
        {"run_id": run_id, "after_id": after_id, "day": day, "month": month},
    ).one()
    return Spent(float(row.day), float(row.month), float(row.held))


def upsert_grant(connection: Connection, run_id: int, dollars: float, after_id: int) -> None:
    """Makes the grant of a run as large as `dollars`, for its answers after `after_id`."""
    connection.execute(
        text("""
            INSERT INTO spend_grants (run_id, dollars, after_id) VALUES (:run_id, :dollars, :after_id)
            ON CONFLICT (run_id) DO UPDATE
            SET (dollars, after_id, updated_at) = (excluded.dollars, excluded.after_id, now())
        """),
        {"run_id": run_id, "dollars": dollars, "after_id": after_id},
    )


def delete_grant(connection: Connection, run_id: int) -> None:
    """Gives the grant of a run back: from now on its answers count."""
    connection.execute(text("DELETE FROM spend_grants WHERE run_id = :run_id"), {"run_id": run_id})


def delete_dead_grants(connection: Connection, run_id: int) -> int:
    """Ends the grants of other runs that have died; gives how many. See `runs.close_interrupted_runs`."""
    others = connection.execute(text("SELECT run_id FROM spend_grants WHERE run_id <> :run_id"), {"run_id": run_id})
    dead = [
        other
        for other in others.scalars().all()
        if connection.execute(
            text("SELECT pg_try_advisory_xact_lock(:n)"), {"n": lock_number(run_lock_name(other))}
        ).scalar_one()
    ]
    for other in dead:
        delete_grant(connection, other)
    return len(dead)


@dataclass(frozen=True, slots=True)
class CacheUse:
    """How the prompt cache was used by live requests. read_share: of all prompt tokens; None where nothing was paid."""

    answers: int
    read_share: float | None


def select_cache_use(connection: Connection, since: datetime) -> CacheUse:
    """How answers that were given since then, but not in batches, used the prompt cache."""
    row = connection.execute(
        text("""
            SELECT count(*) AS answers, sum(cache_read_tokens)::float AS read,
                   sum(cache_read_tokens + cache_write_tokens + input_tokens)::float AS every
            FROM classifications
            WHERE created_at >= :since AND batch_id IS NULL AND cost_usd > 0
        """),
        {"since": since},
    ).one()
    return CacheUse(int(row.answers), row.read / row.every if row.every else None)


def select_standing(connection: Connection, day: datetime, month: datetime) -> Standing:
    """What is spent since the two moments, and what is on its way: of all runs."""
    row = connection.execute(
        text(f"""
            SELECT coalesce(sum(cost_usd) FILTER (WHERE created_at >= :day), 0) AS day,
                   coalesce(sum(cost_usd) FILTER (WHERE created_at >= :month), 0) AS month,
                   (SELECT coalesce(sum(dollars), 0) FROM spend_grants) AS granted,
                   (SELECT coalesce(sum(reserved_usd), 0) FROM batches WHERE settled_at IS NULL) AS in_batches
            FROM (SELECT created_at, cost_usd FROM classifications
                  UNION ALL
                  SELECT started_at, cost_usd FROM runs WHERE {_GOLDEN_RUNS}) AS paid
            WHERE created_at >= least(CAST(:day AS timestamptz), CAST(:month AS timestamptz))
        """),  # noqa: S608  (a constant)
        {"day": day, "month": month},
    ).one()
    return Standing(float(row.day), float(row.month), float(row.granted), float(row.in_batches))
