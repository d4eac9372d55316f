"""Statements on what a run did for each of its tasks: what it asked, what that cost, what it left."""

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text


def insert_run_tasks(
    connection: Connection, run_ids: Sequence[int], waiting: Mapping[str, tuple[int, int]] | None = None
) -> None:
    """Parts what runs that end did by task, classifier and model; a task of which nothing was asked has a part as well.

    It is taken from the ledger. What a run paid beyond that (answers to a golden set are in no ledger) is its one
    task's.
    waiting: by task, how many texts were without an answer at the end, and how many of these were in batches.
    """
    left = {task: {"texts": texts, "in_batches": in_batches} for task, (texts, in_batches) in (waiting or {}).items()}
    connection.execute(_INSERT, {"ids": list(run_ids), "left": json.dumps(left)})


_INSERT = text("""
    WITH own AS (
        SELECT c.*, m.agrees
        FROM runs r
        JOIN classifications c ON c.run_id = r.id AND c.created_at >= r.started_at
        -- What it measures: the answer of a trained model before it, or the one that its text would have inherited.
        LEFT JOIN LATERAL (
            SELECT c.outcome = l.outcome AND ARRAY(SELECT unnest(c.categories) ORDER BY 1)
                                             = ARRAY(SELECT unnest(l.categories) ORDER BY 1) AS agrees
            FROM (SELECT k.id, k.outcome, k.categories FROM classifications k
                  WHERE c.purpose = 'audit' AND k.text_id = c.text_id AND k.task = c.task AND k.classifier = 'local'
                        AND k.purpose = 'live' AND k.outcome = 'answered'
                  UNION ALL
                  SELECT k.id, k.outcome, k.categories
                  FROM inheritance_audits a JOIN classifications k ON k.id = a.inherited_from
                  WHERE c.purpose = 'live' AND a.text_id = c.text_id AND a.task = c.task AND k.classifier = c.classifier
                        AND NOT EXISTS (SELECT FROM classifications b
                                        WHERE b.text_id = c.text_id AND b.task = c.task AND b.purpose = 'live'
                                              AND b.classifier = c.classifier AND b.id > k.id AND b.id < c.id
                                              AND b.outcome IN ('answered', 'abstained', 'refused'))) AS l
            WHERE l.id < c.id AND c.outcome IN ('answered', 'abstained', 'refused')
            ORDER BY l.id DESC LIMIT 1) AS m ON true
        WHERE r.id = ANY (:ids) AND c.classifier <> 'family'
    ), ledger AS (
        SELECT run_id, task, classifier, model, count(*) AS answers,
               sum(input_tokens) AS input_tokens, sum(cache_write_tokens) AS cache_write_tokens,
               sum(cache_read_tokens) AS cache_read_tokens, sum(output_tokens) AS output_tokens,
               sum(cost_usd) AS cost_usd,
               coalesce(sum(cost_usd) FILTER (WHERE batch_id IS NOT NULL), 0) AS cost_batch_usd,
               coalesce(sum(cost_usd) FILTER (WHERE purpose = 'audit'), 0) AS cost_audit_usd,
               coalesce(sum(cost_usd) FILTER (WHERE purpose = 'trial'), 0) AS cost_trial_usd,
               count(agrees) AS checks, count(*) FILTER (WHERE agrees) AS checks_agreed
        FROM own GROUP BY run_id, task, classifier, model
    ), kept AS (
        SELECT r.id, coalesce(sum(l.input_tokens), 0) AS input_tokens,
               coalesce(sum(l.cache_write_tokens), 0) AS cache_write_tokens,
               coalesce(sum(l.cache_read_tokens), 0) AS cache_read_tokens,
               coalesce(sum(l.output_tokens), 0) AS output_tokens, coalesce(sum(l.cost_usd), 0) AS cost_usd
        FROM runs r LEFT JOIN ledger l ON l.run_id = r.id
        WHERE r.id = ANY (:ids) GROUP BY r.id
    ), paid AS (
        SELECT * FROM ledger
        UNION ALL
        SELECT r.id, r.tasks[1], coalesce(r.classifier, ''), coalesce(r.model, ''), 0,
               greatest(r.input_tokens - k.input_tokens, 0), greatest(r.cache_write_tokens - k.cache_write_tokens, 0),
               greatest(r.cache_read_tokens - k.cache_read_tokens, 0), greatest(r.output_tokens - k.output_tokens, 0),
               greatest(r.cost_usd - k.cost_usd, 0), 0, 0, 0, 0, 0
        FROM runs r JOIN kept k USING (id)
        WHERE cardinality(r.tasks) = 1
              AND r.input_tokens + r.cache_write_tokens + r.cache_read_tokens + r.output_tokens
                  > k.input_tokens + k.cache_write_tokens + k.cache_read_tokens + k.output_tokens
    ), parts AS (
        SELECT * FROM paid
        UNION ALL
        SELECT r.id, t.task, coalesce(r.classifier, ''), '', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
        FROM runs r CROSS JOIN LATERAL unnest(r.tasks) AS t (task)
        WHERE r.id = ANY (:ids) AND NOT EXISTS (SELECT FROM paid p WHERE p.run_id = r.id AND p.task = t.task)
    )
    INSERT INTO run_tasks (run_id, task, classifier, model, answers, input_tokens, cache_write_tokens,
                           cache_read_tokens, output_tokens, cost_usd, cost_batch_usd, cost_audit_usd, cost_trial_usd,
                           checks, checks_agreed, texts_waiting, texts_in_batches)
    SELECT p.run_id, p.task, p.classifier, p.model, sum(p.answers), sum(p.input_tokens), sum(p.cache_write_tokens),
           sum(p.cache_read_tokens), sum(p.output_tokens), sum(p.cost_usd), sum(p.cost_batch_usd),
           sum(p.cost_audit_usd), sum(p.cost_trial_usd), sum(p.checks), sum(p.checks_agreed),
           (CAST(:left AS jsonb) -> p.task ->> 'texts')::int, (CAST(:left AS jsonb) -> p.task ->> 'in_batches')::int
    FROM parts p
    GROUP BY p.run_id, p.task, p.classifier, p.model
""")
