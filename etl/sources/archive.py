"""GH Archive's hourly files as pages: years of issues, comments and changes of state without a call to GitHub.

gharchive.org publishes a gzip file per UTC hour, one event of GitHub's public Events API per line. Facts the parser
rests on (github.com/igrigorik/gharchive.org, the issues named):
- IssuesEvent and IssueCommentEvent hold the whole issue as it was then. Until 2015-01-01 they held its number only.
- Only opened, closed and reopened were given for years (183); labeled and unlabeled came with the changes of 2025.
- Some lines are damaged: two events glued together, the first cut off (169, 190, 271) or followed by NUL bytes (190).
- Some events stand in a file twice (277); many are missing in 2025 and most since (310, 312).
"""

import logging
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from etl.errors import ConfigurationError, SkipError
from etl.records import Event, Item, Page, Rejected, Repository, Scope, Stream
from etl.sources.base import GITHUB_HOST, repository_key
from etl.sources.github_json import (
    Decoded,
    check_full_name,
    decode_json,
    kind_of,
    list_filter,
    parse_event,
    parse_item,
    rejected_bytes,
)

_log = logging.getLogger(__name__)

_GZIP_MAGIC = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_PLAIN_BYTES = 1 << 20
_LONGEST_LINE = 1 << 26
_MOST_RAW = 1 << 20
_TYPES = re.compile(rb'"Issue(?:s|Comment)Event"')
_BEGINNING = re.compile(rb'\{"id":\s*"\d+",\s*"type":\s*"\w+Event",')
_GLUE = re.compile(rb'(?=\{"id":"\d+","type":"\w+Event",)')
_BLANK = b" \t\r\n\0"
_WHOLE = frozenset({"number", "title", "body", "state", "labels", "created_at"})
_LASTING = frozenset({"deleted", "transferred"})

_PAGE = 500
_MOST_HELD = 10 * _PAGE
_SETTLED = timedelta(minutes=2)
"""Events of one second stand near each other in a file, and of those that tell of one issue only the last one counts:
the latest two minutes of a page wait for the next."""

Blocks = Callable[[], Iterator[bytes]]
"""Gives the bytes of a file from its beginning, in pieces."""


def is_archive(head: bytes) -> bool:
    """Whether a file that begins with `head` (plain or gzip) holds GitHub's events, one per line."""
    if head.startswith(_GZIP_MAGIC):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, _PLAIN_BYTES)
        except zlib.error:
            return False
    for line in head.removeprefix(_BOM).splitlines():
        if _BEGINNING.match(line):
            return True
        try:
            value = decode_json(line).value
        except ValueError:
            continue  # A line of an archive may be damaged, the first one too.
        if isinstance(value, dict):
            return "payload" in value and str(value.get("type")).endswith("Event")
    return False


