"""GitHub's REST API as a source of issues, pull requests and their comments.

How nothing is lost:

- Issues are listed oldest change first and followed by `rel="next"` verbatim, which is a keyset cursor: a row that is
  edited while its page is read moves to the end of the list and comes again. The cursor of a page holds the newest
  `updated_at` so far, never ahead of GitHub's own clock; the next run asks `since` 15 minutes before it, because the
  list may lag writes by up to about eight minutes.
- Comments are listed for the whole repository, by page numbers, which skip rows when others move. So each page is
  followed by a new request with `since` one second before the newest row seen; only where one second fills a whole
  page is `rel="next"` followed.
- A quiet list is answered with 304: its ETag is kept with the URL and the token it belongs to, once a sweep ended on
  its first page, and the URL stays the same until something changes.

What a list narrowed to labels cannot tell: that an issue lost the label (it is simply not listed any more).
"""

import heapq
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import quote, urlencode

from etl.errors import ConfigurationError, IssuetideError, SkipError, UnavailableError
from etl.github import GitHubClient, Response
from etl.records import Item, Page, Repository, Scope, Stream
from etl.sources.base import repository_key
from etl.sources.github_cursor import (
    OVERLAP,
    Position,
    change_times,
    moved,
    parse_time,
    read_cursor,
    since_of,
    write_cursor,
    write_time,
)
from etl.sources.github_json import (
    Decoded,
    check_full_name,
    decode_json,
    kind_of,
    kind_of_parent,
    list_filter,
    parse_item,
    web_host,
)

_log = logging.getLogger(__name__)

_EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
"""GitHub answers `since=1970-01-01` with nothing at all."""
_PER_PAGE = 100
_SMALL_PAGE = 30
_SECOND = timedelta(seconds=1)


