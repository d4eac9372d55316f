"""The Message Batches API of the loopback server: batches that end when a test says so, or after some seconds.

As the real one, it looks at the ids and the size of a batch at once and at everything else later: a request that the
Messages API would refuse is an errored row of the results. All counts but `processing` stay 0 until the whole batch has
ended. Results come in any order, from an address on the server's own host, and only while they are kept: 29 days, or
until the batch is deleted. A batch belongs to the key that made it; another key finds nothing.

The prompt cache is best effort in a batch: `hit_rate` says how many of its requests read their prompt from it.
"""

import json
import random
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.loopback.anthropic_answers import item_text
from tests.loopback.anthropic_checks import BadRequestError, UnknownModelError, check_request

CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
EXPIRES_AFTER = timedelta(hours=24)
KEPT_FOR = timedelta(days=29)
PATH = "/v1/messages/batches"

_COUNTED = ("processing", "succeeded", "errored", "canceled", "expired")
_REFUSED_PARAMS = ("stream", "speed", "fallbacks")
_ROWS_PER_CHUNK = 20
_TINY = 1e-9

Writer = Callable[[Mapping[str, Any], str, bool], dict[str, Any]]
"""Makes the message that answers a request: its body, the shape of the answer, whether its prompt is in the cache."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a request about batches. rows: instead of `value`, lines that are streamed."""

    status: int
    value: Mapping[str, Any] = field(default_factory=dict)
    rows: Iterator[bytes] | None = None


@dataclass(slots=True)
class Batch:
    """One batch as the server knows it.

    owner: the key that made it. cancel_at: how many of its requests were done when it was canceled. rows: the results,
    shuffled, once it has ended.
    """

    id: str
    number: int
    owner: str
    requests: list[dict[str, Any]]
    created_at: datetime
    status: str = "in_progress"
    canceled_at: datetime | None = None
    done_before_cancel: int = 0
    ended_at: datetime | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def items(self) -> list[str]:
        """What its requests ask about."""
        return [item_text(request["params"]) for request in self.requests]


