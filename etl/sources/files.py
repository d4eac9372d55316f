"""Files and standard input as a source of GitHub's own JSON objects: dumps, samples, the output of `gh api`."""

import heapq
import sys
import weakref
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile
from typing import IO, Any, BinaryIO, cast
from urllib.parse import urlsplit

from etl.errors import ConfigurationError, SkipError
from etl.records import Item, Page, Rejected, Repository, Scope, Stream
from etl.sources.archive import Archive, is_archive
from etl.sources.base import GITHUB_HOST, repository_key
from etl.sources.github_json import (
    check_full_name,
    is_comment,
    kind_of,
    kind_of_parent,
    list_filter,
    parse_item,
    rejected,
    rejected_bytes,
    web_host,
)
from etl.sources.json_records import Record, read_records

_PAGE = 500
_SPOOLED_IN_MEMORY = 1 << 26
_BLOCK = 1 << 16
_LINE_NAMES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")

_Selection = Mapping[int, frozenset[int]]
"""Repository key -> the numbers of its issues and pull requests that are wanted."""


class Files:
    """The issues, pull requests (key `pull_request`) and comments (key `issue_url`) of one JSON file.

    path: `.json`, `.jsonl` or any name, plain or gzip, or '-' for standard input, which is first copied (in memory up
    to 64 MiB, then in a temporary file). stdin: read for '-' instead of the process's own.

    The form is told by the content: JSON lines, an array, arrays in a row (`gh api --paginate`), a search answer, one
    object. An object's repository is `repository.full_name` with its `repository.id`, else in `repository_url` or
    `issue_url`, else in `html_url`, else the only one that the scope names. Only an id makes it the same repository as
    the one that GitHub itself gives.

    The hours of GH Archive (lines of events) are read by `Archive`; standard input is not copied for them, as a month
    of them is large, and can be read once.
    """

    name = "files"

    def __init__(self, path: str | Path, stdin: BinaryIO | None = None) -> None:
        self._path = str(path)
        self._shown = "standard input" if self._path == "-" else self._path
        self._stdin = stdin
        self._now = datetime.now(UTC)
        self._spool: IO[bytes] | None = None
        self._head: bytes | None = None
        self._archive: Archive | None = None
        self._known: dict[tuple[str, str], Repository] = {}
        self._addresses: dict[str, Repository] = {}

    def counters(self) -> Mapping[str, int]:
        """No requests are sent."""
        return {"calls": 0}

    def streams(self, scope: Scope) -> Iterator[Stream]:
        """One stream, named after the repository of the first wanted object; every item carries its own.

        Raises:
            ConfigurationError: the file is not there or cannot be read, or a repository's name is malformed.
        """
        for name in scope.repositories:
            check_full_name(name)
        if (archive := self._as_archive()) is not None:
            yield from archive.streams(scope)
            return
        first = next((item for item in self._items(scope, None) if isinstance(item, Item)), None)
        if first is not None:
            repository = first.repository
        elif len(scope.repositories) == 1:
            repository = self._repository(GITHUB_HOST, None, scope.repositories[0])
        else:
            repository = Repository(repository_key("file", None, self._shown), "file", None, self._shown)
        yield Stream(self.name, repository, "file", list_filter(scope.labels, scope.kinds))

    def fetch(self, stream: Stream, scope: Scope, cursor: str | None) -> Iterator[Page]:  # noqa: ARG002
        """The wanted items in the file's order, in pages without a cursor: a file is read whole each time.

        Labels are compared without case, any of them is enough. A limit lets the N newest of each repository through.
        With either, only comments of issues that were let through are given. What cannot be used is kept in `skipped`,
        named with its line; the later lines go on.

        Raises:
            ConfigurationError: the file is not there or cannot be read.
        """
        if (archive := self._as_archive()) is not None:
            yield from archive.fetch(scope)
            return
        selection = self._selection(scope) if scope.labels or scope.limit is not None else None
        items: list[Item] = []
        skipped: list[Rejected] = []
        for item in self._items(scope, selection):
            if isinstance(item, Item):
                items.append(item)
            else:
                skipped.append(item)
            if len(items) + len(skipped) == _PAGE:
                yield Page(tuple(items), None, tuple(skipped), origin="file")
                items, skipped = [], []
        if items or skipped:
            yield Page(tuple(items), None, tuple(skipped), origin="file")

    def _selection(self, scope: Scope) -> _Selection:
        """Which issues are wanted; takes a reading of the file of its own, as comments may stand before their issue."""
        labels = {label.lower() for label in scope.labels}
        opened: defaultdict[int, dict[int, datetime]] = defaultdict(dict)
        for item in self._items(scope, None):
            if isinstance(item, Rejected) or item.kind == "comment":
                continue
            if not labels or not labels.isdisjoint(label.lower() for label in item.labels):
                opened[item.repository.key][item.external_id] = item.created_at
        if scope.limit is None:
            return {key: frozenset(numbers) for key, numbers in opened.items()}
        newest = {
            key: heapq.nlargest(scope.limit, ((time, number) for number, time in numbers.items()))
            for key, numbers in opened.items()
        }
        return {key: frozenset(number for _, number in taken) for key, taken in newest.items()}

    def _items(self, scope: Scope, selection: _Selection | None) -> Iterator[Item | Rejected]:
        """Each wanted item of the file, or what is wrong at which place."""
        only = {name.lower() for name in scope.repositories}
        for record in self._records():
            try:
                item = self._item(record, scope, only)
            except SkipError as error:
                line = f"{self._shown} {record.place}: {error}"
                yield rejected(record.value, line) if record.fault is None else rejected_bytes(record.raw, line)
                continue
            if item is None:
                continue
            if selection is not None:
                number = item.external_id if item.parent_number is None else item.parent_number
                if number not in selection.get(item.repository.key, ()):
                    continue
            yield item

    def _item(self, record: Record, scope: Scope, only: set[str]) -> Item | None:
        """The item of a record; None if it is not wanted."""
        if record.fault is not None:
            raise SkipError(record.fault)
        value = record.value
        if not isinstance(value, dict):
            raise SkipError("not a JSON object")
        if is_comment(value):
            if not scope.comments or kind_of_parent(value) not in scope.kinds:
                return None
        elif kind_of(value) not in scope.kinds:
            return None
        repository = self._repository_of(value, scope)
        if only and repository.full_name.lower() not in only:
            return None
        return parse_item(value, repository, doubtful=record.doubtful, now=self._now)

    def _repository_of(self, value: Mapping[str, Any], scope: Scope) -> Repository:
        given = value.get("repository")
        if isinstance(given, dict) and isinstance(full_name := given.get("full_name"), str):
            github_id = given.get("id")
            host = web_host(str(given.get("html_url") or given.get("url") or value.get("html_url") or ""))
            return self._repository(host or GITHUB_HOST, github_id if type(github_id) is int else None, full_name)
        for key, mark in (("repository_url", "/repos/"), ("issue_url", "/repos/"), ("html_url", "/")):
            address = value.get(key)
            if isinstance(address, str) and (repository := self._repository_at(address, mark)) is not None:
                return repository
        if len(scope.repositories) == 1:
            return self._repository(GITHUB_HOST, None, scope.repositories[0])
        raise SkipError("names no repository: name it with --repo, or keep repository_url or html_url in the file")

    def _repository_at(self, address: str, mark: str) -> Repository | None:
        """The repository of an address such as https://github.com/o/n/issues/1 or https://api.github.com/repos/o/n."""
        # One address per issue, one repository per file: the part that issues share is what is remembered.
        stem = address.partition("/issues/")[0].partition("/pull/")[0]
        known = self._addresses.get(stem)
        if known is not None:
            return known
        host = web_host(address)
        parts = urlsplit(address).path.partition(mark)[2].split("/") if host else []
        if len(parts) < 2:
            return None
        try:
            repository = self._repository(host, None, f"{parts[0]}/{parts[1]}")
        except SkipError:
            return None
        self._addresses[stem] = repository
        return repository

    def _repository(self, host: str, github_id: int | None, full_name: str) -> Repository:
        """The one value for a repository; an object without an id takes that of an earlier object with one."""
        known = self._known.get((host, full_name.lower()))
        if known is not None and github_id in (None, known.github_id):
            return known
        try:
            check_full_name(full_name)
        except ConfigurationError as error:
            raise SkipError(str(error)) from None
        repository = Repository(repository_key(host, github_id, full_name), host, github_id, full_name)
        self._known[host, full_name.lower()] = repository
        return repository

    def _as_archive(self) -> Archive | None:
        """The reader of GH Archive's files, if this is one."""
        if self._head is None:
            try:
                if self._path == "-":
                    self._head = self._input().read(_BLOCK)
                else:
                    with Path(self._path).open("rb") as file:
                        self._head = file.read(_BLOCK)
            except OSError as error:
                raise self._unreadable(error) from None
            self._archive = Archive(self._blocks, self._shown) if is_archive(self._head) else None
        return self._archive

    def _blocks(self) -> Iterator[bytes]:
        """The bytes of the file; of standard input those that were not taken yet."""
        try:
            if self._path == "-":
                head, self._head = self._head or b"", b""
                yield head
                yield from iter(lambda: self._input().read(_BLOCK), b"")
            else:
                with Path(self._path).open("rb") as file:
                    yield from iter(lambda: file.read(_BLOCK), b"")
        except OSError as error:
            raise self._unreadable(error) from None

    def _input(self) -> BinaryIO:
        return self._stdin or sys.stdin.buffer

    def _unreadable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"{self._shown} cannot be read ({error.strerror or type(error).__name__}): check the path"
        )

    def _records(self) -> Iterator[Record]:
        try:
            with self._opened() as file:
                yield from read_records(file, is_lines=self._path.lower().endswith(_LINE_NAMES))
        except OSError as error:
            raise self._unreadable(error) from None

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """The input at its beginning; closed afterwards, except for the copy of standard input."""
        if self._path != "-":
            with Path(self._path).open("rb") as file:
                yield file
            return
        if self._spool is None:
            spool = SpooledTemporaryFile(max_size=_SPOOLED_IN_MEMORY)  # noqa: SIM115  (lives as long as this source)
            weakref.finalize(self, spool.close)
            self._spool = cast("IO[bytes]", spool)
            self._spool.write(self._head or b"")
            copyfileobj(self._input(), self._spool)
        self._spool.seek(0)
        yield cast("BinaryIO", self._spool)
