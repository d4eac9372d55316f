"""`issuetide db shell`: psql on whichever database is set, for people and for scripts."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from etl.cli.server_commands import _embedded_psql
from etl.servers.postgres import stop_postgres

PASSWORD = "p @+%/'x"
Shell = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    def call(statement: str, *, user: int | None = None, **settings: str) -> "subprocess.CompletedProcess[str]":
        kept = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_CONFIG") if name in os.environ}
        return subprocess.run(
            [sys.executable, "-m", "etl.cli", "db", "shell"],
            env={"HOME": str(tmp_path), "LANG": "C.UTF-8", **kept, **settings},
            cwd="/",
            input=statement,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            user=user,
            group=user,
        )

    return call


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A data folder that anyone may reach, with a space in its name."""
    outer = Path(tempfile.mkdtemp(prefix="issuetide-shell-"))
    outer.chmod(0o755)
    folder = outer / "da ta"
    folder.mkdir()
    yield folder
    stop_postgres(folder)
    shutil.rmtree(outer, ignore_errors=True)


def test_piped_sql_is_answered_by_the_database_of_the_settings(shell: Shell, database_url: str) -> None:
    done = shell("SELECT count(*) + 41 FROM runs;\nSELECT current_database();", DATABASE_URL=database_url)
    assert done.returncode == 0, done.stderr
    assert "41" in done.stdout
    assert urlsplit(database_url).path[1:] in done.stdout


def test_piped_sql_ends_at_its_first_error_with_psqls_code(shell: Shell, database_url: str) -> None:
    done = shell("SELECT nope;\nSELECT 'went on';", DATABASE_URL=database_url)
    assert done.returncode == 3
    assert 'column "nope" does not exist' in done.stderr
    assert "went on" not in done.stdout


@pytest.mark.parametrize("way", ["user", "option"])
def test_a_password_of_any_letters_goes_to_the_server_and_to_no_command_line(
    shell: Shell, tmp_path: Path, way: str
) -> None:
    # A psql of ours that tells how it was called: the real one trusts the local socket and asks for no password.
    fake = tmp_path / "psql"
    fake.write_text('#!/bin/sh\necho "$PGPASSWORD"\necho "$@" >&2\n')
    fake.chmod(0o755)
    written = "p%20%40%2B%25%2F%27x"
    host = "" if way == "option" else f":{written}"
    option = f"?password={written}" if way == "option" else ""
    done = shell(
        "", DATABASE_URL=f"postgres://us%40er{host}@db.example:5433/the%20base{option}", PATH=f"{tmp_path}:/bin"
    )
    assert done.stdout == f"{PASSWORD}\n"
    strict, _, address = done.stderr.rstrip("\n").partition(" ")
    assert strict == "--set=ON_ERROR_STOP=1"
    expected = {"user": "us@er", "dbname": "the base", "host": "db.example", "port": "5433"}
    assert conninfo_to_dict(address) == expected


def test_a_database_with_any_name_is_opened(shell: Shell, postgres_server: str) -> None:
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute('CREATE DATABASE "it\'s + 1 %"')
    try:
        url = urlunsplit(urlsplit(postgres_server)._replace(path="/it%27s%20%2B%201%20%25"))
        done = shell("SELECT current_database();", DATABASE_URL=url)
        assert "it's + 1 %" in done.stdout, done.stderr
    finally:
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute('DROP DATABASE "it\'s + 1 %"')


def test_a_server_that_is_away_is_told_by_psql(shell: Shell) -> None:
    done = shell("SELECT 1;", DATABASE_URL="postgresql://u:hush-hush@127.0.0.1:1/x")
    assert done.returncode == 2
    assert "127.0.0.1" in done.stderr
    assert "hush-hush" not in done.stderr


def test_a_setting_that_is_no_url_is_named(shell: Shell) -> None:
    done = shell("SELECT 1;", DATABASE_URL="nonsense")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("issuetide: DATABASE_URL is no URL")


def test_the_embedded_database_is_started_for_it_wherever_its_folder_is(shell: Shell, data_folder: Path) -> None:
    for statement, code in (("SELECT 6 * 7;", 0), ("SELECT nope;", 3)):
        done = shell(statement, ISSUETIDE_DATA_DIR=str(data_folder))
        assert done.returncode == code, done.stderr
        assert ("42" in done.stdout) == (code == 0)


def test_the_embedded_psql_serves_where_the_system_has_none(shell: Shell, data_folder: Path) -> None:
    if _embedded_psql() is None:
        pytest.skip("the embedded PostgreSQL of this platform brings no psql")
    done = shell("SELECT 6 * 7;", ISSUETIDE_DATA_DIR=str(data_folder), PATH="/nonexistent")
    assert done.returncode == 0, done.stderr
    assert "42" in done.stdout


def test_a_plain_user_has_a_shell_too(shell: Shell, data_folder: Path, plain_user: int) -> None:
    os.chown(data_folder, plain_user, plain_user)
    for statement, code in (("SELECT 6 * 7;", 0), ("SELECT nope;", 3)):
        done = shell(statement, user=plain_user, ISSUETIDE_DATA_DIR=str(data_folder), HOME=str(data_folder))
        assert done.returncode == code, done.stderr