@dataclass(slots=True)
class _Met:
    """What the issue lists of one repository gave in this run, which decides where its comments are read.

    oldest: as in `Position`, over all its lists. date: GitHub's clock when they were read. numbers: of the issues
    that a limit let through. asked: the issues, each as of a change, whose comments were asked for one by one.
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
        self._host = web_host(client.api_url)
        self._met: dict[int, _Met] = {}
        self._counters: Counter[str] = Counter()

    def counters(self) -> Mapping[str, int]:
        """What this source used of its client, which others may share: calls, retries, waited_seconds."""
        return {name: self._counters[name] for name in ("calls", "retries", "waited_seconds")}

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
            repository = self._repository(name)
            if repository is None or repository.key in seen:
                continue
            seen.add(repository.key)
            lists = [labels] if scope.limit is not None or not labels else [[label] for label in labels]
            for narrowed in lists:
                yield Stream(self.name, repository, "issues", list_filter(narrowed, scope.kinds))
            if scope.comments:
                yield Stream(self.name, repository, "comments", list_filter(labels, scope.kinds))

    def fetch(self, stream: Stream, scope: Scope, cursor: str | None) -> Iterator[Page]:
        """The pages of `stream` since `cursor`; with `scope.limit` the newest issues, and no cursor on any page.

        An object that cannot be parsed is named in its page's `skipped` and does not hold back the cursor.

        Raises:
            ConfigurationError: the cursor is not one of this source; GitHub refuses the token or the repository.
            RateLimitError, UnavailableError: as the client says; the pages given before stand.
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

    def _get(self, address: str, what: str, **options: Any) -> Response:  # noqa: ANN401  (those of the client's `get`)
        before = self._client.counters()
        try:
            return self._client.get(address, what, **options)
        finally:
            for name, value in self._client.counters().items():
                self._counters[name] += value - before.get(name, 0)

    def _repository(self, name: str) -> Repository | None:
        """What GitHub says of a repository today; None where its issues are switched off."""
        try:
            body = self._get(f"/repos/{name}", f"repository {name}", decode=decode_json, may_be_gone=True).body.value
        except SkipError as missing:
            self._check_api_root()
            raise ConfigurationError(str(missing)) from None
        try:
            github_id, full_name = body["id"], body["full_name"]
        except (TypeError, KeyError):
            github_id = full_name = None
        if type(github_id) is not int or not isinstance(full_name, str):
            raise ConfigurationError(f"{self._client.api_url} does not answer like GitHub: check GITHUB_API_URL")
        if not body.get("has_issues", True):
            _log.warning("repository has issues switched off, nothing to fetch repository=%s", full_name)
            return None
        return Repository(repository_key(self._host, github_id, full_name), self._host, github_id, full_name)

    def _check_api_root(self) -> None:
        """Passes if what answers there is the root of GitHub's API; asked once a repository was not found.

        Raises:
            ConfigurationError: it is something else, and so nothing below it says anything about a repository.
        """
        try:
            root = self._get("/", "the root of the API", decode=_decode_anything, may_be_gone=True).body
        except SkipError:
            root = None
        except IssuetideError as error:
            # Then nothing is known of the address, and what was said of the repository stands.
            _log.debug("root of the API could not be asked reason=%s", error)
            return
        if not isinstance(root, dict) or "repository_url" not in root:
            raise ConfigurationError(
                f"{self._client.api_url} is not the root of GitHub's API (404): set GITHUB_API_URL to "
                "https://api.github.com, or to https://HOST/api/v3 of an Enterprise server"
            )

    def _changed_issues(self, stream: Stream, scope: Scope, position: Position) -> Iterator[Page]:
        """One list of issues, oldest change first, from the position to its end."""
        repository = stream.repository
        label = _label_of(stream, scope)
        met = self._met.setdefault(repository.key, _Met())
        met.oldest = _earlier(met.oldest, parse_time(position.oldest))
        address = _address(repository, "issues", since_of(position), label, state="all")
        response = self._first_page(address, f"the issues of {repository.full_name}", position)
        began_whole = position.whole
        first_page = True
        while True:
            met.date = response.date
            if response.status == 304:
                yield Page(())
                return
            items, skipped = _parsed(response, repository, scope, address)
            if label is not None:
                _note_oldest(met, items)
                if began_whole and scope.comments:
                    items += self._comments_of(items, scope, met)
            position = moved(position, response.body, response.date, met.oldest if label is not None else None)
            if response.next_url is None:
                position = replace(position, whole=True)
                if first_page:
                    position = replace(position, etag=response.etag, url=address, token=self._client.token_id)
            yield Page(tuple(items), write_cursor(position), tuple(skipped))
            if response.next_url is None:
                return
            address, first_page = response.next_url, False
            response = self._get(address, f"the issues of {repository.full_name}", decode=_decode_list)

    def _first_page(self, address: str, what: str, position: Position) -> Response:
        is_known = position.url == address and position.token == self._client.token_id
        return self._get(address, what, etag=position.etag if is_known else None, decode=_decode_list)

    def _comments_of(self, issues: Sequence[Item], scope: Scope, met: _Met) -> list[Item]:
        """All comments of issues that a label list gave anew, to be stored in one transaction with them.

        An issue often gets its label after its first comments. The repository's comment list went past those when the
        issue was not wanted yet, so they are asked for here; a call for each changed issue of the labels that has any.
        """
        comments: list[Item] = []
        for issue in issues:
            if not issue.comments or (issue.external_id, issue.updated_at) in met.asked:
                continue
            met.asked.add((issue.external_id, issue.updated_at))
            name = issue.repository.full_name
            what = f"the comments of {name}#{issue.external_id}"
            address: str | None = f"/repos/{name}/issues/{issue.external_id}/comments?per_page={_PER_PAGE}"
            try:
                while address:
                    response = self._get(address, what, decode=_decode_list, may_be_gone=True)
                    comments += _parsed(response, issue.repository, scope, address)[0]
                    address = response.next_url
            except SkipError as gone:
                _log.info("issue went away while its comments were read: %s", gone)
        return comments

    def _newest_issues(self, repository: Repository, scope: Scope, limit: int) -> Iterator[Page]:
        """The `limit` newest wanted issues of all label lists together, newest first, in pages without a cursor."""
        met = self._met.setdefault(repository.key, _Met())
        skipped: list[str] = []
        labels: list[str | None] = [*_checked_labels(scope.labels)]
        lists = [self._by_creation(repository, scope, label, skipped) for label in labels or [None]]
        merged = _distinct(heapq.merge(*lists, key=_newest_first))
        taken = islice(merged, limit)
        while items := tuple(islice(taken, _PER_PAGE)):
            _note_oldest(met, items)
            met.numbers |= {item.external_id for item in items if item.comments}
            yield Page(items, None, tuple(skipped))
            skipped.clear()
        if skipped:
            yield Page((), None, tuple(skipped))

    def _by_creation(
        self, repository: Repository, scope: Scope, label: str | None, skipped: list[str]
    ) -> Iterator[Item]:
        """The wanted issues of one list, newest first, page after page as they are taken."""
        address: str | None = _address(repository, "issues", None, label, state="all", sort="created", direction="desc")
        while address:
            response = self._get(address, f"the issues of {repository.full_name}", decode=_decode_list)
            items, unreadable = _parsed(response, repository, scope, address)
            skipped += unreadable
            yield from items
            address = response.next_url

    def _comments(self, stream: Stream, scope: Scope, position: Position) -> Iterator[Page]:
        """The comments of a repository, oldest change first, from the position, or from where its issues begin."""
        repository = stream.repository
        limited = scope.limit is not None
        met = self._met.get(repository.key, _Met())
        if limited and not met.numbers:
            return
        since = since_of(position)
        if since is None and (limited or scope.labels):
            since = met.oldest or (met.date - OVERLAP if met.date else None)
        walk = _CommentWalk(self._get, self._client.token_id, repository, since)
        response = walk.first(position)
        while True:
            if response.status == 304:
                yield Page(())
                return
            items, skipped = _parsed(response, repository, scope, walk.address)
            if limited:
                items = [item for item in items if item.parent_number in met.numbers]
            position = moved(position, response.body, response.date, None)
            if response.next_url is None and walk.pages == 1:
                position = replace(position, etag=response.etag, url=walk.address, token=self._client.token_id)
            yield Page(tuple(items), None if limited else write_cursor(position), tuple(skipped))
            if response.next_url is None:
                return
            response = walk.following(response)


