"""Batches, caps, cascade, measured quality.

Revision: 0005, after 0004.
"""

import runpy
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


VIEWS: dict[str, str] = {
    # How often Claude said what a trained model had answered; the newest answer of Claude after that one compares.
    "cascade_agreement": """
        SELECT l.task, l.model, count(*) AS answered, count(c.id) AS compared,
               count(*) FILTER (WHERE c.outcome = 'answered'
                                  AND ARRAY(SELECT unnest(c.categories) ORDER BY 1)
                                      = ARRAY(SELECT unnest(l.categories) ORDER BY 1)) AS agreed,
               count(*) FILTER (WHERE c.outcome = 'answered'
                                  AND ARRAY(SELECT unnest(c.categories) ORDER BY 1)
                                      = ARRAY(SELECT unnest(l.categories) ORDER BY 1))::float8
                   / nullif(count(c.id), 0) AS agreement,
               min(l.created_at) AS since
        FROM classifications l
        LEFT JOIN LATERAL (
            SELECT k.id, k.outcome, k.categories FROM classifications k
            WHERE k.text_id = l.text_id AND k.task = l.task AND k.classifier = 'claude'
                  AND k.purpose IN ('live', 'audit') AND k.outcome IN ('answered', 'abstained') AND k.id > l.id
            ORDER BY k.id DESC LIMIT 1) AS c ON true
        WHERE l.classifier = 'local' AND l.purpose = 'live' AND l.outcome = 'answered'
        GROUP BY l.task, l.model
    """,
    # As in 0001, with the column that 0005 adds.
    "current_tasks": """
        SELECT DISTINCT ON (name) * FROM tasks ORDER BY name, version DESC
    """,
    # As in 0002, with what tells whether an answer's categories may be called otherwise by now.
    "task_items": """
        SELECT i.id AS item_id, t.name AS task, t.input,
               i.tombstone IS NULL
               AND (cardinality(t.labels) = 0
                    OR EXISTS (SELECT FROM unnest(i.labels) AS l WHERE lower(l) = ANY (t.labels)))
               AND NOT coalesce(i.title, '') LIKE ANY (t.titles_except_like)
               AND (cardinality(t.states) = 0 OR i.state = ANY (t.states)) AS applies,
               t.version AS newest_version, t.aliases
        FROM tracked_tasks k
        JOIN current_tasks t ON t.name = k.task
        JOIN repositories r ON r.key = k.repository_key
             AND (cardinality(t.repositories_like) = 0 OR lower(r.full_name) LIKE ANY (t.repositories_like))
        JOIN items i ON i.repository_key = k.repository_key AND i.kind = ANY (t.kinds)
             AND i.tombstone IS DISTINCT FROM 'purged'
    """,
    # As in 0004; `calibrated_confidences` is null where no calibration holds, and of an override. Categories are called
    # as in the newest version of the task, which has the word of an earlier one among its aliases.
    "item_answers": """
        SELECT ti.item_id, ti.task, ti.applies, x.text_hash, x.family_hash,
               CASE WHEN o.id IS NOT NULL THEN CASE WHEN o.categories = '{}' THEN 'abstained' ELSE 'answered' END
                    ELSE coalesce(c.outcome, 'unclassified') END AS answer,
               coalesce(o.categories, w.categories, c.categories, '{}') AS categories,
               CASE WHEN o.id IS NOT NULL THEN array_fill(1.0::float8, ARRAY[cardinality(o.categories)])
                    ELSE coalesce(w.confidences, c.confidences, '{}') END AS confidences,
               c.task_version,
               CASE WHEN o.id IS NOT NULL THEN 'person' ELSE c.classifier END AS classifier,
               CASE WHEN o.id IS NULL THEN c.model END AS model,
               CASE WHEN o.id IS NULL THEN c.prompt_version END AS prompt_version,
               coalesce(o.reason, c.rationale) AS rationale,
               coalesce(o.created_at, c.created_at) AS classified_at,
               o.id IS NOT NULL AS overridden,
               CASE WHEN m.given IS NOT NULL
                    THEN ARRAY(SELECT calibrated_confidence(u.stated, m.given, m.calibrated)
                               FROM unnest(coalesce(w.confidences, c.confidences)) WITH ORDINALITY AS u (stated, place)
                               ORDER BY u.place)
                    END AS calibrated_confidences
        FROM task_items ti
        JOIN item_texts it ON it.item_id = ti.item_id AND it.input = ti.input
        JOIN texts x ON x.id = it.text_id
        -- As `current_answers`, but looked up row by row through an index: joined as a view
        -- it is quadratic whenever the planner takes it for small.
        LEFT JOIN LATERAL (
            SELECT * FROM classifications k
            WHERE k.text_id = it.text_id AND k.task = ti.task
                  AND k.purpose = 'live' AND k.outcome IN ('answered', 'abstained', 'refused')
            ORDER BY array_position(ARRAY['claude', 'local', 'family', 'rules'], k.classifier), k.task_version DESC,
                     k.id DESC
            LIMIT 1) AS c ON true
        -- Two that are called the same by now are one, as confident as the more confident of them.
        LEFT JOIN LATERAL (
            SELECT array_agg(g.id ORDER BY g.place) AS categories,
                   array_agg(g.confidence ORDER BY g.place) AS confidences
            FROM (SELECT coalesce(ti.aliases ->> u.word, u.word) AS id, max(u.confidence) AS confidence,
                         min(u.place) AS place
                  FROM unnest(c.categories, c.confidences) WITH ORDINALITY AS u (word, confidence, place)
                  WHERE c.task_version < ti.newest_version AND ti.aliases <> '{}'
                  GROUP BY 1) AS g) AS w ON true
        LEFT JOIN LATERAL (
            SELECT n.id, n.reason, n.created_at, category_ids(n.task, n.categories) AS categories
            FROM annotations n
            WHERE n.item_id = ti.item_id AND n.task = ti.task AND n.role = 'override' AND n.withdrawn_at IS NULL
            ORDER BY n.id DESC LIMIT 1) AS o ON true
        -- What the stated confidences are worth, where that was measured; an inherited answer's as that of its source.
        LEFT JOIN LATERAL (
            SELECT b.given, b.calibrated FROM calibrations b
            WHERE o.id IS NULL AND b.task = ti.task AND b.model = c.model AND b.prompt_version = c.prompt_version
                  AND b.classifier = coalesce(
                      (SELECT s.classifier FROM classifications s WHERE s.id = c.inherited_from), c.classifier)
                  AND b.withdrawn_at IS NULL
            ORDER BY b.id DESC LIMIT 1) AS m ON true
    """,
    "issue_categories": """
        SELECT r.full_name AS repository, i.external_id AS number, a.task, a.task_version, u.category, u.confidence,
               a.answer <> 'answered' AS abstained, a.classifier, a.model, a.rationale, a.classified_at, a.overridden,
               u.calibrated_confidence
        FROM item_answers a
        JOIN items i ON i.id = a.item_id AND i.kind = 'issue'
        JOIN repositories r ON r.key = i.repository_key
        LEFT JOIN LATERAL unnest(a.categories, a.confidences, a.calibrated_confidences)
             AS u (category, confidence, calibrated_confidence) ON true
        WHERE a.applies AND a.answer <> 'unclassified'
    """,
    # `confidence` is the calibrated one where a calibration holds.
    "classification_documents": """
        SELECT a.item_id, a.task, a.applies, i.row_version,
               i.repository_key || '-' || i.kind || '-' || i.external_id || '-' || a.task AS document_id,
               json_strip_nulls(json_build_object(
                   'repository_id', i.repository_key, 'repository', r.full_name, 'kind', i.kind,
                   'number', i.external_id, 'title', i.title, 'url', i.url, 'state', i.state,
                   'state_reason', i.state_reason, 'author', i.author, 'author_type', i.author_type,
                   'author_association', i.author_association, 'labels', i.labels, 'comments', i.comments,
                   'created_at', i.created_at, 'updated_at', i.updated_at, 'closed_at', i.closed_at,
                   'first_seen_at', i.first_seen_at,
                   'hours_to_close', round((extract(epoch FROM i.closed_at - i.created_at) / 3600)::numeric, 2),
                   'task', a.task, 'task_version', a.task_version, 'answer', a.answer, 'categories', a.categories,
                   'primary_category', CASE a.answer WHEN 'answered' THEN a.categories[1]
                                                     WHEN 'unclassified' THEN 'unclassified' ELSE 'abstained' END,
                   'confidence', coalesce(a.calibrated_confidences[1], a.confidences[1]),
                   'confidence_given', a.confidences[1],
                   'calibrated', CASE WHEN cardinality(a.confidences) > 0
                                      THEN a.calibrated_confidences IS NOT NULL END,
                   'rationale', a.rationale, 'classifier', a.classifier,
                   'model', a.model, 'prompt_version', a.prompt_version, 'classified_at', a.classified_at,
                   'overridden', a.overridden, 'text_hash', a.text_hash, 'family_hash', a.family_hash,
                   'near_count', n.near_count, 'near_of', n.near_of,
                   'vanished', NOT a.applies,
                   'vanished_reason', CASE WHEN NOT a.applies THEN coalesce(i.tombstone, 'not_applicable') END,
                   'row_version', i.row_version)) AS source
        FROM item_answers a
        JOIN items i ON i.id = a.item_id
        JOIN repositories r ON r.key = i.repository_key
        LEFT JOIN near_items n ON n.item_id = a.item_id
    """,
    # As in 0004, with what is new in a run's record.
    "run_summary": """
        SELECT id AS run_id, command, started_at, ended_at, status, repositories, tasks, classifier, model,
               items_read, items_new, items_changed, texts_new, texts_asked, documents_written, dead_letters, api_calls,
               input_tokens, cache_write_tokens, cache_read_tokens, output_tokens, cost_usd, error,
               items_vanished, items_returned, sweep_calls, waited_seconds, rate_limit_left, texts_inherited,
               texts_local, texts_submitted, texts_collected, redactions
        FROM runs
    """,
    "run_documents": """
        SELECT (extract(epoch FROM ended_at) * 1000000)::bigint AS row_version,
               'run-' || (extract(epoch FROM started_at) * 1000000)::bigint || '-' || id AS document_id,
               json_strip_nulls(json_build_object(
                   'run_id', id, 'command', command, 'repositories', repositories, 'tasks', tasks,
                   'classifier', classifier, 'model', model, 'started_at', started_at, 'ended_at', ended_at,
                   'duration_seconds', round(extract(epoch FROM ended_at - started_at)::numeric, 3),
                   'status', status, 'items_read', items_read, 'items_new', items_new, 'items_changed', items_changed,
                   'items_vanished', items_vanished, 'items_returned', items_returned,
                   'texts_new', texts_new, 'texts_asked', texts_asked, 'texts_inherited', texts_inherited,
                   'texts_local', texts_local, 'texts_submitted', texts_submitted, 'texts_collected', texts_collected,
                   'redactions', redactions, 'documents_written', documents_written,
                   'dead_letters', dead_letters, 'api_calls', api_calls, 'sweep_calls', sweep_calls,
                   'waited_seconds', waited_seconds, 'rate_limit_left', rate_limit_left, 'input_tokens', input_tokens,
                   'cache_write_tokens', cache_write_tokens, 'cache_read_tokens', cache_read_tokens,
                   'output_tokens', output_tokens, 'cost_usd', cost_usd::float8, 'error', error,
                   'row_version', (extract(epoch FROM ended_at) * 1000000)::bigint)) AS source
        FROM runs WHERE ended_at IS NOT NULL
    """,
    # Of every purpose: trials and audits cost like other answers.
    "spending_daily": """
        SELECT (created_at AT TIME ZONE 'UTC')::date AS day, task, classifier, model,
               CASE WHEN batch_id IS NULL THEN 'sync' ELSE 'batch' END AS executor, purpose, count(*) AS answers,
               sum(input_tokens) AS input_tokens, sum(cache_write_tokens) AS cache_write_tokens,
               sum(cache_read_tokens) AS cache_read_tokens, sum(output_tokens) AS output_tokens,
               sum(cost_usd) AS cost_usd
        FROM classifications
        WHERE input_tokens + cache_write_tokens + cache_read_tokens + output_tokens > 0
        GROUP BY 1, 2, 3, 4, 5, 6
    """,
}
"""Views by name, each after those it reads: new ones, and those of earlier revisions that changed."""