class Archive:
    """The issues, pull requests and comments that events tell of, as they were then, and the changes of state.

    An issue that several events of a page tell of comes once, as the last of them has it. Whether a row that is stored
    already is older, and so gives way, the database knows.

    blocks: the file, plain or gzip, also several in a row as `cat` joins them. shown: its name for people.
    """

    def __init__(self, blocks: Blocks, shown: str) -> None:
        self._blocks = blocks
        self._shown = shown
        self._begun: tuple[Scope, Iterator[Page]] | None = None

    def streams(self, scope: Scope) -> Iterator[Stream]:
        """One stream, named after the repository of the first wanted event; none where no event is wanted.

        Raises:
            ConfigurationError: a limit is set, which would need a second reading.
        """
        if scope.limit is not None:
            raise ConfigurationError(
                f"{self._shown} is a file of GH Archive, which --limit does not go with: give fewer hours instead"
            )
        if not scope.repositories:
            _log.warning("no repository is named: an hour of all GitHub is large file=%s", self._shown)
        pages = self._pages(scope)
        first = next(pages, None)
        if first is not None:
            self._begun = scope, chain([first], pages)
            yield Stream("files", self._home(first, scope), "archive", list_filter(scope.labels, scope.kinds))

    def fetch(self, scope: Scope) -> Iterator[Page]:
        """The wanted events in pages of origin 'archive', without a cursor: a file is read whole each time.

        An event is wanted where its repository is (by the name it had then), its issue's kind, and one of the labels
        that the issue had then or that was taken from it. A comment comes with its issue.
        """
        begun, self._begun = self._begun, None
        yield from begun[1] if begun is not None and begun[0] == scope else self._pages(scope)

    def _home(self, page: Page, scope: Scope) -> Repository:
        if page.items:
            return page.items[0].repository
        if len(scope.repositories) == 1:
            name = scope.repositories[0]
            return Repository(repository_key(GITHUB_HOST, None, name), GITHUB_HOST, None, name)
        return Repository(repository_key("file", None, self._shown), "file", None, self._shown)

    def _pages(self, scope: Scope) -> Iterator[Page]:
        wanted = _Wanted.by(scope)
        lines = _Lines(self._blocks())
        held = _Held()
        try:
            for number, line in lines:
                if wanted.may_hold(line):
                    self._take(number, line, wanted, held)
                    if held.is_full():
                        yield from held.pages(everything=False)
        except (EOFError, zlib.error):
            held.skip(
                lines.rest, f"{self._shown} line {lines.number + 1}: the gzip data breaks off here: get the file again"
            )
        except SkipError as error:
            held.skip(lines.rest, f"{self._shown} line {lines.number + 1}: {error}")
        if held.bare:
            held.skip(
                held.first_bare,
                f"{self._shown}: {held.bare} events hold no whole issue, the first in {held.first_bare_place}; before"
                " 2015 GH Archive kept only its number: take hours from 2015-01-01 on",
            )
        yield from held.pages(everything=True)

    def _take(self, number: int, line: bytes, wanted: "_Wanted", held: "_Held") -> None:
        for piece, decoded in _decoded(line, wanted):
            if decoded is None:
                held.skip(piece, f"{self._shown} line {number}: not JSON")
                continue
            try:
                change = wanted.change(decoded)
            except _BareError:
                held.note_bare(piece, f"line {number}")
            except SkipError as error:
                held.skip(piece, f"{self._shown} line {number}: {error}")
            else:
                if change is not None:
                    held.add(change)


class _BareError(SkipError):
    """An event that does not hold the issue it tells of."""


