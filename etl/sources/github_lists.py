"""GitHub's lists as one source reads them: their addresses, their pages, and what to do where a page is refused.

Two kinds of lists. Issues come with `rel="next"` holding a keyset cursor, which is followed verbatim: a row that is
edited while its page is read moves to the end and comes again. Everything else is paged by number, where a row that
goes away shifts all later ones, past a reader who is between two pages: see `ListReader.whole_list`.

A refused page is never the end of a list: 422 means "too large", and a link may be refused while the list is there.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

from etl.errors import ConfigurationError, IssuetideError, SkipError, UnavailableError
from etl.github import GitHubClient, Look, Response, TooDeepError
from etl.records import Item, Rejected, Repository, Scope
from etl.sources.base import repository_key
from etl.sources.github_cursor import SECOND, Position, newest_change, write_time
from etl.sources.github_json import (
    Decoded,
    decode_json,
    kind_of,
    kind_of_parent,
    parse_item,
    rejected,
    web_host,
)

_log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer", Response, Look)

EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
"""GitHub answers `since=1970-01-01` with nothing at all."""
PAGE_SIZES = (100, 30, 10)
"""A list that times out at GitHub's side still comes through in smaller pages."""
_MOST_BEGINNINGS = 6
_MOST_REFUSALS = 2


class Parsed(NamedTuple):
    """What a page of a list holds: the wanted items, and the objects that cannot be used."""

    items: list[Item]
    skipped: list[Rejected]


@dataclass(frozen=True, slots=True)
class Today:
    """What GitHub says of a repository today."""

    repository: Repository
    has_issues: bool


class ListReader:
    """Asks one client on behalf of one source and counts what that took."""

    def __init__(self, client: GitHubClient) -> None:
        self._client = client
        self._counters: Counter[str] = Counter()
        self.host = web_host(client.api_url)

    def counters(self) -> Mapping[str, int]:
        """What this source used of its client, which others may share."""
        return self._counters

    def get(self, address: str, what: str, **options: Any) -> Response:  # noqa: ANN401  (those of the client's `get`)
        """One page of a list, as the client's `get` does it."""
        return self._counted(lambda: self._client.get(address, what, decode=decode_list, **options))

    def look(self, address: str, what: str, decode: Callable[[bytes], Decoded] = decode_json) -> Look:
        """One object or page, as the client's `look` does it: redirects, 404 and 410 are answers."""
        return self._counted(lambda: self._client.look(address, what, decode=decode))

    def today(self, address: str, name: str) -> Today:
        """What GitHub says of the repository at `address`.

        Raises:
            ConfigurationError: it is not there, or what answers is no GitHub.
        """
        what = f"repository {name}"
        try:
            page = self._counted(lambda: self._client.get(address, what, decode=decode_json, may_be_gone=True))
        except SkipError as missing:
            self._check_root()
            raise ConfigurationError(str(missing)) from None
        body = page.body.value
        try:
            github_id, full_name = body["id"], body["full_name"]
        except (TypeError, KeyError):
            github_id = full_name = None
        if type(github_id) is not int or not isinstance(full_name, str):
            raise ConfigurationError(f"{self._client.api_url} does not answer like GitHub: check GITHUB_API_URL")
        repository = Repository(repository_key(self.host, github_id, full_name), self.host, github_id, full_name)
        return Today(repository, bool(body.get("has_issues", True)))

    def _check_root(self) -> None:
        """Passes if what answers there is the root of GitHub's API; asked once a repository was not found.

        Raises:
            ConfigurationError: it is something else, and so nothing below it says anything about a repository.
        """
        try:
            what = "the root of the API"
            root = self._counted(lambda: self._client.get("/", what, decode=_decode_anything, may_be_gone=True)).body
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

    def below_root(self, url: str | None) -> str | None:
        """A link as an address below the API's root, good for later runs; None where it is elsewhere."""
        root = self._client.api_url + "/"
        return url[len(root) - 1 :] if url is not None and url.startswith(root) else None

    def whole_list(self, path: str, what: str) -> list[Response] | Look:
        """All pages of a list that is paged by number, or why it is not there (redirects are not followed).

        After each further page the one before it is asked for again: if it holds other rows by now, one of the page
        in between may have slipped through, and the list is read anew.

        Raises:
            UnavailableError: GitHub fails on it in pages of any size, or its rows keep moving.
        """
        sizes = iter(PAGE_SIZES)
        per_page = next(sizes)
        for _ in range(_MOST_BEGINNINGS):
            try:
                pages = self._numbered_pages(f"{path}?per_page={per_page}", what)
            except UnavailableError:
                per_page = next(sizes, 0)
                if not per_page:
                    raise
                _log.warning("list is read in smaller pages per_page=%d: %s", per_page, what)
                continue
            if pages is not None:
                return pages
        raise UnavailableError(f"{what} keep moving while they are read: the next run asks again")

    def _numbered_pages(self, address: str, what: str) -> list[Response] | Look | None:
        """The pages of one reading; None where rows moved in between."""
        look = self.look(address, what, decode_list)
        if look.page is None:
            return look
        pages = [look.page]
        try:
            while (link := pages[-1].next_url) is not None:
                page = self.get(link, what, may_be_gone=True, may_be_too_deep=True)
                if not self.is_unchanged(pages[-1], address, what):
                    return None
                pages.append(page)
                address = link
        except SkipError:
            return None
        return pages

    def is_unchanged(self, page: Response, address: str, what: str) -> bool:
        """Whether a page that was read from `address` still has the same rows in the same order.

        Raises:
            SkipError: it is not there any more.
        """
        now = self.get(address, what, etag=page.etag, etag_token=page.token_id, may_be_gone=True, may_be_too_deep=True)
        return now.status == 304 or [_row_key(row) for row in now.body.value] == [
            _row_key(row) for row in page.body.value
        ]

    def _counted(self, ask: Callable[[], _Answer]) -> _Answer:
        before = self._client.counters()
        try:
            return ask()
        finally:
            for name, value in self._client.counters().items():
                if name != "rate_limit_remaining":
                    self._counters[name] += value - before.get(name, 0)


