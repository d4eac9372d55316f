"""The structure's version: read it, compare it, bring it up. Alembic itself is imported only to change something."""

from pathlib import Path
from typing import TYPE_CHECKING, cast

from sqlalchemy import Connection, Engine, text

from etl.db.connection import open_engine, translated_errors
from etl.errors import ConfigurationError
from etl.resources import resource_folder

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0008"
"""The newest revision in `migrations/versions`; a test compares. Kept here because importing Alembic takes 0.25 s."""


def _config(connection: Connection | None = None) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(resource_folder("migrations"))))
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def current_revision(connection: Connection) -> str | None:
    """The revision this database is at; None for a database that was never set up."""
    exists = connection.execute(text("SELECT to_regclass('alembic_version') IS NOT NULL")).scalar_one()
    if not exists:
        return None
    return cast("str | None", connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none())


def check_schema(connection: Connection) -> None:
    """Passes if the database is at the revision that this release needs, and can hold every letter.

    Raises:
        ConfigurationError: outdated, newer, never set up, or of another encoding; says what to run.
    """
    _check_encoding(connection)
    revision = current_revision(connection)
    if revision == HEAD:
        return
    if revision is None:
        raise ConfigurationError("the database has no Issuetide tables yet; run `issuetide db upgrade`")
    _refuse_newer(revision)
    raise ConfigurationError(
        f"the database is at revision {revision}, this release needs {HEAD}; run `issuetide db upgrade`"
    )


def _check_encoding(connection: Connection) -> None:
    """Passes if the database takes every letter. The server told its encoding at the login: nothing is asked."""
    driver = connection.connection.driver_connection
    encoding = driver.info.parameter_status("server_encoding") if driver is not None else None
    if encoding not in {None, "UTF8"}:
        raise ConfigurationError(
            f"the encoding of database {connection.engine.url.database} is {encoding}, which lacks letters of the"
            " issues; make another one with ENCODING 'UTF8' TEMPLATE template0, name it in DATABASE_URL and run"
            " `issuetide db upgrade`"
        )


def _refuse_newer(revision: str) -> None:
    if revision > HEAD:
        raise ConfigurationError(
            f"the database is at revision {revision}, newer than this release ({HEAD}); install the newer issuetide"
        )


def upgrade_engine(engine: Engine, revision: str = "head") -> None:
    """Brings the database up to `revision`; harmless when it is there already.

    Raises:
        ConfigurationError: the server is older than PostgreSQL 15, the database cannot hold every letter, or its
            revision is none of this release's.
        UnavailableError: it cannot be reached.
    """
    from alembic import command
    from alembic.util import CommandError

    with translated_errors(engine), engine.begin() as connection:
        number = connection.execute(text("SELECT current_setting('server_version_num')::int")).scalar_one()
        if number < 150000:
            raise ConfigurationError(f"PostgreSQL {number // 10000} is too old; version 15 or newer is needed")
        _check_encoding(connection)
        stored = current_revision(connection)
        _refuse_newer(stored or "")
        try:
            command.upgrade(_config(connection), revision)
        except CommandError as error:
            raise ConfigurationError(
                f"the database's revision {stored} is unknown to this release ({error}); restore its backup,"
                " or name another database in DATABASE_URL"
            ) from None


def downgrade_engine(engine: Engine, revision: str) -> None:
    """Brings the database down to `revision` ('base' removes everything of ours, data included)."""
    from alembic import command

    with translated_errors(engine), engine.begin() as connection:
        command.downgrade(_config(connection), revision)


def upgrade(url: str) -> None:
    """Brings the database at `url` up to this release."""
    engine = open_engine(url)
    try:
        upgrade_engine(engine)
    finally:
        engine.dispose()
