"""First tables and views.

Revision: 0001, the first.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


VIEWS = {
    "current_tasks": """
        SELECT DISTINCT ON (name) * FROM tasks ORDER BY name, version DESC
    """,
    # (item, task) pairs: whatever a tracked task could be asked of, and whether it is asked of it now.
    "task_items": """
        SELECT i.id AS item_id, t.name AS task, t.input,
               i.tombstone IS NULL
               AND (cardinality(t.labels) = 0
                    OR EXISTS (SELECT FROM unnest(i.labels) AS l WHERE lower(l) = ANY (t.labels)))
               AND NOT coalesce(i.title, '') LIKE ANY (t.titles_except_like)
               AND (cardinality(t.states) = 0 OR i.state = ANY (t.states)) AS applies
        FROM tracked_tasks k
        JOIN current_tasks t ON t.name = k.task
        JOIN repositories r ON r.key = k.repository_key
             AND (cardinality(t.repositories_like) = 0 OR lower(r.full_name) LIKE ANY (t.repositories_like))
        JOIN items i ON i.repository_key = k.repository_key AND i.kind = ANY (t.kinds)
    """,
    # The answer that counts, per text and task: claude before local before rules, newest task version, newest.
    "current_answers": """
        SELECT DISTINCT ON (text_id, task) *
        FROM classifications
        WHERE purpose = 'live' AND outcome IN ('answered', 'abstained', 'refused')
        ORDER BY text_id, task, array_position(ARRAY['claude', 'local', 'rules'], classifier), task_version DESC,
                 id DESC
    """,
    "item_answers": """
        SELECT ti.item_id, ti.task, ti.applies, x.text_hash, x.family_hash,
               CASE WHEN o.id IS NOT NULL THEN CASE WHEN o.categories = '{}' THEN 'abstained' ELSE 'answered' END
                    ELSE coalesce(c.outcome, 'unclassified') END AS answer,
               coalesce(o.categories, c.categories, '{}') AS categories,
               CASE WHEN o.id IS NOT NULL THEN array_fill(1.0::float8, ARRAY[cardinality(o.categories)])
                    ELSE coalesce(c.confidences, '{}') END AS confidences,
               c.task_version,
               CASE WHEN o.id IS NOT NULL THEN 'person' ELSE c.classifier END AS classifier,
               CASE WHEN o.id IS NULL THEN c.model END AS model,
               CASE WHEN o.id IS NULL THEN c.prompt_version END AS prompt_version,
               coalesce(o.reason, c.rationale) AS rationale,
               coalesce(o.created_at, c.created_at) AS classified_at,
               o.id IS NOT NULL AS overridden
        FROM task_items ti
        JOIN item_texts it ON it.item_id = ti.item_id AND it.input = ti.input
        JOIN texts x ON x.id = it.text_id
        -- As `current_answers`, but looked up row by row through an index: joined as a view
        -- it is quadratic whenever the planner takes it for small.
        LEFT JOIN LATERAL (
            SELECT * FROM classifications k
            WHERE k.text_id = it.text_id AND k.task = ti.task
                  AND k.purpose = 'live' AND k.outcome IN ('answered', 'abstained', 'refused')
            ORDER BY array_position(ARRAY['claude', 'local', 'rules'], k.classifier), k.task_version DESC, k.id DESC
            LIMIT 1) AS c ON true
        LEFT JOIN LATERAL (
            SELECT * FROM annotations n
            WHERE n.item_id = ti.item_id AND n.task = ti.task AND n.role = 'override' AND n.withdrawn_at IS NULL
            ORDER BY n.id DESC LIMIT 1) AS o ON true
    """,
    "issues": """
        SELECT r.full_name AS repository, i.external_id AS number, i.title, i.body, i.state, i.state_reason, i.author,
               i.author_association, i.labels, i.assignees, i.comments, i.created_at, i.updated_at, i.closed_at, i.url,
               x.text_hash, x.family_hash
        FROM items i
        JOIN repositories r ON r.key = i.repository_key
        LEFT JOIN item_texts it ON it.item_id = i.id AND it.input = 'issue'
        LEFT JOIN texts x ON x.id = it.text_id
        WHERE i.kind = 'issue' AND i.tombstone IS NULL
    """,
    "issue_categories": """
        SELECT r.full_name AS repository, i.external_id AS number, a.task, a.task_version, u.category, u.confidence,
               a.answer <> 'answered' AS abstained, a.classifier, a.model, a.rationale, a.classified_at, a.overridden
        FROM item_answers a
        JOIN items i ON i.id = a.item_id AND i.kind = 'issue'
        JOIN repositories r ON r.key = i.repository_key
        LEFT JOIN LATERAL unnest(a.categories, a.confidences) AS u (category, confidence) ON true
        WHERE a.applies AND a.answer <> 'unclassified'
    """,
    "daily_totals": """
        WITH answered AS (
            SELECT i.repository_key, a.task, u.category,
                   (i.created_at AT TIME ZONE 'UTC')::date AS opened_on,
                   CASE WHEN i.state = 'closed'
                        THEN (coalesce(i.closed_at, i.updated_at) AT TIME ZONE 'UTC')::date END AS closed_on
            FROM item_answers a
            JOIN items i ON i.id = a.item_id AND i.kind = 'issue'
            CROSS JOIN LATERAL unnest(CASE a.answer WHEN 'answered' THEN a.categories
                                                    WHEN 'unclassified' THEN ARRAY['unclassified']
                                                    ELSE ARRAY['abstained'] END) AS u (category)
            WHERE a.applies
        ), events AS (
            SELECT repository_key, task, category, day, sum(opened)::int AS opened, sum(closed)::int AS closed
            FROM (SELECT repository_key, task, category, opened_on AS day, 1 AS opened, 0 AS closed FROM answered
                  UNION ALL
                  SELECT repository_key, task, category, closed_on, 0, 1 FROM answered WHERE closed_on IS NOT NULL) AS e
            GROUP BY repository_key, task, category, day
        ), spans AS (
            SELECT s.repository_key, s.task, s.first_day, c.category
            FROM (SELECT repository_key, task, min(day) AS first_day FROM events GROUP BY 1, 2) AS s
            JOIN (SELECT DISTINCT repository_key, task, category FROM events) AS c USING (repository_key, task)
        ), grid AS (
            SELECT s.repository_key, s.task, s.category, d::date AS day
            FROM spans s
            CROSS JOIN LATERAL generate_series(s.first_day::timestamp, (now() AT TIME ZONE 'UTC')::date::timestamp,
                                               interval '1 day') AS d
        ), filled AS (
            -- Not a join of grid and events: PostgreSQL plans that without the day, thirty times as slow.
            SELECT repository_key, task, category, day, sum(opened)::int AS opened, sum(closed)::int AS closed
            FROM (SELECT repository_key, task, category, day, opened, closed FROM events
                  UNION ALL SELECT repository_key, task, category, day, 0, 0 FROM grid) AS f
            GROUP BY repository_key, task, category, day
        )
        SELECT repository_key, task, category, day, opened, closed,
               (sum(opened - closed) OVER (PARTITION BY repository_key, task, category ORDER BY day))::int AS open
        FROM filled
    """,
    "category_daily": """
        SELECT r.full_name AS repository, t.task, t.category, t.day, t.opened, t.closed, t.open
        FROM daily_totals t
        JOIN repositories r ON r.key = t.repository_key
    """,
    "run_summary": """
        SELECT id AS run_id, command, started_at, ended_at, status, repositories, tasks, classifier, model,
               items_read, items_new, items_changed, texts_new, texts_asked, documents_written, dead_letters, api_calls,
               input_tokens, cache_write_tokens, cache_read_tokens, output_tokens, cost_usd, error
        FROM runs
    """,
    # What is exported in which version, without what it takes to render it: a quiet hour reads only this.
    "document_versions": """
        SELECT ti.item_id, ti.task, ti.applies, i.row_version,
               i.repository_key || '-' || i.kind || '-' || i.external_id || '-' || ti.task AS document_id
        FROM task_items ti
        JOIN items i ON i.id = ti.item_id
        JOIN item_texts it ON it.item_id = ti.item_id AND it.input = ti.input
    """,
    # One row per (item, task), `source` being the document as schemas/opensearch/classifications.json describes it.
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
                   'confidence', a.confidences[1], 'rationale', a.rationale, 'classifier', a.classifier,
                   'model', a.model, 'prompt_version', a.prompt_version, 'classified_at', a.classified_at,
                   'overridden', a.overridden, 'text_hash', a.text_hash, 'family_hash', a.family_hash,
                   'vanished', NOT a.applies,
                   'vanished_reason', CASE WHEN NOT a.applies THEN coalesce(i.tombstone, 'not_applicable') END,
                   'row_version', i.row_version)) AS source
        FROM item_answers a
        JOIN items i ON i.id = a.item_id
        JOIN repositories r ON r.key = i.repository_key
    """,
    "daily_documents": """
        SELECT d.row_version, d.repository_key || '-' || d.task || '-' || d.category || '-' || d.day AS document_id,
               json_build_object(
                   'repository_id', d.repository_key, 'repository', r.full_name, 'task', d.task,
                   'category', d.category, 'day', d.day, 'opened', d.opened, 'closed', d.closed, 'open', d.open,
                   'row_version', d.row_version) AS source
        FROM daily_counts d
        JOIN repositories r ON r.key = d.repository_key
    """,
    "run_documents": """
        SELECT (extract(epoch FROM ended_at) * 1000000)::bigint AS row_version,
               'run-' || (extract(epoch FROM started_at) * 1000000)::bigint || '-' || id AS document_id,
               json_strip_nulls(json_build_object(
                   'run_id', id, 'command', command, 'repositories', repositories, 'tasks', tasks,
                   'classifier', classifier, 'model', model, 'started_at', started_at, 'ended_at', ended_at,
                   'duration_seconds', round(extract(epoch FROM ended_at - started_at)::numeric, 3),
                   'status', status, 'items_read', items_read, 'items_new', items_new, 'items_changed', items_changed,
                   'texts_new', texts_new, 'texts_asked', texts_asked, 'documents_written', documents_written,
                   'dead_letters', dead_letters, 'api_calls', api_calls, 'input_tokens', input_tokens,
                   'cache_write_tokens', cache_write_tokens, 'cache_read_tokens', cache_read_tokens,
                   'output_tokens', output_tokens, 'cost_usd', cost_usd::float8, 'error', error,
                   'row_version', (extract(epoch FROM ended_at) * 1000000)::bigint)) AS source
        FROM runs WHERE ended_at IS NOT NULL
    """,
}
"""Views by name, each after those it reads. docs/sql.md promises some of them to users."""


