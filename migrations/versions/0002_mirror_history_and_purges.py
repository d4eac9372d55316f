"""What a true mirror needs: history, links, sweeps, vanished and purged items, dead letters of fetching.

Revision: 0002, after 0001.
"""

import runpy
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


VIEWS = {
    # (item, task) pairs: whatever a tracked task could be asked of, and whether it is asked of it now. What was purged
    # is in no pair any more.
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
             AND i.tombstone IS DISTINCT FROM 'purged'
    """,
    # Several sources may tell of one change (two states that were seen, the timeline, an archive): in order of time
    # only what differs from the state before it is a change. Items begin open.
    "state_changes": """
        SELECT id, item_id, kind, at, source
        FROM (SELECT e.*, lag(e.kind, 1, 'reopened') OVER (PARTITION BY e.item_id ORDER BY e.at, e.id) AS kind_before
              FROM item_events e WHERE e.kind IN ('closed', 'reopened')) AS s
        WHERE kind <> kind_before
    """,
    "label_changes": """
        SELECT id, item_id, kind, label, at, source
        FROM (SELECT e.*, lag(e.kind) OVER (PARTITION BY e.item_id, e.label ORDER BY e.at, e.id) AS kind_before
              FROM item_events e WHERE e.kind IN ('labeled', 'unlabeled')) AS s
        WHERE kind IS DISTINCT FROM kind_before
    """,
    "daily_totals": """
        WITH answered AS MATERIALIZED (
            SELECT i.id AS item_id, i.repository_key, a.task, u.category, i.created_at
            FROM item_answers a
            JOIN items i ON i.id = a.item_id AND i.kind = 'issue'
            CROSS JOIN LATERAL unnest(CASE a.answer WHEN 'answered' THEN a.categories
                                                    WHEN 'unclassified' THEN ARRAY['unclassified']
                                                    ELSE ARRAY['abstained'] END) AS u (category)
            WHERE a.applies
        ), events AS (
            SELECT repository_key, task, category, (at AT TIME ZONE 'UTC')::date AS day,
                   count(*) FILTER (WHERE kind = 'opened')::int AS opened,
                   count(*) FILTER (WHERE kind = 'closed')::int AS closed,
                   count(*) FILTER (WHERE kind = 'reopened')::int AS reopened
            FROM (SELECT repository_key, task, category, created_at AS at, 'opened' AS kind FROM answered
                  UNION ALL
                  SELECT a.repository_key, a.task, a.category, c.at, c.kind
                  FROM answered a JOIN state_changes c ON c.item_id = a.item_id) AS e
            GROUP BY 1, 2, 3, 4
        ), grid AS (
            SELECT s.repository_key, s.task, s.category, d::date AS day
            FROM (SELECT repository_key, task, category, min(day) AS first_day FROM events GROUP BY 1, 2, 3) AS s
            CROSS JOIN LATERAL generate_series(s.first_day::timestamp, (now() AT TIME ZONE 'UTC')::date::timestamp,
                                               interval '1 day') AS d
        ), filled AS (
            -- Not a join of grid and events: PostgreSQL plans that without the day, thirty times as slow.
            SELECT repository_key, task, category, day, sum(opened)::int AS opened, sum(closed)::int AS closed,
                   sum(reopened)::int AS reopened
            FROM (SELECT repository_key, task, category, day, opened, closed, reopened FROM events
                  UNION ALL SELECT repository_key, task, category, day, 0, 0, 0 FROM grid) AS f
            GROUP BY repository_key, task, category, day
        )
        SELECT repository_key, task, category, day, opened, closed,
               (sum(opened + reopened - closed)
                    OVER (PARTITION BY repository_key, task, category ORDER BY day))::int AS open,
               reopened
        FROM filled
    """,
    "category_daily": """
        SELECT r.full_name AS repository, t.task, t.category, t.day, t.opened, t.closed, t.open, t.reopened
        FROM daily_totals t
        JOIN repositories r ON r.key = t.repository_key
    """,
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
        ), filled AS (
            SELECT repository_key, day, sum(opened)::int AS opened, sum(closed)::int AS closed,
                   sum(reopened)::int AS reopened
            FROM (SELECT * FROM events
                  UNION ALL
                  SELECT s.repository_key, d::date, 0, 0, 0
                  FROM (SELECT repository_key, min(day) AS first_day FROM events GROUP BY 1) AS s
                  CROSS JOIN LATERAL generate_series(s.first_day::timestamp,
                                                     (now() AT TIME ZONE 'UTC')::date::timestamp,
                                                     interval '1 day') AS d) AS f
            GROUP BY 1, 2
        )
        SELECT r.full_name AS repository, f.day, f.opened, f.closed, f.reopened,
               (sum(f.opened + f.reopened - f.closed) OVER (PARTITION BY f.repository_key ORDER BY f.day))::int AS open
        FROM filled f
        JOIN repositories r ON r.key = f.repository_key
    """,
    "issue_events": """
        SELECT r.full_name AS repository, i.external_id AS number, e.kind AS event, e.label, e.at, e.source
        FROM (SELECT item_id, kind, NULL AS label, at, source FROM state_changes
              UNION ALL SELECT item_id, kind, label, at, source FROM label_changes) AS e
        JOIN items i ON i.id = e.item_id AND i.kind = 'issue' AND i.tombstone IS NULL
        JOIN repositories r ON r.key = i.repository_key
    """,
    "issue_times": """
        SELECT r.full_name AS repository, i.external_id AS number, i.state, i.created_at,
               s.first_closed_at, i.closed_at, coalesce(s.reopened, 0) AS reopened,
               CASE WHEN i.state = 'closed'
                    THEN round((extract(epoch FROM s.open_for) / 3600)::numeric, 2) END AS hours_to_close
        FROM items i
        JOIN repositories r ON r.key = i.repository_key
        LEFT JOIN (
            SELECT c.item_id, min(c.at) FILTER (WHERE c.kind = 'closed') AS first_closed_at,
                   (count(*) FILTER (WHERE c.kind = 'reopened'))::int AS reopened,
                   sum(c.at - c.open_since) FILTER (WHERE c.kind = 'closed') AS open_for
            FROM (SELECT k.*, lag(k.at, 1, o.created_at) OVER (PARTITION BY k.item_id ORDER BY k.at, k.id) AS open_since
                  FROM state_changes k JOIN items o ON o.id = k.item_id) AS c
            GROUP BY c.item_id
        ) AS s ON s.item_id = i.id
        WHERE i.kind = 'issue' AND i.tombstone IS NULL
    """,
    "pull_requests": """
        SELECT r.full_name AS repository, i.external_id AS number, i.title, i.body,
               CASE WHEN i.merged_at IS NOT NULL THEN 'merged' ELSE i.state END AS status, i.author,
               i.author_association, i.labels, i.assignees, i.comments, i.created_at, i.updated_at, i.closed_at,
               i.merged_at, i.url,
               ARRAY(SELECT l.repository || '#' || l.number FROM item_links l
                     WHERE l.item_id = i.id AND l.kind = 'fixes' ORDER BY 1) AS fixes
        FROM items i
        JOIN repositories r ON r.key = i.repository_key
        WHERE i.kind = 'pull_request' AND i.tombstone IS NULL
    """,
    "vanished_items": """
        SELECT r.full_name AS repository, i.external_id AS number, i.kind, i.title, i.tombstone AS reason,
               (SELECT l.repository || '#' || l.number FROM item_links l
                WHERE l.item_id = i.id AND l.kind = 'transferred_to' LIMIT 1) AS moved_to,
               i.tombstoned_at AS noticed_at, p.reason AS purged_why
        FROM items i
        JOIN repositories r ON r.key = i.repository_key
        LEFT JOIN purges p ON p.item_id = i.id
        WHERE i.kind <> 'comment' AND i.tombstone IS NOT NULL
    """,
    "run_summary": """
        SELECT id AS run_id, command, started_at, ended_at, status, repositories, tasks, classifier, model,
               items_read, items_new, items_changed, texts_new, texts_asked, documents_written, dead_letters, api_calls,
               input_tokens, cache_write_tokens, cache_read_tokens, output_tokens, cost_usd, error,
               items_vanished, items_returned, sweep_calls, waited_seconds, rate_limit_left
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
                   'texts_new', texts_new, 'texts_asked', texts_asked, 'documents_written', documents_written,
                   'dead_letters', dead_letters, 'api_calls', api_calls, 'sweep_calls', sweep_calls,
                   'waited_seconds', waited_seconds, 'rate_limit_left', rate_limit_left, 'input_tokens', input_tokens,
                   'cache_write_tokens', cache_write_tokens, 'cache_read_tokens', cache_read_tokens,
                   'output_tokens', output_tokens, 'cost_usd', cost_usd::float8, 'error', error,
                   'row_version', (extract(epoch FROM ended_at) * 1000000)::bigint)) AS source
        FROM runs WHERE ended_at IS NOT NULL
    """,
}
"""Views by name, each after those it reads: new ones, and those of 0001 that changed (columns only join at the end)."""