FUNCTIONS = {
    # A stated confidence on the straight lines between the points of a calibration; beyond the ends that of the end.
    "calibrated_confidence(float8, float8[], float8[])": """
        RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT CASE width_bucket($1, $2)
               WHEN 0 THEN $3[1]
               WHEN cardinality($2) THEN $3[cardinality($3)]
               ELSE $3[width_bucket($1, $2)] + ($1 - $2[width_bucket($1, $2)])
                    * ($3[width_bucket($1, $2) + 1] - $3[width_bucket($1, $2)])
                    / ($2[width_bucket($1, $2) + 1] - $2[width_bucket($1, $2)]) END
        $$
    """,
    # What people answered, in the ids of the newest version of the task: a category that was removed or renamed since
    # is the one that has its word among the aliases.
    "category_ids(text, text[])": """
        RETURNS text[] LANGUAGE sql STABLE PARALLEL SAFE AS $$
        SELECT coalesce(array_agg(k.id ORDER BY k.place), '{}')
        FROM (SELECT coalesce(t.aliases ->> u.word, u.word) AS id, min(u.place) AS place
              FROM unnest($2) WITH ORDINALITY AS u (word, place)
              LEFT JOIN (SELECT n.aliases FROM tasks n WHERE n.name = $1 ORDER BY n.version DESC LIMIT 1) AS t ON true
              GROUP BY 1) AS k
        $$
    """,
}
"""Functions that the views call, by signature."""