@dataclass(frozen=True, slots=True)
class _Change:
    """What one event tells: when, the issue and the comment as they were then, the change of state or label."""

    at: datetime
    event_id: int
    items: tuple[Item, ...]
    event: Event | None
    deleted_comment: int | None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What of the events is asked for."""

    scope: Scope
    names: frozenset[str]
    needles: tuple[bytes, ...]
    labels: frozenset[str]
    now: datetime

    @staticmethod
    def by(scope: Scope) -> "_Wanted":
        """From what a run is asked to read."""
        names = frozenset(name.lower() for name in scope.repositories)
        labels = frozenset(label.lower() for label in scope.labels)
        return _Wanted(scope, names, tuple(name.encode() for name in sorted(names)), labels, datetime.now(UTC))

    def may_hold(self, line: bytes) -> bool:
        """Whether a line may hold a wanted event: it names a type and a repository that are, wherever in it.

        GH Archive writes both as they are, without JSON's escapes.
        """
        if not _TYPES.search(line):
            return False
        if not self.needles:
            return True
        lowered = line.lower()
        return any(needle in lowered for needle in self.needles)

    def change(self, decoded: Decoded) -> _Change | None:
        """What an event tells of wanted things; None if nothing.

        Raises:
            _BareError: it does not hold the whole issue.
            SkipError: a field is missing or of another type.
        """
        event = decoded.value
        if not isinstance(event, dict):
            raise SkipError("not a JSON object")
        kind = event.get("type")
        full_name, github_id = _repository_of(event)
        if kind not in {"IssuesEvent", "IssueCommentEvent"} or (self.names and full_name.lower() not in self.names):
            return None
        payload = event.get("payload")
        issue = payload.get("issue") if isinstance(payload, dict) else None
        if not isinstance(payload, dict) or not isinstance(issue, dict) or not issue.keys() >= _WHOLE:
            raise _BareError("holds no whole issue")
        if kind_of(issue) not in self.scope.kinds or not self._has_label(issue, payload):
            return None
        return self._parse(event, payload, _repository(full_name, github_id), doubtful=decoded.doubtful)

    def _has_label(self, issue: Mapping[str, Any], payload: Mapping[str, Any]) -> bool:
        if not self.labels:
            return True
        labels = [*_list(issue.get("labels")), payload.get("label")]
        names = (label.get("name") if isinstance(label, dict) else label for label in labels)
        return any(isinstance(name, str) and name.lower() in self.labels for name in names)

    def _parse(
        self, event: Mapping[str, Any], payload: Mapping[str, Any], repository: Repository, *, doubtful: bool
    ) -> _Change | None:
        at, event_id = _time_of(event), _id_of(event)
        issue = payload["issue"]
        if issue.get("updated_at") is None:
            issue = {**issue, "updated_at": event["created_at"]}
        action = payload.get("action")
        if event["type"] == "IssuesEvent":
            if action in _LASTING:  # It is no longer here; what the event shows is how it was before.
                return None
            item = parse_item(issue, repository, doubtful=doubtful, now=self.now)
            return _Change(at, event_id, (item,), _dated(event, payload, item, doubtful=doubtful), None)
        item = parse_item(issue, repository, doubtful=doubtful, now=self.now)
        comment = payload.get("comment")
        if not self.scope.comments:
            return _Change(at, event_id, (item,), None, None)
        if not isinstance(comment, dict):
            raise SkipError(f"event {event_id}: comment is missing")
        if action == "deleted":
            return _Change(at, event_id, (item,), None, comment.get("id"))
        # Its kind and its issue are told by the payload; what the comment says of them may have been trimmed.
        record = {**comment, "issue_url": f"/issues/{item.external_id}"}
        said = parse_item(record, repository, doubtful=doubtful, now=self.now)
        return _Change(at, event_id, (item, said), None, None)


@dataclass(slots=True)
class _Held:
    """What is read and waits for its page."""

    changes: list[_Change] = field(default_factory=list)
    skipped: list[Rejected] = field(default_factory=list)
    deleted: set[int | None] = field(default_factory=set)
    full: int = _PAGE
    bare: int = 0
    first_bare: bytes = b""
    first_bare_place: str = ""

    def add(self, change: _Change) -> None:
        """Takes what an event tells."""
        self.changes.append(change)
        if change.deleted_comment is not None:
            self.deleted.add(change.deleted_comment)

    def skip(self, data: bytes, line: str) -> None:
        """Takes what cannot be used."""
        self.skipped.append(rejected_bytes(data[:_MOST_RAW], line))

    def note_bare(self, data: bytes, place: str) -> None:
        """Counts an event that does not hold its issue; the first is kept."""
        if not self.bare:
            self.first_bare, self.first_bare_place = data[:_MOST_RAW], place
        self.bare += 1

    def is_full(self) -> bool:
        """Whether there is enough for a page."""
        return len(self.changes) + len(self.skipped) >= self.full

    def pages(self, *, everything: bool) -> Iterator[Page]:
        """What is settled, or everything, as a page if it is anything; the rest stays held."""
        ready, self.changes = self.changes, []
        if not everything and len(ready) < _MOST_HELD:
            settled = max((change.at for change in ready), default=datetime.max.replace(tzinfo=UTC)) - _SETTLED
            self.changes = [change for change in ready if change.at > settled]
            ready = [change for change in ready if change.at <= settled]
        skipped, self.skipped = tuple(self.skipped), []
        self.full = len(self.changes) + _PAGE
        events = tuple(change.event for change in ready if change.event is not None)
        page = Page(_newest(ready, self.deleted), None, skipped, events, "archive")
        if page.items or page.skipped:
            yield page


def _newest(changes: Sequence[_Change], deleted: set[int | None]) -> tuple[Item, ...]:
    """Each item once, as the last event has it; comments that were deleted are left out."""
    newest: dict[tuple[int, str, int], tuple[tuple[datetime, int], Item]] = {}
    for change in changes:
        for item in change.items:
            identity = (item.repository.key, item.kind, item.external_id)
            rank = (item.updated_at, change.event_id)
            known = newest.get(identity)
            if known is None or rank >= known[0]:
                newest[identity] = rank, item
    return tuple(item for _, item in newest.values() if item.kind != "comment" or item.external_id not in deleted)


class _Lines:
    """The lines of a file that name a wanted type of event, with their numbers; the others are not looked at.

    number: how many lines were passed. rest: what was read of the line after these.
    """

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self.number = 0
        self.rest = b""

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        for block in _plain(self._blocks):
            self.rest += block
            end = self.rest.rfind(b"\n") + 1
            if end:
                whole, self.rest = self.rest[:end], self.rest[end:]
                yield from self._found(whole)
            if len(self.rest) > _LONGEST_LINE:
                raise SkipError("longer than 64 MiB; what follows in the file was not read")
        last, self.rest = self.rest, b""
        yield from self._found(last + b"\n")

    def _found(self, whole: bytes) -> Iterator[tuple[int, bytes]]:
        """The lines of a piece that ends with a line."""
        counted = end = 0
        for hit in _TYPES.finditer(whole):
            if hit.start() < end:
                continue
            start = whole.rfind(b"\n", 0, hit.start()) + 1
            end = whole.find(b"\n", hit.start()) + 1
            self.number += whole.count(b"\n", counted, start)
            counted = start
            yield self.number + 1, whole[start:end]
        self.number += whole.count(b"\n", counted)


def _plain(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The text of a file, gzip taken off, member by member, at most a mebibyte at a time.

    Raises:
        EOFError: the last member is cut off. zlib.error: what stands there is no gzip.
    """
    first = next(blocks, b"").removeprefix(_BOM)
    if not first.startswith(_GZIP_MAGIC):
        yield first
        yield from blocks
        return
    member = zlib.decompressobj(wbits=31)
    for block in chain([first], blocks):
        data, pending = block, False
        while data or pending:
            if member.eof:
                data = data.lstrip(b"\0")  # Padding after a member, as tapes and `gzip` itself allow.
                if not data:
                    break
                member = zlib.decompressobj(wbits=31)
            text = member.decompress(data, _PLAIN_BYTES)
            data = member.unused_data if member.eof else member.unconsumed_tail
            pending = len(text) == _PLAIN_BYTES and not member.eof
            yield text
    if not member.eof:
        raise EOFError


