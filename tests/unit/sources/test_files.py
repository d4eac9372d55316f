"""Files and standard input as a source."""

import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from etl.errors import ConfigurationError
from etl.records import Item, Page, Rejected, Scope, Stream
from etl.sources.base import repository_key
from etl.sources.files import Files
from tests.loopback.github_world import Comment, Issue, Renderer, Repo

ROCKET = Repo(7, "acme/rocket")
BOAT = Repo(8, "acme/boat")
RENDERER = Renderer("https://api.github.com", "https://github.com")
HOUR = 3_600


def _issue(number: int, repo: Repo = ROCKET, **fields: Any) -> dict[str, Any]:
    opened = 1_700_000_000 + number * HOUR
    return RENDERER.issue(repo, Issue(number, 900 + number, f"Title {number}", "Body", opened, opened, **fields))


def _comment(identity: int, number: int, repo: Repo = ROCKET, *, on_pull: bool = False) -> dict[str, Any]:
    comment = RENDERER.comment(repo, Comment(identity, number, "A comment", 1_700_000_000, 1_700_000_000))
    if on_pull:
        comment["html_url"] = comment["html_url"].replace("/issues/", "/pull/")
    return comment


def _write(folder: Path, records: Sequence[Any]) -> Path:
    path = folder / "dump.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def _fetch(source: Files, scope: Scope = Scope()) -> tuple[Stream, list[Page]]:  # noqa: B008  (frozen)
    streams = list(source.streams(scope))
    assert len(streams) == 1
    return streams[0], list(source.fetch(streams[0], scope, None))


def _items(source: Files, scope: Scope = Scope()) -> list[Item]:  # noqa: B008  (frozen)
    pages = _fetch(source, scope)[1]
    assert [page.skipped for page in pages if page.skipped] == []
    assert [page.cursor for page in pages if page.cursor is not None] == []
    return [item for page in pages for item in page.items]


def _numbers(items: Sequence[Item]) -> list[int]:
    return [item.external_id for item in items]


def test_issues_and_their_comments_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    items = _items(Files(_write(tmp_path, [_issue(2), _comment(50, 2), _issue(1)])))
    assert [(item.kind, item.external_id) for item in items] == [("issue", 2), ("comment", 50), ("issue", 1)]


def test_the_same_objects_come_from_lines_arrays_gzip_and_standard_input(tmp_path: Path) -> None:
    records = [_issue(1), _comment(50, 1)]
    lines = _write(tmp_path, records)
    array = tmp_path / "dump.json"
    array.write_text(json.dumps(records, indent=2))
    packed = tmp_path / "dump.jsonl.gz"
    packed.write_bytes(gzip.compress(lines.read_bytes()))
    expected = _items(Files(lines))
    assert _items(Files(array)) == expected
    assert _items(Files(packed)) == expected
    for data in (lines.read_bytes(), array.read_bytes(), packed.read_bytes()):
        source = Files("-", io.BytesIO(data))
        assert _items(source) == expected


def test_a_long_file_comes_in_pages(tmp_path: Path) -> None:
    pages = _fetch(Files(_write(tmp_path, [_issue(number) for number in range(1, 1202)])))[1]
    assert [len(page.items) for page in pages] == [500, 500, 201]


def test_a_malformed_line_is_named_with_its_number_and_the_later_ones_go_on(tmp_path: Path) -> None:
    path = _write(tmp_path, [_issue(1), {**_issue(2), "title": None}, 5, _issue(3)])
    with path.open("a") as file:
        file.write('{"number": 4,\n')
    page = _fetch(Files(path))[1][0]
    assert _numbers(page.items) == [1, 3]
    assert [rejected.line for rejected in page.skipped] == [
        f"{path} line 2: issue 2: title is missing",
        f"{path} line 3: not a JSON object",
        f"{path} line 5: not JSON",
    ]
    assert [rejected.payload for rejected in page.skipped] == [
        json.dumps({**_issue(2), "title": None}, separators=(",", ":")).encode(),
        b"5",
        b'{"number": 4,\n',
    ]