UNSAMPLED = (
    ("item_events", "label"),
    ("item_links", "repository"),
    ("rejected_items", "line"),
    ("rejected_items", "payload"),
    ("dead_letters", "reason"),
)
"""Columns with words of items, in tables that a purge may leave without any row, which nothing is searched by."""


def upgrade() -> None:
    """Goes up."""
    op.create_table(
        "deletions",
        sa.Column("document_id", sa.Text(), nullable=False),
        sa.Column("row_version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("document_id", name=op.f("pk_deletions")),
        comment="documents that every sink which holds them must delete",
    )
    op.create_table(
        "rejected_items",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("repository_key", sa.BigInteger(), nullable=False),
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False, comment="of the payload: the same object is kept once"),
        sa.Column("kind", sa.Text(), nullable=True, comment="of the object, where it says so; likewise its number"),
        sa.Column("external_id", sa.BigInteger(), nullable=True),
        sa.Column("line", sa.Text(), nullable=False, comment="what is wrong with it"),
        sa.Column("payload", sa.LargeBinary(), nullable=False, comment="the object as received"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["repository_key"], ["repositories.key"], name=op.f("fk_rejected_items_repository_key_repositories")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rejected_items")),
        sa.UniqueConstraint(
            "source", "repository_key", "digest", name=op.f("uq_rejected_items_source_repository_key_digest")
        ),
        comment="dead letters of fetching: objects that a cursor went past although they could not be used",
    )
    op.create_table(
        "sweeps",
        sa.Column("repository_key", sa.BigInteger(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="of the round under way, or the last",
        ),
        sa.Column(
            "position", sa.Text(), nullable=True, comment="where the walk goes on: opaque to everyone but the source"
        ),
        sa.Column("walked_at", sa.DateTime(timezone=True), nullable=True, comment="when the walk had shown every item"),
        sa.Column(
            "finished_at", sa.DateTime(timezone=True), nullable=True, comment="when nothing was left to ask again"
        ),
        sa.Column(
            "comments_started_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="of the walk over all comments under way, or the last",
        ),
        sa.Column(
            "comments_position",
            sa.Text(),
            nullable=True,
            comment="where that walk goes on: opaque to everyone but the source",
        ),
        sa.Column(
            "comments_walked_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it had shown every comment",
        ),
        sa.ForeignKeyConstraint(
            ["repository_key"], ["repositories.key"], name=op.f("fk_sweeps_repository_key_repositories")
        ),
        sa.PrimaryKeyConstraint("repository_key", "filter", name=op.f("pk_sweeps")),
    )
    op.create_table(
        "item_checks",
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "checked_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when a sweep last saw the item at its source",
        ),
        sa.Column(
            "comments_checked_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when a sweep last read all its comments",
        ),
        sa.Column(
            "history_of",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="updated_at of the state whose timeline was read",
        ),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_item_checks_item_id_items"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_item_checks")),
        comment="what the rolling sweep knows of an item, apart from it so that a sweep rewrites no item",
    )
    op.create_table(
        "item_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column(
            "source",
            sa.Text(),
            nullable=False,
            comment="observed: from two states that were seen; its time may be late",
        ),
        sa.Column("external_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("kind IN ('closed', 'reopened', 'labeled', 'unlabeled')", name=op.f("ck_item_events_kind")),
        sa.CheckConstraint("source IN ('observed', 'timeline', 'archive')", name=op.f("ck_item_events_source")),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_item_events_item_id_items"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_item_events")),
        comment="changes of state and labels; what several sources tell of one is merged by the view state_changes",
    )
    op.create_index("ix_item_events_item_id_at", "item_events", ["item_id", "at"], unique=False)
    op.create_index(
        "ix_item_events_estimates",
        "item_events",
        ["item_id"],
        unique=False,
        postgresql_where=sa.text("kind = 'reopened' AND source = 'observed'"),
    )
    op.create_index(
        "ix_items_vanished",
        "items",
        ["repository_key"],
        unique=False,
        postgresql_where=sa.text("tombstone IS NOT NULL"),
    )
    op.create_index(
        "uq_item_events_item_id_external_id",
        "item_events",
        ["item_id", "external_id"],
        unique=True,
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_table(
        "item_links",
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("repository", sa.Text(), nullable=False, comment="owner/name of the other item"),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('fixes', 'transferred_to')", name=op.f("ck_item_links_kind")),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_item_links_item_id_items"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("item_id", "kind", "repository", "number", name=op.f("pk_item_links")),
    )
    op.create_table(
        "purges",
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("purged_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["item_id"], ["items.id"], name=op.f("fk_purges_item_id_items"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_purges")),
        comment="items that a person had erased, and why; their rows are stubs that no fetch fills again",
    )
    op.create_table(
        "former_texts",
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("text_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_former_texts_item_id_items"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["text_id"], ["texts.id"], name=op.f("fk_former_texts_text_id_texts")),
        sa.PrimaryKeyConstraint("item_id", "text_id", name=op.f("pk_former_texts")),
        comment="texts that an item had before it was edited: a purge erases these as well",
    )
    op.create_index("ix_former_texts_text_id", "former_texts", ["text_id"], unique=False)
    op.add_column(
        "cursors",
        sa.Column(
            "read_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the list was last read to its end",
        ),
    )
    op.add_column(
        "items", sa.Column("merged_at", sa.DateTime(timezone=True), nullable=True, comment="of a pull request")
    )
    op.add_column(
        "repositories",
        sa.Column(
            "reach", sa.Text(), server_default="ok", nullable=False, comment="how the source answered when last asked"
        ),
    )
    op.add_column(
        "repositories",
        sa.Column("reach_since", sa.DateTime(timezone=True), nullable=True, comment="since when it answers so"),
    )
    op.add_column("runs", sa.Column("items_vanished", sa.Integer(), server_default="0", nullable=False))
    op.add_column(
        "runs",
        sa.Column(
            "items_returned", sa.Integer(), server_default="0", nullable=False, comment="vanished ones that are back"
        ),
    )
    op.add_column("runs", sa.Column("sweep_calls", sa.Integer(), server_default="0", nullable=False))
    op.add_column(
        "runs",
        sa.Column(
            "waited_seconds",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="for limits and failures of GitHub",
        ),
    )
    op.add_column(
        "runs",
        sa.Column("rate_limit_left", sa.Integer(), nullable=True, comment="calls that GitHub still allowed at the end"),
    )
    op.create_check_constraint(
        op.f("ck_repositories_reach"), "repositories", "reach IN ('ok', 'issues_disabled', 'out_of_reach')"
    )
    op.execute("UPDATE cursors SET read_at = updated_at")
    # What the planner samples of a column is words of its rows, and stays when all of them are purged. (The type is as
    # it was: saying so forgets what was sampled.)
    op.execute("ALTER TABLE dead_letters ALTER COLUMN reason TYPE text")
    for table, column in UNSAMPLED:
        op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} SET STATISTICS 0")
    # What is stored closed was closed when GitHub said so; when else it was closed and reopened is not known.
    op.execute(
        "INSERT INTO item_events (item_id, kind, at, source)"
        " SELECT id, 'closed', coalesce(closed_at, updated_at), 'observed' FROM items"
        " WHERE kind <> 'comment' AND state = 'closed'"
    )
    op.execute(
        "UPDATE items SET merged_at = (payload::json #>> '{pull_request,merged_at}')::timestamptz"
        " WHERE kind = 'pull_request'"
    )
    for name, query in VIEWS.items():
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")


