"""GitHub's REST API as a source of issues, pull requests and their comments.

How nothing is lost:

- Issues are listed oldest change first and followed by `rel="next"` verbatim, which is a keyset cursor: a row that is
  edited while its page is read moves to the end of the list and comes again. The cursor of a page holds the newest
  `updated_at` so far, never ahead of GitHub's own clock when the walk began; the next run asks `since` 15 minutes
  before it, because the list may lag writes by up to about eight minutes; from itself, where it was old enough for
  that. Where a page is refused, the list is asked for `since` again.
- Comments are listed for the whole repository, or issue by issue where GitHub fails on that: see `github_comments`.
- A quiet list is answered with 304: its ETag is kept with the URL and the token it belongs to, once a sweep ended on
  its first page, and the URL stays the same until something changes.
- What cannot be used is given with its bytes in the same page, so that no cursor passes it unkept.

What these lists cannot tell (a comment deleted, an issue that lost its label or went away, a label renamed) is found
by `walk` and by asking about single items: see `github_mirror`.
"""

import heapq
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from etl.errors import SkipError
from etl.github import GitHubClient
from etl.records import Event, Item, Kind, Page, Rejected, Repository, Scope, Stream, Vanished
from etl.sources.github_comments import Wanted, changed_comments, comments_of_changed
from etl.sources.github_cursor import (
    OVERLAP,
    Position,
    moved,
    parse_time,
    read_cursor,
    since_of,
    write_cursor,
)
from etl.sources.github_json import check_full_name, check_label, list_filter
from etl.sources.github_lists import PAGE_SIZES, ChangedIssues, ListReader, issues_by_creation, parse_page
from etl.sources.github_mirror import GitHubMirror

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Met:
    """What the issue lists of one repository gave in this run, which decides where its comments are read.

    oldest: as in `Position`, over all its lists. date: GitHub's clock when the first was asked for. numbers: of the
    issues that a limit let through. asked: the issues, each as of a change, whose comments were asked for one by one.
    """

    oldest: datetime | None = None
    date: datetime | None = None
    numbers: frozenset[int] = frozenset()
    asked: set[tuple[int, datetime]] = field(default_factory=set)