class LoopbackBatches:
    """All batches of one server. Its tests set what is public here; nothing is behind the scenes.

    ends_after: seconds from creation to end; None: when `end` says so. hit_rate: the share of requests, 0..1, whose
    prompt is read from the cache. most_requests, most_bytes: the limits of one batch. foreign_host: where results_url
    leads, if not here. on: called with a moment ('before create', 'after create', 'row', 'before delete', …).
    """

    def __init__(self, write: Writer) -> None:
        self.ends_after: float | None = None
        self.hit_rate = 0.7
        self.most_requests = 100_000
        self.most_bytes = 256_000_000
        self.foreign_host = ""
        self.on: Callable[[str], None] | None = None
        self._write = write
        self._batches: dict[str, Batch] = {}
        self._faults: dict[str, deque[Any]] = {}
        self._scripts: dict[str, deque[str]] = {}
        self._breaks: deque[int] = deque()
        self._lock = threading.RLock()
        self.made: list[Batch] = []
        """Every batch that was ever made, deleted ones included."""

    # --- what tests do -----------------------------------------------------------------------------------------------

    def all(self) -> list[Batch]:
        """Every batch that was ever made and is not deleted, the oldest first."""
        with self._lock:
            return list(self._batches.values())

    def asked_items(self) -> list[str]:
        """What was asked about in all of them, deleted ones left out."""
        return [item for batch in self.all() for item in batch.items]

    def queue(self, verb: str, *faults: Any) -> None:
        """The next requests of this kind meet these faults of `anthropic`, one each.

        verb: create, retrieve, list, results, cancel, delete. A fault with a status is answered and nothing is done;
        one that drops closes the connection after the request was processed, or before, where its shape is 'unseen'.
        """
        self._faults.setdefault(verb, deque()).extend(faults)

    def forget_faults(self) -> None:
        """From now on nothing fails."""
        self._faults.clear()
        self._scripts.clear()
        self._breaks.clear()

    def script(self, words: str, *results: str) -> None:
        """Requests about an item that contains `words` end as these, one batch each.

        'errored', 'overloaded' (errored by the server), 'expired', 'canceled', 'missing' (no row at all), or the shape
        of an answer as in `anthropic.Fault`: 'refusal', 'cut', 'wrong_case', 'malformed', …
        """
        self._scripts.setdefault(words, deque()).extend(results)

    def break_results(self, *after_rows: int) -> None:
        """The next streams of results break off after so many rows, one each."""
        self._breaks.extend(after_rows)

    def end(self) -> None:
        """Ends every batch under way now."""
        with self._lock:
            for batch in self._batches.values():
                if batch.status != "ended":
                    self._finish(batch, "succeeded" if batch.status == "in_progress" else "canceled")

    def age(self, **time: float) -> None:
        """Makes every batch older by a `timedelta`: unfinished ones of a day expire, old results go."""
        with self._lock:
            for batch in self._batches.values():
                batch.created_at -= timedelta(**time)
            self._pass_time()

    # --- what happens by itself ---------------------------------------------------------------------------------------

    def _pass_time(self) -> None:
        now = datetime.now(UTC)
        for batch in self._batches.values():
            age = now - batch.created_at
            if batch.status == "in_progress" and age >= EXPIRES_AFTER:
                self._finish(batch, "expired")
            elif batch.status != "ended" and self.ends_after is not None and age.total_seconds() >= self.ends_after:
                self._finish(batch, "succeeded" if batch.status == "in_progress" else "canceled")

    def _finish(self, batch: Batch, ending: str) -> None:
        """Ends a batch: `ending` is what becomes of requests that nobody had got to."""
        chance = random.Random(batch.number)
        for place, request in enumerate(batch.requests):
            unreached = ending != "succeeded" and place >= batch.done_before_cancel
            hit = int((place + 1) * self.hit_rate + _TINY) > int(place * self.hit_rate + _TINY)
            result = self._result(request["params"], ending if unreached else "", hit=hit)
            if result is not None:
                batch.rows.append({"custom_id": request["custom_id"], "result": result})
        chance.shuffle(batch.rows)
        batch.status, batch.ended_at = "ended", datetime.now(UTC)

    def _result(self, params: Mapping[str, Any], unreached: str, *, hit: bool) -> dict[str, Any] | None:
        scripted = self._take_script(params)
        if unreached or scripted in {"expired", "canceled"}:
            return {"type": unreached or scripted}
        if scripted == "missing":
            return None
        if scripted == "errored":
            return _errored("invalid_request_error", "messages: this text cannot be used")
        if scripted == "overloaded":
            return _errored("api_error", "Internal server error")
        try:
            _check_params(params)
        except BadRequestError as error:
            return _errored("invalid_request_error", str(error))
        except UnknownModelError as error:
            return _errored("not_found_error", str(error))
        message = self._write(params, scripted, hit)
        message["usage"]["service_tier"] = "batch"
        return {"type": "succeeded", "message": message}

    def _take_script(self, params: Mapping[str, Any]) -> str:
        try:
            item = item_text(params)
        except (KeyError, IndexError, TypeError, AttributeError):
            return ""
        return next((left.popleft() for words, left in self._scripts.items() if left and words in item), "")

    # --- what the API answers -----------------------------------------------------------------------------------------

    def take_fault(self, verb: str) -> Any | None:
        """What the request of this kind meets; None for nothing."""
        with self._lock:
            left = self._faults.get(verb)
            return left.popleft() if left else None

    def tell(self, moment: str) -> None:
        """Calls `on`, if a test has set it."""
        if self.on is not None:
            self.on(moment)

    def reply(self, verb: str, identifier: str, body: bytes, query: str, key: str, number: int, url: str) -> Reply:
        """The answer to one request; `number` is the request's, `url` the root of the server."""
        with self._lock:
            self._pass_time()
            if verb == "create":
                return self._create(body, key, number, url)
            if verb == "list":
                return self._list(parse_qs(query), key, url)
            batch = self._batches.get(identifier)
            if batch is None or batch.owner != key:
                return _refusal(404, "not_found_error", f"Message batch {identifier} not found")
            return {"retrieve": self._retrieve, "results": self._results, "cancel": self._cancel, "delete": self._drop}[
                verb
            ](batch, url)

    def _create(self, body: bytes, key: str, number: int, url: str) -> Reply:
        if len(body) > self.most_bytes:
            return _refusal(413, "request_too_large", "Request exceeds the maximum size")
        try:
            requests = _read_requests(body, self.most_requests)
        except BadRequestError as error:
            return _refusal(400, "invalid_request_error", str(error))
        batch = Batch(f"msgbatch_{number:024d}", number, key, requests, datetime.now(UTC))
        self._batches[batch.id] = batch
        self.made.append(batch)
        if self.ends_after == 0:
            self._pass_time()
        return Reply(200, self._object(batch, url))

    def _retrieve(self, batch: Batch, url: str) -> Reply:
        return Reply(200, self._object(batch, url))

    def _list(self, query: Mapping[str, Sequence[str]], key: str, url: str) -> Reply:
        newest_first = sorted((batch for batch in self._batches.values() if batch.owner == key), key=_age_order)
        limit = int(query.get("limit", ["20"])[0])
        if not 1 <= limit <= 1000:
            return _refusal(400, "invalid_request_error", "limit: Input should be from 1 to 1000")
        ids = [batch.id for batch in newest_first]
        after, before = query.get("after_id", [""])[0], query.get("before_id", [""])[0]
        first = ids.index(after) + 1 if after in ids else 0
        last = ids.index(before) if before in ids else len(ids)
        start = max(first, last - limit) if before else first
        page = newest_first[start : min(last, start + limit)]
        return Reply(
            200,
            {
                "data": [self._object(batch, url) for batch in page],
                "has_more": start > 0 if before else start + limit < last,
                "first_id": page[0].id if page else None,
                "last_id": page[-1].id if page else None,
            },
        )

    def _cancel(self, batch: Batch, url: str) -> Reply:
        if batch.status == "ended":
            return _refusal(400, "invalid_request_error", f"Batch {batch.id} has ended and cannot be canceled")
        if batch.status == "in_progress":
            batch.status, batch.canceled_at = "canceling", datetime.now(UTC)
        return Reply(200, self._object(batch, url))

    def _drop(self, batch: Batch, _url: str) -> Reply:
        if batch.status != "ended":
            return _refusal(400, "invalid_request_error", f"Batch {batch.id} must have ended before it is deleted")
        del self._batches[batch.id]
        return Reply(200, {"id": batch.id, "type": "message_batch_deleted"})

    def _results(self, batch: Batch, _url: str) -> Reply:
        if batch.status != "ended" or _is_archived(batch):
            return _refusal(404, "not_found_error", f"Results of {batch.id} are not available")
        return Reply(200, rows=self._stream(list(batch.rows), self._breaks.popleft() if self._breaks else None))

    def _stream(self, rows: Sequence[Mapping[str, Any]], breaks_after: int | None) -> Iterator[bytes]:
        """The rows as JSON lines, in pieces that end anywhere.

        Raises:
            BrokenPipeError: where the stream is to break off, in the middle of a row.
        """
        pending = b""
        for number, row in enumerate(rows):
            self.tell("row")
            line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            if breaks_after is not None and number >= breaks_after:
                yield pending + line[: len(line) // 2]
                raise BrokenPipeError("a test lets it break off")
            pending += line
            if number % _ROWS_PER_CHUNK == _ROWS_PER_CHUNK - 1:
                yield pending[:-7]
                pending = pending[-7:]
        if pending:
            yield pending

    def _object(self, batch: Batch, url: str) -> dict[str, Any]:
        ended = batch.status == "ended"
        counts = dict.fromkeys(_COUNTED, 0)
        if ended:
            for row in batch.rows:
                counts[row["result"]["type"]] += 1
            counts["errored"] += len(batch.requests) - len(batch.rows)
        else:
            counts["processing"] = len(batch.requests)
        archived = _is_archived(batch)
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": batch.status,
            "request_counts": counts,
            "created_at": batch.created_at.isoformat(),
            "expires_at": (batch.created_at + EXPIRES_AFTER).isoformat(),
            "ended_at": batch.ended_at.isoformat() if batch.ended_at else None,
            "cancel_initiated_at": batch.canceled_at.isoformat() if batch.canceled_at else None,
            "archived_at": (batch.created_at + KEPT_FOR).isoformat() if archived else None,
            "results_url": f"{self.foreign_host or url}{PATH}/{batch.id}/results" if ended and not archived else None,
        }


