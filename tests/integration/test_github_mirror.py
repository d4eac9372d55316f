"""Every item as it is now, and what became of those that are gone, asked over real HTTP."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from etl.errors import BudgetError, ConfigurationError, RateLimitError, SkipError, UnavailableError
from etl.github import GitHubClient
from etl.records import Event, Item, Repository, Scope, Vanished
from etl.sources.base import Mirror
from etl.sources.github_issues import GitHubIssues
from tests.integration.github_reader import BEGIN, HOUR, NAME, fill
from tests.loopback.github import LoopbackGitHub
from tests.loopback.github_http import Request

OTHER = "acme/other"
EVERYTHING = Scope()


@pytest.fixture
def github() -> Iterator[LoopbackGitHub]:
    with LoopbackGitHub() as server:
        server.add_repository(NAME)
        server.add_repository(OTHER)
        yield server


@pytest.fixture
def mirror(github: LoopbackGitHub) -> Iterator[Mirror]:
    with GitHubClient(github.url, "ghp_test", time.monotonic() + 1800, sleep=github.advance) as client:
        yield GitHubIssues(client)


@pytest.fixture
def repository(github: LoopbackGitHub) -> Repository:
    return _repository(github)


def _repository(github: LoopbackGitHub, name: str = NAME) -> Repository:
    github_id = github.repository(name).id
    return Repository(github_id, "127.0.0.1", github_id, name)


def _walked(
    mirror: Mirror,
    repository: Repository,
    scope: Scope = EVERYTHING,
    position: str | None = None,
) -> list[int]:
    return [item.external_id for page in mirror.walk(repository, scope, position) for item in page.items]


def test_a_walk_gives_every_issue_in_order_of_creation_a_page_per_request(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository
) -> None:
    numbers = fill(github, 250)
    github.close_issue(NAME, 3)
    github.add_issue(NAME, "A change", created_at=BEGIN, is_pull=True)
    pages = list(mirror.walk(repository, Scope((NAME,)), None))
    assert [item.external_id for page in pages for item in page.items] == numbers
    assert [page.cursor is None for page in pages] == [False, False, True]
    assert len(github.journal) == 3
    assert {request.path for request in github.journal} == {f"/repositories/{repository.github_id}/issues"}


@pytest.mark.parametrize("stored", [1, 2])
def test_a_walk_goes_on_in_a_later_run_from_where_it_was(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository, stored: int
) -> None:
    numbers = fill(github, 250)
    pages = list(mirror.walk(repository, Scope(), None))
    github.edit_issue(NAME, 240)
    github.delete_issue(NAME, 5)
    github.rename_repository(NAME, "acme/starship")
    rest = _walked(mirror, repository, position=pages[stored - 1].cursor)
    assert rest == numbers[stored * 100 :]


def test_a_walk_with_labels_reads_one_list_after_the_other_and_goes_on_between_them(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository
) -> None:
    bugs = fill(github, 150, labels=("Bug",))
    docs = fill(github, 30, labels=("docs",))
    fill(github, 10)
    scope = Scope(labels=("bug", "docs"))
    pages = list(mirror.walk(repository, scope, None))
    assert [item.external_id for page in pages for item in page.items] == bugs + docs
    assert pages[-1].cursor is None
    assert _walked(mirror, repository, scope, pages[0].cursor) == bugs[100:] + docs
    assert _walked(mirror, repository, scope, pages[1].cursor) == docs
    assert _walked(mirror, repository, Scope(labels=("docs",)), pages[0].cursor) == docs


@pytest.mark.parametrize("status", [404, 410, 422])
def test_a_walk_whose_position_is_refused_begins_again_from_the_front(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository, status: int
) -> None:
    numbers = fill(github, 150)
    position = next(mirror.walk(repository, Scope(), None)).cursor
    github.fail_next(status, on="after=")
    assert _walked(mirror, repository, position=position) == numbers


@pytest.mark.parametrize("position", ["rubbish", "[]", '{"next": 5}', '{"label": "gone", "next": "/nowhere"}', "{}"])
def test_a_walk_with_a_position_of_something_else_begins_at_the_front(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository, position: str
) -> None:
    numbers = fill(github, 3)
    assert _walked(mirror, repository, position=position) == numbers


def test_a_walk_that_is_refused_again_and_again_names_the_list(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository
) -> None:
    fill(github, 150)
    github.fail_next(422, times=99, on="after=")
    with pytest.raises(UnavailableError, match="refuses to go on listing the issues of acme/rocket"):
        _walked(mirror, repository)


def test_a_walk_keeps_what_it_cannot_use_with_its_bytes(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository
) -> None:
    broken = github.add_issue(NAME, "broken", extra={"labels": 5})
    page = next(mirror.walk(repository, Scope(), None))
    assert json.loads(page.skipped[0].payload)["number"] == broken


def test_a_walk_stops_where_the_calls_of_a_run_end_and_goes_on_in_the_next(
    github: LoopbackGitHub, repository: Repository
) -> None:
    numbers = fill(github, 250)
    position: str | None = None
    seen: list[int] = []
    for _ in range(3):
        with GitHubClient(github.url, "ghp_test", time.monotonic() + 60, max_calls=1) as client:
            try:
                for page in GitHubIssues(client).walk(repository, Scope(), position):
                    seen += [item.external_id for item in page.items]
                    position = page.cursor
            except BudgetError:
                continue
    assert (seen, position) == (numbers, None)


def test_an_item_that_is_there_is_given_as_it_is_now(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository
) -> None:
    fill(github, 1)
    github.close_issue(NAME, 1, "not_planned")
    item = mirror.recheck(repository, "issue", 1)
    assert isinstance(item, Item)
    assert (item.external_id, item.state, item.state_reason, item.repository) == (
        1,
        "closed",
        "not_planned",
        repository,
    )
    walked = next(mirror.walk(repository, Scope(), None)).items[0]
    assert item == walked


def test_what_became_of_an_item_is_told_apart(github: LoopbackGitHub, mirror: Mirror, repository: Repository) -> None:
    fill(github, 4)
    fill(github, 2, name=OTHER)
    github.delete_issue(NAME, 1)
    github.hide_issue(NAME, 2)
    there = github.transfer_issue(NAME, 3, OTHER)
    assert mirror.recheck(repository, "issue", 1) == Vanished("deleted")
    assert mirror.recheck(repository, "issue", 2) == Vanished("hidden")
    assert mirror.recheck(repository, "issue", 3) == Vanished("transferred", OTHER, there)
    github.unhide_issue(NAME, 2)
    assert isinstance(mirror.recheck(repository, "issue", 2), Item)


def test_an_item_that_was_transferred_twice_is_followed_to_where_it_is(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository
) -> None:
    fill(github, 1)
    github.add_repository("acme/third")
    github.transfer_issue(NAME, 1, OTHER)
    there = github.transfer_issue(OTHER, 1, "acme/third")
    assert mirror.recheck(repository, "issue", 1) == Vanished("transferred", "acme/third", there)


@pytest.mark.parametrize("fate", ["deleted", "hidden", "private"])
def test_where_to_is_left_out_if_it_cannot_be_read(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository, fate: str
) -> None:
    fill(github, 1)
    there = github.transfer_issue(NAME, 1, OTHER)
    if fate == "deleted":
        github.delete_issue(OTHER, there)
    elif fate == "hidden":
        github.hide_issue(OTHER, there)
    else:
        github.block_repository(OTHER)
    assert mirror.recheck(repository, "issue", 1) == Vanished("transferred")


def test_a_redirect_to_nowhere_is_a_transfer_to_an_unknown_place(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository
) -> None:
    fill(github, 1)
    github.fail_next("redirect", on="/issues/1", status=301, location="")
    assert mirror.recheck(repository, "issue", 1) == Vanished("transferred")


def test_an_answer_of_another_place_is_a_transfer_that_something_followed(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository
) -> None:
    fill(github, 1)
    there = github.add_issue(OTHER, "Moved", number=9)
    shown = github.render.issue(github.repository(OTHER), github.repository(OTHER).issues[there])
    github.fail_next("bytes", on="/issues/1", body=json.dumps(shown).encode())
    assert mirror.recheck(repository, "issue", 1) == Vanished("transferred", OTHER, 9)


@pytest.mark.parametrize("with_id", [True, False])
def test_a_renamed_repository_has_its_items_still(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository, with_id: bool
) -> None:
    fill(github, 2)
    identity = github.add_comment(NAME, 2)
    github.rename_repository(NAME, "acme/starship")
    if not with_id:
        repository = replace(repository, github_id=None)
    item = mirror.recheck(repository, "issue", 2)
    assert isinstance(item, Item)
    assert item.external_id == 2
    if with_id:
        comments = mirror.comments_of(repository, "issue", 2)
        assert not isinstance(comments, Vanished)
        assert [comment.external_id for comment in comments] == [identity]


def test_an_item_that_cannot_be_used_and_issues_switched_off_are_no_reason_for_a_tombstone(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository
) -> None:
    broken = github.add_issue(NAME, "broken", extra={"labels": 5})
    with pytest.raises(SkipError, match="labels is not a list"):
        mirror.recheck(repository, "issue", broken)
    github.fail_next("bytes", on="/issues/1", body=b"[]")
    with pytest.raises(SkipError, match="is no issue"):
        mirror.recheck(repository, "issue", 1)
    github.switch_issues(NAME, on=False)
    with pytest.raises(SkipError, match="switched off"):
        mirror.recheck(repository, "issue", broken)


def test_all_comments_of_an_item_come(github: LoopbackGitHub, mirror: Mirror, repository: Repository) -> None:
    fill(github, 2)
    expected = [github.add_comment(NAME, 1, created_at=BEGIN + i) for i in range(230)]
    github.add_comment(NAME, 2)
    comments = mirror.comments_of(repository, "issue", 1)
    assert not isinstance(comments, Vanished)
    assert [comment.external_id for comment in comments] == expected
    github.repository(NAME).issues[2].comments = 0
    github.delete_comment(NAME, max(github.repository(NAME).comments))
    assert mirror.comments_of(repository, "issue", 2) == []


def test_comments_of_a_pull_request_come_too(github: LoopbackGitHub, mirror: Mirror, repository: Repository) -> None:
    pull = github.add_issue(NAME, "A change", is_pull=True)
    identity = github.add_comment(NAME, pull)
    comments = mirror.comments_of(repository, "pull_request", pull)
    assert not isinstance(comments, Vanished)
    assert [(comment.external_id, comment.parent_number) for comment in comments] == [(identity, pull)]


def test_a_comment_deleted_while_they_are_read_hides_no_other(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository
) -> None:
    fill(github, 1)
    expected = [github.add_comment(NAME, 1, created_at=BEGIN + i) for i in range(250)]

    def delete(request: Request) -> None:
        if request.query.get("page") == "2" and len(expected) == 250:
            github.delete_comment(NAME, expected.pop(0))

    github.before_response = delete
    comments = mirror.comments_of(repository, "issue", 1)
    assert not isinstance(comments, Vanished)
    assert [comment.external_id for comment in comments] == expected


def test_comments_that_never_stop_moving_are_no_complete_list(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository
) -> None:
    fill(github, 1)
    comments = [github.add_comment(NAME, 1, created_at=BEGIN + i) for i in range(250)]

    def delete(request: Request) -> None:
        if request.query.get("page") == "2":
            github.delete_comment(NAME, comments.pop(0))

    github.before_response = delete
    with pytest.raises(UnavailableError, match="keep moving"):
        mirror.comments_of(repository, "issue", 1)


@pytest.mark.parametrize("status", [301, 404])
def test_comments_and_history_of_an_item_that_is_gone_say_so(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository, status: int
) -> None:
    fill(github, 3)
    github.transferred_parts_status = 301 if status == 301 else 404
    for number in (1, 2, 3):
        github.add_comment(NAME, number)
    github.delete_issue(NAME, 1)
    there = github.transfer_issue(NAME, 2, OTHER)
    github.hide_issue(NAME, 3)
    assert mirror.comments_of(repository, "issue", 1) == Vanished("deleted")
    assert mirror.comments_of(repository, "issue", 2) == Vanished("transferred", OTHER, there)
    assert mirror.comments_of(repository, "issue", 3) == Vanished("hidden")
    for number in (1, 2, 3):
        with pytest.raises(SkipError, match=f"acme/rocket#{number}"):
            mirror.history_of(repository, "issue", number)


def test_comments_that_are_not_there_though_their_item_is_or_cannot_be_used_are_skipped(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository
) -> None:
    fill(github, 1)
    github.add_comment(NAME, 1, body=5)
    with pytest.raises(SkipError, match="body is not a text"):
        mirror.comments_of(repository, "issue", 1)
    github.fail_next(404, on="/comments")
    with pytest.raises(SkipError, match="though it is itself"):
        mirror.comments_of(repository, "issue", 1)


def test_the_history_of_an_item_is_its_changes_of_state_and_labels(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository
) -> None:
    number = github.add_issue(NAME, "A title", created_at=BEGIN, labels=("bug",))
    github.add_comment(NAME, number, created_at=BEGIN + 10)
    github.close_issue(NAME, number, at=BEGIN + 20)
    github.edit_issue(NAME, number, at=BEGIN + 25, title="Another title")
    github.reopen_issue(NAME, number, at=BEGIN + 30)
    github.relabel_issue(NAME, number, "bad\x00label", at=BEGIN + 40)
    github.mention_issue(NAME, number, OTHER, github.add_issue(OTHER, f"See {NAME}#{number}"))
    events = mirror.history_of(repository, "issue", number)
    told = [(int(event.at.timestamp()) - BEGIN, event.kind, event.label) for event in events]
    assert told[:3] == [(0, "labeled", "bug"), (20, "closed", None), (30, "reopened", None)]
    assert sorted(told[3:]) == [(40, "labeled", "bad\ufffdlabel"), (40, "unlabeled", "bug")]
    first = events[0]
    assert first == Event(
        repository, number, "labeled", datetime.fromtimestamp(BEGIN, UTC), "bug", "timeline", first.external_id
    )
    assert len({event.external_id for event in events}) == len(events) == 5
    assert None not in {event.external_id for event in events}


def test_a_long_history_comes_whole_and_a_merged_pull_request_was_closed(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository
) -> None:
    pull = github.add_issue(NAME, "A change", created_at=BEGIN, is_pull=True)
    for i in range(1, 121):
        github.close_issue(NAME, pull, at=BEGIN + 2 * i)
        github.reopen_issue(NAME, pull, at=BEGIN + 2 * i + 1)
    github.merge_pull(NAME, pull, at=BEGIN + HOUR)
    events = mirror.history_of(repository, "pull_request", pull)
    assert len(events) == 241
    assert (events[-1].kind, events[-1].at.timestamp()) == ("closed", BEGIN + HOUR)


def test_a_repository_is_confirmed_by_its_id(github: LoopbackGitHub, mirror: Mirror, repository: Repository) -> None:
    mirror.confirm(repository)
    github.rename_repository(NAME, "acme/starship")
    mirror.confirm(repository)
    github.block_repository("acme/starship")
    with pytest.raises(ConfigurationError, match="not found"):
        mirror.confirm(repository)
    github.unblock_repository("acme/starship")
    github.switch_issues("acme/starship", on=False)
    with pytest.raises(SkipError, match="switched off"):
        mirror.confirm(repository)


def test_what_answers_with_another_id_is_not_the_repository(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository
) -> None:
    another = github.render.repository(github.repository(OTHER))
    github.fail_next("bytes", on=f"/repositories/{repository.github_id}", body=json.dumps(another).encode())
    with pytest.raises(ConfigurationError, match="another id"):
        mirror.confirm(repository)


def test_a_limit_that_outlasts_the_run_says_nothing_of_an_item(
    github: LoopbackGitHub, mirror: Mirror, repository: Repository
) -> None:
    fill(github, 1)
    github.fail_next("primary", on="/issues/1", seconds=3 * HOUR)
    with pytest.raises(RateLimitError):
        mirror.recheck(repository, "issue", 1)
