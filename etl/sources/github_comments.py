"""The comments of a repository: its list of all comments, and where GitHub fails on that, issue by issue.

The list goes by page numbers, which skip rows when others move. So each page is followed by a new request with `since`
one second before the newest row seen; only where one second fills a whole page is `rel="next"` followed, and then it
is made sure that the page before it did not move meanwhile.

On big repositories GitHub answers a stretch of the list with 5xx again and again. It is asked for in smaller pages; if
they fail too, the comments of the issues that changed since are read issue by issue. A comment that was only edited
does not change its issue, so the list's own position stays where it was, and the next run tries the list again first.
Only a reading of all issues, from the first one on, stands for the list up to when that began.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from etl.errors import SkipError, UnavailableError
from etl.github import Look, Response
from etl.records import Item, Page, Repository, Scope
from etl.sources.github_cursor import (
    SECOND,
    Position,
    begun_by_issue,
    ended_by_issue,
    moved,
    moved_by_issue,
    newest_change,
    since_by_issue,
    since_of,
    write_cursor,
)
from etl.sources.github_lists import (
    PAGE_SIZES,
    ChangedIssues,
    ListReader,
    Parsed,
    address_of,
    list_address,
    parse_page,
)

_log = logging.getLogger(__name__)

_MOST_BEGINNINGS = 6


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which comments a run asks for.

    numbers: of these issues only, which leaves the cursor alone; None: of all. earliest: where the list begins for a
    run that has no position yet; None: at its beginning.
    """

    repository: Repository
    scope: Scope
    numbers: frozenset[int] | None
    earliest: datetime | None


def changed_comments(reader: ListReader, wanted: Wanted, position: Position) -> Iterator[Page]:
    """The comments from the position on, oldest change first.

    Raises:
        UnavailableError: GitHub fails on the list, and on reading issue by issue too.
    """
    walk = _CommentList(reader, wanted.repository, since_of(position) or wanted.earliest, position)
    try:
        response = walk.first(position)
        began = response.date
        while True:
            if response.status == 304:
                yield Page(())
                return
            items, skipped = parse_page(response, wanted.repository, wanted.scope, walk.address)
            position = moved(position, response.body, began)
            is_last = response.next_url is None
            if is_last:
                position = replace(position, by_issue=None)
                if walk.pages == 1:
                    position = replace(position, etag=response.etag, url=walk.address, token=response.token_id)
            if wanted.numbers is not None:
                items = [item for item in items if item.parent_number in wanted.numbers]
            yield Page(tuple(items), None if wanted.numbers is not None else write_cursor(position), tuple(skipped))
            if is_last:
                return
            response = walk.following(response)
    except UnavailableError as error:
        _log.warning("comments are read issue by issue repository=%s: %s", wanted.repository.full_name, error)
    yield from _comments_by_issue(reader, wanted, position)


def comments_of_issue(reader: ListReader, repository: Repository, number: int, scope: Scope) -> Parsed | Look:
    """All comments of one issue or pull request, of the kinds that `scope` wants, or why they are not there.

    Raises:
        UnavailableError: GitHub fails on them, or they keep moving.
    """
    path = f"{address_of(repository)}/issues/{number}/comments"
    pages = reader.whole_list(path, f"the comments of {repository.full_name}#{number}")
    if isinstance(pages, Look):
        return pages
    found = Parsed([], [])
    for page in pages:
        items, skipped = parse_page(page, repository, scope, path)
        found.items.extend(items)
        found.skipped.extend(skipped)
    return found


def comments_of_changed(
    reader: ListReader, issues: Sequence[Item], scope: Scope, asked: set[tuple[int, datetime]]
) -> Parsed:
    """All comments of issues that a list gave anew, less those of issues that went away meanwhile.

    asked: the issues, each as of a change, whose comments were read in this run; takes up these.
    """
    found = Parsed([], [])
    for issue in issues:
        key = (issue.external_id, issue.updated_at)
        if not issue.comments or key in asked:
            continue
        comments = comments_of_issue(reader, issue.repository, issue.external_id, scope)
        asked.add(key)
        if isinstance(comments, Look):
            _log.info("issue went away before its comments were read number=%d", issue.external_id)
            continue
        found.items.extend(comments.items)
        found.skipped.extend(comments.skipped)
    return found


