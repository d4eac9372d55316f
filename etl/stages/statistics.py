"""Between the stages: tells PostgreSQL's planner of tables that have just grown or changed much."""

from etl.db.queries import maintenance
from etl.db.store import Store
from etl.stages.base import Tally

_MANY_ROWS = 1000


def update_statistics(store: Store, tally: Tally) -> None:
    """Analyzes the tables that have changed much since they were last analyzed.

    PostgreSQL's own daemon looks once a minute; until then it plans for empty tables, and a view over 20,000 new issues
    takes half a minute instead of a tenth of a second.
    """
    if store.dry_run:
        # What a transaction changed is not counted until it is committed, which this one never is.
        if tally.counts["items_new"] + tally.counts["texts_asked"] >= _MANY_ROWS:
            with store.transaction() as connection:
                maintenance.analyze_tables(connection, maintenance.TABLES)
        return
    with store.transaction() as connection:
        maintenance.flush_statistics(connection)
    with store.transaction() as connection:
        maintenance.analyze_tables(connection, maintenance.select_changed_tables(connection, _MANY_ROWS))
