"""The JSON-lines sink on real files."""

import json
import os
import threading
from pathlib import Path
from typing import Any, get_args

import pytest

from etl.errors import ConfigurationError, LockedError, StopError
from etl.records import Document, PushResult
from etl.sinks.base import IndexName
from etl.sinks.jsonl import JsonlSink


def push(sink: JsonlSink, *documents: Document, index: IndexName = "daily") -> list[PushResult]:
    return [result for results in sink.push(index, documents) for result in results]


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of documents, without the one about the file."""
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert found[0]["index"] == "_file"
    return found[1:]


def test_documents_are_lines_with_their_source_inside(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    sink = JsonlSink(path)
    assert set(sink.prepare()) == set(get_args(IndexName))
    results = push(sink, Document('a"é', 3, json.dumps({"x": [1, "é\n"]}, indent=1, ensure_ascii=False)))
    sink.refresh()
    sink.close()
    assert [result.status for result in results] == ["written"]
    assert lines(path) == [{"index": "daily", "id": 'a"é', "version": 3, "source": {"x": [1, "é\n"]}}]


def test_the_identity_stays_with_the_file_and_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    sink = JsonlSink(path)
    first = sink.prepare()
    push(sink, Document("a", 1, "{}"))
    assert sink.prepare() == first
    sink.close()
    assert JsonlSink(path).prepare() == first
    path.unlink()
    assert set(JsonlSink(path).prepare().values()).isdisjoint(first.values())
    assert len(set(first.values())) == 3


def test_later_lines_are_added_behind_the_earlier_ones(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    for version in (1, 2):
        sink = JsonlSink(path)
        sink.prepare()
        push(sink, Document("a", version, "{}"), index="runs")
        sink.close()
    assert [(line["index"], line["version"]) for line in lines(path)] == [("runs", 1), ("runs", 2)]


@pytest.mark.parametrize("lost", [1, 5, 70_000])
def test_a_line_that_a_kill_cut_short_is_removed(tmp_path: Path, lost: int) -> None:
    path = tmp_path / "documents.jsonl"
    sink = JsonlSink(path)
    identity = sink.prepare()
    push(sink, Document("a", 1, "{}"), Document("b", 1, json.dumps("x" * 200_000)))
    sink.close()
    os.truncate(path, path.stat().st_size - lost)
    sink = JsonlSink(path)
    assert sink.prepare() == identity
    push(sink, Document("c", 1, "{}"))
    sink.close()
    assert [line["id"] for line in lines(path)] == ["a", "c"]


def test_a_first_line_that_a_kill_cut_short_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    path.write_text('{"index": "_file", "id": "12')
    sink = JsonlSink(path)
    sink.prepare()
    sink.close()
    assert lines(path) == []


@pytest.mark.parametrize("content", ["my notes", "my notes\n", '{"index": "daily"}\n', "[1]\n", "\n"])
def test_a_file_of_somebody_else_is_left_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"notes\.txt holds something that this sink did not write"):
        JsonlSink(path).prepare()
    assert path.read_text() == content


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere/documents\.jsonl cannot be written: No such file"):
        JsonlSink(tmp_path / "nowhere" / "documents.jsonl").prepare()


def test_two_runs_do_not_write_the_same_file(tmp_path: Path) -> None:
    first = JsonlSink(tmp_path / "documents.jsonl")
    first.prepare()
    with pytest.raises(LockedError, match="another run"):
        JsonlSink(tmp_path / "documents.jsonl").prepare()
    first.close()
    JsonlSink(tmp_path / "documents.jsonl").prepare()


def test_a_lone_surrogate_is_rejected_and_the_others_are_written(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    sink = JsonlSink(path)
    results = push(sink, Document("a", 1, "{}"), Document("b", 1, '"\ud800"'), Document("c", 1, "{}"))
    sink.close()
    assert [result.status for result in results] == ["written", "rejected", "written"]
    assert [line["id"] for line in lines(path)] == ["a", "c"]


def test_a_pipe_gets_the_lines_without_the_one_about_the_file(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(path.read_text(encoding="utf-8")))
    reader.start()
    sink = JsonlSink(path)
    sink.prepare()
    push(sink, *(Document(f"d{number}", 1, "{}") for number in range(5000)))
    sink.refresh()
    sink.close()
    reader.join(timeout=60)
    assert [json.loads(line)["id"] for line in received[0].splitlines()] == [f"d{number}" for number in range(5000)]


def test_a_deletion_is_a_line_without_a_source(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    sink = JsonlSink(path)
    results = push(sink, Document("a", 1, "{}"), Document("a", 2, None))
    sink.close()
    assert [result.status for result in results] == ["written", "written"]
    assert lines(path)[1] == {"index": "daily", "id": "a", "version": 2, "source": None}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_stops_the_push() -> None:
    sink = JsonlSink(Path("/dev/full"))
    with pytest.raises(StopError, match="No space left on device"):
        push(sink, Document("a", 1, "{}"))
    sink.close()


def test_a_file_cannot_be_compared_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"out\.jsonl cannot be compared .*--no-index"):
        JsonlSink(tmp_path / "out.jsonl").held("daily")
    with pytest.raises(ConfigurationError, match=r"out\.jsonl cannot be compared .*--no-index"):
        JsonlSink(tmp_path / "out.jsonl").identities()
    assert list(tmp_path.iterdir()) == []
