"""What the tests share: real servers, one of each kind per session, and neither the user's data nor the internet.

The servers run in temporary folders and are stopped at the end of the session, however it ends. Only the OpenSearch
distributions are kept, in the user's cache folder, so that the next session neither downloads nor unpacks them.
"""

import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import platformdirs
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql

from etl.errors import UnavailableError
from etl.servers.java import find_java
from etl.servers.opensearch import start_opensearch, start_opensearch_219, stop_opensearch
from etl.servers.postgres import start_postgres, stop_postgres

if TYPE_CHECKING:
    from etl.db.store import Store
    from tests.secured_opensearch import SecuredOpenSearch

# Read now: the fixture below gives every test another HOME.
_DISTRIBUTIONS = Path(platformdirs.user_cache_dir("issuetide", appauthor=False)) / "servers"
_OURS = ("GITHUB_", "ANTHROPIC_", "DATABASE_", "OPENSEARCH_", "DASHBOARDS_", "ISSUETIDE_", "PG")
_XDG = ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR")


class _Internet:
    """Closed while tests run; opened where a fixture downloads a server."""

    closed = False


def _refuse_internet(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook of the interpreter: connections and names that leave this machine fail as if it were offline."""
    if not _Internet.closed or event not in {"socket.connect", "socket.getaddrinfo"}:
        return
    address = arguments[1] if event == "socket.connect" else arguments
    host = address[0] if isinstance(address, tuple) and address else None
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str) or host in {"", "localhost", "::1", "0.0.0.0"} or host.startswith("127."):
        return
    if event == "socket.getaddrinfo":
        raise socket.gaierror(socket.EAI_NONAME, f"the internet is closed to tests: {host}")
    raise OSError(f"the internet is closed to tests: {host}")


def _interrupt(number: int, _frame: FrameType | None) -> None:
    pytest.exit(f"ended by signal {number}", returncode=128 + number)


def pytest_configure() -> None:
    """End like Ctrl-C on SIGTERM and SIGHUP as well: fixtures get to stop their servers."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    # A background job of a script ignores SIGINT, and so would every process that a test starts and interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.addaudithook(_refuse_internet)
    # How long an example takes says how busy the machine is.
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def _closed_internet() -> Iterator[None]:
    _Internet.closed = True
    yield
    _Internet.closed = False


@pytest.fixture(autouse=True)
def _world_without_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No variable of ours, and a home folder of its own: a test reads no key and touches no data of its user."""
    for name in list(os.environ):
        if name.startswith(_OURS):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)  # a .env or issuetide.toml of the checkout would be read as well
    for name in _XDG:
        monkeypatch.delenv(name, raising=False)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):  # what rich and typer look at
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A short folder outside pytest's own, which pytest closes to the account that servers run as when root tests."""
    folder = Path(tempfile.mkdtemp(prefix="issuetide-tests-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(server_folder: Path) -> Iterator[str]:
    """The URL of an embedded PostgreSQL of this session's own; take `database_url` for a database to work in."""
    url = start_postgres(server_folder)
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            # No test cuts the power; a kill -9 loses nothing without them.
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(sql.SQL("ALTER SYSTEM SET {} = off").format(sql.Identifier(setting)))
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        stop_postgres(server_folder)


_numbers = itertools.count(1)


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def new_database(server: str, template: str) -> Iterator[str]:
    """The URL of a new database made after a template, for a fixture of any scope; dropped afterwards."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        # Copying the files takes 12 ms; the default, through the log, 17 to 50 ms.
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield _with_database(server, name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def migrated_template(postgres_server: str) -> str:
    """The name of a database with the newest structure and no rows, from which the others are copied."""
    from etl.db.migrate import upgrade

    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE migrated")
    upgrade(_with_database(postgres_server, "migrated"))
    return "migrated"


@pytest.fixture
def empty_database_url(postgres_server: str) -> Iterator[str]:
    """The URL of a new database without any table; dropped after the test."""
    yield from new_database(postgres_server, "template0")


@pytest.fixture
def database_url(postgres_server: str, migrated_template: str) -> Iterator[str]:
    """The URL of a new database with the newest structure and no rows; dropped after the test."""
    yield from new_database(postgres_server, migrated_template)


@pytest.fixture
def store(database_url: str) -> Iterator["Store"]:
    """A store on that database, closed after the test."""
    from etl.db.store import Store

    store = Store(database_url)
    yield store
    store.close()


@pytest.fixture(scope="session")
def opensearch_distributions() -> Path:
    """Where unpacked OpenSearch distributions are kept from session to session."""
    return _DISTRIBUTIONS


def _start_with_internet(start: Callable[[], str]) -> str:
    """Start a server whose first start downloads it; one more try, for the registry may answer late."""
    _Internet.closed = False
    try:
        return start()
    except UnavailableError:
        return start()
    finally:
        _Internet.closed = True


@pytest.fixture(scope="session")
def opensearch_url(server_folder: Path) -> Iterator[str]:
    """The URL of an OpenSearch 3.x of this session's own. Mark the test `opensearch`; its indices need own names."""
    folder = server_folder / "3"
    try:
        yield _start_with_internet(lambda: start_opensearch(folder, distributions=_DISTRIBUTIONS, wait_seconds=240))
    finally:
        stop_opensearch(folder)


@pytest.fixture(scope="session")
def opensearch2_url(server_folder: Path) -> Iterator[str]:
    """The URL of an OpenSearch 2.19 of this session's own. Mark the test `opensearch2`."""
    java = find_java(17, 21)
    if java is None:
        pytest.skip("OpenSearch 2.19 needs a Java 17 to 21, and this machine has none")
    folder = server_folder / "2"
    try:
        yield _start_with_internet(
            lambda: start_opensearch_219(folder, java, distributions=_DISTRIBUTIONS, wait_seconds=240)
        )
    finally:
        stop_opensearch(folder)


@pytest.fixture(scope="session")
def secured_opensearch(server_folder: Path) -> Iterator["SecuredOpenSearch"]:
    """An OpenSearch with the security plugin, of this session's own. Mark the test `security`."""
    from tests.secured_opensearch import CannotDownloadError, fetch_secured, start_secured

    _Internet.closed = False
    try:
        home = fetch_secured(_DISTRIBUTIONS)
    except CannotDownloadError as error:
        if "CI" in os.environ:  # there a test that is left out would be taken for one that passes
            raise
        pytest.skip(str(error))
    finally:
        _Internet.closed = True
    server = start_secured(server_folder / "secured", home)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def plain_user() -> int:
    """The id (user and group) of an account that is not root and can run this Python; for tests that root runs."""
    account = pwd.getpwnam("nobody")
    if os.geteuid() != 0:
        pytest.skip("only root can become another account")
    try:
        subprocess.run([sys.executable, "-c", "import etl"], user=account.pw_uid, group=account.pw_gid, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"the account nobody cannot run {sys.executable}")
    return account.pw_uid