class ChangedIssues:
    """The requests of one walk over a list of issues, oldest change first."""

    def __init__(self, reader: ListReader, repository: Repository, label: str | None, since: datetime | None) -> None:
        self._reader = reader
        self._repository = repository
        self._label = label
        self._since = since
        self._what = f"the issues of {repository.full_name}"
        self._newest: datetime | None = None
        self._refused_after: set[datetime | None] = set()
        self.address = self._from_since()
        self.is_only_page = False

    def first(self, position: Position) -> Response:
        """The first page, or a 304 if nothing changed since it was read last."""
        is_known = position.url == self.address
        try:
            response = self._reader.get(
                self.address,
                self._what,
                etag=position.etag if is_known else None,
                etag_token=position.token if is_known else None,
                may_be_too_deep=True,
            )
        except TooDeepError as refusal:
            return self._again(refusal)
        self.is_only_page = response.next_url is None
        return response

    def following(self, response: Response) -> Response | None:
        """The page after `response`; None after the last one."""
        if response.next_url is None:
            return None
        self._newest = newest_change(response.body, response.date) or self._newest
        try:
            following = self._reader.get(response.next_url, self._what, may_be_gone=True, may_be_too_deep=True)
        except SkipError as refusal:
            return self._again(refusal)
        self.address = response.next_url
        return following

    def _again(self, refusal: SkipError) -> Response:
        """The first page from the second before the newest change seen: a keyset of its own, which loses nothing.

        Raises:
            UnavailableError: that was done already, and nothing newer came since.
        """
        if self._newest in self._refused_after:
            raise UnavailableError(
                f"GitHub refuses to go on listing {self._what}: {refusal}; what was listed is stored, the next run "
                "goes on from there"
            ) from None
        _log.warning(
            "list is asked for anew, a page was refused repository=%s: %s", self._repository.full_name, refusal
        )
        self._refused_after.add(self._newest)
        self._since = self._since if self._newest is None else self._newest - SECOND
        self.address = self._from_since()
        try:
            return self._reader.get(self.address, self._what, may_be_too_deep=True)
        except TooDeepError as again:
            return self._again(again)

    def _from_since(self) -> str:
        return list_address(f"/repos/{self._repository.full_name}", "issues", self._since, self._label, state="all")


