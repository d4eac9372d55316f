"""GitHub's JSON objects as items: decoding, cleaning, checking. Pure; both sources of GitHub objects parse with it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple, NoReturn, cast
from urllib.parse import urlsplit

import orjson

from etl.errors import ConfigurationError, SkipError
from etl.records import Event, EventKind, Item, Kind, Rejected, Repository
from etl.sources.base import GITHUB_HOST
from etl.sources.github_links import closing_links

_FULL_NAME = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
_REFUSED_BY_POSTGRESQL = re.compile("[\x00\ud800-\udfff]")
_SURROGATE_MARKS = (b"\\ud", b"\\uD", b"\xed")
_TOP_DROPPED = frozenset({"title", "body", "assignee", "repository"})
_NESTING = frozenset({dict, list})
_MOST_KEYS = 4096
_LARGEST_ID = 2**63 - 1
_LARGEST_COUNT = 2**31 - 1
_LONGEST_REJECTED = 1 << 20
_EVENT_KINDS: Mapping[str, EventKind] = {
    "closed": "closed",
    "reopened": "reopened",
    "labeled": "labeled",
    "unlabeled": "unlabeled",
}
_EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""Older than any tracker that issues were ever imported from; trends have a document for each day since the oldest."""
_DAY = timedelta(days=1)


class Decoded(NamedTuple):
    """A JSON value, and whether its texts may hold NUL bytes or lone surrogates."""

    value: Any
    doubtful: bool