def test_pages_of_a_file_say_so(tmp_path: Path) -> None:
    pages = _fetch(Files(_write(tmp_path, [_issue(number) for number in range(1, 502)])))[1]
    assert [page.origin for page in pages] == ["file", "file"]


def test_a_file_of_nothing_but_rubbish_still_reports_it(tmp_path: Path) -> None:
    path = _write(tmp_path, ["rubbish"])
    stream, pages = _fetch(Files(path))
    assert [page.skipped for page in pages] == [(Rejected(f"{path} line 1: not a JSON object", b'"rubbish"'),)]
    assert stream.repository.full_name == str(path)


def test_gzip_that_breaks_off_keeps_what_was_read(tmp_path: Path) -> None:
    whole = _write(tmp_path, [_issue(number) for number in range(1, 400)])
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(whole.read_bytes(), 0)[:200_000])
    pages = _fetch(Files(path))[1]
    assert 20 < sum(len(page.items) for page in pages) < 399
    assert len(pages[-1].skipped) == 1
    assert "the gzip data breaks off" in pages[-1].skipped[0].line


@pytest.mark.parametrize("name", ["nothing.jsonl", ""])
def test_a_file_that_is_not_there_or_a_folder_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{tmp_path / name} cannot be read .*check the path"):
        _fetch(Files(tmp_path / name))


def test_a_repository_without_an_id_is_known_by_its_host_and_name(tmp_path: Path) -> None:
    item = _items(Files(_write(tmp_path, [_issue(1)])))[0]
    assert (item.repository.full_name, item.repository.host, item.repository.github_id) == (
        "acme/rocket",
        "github.com",
        None,
    )
    assert item.repository.key == repository_key("github.com", None, "ACME/rocket")


def test_an_id_in_the_file_makes_it_the_repository_that_github_gives(tmp_path: Path) -> None:
    record = _issue(1) | {"repository": {"full_name": "acme/rocket", "id": 77}}
    items = _items(Files(_write(tmp_path, [record, _issue(2), _comment(5, 1)])))
    assert {item.repository.key for item in items} == {77}


@pytest.mark.parametrize("missing", [("repository_url",), ("html_url",), ("repository_url", "issue_url")])
def test_a_repository_is_found_wherever_an_object_names_it(tmp_path: Path, missing: tuple[str, ...]) -> None:
    records = [_issue(1), _issue(2, BOAT, is_pull=True), _comment(5, 1, BOAT)]
    for record in records[:2] if "issue_url" in missing else records:
        for key in missing:
            record.pop(key, None)
    items = _items(Files(_write(tmp_path, records)), Scope(kinds=("issue", "pull_request")))
    assert [item.repository.full_name for item in items] == ["acme/rocket", "acme/boat", "acme/boat"]


def test_an_enterprise_host_is_part_of_the_repository(tmp_path: Path) -> None:
    renderer = Renderer("https://ghe.example.com/api/v3", "https://ghe.example.com")
    record = renderer.issue(ROCKET, Issue(1, 1, "T", "B", 1_700_000_000, 1_700_000_000))
    item = _items(Files(_write(tmp_path, [record])))[0]
    assert (item.repository.host, item.repository.full_name) == ("ghe.example.com", "acme/rocket")
    assert item.repository.key != repository_key("github.com", None, "acme/rocket")


def test_an_object_that_names_no_repository_belongs_to_the_only_one_asked_for(tmp_path: Path) -> None:
    record = {"number": 1, "title": "T", "created_at": "2024-01-01T00:00:00Z"}
    path = _write(tmp_path, [record])
    assert _items(Files(path), Scope(repositories=("acme/rocket",)))[0].repository.full_name == "acme/rocket"
    page = _fetch(Files(path))[1][0]
    assert page.items == ()
    assert "line 1: names no repository: name it with --repo" in page.skipped[0].line


def test_only_the_repositories_asked_for_are_given(tmp_path: Path) -> None:
    path = _write(tmp_path, [_issue(1), _issue(2, BOAT), _issue(3)])
    assert _numbers(_items(Files(path), Scope(repositories=("ACME/Boat",)))) == [2]
    with pytest.raises(ConfigurationError, match="owner/name"):
        _fetch(Files(path), Scope(repositories=("acme",)))


