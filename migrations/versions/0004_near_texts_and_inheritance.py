"""Near-duplicates, and answers inherited within a family.

Revision: 0004, after 0003.
"""

import runpy
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


VIEWS = {
    # The answer that counts, per text and task: claude before local before one that was inherited before rules, newest
    # task version, newest.
    "current_answers": """
        SELECT DISTINCT ON (text_id, task) *
        FROM classifications
        WHERE purpose = 'live' AND outcome IN ('answered', 'abstained', 'refused')
        ORDER BY text_id, task, array_position(ARRAY['claude', 'local', 'family', 'rules'], classifier),
                 task_version DESC, id DESC
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
            ORDER BY array_position(ARRAY['claude', 'local', 'family', 'rules'], k.classifier), k.task_version DESC,
                     k.id DESC
            LIMIT 1) AS c ON true
        LEFT JOIN LATERAL (
            SELECT * FROM annotations n
            WHERE n.item_id = ti.item_id AND n.task = ti.task AND n.role = 'override' AND n.withdrawn_at IS NULL
            ORDER BY n.id DESC LIMIT 1) AS o ON true
    """,
    "open_conflicts": """
        SELECT c.id, c.text_id, x.text_hash, x.input, c.task, k.categories AS kept, k.outcome AS kept_outcome,
               k.classifier AS kept_classifier, o.categories AS other, o.outcome AS other_outcome,
               o.classifier AS other_classifier, c.noticed_at
        FROM answer_conflicts c
        JOIN texts x ON x.id = c.text_id
        JOIN classifications k ON k.id = c.kept_id
        JOIN classifications o ON o.id = c.other_id
        WHERE c.resolved_at IS NULL
              AND c.kept_id = (
                  SELECT n.id FROM classifications n
                  WHERE n.text_id = c.text_id AND n.task = c.task
                        AND n.purpose = 'live' AND n.outcome IN ('answered', 'abstained', 'refused')
                  ORDER BY array_position(ARRAY['claude', 'local', 'family', 'rules'], n.classifier),
                           n.task_version DESC, n.id DESC
                  LIMIT 1)
    """,
    "run_summary": """
        SELECT id AS run_id, command, started_at, ended_at, status, repositories, tasks, classifier, model,
               items_read, items_new, items_changed, texts_new, texts_asked, documents_written, dead_letters, api_calls,
               input_tokens, cache_write_tokens, cache_read_tokens, output_tokens, cost_usd, error,
               items_vanished, items_returned, sweep_calls, waited_seconds, rate_limit_left, texts_inherited
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
                   'documents_written', documents_written,
                   'dead_letters', dead_letters, 'api_calls', api_calls, 'sweep_calls', sweep_calls,
                   'waited_seconds', waited_seconds, 'rate_limit_left', rate_limit_left, 'input_tokens', input_tokens,
                   'cache_write_tokens', cache_write_tokens, 'cache_read_tokens', cache_read_tokens,
                   'output_tokens', output_tokens, 'cost_usd', cost_usd::float8, 'error', error,
                   'row_version', (extract(epoch FROM ended_at) * 1000000)::bigint)) AS source
        FROM runs WHERE ended_at IS NOT NULL
    """,
    # Each pair both ways: whoever asks for the near ones of an issue finds them in one column.
    "near_duplicates": """
        SELECT r.full_name AS repository, i.external_id AS number, s.full_name AS other_repository,
               j.external_id AS other_number, p.score, i.title, j.title AS other_title,
               (j.created_at, j.id) < (i.created_at, i.id) AS other_is_older
        FROM (SELECT text_id, other_text_id, score FROM near_texts
              UNION ALL SELECT other_text_id, text_id, score FROM near_texts) AS p
        JOIN item_texts a ON a.text_id = p.text_id AND a.input = 'issue'
        JOIN items i ON i.id = a.item_id AND i.kind = 'issue' AND i.tombstone IS NULL
        JOIN repositories r ON r.key = i.repository_key
        JOIN item_texts b ON b.text_id = p.other_text_id AND b.input = 'issue'
        JOIN items j ON j.id = b.item_id AND j.kind = 'issue' AND j.tombstone IS NULL
        JOIN repositories s ON s.key = j.repository_key
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
                   'near_count', n.near_count, 'near_of', n.near_of,
                   'vanished', NOT a.applies,
                   'vanished_reason', CASE WHEN NOT a.applies THEN coalesce(i.tombstone, 'not_applicable') END,
                   'row_version', i.row_version)) AS source
        FROM item_answers a
        JOIN items i ON i.id = a.item_id
        JOIN repositories r ON r.key = i.repository_key
        LEFT JOIN near_items n ON n.item_id = a.item_id
    """,
}
"""Views by name, each after those it reads: a new one, and those of earlier revisions that changed."""


def upgrade() -> None:
    """Goes up."""
    _create_near_tables()
    _create_inheritance_tables()
    op.add_column("runs", sa.Column("texts_inherited", sa.Integer(), server_default="0", nullable=False))
    op.add_column(
        "classifications",
        sa.Column(
            "inherited_from",
            sa.BigInteger(),
            nullable=True,
            comment="of an answer by `family`: the answer, to a text of the same kin, that it repeats",
        ),
    )
    op.create_foreign_key(
        op.f("fk_classifications_inherited_from_classifications"),
        "classifications",
        "classifications",
        ["inherited_from"],
        ["id"],
    )
    op.create_index(
        "ix_classifications_inherited",
        "classifications",
        ["task", "text_id"],
        unique=False,
        postgresql_where=sa.text("inherited_from IS NOT NULL"),
    )
    op.drop_constraint(op.f("ck_classifications_purpose"), "classifications", type_="check")
    op.create_check_constraint(
        op.f("ck_classifications_purpose"), "classifications", "purpose IN ('live', 'trial', 'audit', 'withdrawn')"
    )
    for name, query in VIEWS.items():
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")


