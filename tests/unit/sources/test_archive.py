"""GH Archive's hours as a source."""

import gzip
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.errors import ConfigurationError
from etl.records import Event, Item, Kind, Page, Scope
from etl.sources.archive import Archive, is_archive
from etl.sources.files import Files
from tests.archive_hours import (
    NOON,
    comment_event,
    comment_object,
    event,
    issue_object,
    issues_event,
    lines,
    write_hour,
)
from tests.loopback.github_world import Repo

ROCKET = Repo(7, "acme/rocket")
BOAT = Repo(8, "acme/boat")
BOTH: tuple[Kind, ...] = ("issue", "pull_request")
PUSH = event(1, "PushEvent", ROCKET, 0, {"commits": [{"message": "acme/rocket"}]})
OPENED = issues_event(100, ROCKET, "opened", issue_object(ROCKET, 1))
OLD_2011 = {
    "type": "IssuesEvent",
    "repo": {"id": 7, "name": "acme/rocket", "url": "https://api.github.dev/repos/acme/rocket"},
    "payload": {"number": 12, "issue": 959102, "action": "opened"},
    "created_at": "2011-05-26T14:58:17Z",
    "id": "1470852280",
}
OLD_2013 = {
    "created_at": "2013-01-01T00:00:00-08:00",
    "payload": {"issue_id": 9, "comment_id": 10},
    "type": "IssueCommentEvent",
    "url": "https://github.com/acme/rocket/issues/3#issuecomment-10",
    "repository": {"id": 7, "name": "rocket", "owner": "acme", "url": "https://github.com/acme/rocket"},
}


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(NOON, UTC) + timedelta(seconds=seconds)


def fetch(source: Files, scope: Scope = Scope()) -> list[Page]:  # noqa: B008  (frozen)
    return [page for stream in source.streams(scope) for page in source.fetch(stream, scope, None)]


def read(events: list[Any], scope: Scope = Scope()) -> Page:  # noqa: B008  (frozen)
    """All that an hour tells, in one page."""
    pages = fetch(Files("-", io.BytesIO(lines(events))), scope)
    assert {page.origin for page in pages} <= {"archive"}
    assert [page.cursor for page in pages if page.cursor is not None] == []
    return Page(
        tuple(item for page in pages for item in page.items),
        skipped=tuple(entry for page in pages for entry in page.skipped),
        events=tuple(entry for page in pages for entry in page.events),
    )


def named(items: tuple[Item, ...]) -> list[tuple[str, int]]:
    return [(item.kind, item.external_id) for item in items]


def told(events: tuple[Event, ...]) -> list[tuple[Any, ...]]:
    return [(one.number, one.kind, one.label, one.at, one.external_id) for one in events]


def test_an_opened_issue_is_that_of_the_repository_that_github_itself_gives() -> None:
    page = read([PUSH, OPENED])
    assert (page.skipped, page.events) == ((), ())
    (item,) = page.items
    assert (item.kind, item.external_id, item.title, item.state) == ("issue", 1, "Title 1", "open")
    assert item.updated_at == at(0)
    assert (item.repository.key, item.repository.github_id) == (7, 7)
    assert (item.repository.full_name, item.repository.host) == ("acme/rocket", "github.com")


def test_a_comment_comes_with_its_issue() -> None:
    page = read([comment_event(1, ROCKET, issue_object(ROCKET, 3, 5), comment_object(ROCKET, 50, 3), 5)])
    assert named(page.items) == [("issue", 3), ("comment", 50)]
    assert page.items[1].parent_number == 3
    assert page.items[1].body == "A comment"


def test_without_comments_the_issue_of_a_comment_still_comes() -> None:
    events = [comment_event(1, ROCKET, issue_object(ROCKET, 3, 5), comment_object(ROCKET, 50, 3), 5)]
    assert named(read(events, Scope(comments=False)).items) == [("issue", 3)]