def decode_json(data: bytes) -> Decoded:
    """The value of a JSON text.

    orjson refuses lone surrogates, escaped or raw, which GitHub does send; such a text goes through the standard
    library, which keeps them, to be cleaned by `parse_item`.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return Decoded(orjson.loads(data), b"\\u0000" in data)
    except orjson.JSONDecodeError:
        if not any(mark in data for mark in _SURROGATE_MARKS):
            raise
    try:
        return Decoded(json.loads(data, parse_constant=_refuse_constant), doubtful=True)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse_item(record: object, repository: Repository, *, doubtful: bool, now: datetime) -> Item:
    """One issue, pull request (key `pull_request`) or comment (key `issue_url`).

    The payload keeps the object less title, body and every key that ends in `url` (hypermedia links, the repository's
    too), `node_id` and the `assignee` that newer API versions no longer send. An issue that was closed before it was
    opened, as importers write it, counts as closed when it was opened; the payload keeps the time that was given.

    Args:
        record: the decoded object.
        repository: what it belongs to.
        doubtful: as `decode_json` said of it.
        now: the clock of who sent it (this machine's may be wrong), or this machine's for a file.

    Raises:
        SkipError: a field is missing, of another type, or a time that `is_believable` does not believe; names the
            object and the field, the caller adds where it was.
    """
    if not isinstance(record, dict):
        raise SkipError("not a JSON object")
    fields: dict[str, Any] = record
    replaced = 0
    try:
        if doubtful:
            fields, replaced = _cleaned(fields)
        parse = _comment if "issue_url" in fields else _issue
        return parse(fields, repository, replaced, now + _DAY)
    except SkipError as error:
        raise SkipError(f"{_name(fields)}: {error}") from None
    except RecursionError:
        raise SkipError(f"{_name(fields)}: nested too deeply") from None
    except (TypeError, ValueError) as error:
        # orjson's words for what it cannot write ("Integer exceeds 64-bit range"); they hold no content.
        raise SkipError(f"{_name(fields)}: {error}") from None


def rejected(record: object, line: str) -> Rejected:
    """What could not be used of a decoded list or file, with its JSON text; `line` says what is wrong with it."""
    try:
        text = json.dumps(record, separators=(",", ":"))
    except RecursionError:
        text = "".join(_nested_json(record))
    return Rejected(line, text[:_LONGEST_REJECTED].encode("ascii"))


def rejected_bytes(data: bytes, line: str) -> Rejected:
    """Likewise of what could not even be decoded, as it came."""
    return Rejected(line, data[:_LONGEST_REJECTED])


def _nested_json(value: Any) -> Iterator[str]:  # noqa: ANN401  (any JSON value)
    """The pieces of the JSON text of a value that is nested deeper than the interpreter's stack."""
    todo: list[tuple[bool, Any]] = [(False, value)]
    while todo:
        is_text, part = todo.pop()
        if is_text or not isinstance(part, list | dict):
            yield part if is_text else json.dumps(part)
            continue
        todo.append((True, "]" if isinstance(part, list) else "}"))
        inner: list[list[tuple[bool, Any]]] = (
            [[(False, each)] for each in part]
            if isinstance(part, list)
            else [[(True, f"{json.dumps(key)}:"), (False, each)] for key, each in part.items()]
        )
        for place in range(len(inner) - 1, -1, -1):
            todo += reversed([(True, ","), *inner[place]] if place else inner[place])
        yield "[" if isinstance(part, list) else "{"


def parse_event(record: object, repository: Repository, number: int, *, doubtful: bool, now: datetime) -> Event | None:
    """One entry of the timeline of item `number`; None for one that changes neither state nor labels.

    Raises:
        SkipError: a field is missing or of another type.
    """
    if not isinstance(record, dict) or (kind := _EVENT_KINDS.get(str(record.get("event")))) is None:
        return None
    fields: dict[str, Any] = _cleaned(record)[0] if doubtful else record
    try:
        label = _event_label(fields) if kind in {"labeled", "unlabeled"} else None
        at = _time(fields, "created_at", now + _DAY)
        return Event(repository, number, kind, at, label, "timeline", _identity(fields, "id"))
    except SkipError as error:
        raise SkipError(f"{kind} event of #{number}: {error}") from None


def _event_label(fields: Mapping[str, Any]) -> str:
    label = fields.get("label")
    name = _text(label, "name") if isinstance(label, dict) else None
    if name is None:
        raise SkipError("label is missing")
    return name


def is_believable(time: datetime, now: datetime) -> bool:
    """Whether something can have happened then: since 1990, and no more than a day after the clock `now`."""
    return _EARLIEST <= time <= now + _DAY


def is_comment(record: object) -> bool:
    """Whether the decoded object is a comment: only those name their issue."""
    return isinstance(record, dict) and "issue_url" in record


def kind_of_parent(record: Mapping[str, Any]) -> Kind:
    """What a comment was made on: GitHub lists comments on pull requests among those on issues, told by their page."""
    return "pull_request" if "/pull/" in str(record.get("html_url", "")) else "issue"


def kind_of(record: Mapping[str, Any]) -> Kind:
    """Whether an object of an issue list is an issue or a pull request."""
    return "issue" if record.get("pull_request") is None else "pull_request"


def check_full_name(name: str) -> str:
    """The given name if it is of the form 'owner/name'.

    Raises:
        ConfigurationError: it is not.
    """
    if not _FULL_NAME.fullmatch(name) or name.split("/")[1] in {".", ".."}:
        raise ConfigurationError(f"{name[:100]!r} does not name a repository: write owner/name, as in pytorch/pytorch")
    return name


def check_label(label: str) -> str:
    """The given label if GitHub can be asked for it.

    Raises:
        ConfigurationError: it is empty, or holds the comma that GitHub separates labels with.
    """
    if not label.strip() or "," in label:
        raise ConfigurationError(f"--label {label[:100]!r} cannot be asked for: GitHub takes one label, without commas")
    return label


def web_host(url: str) -> str:
    """The host that people see for an address of an API or a page: 'github.com' for 'https://api.github.com/…'.

    '' where the address names none.
    """
    try:
        host = (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
    if host == f"api.{GITHUB_HOST}" or (host.startswith("api.") and host.endswith(".ghe.com")):
        return host.removeprefix("api.")
    return host


def list_filter(labels: Sequence[str], kinds: Sequence[Kind]) -> str:
    """What narrows or widens a list, written the same way every time; '' for all issues and no pull requests."""
    shown = () if set(kinds) == {"issue"} else kinds
    return ",".join(
        [*sorted({f"label={label.lower()}" for label in labels}), *sorted(f"kind={kind}" for kind in shown)]
    )


def read_list_filter(text: str) -> tuple[tuple[str, ...], tuple[Kind, ...]]:
    """The labels and the kinds that `list_filter` wrote."""
    parts = [part.partition("=") for part in text.split(",") if part]
    labels = tuple(value for name, _, value in parts if name == "label")
    kinds = tuple(cast("Kind", value) for name, _, value in parts if name == "kind")
    return labels, kinds or ("issue",)


def _issue(record: dict[str, Any], repository: Repository, replaced: int, latest: datetime) -> Item:
    number = _identity(record, "number")
    title = _text(record, "title")
    if title is None:
        raise SkipError("title is missing")
    body = _text(record, "body")
    url = _text(record, "html_url")
    comments = record.get("comments")
    if comments is not None and not (type(comments) is int and 0 <= comments <= _LARGEST_COUNT):
        raise SkipError("comments is not a count")
    author, author_type = _author(record)
    created_at = _time(record, "created_at", latest)
    payload = _payload(record)
    pull = record.get("pull_request")
    return Item(
        repository=repository,
        kind=kind_of(record),
        external_id=number,
        parent_number=None,
        title=title,
        body=body,
        state=_text(record, "state"),
        state_reason=_text(record, "state_reason"),
        author=author,
        author_type=author_type,
        author_association=_text(record, "author_association"),
        labels=_names(record, "labels", "name"),
        assignees=_names(record, "assignees", "login"),
        comments=comments,
        created_at=created_at,
        updated_at=created_at if record.get("updated_at") is None else _time(record, "updated_at", latest),
        closed_at=None if record.get("closed_at") is None else max(created_at, _time(record, "closed_at", latest)),
        url=url,
        payload=payload.decode(),
        content_hash=_hash(payload, [title, body, url]),
        replaced=replaced,
        merged_at=_merged_at(pull, latest),
        links=() if pull is None else closing_links(body, repository.full_name, repository.host),
    )


def _merged_at(pull: object, latest: datetime) -> datetime | None:
    """When a pull request was merged, by the object that only pull requests have in a list of issues."""
    if not isinstance(pull, dict) or pull.get("merged_at") is None:
        return None
    return _time(pull, "merged_at", latest)


def _comment(record: dict[str, Any], repository: Repository, replaced: int, latest: datetime) -> Item:
    external_id = _identity(record, "id")
    number = (_text(record, "issue_url") or "").rpartition("/")[2]
    if not (number.isascii() and number.isdecimal()) or int(number) > _LARGEST_ID:
        raise SkipError("issue_url does not end in a number")
    body = _text(record, "body")
    url = _text(record, "html_url")
    author, author_type = _author(record)
    created_at = _time(record, "created_at", latest)
    payload = _payload(record)
    return Item(
        repository=repository,
        kind="comment",
        external_id=external_id,
        parent_number=int(number),
        title=None,
        body=body,
        state=None,
        state_reason=None,
        author=author,
        author_type=author_type,
        author_association=_text(record, "author_association"),
        labels=(),
        assignees=(),
        comments=None,
        created_at=created_at,
        updated_at=created_at if record.get("updated_at") is None else _time(record, "updated_at", latest),
        closed_at=None,
        url=url,
        payload=payload.decode(),
        content_hash=_hash(payload, [number, body, url]),
        replaced=replaced,
    )


class _KeptKeys(dict[str, bool]):
    """Whether a key stays in the payload, remembered: looking up is a third of the time of asking every key anew."""

    def __missing__(self, key: str) -> bool:
        if len(self) > _MOST_KEYS:
            self.clear()
        kept = self[key] = not key.endswith("url") and key != "node_id"
        return kept


_KEPT = _KeptKeys()


def _payload(record: dict[str, Any]) -> bytes:
    kept = {
        key: value if value.__class__ not in _NESTING else _pruned(value)
        for key, value in record.items()
        if _KEPT[key] and key not in _TOP_DROPPED
    }
    return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)


def _pruned(value: Any) -> Any:  # noqa: ANN401  (any JSON value)
    if value.__class__ is dict:
        return {
            key: inner if inner.__class__ not in _NESTING else _pruned(inner)
            for key, inner in value.items()
            if _KEPT[key]
        }
    return [inner if inner.__class__ not in _NESTING else _pruned(inner) for inner in value]


def _hash(payload: bytes, texts: list[str | None]) -> str:
    """32 digits over everything stored: the payload, and what is stored beside it."""
    digest = blake2b(payload, digest_size=16)
    digest.update(orjson.dumps(texts))
    return digest.hexdigest()


def _cleaned(value: Any) -> tuple[Any, int]:  # noqa: ANN401  (any JSON value)
    """The value with NUL bytes and lone surrogates replaced by U+FFFD in every text, and how many they were."""
    if isinstance(value, str):
        return _REFUSED_BY_POSTGRESQL.subn("\ufffd", value)
    if isinstance(value, list):
        parts = [_cleaned(inner) for inner in value]
        return [part for part, _ in parts], sum(count for _, count in parts)
    if isinstance(value, dict):
        pairs = [(_cleaned(key), _cleaned(inner)) for key, inner in value.items()]
        return {key: inner for (key, _), (inner, _) in pairs}, sum(a + b for (_, a), (_, b) in pairs)
    return value, 0


def _name(record: Mapping[str, Any]) -> str:
    """The object in words for a message; never its text."""
    kind = "comment" if "issue_url" in record else kind_of(record).replace("_", " ")
    identity = record.get("id" if kind == "comment" else "number")
    return f"{kind} {identity}" if type(identity) is int else f"{kind} without a number"


def _identity(record: Mapping[str, Any], key: str) -> int:
    value = record.get(key)
    if type(value) is not int or not 0 < value <= _LARGEST_ID:
        raise SkipError(f"{key} is missing" if value is None else f"{key} is not a positive whole number")
    return value


def _text(record: Mapping[str, Any], key: str) -> str | None:
    value = record.get(key)
    if value is None or value.__class__ is str:
        return value
    raise SkipError(f"{key} is not a text")


def _time(record: Mapping[str, Any], key: str, latest: datetime) -> datetime:
    value = record.get(key)
    time = _utc(value)
    if time is None:
        raise SkipError(f"{key} is missing" if value is None else f"{key} is not a time with its zone")
    if _EARLIEST <= time <= latest:
        return time
    bound = f"before {_EARLIEST.year}" if time < _EARLIEST else f"later than tomorrow, {latest:%Y-%m-%d}"
    raise SkipError(f"{key} {time.isoformat()} cannot be: it is {bound}")


def _utc(value: Any) -> datetime | None:  # noqa: ANN401  (whatever the object holds there)
    """A text as a time in UTC; None if it is none, or one without its zone."""
    try:
        time = datetime.fromisoformat(value)
        if time.tzinfo is UTC:
            return time
        return None if time.tzinfo is None else time.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _author(record: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Login and type of the author; both None for a ghost, whose `user` is null."""
    user = record.get("user")
    if user is None:
        return None, None
    if user.__class__ is not dict:
        raise SkipError("user is not an object")
    return _text(user, "login"), _text(user, "type")


def _names(record: Mapping[str, Any], key: str, name_key: str) -> tuple[str, ...]:
    """The names in a list of objects or of plain texts, sorted, each once."""
    values = record.get(key)
    if not values:
        return ()
    if values.__class__ is not list:
        raise SkipError(f"{key} is not a list")
    names = [value.get(name_key) if value.__class__ is dict else value for value in values]
    if not all(name.__class__ is str or name is None for name in names):
        raise SkipError(f"{key} holds something without a {name_key}")
    return tuple(sorted({name for name in names if name is not None}))