def upgrade() -> None:
    """Goes up."""
    _create_batches()
    _create_quality()
    _create_caps()
    _add_columns()
    for signature, body in FUNCTIONS.items():
        op.execute(f"CREATE FUNCTION {signature} {body}")
    for name, query in VIEWS.items():
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")


def _create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("task_version", sa.Integer(), nullable=False),
        sa.Column("task_sha256", sa.Text(), nullable=False),
        sa.Column("prompt_version", sa.Text(), nullable=False),
        sa.Column("classifier", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), server_default="live", nullable=False),
        sa.Column("state", sa.Text(), server_default="intended", nullable=False),
        sa.Column("token", sa.Text(), nullable=False, comment="begins every custom id: tells our batch from others"),
        sa.Column("vendor_id", sa.Text(), nullable=True, comment="null until the answer to the POST is known"),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("texts", sa.Integer(), nullable=False),
        sa.Column(
            "reserved_usd",
            sa.Numeric(precision=14, scale=8),
            nullable=False,
            comment="the most that it can cost; counts until collected",
        ),
        sa.Column("run_id", sa.BigInteger(), nullable=False, comment="the run that submitted it"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True, comment="collected, lost or abandoned"),
        sa.Column(
            "erased_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="since when nothing of it is left at the vendor",
        ),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('intended', 'submitted', 'collected', 'lost', 'abandoned')", name=op.f("ck_batches_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("token", name=op.f("uq_batches_token")),
        sa.UniqueConstraint("vendor_id", name=op.f("uq_batches_vendor_id")),
        comment="batches of requests; the intent is committed before the POST, so that a lost answer is found",
    )
    op.create_index("ix_batches_open", "batches", ["id"], unique=False, postgresql_where=sa.text("settled_at IS NULL"))
    op.create_table(
        "batch_texts",
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("custom_id", sa.Text(), nullable=False, comment="of the request; packed texts share it"),
        sa.Column("echo_id", sa.Text(), nullable=False, comment="of the text within its request; '' where it is alone"),
        sa.Column("text_id", sa.BigInteger(), nullable=False),
        sa.Column("redactions", sa.Integer(), server_default="0", nullable=False),
        sa.Column("truncated_chars", sa.Integer(), server_default="0", nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True, comment="what came back for it; null: nothing yet"),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column(
            "purged",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="what its answer says of it is not kept",
        ),
        sa.CheckConstraint(
            "outcome IN ('answered', 'unusable', 'errored', 'canceled', 'expired', 'missing')",
            name=op.f("ck_batch_texts_outcome"),
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_batch_texts_batch_id_batches"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["text_id"], ["texts.id"], name=op.f("fk_batch_texts_text_id_texts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("batch_id", "custom_id", "echo_id", name=op.f("pk_batch_texts")),
        comment="which texts a batch asks about, and what became of each: attempts are counted here",
    )
    op.create_index("ix_batch_texts_text_id", "batch_texts", ["text_id"], unique=False)
    op.create_index(
        "ix_batch_texts_failures",
        "batch_texts",
        ["text_id"],
        unique=False,
        postgresql_where=sa.text("outcome <> 'answered'"),
    )


def _create_quality() -> None:
    op.create_table(
        "evaluations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("task_version", sa.Integer(), nullable=False),
        sa.Column("classifier", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("prompt_version", sa.Text(), nullable=False),
        sa.Column("golden_set", sa.Text(), nullable=False, comment="a file's name and digest, or 'annotations'"),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("metrics", postgresql.JSONB(), nullable=False),
        sa.Column(
            "thresholds",
            postgresql.JSONB(),
            nullable=False,
            comment="by category: the confidence at which it is precise enough",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
        comment="measured quality per task, prompt and model",
    )
    op.create_index("ix_evaluations_task", "evaluations", ["task", "id"], unique=False)
    op.create_table(
        "local_models",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("task_version", sa.Integer(), nullable=False),
        sa.Column("task_sha256", sa.Text(), nullable=False),
        sa.Column(
            "content", sa.LargeBinary(), nullable=False, comment="etl.classifiers.local reads it; plain arrays, no code"
        ),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("examples", sa.Integer(), nullable=False),
        sa.Column("metrics", postgresql.JSONB(), nullable=False, comment="by cross-validation; see docs/cascade.md"),
        sa.Column(
            "thresholds",
            postgresql.JSONB(),
            nullable=False,
            comment="by category: the confidence from which it answers",
        ),
        sa.Column("trained_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_local_models")),
        comment="trained models of the classifier `local`; the newest of a task answers",
    )
    op.create_index("ix_local_models_task", "local_models", ["task", "id"], unique=False)
    op.create_table(
        "calibrations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("classifier", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("prompt_version", sa.Text(), nullable=False),
        sa.Column("given", postgresql.ARRAY(sa.Double()), nullable=False, comment="confidences as given, ascending"),
        sa.Column(
            "calibrated",
            postgresql.ARRAY(sa.Double()),
            nullable=False,
            comment="what each is worth; straight lines between",
        ),
        sa.Column("evaluation_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "cardinality(given) = cardinality(calibrated) AND cardinality(given) > 1",
            name=op.f("ck_calibrations_points"),
        ),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name=op.f("fk_calibrations_evaluation_id_evaluations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibrations")),
        comment="what a stated confidence is worth, measured on a golden set; the newest that is not withdrawn counts",
    )
    op.create_index(
        "ix_calibrations_answer", "calibrations", ["task", "classifier", "model", "prompt_version"], unique=False
    )


def _create_caps() -> None:
    op.create_table(
        "model_checks",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("lifecycle", sa.Text(), nullable=False),
        sa.Column("retires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_model_checks")),
        comment="what the vendor said of a model, asked once a day",
    )
    op.create_table(
        "spend_grants",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("dollars", sa.Numeric(precision=14, scale=8), nullable=False),
        sa.Column(
            "after_id", sa.BigInteger(), nullable=False, comment="the run's later answers are paid from the grant"
        ),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_spend_grants_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_spend_grants")),
        comment="what living runs may spend of the caps per day and month; gone with the run, whose answers then count",
    )