def _create_near_tables() -> None:
    op.create_table(
        "near_signatures",
        sa.Column("text_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, comment="etl.near.SIGNATURE_VERSION"),
        sa.Column("signature", sa.LargeBinary(), nullable=True, comment="null: too short to be compared"),
        sa.ForeignKeyConstraint(
            ["text_id"], ["texts.id"], name=op.f("fk_near_signatures_text_id_texts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("text_id", name=op.f("pk_near_signatures")),
        comment="MinHash signatures of long texts; made again from the text at any time",
    )
    op.create_table(
        "near_bands",
        sa.Column("band", sa.BigInteger(), nullable=False, comment="alike texts share some"),
        sa.Column("text_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["text_id"],
            ["near_signatures.text_id"],
            name=op.f("fk_near_bands_text_id_near_signatures"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("band", "text_id", name=op.f("pk_near_bands")),
        comment="where texts that may be near meet: sixteen rows per signature",
    )
    op.create_index("ix_near_bands_text_id", "near_bands", ["text_id"], unique=False)
    op.create_table(
        "near_texts",
        sa.Column("text_id", sa.BigInteger(), nullable=False),
        sa.Column("other_text_id", sa.BigInteger(), nullable=False, comment="the one that was stored before"),
        sa.Column("score", sa.Double(), nullable=False, comment="estimated share of common runs of three words"),
        sa.CheckConstraint("other_text_id < text_id", name=op.f("ck_near_texts_order")),
        sa.ForeignKeyConstraint(
            ["text_id"], ["texts.id"], name=op.f("fk_near_texts_text_id_texts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["other_text_id"], ["texts.id"], name=op.f("fk_near_texts_other_text_id_texts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("text_id", "other_text_id", name=op.f("pk_near_texts")),
        comment="pairs of long texts that are nearly the same: suggestions, never answers",
    )
    op.create_index("ix_near_texts_other_text_id", "near_texts", ["other_text_id"], unique=False)
    op.create_table(
        "near_items",
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("near_count", sa.Integer(), nullable=False),
        sa.Column("near_of", sa.Text(), nullable=True, comment="owner/name#number of the oldest near one before it"),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_near_items_item_id_items"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_near_items")),
        comment="what documents say of near issues, as last computed, so that a change raises the row version",
    )


def _create_inheritance_tables() -> None:
    op.create_table(
        "text_kin",
        sa.Column("text_id", sa.BigInteger(), nullable=False),
        sa.Column("rules_version", sa.SmallInteger(), nullable=False),
        sa.Column("kin", sa.Text(), nullable=True, comment="etl.dedup.guards.kin_hash; null: it says too little"),
        sa.ForeignKeyConstraint(["text_id"], ["texts.id"], name=op.f("fk_text_kin_text_id_texts"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("text_id", name=op.f("pk_text_kin")),
        comment="texts of families with several, by family and guards; made again from the text at any time",
    )
    op.create_index("ix_text_kin_kin", "text_kin", ["kin"], unique=False)
    op.create_table(
        "inheritance_audits",
        sa.Column("text_id", sa.BigInteger(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("inherited_from", sa.BigInteger(), nullable=False, comment="the answer it would have inherited"),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["text_id"], ["texts.id"], name=op.f("fk_inheritance_audits_text_id_texts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["inherited_from"],
            ["classifications.id"],
            name=op.f("fk_inheritance_audits_inherited_from_classifications"),
        ),
        sa.PrimaryKeyConstraint("text_id", "task", name=op.f("pk_inheritance_audits")),
        comment="texts that were asked about although they could have inherited: what would have been inherited",
    )


def downgrade() -> None:
    """Goes down again. Signatures, near pairs, inherited answers and audits are lost; inherited texts wait again."""
    before = [runpy.run_path(str(path))["VIEWS"] for path in sorted(Path(__file__).parent.glob("000[123]_*.py"))]
    for views in (*before, VIEWS):
        for name in views:
            op.execute(f"DROP VIEW IF EXISTS {name} CASCADE")
    op.drop_table("inheritance_audits")
    op.execute("DELETE FROM classifications WHERE inherited_from IS NOT NULL")
    op.drop_constraint(op.f("ck_classifications_purpose"), "classifications", type_="check")
    op.create_check_constraint(
        op.f("ck_classifications_purpose"), "classifications", "purpose IN ('live', 'trial', 'audit')"
    )
    op.drop_index(
        "ix_classifications_inherited",
        table_name="classifications",
        postgresql_where=sa.text("inherited_from IS NOT NULL"),
    )
    op.drop_constraint(op.f("fk_classifications_inherited_from_classifications"), "classifications", type_="foreignkey")
    op.drop_column("classifications", "inherited_from")
    op.drop_column("runs", "texts_inherited")
    op.drop_index("ix_text_kin_kin", table_name="text_kin")
    op.drop_table("text_kin")
    op.drop_table("near_items")
    op.drop_index("ix_near_texts_other_text_id", table_name="near_texts")
    op.drop_table("near_texts")
    op.drop_index("ix_near_bands_text_id", table_name="near_bands")
    op.drop_table("near_bands")
    op.drop_table("near_signatures")
    for views in before:
        for name, query in views.items():
            op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
