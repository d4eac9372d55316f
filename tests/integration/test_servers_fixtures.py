"""What tests/conftest.py promises to the other tests."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psycopg
import pytest

from etl.servers.postgres import postgres_status
from etl.settings import read_settings

ROOT = Path(__file__).resolve().parents[2]


def _tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    return {str(row[0]) for row in rows}


def test_an_empty_database_has_no_table(empty_database_url: str) -> None:
    assert _tables(empty_database_url) == set()


@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_migrated_database_is_new_for_every_test(database_url: str, turn: str) -> None:
    tables = _tables(database_url)
    assert {"items", "runs"} <= tables
    assert "left_behind" not in tables, turn
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE left_behind (n integer)")


def test_two_databases_of_one_test_are_two(database_url: str, empty_database_url: str) -> None:
    assert database_url != empty_database_url


def test_the_internet_is_closed_and_loopback_is_open() -> None:
    with pytest.raises(urllib.error.URLError, match="the internet is closed"):
        urllib.request.urlopen("http://internet.invalid/", timeout=5)
    with socket.socket() as client, pytest.raises(OSError, match="the internet is closed"):
        client.connect(("192.0.2.1", 80))
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


def test_no_setting_of_the_user_is_seen() -> None:
    assert not [name for name in os.environ if name.startswith(("GITHUB_", "ANTHROPIC_", "DATABASE_", "OPENSEARCH_"))]
    assert str(read_settings().issuetide_data_dir).startswith(os.environ["HOME"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_session_stops_its_servers(tmp_path: Path, number: signal.Signals) -> None:
    program = tmp_path / "test_waiting.py"
    program.write_text(
        "import time\n"
        "def test_waits(postgres_server, server_folder):\n"
        "    print('STARTED', server_folder, flush=True)\n"
        "    time.sleep(600)\n"
    )
    options = ("-s", "-n", "0", "-p", "tests.conftest", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *options, str(program)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as session:
        assert session.stdout is not None
        folder = next((Path(line.split()[-1]) for line in session.stdout if "STARTED" in line), None)
        assert folder is not None
        try:
            assert postgres_status(folder).running
            session.send_signal(number)
            session.stdout.read()
            session.wait()
            assert not postgres_status(folder).running
            assert not folder.exists()
        finally:
            session.kill()
            shutil.rmtree(folder, ignore_errors=True)
