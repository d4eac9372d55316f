"""Connections: one engine per process, made from the URL that people have, with errors a person can act on."""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import Error as DriverError
from psycopg import InterfaceError, OperationalError
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from etl.errors import ConfigurationError, StopError, UnavailableError

_MEND_URL = "mend DATABASE_URL"
_MEND_STRUCTURE = "run `issuetide db upgrade`, or name a database of Issuetide's own in DATABASE_URL"
_MISCONFIGURED = {
    "28P01": ("the password is wrong", _MEND_URL),
    "28000": ("this user may not log in", _MEND_URL),
    "3D000": ("that database does not exist", _MEND_URL),
    "3F000": ("this user has no schema to make tables in", "grant CREATE on a schema of its search_path"),
    "42501": ("this user lacks a permission there", "grant it, or name another user in DATABASE_URL"),
    "25006": ("it only takes reads", "name the primary server in DATABASE_URL, not a replica"),
    "22P05": ("its encoding lacks letters of the issues", "create the database with ENCODING 'UTF8'"),
    "42P01": ("a table of ours is missing", _MEND_STRUCTURE),
    "42703": ("a column of ours is missing", _MEND_STRUCTURE),
    "42883": ("a function of ours is missing", _MEND_STRUCTURE),
    "42P07": ("a table of another program has a name of ours", _MEND_STRUCTURE),
    "42710": ("an object of another program has a name of ours", _MEND_STRUCTURE),
}
"""SQLSTATEs that a person must mend: what they mean, and how to (PostgreSQL manual, appendix A)."""

_OUTAGES = {
    "53100": ("its disk is full", "free space there"),
    "53300": ("it takes no more connections", "raise max_connections or end other clients"),
    "57014": ("a statement was cancelled", "raise statement_timeout for this user, or see who cancels"),
    "40001": ("other clients write the same rows", "see who writes"),
    "40P01": ("other clients lock the same rows", "see who writes"),
    "55P03": ("other clients hold a lock for too long", "see who holds it"),
}
"""SQLSTATEs that pass, or that the server's keeper must mend."""

_BAD_OPTIONS = ("invalid connection option", "connection is bad: invalid")
"""How the driver and libpq begin when they cannot read an option of the URL; there is no SQLSTATE then."""


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
    if url.count("@") > 1:
        # What follows the first one would be shown as the host, and may be the rest of a password.
        raise ConfigurationError("DATABASE_URL has more than one @; write those of its user and password as %40")
    if parsed.port is not None and not 0 < parsed.port < 65536:
        raise ConfigurationError(f"DATABASE_URL has port {parsed.port}; ports are 1 to 65535")
    if parsed.drivername.split("+")[0] not in {"postgres", "postgresql"}:
        raise ConfigurationError(
            f"DATABASE_URL begins with {parsed.drivername}://, but only PostgreSQL 15 or newer is supported"
        )
    return parsed.set(drivername="postgresql+psycopg")


def shown_url(url: str) -> str:
    """`url` without its password, for messages."""
    return _shown(sqlalchemy_url(url))


def _shown(url: URL) -> str:
    # libpq takes a password as an option behind the question mark as well.
    harmless = {name: value for name, value in url.query.items() if "password" not in name}
    return url.set(drivername="postgresql", query=harmless).render_as_string(hide_password=True)


def open_engine(url: str) -> Engine:
    """An engine for `url`; nothing is connected yet.

    Statements are not prepared on the server, so that PgBouncer in transaction mode can stand in between. None is
    compiled either: PostgreSQL's JIT takes longer for our views than running them. What is sent is UTF-8, whatever the
    database's encoding: the server then says what it cannot hold, and SQLAlchemy can read its answers (of a database
    with SQL_ASCII the driver gives bytes otherwise).
    """
    engine = create_engine(
        sqlalchemy_url(url),
        pool_size=4,
        use_native_hstore=False,  # no column of ours has that type, and looking for it is three more round trips
        connect_args={
            "connect_timeout": 10,
            "application_name": "issuetide",
            "prepare_threshold": None,
            "client_encoding": "utf8",
        },
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
    """Turns what the server refuses inside the block into an error that names the server and the way out."""
    try:
        yield
    except NoSuchModuleError as error:  # pragma: no cover - psycopg is a dependency
        raise ConfigurationError(f"the PostgreSQL driver is missing: {error}") from None
    except DBAPIError as error:
        translated = _translate(engine.url, error.orig, lost=error.connection_invalidated)
        if translated is None:
            raise
        raise translated from None
    except DriverError as error:  # COPY goes past SQLAlchemy
        translated = _translate(engine.url, error, lost=False)
        if translated is None:
            raise
        raise translated from None


def _translate(url: URL, error: BaseException | None, *, lost: bool) -> StopError | None:
    """The error of ours for one of the driver's; None for those that only a mistake of ours can cause."""
    where, complaint = f"PostgreSQL {_shown(url)}", str(error).strip()
    first_line = complaint.splitlines()[0] if complaint else "no reason given"
    state = _state_of(error, complaint)
    if state in _MISCONFIGURED:
        meaning, mend = _MISCONFIGURED[state]
        return ConfigurationError(f"{where}: {meaning} ({first_line}); {mend}")
    if state in _OUTAGES:
        meaning, mend = _OUTAGES[state]
        return UnavailableError(f"{where}: {meaning} ({first_line}); {mend}, then run again: nothing is lost")
    if state is None and complaint.startswith(_BAD_OPTIONS):
        return ConfigurationError(f"{where} cannot be asked: {first_line}; {_MEND_URL}")
    broken = state is None and isinstance(error, InterfaceError | OperationalError)
    if lost or broken or (state or "").startswith(("08", "57P", "53")):
        return UnavailableError(
            f"{where} cannot be reached: {first_line}; start it or mend DATABASE_URL, then run again"
        )
    return None


def _state_of(error: BaseException | None, complaint: str) -> str | None:
    """The SQLSTATE; a refused login has none, only words."""
    state: str | None = getattr(error, "sqlstate", None)
    if state is None and "password authentication failed" in complaint:
        return "28P01"
    if state is None and "FATAL" in complaint and complaint.endswith(" does not exist"):
        return "28000" if ' role "' in complaint.rpartition("FATAL")[2] else "3D000"
    return state
