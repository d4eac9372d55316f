"""The embedded PostgreSQL, really started: found again, killed, deep, crowded, and by other accounts."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest

from etl.errors import ConfigurationError, UnavailableError
from etl.servers.folders import server_account
from etl.servers.postgres import postgres_status, start_postgres, stop_postgres
from etl.servers.processes import end_process

START = "import sys; from pathlib import Path; from etl.servers.postgres import start_postgres; "
START += "print(start_postgres(Path(sys.argv[1])), flush=True)"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder outside pytest's own: those are closed to other accounts whenever another pytest starts."""
    with tempfile.TemporaryDirectory(prefix="issuetide-pg-", ignore_cleanup_errors=True) as name:
        yield Path(name)
        stop_postgres(Path(name))


def _start_elsewhere(data_dir: Path) -> str:
    """Start or attach from another process, which ends."""
    done = subprocess.run([sys.executable, "-c", START, data_dir], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _count_rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def _keep_a_row(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n integer)")
        connection.execute("INSERT INTO kept VALUES (1)")


def _pid(data_dir: Path) -> int:
    pid = postgres_status(data_dir).pid
    assert pid is not None
    return pid


def test_it_goes_on_after_its_starter_is_found_by_the_next_and_stops_when_asked(data_dir: Path) -> None:
    url = _start_elsewhere(data_dir)
    status = postgres_status(data_dir)
    assert (status.running, status.url, status.version) == (True, url, "18")
    _keep_a_row(url)
    assert start_postgres(data_dir) == url
    assert _start_elsewhere(data_dir) == url
    assert _pid(data_dir) == status.pid
    assert stop_postgres(data_dir)
    assert not stop_postgres(data_dir)
    status = postgres_status(data_dir)
    assert (status.running, status.url, status.pid, status.detail) == (False, None, None, "stopped")
    assert _count_rows(start_postgres(data_dir)) == 1


def test_text_is_utf8_and_times_are_utc_whatever_the_locale_of_its_starter(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "POSIX")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    with psycopg.connect(start_postgres(data_dir)) as connection:
        row = connection.execute(
            "SELECT current_setting('server_encoding'), current_setting('timezone'), lower('ÄÖ'), 'a' < 'B'"
        ).fetchone()
    assert row == ("UTF8", "UTC", "äö", False)


@pytest.mark.kill
def test_a_client_killed_with_9_takes_nothing_with_it(data_dir: Path) -> None:
    script = START + "; import os; os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", script, str(data_dir)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert start_postgres(data_dir) == done.stdout.strip()
    assert stop_postgres(data_dir)


@pytest.mark.kill
def test_a_killed_server_starts_again_with_every_commit(data_dir: Path) -> None:
    url = start_postgres(data_dir)
    _keep_a_row(url)
    server = psutil.Process(_pid(data_dir))
    assert end_process(server, (signal.SIGKILL, 60.0))
    assert _count_rows(start_postgres(data_dir)) == 1


@pytest.mark.kill
def test_a_start_killed_at_any_moment_is_mended_by_the_next(data_dir: Path) -> None:
    for milliseconds in (250, 350, 450, 600):
        with subprocess.Popen([sys.executable, "-c", START, data_dir], stdout=subprocess.DEVNULL) as starter:
            try:
                starter.wait(milliseconds / 1000)
            except subprocess.TimeoutExpired:
                starter.kill()
    _keep_a_row(start_postgres(data_dir))
    stop_postgres(data_dir)
    assert _count_rows(start_postgres(data_dir)) == 1
    assert not list((data_dir / "postgres").glob("data.partial-*/PG_VERSION"))


def test_lock_files_that_name_a_living_stranger_do_not_keep_it_from_starting(data_dir: Path) -> None:
    url = start_postgres(data_dir)
    _keep_a_row(url)
    lines = (data_dir / "postgres" / "data" / "postmaster.pid").read_text().splitlines()
    stop_postgres(data_dir)
    account = server_account(data_dir / "postgres")
    stranger = subprocess.Popen(["sleep", "600"], user=account.uid if account else None)
    try:
        lines[0] = str(stranger.pid)
        text = "\n".join(lines) + "\n"
        for leftover in (
            data_dir / "postgres" / "data" / "postmaster.pid",
            data_dir / "postgres" / ".s.PGSQL.5432.lock",
        ):
            leftover.write_text(text)
            leftover.chmod(0o644)
        assert not postgres_status(data_dir).running
        assert not stop_postgres(data_dir)
        assert _count_rows(start_postgres(data_dir)) == 1
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("name", ["x" * 120, "with a space and 'quotes' $HOME é"])
def test_deep_and_odd_folders_work(data_dir: Path, name: str) -> None:
    folder = data_dir / name
    url = start_postgres(folder)
    _keep_a_row(url)
    socket_folder = Path(parse_qs(urlsplit(url).query)["host"][0])
    assert len(os.fsencode(socket_folder / ".s.PGSQL.5432")) <= 107
    assert _start_elsewhere(folder) == url
    assert stop_postgres(folder)
    assert socket_folder.exists() == (socket_folder == folder / "postgres")
    assert _count_rows(start_postgres(folder)) == 1
    stop_postgres(folder)


def test_four_starts_at_once_on_an_empty_folder_are_one_server(data_dir: Path) -> None:
    starters = [
        subprocess.Popen([sys.executable, "-c", START, data_dir], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    told = {starter.communicate(timeout=240)[0].strip() for starter in starters}
    assert [starter.returncode for starter in starters] == [0, 0, 0, 0]
    assert told == {postgres_status(data_dir).url}


def test_a_server_that_cannot_start_says_why_and_where_its_log_is(data_dir: Path) -> None:
    start_postgres(data_dir)
    stop_postgres(data_dir)
    with (data_dir / "postgres" / "data" / "postgresql.conf").open("a") as stream:
        stream.write("no_such_setting = 1\n")
    with pytest.raises(UnavailableError, match=r"no_such_setting|configuration file.*log: .*postgres\.log") as caught:
        start_postgres(data_dir)
    assert "\n" not in str(caught.value)


def test_data_of_a_version_that_the_package_does_not_bring_is_a_configuration_error(data_dir: Path) -> None:
    start_postgres(data_dir)
    stop_postgres(data_dir)
    (data_dir / "postgres" / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(ConfigurationError, match="made by PostgreSQL 9"):
        start_postgres(data_dir)


def test_the_server_holds_no_secret_of_its_starter_and_a_pgport_does_not_bend_it(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_secret")
    monkeypatch.setenv("PGPORT", "6543")
    _keep_a_row(start_postgres(data_dir))
    environment = psutil.Process(_pid(data_dir)).environ()
    assert "ghp_secret" not in environment.values()
    assert "PGPORT" not in environment


@as_root
def test_root_opens_parents_for_passing_through_alone(data_dir: Path) -> None:
    private = data_dir / "private"
    private.mkdir(mode=0o700)
    start_postgres(private / "inner")
    assert stat.S_IMODE(private.stat().st_mode) == 0o701
    assert stat.S_IMODE((private / "inner" / "postgres").stat().st_mode) == 0o700
    assert psutil.Process(_pid(private / "inner")).uids().real != 0
    stop_postgres(private / "inner")


@as_root
def test_a_plain_user_starts_uses_and_stops_a_server_and_root_may_help(data_dir: Path, plain_user: int) -> None:
    os.chown(data_dir, plain_user, plain_user)
    script = START + "; from etl.servers.postgres import postgres_status, stop_postgres; "
    script += "print(postgres_status(Path(sys.argv[1])).running, stop_postgres(Path(sys.argv[1])))"
    command = [sys.executable, "-c", script, str(data_dir)]
    first = subprocess.run(command, capture_output=True, text=True, user=plain_user, group=plain_user, check=False)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[1] == "True True"
    _keep_a_row(start_postgres(data_dir))
    assert psutil.Process(_pid(data_dir)).uids().real == plain_user
    again = subprocess.run(command, capture_output=True, text=True, user=plain_user, group=plain_user, check=False)
    assert again.returncode == 0, again.stderr
    assert not postgres_status(data_dir).running


@as_root
def test_a_folder_of_another_account_is_a_configuration_error_that_names_it(data_dir: Path, plain_user: int) -> None:
    data_dir.chmod(0o755)
    start_postgres(data_dir)
    owner = psutil.Process(_pid(data_dir)).uids().real
    script = "import sys; from pathlib import Path; from etl.servers.postgres import *; from etl.errors import *\n"
    script += "for act in (start_postgres, stop_postgres):\n"
    script += "    try: act(Path(sys.argv[1]))\n    except ConfigurationError as error: print(error)\n"
    script += "print(postgres_status(Path(sys.argv[1])).detail)"
    command = [sys.executable, "-c", script, str(data_dir)]
    other = plain_user - 1
    assert owner not in {0, other}
    done = subprocess.run(command, capture_output=True, text=True, user=other, group=other, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(str(data_dir / "postgres") in line and "ISSUETIDE_DATA_DIR" in line for line in lines)
    assert postgres_status(data_dir).running