def _decoded(line: bytes, wanted: _Wanted) -> Iterator[tuple[bytes, Decoded | None]]:
    """The event of a line; of a damaged line those that can still be told apart. None where it is not JSON."""
    try:
        yield line, decode_json(line)
    except ValueError:
        for part in _GLUE.split(line):
            piece = part.strip(_BLANK)
            if wanted.may_hold(piece):
                try:
                    decoded = decode_json(piece)
                except ValueError:
                    yield piece, None
                else:
                    yield piece, decoded


def _repository_of(event: Mapping[str, Any]) -> tuple[str, int | None]:
    """Name and numeric id of an event's repository, as far as they are there; '' for no name.

    Before 2015 the object was called `repository`, with owner and name apart.
    """
    repo = event.get("repo")
    if isinstance(repo, dict):
        github_id = repo.get("id")
        return str(repo.get("name") or ""), github_id if type(github_id) is int and github_id > 0 else None
    old = event.get("repository")
    if isinstance(old, dict):
        return f"{old.get('owner')}/{old.get('name')}", None
    return "", None


def _repository(full_name: str, github_id: int | None) -> Repository:
    try:
        check_full_name(full_name)
    except ConfigurationError as error:
        raise SkipError(str(error)) from None
    return Repository(repository_key(GITHUB_HOST, github_id, full_name), GITHUB_HOST, github_id, full_name)


def _dated(event: Mapping[str, Any], payload: Mapping[str, Any], item: Item, *, doubtful: bool) -> Event | None:
    """The change of state or label that an IssuesEvent is; None for the other actions."""
    action, label = payload.get("action"), payload.get("label")
    several = _list(payload.get("labels"))
    if label is None and len(several) == 1:
        label = several[0]
    if action in {"labeled", "unlabeled"} and not isinstance(label, dict):
        return None
    record = {"event": action, "label": label, "created_at": event["created_at"], "id": _id_of(event)}
    found = parse_event(record, item.repository, item.external_id, doubtful=doubtful, now=datetime.now(UTC))
    return None if found is None else replace(found, source="archive")


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _id_of(event: Mapping[str, Any]) -> int:
    value = event.get("id")
    if not (isinstance(value, str) and value.isascii() and value.isdecimal() and 0 < len(value) < 19):
        raise SkipError("the event's id is not a number")
    return int(value)


def _time_of(event: Mapping[str, Any]) -> datetime:
    try:
        at = datetime.fromisoformat(event["created_at"])
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        pass
    raise SkipError("the event's created_at is not a time with its zone")