def _add_columns() -> None:
    op.create_index(
        "ix_classifications_local",
        "classifications",
        ["task", "model", "id"],
        unique=False,
        postgresql_where=sa.text("classifier = 'local'"),
    )
    op.add_column("annotations", sa.Column("withdrawn_by", sa.Text(), nullable=True))
    op.add_column("annotations", sa.Column("withdrawn_reason", sa.Text(), nullable=True))
    op.execute("ALTER TABLE annotations ALTER COLUMN withdrawn_reason SET STATISTICS 0")
    op.alter_column(
        "annotations",
        "withdrawn_at",
        existing_type=postgresql.TIMESTAMP(timezone=True),
        comment="since when it does not count; such ones stay as history",
        existing_nullable=True,
    )
    op.create_table_comment(
        "annotations",
        "what people answered about items: overrides win over every classification, reviews measure them",
        existing_comment=None,
        schema=None,
    )
    op.add_column(
        "tasks",
        sa.Column(
            "aliases",
            postgresql.JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="other words for categories, lower case: id",
        ),
    )
    op.add_column(
        "claims",
        sa.Column(
            "batch_id", sa.BigInteger(), nullable=True, comment="the batch that asks; such a claim outlives its run"
        ),
    )
    op.alter_column(
        "claims",
        "expires_at",
        existing_type=postgresql.TIMESTAMP(timezone=True),
        comment="infinity: held by a batch until that is collected",
        existing_nullable=False,
    )
    op.create_index(
        "ix_claims_batch_id", "claims", ["batch_id"], unique=False, postgresql_where=sa.text("batch_id IS NOT NULL")
    )
    op.create_foreign_key(op.f("fk_claims_batch_id_batches"), "claims", "batches", ["batch_id"], ["id"])
    op.create_table_comment(
        "claims",
        "texts that are being asked about right now, so that two runs never ask twice",
        existing_comment="texts that a run is asking about right now, leased, so that two runs never ask twice",
        schema=None,
    )
    op.add_column(
        "classifications",
        sa.Column(
            "batch_id",
            sa.BigInteger(),
            nullable=True,
            comment="of an answer that came in a batch, at the batch's price",
        ),
    )
    op.add_column(
        "classifications",
        sa.Column(
            "pack", sa.SmallInteger(), server_default="1", nullable=False, comment="how many texts shared the request"
        ),
    )
    op.create_foreign_key(
        op.f("fk_classifications_batch_id_batches"), "classifications", "batches", ["batch_id"], ["id"]
    )
    op.add_column(
        "runs",
        sa.Column(
            "texts_local",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="answered by `local` instead of Claude",
        ),
    )
    op.add_column(
        "runs",
        sa.Column(
            "texts_submitted", sa.Integer(), server_default="0", nullable=False, comment="handed over in batches"
        ),
    )
    op.add_column(
        "runs",
        sa.Column(
            "texts_collected", sa.Integer(), server_default="0", nullable=False, comment="answers taken out of batches"
        ),
    )
    op.add_column(
        "runs",
        sa.Column(
            "redactions",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="secrets that were replaced when asking",
        ),
    )


