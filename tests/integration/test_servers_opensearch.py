"""The local OpenSearch, really started: found again, killed, by other accounts, and why it does not start."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from etl.errors import UnavailableError
from etl.servers.opensearch import opensearch_status, start_opensearch, stop_opensearch
from etl.servers.processes import end_process

START = "import sys; from pathlib import Path; from etl.servers.opensearch import *; "
START += "print(start_opensearch(Path(sys.argv[1]), distributions=Path(sys.argv[2]), wait_seconds=240), flush=True)"

pytestmark = pytest.mark.opensearch


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A folder outside pytest's own: those are closed to other accounts whenever another pytest starts."""
    with tempfile.TemporaryDirectory(prefix="issuetide-os-", ignore_cleanup_errors=True) as name:
        yield Path(name)
        stop_opensearch(Path(name))


@pytest.fixture
def distributions(opensearch_url: str, opensearch_distributions: Path) -> Path:
    """The kept distributions, with that of 3.x in it: the session's server was started from there."""
    assert opensearch_url
    return opensearch_distributions


def _ask(url: str, method: str = "GET", body: object = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def _count(url: str) -> int:
    _ask(f"{url}/kept/_refresh", "POST")
    return int(_ask(f"{url}/kept/_count")["count"])


def _start_elsewhere(data_dir: Path, distributions: Path, account: int | None = None) -> str:
    command = [sys.executable, "-c", START, str(data_dir), str(distributions)]
    done = subprocess.run(command, capture_output=True, text=True, user=account, group=account, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def _process(data_dir: Path) -> psutil.Process:
    pid = opensearch_status(data_dir).pid
    assert pid is not None
    return psutil.Process(pid)


def test_the_session_server_is_a_3_x_with_what_the_export_needs(opensearch_url: str) -> None:
    assert _ask(opensearch_url)["version"]["number"].startswith("3.")
    mapping = {
        "properties": {"confidence": {"type": "scaled_float", "scaling_factor": 1000}, "title": {"type": "text"}}
    }
    _ask(f"{opensearch_url}/servers-test", "PUT", {"mappings": mapping})
    assert _ask(f"{opensearch_url}/servers-test", "DELETE")["acknowledged"]


@pytest.mark.kill
def test_it_outlives_its_starter_is_found_again_and_keeps_its_data_through_a_kill(
    data_dir: Path, distributions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "ghp_secret")
    url = _start_elsewhere(data_dir, distributions)
    status = opensearch_status(data_dir)
    assert (status.running, status.url, status.version) == (True, url, "3.8.0")
    _ask(f"{url}/kept/_doc/1", "PUT", {"n": 1})

    server = _process(data_dir)
    assert "ghp_secret" not in server.environ().values()
    assert os.getsid(server.pid) != os.getsid(0)  # Ctrl-C in this terminal does not reach it
    assert {connection.laddr.ip for connection in server.net_connections() if connection.status == "LISTEN"} <= {
        "127.0.0.1",
        "::ffff:127.0.0.1",
    }

    assert start_opensearch(data_dir, distributions=distributions) == url
    (data_dir / "opensearch" / "server.json").unlink()  # as a kill between the start and its record leaves it
    assert start_opensearch(data_dir, distributions=distributions) == url

    assert end_process(server, (signal.SIGKILL, 60.0))
    assert opensearch_status(data_dir).detail == "stopped"
    told: list[str] = []
    url = start_opensearch(data_dir, distributions=distributions, wait_seconds=240, announce=told.append)
    assert told == ["starting OpenSearch 3.8.0"]
    assert _count(url) == 1

    assert stop_opensearch(data_dir)
    assert not stop_opensearch(data_dir)
    status = opensearch_status(data_dir)
    assert (status.running, status.url, status.pid, status.detail) == (False, None, None, "stopped")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another account")
def test_a_plain_user_starts_and_stops_it(data_dir: Path, distributions: Path, plain_user: int) -> None:
    os.chown(data_dir, plain_user, plain_user)
    url = _start_elsewhere(data_dir, distributions, plain_user)
    assert _ask(url)["version"]["distribution"] == "opensearch"
    assert _process(data_dir).uids().real == plain_user
    script = "import sys; from pathlib import Path; from etl.servers.opensearch import *; "
    script += "print(stop_opensearch(Path(sys.argv[1])))"
    command = [sys.executable, "-c", script, str(data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, user=plain_user, group=plain_user, check=False)
    assert done.stdout == "True\n", done.stderr
    assert not opensearch_status(data_dir).running


def test_a_server_that_ends_while_starting_says_why_and_where_its_log_is(data_dir: Path, distributions: Path) -> None:
    with pytest.raises(UnavailableError, match=r"Too small maximum heap \(log: .*server\.log\)") as caught:
        start_opensearch(data_dir, distributions=distributions, heap_mb=1)
    assert "\n" not in str(caught.value)
    assert opensearch_status(data_dir).detail == "stopped"


def test_a_configuration_that_it_cannot_read_ends_in_one_line_with_the_cause(
    data_dir: Path, distributions: Path
) -> None:
    conf = data_dir / "opensearch" / "conf"
    conf.mkdir(parents=True)
    (conf / "opensearch.keystore").write_bytes(b"not a keystore")
    with pytest.raises(UnavailableError, match=r"ended while starting: .*(?i:codec|keystore|read)") as caught:
        start_opensearch(data_dir, distributions=distributions, wait_seconds=240)
    assert "\n" not in str(caught.value)


@pytest.mark.opensearch2
def test_the_other_session_server_is_a_2_19_with_what_the_export_needs(opensearch2_url: str) -> None:
    assert _ask(opensearch2_url)["version"]["number"].startswith("2.19.")
    mapping = {
        "properties": {"confidence": {"type": "scaled_float", "scaling_factor": 1000}, "title": {"type": "text"}}
    }
    _ask(f"{opensearch2_url}/servers-test", "PUT", {"mappings": mapping})
    assert _ask(f"{opensearch2_url}/servers-test", "DELETE")["acknowledged"]
