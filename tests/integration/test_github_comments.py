"""The comments of a repository where GitHub fails on their list, or where they move while they are read."""

import json
from collections.abc import Iterator

import pytest

from etl.errors import UnavailableError
from etl.records import Scope
from tests.integration.github_reader import BEGIN, HOUR, NAME, Reader, fill
from tests.loopback.github import LoopbackGitHub
from tests.loopback.github_http import Request

ALL = "/issues/comments"


@pytest.fixture
def github() -> Iterator[LoopbackGitHub]:
    with LoopbackGitHub() as server:
        server.add_repository(NAME)
        yield server


def _commented(github: LoopbackGitHub, issues: int, each: int) -> set[int]:
    """So many issues, an hour apart, with so many comments each, a second apart; gives the comments' ids."""
    numbers = fill(github, issues, step=HOUR)
    return {
        github.add_comment(NAME, number, created_at=BEGIN + place * HOUR + i, updated_at=BEGIN + place * HOUR + i)
        for place, number in enumerate(numbers)
        for i in range(each)
    }


@pytest.mark.parametrize("widest", [99, 30, 29, 10])
def test_smaller_pages_come_through_where_larger_ones_fail(github: LoopbackGitHub, widest: int) -> None:
    comments = _commented(github, 3, 50)
    github.comment_window_per_page = widest
    reader = Reader(github)
    reader.run(attempts=2)
    assert reader.comments() == comments
    assert github.requests(f"per_page={30 if widest >= 30 else 10}&")
    assert not [request for request in github.journal if request.path.endswith("/1/comments")]


def test_comments_are_read_issue_by_issue_where_their_list_fails(github: LoopbackGitHub) -> None:
    comments = _commented(github, 5, 130)
    fill(github, 40)
    github.comment_window_rows = 100
    reader = Reader(github)
    reader.run(attempts=2)
    assert reader.comments() == comments
    assert not github.requests("/issues/7/comments")
    wide = [request.query["per_page"] for request in github.requests(ALL)]
    assert wide == ["100", "100", "30", "30", "10", "10"]


def test_a_reading_of_all_issues_stands_for_the_list_up_to_when_it_began(github: LoopbackGitHub) -> None:
    comments = _commented(github, 5, 130)
    github.comment_window_rows = 100
    reader = Reader(github)
    reader.run(attempts=2)
    # An edit leaves its issue as it was, so that only the list of comments tells of it.
    github.edit_comment(NAME, min(comments), "edited")
    asked = len(github.journal)
    reader.run(attempts=2)
    assert reader.items["comment", min(comments)].body == "edited"
    assert [request.query["per_page"] for request in github.requests(ALL) if request in github.journal[asked:]] == [
        "100"
    ]


@pytest.mark.parametrize("stored", range(1, 8))
def test_a_reading_by_issue_that_breaks_off_goes_on_where_it_was(github: LoopbackGitHub, stored: int) -> None:
    comments = _commented(github, 8, 3)
    github.comment_window_rows = 5
    reader = Reader(github)
    reader.run(attempts=1, pages=1 + stored)
    position = json.loads(reader.cursors["comments", ""])
    assert "newest" not in position
    asked = len(github.journal)
    reader.run(attempts=1)
    assert reader.comments() == comments
    read = {request.path for request in github.journal[asked:] if request.path.endswith("/comments")}
    # The issue that was read last is asked again, its second may have held others; those before it are not.
    assert len([path for path in read if not path.endswith(ALL)]) == 8 - stored + 1
    assert len([request for request in github.journal[asked:] if request.path.endswith(ALL)]) == 1


def test_what_the_list_gave_before_it_failed_is_not_read_again(github: LoopbackGitHub) -> None:
    comments = _commented(github, 6, 60)
    github.fail_next(502, times=99, on=ALL, skip=2)
    reader = Reader(github)
    reader.run(attempts=1)
    assert reader.comments() == comments
    assert not github.requests("/issues/1/comments")
    newest = json.loads(reader.cursors["comments", ""])["newest"]
    github.faults.clear()
    github.edit_comment(NAME, max(comments), "edited")
    reader.run(attempts=1)
    position = json.loads(reader.cursors["comments", ""])
    assert position["newest"] > newest
    assert "by_issue" not in position
    assert reader.items["comment", max(comments)].body == "edited"


def test_new_comments_keep_coming_issue_by_issue_while_the_list_fails(github: LoopbackGitHub) -> None:
    comments = _commented(github, 4, 3)
    reader = Reader(github)
    reader.run()
    github.fail_next(502, times=999, on=ALL)
    for _ in range(3):
        github.advance(HOUR)
        comments.add(github.add_comment(NAME, 2))
        github.advance(HOUR)
        reader.run(attempts=1)
        assert reader.comments() == comments
    newest = json.loads(reader.cursors["comments", ""])["newest"]
    assert newest.startswith("2023-11-1")
    assert not github.requests("/issues/1/comments")