def test_the_stream_is_named_after_the_first_wanted_repository(tmp_path: Path) -> None:
    path = _write(tmp_path, [_issue(1), _issue(2, BOAT)])
    stream = _fetch(Files(path), Scope(repositories=("acme/boat", "acme/x"), labels=()))[0]
    assert (stream.source, stream.name, stream.repository.full_name) == ("files", "file", "acme/boat")


def test_pull_requests_and_their_comments_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    path = _write(tmp_path, [_issue(1), _issue(2, is_pull=True), _comment(5, 1), _comment(6, 2, on_pull=True)])
    assert _numbers(_items(Files(path))) == [1, 5]
    assert _numbers(_items(Files(path), Scope(kinds=("issue", "pull_request")))) == [1, 2, 5, 6]
    assert _numbers(_items(Files(path), Scope(comments=False))) == [1]


def test_any_of_the_labels_is_enough_and_case_does_not_count(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        [
            _comment(50, 2),
            _comment(51, 3),
            _issue(1, labels=("Bug",)),
            _issue(2, labels=("docs", "x")),
            _issue(3, labels=("bugs",)),
        ],
    )
    assert _numbers(_items(Files(path), Scope(labels=("bug", "DOCS")))) == [50, 1, 2]


def test_a_limit_takes_the_newest_of_each_repository_with_their_comments(tmp_path: Path) -> None:
    records = [
        _comment(50, 9),
        _issue(3),
        _issue(9),
        _comment(51, 3),
        _issue(7),
        _issue(1, BOAT),
        _issue(8, is_pull=True),
    ]
    assert _numbers(_items(Files(_write(tmp_path, records)), Scope(limit=2))) == [50, 9, 7, 1]


def test_a_limit_and_labels_go_together(tmp_path: Path) -> None:
    records = [_issue(1, labels=("a",)), _issue(2, labels=("a",)), _issue(3, labels=("b",)), _issue(4)]
    path = _write(tmp_path, records)
    assert _numbers(_items(Files(path), Scope(labels=("a", "b"), limit=2))) == [2, 3]


def test_standard_input_is_read_once_though_a_limit_needs_two_readings() -> None:
    data = "".join(json.dumps(_issue(number)) + "\n" for number in (1, 5, 3)).encode()
    source = Files("-", io.BytesIO(data))
    assert _numbers(_items(source, Scope(limit=1))) == [5]


def test_a_fault_of_standard_input_is_named_so() -> None:
    source = Files("-", io.BytesIO(b"{}\n"))
    assert _fetch(source)[1][0].skipped[0].line.startswith("standard input line 1: ")


def test_lone_surrogates_and_nul_bytes_are_replaced_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "dump.jsonl"
    path.write_text(json.dumps(_issue(1) | {"body": "a\x00b\ud800"}) + "\n")
    item = _items(Files(path))[0]
    assert (item.body, item.replaced) == ("a\ufffdb\ufffd", 2)


def test_a_file_needs_no_requests(tmp_path: Path) -> None:
    assert Files(tmp_path).counters() == {"calls": 0}


def test_an_empty_file_stands_for_the_only_repository_asked_for(tmp_path: Path) -> None:
    stream, pages = _fetch(Files(_write(tmp_path, [])), Scope(repositories=("acme/rocket",)))
    assert stream.repository.full_name == "acme/rocket"
    assert pages == []


@pytest.mark.parametrize(
    "address", ["http://[::1/a/b/issues/1", "nonsense", "https://github.com/", "https://x/ /b/issues/1", 5]
)
def test_an_address_that_names_no_repository_is_passed_over(tmp_path: Path, address: Any) -> None:
    record = _issue(1) | {"repository_url": address, "html_url": "https://github.com/acme/rocket/issues/1"}
    assert _items(Files(_write(tmp_path, [record])))[0].repository.full_name == "acme/rocket"


def test_a_malformed_name_of_a_repository_object_is_named(tmp_path: Path) -> None:
    record = _issue(1) | {"repository": {"full_name": "acme"}}
    page = _fetch(Files(_write(tmp_path, [record])))[1][0]
    assert "line 1: 'acme' does not name a repository" in page.skipped[0].line