def upgrade() -> None:
    """Goes up."""
    op.create_table(
        "repositories",
        sa.Column(
            "key", sa.BigInteger(), autoincrement=False, nullable=False, comment="etl.sources.base.repository_key"
        ),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("github_id", sa.BigInteger(), nullable=True),
        sa.Column("full_name", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_repositories")),
    )
    op.create_index(
        "ix_repositories_host_name", "repositories", ["host", sa.literal_column("lower(full_name)")], unique=False
    )
    op.create_index("uq_repositories_host_github_id", "repositories", ["host", "github_id"], unique=True)
    op.create_table(
        "runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="running", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("repositories", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("tasks", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("classifier", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("items_read", sa.Integer(), server_default="0", nullable=False),
        sa.Column("items_new", sa.Integer(), server_default="0", nullable=False),
        sa.Column("items_changed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("items_skipped", sa.Integer(), server_default="0", nullable=False),
        sa.Column("characters_replaced", sa.Integer(), server_default="0", nullable=False),
        sa.Column("texts_new", sa.Integer(), server_default="0", nullable=False),
        sa.Column("texts_asked", sa.Integer(), server_default="0", nullable=False),
        sa.Column("texts_failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("documents_written", sa.Integer(), server_default="0", nullable=False),
        sa.Column("dead_letters", sa.Integer(), server_default="0", nullable=False),
        sa.Column("api_calls", sa.Integer(), server_default="0", nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cache_read_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cost_usd", sa.Numeric(precision=14, scale=8), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column(
            "notes",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'"),
            nullable=False,
            comment="what was left behind, one line each",
        ),
        sa.CheckConstraint(
            "status IN ('running', 'ok', 'partial', 'stopped_budget', 'stopped_rate_limit', 'failed', 'interrupted',"
            " 'locked')",
            name=op.f("ck_runs_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_table(
        "sinks",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False, comment="changes when an index is deleted and made again"),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sinks")),
        sa.UniqueConstraint("identity", name=op.f("uq_sinks_identity")),
    )
    op.create_table(
        "tasks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column(
            "sha256",
            sa.Text(),
            nullable=False,
            comment="of the task file: the same version with other content is refused",
        ),
        sa.Column("content", sa.Text(), nullable=False, comment="the task file"),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("kinds", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column(
            "repositories_like",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="LIKE patterns, lower case; empty: any",
        ),
        sa.Column("labels", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("titles_except_like", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("states", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_tasks")),
    )
    op.create_table(
        "texts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("text_hash", sa.Text(), nullable=False),
        sa.Column("family_hash", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False, comment="the first seen of its hash: cleaned, not masked"),
        sa.Column("rules_version", sa.SmallInteger(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_texts")),
        sa.UniqueConstraint("text_hash", "input", name=op.f("uq_texts_text_hash_input")),
    )
    op.create_index("ix_texts_family_hash", "texts", ["family_hash"], unique=False)
    op.create_table(
        "claims",
        sa.Column("text_id", sa.BigInteger(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["text_id"], ["texts.id"], name=op.f("fk_claims_text_id_texts")),
        sa.PrimaryKeyConstraint("text_id", "task", name=op.f("pk_claims")),
        comment="texts that a run is asking about right now, leased, so that two runs never ask twice",
    )
    op.create_table(
        "classifications",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("text_id", sa.BigInteger(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("task_version", sa.Integer(), nullable=False),
        sa.Column("task_sha256", sa.Text(), nullable=False),
        sa.Column("prompt_version", sa.Text(), nullable=False),
        sa.Column("classifier", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), server_default="live", nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("categories", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("confidences", postgresql.ARRAY(sa.Double()), nullable=False),
        sa.Column("rationale", sa.Text(), nullable=False),
        sa.Column("redactions", sa.Integer(), server_default="0", nullable=False),
        sa.Column("truncated_chars", sa.Integer(), server_default="0", nullable=False),
        sa.Column("input_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cache_write_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cache_read_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("output_tokens", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cost_usd", sa.Numeric(precision=14, scale=8), server_default="0", nullable=False),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('answered', 'abstained', 'refused', 'truncated', 'invalid')",
            name=op.f("ck_classifications_outcome"),
        ),
        sa.CheckConstraint("purpose IN ('live', 'trial', 'audit')", name=op.f("ck_classifications_purpose")),
        sa.CheckConstraint(
            "cardinality(categories) = cardinality(confidences)", name=op.f("ck_classifications_confidences")
        ),
        sa.ForeignKeyConstraint(["text_id"], ["texts.id"], name=op.f("fk_classifications_text_id_texts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_classifications")),
        comment="the ledger: every answer ever received, only ever appended to",
    )
    op.create_index(
        "ix_classifications_attempts",
        "classifications",
        ["task", "text_id"],
        unique=False,
        postgresql_where=sa.text("outcome IN ('truncated', 'invalid')"),
    )
    op.create_index("ix_classifications_created_at", "classifications", ["created_at"], unique=False)
    op.create_index("ix_classifications_text_task", "classifications", ["text_id", "task"], unique=False)
    op.create_table(
        "cursors",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("repository_key", sa.BigInteger(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=False, comment="opaque to everyone but the source"),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_key"], ["repositories.key"], name=op.f("fk_cursors_repository_key_repositories")
        ),
        sa.PrimaryKeyConstraint("source", "repository_key", "stream", "filter", name=op.f("pk_cursors")),
    )
    op.create_table(
        "daily_counts",
        sa.Column("repository_key", sa.BigInteger(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("opened", sa.Integer(), nullable=False),
        sa.Column("closed", sa.Integer(), nullable=False),
        sa.Column("open", sa.Integer(), nullable=False),
        sa.Column("row_version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_key"], ["repositories.key"], name=op.f("fk_daily_counts_repository_key_repositories")
        ),
        sa.PrimaryKeyConstraint("repository_key", "task", "category", "day", name=op.f("pk_daily_counts")),
        comment="category_daily as last computed for export, so that only days that changed are sent",
    )
    op.create_table(
        "dead_letters",
        sa.Column("sink_id", sa.Integer(), nullable=False),
        sa.Column("document_id", sa.Text(), nullable=False),
        sa.Column(
            "row_version", sa.BigInteger(), nullable=False, comment="the version the sink refused; a newer one is tried"
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["sink_id"], ["sinks.id"], name=op.f("fk_dead_letters_sink_id_sinks"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("sink_id", "document_id", name=op.f("pk_dead_letters")),
    )
    op.create_table(
        "exports",
        sa.Column("sink_id", sa.Integer(), nullable=False),
        sa.Column("document_id", sa.Text(), nullable=False),
        sa.Column("row_version", sa.BigInteger(), nullable=False, comment="the version the sink holds"),
        sa.ForeignKeyConstraint(["sink_id"], ["sinks.id"], name=op.f("fk_exports_sink_id_sinks"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sink_id", "document_id", name=op.f("pk_exports")),
    )
    op.create_table(
        "items",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("repository_key", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("external_id", sa.BigInteger(), nullable=False, comment="number of an issue, id of a comment"),
        sa.Column("parent_number", sa.BigInteger(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("state_reason", sa.Text(), nullable=True),
        sa.Column("author", sa.Text(), nullable=True),
        sa.Column("author_type", sa.Text(), nullable=True),
        sa.Column("author_association", sa.Text(), nullable=True),
        sa.Column("labels", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("assignees", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("comments", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("payload", sa.Text(), nullable=False, comment="the JSON object as received, less what has a column"),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("row_version", sa.BigInteger(), nullable=False, comment="the external version in every sink"),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "tombstone",
            sa.Text(),
            nullable=True,
            comment="why the item is no longer at its source; null while it is there",
        ),
        sa.Column("tombstoned_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('issue', 'pull_request', 'comment')", name=op.f("ck_items_kind")),
        sa.ForeignKeyConstraint(
            ["repository_key"], ["repositories.key"], name=op.f("fk_items_repository_key_repositories")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_items")),
        sa.UniqueConstraint(
            "repository_key", "kind", "external_id", name=op.f("uq_items_repository_key_kind_external_id")
        ),
    )
    op.create_index(
        "ix_items_comments_of",
        "items",
        ["repository_key", "parent_number"],
        unique=False,
        postgresql_where=sa.text("kind = 'comment'"),
    )
    op.create_table(
        "tracked_tasks",
        sa.Column("repository_key", sa.BigInteger(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_key"], ["repositories.key"], name=op.f("fk_tracked_tasks_repository_key_repositories")
        ),
        sa.PrimaryKeyConstraint("repository_key", "task", name=op.f("pk_tracked_tasks")),
        comment="which tasks were asked of which repositories: what exports and trends cover",
    )
    op.create_table(
        "annotations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("annotator", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("categories", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("text_hash", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('override', 'review')", name=op.f("ck_annotations_role")),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name=op.f("fk_annotations_item_id_items")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_annotations")),
    )
    op.create_index("ix_annotations_item_task", "annotations", ["item_id", "task"], unique=False)
    op.create_table(
        "item_texts",
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("text_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_item_texts_item_id_items"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["text_id"], ["texts.id"], name=op.f("fk_item_texts_text_id_texts")),
        sa.PrimaryKeyConstraint("item_id", "input", name=op.f("pk_item_texts")),
    )
    op.create_index("ix_item_texts_text_id", "item_texts", ["text_id"], unique=False)
    op.create_table(
        "text_queue",
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_text_queue_item_id_items"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_text_queue")),
        comment="issues and pull requests whose texts must be made again, entered in the transaction that changed them",
    )
    # Bodies and payloads go out of line without being compressed: CPU is dearer than disk, and a narrow row makes each
    # later change of a row cheap (benchmarks/load.py).
    op.execute("ALTER TABLE items ALTER COLUMN body SET STORAGE EXTERNAL")
    op.execute("ALTER TABLE items ALTER COLUMN payload SET STORAGE EXTERNAL")
    op.execute("ALTER TABLE texts ALTER COLUMN body SET STORAGE EXTERNAL")
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def downgrade() -> None:
    """Goes down again."""
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW {name}")
    op.drop_table("text_queue")
    op.drop_index("ix_item_texts_text_id", table_name="item_texts")
    op.drop_table("item_texts")
    op.drop_index("ix_annotations_item_task", table_name="annotations")
    op.drop_table("annotations")
    op.drop_table("tracked_tasks")
    op.drop_index("ix_items_comments_of", table_name="items", postgresql_where=sa.text("kind = 'comment'"))
    op.drop_table("items")
    op.drop_table("exports")
    op.drop_table("dead_letters")
    op.drop_table("daily_counts")
    op.drop_table("cursors")
    op.drop_index("ix_classifications_text_task", table_name="classifications")
    op.drop_index("ix_classifications_created_at", table_name="classifications")
    op.drop_index(
        "ix_classifications_attempts",
        table_name="classifications",
        postgresql_where=sa.text("outcome IN ('truncated', 'invalid')"),
    )
    op.drop_table("classifications")
    op.drop_table("claims")
    op.drop_index("ix_texts_family_hash", table_name="texts")
    op.drop_table("texts")
    op.drop_table("tasks")
    op.drop_table("sinks")
    op.drop_table("runs")
    op.drop_index("uq_repositories_host_github_id", table_name="repositories")
    op.drop_index("ix_repositories_host_name", table_name="repositories")
    op.drop_table("repositories")