class GitHubIssues:
    """The issues, pull requests and comments of repositories at one GitHub.

    `client` is closed by whoever made it. One instance serves one run: what the issue lists gave tells the comment
    list of the same repository where to begin.
    """

    name = "github_issues"

    def __init__(self, client: GitHubClient) -> None:
        self._client = client
        self._reader = ListReader(client)
        self._mirror = GitHubMirror(self._reader)
        self._met: dict[int, _Met] = {}

    def counters(self) -> Mapping[str, int]:
        """What this source used of its client, which others may share: calls, retries, waited_seconds, not_modified.

        rate_limit_remaining: the calls that all tokens of the client have left, where any of that is known.
        """
        used = self._reader.counters()
        counters = {name: used.get(name, 0) for name in ("calls", "retries", "waited_seconds", "not_modified")}
        left = self._client.counters().get("rate_limit_remaining")
        return counters if left is None else {**counters, "rate_limit_remaining": left}

    def streams(self, scope: Scope) -> Iterator[Stream]:
        """Per repository: 'issues' for each label (a list and cursor of its own; one without labels), then 'comments'.

        With a limit the label lists are read as one, so that the limit counts issues and not issues per label. Asking
        for pull requests too makes lists with cursors of their own, as the issues' cursor has gone past them. A
        repository named twice, or by its former name as well, is read once. One whose issues are switched off has no
        streams, which is logged and is no error.

        Raises:
            ConfigurationError: a name is not 'owner/name', a label cannot be asked for, the repository is not there.
        """
        labels = _checked_labels(scope.labels)
        names = [check_full_name(name) for name in scope.repositories]
        seen: set[int] = set()
        for name in names:
            today = self._reader.today(f"/repos/{name}", name)
            repository = today.repository
            if not today.has_issues:
                _log.warning("repository has issues switched off, nothing to fetch repository=%s", repository.full_name)
                continue
            if repository.key in seen:
                continue
            seen.add(repository.key)
            lists = [labels] if scope.limit is not None or not labels else [[label] for label in labels]
            for narrowed in lists:
                yield Stream(self.name, repository, "issues", list_filter(narrowed, scope.kinds))
            if scope.comments:
                yield Stream(self.name, repository, "comments", list_filter(labels, scope.kinds))

    def fetch(self, stream: Stream, scope: Scope, cursor: str | None) -> Iterator[Page]:
        """The pages of `stream` since `cursor`; with `scope.limit` the newest issues, and no cursor on any page.

        An object that cannot be parsed is kept in its page's `skipped` and does not hold back the cursor.

        Raises:
            ConfigurationError: the cursor is not one of this source; GitHub refuses the token or the repository.
            BudgetError, RateLimitError, UnavailableError: as the client says; the pages given before stand.
        """
        position = Position() if scope.limit is not None else read_cursor(cursor, stream)
        try:
            if stream.name == "comments":
                yield from self._comments(stream, scope, position)
            elif scope.limit is not None:
                yield from self._newest_issues(stream.repository, scope, scope.limit)
            else:
                yield from self._changed_issues(stream, scope, position)
        except SkipError as gone:
            _log.warning("list is gone stream=%s repository=%s: %s", stream.name, stream.repository.full_name, gone)

    def walk(self, repository: Repository, scope: Scope, position: str | None) -> Iterator[Page]:
        """Every item of the scope in order of creation, as `Mirror.walk` promises it; see `GitHubMirror.walk`."""
        return self._mirror.walk(repository, scope, _checked_labels(scope.labels), position)

    def recheck(self, repository: Repository, kind: Kind, number: int) -> Item | Vanished:
        """One item as it is now, or why it is no longer there; see `GitHubMirror.recheck`."""
        return self._mirror.recheck(repository, kind, number)

    def comments_of(self, repository: Repository, kind: Kind, number: int) -> list[Item] | Vanished:
        """All comments of one item as they are now; see `GitHubMirror.comments_of`."""
        return self._mirror.comments_of(repository, kind, number)

    def history_of(self, repository: Repository, kind: Kind, number: int) -> list[Event]:
        """When one item was closed, reopened, labeled and unlabeled; see `GitHubMirror.history_of`."""
        return self._mirror.history_of(repository, kind, number)

    def confirm(self, repository: Repository) -> None:
        """Passes if the repository answers and has its issues switched on; see `GitHubMirror.confirm`."""
        self._mirror.confirm(repository)

    def _changed_issues(self, stream: Stream, scope: Scope, position: Position) -> Iterator[Page]:
        """One list of issues, oldest change first, from the position to its end."""
        repository = stream.repository
        label = _label_of(stream, scope)
        met = self._met.setdefault(repository.key, _Met())
        met.oldest = _earlier(met.oldest, parse_time(position.oldest))
        began_whole = position.whole
        walk = ChangedIssues(self._reader, repository, label, since_of(position))
        response = walk.first(position)
        began = response.date
        met.date = _earlier(met.date, began)
        while True:
            if response.status == 304:
                yield Page(())
                return
            items, skipped = parse_page(response, repository, scope, walk.address)
            if label is not None:
                _note_oldest(met, items)
                if began_whole and scope.comments:
                    # An issue often gets its label after its first comments. The repository's comment list went past
                    # those when the issue was not wanted yet, so they are asked for here and stored with it; a call
                    # for each changed issue of the labels that has any.
                    comments = comments_of_changed(self._reader, items, scope, met.asked)
                    items, skipped = items + comments.items, skipped + comments.skipped
            position = moved(position, response.body, began, oldest=met.oldest if label is not None else None)
            if response.next_url is None:
                position = replace(position, whole=True)
            if walk.is_only_page:
                position = replace(position, etag=response.etag, url=walk.address, token=response.token_id)
            yield Page(tuple(items), write_cursor(position), tuple(skipped))
            following = walk.following(response)
            if following is None:
                return
            response = following

    def _newest_issues(self, repository: Repository, scope: Scope, limit: int) -> Iterator[Page]:
        """The `limit` newest wanted issues of all label lists together, newest first, in pages without a cursor."""
        met = self._met.setdefault(repository.key, _Met())
        skipped: list[Rejected] = []
        labels: list[str | None] = [*_checked_labels(scope.labels)]
        lists = [self._by_creation(repository, scope, label, skipped) for label in labels or [None]]
        merged = _distinct(heapq.merge(*lists, key=_newest_first))
        taken = islice(merged, limit)
        while items := tuple(islice(taken, PAGE_SIZES[0])):
            _note_oldest(met, items)
            met.numbers |= {item.external_id for item in items if item.comments}
            yield Page(items, None, tuple(skipped))
            skipped.clear()
        if skipped:
            yield Page((), None, tuple(skipped))

    def _by_creation(
        self, repository: Repository, scope: Scope, label: str | None, skipped: list[Rejected]
    ) -> Iterator[Item]:
        """The wanted issues of one list, newest first, page after page as they are taken."""
        base = f"/repos/{repository.full_name}"
        for response, address in issues_by_creation(self._reader, base, repository.full_name, label, "desc"):
            items, unreadable = parse_page(response, repository, scope, address)
            skipped += unreadable
            yield from items

    def _comments(self, stream: Stream, scope: Scope, position: Position) -> Iterator[Page]:
        """The comments of a repository, oldest change first, from the position, or from where its issues begin."""
        met = self._met.get(stream.repository.key, _Met())
        limited = scope.limit is not None
        if limited and not met.numbers:
            return
        earliest = None
        if limited or scope.labels:
            earliest = met.oldest or (met.date - OVERLAP if met.date else None)
        wanted = Wanted(stream.repository, scope, met.numbers if limited else None, earliest)
        yield from changed_comments(self._reader, wanted, position)


def _note_oldest(met: _Met, items: Sequence[Item]) -> None:
    commented = [item.created_at for item in items if item.comments]
    met.oldest = _earlier(met.oldest, min(commented, default=None))


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((time for time in (one, other) if time is not None), default=None)


def _distinct(items: Iterator[Item]) -> Iterator[Item]:
    """Each issue once, as its first list has it: several labels of one issue bring it several times."""
    numbers: set[int] = set()
    for item in items:
        if item.external_id not in numbers:
            numbers.add(item.external_id)
            yield item


def _newest_first(item: Item) -> tuple[float, int]:
    return -item.created_at.timestamp(), -item.external_id


def _checked_labels(labels: Sequence[str]) -> list[str]:
    """The labels, each once (GitHub compares them without case).

    Raises:
        ConfigurationError: GitHub cannot be asked for one of them.
    """
    return list({label.lower(): check_label(label) for label in labels}.values())


def _label_of(stream: Stream, scope: Scope) -> str | None:
    """The label of a stream as the user wrote it; None for the list of all issues."""
    for label in scope.labels:
        if list_filter([label], scope.kinds) == stream.filter:
            return label
    return None
