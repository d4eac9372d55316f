"""The folder of a local server: private, reachable, and one starter at a time."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from etl.errors import ConfigurationError, UnavailableError
from etl.servers.folders import (
    Account,
    hold_lock,
    open_parents,
    prepare_folder,
    read_log_since,
    rotate_log,
    server_account,
)

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts servers as another account")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_server_folder_is_made_with_its_parents_and_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    prepare_folder(folder, None)
    prepare_folder(folder, None)
    assert _mode(folder) == 0o700


def test_a_server_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        prepare_folder(tmp_path / "link", None)
    assert _mode(tmp_path / "target") == 0o755


def test_a_server_folder_below_a_file_is_a_configuration_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"file/postgres.*ISSUETIDE_DATA_DIR"):
        prepare_folder(tmp_path / "file" / "postgres", None)


def test_parents_may_be_passed_through_and_neither_listed_nor_read(tmp_path: Path) -> None:
    private = tmp_path / "private"
    inner = private / "inner"
    inner.mkdir(parents=True)
    private.chmod(0o700)
    inner.chmod(0o750)
    other = Account(os.getuid() + 1, os.getgid() + 1)
    open_parents(inner / "server", other)
    assert (_mode(private), _mode(inner)) == (0o701, 0o751)


def test_parents_of_the_account_itself_are_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    own.chmod(0o700)
    open_parents(own / "server", Account(os.getuid(), os.getgid()))
    assert _mode(own) == 0o700


@as_root
def test_root_starts_servers_as_nobody_or_as_the_owner_that_the_folder_has(tmp_path: Path) -> None:
    nobody = server_account(tmp_path / "missing")
    assert nobody is not None
    assert nobody.uid != 0
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 4321, 4322)
    assert server_account(tmp_path / "theirs") == Account(4321, 4322)


@as_root
def test_a_folder_prepared_by_root_is_the_accounts(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "server", Account(4321, 4322))
    found = (tmp_path / "server").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (4321, 4322, 0o700)


def test_the_lock_is_refused_to_a_second_process_and_free_once_its_holder_was_killed(tmp_path: Path) -> None:
    script = f"""
import time
from pathlib import Path
from etl.servers.folders import hold_lock
with hold_lock(Path({str(tmp_path)!r}), seconds=5):
    print("held", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UnavailableError, match="another command"), hold_lock(tmp_path, seconds=0.2):
            pass
        holder.kill()
        holder.wait()
        with hold_lock(tmp_path, seconds=5):
            pass


def test_a_lock_in_a_folder_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="missing"), hold_lock(tmp_path / "missing", seconds=0):
        pass


def test_a_small_log_goes_on_and_a_large_one_is_put_aside(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    rotate_log(log)
    log.write_bytes(b"small\n")
    rotate_log(log)
    assert log.read_bytes() == b"small\n"
    log.write_bytes(b"x" * 5_000_001)
    rotate_log(log)
    assert not log.exists()
    assert (tmp_path / "server.log.1").stat().st_size == 5_000_001


def test_only_the_lines_of_this_start_are_read_from_a_log(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_bytes(b"old\n")
    start = log.stat().st_size
    with log.open("ab") as stream:
        stream.write(b"new \xff\n\n  second\n")
    assert read_log_since(log, start) == ["new \ufffd", "  second"]
    assert read_log_since(tmp_path / "missing.log", 0) == []