class _CommentWalk:
    """The requests of one walk over a repository's comments."""

    def __init__(
        self, get: Callable[..., Response], token_id: str, repository: Repository, since: datetime | None
    ) -> None:
        self._get_page = get
        self._token_id = token_id
        self._repository = repository
        self._since = since
        self._per_page = _PER_PAGE
        self.address = self._from_since()
        self.pages = 0

    def first(self, position: Position) -> Response:
        """The first page, or a 304."""
        is_known = position.url == self.address and position.token == self._token_id
        return self._get(position.etag if is_known else None)

    def following(self, response: Response) -> Response:
        """The page after `response`: from the second before its newest row, else the next of a full second."""
        newest = max(change_times(response.body, response.date), default=None)
        if newest is not None and (self._since is None or newest - _SECOND > self._since):
            self._since = newest - _SECOND
            self.address = self._from_since()
        else:
            self.address = response.next_url or self.address
        return self._get(None)

    def _get(self, etag: str | None) -> Response:
        self.pages += 1
        what = f"the comments of {self._repository.full_name}"
        try:
            return self._get_page(self.address, what, etag=etag, decode=_decode_list)
        except UnavailableError:
            if self._per_page == _SMALL_PAGE:
                raise
            # On big repositories this list can time out at GitHub's side; smaller pages still come through.
            _log.warning("comments come in smaller pages repository=%s", self._repository.full_name)
            self._per_page = _SMALL_PAGE
            self.address = self._from_since()
            return self._get_page(self.address, what, decode=_decode_list)

    def _from_since(self) -> str:
        return _address(self._repository, "issues/comments", self._since, None, per_page=self._per_page)


def _address(repository: Repository, path: str, since: datetime | None, label: str | None, **options: str | int) -> str:
    """A list's path and query, the same for the same arguments: an ETag belongs to one URL."""
    query: dict[str, str | int] = {"sort": "updated", "direction": "asc", "per_page": _PER_PAGE, **options}
    if label is not None:
        query["labels"] = label
    if since is not None:
        query["since"] = write_time(max(since, _EARLIEST))
    return f"/repos/{repository.full_name}/{path}?{urlencode(query, quote_via=quote)}"


def _parsed(response: Response, repository: Repository, scope: Scope, address: str) -> tuple[list[Item], list[str]]:
    """The wanted items of a page, and a line for each object that cannot be used."""
    items: list[Item] = []
    skipped: list[str] = []
    kinds = scope.kinds
    page: Decoded = response.body
    # Either clock may be slow: what one of them believes is not left out.
    now = max(response.date, datetime.now(UTC))
    for record in page.value:
        try:
            if isinstance(record, dict):
                kind = kind_of_parent(record) if "issue_url" in record else kind_of(record)
                if kind not in kinds:
                    continue
            items.append(parse_item(record, repository, doubtful=page.doubtful, now=now))
        except SkipError as error:
            skipped.append(f"{repository.full_name}: {error} (in {address})")
    return items, skipped


def _decode_list(data: bytes) -> Decoded:
    decoded = decode_json(data)
    if not isinstance(decoded.value, list):
        raise ValueError("not a list")  # noqa: TRY004  (the client takes ValueError for a broken body)
    return decoded


def _decode_anything(data: bytes) -> Any:  # noqa: ANN401  (any JSON value)
    """A JSON value; None for what is none, which here is an answer too."""
    try:
        return decode_json(data).value
    except ValueError:
        return None


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
        ConfigurationError: a label is empty, or holds the comma that GitHub separates labels with.
    """
    by_name = {label.lower(): label for label in labels}
    for label in by_name.values():
        if not label.strip() or "," in label:
            raise ConfigurationError(
                f"--label {label[:100]!r} cannot be asked for: GitHub takes one label, without commas"
            )
    return list(by_name.values())


def _label_of(stream: Stream, scope: Scope) -> str | None:
    """The label of a stream as the user wrote it; None for the list of all issues."""
    for label in scope.labels:
        if list_filter([label], scope.kinds) == stream.filter:
            return label
    return None
