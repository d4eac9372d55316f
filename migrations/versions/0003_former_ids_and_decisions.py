"""Ids of earlier rules, and what people decided of texts.

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


VIEWS = {
    # Where a text counts as another by what people said: the text at the end of the chain. The command refuses
    # cycles; UNION ends one all the same.
    "alias_targets": """
        WITH RECURSIVE active AS (
            SELECT text_id, target_id FROM text_decisions WHERE kind = 'alias' AND withdrawn_at IS NULL
        ), chain AS (
            SELECT text_id, target_id FROM active
            UNION
            SELECT c.text_id, a.target_id FROM chain c JOIN active a ON a.text_id = c.target_id
        )
        SELECT text_id, min(target_id) AS target_id FROM chain
        WHERE target_id NOT IN (SELECT text_id FROM active) GROUP BY text_id
    """,
    # Every id that a text has or had, with the one it is to be found under today.
    "text_ids": """
        SELECT n.text_hash, n.input, x.text_hash AS current_hash, x.family_hash, n.known_as,
               (SELECT count(*) FROM item_texts it WHERE it.text_id = x.id) AS items, x.id AS text_id
        FROM (SELECT t.text_hash, t.input, coalesce(a.target_id, t.id) AS text_id,
                     CASE WHEN a.target_id IS NULL THEN 'current' ELSE 'alias' END AS known_as
              FROM texts t LEFT JOIN alias_targets a ON a.text_id = t.id
              WHERE NOT starts_with(t.text_hash, 'purged ')
              UNION ALL
              SELECT f.former_hash, f.input, coalesce(a.target_id, f.text_id), 'former'
              FROM text_aliases f LEFT JOIN alias_targets a ON a.text_id = f.text_id) AS n
        JOIN texts x ON x.id = n.text_id
    """,
    # A conflict is over when a person says so, or when another answer than the one it is about counts.
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
                  ORDER BY array_position(ARRAY['claude', 'local', 'rules'], n.classifier), n.task_version DESC,
                           n.id DESC
                  LIMIT 1)
    """,
}
"""Views by name, each after those it reads. docs/sql.md promises `text_ids` to users."""


def upgrade() -> None:
    """Goes up."""
    op.create_index("ix_texts_rules_version", "texts", ["rules_version", "id"], unique=False)
    op.create_table(
        "text_aliases",
        sa.Column("former_hash", sa.Text(), nullable=False),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("text_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["text_id"], ["texts.id"], name=op.f("fk_text_aliases_text_id_texts")),
        sa.PrimaryKeyConstraint("former_hash", "input", name=op.f("pk_text_aliases")),
        comment="ids that texts had under earlier rules, those of texts that became one with another included",
    )
    op.create_index("ix_text_aliases_text_id", "text_aliases", ["text_id"], unique=False)
    op.create_table(
        "text_decisions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("text_id", sa.BigInteger(), nullable=True, comment="of an alias: the text that counts as the other"),
        sa.Column("target_id", sa.BigInteger(), nullable=True, comment="of an alias: the text whose answers count"),
        sa.Column("item_id", sa.BigInteger(), nullable=True, comment="of a split: the item with its own text"),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("withdrawn_by", sa.Text(), nullable=True),
        sa.Column("withdrawn_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "kind = 'alias' AND text_id IS NOT NULL AND target_id IS NOT NULL AND item_id IS NULL"
            " OR kind = 'split' AND item_id IS NOT NULL AND text_id IS NULL AND target_id IS NULL",
            name=op.f("ck_text_decisions_kind"),
        ),
        sa.ForeignKeyConstraint(["text_id"], ["texts.id"], name=op.f("fk_text_decisions_text_id_texts")),
        sa.ForeignKeyConstraint(["target_id"], ["texts.id"], name=op.f("fk_text_decisions_target_id_texts")),
        sa.ForeignKeyConstraint(
            ["item_id"], ["items.id"], name=op.f("fk_text_decisions_item_id_items"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_text_decisions")),
        comment="what people said of texts: two are the same problem, or an item is not what the others of its text"
        " are",
    )
    for column in ("text_id", "target_id", "item_id"):
        op.create_index(f"ix_text_decisions_{column}", "text_decisions", [column], unique=False)
    op.create_table(
        "answer_conflicts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("text_id", sa.BigInteger(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("kept_id", sa.BigInteger(), nullable=False, comment="the answer that counts"),
        sa.Column("other_id", sa.BigInteger(), nullable=False, comment="the one that differs from it"),
        sa.Column("noticed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.Column("resolved_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["text_id"], ["texts.id"], name=op.f("fk_answer_conflicts_text_id_texts")),
        sa.ForeignKeyConstraint(
            ["kept_id"], ["classifications.id"], name=op.f("fk_answer_conflicts_kept_id_classifications")
        ),
        sa.ForeignKeyConstraint(
            ["other_id"], ["classifications.id"], name=op.f("fk_answer_conflicts_other_id_classifications")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answer_conflicts")),
        sa.UniqueConstraint("kept_id", "other_id", name=op.f("uq_answer_conflicts_kept_id_other_id")),
        comment="texts that became one under newer rules although their answers differ; neither answer is overwritten",
    )
    for column in ("text_id", "other_id"):
        op.create_index(f"ix_answer_conflicts_{column}", "answer_conflicts", [column], unique=False)
    # Reasons may quote an item, and what the planner samples of a column outlives a purge (as in migration 0002).
    for column in ("reason", "withdrawn_reason"):
        op.execute(f"ALTER TABLE text_decisions ALTER COLUMN {column} SET STATISTICS 0")
    op.execute("ALTER TABLE answer_conflicts ALTER COLUMN resolved_reason SET STATISTICS 0")
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def downgrade() -> None:
    """Goes down again. Former ids, decisions and conflicts are lost."""
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW {name}")
    op.drop_table("answer_conflicts")
    op.drop_table("text_decisions")
    op.drop_table("text_aliases")
    op.drop_index("ix_texts_rules_version", table_name="texts")
