"""Connections: one engine per process, made from the URL that people have, with errors a person can act on."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from etl.errors import ConfigurationError, UnavailableError

_MISCONFIGURED = {
    "28P01": "the password is wrong",
    "28000": "this user may not log in",
    "3D000": "that database does not exist",
    "42501": "this user lacks a permission there",
}
"""SQLSTATEs that a person must mend, and what they mean (PostgreSQL manual, appendix A)."""


def sqlalchemy_url(url: str) -> URL:
    """`url` for psycopg 3, whatever form it has: `postgres://` and `postgresql://` are what people are given.

    Raises:
        ConfigurationError: not a PostgreSQL URL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "DATABASE_URL is no URL; write postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from None
    if parsed.drivername.split("+")[0] not in {"postgres", "postgresql"}:
        raise ConfigurationError(
            f"DATABASE_URL begins with {parsed.drivername}://, but only PostgreSQL 15 or newer is supported"
        )
    return parsed.set(drivername="postgresql+psycopg")


def shown_url(url: str) -> str:
    """`url` without its password, for messages."""
    return sqlalchemy_url(url).set(drivername="postgresql").render_as_string(hide_password=True)


def open_engine(url: str) -> Engine:
    """An engine for `url`; nothing is connected yet.

    Statements are not prepared on the server, so that PgBouncer in transaction mode can stand in between. None is
    compiled either: PostgreSQL's JIT takes longer for our views than running them.
    """
    engine = create_engine(
        sqlalchemy_url(url),
        pool_size=4,
        connect_args={"connect_timeout": 10, "application_name": "issuetide", "prepare_threshold": None},
    )
    event.listen(engine, "connect", _switch_off_jit)
    return engine


def _switch_off_jit(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("SET jit = off")
    cursor.close()
    connection.commit()


@contextmanager
def translated_errors(engine: Engine) -> Iterator[None]:
    """Turns a lost or refused connection inside the block into an error that names the server and the way out."""
    try:
        yield
    except NoSuchModuleError as error:  # pragma: no cover - psycopg is a dependency
        raise ConfigurationError(f"the PostgreSQL driver is missing: {error}") from None
    except DBAPIError as error:
        where = engine.url.set(drivername="postgresql").render_as_string(hide_password=True)
        state = getattr(error.orig, "sqlstate", None)
        first_line = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "no reason given"
        if state is None and "password authentication failed" in str(error.orig):
            state = "28P01"
        if state is None and " does not exist" in first_line:
            state = "3D000"
        if state in _MISCONFIGURED:
            raise ConfigurationError(
                f"PostgreSQL {where}: {_MISCONFIGURED[state]} ({first_line}); mend DATABASE_URL"
            ) from None
        lost = error.connection_invalidated or state is None or state.startswith(("08", "57P", "53"))
        if not lost:
            raise
        raise UnavailableError(
            f"PostgreSQL {where} cannot be reached: {first_line}; start it or mend DATABASE_URL, then run again"
        ) from None