def test_labels_and_kinds_narrow_what_is_read_issue_by_issue(github: LoopbackGitHub) -> None:
    fill(github, 3, labels=("bug",))
    fill(github, 3)
    pull = github.add_issue(NAME, "A change", created_at=BEGIN, is_pull=True, labels=("bug",))
    wanted = {github.add_comment(NAME, number) for number in (1, 3)}
    for number in (5, pull):
        github.add_comment(NAME, number)
    github.fail_next(502, times=99, on=ALL)
    reader = Reader(github)
    reader.run(Scope((NAME,), labels=("Bug",)), attempts=1)
    assert reader.comments() == wanted
    assert not github.requests("/issues/5/comments") + github.requests(f"/issues/{pull}/comments")
    reader.run(Scope((NAME,), kinds=("pull_request",)), attempts=1)
    assert len(reader.comments()) == 3


def test_a_limit_reads_its_issues_one_by_one_where_the_list_fails(github: LoopbackGitHub) -> None:
    _commented(github, 6, 3)
    github.fail_next(502, times=99, on=ALL)
    reader = Reader(github)
    reader.run(Scope((NAME,), limit=2), attempts=1)
    assert {item.parent_number for item in reader.items.values() if item.kind == "comment"} == {5, 6}
    assert len(reader.comments()) == 6
    assert reader.cursors == {}


def test_an_outage_is_not_taken_for_a_failing_list(github: LoopbackGitHub) -> None:
    _commented(github, 2, 3)
    github.fail_next(503, times=99, on="/issues", skip=1)
    reader = Reader(github)
    with pytest.raises(UnavailableError, match="the issues of acme/rocket"):
        reader.run(attempts=1)
    assert ("comments", "") not in reader.cursors


def test_an_issue_that_goes_away_while_comments_are_read_issue_by_issue_is_passed(github: LoopbackGitHub) -> None:
    comments = _commented(github, 4, 3)
    gone = {row.id for row in github.repository(NAME).comments.values() if row.number == 2}
    github.fail_next(502, times=99, on=ALL)

    def delete(request: Request) -> None:
        if request.path.endswith("/issues/2/comments"):
            github.delete_issue(NAME, 2)

    github.before_response = delete
    reader = Reader(github)
    reader.run(attempts=1)
    assert reader.comments() == comments - gone


def test_comments_of_one_second_that_move_between_two_pages_are_not_lost(github: LoopbackGitHub) -> None:
    fill(github, 1)
    comments = [github.add_comment(NAME, 1, created_at=BEGIN + HOUR, updated_at=BEGIN + HOUR) for _ in range(350)]
    deleted: list[int] = []

    def delete(request: Request) -> None:
        if request.query.get("page") == "2" and len(deleted) < 3:
            deleted.append(comments.pop(0))
            github.delete_comment(NAME, deleted[-1])

    github.before_response = delete
    reader = Reader(github)
    reader.run()
    assert len(deleted) == 3
    assert reader.comments() >= set(comments)


def test_comments_of_one_second_that_never_stop_moving_are_read_issue_by_issue(github: LoopbackGitHub) -> None:
    fill(github, 1)
    comments = [github.add_comment(NAME, 1, created_at=BEGIN + HOUR, updated_at=BEGIN + HOUR) for _ in range(350)]

    def delete(request: Request) -> None:
        if request.path.endswith(ALL) and "page" in request.query:
            github.delete_comment(NAME, comments.pop(0))

    github.before_response = delete
    reader = Reader(github)
    reader.run()
    assert reader.comments() >= set(comments)
    assert github.requests("/issues/1/comments")


@pytest.mark.parametrize("status", [422, 404])
def test_a_refused_page_of_comments_is_not_the_end_of_the_list(github: LoopbackGitHub, status: int) -> None:
    fill(github, 1)
    comments = {github.add_comment(NAME, 1, created_at=BEGIN + HOUR, updated_at=BEGIN + HOUR) for _ in range(350)}
    github.fail_next(status, on="page=3")
    reader = Reader(github)
    reader.run()
    assert reader.comments() == comments


def test_more_comments_of_one_second_than_github_lists_are_read_issue_by_issue(github: LoopbackGitHub) -> None:
    comments = _commented(github, 2, 0)
    for number in (1, 2):
        comments |= {
            github.add_comment(NAME, number, created_at=BEGIN + HOUR, updated_at=BEGIN + HOUR) for _ in range(150)
        }
    github.deepest_row = 200
    reader = Reader(github)
    reader.run()
    assert reader.comments() == comments
