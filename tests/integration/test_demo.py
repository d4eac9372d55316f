"""The demo keeps its invented issues away from real ones, and ends with commands that work as they are written."""

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from etl.cli import pipeline_commands
from etl.cli.output import print_demo_end
from etl.db.migrate import upgrade
from etl.demo import SAMPLE_REPOSITORIES
from etl.errors import ConfigurationError
from etl.servers.postgres import start_postgres, stop_postgres
from etl.settings import read_settings


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """A data folder with an embedded PostgreSQL, outside pytest's own folders, which are closed to its account."""
    with tempfile.TemporaryDirectory(prefix="issuetide-demo-", ignore_cleanup_errors=True) as name:
        yield Path(name)
        stop_postgres(Path(name))


@pytest.fixture
def url(data_dir: Path) -> Iterator[str]:
    url = start_postgres(data_dir)
    upgrade(url)
    yield url
    with psycopg.connect(url) as connection:
        connection.execute("TRUNCATE repositories CASCADE")


def store_repository(url: str, name: str) -> None:
    with psycopg.connect(url) as connection:
        key = abs(hash(name)) % 10**9
        connection.execute(
            "INSERT INTO repositories (key, host, github_id, full_name) VALUES (%s, 'github.com', %s, %s)",
            (key, key, name),
        )


def start_demo(data_dir: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """The demo as a process of its own, which knows nothing but the data folder."""
    return subprocess.run(
        [sys.executable, "-m", "etl.cli", "demo", *options],
        env={"ISSUETIDE_DATA_DIR": str(data_dir), "PATH": "", "HOME": str(data_dir), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_demo_is_refused_where_issues_of_ones_own_are_stored(data_dir: Path, url: str) -> None:
    store_repository(url, "octo/own")
    done = start_demo(data_dir)
    assert done.returncode == ConfigurationError.exit_code
    assert "octo/own" in done.stderr
    assert "--anyway" in done.stderr
    assert "OpenSearch" not in done.stderr, "nothing was downloaded or started for nothing"
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)


def test_the_demo_may_run_again_on_its_own_sample(data_dir: Path, url: str) -> None:
    for name in SAMPLE_REPOSITORIES:
        store_repository(url, name)
    pipeline_commands.refuse_to_mix(read_settings(issuetide_data_dir=data_dir))
    store_repository(url, "octo/own")
    with pytest.raises(ConfigurationError, match="octo/own, and the demo"):
        pipeline_commands.refuse_to_mix(read_settings(issuetide_data_dir=data_dir))


def test_the_end_of_the_demo_names_commands_that_there_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["/a folder/issuetide", "demo"])
    print_demo_end(read_settings(issuetide_data_dir=tmp_path), "octo/demo#1")
    shown = capsys.readouterr().out
    lines = re.findall(r"^  (?=\S)(.*issuetide.*)$", shown, re.MULTILINE)
    assert [shlex.split(line)[-2:] for line in lines] == [
        ["--html", "report.html"],
        ["explain", "octo/demo#1"],
        ["db", "shell"],
        ["/a folder/issuetide", "status"],
    ]
    assert "OPENSEARCH_URL=local" in shown