def downgrade() -> None:
    """Goes down again. History, links, purges and kept dead letters of fetching are lost."""
    before = runpy.run_path(str(Path(__file__).with_name("0001_first_tables_and_views.py")))["VIEWS"]
    for name in reversed({**before, **VIEWS}):
        op.execute(f"DROP VIEW IF EXISTS {name} CASCADE")
    op.drop_column("runs", "rate_limit_left")
    op.drop_column("runs", "waited_seconds")
    op.drop_column("runs", "sweep_calls")
    op.drop_column("runs", "items_returned")
    op.drop_column("runs", "items_vanished")
    op.drop_column("repositories", "reach_since")
    op.drop_constraint(op.f("ck_repositories_reach"), "repositories", type_="check")
    op.drop_column("repositories", "reach")
    op.drop_column("items", "merged_at")
    op.drop_column("cursors", "read_at")
    op.execute("ALTER TABLE dead_letters ALTER COLUMN reason SET STATISTICS -1")
    op.drop_index("ix_former_texts_text_id", table_name="former_texts")
    op.drop_table("former_texts")
    op.drop_table("purges")
    op.drop_table("item_links")
    op.drop_index(
        "uq_item_events_item_id_external_id",
        table_name="item_events",
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.drop_index("ix_item_events_item_id_at", table_name="item_events")
    op.drop_index("ix_item_events_estimates", table_name="item_events")
    op.drop_index("ix_items_vanished", table_name="items")
    op.drop_table("item_events")
    op.drop_table("item_checks")
    op.drop_table("sweeps")
    op.drop_table("rejected_items")
    op.drop_table("deletions")
    for name, query in before.items():
        op.execute(f"CREATE VIEW {name} AS {query}")
