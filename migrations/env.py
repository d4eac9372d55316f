"""Alembic's entry: one connection, one transaction for all steps, a short lock timeout and one migration at a time."""

from alembic import context
from sqlalchemy import Connection, create_engine, text

from etl.db.connection import sqlalchemy_url
from etl.db.tables import metadata

MIGRATION_LOCK = 7_460_321_118
"""Advisory lock that a migration holds; any number that no other use of this database takes."""


def run_migrations(connection: Connection) -> None:
    """Runs the asked-for steps on `connection`, alone: a second migration waits for the first, five seconds a lock."""
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
    with context.begin_transaction():
        connection.execute(text("SET LOCAL lock_timeout = '5s'"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
        context.run_migrations()


handed_over = context.config.attributes.get("connection")
if handed_over is not None:
    run_migrations(handed_over)
else:
    from etl.settings import read_settings

    url = context.config.get_main_option("sqlalchemy.url")
    if not url:
        setting = read_settings().database_url
        if setting is None:
            raise SystemExit("set DATABASE_URL, or use `issuetide db upgrade` for the embedded PostgreSQL")
        url = setting.get_secret_value()
    with create_engine(sqlalchemy_url(url)).connect() as own_connection:
        run_migrations(own_connection)
        own_connection.commit()