def downgrade() -> None:
    """Goes down again. Batches under way, trained models, evaluations and calibrations are lost."""
    before = [runpy.run_path(str(path))["VIEWS"] for path in sorted(Path(__file__).parent.glob("000[1234]_*.py"))]
    for views in (*before, VIEWS):
        for name in views:
            op.execute(f"DROP VIEW IF EXISTS {name} CASCADE")
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature}")
    _drop_tables()
    for views in before:
        for name, query in views.items():
            op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")


def _drop_tables() -> None:
    op.drop_index(
        "ix_classifications_local", table_name="classifications", postgresql_where=sa.text("classifier = 'local'")
    )
    op.drop_column("tasks", "aliases")
    op.drop_table_comment("annotations", existing_comment=None, schema=None)
    op.alter_column(
        "annotations",
        "withdrawn_at",
        existing_type=postgresql.TIMESTAMP(timezone=True),
        comment=None,
        existing_comment="since when it does not count; such ones stay as history",
        existing_nullable=True,
    )
    op.drop_column("annotations", "withdrawn_reason")
    op.drop_column("annotations", "withdrawn_by")
    op.drop_column("runs", "redactions")
    op.drop_column("runs", "texts_collected")
    op.drop_column("runs", "texts_submitted")
    op.drop_column("runs", "texts_local")
    op.drop_constraint(op.f("fk_classifications_batch_id_batches"), "classifications", type_="foreignkey")
    op.drop_column("classifications", "pack")
    op.drop_column("classifications", "batch_id")
    op.create_table_comment(
        "claims",
        "texts that a run is asking about right now, leased, so that two runs never ask twice",
        existing_comment="texts that are being asked about right now, so that two runs never ask twice",
        schema=None,
    )
    op.drop_constraint(op.f("fk_claims_batch_id_batches"), "claims", type_="foreignkey")
    op.drop_index("ix_claims_batch_id", table_name="claims", postgresql_where=sa.text("batch_id IS NOT NULL"))
    op.alter_column(
        "claims",
        "expires_at",
        existing_type=postgresql.TIMESTAMP(timezone=True),
        comment=None,
        existing_comment="infinity: held by a batch until that is collected",
        existing_nullable=False,
    )
    op.drop_column("claims", "batch_id")
    op.drop_table("spend_grants")
    op.drop_index("ix_calibrations_answer", table_name="calibrations")
    op.drop_table("calibrations")
    op.drop_index("ix_batch_texts_failures", table_name="batch_texts")
    op.drop_index("ix_batch_texts_text_id", table_name="batch_texts")
    op.drop_table("batch_texts")
    op.drop_table("model_checks")
    op.drop_index("ix_local_models_task", table_name="local_models")
    op.drop_table("local_models")
    op.drop_index("ix_evaluations_task", table_name="evaluations")
    op.drop_table("evaluations")
    op.drop_index("ix_batches_open", table_name="batches", postgresql_where=sa.text("settled_at IS NULL"))
    op.drop_table("batches")
