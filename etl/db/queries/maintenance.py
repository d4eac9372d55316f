"""Statements that keep PostgreSQL's planner informed."""

from collections.abc import Sequence

from sqlalchemy import Connection, text

TABLES = ("items", "texts", "item_texts", "classifications", "exports", "daily_counts", "tracked_tasks", "tasks")
"""The tables that one run can fill from nothing, and the small ones they are joined with."""


def flush_statistics(connection: Connection) -> None:
    """Makes this connection's counts of changed rows known at the end of this transaction, not a second later."""
    connection.execute(text("SELECT pg_stat_force_next_flush()"))


def select_changed_tables(connection: Connection, at_least: int) -> list[str]:
    """Those of `TABLES` where at least that many rows, and a tenth of all, changed since they were last analyzed."""
    rows = connection.execute(
        text("""
            SELECT relname FROM pg_stat_user_tables
            WHERE relname = ANY (:tables) AND schemaname = current_schema()
              AND n_mod_since_analyze >= greatest(:at_least, n_live_tup / 10)
        """),
        {"tables": list(TABLES), "at_least": at_least},
    ).scalars()
    changed = list(rows)
    # The small ones never change much, but an estimate of 1,200 rows for one row spoils a plan as well.
    return [*changed, "tracked_tasks", "tasks"] if changed else []


def analyze_tables(connection: Connection, names: Sequence[str]) -> None:
    """Counts and samples these of `TABLES` for the planner."""
    for name in names:
        if name not in TABLES:
            raise ValueError(f"{name} is none of our tables")
        connection.execute(text(f"ANALYZE {name}"))
