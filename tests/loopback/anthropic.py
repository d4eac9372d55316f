"""A Messages API on this machine: for tests, and to try the product without a key or a network.

    python -m tests.loopback.anthropic --port 8082 --batch-seconds 5

It speaks over real HTTP, checks each request as strictly as the real service (`anthropic_checks`), keeps a real prompt
cache (minimum per model, lifetime, visible only after the first answer began), counts tokens and requests, and answers
by a rule (`anthropic_answers`) or as a test scripts it: refusals, cuts, errors, limits, hangs, broken connections.
Every request is kept in a journal, body included. Message batches are in `anthropic_batches`.
"""

import argparse
import itertools
import json
import math
import signal
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.loopback.anthropic_answers import item_text, plausible_answer
from tests.loopback.anthropic_batches import PATH as BATCHES_PATH
from tests.loopback.anthropic_batches import LoopbackBatches, Reply, find_verb
from tests.loopback.anthropic_checks import (
    MODELS,
    BadRequestError,
    LoopbackModel,
    UnknownModelError,
    check_request,
)

CHARS_PER_TOKEN = 2.5
KNOWN_VERSIONS = frozenset({"2023-06-01", "2026-10-21"})
_LIFETIMES = {"5m": 300.0, "1h": 3600.0}
_THINKING_TOKENS = 150

