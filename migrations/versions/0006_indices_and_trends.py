"""Indices that change without a pause, and documents for trends.

Revision: 0006, after 0005.
"""

import runpy
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


VIEWS: dict[str, str] = {
    # Of each alias the index that was behind it last: one that is being filled, or was left behind, is not.
    "current_sinks": """
        SELECT DISTINCT ON (alias) id, alias, identity, last_met_at
        FROM (SELECT id, identity, last_met_at, regexp_replace(identity, '-v[0-9]+(-[0-9]+)?/[^/]*$', '') AS alias
              FROM sinks) AS s
        WHERE last_met_at IS NOT NULL ORDER BY alias, last_met_at DESC, id DESC
    """,
    # The days on which something happened, each with what is open at its end and when the next one is, or tomorrow.
    # Rows with a `family_hash` are the part of one family of issues in the row with ''. Five issues make a family
    # frequent: that is no coincidence any more, and few families have as many, so that they add few rows.
    "daily_steps": """
        WITH answered AS MATERIALIZED (
            SELECT i.id AS item_id, i.repository_key, a.task, i.created_at,
                   CASE a.answer WHEN 'answered' THEN a.categories
                                 WHEN 'unclassified' THEN ARRAY['unclassified']
                                 ELSE ARRAY['abstained'] END AS categories,
                   CASE WHEN count(*) OVER (PARTITION BY i.repository_key, a.task, a.family_hash COLLATE "C") >= 5
                        THEN a.family_hash ELSE '' END AS family_hash,
                   row_number() OVER (PARTITION BY i.repository_key, a.task, a.family_hash COLLATE "C"
                                      ORDER BY i.created_at, i.id) = 1 AS is_first
            FROM item_answers a
            JOIN items i ON i.id = a.item_id AND i.kind = 'issue'
            WHERE a.applies
        ), counted AS MATERIALIZED (
            SELECT a.item_id, a.repository_key, a.task, u.category, a.family_hash, a.is_first, a.created_at
            FROM answered a CROSS JOIN LATERAL unnest(a.categories) AS u (category)
        ), events AS MATERIALIZED (
            SELECT repository_key, task, category, family_hash, (at AT TIME ZONE 'UTC')::date AS day,
                   count(*) FILTER (WHERE kind = 'opened')::int AS opened,
                   count(*) FILTER (WHERE kind = 'closed')::int AS closed,
                   count(*) FILTER (WHERE kind = 'reopened')::int AS reopened,
                   count(*) FILTER (WHERE kind = 'opened' AND is_first)::int AS new_families
            FROM (SELECT repository_key, task, category, family_hash, is_first, created_at AS at, 'opened' AS kind
                  FROM counted
                  UNION ALL
                  SELECT a.repository_key, a.task, a.category, a.family_hash, false, c.at, c.kind
                  FROM counted a JOIN state_changes c ON c.item_id = a.item_id) AS e
            GROUP BY 1, 2, 3, 4, 5
        )
        SELECT repository_key, task, category, family_hash, day, opened, closed, reopened, new_families,
               (sum(opened + reopened - closed) OVER series)::int AS open,
               least(lead(day) OVER series, greatest((now() AT TIME ZONE 'UTC')::date, day) + 1) AS next_day
        FROM (SELECT repository_key, task, category, '' AS family_hash, day, sum(opened)::int AS opened,
                     sum(closed)::int AS closed, sum(reopened)::int AS reopened, sum(new_families)::int AS new_families
              FROM events GROUP BY 1, 2, 3, 5
              UNION ALL
              SELECT repository_key, task, category, family_hash, day, opened, closed, reopened, 0
              FROM events WHERE family_hash <> '') AS e
        WINDOW series AS (PARTITION BY repository_key, task, category, family_hash ORDER BY day)
    """,
    # Every day of a category since its first one. GitHub began in 2008: before that there are imported issues and wrong
    # dates, and so only the days on which something happened.
    "daily_totals": """
        SELECT s.repository_key, s.task, s.category, s.day + n AS day,
               CASE n WHEN 0 THEN s.opened ELSE 0 END AS opened, CASE n WHEN 0 THEN s.closed ELSE 0 END AS closed,
               s.open, CASE n WHEN 0 THEN s.reopened ELSE 0 END AS reopened,
               CASE n WHEN 0 THEN s.new_families ELSE 0 END AS new_families
        FROM daily_steps s CROSS JOIN LATERAL generate_series(0, s.next_day - s.day - 1) AS n
        WHERE s.family_hash = '' AND (n = 0 OR s.day + n >= DATE '2008-01-01')
    """,
    # What documents are made of: families, and of a long time in which a category has nothing open only the month at
    # both ends, which keeps means over bars of up to a month right, and today.
    "daily_rows": """
        SELECT s.repository_key, s.task, s.category, s.family_hash, s.day + n AS day,
               CASE n WHEN 0 THEN s.opened ELSE 0 END AS opened, CASE n WHEN 0 THEN s.closed ELSE 0 END AS closed,
               s.open, CASE n WHEN 0 THEN s.reopened ELSE 0 END AS reopened,
               CASE n WHEN 0 THEN s.new_families ELSE 0 END AS new_families
        FROM daily_steps s
        CROSS JOIN LATERAL generate_series(0, CASE s.family_hash WHEN '' THEN s.next_day - s.day - 1 ELSE 0 END) AS n
        WHERE n = 0
              OR s.day + n >= DATE '2008-01-01'
                 AND (s.open <> 0 OR n <= 31
                      OR s.day + n >= s.next_day - 31 AND s.next_day <= (now() AT TIME ZONE 'UTC')::date
                      OR s.day + n = (now() AT TIME ZONE 'UTC')::date)
    """,
    "category_daily": """
        SELECT r.full_name AS repository, t.task, t.category, t.day, t.opened, t.closed, t.open, t.reopened,
               t.new_families
        FROM daily_totals t
        JOIN repositories r ON r.key = t.repository_key
    """,
    # As in 0002, but for days before 2008.
    "open_daily": """
        WITH events AS (
            SELECT repository_key, (at AT TIME ZONE 'UTC')::date AS day,
                   count(*) FILTER (WHERE kind = 'opened')::int AS opened,
                   count(*) FILTER (WHERE kind = 'closed')::int AS closed,
                   count(*) FILTER (WHERE kind = 'reopened')::int AS reopened
            FROM (SELECT repository_key, created_at AS at, 'opened' AS kind
                  FROM items WHERE kind = 'issue' AND tombstone IS NULL
                  UNION ALL
                  SELECT i.repository_key, c.at, c.kind
                  FROM items i JOIN state_changes c ON c.item_id = i.id
                  WHERE i.kind = 'issue' AND i.tombstone IS NULL) AS e
            GROUP BY 1, 2
        ), steps AS (
            SELECT *, (sum(opened + reopened - closed) OVER series)::int AS open,
                   least(lead(day) OVER series, greatest((now() AT TIME ZONE 'UTC')::date, day) + 1) AS next_day
            FROM events WINDOW series AS (PARTITION BY repository_key ORDER BY day)
        )
        SELECT r.full_name AS repository, s.day + n AS day, CASE n WHEN 0 THEN s.opened ELSE 0 END AS opened,
               CASE n WHEN 0 THEN s.closed ELSE 0 END AS closed, CASE n WHEN 0 THEN s.reopened ELSE 0 END AS reopened,
               s.open
        FROM steps s
        CROSS JOIN LATERAL generate_series(0, s.next_day - s.day - 1) AS n
        JOIN repositories r ON r.key = s.repository_key
        WHERE n = 0 OR s.day + n >= DATE '2008-01-01'
    """,
    "daily_documents": """
        SELECT d.row_version,
               d.repository_key || '-' || d.task || '-' || d.category || '-' || d.day
                   || CASE d.family_hash WHEN '' THEN '' ELSE '-' || d.family_hash END AS document_id,
               json_strip_nulls(json_build_object(
                   'repository_id', d.repository_key, 'repository', r.full_name,
                   'owner', split_part(r.full_name, '/', 1), 'task', d.task,
                   'level', CASE d.family_hash WHEN '' THEN 'category' ELSE 'family' END,
                   'category', d.category, 'family_hash', nullif(d.family_hash, ''),
                   'day', d.day, 'opened', d.opened, 'closed', d.closed, 'reopened', d.reopened, 'open', d.open,
                   'new_families', CASE d.family_hash WHEN '' THEN d.new_families END,
                   'row_version', d.row_version)) AS source
        FROM daily_counts d
        JOIN repositories r ON r.key = d.repository_key
    """,
    # As in 0005, and what became of the item since: its history, its vanishing, what a person said of the answer.
    "classification_documents": """
        SELECT a.item_id, a.task, a.applies, i.row_version,
               i.repository_key || '-' || i.kind || '-' || i.external_id || '-' || a.task AS document_id,
               json_strip_nulls(json_build_object(
                   'repository_id', i.repository_key, 'repository', r.full_name,
                   'owner', split_part(r.full_name, '/', 1), 'kind', i.kind,
                   'number', i.external_id, 'title', i.title, 'url', i.url, 'state', i.state,
                   'state_reason', i.state_reason, 'author', i.author, 'author_type', i.author_type,
                   'author_association', i.author_association, 'labels', i.labels, 'comments', i.comments,
                   'created_at', i.created_at, 'updated_at', i.updated_at, 'closed_at', i.closed_at,
                   'first_closed_at', h.first_closed_at, 'reopened', h.reopened,
                   'first_seen_at', i.first_seen_at,
                   -- Of the years that a date can have in an index.
                   'last_seen_at', CASE WHEN i.row_version < 253402300800000000
                                        THEN to_timestamp(i.row_version / 1000000.0) END,
                   'hours_to_close', CASE WHEN i.state = 'closed' THEN round((extract(
                       epoch FROM coalesce(h.open_for, i.closed_at - i.created_at)) / 3600)::numeric, 2) END,
                   'task', a.task, 'task_version', a.task_version, 'answer', a.answer, 'categories', a.categories,
                   'primary_category', CASE a.answer WHEN 'answered' THEN a.categories[1]
                                                     WHEN 'unclassified' THEN 'unclassified' ELSE 'abstained' END,
                   'confidence', coalesce(a.calibrated_confidences[1], a.confidences[1]),
                   'confidence_given', a.confidences[1],
                   'calibrated', CASE WHEN cardinality(a.confidences) > 0
                                      THEN a.calibrated_confidences IS NOT NULL END,
                   'rationale', a.rationale, 'classifier', a.classifier,
                   'model', a.model, 'prompt_version', a.prompt_version, 'classified_at', a.classified_at,
                   'overridden', a.overridden, 'reviewed', p.categories IS NOT NULL,
                   'agreed', CASE WHEN p.categories IS NOT NULL AND g.outcome <> 'unclassified'
                                  THEN ARRAY(SELECT unnest(p.categories) ORDER BY 1)
                                       = ARRAY(SELECT unnest(g.categories) ORDER BY 1) END,
                   'category_given', CASE WHEN p.categories IS NOT NULL THEN
                       CASE g.outcome WHEN 'answered' THEN g.categories[1]
                                      WHEN 'unclassified' THEN 'unclassified' ELSE 'abstained' END END,
                   'classifier_given', CASE WHEN p.categories IS NOT NULL THEN g.classifier END,
                   'text_hash', a.text_hash, 'family_hash', a.family_hash,
                   'rules_version', substring(a.text_hash FROM '^([0-9]{1,4}):')::int,
                   'near_count', n.near_count, 'near_of', n.near_of,
                   'vanished', NOT a.applies,
                   'vanished_reason', CASE WHEN NOT a.applies THEN coalesce(i.tombstone, 'not_applicable') END,
                   'vanished_at', i.tombstoned_at,
                   'row_version', i.row_version)) AS source
        FROM item_answers a
        JOIN items i ON i.id = a.item_id
        JOIN repositories r ON r.key = i.repository_key
        LEFT JOIN near_items n ON n.item_id = a.item_id
        CROSS JOIN LATERAL (
            SELECT min(c.at) FILTER (WHERE c.kind = 'closed') AS first_closed_at,
                   count(*) FILTER (WHERE c.kind = 'reopened') AS reopened,
                   sum(c.at - c.open_since) FILTER (WHERE c.kind = 'closed') AS open_for
            FROM (SELECT k.kind, k.at, lag(k.at, 1, i.created_at) OVER (ORDER BY k.at, k.id) AS open_since
                  FROM state_changes k WHERE k.item_id = i.id) AS c) AS h
        -- What a person said of the text as it is: an override, or else the newest review.
        LEFT JOIN LATERAL (
            SELECT category_ids(m.task, m.categories) AS categories FROM annotations m
            WHERE m.item_id = a.item_id AND m.task = a.task AND m.withdrawn_at IS NULL
                  AND (m.role = 'override' OR coalesce(m.text_hash, a.text_hash) = a.text_hash
                       OR EXISTS (SELECT FROM text_aliases f JOIN texts x ON x.id = f.text_id
                                  WHERE f.former_hash = m.text_hash AND x.text_hash = a.text_hash))
            ORDER BY m.role = 'override' DESC, m.id DESC LIMIT 1) AS p ON true
        -- The classifier's own answer, which an override covers.
        CROSS JOIN LATERAL (
            SELECT a.answer AS outcome, a.categories, a.classifier WHERE NOT a.overridden
            UNION ALL
            SELECT coalesce(k.outcome, 'unclassified'), coalesce(category_ids(a.task, k.categories), '{}'), k.classifier
            FROM (SELECT t.input FROM current_tasks t WHERE t.name = a.task) AS t
            JOIN item_texts it ON it.item_id = a.item_id AND it.input = t.input
            LEFT JOIN current_answers k ON k.text_id = it.text_id AND k.task = a.task
            WHERE a.overridden) AS g
    """,
    "run_summary": """
        SELECT id AS run_id, command, started_at, ended_at, status, repositories, tasks, classifier, model,
               items_read, items_new, items_changed, texts_new, texts_asked, documents_written, dead_letters, api_calls,
               input_tokens, cache_write_tokens, cache_read_tokens, output_tokens, cost_usd, error,
               items_vanished, items_returned, sweep_calls, waited_seconds, rate_limit_left, texts_inherited,
               texts_local, texts_submitted, texts_collected, redactions,
               texts_waiting, texts_in_batches, documents_waiting, documents_refused,
               cost_batch_usd, cost_audit_usd, cost_trial_usd
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
                   'items_skipped', items_skipped,
                   'items_vanished', items_vanished, 'items_returned', items_returned,
                   'texts_new', texts_new, 'texts_asked', texts_asked, 'texts_failed', texts_failed,
                   'texts_inherited', texts_inherited,
                   'texts_local', texts_local, 'texts_submitted', texts_submitted, 'texts_collected', texts_collected,
                   'texts_waiting', texts_waiting, 'texts_in_batches', texts_in_batches,
                   'redactions', redactions, 'documents_written', documents_written,
                   'documents_waiting', documents_waiting,
                   'dead_letters', dead_letters, 'documents_refused', documents_refused,
                   'api_calls', api_calls, 'sweep_calls', sweep_calls,
                   'waited_seconds', waited_seconds, 'rate_limit_left', rate_limit_left, 'input_tokens', input_tokens,
                   'cache_write_tokens', cache_write_tokens, 'cache_read_tokens', cache_read_tokens,
                   'prompt_tokens', input_tokens + cache_write_tokens + cache_read_tokens,
                   'cache_hit_rate', round(cache_read_tokens::numeric
                       / nullif(input_tokens + cache_write_tokens + cache_read_tokens, 0), 4),
                   'output_tokens', output_tokens, 'cost_usd', cost_usd::float8,
                   'cost_batch_usd', cost_batch_usd::float8, 'cost_audit_usd', cost_audit_usd::float8,
                   'cost_trial_usd', cost_trial_usd::float8, 'error', error,
                   'row_version', (extract(epoch FROM ended_at) * 1000000)::bigint)) AS source
        FROM runs WHERE ended_at IS NOT NULL
    """,
}
"""Views by name, each after those it reads: new ones, and those of earlier revisions that changed."""