def issues_by_creation(
    reader: ListReader, base: str, name: str, label: str | None, direction: str, link: str | None = None
) -> Iterator[tuple[Response, str]]:
    """The pages of a list of issues in order of creation with their addresses, from `link` or the front.

    Where a link is refused, the list begins again from the front: rows may come twice.

    base: the repository's address below the API's root. name: the repository's, for messages.

    Raises:
        UnavailableError: links are refused again and again.
    """
    what = f"the issues of {name}"
    front = list_address(base, "issues", None, label, state="all", sort="created", direction=direction)
    refusals = 0
    address: str | None = link or front
    while address is not None:
        is_front = address == front
        try:
            response = reader.get(address, what, may_be_gone=not is_front, may_be_too_deep=True)
        except SkipError as refusal:
            if is_front and not isinstance(refusal, TooDeepError):
                raise
            refusals += 1
            if refusals > _MOST_REFUSALS:
                raise UnavailableError(f"GitHub refuses to go on listing {what}: {refusal}") from None
            _log.warning("list begins anew, a page was refused repository=%s: %s", name, refusal)
            address = front
            continue
        yield response, address
        address = response.next_url


def list_address(base: str, path: str, since: datetime | None, label: str | None, **options: str | int) -> str:
    """A list's path and query, the same for the same arguments: an ETag belongs to one URL."""
    query: dict[str, str | int] = {"sort": "updated", "direction": "asc", "per_page": PAGE_SIZES[0], **options}
    if label is not None:
        query["labels"] = label
    if since is not None:
        query["since"] = write_time(max(since, EARLIEST))
    return f"{base}/{path}?{urlencode(query, quote_via=quote)}"


def address_of(repository: Repository) -> str:
    """A repository below the API's root, by its numeric id, which outlives renames, or else by its name."""
    number = repository.github_id
    return f"/repos/{repository.full_name}" if number is None else f"/repositories/{number}"


def clock_of(response: Response | Look) -> datetime:
    """By what clock a time is believed. Either may be slow: what one of them believes is not left out."""
    return max(response.date, datetime.now(UTC))


def parse_page(response: Response, repository: Repository, scope: Scope, address: str) -> Parsed:
    """The items of a page of the kinds that `scope` wants; a comment's kind is that of what it was made on."""
    page: Decoded = response.body
    now = clock_of(response)
    items: list[Item] = []
    skipped: list[Rejected] = []
    kinds = scope.kinds
    for record in page.value:
        try:
            if isinstance(record, dict):
                kind = kind_of_parent(record) if "issue_url" in record else kind_of(record)
                if kind not in kinds:
                    continue
            items.append(parse_item(record, repository, doubtful=page.doubtful, now=now))
        except SkipError as error:
            skipped.append(rejected(record, f"{repository.full_name}: {error} (in {address})"))
    return Parsed(items, skipped)


def _decode_anything(data: bytes) -> Any:  # noqa: ANN401  (any JSON value)
    """A JSON value; None for what is none, which here is an answer too."""
    try:
        return decode_json(data).value
    except ValueError:
        return None


def decode_list(data: bytes) -> Decoded:
    """The value of a JSON text that is a list.

    Raises:
        ValueError: it is not one; the client takes that for a broken body.
    """
    decoded = decode_json(data)
    if not isinstance(decoded.value, list):
        raise ValueError("not a list")  # noqa: TRY004  (see above)
    return decoded


def _row_key(record: object) -> tuple[object, ...]:
    """What tells the rows of a list apart; some entries of a timeline have no number."""
    keys = ("id", "node_id", "sha", "event", "created_at")
    return tuple(record.get(key) for key in keys) if isinstance(record, dict) else ()