Answerer = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that one request meets instead of, or on top of, a plain answer.

    status, type, message, code, headers: an error answer (status 0: none). shape: another form of answer: 'refusal',
    'cut', 'thinking_only', 'thinking_first', 'wrong_case', 'unknown_category', 'malformed', 'two_blocks', 'pause',
    'tool_call', 'context_window', or 'html' (a proxy's page instead of an answer). detail: the category of a refusal.
    seconds: the server waits so long before it answers. drop: the connection is closed after the request was processed,
    billed and cached, without an answer.
    """

    status: int = 0
    type: str = "api_error"
    message: str = "Internal server error"
    code: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    shape: str = ""
    detail: str = ""
    seconds: float = 0.0
    drop: bool = False


def rate_limited(retry_after: str | None = None, code: str = "") -> Fault:
    """429; with `retry-after` as given (seconds or a date), or without the header."""
    headers = (("retry-after", retry_after),) if retry_after is not None else ()
    return Fault(429, "rate_limit_error", "This request would exceed your rate limit.", code, headers)


def overloaded(retry_after: str | None = None) -> Fault:
    """529."""
    headers = (("retry-after", retry_after),) if retry_after is not None else ()
    return Fault(529, "overloaded_error", "Overloaded", headers=headers)


def server_error() -> Fault:
    """500."""
    return Fault(500)


def tier_spend_limit() -> Fault:
    """The 429 of a spend limit: no retry-after until the month ends."""
    message = "You have crossed the monthly API usage threshold of your tier."
    return Fault(429, "rate_limit_error", message, "enforced_spend_limit_reached")


def own_spend_limit() -> Fault:
    """The 400 of a limit that the organization set itself, which only its words tell from other 400s."""
    message = "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."
    return Fault(400, "invalid_request_error", message)


def payment_required() -> Fault:
    """402."""
    return Fault(402, "billing_error", "Your payment method was declined.")


def bad_request(message: str = "messages: this text cannot be used") -> Fault:
    """400 for one text."""
    return Fault(400, "invalid_request_error", message)


def refusal(category: str = "cyber") -> Fault:
    """HTTP 200 with stop_reason 'refusal', before any output."""
    return Fault(shape="refusal", detail=category)


def shaped(shape: str) -> Fault:
    """HTTP 200 with an answer of another form; see `Fault.shape`."""
    return Fault(shape=shape)


def slow(seconds: float) -> Fault:
    """A plain answer, late. A long one is a hang: the server's end cuts it short."""
    return Fault(seconds=seconds)


def dropped() -> Fault:
    """The connection closes without an answer after the request was processed and billed."""
    return Fault(drop=True)


@dataclass(slots=True)
class Entry:
    """One request as it came in and what it got. began, ended: of `time.monotonic()`. item: what it asked about."""

    number: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    began: float
    ended: float = 0.0
    status: int = 0
    item: str = ""
    usage: dict[str, Any] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass(slots=True)
class _CacheEntry:
    ready_at: float
    used_at: float
    lifetime: float


def count_tokens(text: str) -> int:
    """How many tokens a text has, about."""
    return math.ceil(len(text) / CHARS_PER_TOKEN)


class _PromptCache:
    """Prefixes up to a `cache_control` mark on a system block. A prefix is readable once its first answer has begun."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: dict[str, _CacheEntry] = {}
        self._lock = threading.Lock()

    @staticmethod
    def _prefix(body: Mapping[str, Any]) -> tuple[str, str, str] | None:
        """The text up to the last mark, a key over all that a hit needs to be equal, and the mark's lifetime."""
        system = body.get("system")
        marked = (
            [number for number, block in enumerate(system) if block.get("cache_control")]
            if isinstance(system, list)
            else []
        )
        if not marked:
            return None
        assert isinstance(system, list)
        words = "".join(block["text"] for block in system[: marked[-1] + 1])
        tools = json.dumps(body["tools"]) if body.get("tools") else ""
        same = [body.get(name) for name in ("model", "thinking", "output_config", "tools", "tool_choice")]
        return (
            tools + words,
            json.dumps([same, words], sort_keys=True),
            system[marked[-1]]["cache_control"].get("ttl", "5m"),
        )

    def measure(self, body: Mapping[str, Any], model: LoopbackModel) -> tuple[int, str]:
        """The tokens of the prefix that can be cached (0: none) and the lifetime asked for."""
        prefix = self._prefix(body)
        if prefix is None or count_tokens(prefix[0]) < model.cache_minimum:
            return 0, "5m"
        return count_tokens(prefix[0]), prefix[2]

    def read(self, body: Mapping[str, Any], model: LoopbackModel, began: float) -> tuple[int, bool, str, str]:
        """Prefix tokens (0 where nothing can be cached), whether they are read, the key, the lifetime."""
        prefix = self._prefix(body)
        if prefix is None or count_tokens(prefix[0]) < model.cache_minimum:
            return 0, False, "", "5m"
        words, key, ttl = prefix
        with self._lock:
            entry = self._entries.get(key)
            hit = entry is not None and entry.ready_at <= began and began - entry.used_at <= entry.lifetime
            if hit and entry is not None:
                entry.used_at = max(entry.used_at, began)
        return count_tokens(words), hit, key, ttl

    def write(self, key: str, ttl: str, began: float) -> None:
        """From now on the prefix can be read; its lifetime counts from the start of the request."""
        with self._lock:
            self._entries[key] = _CacheEntry(self._clock(), began, _LIFETIMES[ttl])


class LoopbackAnthropic:
    """The server, as a context manager.

    key: what it accepts as x-api-key or Bearer. answer: makes the answer's text from a request body; None for the
    built-in rule. clock: the prompt cache's time, in seconds. delay: seconds every message takes.

    `models_status` is set to another status for a proxy that has no endpoint for models.
    """

    def __init__(
        self,
        *,
        key: str = "sk-ant-loopback",
        answer: Answerer | None = None,
        clock: Callable[[], float] = time.monotonic,
        port: int = 0,
        delay: float = 0.0,
    ) -> None:
        self.key = key
        self.answer = answer or plausible_answer
        self.clock = clock
        self.delay = delay
        self.journal: list[Entry] = []
        self.models = dict(MODELS)
        self.models_status = 200
        self.closing = threading.Event()
        self.cache = _PromptCache(clock)
        self.batches = LoopbackBatches(self._write_batched)
        self.most_at_once = 0
        self._at_once = 0
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._queue: deque[Fault] = deque()
        self._scripts: dict[str, deque[Fault]] = defaultdict(deque)
        self._server = _Server(("127.0.0.1", port), _Conversation)
        self._server.loopback = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """What ANTHROPIC_BASE_URL is set to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "LoopbackAnthropic":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def queue(self, *faults: Fault) -> None:
        """The next messages requests meet these, one each, in order."""
        self._queue.extend(faults)

    def script(self, words: str, *faults: Fault) -> None:
        """Requests about an item that contains `words` meet these, one each, in order; then plain answers."""
        self._scripts[words].extend(faults)

    def asked(self) -> list[Entry]:
        """The requests to /v1/messages so far, in the order they came."""
        with self._lock:
            return [entry for entry in self.journal if entry.path == "/v1/messages"]

    def enter(self, entry: Entry) -> None:
        """Writes a request into the journal and counts it among those at work."""
        with self._lock:
            self.journal.append(entry)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)

    def leave(self, entry: Entry, status: int) -> None:
        """The request is answered: said before the client can know, so that whoever has the answer finds it here."""
        with self._lock:
            self._at_once -= 1
            entry.status, entry.ended = status, time.monotonic()

    def _write_batched(self, body: Mapping[str, Any], shape: str, hit: bool) -> dict[str, Any]:
        """The message that answers a request of a batch."""
        fault = Fault(shape=shape)
        prefix, ttl = self.cache.measure(body, self.models[body["model"]])
        answer = shape_answer(fault, self.answer(body))
        return make_message(self.next_number(), body, answer, (prefix, hit and prefix > 0, ttl), fault)

    def next_number(self) -> int:
        """A number for ids; each only once."""
        return next(self._numbers)

    def take_fault(self, item: str) -> Fault:
        """What the request about `item` meets: scripted for it, else the next in the queue, else nothing."""
        with self._lock:
            for words, faults in self._scripts.items():
                if faults and words in item:
                    return faults.popleft()
            return self._queue.popleft() if self._queue else Fault()


def _choices(answer: Mapping[str, Any]) -> list[Any]:
    """Every object of an answer that names a category, of each item where there are several."""
    entries = answer.get("answers", [answer])
    return [choice for entry in entries for choice in entry.get("categories", [entry])]


def _wrong_case(text: str) -> str:
    answer = json.loads(text)
    for choice in _choices(answer):
        choice["category"] = choice["category"].upper()
    return json.dumps(answer)


def _unknown_category(text: str) -> str:
    answer = json.loads(text)
    for choice in _choices(answer):
        choice["category"] = "no_such_category"
    return json.dumps(answer)


def _text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "citations": None}


_TOOL_CALL: dict[str, Any] = {
    "type": "tool_use",
    "id": "toolu_loopback",
    "name": "get_items",
    "input": {},
    "caller": None,
}
_THINKING_BLOCK = {"type": "thinking", "thinking": "…", "signature": "bG9vcGJhY2s="}


def shape_answer(fault: Fault, text: str) -> tuple[list[dict[str, Any]], str]:
    """The content blocks and the stop reason of an answer."""
    shapes: dict[str, tuple[list[dict[str, Any]], str]] = {
        "refusal": ([], "refusal"),
        "cut": ([_text_block(text[: len(text) // 2])], "max_tokens"),
        "thinking_only": ([_THINKING_BLOCK], "end_turn"),
        "thinking_first": ([_THINKING_BLOCK, _text_block(text)], "end_turn"),
        "malformed": ([_text_block("Sure! Here is the JSON you asked for: {")], "end_turn"),
        "two_blocks": ([_text_block(text), _text_block(text)], "end_turn"),
        "context_window": ([], "model_context_window_exceeded"),
        "pause": ([_text_block(text)], "pause_turn"),
        "tool_call": ([_text_block(text), _TOOL_CALL], "tool_use"),
    }
    if fault.shape == "wrong_case":
        text = _wrong_case(text)
    elif fault.shape == "unknown_category":
        text = _unknown_category(text)
    return shapes.get(fault.shape, ([_text_block(text)], "end_turn"))


def make_message(
    number: int,
    body: Mapping[str, Any],
    answer: tuple[list[dict[str, Any]], str],
    cached: tuple[int, bool, str],
    fault: Fault,
) -> dict[str, Any]:
    """The message that answers `body`. One that has no room is cut.

    answer: its content and why it ended. cached: its prefix's tokens, whether they are read, and for how long kept.
    """
    content, stop_reason = answer
    usage = _usage(body, cached, content)
    if usage["output_tokens"] > body["max_tokens"]:
        content, stop_reason, usage["output_tokens"] = content[:1], "max_tokens", body["max_tokens"]
    if stop_reason == "refusal":
        usage.update(input_tokens=0, cache_creation_input_tokens=0, cache_read_input_tokens=0, output_tokens=0)
    return {
        "id": f"msg_{number:024d}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "container": None,
        "diagnostics": None,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "stop_details": (
            {"type": "refusal", "category": fault.detail or None, "explanation": None}
            if stop_reason == "refusal"
            else None
        ),
        "usage": usage,
    }


def _usage(body: Mapping[str, Any], cached: tuple[int, bool, str], content: list[dict[str, Any]]) -> dict[str, Any]:
    prefix, hit, ttl = cached
    written = prefix if not hit else 0
    default = "adaptive" if MODELS[body["model"]].default_thinks else "disabled"
    thinking = (body.get("thinking") or {}).get("type", default)
    thought = _THINKING_TOKENS if thinking in {"adaptive", "enabled"} else 0
    return {
        "input_tokens": max(1, input_tokens(body) - prefix),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": prefix if hit else 0,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written if ttl == "5m" else 0,
            "ephemeral_1h_input_tokens": written if ttl == "1h" else 0,
        },
        "output_tokens": sum(count_tokens(block.get("text", "")) for block in content) + thought + 3,
        "output_tokens_details": {"thinking_tokens": thought},
        "inference_geo": None,
        "server_tool_use": None,
        "service_tier": "standard",
        "speed": None,
    }


def input_tokens(body: Mapping[str, Any]) -> int:
    """The tokens of a whole request."""
    system = body.get("system") or ""
    words = system if isinstance(system, str) else "".join(block["text"] for block in system)
    tools = json.dumps(body["tools"]) if body.get("tools") else ""
    return count_tokens(tools + words) + count_tokens(json.dumps(body["messages"], ensure_ascii=False))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    loopback: LoopbackAnthropic

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet; apart, each answer would wait 40 ms for an acknowledgement
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name is the base class's)
        """Says nothing; the journal has it all."""

    def do_GET(self) -> None:
        self._converse(b"")

    def do_POST(self) -> None:
        self._converse(self.rfile.read(int(self.headers.get("content-length") or 0)))

    def do_DELETE(self) -> None:
        self._converse(b"")

    def _converse(self, body: bytes) -> None:
        loopback = self.server.loopback
        self.number = loopback.next_number()
        path = urlsplit(self.path).path
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.entry = Entry(self.number, self.command, path, headers, body, time.monotonic())
        loopback.enter(self.entry)
        self.left = False
        try:
            self._route(path, headers)
        except BrokenPipeError:
            self.close_connection = True
        finally:
            self._leave(0)

    def _leave(self, status: int) -> None:
        if not self.left:
            self.left = True
            self.server.loopback.leave(self.entry, status)

    def _route(self, path: str, headers: Mapping[str, str]) -> None:
        key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if key != self.server.loopback.key:
            self._error(Fault(401, "authentication_error", "invalid x-api-key"))
        elif headers.get("anthropic-version") not in KNOWN_VERSIONS:
            self._error(bad_request("anthropic-version: header is required"))
        elif (self.command, path) == ("POST", "/v1/messages"):
            self._with_body(self._message)
        elif path == BATCHES_PATH or path.startswith(BATCHES_PATH + "/"):
            self._batch(key)
        elif (self.command, path) == ("POST", "/v1/messages/count_tokens"):
            self._with_body(self._count)
        elif path.startswith("/v1/models") and (status := self.server.loopback.models_status) != 200:
            self._error(Fault(status, "not_found_error" if status == 404 else "api_error", f"no route for {path}"))
        elif self.command == "GET" and path == "/v1/models":
            self._list_models()
        elif self.command == "GET" and path.startswith("/v1/models/"):
            self._give_model(unquote(path.removeprefix("/v1/models/")))
        else:
            self._error(Fault(404, "not_found_error", "Not found"))

    def _with_body(self, then: Callable[[Any], None]) -> None:
        try:
            body = self.entry.json
            models = self.server.loopback.models
            check_request(body, counting=self.entry.path.endswith("count_tokens"), models=models)
        except UnknownModelError as error:
            self._error(Fault(404, "not_found_error", str(error)))
        except BadRequestError as error:
            self._error(bad_request(str(error)))
        except ValueError:
            self._error(bad_request("The request body is not valid JSON"))
        else:
            then(body)

    def _message(self, body: Mapping[str, Any]) -> None:
        loopback = self.server.loopback
        self.entry.item = item_text(body)
        fault = loopback.take_fault(self.entry.item)
        began = loopback.clock()
        model = loopback.models[body["model"]]
        prefix, hit, key, ttl = loopback.cache.read(body, model, began)
        if loopback.closing.wait(fault.seconds + loopback.delay):
            self.close_connection = True
            return
        if fault.status:
            self._error(fault)
            return
        if fault.shape == "html":
            self._send(200, b"<html>Welcome to the proxy</html>", "text/html")
            return
        if key and not hit and fault.shape != "refusal":
            loopback.cache.write(key, ttl, began)
        content, stop_reason = shape_answer(fault, loopback.answer(body))
        message = make_message(self.number, body, (content, stop_reason), (prefix, hit, ttl), fault)
        self.entry.usage = message["usage"]
        if fault.drop:
            self.close_connection = True
            return
        self._json(200, message)

    def _count(self, body: Mapping[str, Any]) -> None:
        self._json(200, {"input_tokens": input_tokens(body)})

    def _batch(self, key: str) -> None:
        loopback = self.server.loopback
        verb, identifier = find_verb(self.command, self.path)
        fault = loopback.batches.take_fault(verb)
        loopback.batches.tell(f"before {verb}")
        if loopback.closing.wait(fault.seconds if fault else 0.0) or (fault and fault.shape == "unseen"):
            self.close_connection = True
            return
        if not verb or (fault and fault.status):
            self._error(fault or Fault(404, "not_found_error", "Not found"))
            return
        if fault and fault.shape == "html":
            self._send(200, b"<html>Welcome to the proxy</html>", "text/html")
            return
        query = urlsplit(self.path).query
        reply = loopback.batches.reply(verb, identifier, self.entry.body, query, key, self.number, loopback.url)
        loopback.batches.tell(f"after {verb}")
        if fault and fault.drop:
            self.close_connection = True
        elif reply.rows is not None:
            self._stream(reply)
        else:
            self._json(reply.status, reply.value)

    def _stream(self, reply: Reply) -> None:
        self._leave(reply.status)
        self.send_response(reply.status)
        self.send_header("content-type", "application/x-jsonl")
        self.send_header("transfer-encoding", "chunked")
        self.send_header("request-id", f"req_{self.number:024d}")
        self.end_headers()
        for piece in reply.rows or ():
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _list_models(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        stages = query.get("lifecycle") or query.get("lifecycle[]") or ["active", "deprecated"]
        models = [model for model in self.server.loopback.models.values() if model.lifecycle in stages]
        after = query.get("after_id", [""])[0]
        position = next((number for number, model in enumerate(models, 1) if model.id == after), 0)
        limit = int(query.get("limit", ["20"])[0])
        page = models[position : position + limit]
        self._json(
            200,
            {
                "data": [_model_object(model) for model in page],
                "has_more": position + limit < len(models),
                "first_id": page[0].id if page else None,
                "last_id": page[-1].id if page else None,
            },
        )

    def _give_model(self, identifier: str) -> None:
        model = self.server.loopback.models.get(identifier)
        if model is None:
            self._error(Fault(404, "not_found_error", f"model: {identifier}"))
        else:
            self._json(200, _model_object(model))

    def _error(self, fault: Fault) -> None:
        error: dict[str, Any] = {"type": fault.type, "message": fault.message}
        if fault.code:
            error["details"] = {"error_code": fault.code}
        self._json(
            fault.status, {"type": "error", "error": error, "request_id": f"req_{self.number:024d}"}, fault.headers
        )

    def _json(self, status: int, value: object, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self._send(status, json.dumps(value, ensure_ascii=False).encode(), "application/json", headers)

    def _send(self, status: int, content: bytes, kind: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self._leave(status)
        self.send_response(status)
        for name, value in (
            ("content-type", kind),
            ("content-length", str(len(content))),
            ("request-id", f"req_{self.number:024d}"),
            ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
            ("anthropic-ratelimit-requests-limit", "1000"),
            ("anthropic-ratelimit-requests-remaining", str(max(0, 1000 - self.number))),
            ("anthropic-ratelimit-requests-reset", "2026-11-21T00:00:00Z"),
            ("anthropic-ratelimit-input-tokens-limit", "2000000"),
            ("anthropic-ratelimit-input-tokens-remaining", "2000000"),
            ("anthropic-ratelimit-input-tokens-reset", "2026-11-21T00:00:00Z"),
            *headers,
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


def _model_object(model: LoopbackModel) -> dict[str, Any]:
    def supported(value: bool) -> dict[str, bool]:
        return {"supported": value}

    return {
        "id": model.id,
        "type": "model",
        "display_name": model.display_name,
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": model.lifecycle,
        "deprecated_at": None if model.lifecycle == "active" else "2026-03-01T00:00:00Z",
        "retires_at": model.retires_at,
        "line": "haiku" if "haiku" in model.id else "sonnet",
        "max_input_tokens": 200_000,
        "max_tokens": model.max_tokens,
        "capabilities": {
            **{name: supported(True) for name in ("batch", "citations", "code_execution", "image_input", "pdf_input")},
            "structured_outputs": supported(True),
            "context_management": {"supported": False},
            "effort": {
                "supported": bool(model.efforts),
                **{name: supported(name in model.efforts) for name in _EFFORTS},
            },
            "server_tools": {"supported": False, "code_execution": supported(False), "web_search": supported(False)},
            "thinking": {
                "supported": True,
                "types": {
                    name: supported(name in model.thinking)
                    for name in ("adaptive", "between_tools", "disabled", "enabled")
                },
            },
        },
    }


_EFFORTS = ("low", "medium", "high", "xhigh", "max")


def main() -> None:
    """Runs the server until it is interrupted, and says what to set."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.loopback.anthropic", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--port", type=int, default=8082, help="0 takes a free one")
    parser.add_argument("--key", default="sk-ant-loopback", help="the key it accepts")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds each answer takes")
    parser.add_argument("--batch-seconds", type=float, default=60.0, help="seconds after which a batch has ended")
    arguments = parser.parse_args()
    with LoopbackAnthropic(key=arguments.key, port=arguments.port, delay=arguments.delay) as server:
        server.batches.ends_after = arguments.batch_seconds
        sys.stdout.write(
            f"export ANTHROPIC_BASE_URL={server.url}\nexport ANTHROPIC_API_KEY={server.key}\n"
            "# answers until interrupted; then says how much was asked\n"
        )
        sys.stdout.flush()
        for number in (signal.SIGINT, signal.SIGTERM):  # also where whoever started us ignores SIGINT
            signal.signal(number, signal.default_int_handler)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            sys.stdout.write(f"# {len(server.asked())} messages were asked, at most {server.most_at_once} at once\n")


if __name__ == "__main__":
    main()
