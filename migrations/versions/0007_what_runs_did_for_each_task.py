"""What runs did for each task, so that dollars and tokens can be told by task.

Revision: 0007, after 0006.
"""

import runpy
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


VIEWS: dict[str, str] = {
    # A document per run, and one per run, task and who answered: sums are right over one of both levels. A run that
    # asked nobody is one of the tasks that are asked of its repositories: their issues come by it. One SELECT, not two
    # with UNION: so nothing is rendered but what is sent.
    "run_documents": """
        SELECT (extract(epoch FROM r.ended_at) * 1000000)::bigint AS row_version,
               'run-' || (extract(epoch FROM r.started_at) * 1000000)::bigint || '-' || r.id
                   || coalesce('-' || (d.part).id, '') AS document_id,
               CASE WHEN (d.part).id IS NULL THEN json_strip_nulls(json_build_object(
                   'level', 'run', 'run_id', r.id, 'command', r.command, 'repositories', r.repositories,
                   'tasks', CASE cardinality(r.tasks) WHEN 0 THEN ARRAY(
                       SELECT t.task FROM run_tasks t WHERE t.run_id = r.id
                       UNION
                       SELECT k.task FROM tracked_tasks k JOIN repositories p ON p.key = k.repository_key
                       WHERE r.repositories = '{}'
                             OR lower(p.full_name) IN (SELECT lower(n) FROM unnest(r.repositories) AS n)
                       ORDER BY 1) ELSE r.tasks END,
                   'classifier', r.classifier, 'model', r.model, 'started_at', r.started_at, 'ended_at', r.ended_at,
                   'duration_seconds', round(extract(epoch FROM r.ended_at - r.started_at)::numeric, 3),
                   'status', r.status, 'items_read', r.items_read, 'items_new', r.items_new,
                   'items_changed', r.items_changed, 'items_skipped', r.items_skipped,
                   'items_vanished', r.items_vanished, 'items_returned', r.items_returned,
                   'texts_new', r.texts_new, 'texts_asked', r.texts_asked, 'texts_failed', r.texts_failed,
                   'texts_inherited', r.texts_inherited, 'texts_local', r.texts_local,
                   'texts_submitted', r.texts_submitted, 'texts_collected', r.texts_collected,
                   'texts_waiting', r.texts_waiting, 'texts_in_batches', r.texts_in_batches,
                   'redactions', r.redactions, 'documents_written', r.documents_written,
                   'documents_waiting', r.documents_waiting,
                   'dead_letters', r.dead_letters, 'documents_refused', r.documents_refused,
                   'api_calls', r.api_calls, 'sweep_calls', r.sweep_calls,
                   'waited_seconds', r.waited_seconds, 'rate_limit_left', r.rate_limit_left,
                   'input_tokens', r.input_tokens, 'cache_write_tokens', r.cache_write_tokens,
                   'cache_read_tokens', r.cache_read_tokens,
                   'prompt_tokens', r.input_tokens + r.cache_write_tokens + r.cache_read_tokens,
                   'cache_hit_rate', round(r.cache_read_tokens::numeric
                       / nullif(r.input_tokens + r.cache_write_tokens + r.cache_read_tokens, 0), 4),
                   'output_tokens', r.output_tokens, 'cost_usd', r.cost_usd::float8,
                   'cost_batch_usd', r.cost_batch_usd::float8, 'cost_audit_usd', r.cost_audit_usd::float8,
                   'cost_trial_usd', r.cost_trial_usd::float8, 'error', r.error,
                   'row_version', (extract(epoch FROM r.ended_at) * 1000000)::bigint))
               ELSE json_strip_nulls(json_build_object(
                   'level', 'task', 'run_id', r.id, 'command', r.command, 'repositories', r.repositories,
                   'tasks', ARRAY[(d.part).task], 'classifier', nullif((d.part).classifier, ''),
                   'model', nullif((d.part).model, ''), 'started_at', r.started_at, 'ended_at', r.ended_at,
                   'status', r.status, 'answers', (d.part).answers, 'texts_waiting', (d.part).texts_waiting,
                   'texts_in_batches', (d.part).texts_in_batches, 'input_tokens', (d.part).input_tokens,
                   'cache_write_tokens', (d.part).cache_write_tokens, 'cache_read_tokens', (d.part).cache_read_tokens,
                   'prompt_tokens',
                   (d.part).input_tokens + (d.part).cache_write_tokens + (d.part).cache_read_tokens,
                   'cache_hit_rate', round((d.part).cache_read_tokens::numeric / nullif(
                       (d.part).input_tokens + (d.part).cache_write_tokens + (d.part).cache_read_tokens, 0), 4),
                   'output_tokens', (d.part).output_tokens, 'cost_usd', (d.part).cost_usd::float8,
                   'cost_batch_usd', (d.part).cost_batch_usd::float8,
                   'cost_audit_usd', (d.part).cost_audit_usd::float8,
                   'cost_trial_usd', (d.part).cost_trial_usd::float8, 'checks_agreed', (d.part).checks_agreed,
                   'checks_differed', (d.part).checks - (d.part).checks_agreed,
                   'row_version', (extract(epoch FROM r.ended_at) * 1000000)::bigint)) END AS source
        FROM runs r
        CROSS JOIN LATERAL (SELECT NULL::run_tasks AS part
                            UNION ALL SELECT t FROM run_tasks t WHERE t.run_id = r.id) AS d
        WHERE r.ended_at IS NOT NULL
    """,
}
"""Views by name: those of earlier revisions that changed."""