def upgrade() -> None:
    """Goes up."""
    comment = "when a run last found it behind its alias; null: it is being filled"
    op.add_column("sinks", sa.Column("last_met_at", sa.DateTime(timezone=True), nullable=True, comment=comment))
    op.execute("UPDATE sinks SET last_met_at = first_seen_at")
    _widen_counts()
    for name, query in VIEWS.items():
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
    # What the documents show is more than it was, so all are written once more, in the versions that they have.
    op.execute("UPDATE exports SET row_version = 0")


def _widen_counts() -> None:
    op.create_table_comment(
        "daily_counts",
        "what daily documents are made of, as last computed, so that only days that changed are sent",
        existing_comment="category_daily as last computed for export, so that only days that changed are sent",
    )
    family = sa.Column("family_hash", sa.Text(), server_default="", nullable=False, comment="'': of all families")
    op.add_column("daily_counts", family)
    for name in ("reopened", "new_families"):
        op.add_column("daily_counts", sa.Column(name, sa.Integer(), server_default="0", nullable=False))
    op.drop_constraint(op.f("pk_daily_counts"), "daily_counts")
    op.create_primary_key(
        op.f("pk_daily_counts"), "daily_counts", ["repository_key", "task", "category", "day", "family_hash"]
    )
    for name, comment in RUN_COUNTERS.items():
        op.add_column("runs", sa.Column(name, sa.Integer(), nullable=True, comment=comment))
    for name, comment in RUN_DOLLARS.items():
        dollars = sa.Numeric(precision=14, scale=8)
        op.add_column("runs", sa.Column(name, dollars, server_default="0", nullable=False, comment=comment))


