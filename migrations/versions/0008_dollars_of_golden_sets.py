"""Dollars per day with those of golden sets, whose answers are in no ledger.

Revision: 0008, after 0007.
"""

import runpy
from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


VIEWS: dict[str, str] = {
    # Of every purpose: trials and audits cost like other answers. What `evaluate` asks is in the record of its run
    # alone, and that of no other run is added: theirs are in the ledger already.
    "spending_daily": """
        SELECT (created_at AT TIME ZONE 'UTC')::date AS day, task, classifier, model,
               CASE WHEN batch_id IS NULL THEN 'sync' ELSE 'batch' END AS executor, purpose, count(*) AS answers,
               sum(input_tokens) AS input_tokens, sum(cache_write_tokens) AS cache_write_tokens,
               sum(cache_read_tokens) AS cache_read_tokens, sum(output_tokens) AS output_tokens,
               sum(cost_usd) AS cost_usd
        FROM classifications
        WHERE input_tokens + cache_write_tokens + cache_read_tokens + output_tokens > 0
        GROUP BY 1, 2, 3, 4, 5, 6
        UNION ALL
        SELECT (started_at AT TIME ZONE 'UTC')::date, tasks[1], classifier, coalesce(model, ''), 'sync', 'golden',
               sum(texts_asked), sum(input_tokens)::bigint, sum(cache_write_tokens)::bigint,
               sum(cache_read_tokens)::bigint, sum(output_tokens)::bigint, sum(cost_usd)
        FROM runs
        WHERE command LIKE 'issuetide evaluate%'
              AND input_tokens + cache_write_tokens + cache_read_tokens + output_tokens > 0
        GROUP BY 1, 2, 3, 4
    """,
}
"""Views by name: those of earlier revisions that changed."""


def upgrade() -> None:
    """Goes up."""
    for name, query in VIEWS.items():
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")


def downgrade() -> None:
    """Goes down again."""
    before = runpy.run_path(str(Path(__file__).with_name("0005_batches_caps_and_quality.py")))["VIEWS"]
    for name in VIEWS:
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {before[name]}")