def test_pull_requests_and_their_comments_come_where_their_kind_is_wanted() -> None:
    events = [
        OPENED,
        comment_event(2, ROCKET, issue_object(ROCKET, 4, 5, is_pull=True), comment_object(ROCKET, 51, 4), 5),
    ]
    assert named(read(events).items) == [("issue", 1)]
    assert named(read(events, Scope(kinds=BOTH)).items) == [("issue", 1), ("pull_request", 4), ("comment", 51)]
    assert named(read(events, Scope(kinds=("pull_request",))).items) == [("pull_request", 4), ("comment", 51)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_deleted_comment_is_not_given(order: tuple[int, int]) -> None:
    issue = issue_object(ROCKET, 3, 9)
    events = [
        comment_event(1, ROCKET, issue, comment_object(ROCKET, 50, 3), 5),
        comment_event(2, ROCKET, issue, comment_object(ROCKET, 50, 3), 9, action="deleted"),
    ]
    assert named(read([events[place] for place in order]).items) == [("issue", 3)]


def test_an_edited_comment_comes_as_it_is_after_the_edit() -> None:
    issue = issue_object(ROCKET, 3, 9)
    events = [
        comment_event(2, ROCKET, issue, comment_object(ROCKET, 50, 3, 9, "new"), 9, action="edited"),
        comment_event(1, ROCKET, issue, comment_object(ROCKET, 50, 3, 0, "old"), 5),
    ]
    assert [item.body for item in read(events).items if item.kind == "comment"] == ["new"]


def test_changes_of_state_and_labels_are_events_with_their_time_and_number() -> None:
    label = {"id": 1, "name": "bug", "color": "fff"}
    actions: list[tuple[str, dict[str, Any]]] = [
        ("opened", {}),
        ("closed", {}),
        ("reopened", {}),
        ("labeled", {"label": label, "labels": [label]}),
        ("unlabeled", {"labels": [label]}),
        ("assigned", {}),
        ("edited", {}),
    ]
    events = [
        issues_event(10 + place, ROCKET, action, issue_object(ROCKET, 1, place), place, **payload)
        for place, (action, payload) in enumerate(actions)
    ]
    page = read(events)
    assert told(page.events) == [
        (1, "closed", None, at(1), 11),
        (1, "reopened", None, at(2), 12),
        (1, "labeled", "bug", at(3), 13),
        (1, "unlabeled", "bug", at(4), 14),
    ]
    assert {one.source for one in page.events} == {"archive"}
    assert {one.repository.key for one in page.events} == {7}
    assert page.skipped == ()


def test_a_labeled_event_that_does_not_say_which_label_still_gives_the_issue() -> None:
    page = read([issues_event(1, ROCKET, "labeled", issue_object(ROCKET, 1, labels=("bug",)))])
    assert (page.items[0].labels, page.events, page.skipped) == (("bug",), (), ())


@pytest.mark.parametrize("action", ["deleted", "transferred"])
def test_an_issue_that_left_is_not_given_as_it_was_before(action: str) -> None:
    assert read([issues_event(1, ROCKET, action, issue_object(ROCKET, 1))]).items == ()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_an_issue_comes_once_as_the_last_event_has_it(order: tuple[int, ...]) -> None:
    closed = issue_object(ROCKET, 1, 30, state="closed", closed_at=NOON + 30)
    events = [
        OPENED,
        # "Close with comment": two events of one second, of which the first still shows the issue open.
        comment_event(101, ROCKET, issue_object(ROCKET, 1, 30), comment_object(ROCKET, 50, 1), 30),
        issues_event(102, ROCKET, "closed", closed, 30),
    ]
    page = read([events[place] for place in order])
    assert sorted(named(page.items)) == [("comment", 50), ("issue", 1)]
    assert [item.state for item in page.items if item.kind == "issue"] == ["closed"]
    assert told(page.events) == [(1, "closed", None, at(30), 102)]


def test_two_events_of_one_second_are_in_one_page_wherever_pages_end() -> None:
    events = []
    for number in range(1, 1400):
        closed = issue_object(ROCKET, number, number, state="closed", closed_at=NOON + number)
        comment = comment_object(ROCKET, 5000 + number, number)
        events += [
            issues_event(2 * number, ROCKET, "closed", closed, number),
            comment_event(2 * number - 1, ROCKET, issue_object(ROCKET, number, number), comment, number),
        ]
    pages = fetch(Files("-", io.BytesIO(lines(events))))
    assert len(pages) > 3
    assert max(len(page.items) for page in pages) < 2000
    issues = [item for page in pages for item in page.items if item.kind == "issue"]
    assert [item.external_id for item in issues] == list(range(1, 1400))
    assert {item.state for item in issues} == {"closed"}
    assert sum(len(page.events) for page in pages) == 1399


def test_events_that_are_all_of_one_moment_are_not_held_without_end() -> None:
    events = [issues_event(number, ROCKET, "opened", issue_object(ROCKET, number)) for number in range(1, 12_001)]
    pages = fetch(Files("-", io.BytesIO(lines(events))))
    assert [len(page.items) for page in pages] == [5000, 5000, 2000]


def test_only_events_of_the_named_repositories_come() -> None:
    mention = {**issue_object(BOAT, 2), "body": "see acme/rocket"}
    events = [OPENED, issues_event(5, BOAT, "opened", mention)]
    rocket = read(events, Scope(repositories=("Acme/Rocket",)))
    assert [(item.repository.full_name, item.external_id) for item in rocket.items] == [("acme/rocket", 1)]
    both = read(events, Scope(repositories=("acme/rocket", "acme/boat")))
    assert [item.repository.key for item in both.items] == [7, 8]
    assert fetch(Files("-", io.BytesIO(lines(events))), Scope(repositories=("acme/other",))) == []


def test_both_names_of_a_renamed_repository_are_one_repository() -> None:
    events = [OPENED, issues_event(5, Repo(7, "acme/ship"), "opened", issue_object(ROCKET, 2))]
    page = read(events, Scope(repositories=("acme/rocket", "acme/ship")))
    assert [(item.repository.key, item.repository.full_name) for item in page.items] == [
        (7, "acme/rocket"),
        (7, "acme/ship"),
    ]


def test_all_of_github_is_read_where_no_repository_is_named_and_a_warning_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = [OPENED, issues_event(5, BOAT, "opened", issue_object(BOAT, 2))]
    assert len(read(events).items) == 2
    assert [record.message for record in caplog.records] == [
        "no repository is named: an hour of all GitHub is large file=standard input"
    ]
    caplog.clear()
    read(events, Scope(repositories=("acme/boat",)))
    assert caplog.records == []


def test_labels_are_those_that_the_issue_had_then_or_lost_by_the_event() -> None:
    bug = issue_object(ROCKET, 1, 1, labels=("Bug",))
    events = [
        issues_event(1, ROCKET, "opened", issue_object(ROCKET, 2)),
        issues_event(2, ROCKET, "closed", bug, 1),
        issues_event(3, ROCKET, "unlabeled", issue_object(ROCKET, 3, 2), 2, label={"name": "bug"}),
        comment_event(4, ROCKET, bug, comment_object(ROCKET, 50, 1), 1),
    ]
    page = read(events, Scope(labels=("bug",)))
    assert sorted(named(page.items)) == [("comment", 50), ("issue", 1), ("issue", 3)]
    assert [one.external_id for one in page.events] == [2, 3]


def test_a_limit_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = write_hour(tmp_path, [OPENED])
    with pytest.raises(ConfigurationError, match=rf"{path} is a file of GH Archive, .* --limit"):
        fetch(Files(path), Scope(limit=3))


def test_an_hour_without_a_wanted_event_gives_no_stream(tmp_path: Path) -> None:
    path = write_hour(tmp_path, [PUSH])
    assert list(Files(path).streams(Scope(repositories=("acme/rocket",)))) == []


def test_a_comment_and_an_issue_of_trimmed_payloads_are_whole_by_what_the_event_says() -> None:
    issue = issue_object(ROCKET, 3, 5)
    comment = comment_object(ROCKET, 50, 3)
    for key in ("issue_url", "html_url", "url", "reactions", "author_association"):
        del comment[key]
    for key in ("updated_at", "reactions", "author_association", "html_url", "url", "repository_url"):
        del issue[key]
    page = read([comment_event(1, ROCKET, issue, comment, 5)])
    assert page.skipped == ()
    assert [(item.external_id, item.parent_number, item.updated_at) for item in page.items] == [
        (3, None, at(5)),
        (50, 3, at(0)),
    ]


@pytest.mark.parametrize("missing", ["title", "body", "state", "labels"])
def test_an_issue_that_lacks_what_a_stored_one_has_is_not_taken(missing: str) -> None:
    issue = issue_object(ROCKET, 3)
    del issue[missing]
    page = read([issues_event(1, ROCKET, "opened", issue), OPENED])
    assert named(page.items) == [("issue", 1)]
    assert "1 events hold no whole issue, the first in line 1" in page.skipped[0].line


def test_the_form_before_2015_is_counted_in_one_line(tmp_path: Path) -> None:
    other = {**OLD_2011, "repo": {"id": 9, "name": "acme/boat"}}
    path = write_hour(tmp_path, [OLD_2013, OLD_2011, other, OLD_2011], "2012-03-11-12.json.gz")
    (page,) = fetch(Files(path), Scope(repositories=("acme/rocket",)))
    assert (page.items, page.events) == ((), ())
    (skipped,) = page.skipped
    assert skipped.line == (
        f"{path}: 3 events hold no whole issue, the first in line 1; before 2015 GH Archive kept only its number: take"
        " hours from 2015-01-01 on"
    )
    assert json.loads(skipped.payload) == OLD_2013


def test_a_broken_event_is_named_with_its_line_and_kept_and_the_later_ones_go_on(tmp_path: Path) -> None:
    broken = [
        issues_event(5, ROCKET, "opened", {**issue_object(ROCKET, 2), "title": None}),
        {**OPENED, "id": "many"},
        {**OPENED, "created_at": "yesterday"},
        comment_event(6, ROCKET, issue_object(ROCKET, 2), comment_object(ROCKET, 50, 2)) | {"type": "IssuesEvent"},
        event(7, "IssueCommentEvent", ROCKET, 0, {"action": "created", "issue": issue_object(ROCKET, 2)}),
        {**OPENED, "repo": {"id": 7, "name": "/"}},
        b'{"id":"9","type":"IssuesEvent","repo":{"name":"acme/rocket"},',
    ]
    path = write_hour(tmp_path, [PUSH, *broken, OPENED])
    (page,) = fetch(Files(path))
    assert sorted(named(page.items)) == [("issue", 1), ("issue", 2)]
    assert [entry.line for entry in page.skipped] == [
        f"{path} line 2: issue 2: title is missing",
        f"{path} line 3: the event's id is not a number",
        f"{path} line 4: the event's created_at is not a time with its zone",
        f"{path} line 6: event 7: comment is missing",
        f"{path} line 7: '/' does not name a repository: write owner/name, as in pytorch/pytorch",
        f"{path} line 8: not JSON",
    ]
    assert json.loads(page.skipped[0].payload) == broken[0]
    assert page.skipped[-1].payload == broken[-1]


def test_what_postgresql_refuses_is_replaced_in_texts_and_labels() -> None:
    label = {"name": "b\x00ug"}
    issue = {**issue_object(ROCKET, 1, labels=("b\x00ug",)), "title": "A\ud800B"}
    page = read([issues_event(1, ROCKET, "labeled", issue, label=label)])
    assert (page.items[0].title, page.items[0].labels) == ("A\ufffdB", ("b\ufffdug",))
    assert page.items[0].replaced > 0
    assert page.events[0].label == "b\ufffdug"


def test_events_of_a_damaged_line_are_read_as_far_as_they_are_whole(tmp_path: Path) -> None:
    whole = [lines([issues_event(n, ROCKET, "opened", issue_object(ROCKET, n))]).strip() for n in range(1, 6)]
    cut = lines([issues_event(9, ROCKET, "opened", issue_object(ROCKET, 9))])[:700]
    damaged = [
        whole[0] + b"\0" * 1409 + whole[1],
        lines([PUSH])[:60] + whole[2],
        whole[3] + whole[4],
        cut + lines([PUSH]).strip(),
    ]
    path = write_hour(tmp_path, damaged)
    (page,) = fetch(Files(path), Scope(repositories=("acme/rocket",)))
    assert named(page.items) == [("issue", number) for number in range(1, 6)]
    assert [(entry.line, entry.payload) for entry in page.skipped] == [(f"{path} line 4: not JSON", cut)]


def test_hours_joined_by_cat_are_read_as_one(tmp_path: Path) -> None:
    first, second = lines([OPENED]), lines([issues_event(5, BOAT, "opened", issue_object(BOAT, 2))])
    expected = [("issue", 1), ("issue", 2)]
    joined = gzip.compress(first) + gzip.compress(second) + b"\0" * 512 + gzip.compress(b"")
    path = tmp_path / "all.json.gz"
    path.write_bytes(joined)
    for source in (Files("-", io.BytesIO(joined)), Files("-", io.BytesIO(first + second)), Files(path)):
        assert [entry for page in fetch(source) for entry in named(page.items)] == expected


def test_a_file_can_be_read_again(tmp_path: Path) -> None:
    source = Files(write_hour(tmp_path, [OPENED]))
    (stream,) = source.streams(Scope())
    first, second = (list(source.fetch(stream, Scope(), None)) for _ in range(2))
    assert first == second
    assert named(first[0].items) == [("issue", 1)]


def test_gzip_that_breaks_off_keeps_what_was_read_and_names_the_file(tmp_path: Path) -> None:
    events = [issues_event(number, ROCKET, "opened", issue_object(ROCKET, number)) for number in range(1, 400)]
    path = tmp_path / "2024-01-15-12.json.gz"
    path.write_bytes(gzip.compress(lines(events), 0)[:200_000])
    pages = fetch(Files(path))
    numbers = [item.external_id for page in pages for item in page.items]
    assert numbers == list(range(1, len(numbers) + 1))
    assert 20 < len(numbers) < 399
    (skipped,) = (entry for page in pages for entry in page.skipped)
    assert skipped.line == f"{path} line {len(numbers) + 1}: the gzip data breaks off here: get the file again"
    assert lines(events).startswith(b"".join(lines([one]) for one in events[: len(numbers)]) + skipped.payload)


@pytest.mark.parametrize("rest", [b"no gzip at all", gzip.compress(b"x", mtime=0)[:9]])
def test_what_follows_the_gzip_data_and_is_none_is_named(rest: bytes, tmp_path: Path) -> None:
    path = tmp_path / "hour.json.gz"
    path.write_bytes(gzip.compress(lines([OPENED])) + rest)
    (page,) = fetch(Files(path))
    assert named(page.items) == [("issue", 1)]
    assert f"{path} line 2: the gzip data breaks off here" in page.skipped[0].line


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.json.gz"
    path.write_bytes(gzip.compress(lines([OPENED]) + b'{"id":"2",' + b" " * (80 << 20), 1))
    (page,) = fetch(Files(path))
    assert named(page.items) == [("issue", 1)]
    assert page.skipped[0].line == f"{path} line 2: longer than 64 MiB; what follows in the file was not read"
    assert len(page.skipped[0].payload) == 1 << 20


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=20),
    packed=st.booleans(),
    ended=st.booleans(),
    blank=st.lists(st.sampled_from([b"", b" ", b"\r"]), max_size=3),
)
def test_however_the_bytes_arrive_every_event_and_line_number_is_right(
    sizes: list[int], packed: bool, ended: bool, blank: list[bytes]
) -> None:
    text = lines([PUSH, OPENED, *blank, PUSH, {**OPENED, "id": "x"}, {**OPENED, "id": "y"}])
    text = text if ended else text[:-1]
    half = len(text) // 2
    data = gzip.compress(text[:half]) + gzip.compress(text[half:]) if packed else text

    def blocks() -> Iterator[bytes]:
        place = 0
        while place < len(data):
            size = sizes[place % len(sizes)]
            yield data[place : place + size]
            place += size

    if packed and sizes[0] == 1:
        sizes[0] = 2  # A file's first block is as long as the file allows.
    (page,) = Archive(blocks, "f").fetch(Scope())
    assert named(page.items) == [("issue", 1)]
    last = 5 + len(blank)
    assert [entry.line.split(":")[0] for entry in page.skipped] == [f"f line {last - 1}", f"f line {last}"]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([OPENED], True),
        ([PUSH], True),
        ([OLD_2011], True),
        ([OLD_2013], True),
        ([issue_object(ROCKET, 1)], False),
        ([comment_object(ROCKET, 1, 1)], False),
        ([[OPENED]], False),
        ([{"type": "Event"}], False),
        ([5], False),
        ([b"rubbish"], False),
        ([b"rubbish", PUSH], True),
        ([b'{"id": "1", "type": "Push', OLD_2011], True),
        ([b"rubbish", issue_object(ROCKET, 1), PUSH], False),
        ([], False),
    ],
)
def test_an_hour_is_told_by_its_first_line_that_is_whole(records: list[Any], expected: bool) -> None:
    text = lines(records)
    assert is_archive(text) is expected
    assert is_archive(b"\xef\xbb\xbf" + text) is expected
    assert is_archive(gzip.compress(text)) is expected
    assert is_archive(gzip.compress(text)[:-9]) is expected


def test_a_first_line_longer_than_what_is_at_hand_tells_too() -> None:
    long = issues_event(1, ROCKET, "opened", {**issue_object(ROCKET, 1), "body": "x" * 100_000})
    assert is_archive(lines([long])[:5000])
    assert not is_archive(lines([{**issue_object(ROCKET, 1), "body": "x" * 100_000}])[:5000])
    assert not is_archive(b"\x1f\x8brubbish")
