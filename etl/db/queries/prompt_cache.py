"""Statements on how prompts fared: whether the vendor's cache was read, and whether their bytes stayed the same."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class PromptUse:
    """How live requests with one prompt used the cache.

    requests: how many were looked at, the newest. close: of those, how many came within five minutes after another.
    """

    task: str
    model: str
    prompt_version: str
    requests: int
    close: int
    written: int
    read: int


def select_prompt_uses(connection: Connection, since: datetime, limit: int) -> list[PromptUse]:
    """By prompt and model: how its newest `limit` live requests since then used the cache."""
    rows = connection.execute(
        text("""
            WITH requests AS (
                SELECT task, model, prompt_version, max(created_at) AS at, sum(cache_write_tokens) AS written,
                       sum(cache_read_tokens) AS read
                FROM classifications
                WHERE classifier = 'claude' AND batch_id IS NULL AND created_at >= :since
                  AND input_tokens + cache_write_tokens + cache_read_tokens > 0
                GROUP BY task, model, prompt_version, coalesce(request_id, id::text)
            ), numbered AS (
                SELECT *, at - lag(at) OVER prompts < interval '5 minutes' AS is_close,
                       row_number() OVER (PARTITION BY task, model, prompt_version ORDER BY at DESC) AS place
                FROM requests WINDOW prompts AS (PARTITION BY task, model, prompt_version ORDER BY at)
            )
            SELECT task, model, prompt_version, count(*) AS requests, count(*) FILTER (WHERE is_close) AS close,
                   sum(written)::bigint AS written, sum(read)::bigint AS read
            FROM numbered WHERE place <= :limit GROUP BY task, model, prompt_version ORDER BY 1, 2, 3
        """),
        {"since": since, "limit": limit},
    )
    return [PromptUse(*row) for row in rows]


def select_unstable_prompts(connection: Connection, since: datetime) -> list[tuple[str, list[str]]]:
    """Tasks whose prompt had several digests under the same numbers and task file, with those prompt versions."""
    rows = connection.execute(
        text("""
            SELECT task, array_agg(DISTINCT prompt_version ORDER BY prompt_version) AS versions
            FROM classifications
            WHERE classifier = 'claude' AND created_at >= :since
            GROUP BY task, task_sha256, split_part(prompt_version, '-', 1)
            HAVING count(DISTINCT prompt_version) > 1 ORDER BY task
        """),
        {"since": since},
    )
    return [(row.task, list(row.versions)) for row in rows]