RUN_COUNTERS = {
    "texts_waiting": "still without an answer at the end; null: nobody was asked",
    "texts_in_batches": "of these in batches under way",
    "documents_waiting": "that a sink still lacked at the end; null: not counted",
    "documents_refused": "that stood refused at the end, of whichever run",
}
RUN_DOLLARS = {
    "cost_batch_usd": "of `cost_usd`, answers that came in batches",
    "cost_audit_usd": "of `cost_usd`, answers that measure others",
    "cost_trial_usd": "of `cost_usd`, answers of comparisons",
}


def downgrade() -> None:
    """Goes down again. Counts of families are lost."""
    before = [runpy.run_path(str(path))["VIEWS"] for path in sorted(Path(__file__).parent.glob("000[12345]_*.py"))]
    for views in (*before, VIEWS):
        for name in views:
            op.execute(f"DROP VIEW IF EXISTS {name} CASCADE")
    op.drop_column("sinks", "last_met_at")
    for name in (*RUN_COUNTERS, *RUN_DOLLARS):
        op.drop_column("runs", name)
    op.execute("DELETE FROM daily_counts WHERE family_hash <> ''")
    op.drop_constraint(op.f("pk_daily_counts"), "daily_counts")
    op.create_primary_key(op.f("pk_daily_counts"), "daily_counts", ["repository_key", "task", "category", "day"])
    for name in ("family_hash", "reopened", "new_families"):
        op.drop_column("daily_counts", name)
    op.create_table_comment(
        "daily_counts", "category_daily as last computed for export, so that only days that changed are sent"
    )
    for views in before:
        for name, query in views.items():
            op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