def find_verb(method: str, path: str) -> tuple[str, str]:
    """What a request is for, and the batch it names; '' where there is no such thing."""
    parts = urlsplit(path).path.removeprefix(PATH).strip("/").split("/")
    identifier = parts[0]
    if not identifier:
        return {"POST": "create", "GET": "list"}.get(method, ""), ""
    if len(parts) == 1:
        return {"GET": "retrieve", "DELETE": "delete"}.get(method, ""), identifier
    if len(parts) == 2:
        return {("GET", "results"): "results", ("POST", "cancel"): "cancel"}.get((method, parts[1]), ""), identifier
    return "", identifier


def _read_requests(body: bytes, most: int) -> list[dict[str, Any]]:
    """The requests of a new batch: only what the service looks at before it takes it.

    Raises:
        BadRequestError: it would not take it.
    """
    try:
        value = json.loads(body)
    except ValueError:
        raise BadRequestError("The request body is not valid JSON") from None
    requests = value.get("requests") if isinstance(value, dict) else None
    if not isinstance(requests, list) or set(value) != {"requests"}:
        raise BadRequestError("requests: Field required, and nothing else is permitted")
    if not 1 <= len(requests) <= most:
        raise BadRequestError(f"requests: from 1 to {most} are permitted, found {len(requests)}")
    seen: set[str] = set()
    for place, request in enumerate(requests):
        where = f"requests.{place}"
        if not isinstance(request, dict) or set(request) != {"custom_id", "params"}:
            raise BadRequestError(f"{where}: needs custom_id and params, and nothing else")
        if not isinstance(request["custom_id"], str) or not CUSTOM_ID.fullmatch(request["custom_id"]):
            raise BadRequestError(f"{where}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
        if request["custom_id"] in seen:
            raise BadRequestError(f"{where}.custom_id: duplicate custom_id {request['custom_id']}")
        if not isinstance(request["params"], dict):
            raise BadRequestError(f"{where}.params: Input should be a valid dictionary")
        seen.add(request["custom_id"])
    return requests


def _check_params(params: Mapping[str, Any]) -> None:
    """What the service finds out about a request only when it gets to it."""
    for name in _REFUSED_PARAMS:
        if params.get(name):
            raise BadRequestError(f"{name}: Extra inputs are not permitted in a batch")
    check_request(params)


def _age_order(batch: Batch) -> tuple[float, int]:
    return -batch.created_at.timestamp(), -batch.number


def _is_archived(batch: Batch) -> bool:
    return datetime.now(UTC) - batch.created_at >= KEPT_FOR


def _errored(kind: str, message: str) -> dict[str, Any]:
    return {
        "type": "errored",
        "error": {"type": "error", "error": {"type": kind, "message": message}, "request_id": None},
    }


def _refusal(status: int, kind: str, message: str) -> Reply:
    return Reply(status, {"type": "error", "error": {"type": kind, "message": message}, "request_id": None})
