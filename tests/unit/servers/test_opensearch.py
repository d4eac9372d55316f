"""The local OpenSearch as far as it needs no server: what its log says, and what a folder without one is."""

import json
import os
from pathlib import Path

import pytest

from etl.servers.opensearch import opensearch_status, stop_opensearch, telling_line

LOGS = [
    (
        "the root cause behind a start-up exception",
        [
            "[2026-11-21T04:00:00,000][ERROR][o.o.b.OpenSearchUncaughtExceptionHandler] uncaught exception in thread",
            "org.opensearch.bootstrap.StartupException: java.lang.IllegalStateException: failed to obtain node locks",
            "Likely root cause: java.nio.file.FileSystemException: /data: No space left on device",
            "\tat java.base/sun.nio.fs.UnixException.translate(UnixException.java:90)",
        ],
        "java.nio.file.FileSystemException: /data: No space left on device",
    ),
    (
        "the deepest cause of a chain",
        [
            "java.lang.RuntimeException: outer",
            "Caused by: middle",
            "\tat x(Error.java:1)",
            "Caused by: inner",
            "\tat y",
        ],
        "inner",
    ),
    (
        "what the Java machine says before OpenSearch runs",
        ["Error occurred during initialization of VM", "Too small maximum heap"],
        "Too small maximum heap",
    ),
    (
        "the last line where nothing looks like an error",
        ["sh: 1: /x/java: Permission denied"],
        "sh: 1: /x/java: Permission denied",
    ),
    ("an empty log", [], "the log is empty"),
]


@pytest.mark.parametrize(("lines", "expected"), [row[1:] for row in LOGS], ids=[row[0] for row in LOGS])
def test_the_line_that_says_why_it_ended_is_found(lines: list[str], expected: str) -> None:
    assert telling_line(lines) == expected


def test_a_line_is_cut_to_what_fits_an_error_message() -> None:
    assert len(telling_line(["Caused by: " + "x" * 10_000])) == 300


def test_a_folder_without_a_server_is_never_started_and_looking_makes_nothing(tmp_path: Path) -> None:
    status = opensearch_status(tmp_path / "data")
    assert (status.running, status.url, status.pid, status.detail) == (False, None, None, "never started")
    assert not stop_opensearch(tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("record", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1, "version": "3.8.0"}'])
def test_a_record_that_is_cut_off_or_names_another_program_is_a_stopped_server(tmp_path: Path, record: str) -> None:
    folder = tmp_path / "opensearch"
    (folder / "data").mkdir(parents=True)
    (folder / "server.json").write_text(record)
    status = opensearch_status(tmp_path)
    assert (status.running, status.detail) == (False, "stopped")
    assert not stop_opensearch(tmp_path)


def test_a_record_of_this_very_process_is_not_taken_for_the_server(tmp_path: Path) -> None:
    folder = tmp_path / "opensearch"
    (folder / "data").mkdir(parents=True)
    (folder / "server.json").write_text(json.dumps({"pid": os.getpid(), "version": "3.8.0"}))
    assert not opensearch_status(tmp_path).running
    assert not stop_opensearch(tmp_path)