def upgrade() -> None:
    """Goes up. What runs before this did for each task is taken from the ledger; what they left waiting is unknown."""
    dollars, count, tokens = sa.Numeric(precision=14, scale=8), sa.Integer(), sa.BigInteger()
    op.create_table(
        "run_tasks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("classifier", sa.Text(), nullable=False, comment="'': nobody was to answer"),
        sa.Column("model", sa.Text(), nullable=False, comment="'': none answered"),
        sa.Column("answers", count, nullable=False, comment=COMMENTS["answers"]),
        sa.Column("input_tokens", tokens, nullable=False),
        sa.Column("cache_write_tokens", tokens, nullable=False),
        sa.Column("cache_read_tokens", tokens, nullable=False),
        sa.Column("output_tokens", tokens, nullable=False),
        sa.Column("cost_usd", dollars, nullable=False),
        sa.Column("cost_batch_usd", dollars, nullable=False),
        sa.Column("cost_audit_usd", dollars, nullable=False),
        sa.Column("cost_trial_usd", dollars, nullable=False),
        sa.Column("checks", count, nullable=False, comment=COMMENTS["checks"]),
        sa.Column("checks_agreed", count, nullable=False, comment=COMMENTS["checks_agreed"]),
        sa.Column("texts_waiting", count, nullable=True, comment=COMMENTS["texts_waiting"]),
        sa.Column("texts_in_batches", count, nullable=True, comment="of these in batches under way"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_tasks_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_tasks")),
        sa.UniqueConstraint(*PART, name=op.f("uq_run_tasks_run_id_task_classifier_model")),
        comment="what ended runs did for each task, by who answered",
    )
    op.execute(FROM_THE_LEDGER)
    for name, query in VIEWS.items():
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
    # Records of runs say more than they did, so all are written once more, in the versions that they have.
    op.execute("UPDATE exports SET row_version = 0 WHERE document_id LIKE 'run-%'")


PART = ("run_id", "task", "classifier", "model")
COMMENTS = {
    "answers": "stored by the run, those without a usable category included",
    "checks": "of `answers` those that measure another",
    "checks_agreed": "of `checks` those that said the same",
    "texts_waiting": "of the task, still without an answer at the end; null: nobody was asked",
}
FROM_THE_LEDGER = """
    WITH stored AS (
        SELECT r.id AS run_id, c.task, c.classifier, c.model, count(*) AS answers,
               sum(c.input_tokens) AS input_tokens, sum(c.cache_write_tokens) AS cache_write_tokens,
               sum(c.cache_read_tokens) AS cache_read_tokens, sum(c.output_tokens) AS output_tokens,
               sum(c.cost_usd) AS cost_usd,
               coalesce(sum(c.cost_usd) FILTER (WHERE c.batch_id IS NOT NULL), 0) AS cost_batch_usd,
               coalesce(sum(c.cost_usd) FILTER (WHERE c.purpose = 'audit'), 0) AS cost_audit_usd,
               coalesce(sum(c.cost_usd) FILTER (WHERE c.purpose = 'trial'), 0) AS cost_trial_usd
        FROM runs r JOIN classifications c ON c.run_id = r.id AND c.created_at >= r.started_at
        WHERE r.ended_at IS NOT NULL AND c.classifier <> 'family'
        GROUP BY r.id, c.task, c.classifier, c.model
    )
    INSERT INTO run_tasks (run_id, task, classifier, model, answers, input_tokens, cache_write_tokens,
                           cache_read_tokens, output_tokens, cost_usd, cost_batch_usd, cost_audit_usd, cost_trial_usd,
                           checks, checks_agreed)
    SELECT s.*, 0, 0 FROM stored s
    UNION ALL
    SELECT r.id, t.task, coalesce(r.classifier, ''), '', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
    FROM runs r CROSS JOIN LATERAL unnest(r.tasks) AS t (task)
    WHERE r.ended_at IS NOT NULL AND NOT EXISTS (SELECT FROM stored s WHERE s.run_id = r.id AND s.task = t.task)
"""


def downgrade() -> None:
    """Goes down again. What runs did for each task is lost, but for what the ledger has of it."""
    before = [runpy.run_path(str(path))["VIEWS"] for path in sorted(Path(__file__).parent.glob("000[123456]_*.py"))]
    for views in before:
        for name in views:
            op.execute(f"DROP VIEW IF EXISTS {name} CASCADE")
    op.drop_table("run_tasks")
    for views in before:
        for name, query in views.items():
            op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