class _CommentList:
    """The requests of one walk over a repository's comments."""

    def __init__(self, reader: ListReader, repository: Repository, since: datetime | None, position: Position) -> None:
        self._reader = reader
        self._repository = repository
        self._what = f"the comments of {repository.full_name}"
        self._since = since
        # Where the last run had to go issue by issue, only the smallest page is worth the retries.
        self._sizes = iter(PAGE_SIZES if position.by_issue is None else PAGE_SIZES[-1:])
        self._per_page = next(self._sizes)
        self._beginnings = 0
        self.address = self._from_since()
        self.pages = 0

    def first(self, position: Position) -> Response:
        """The first page, or a 304."""
        if position.url == self.address:
            return self._front(position.etag, position.token)
        return self._front()

    def following(self, response: Response) -> Response:
        """The page after `response`: from the second before its newest row, else the next of a full second."""
        newest = newest_change(response.body, response.date)
        if newest is not None and (self._since is None or newest - SECOND > self._since):
            self._since = newest - SECOND
            self._beginnings = 0
            return self._front()
        return self._next_of_second(response)

    def _next_of_second(self, response: Response) -> Response:
        """The next page by number; or the first one again, where a row may have slipped through between the two."""
        before = self.address
        try:
            following = self._reader.get(
                response.next_url or before, self._what, may_be_gone=True, may_be_too_deep=True
            )
            if self._reader.is_unchanged(response, before, self._what):
                self.pages += 1
                self.address = response.next_url or before
                return following
        except SkipError as refusal:
            _log.warning("page of comments was refused repository=%s: %s", self._repository.full_name, refusal)
        except UnavailableError:
            if not self._shrink():
                raise
        self._beginnings += 1
        if self._beginnings == _MOST_BEGINNINGS:
            raise UnavailableError(f"{self._what} cannot be listed past one second: they move, or are too many")
        return self._front()

    def _front(self, etag: str | None = None, etag_token: str | None = None) -> Response:
        self.pages += 1
        while True:
            self.address = self._from_since()
            try:
                return self._reader.get(self.address, self._what, etag=etag, etag_token=etag_token)
            except UnavailableError:
                if not self._shrink():
                    raise
                etag = etag_token = None

    def _shrink(self) -> bool:
        """Smaller pages from now on, if there are any smaller ones."""
        smaller = next(self._sizes, None)
        if smaller is None:
            return False
        self._per_page = smaller
        _log.warning("comments come in smaller pages repository=%s per_page=%d", self._repository.full_name, smaller)
        return True

    def _from_since(self) -> str:
        base = f"/repos/{self._repository.full_name}"
        return list_address(base, "issues/comments", self._since, None, per_page=self._per_page)


def _comments_by_issue(reader: ListReader, wanted: Wanted, position: Position) -> Iterator[Page]:
    """The comments of the issues that changed since the position, an issue per page, oldest change first."""
    if wanted.numbers is not None:
        for number in sorted(wanted.numbers):
            comments = comments_of_issue(reader, wanted.repository, number, wanted.scope)
            if isinstance(comments, Parsed):
                yield Page(tuple(comments.items), None, tuple(comments.skipped))
        return
    labels = {label.lower() for label in wanted.scope.labels}
    since = since_by_issue(position) or wanted.earliest
    walk = ChangedIssues(reader, wanted.repository, None, since)
    first = walk.first(Position())
    position = begun_by_issue(position, first.date)
    response: Response | None = first
    while response is not None:
        # An issue that cannot be used was kept with its bytes when the issues were listed.
        for issue in parse_page(response, wanted.repository, wanted.scope, walk.address).items:
            position = moved_by_issue(position, issue.updated_at, first.date)
            if not issue.comments or (labels and labels.isdisjoint(label.lower() for label in issue.labels)):
                continue
            found = comments_of_changed(reader, [issue], wanted.scope, set())
            yield Page(tuple(found.items), write_cursor(position), tuple(found.skipped))
        response = walk.following(response)
    yield Page((), write_cursor(ended_by_issue(position)))
