"""Message Batches: many requests to an Anthropic model at once, at half the price, answered within a day.

The second way to ask the classifier `claude`; what a request says and how its reply is read is in `requests`, shared
with the first. What is asked, what became of it and what is asked again is the pipeline's business (`stages.batches`).

The SDK sends no idempotency key, so a batch is handed over exactly once, without a retry: where no answer comes, nobody
knows whether it exists, and `list_since` tells later.
"""

import json
import logging
import secrets
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from etl.classifiers.answers import clean_line
from etl.classifiers.attempts import AttemptGate, never_connected, read_object, worst_case
from etl.classifiers.base import BatchRequest, BatchResult, PreparedBatch, Purse, VendorBatch
from etl.classifiers.client import CONNECT_SECONDS, address_of, make_client
from etl.classifiers.error_answers import describe_error, is_about_money, not_the_api, stop_of
from etl.classifiers.prices import ModelFacts, Spending, load_prices
from etl.classifiers.requests import Asked, Prompt, Shown, make_prompt, pack_texts, prepare, read_reply, show
from etl.errors import ConfigurationError, RateLimitError, UnavailableError
from etl.records import BatchedText, Text
from etl.tasks import Task

if TYPE_CHECKING:
    from anthropic import Anthropic
    from anthropic.types.messages import MessageBatch

_log = logging.getLogger(__name__)
_Given = TypeVar("_Given")

MOST_REQUESTS = 10_000
"""So many requests has one batch at most; the vendor takes 100,000."""
MOST_BYTES = 32_000_000
"""So many bytes at most; the vendor takes 256 MB, but a batch is held in memory about three times while it is sent."""

_SUBMIT_SECONDS = 600.0
"""A batch may take minutes to be sent and looked at."""
_PAGE = 100
_FRAME_BYTES = 100


class ClaudeBatches:
    """Implements `base.BatchClassifier`. For one caller at a time; connects when it is first used.

    api_key, model, base_url, deadline, max_wait_seconds, max_retries: as of `ClaudeClassifier`. pack: how many texts
    share a request at most. cache_ttl: how long the prompt is marked to be cached; None: not at all. most_requests,
    most_bytes: of one batch.
    """

    name = "claude"

    def __init__(
        self,
        *,
        api_key: str,
        model: str,
        pack: int,
        base_url: str | None = None,
        deadline: float | None = None,
        max_wait_seconds: float = 120.0,
        max_retries: int = 3,
        cache_ttl: str | None = "5m",
        most_requests: int = MOST_REQUESTS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        if not api_key.strip():
            raise ConfigurationError("ANTHROPIC_API_KEY is empty: set it; batches need it")
        self.model = model
        self.pack = pack
        self._api_key = api_key
        self._base_url = base_url
        self._max_retries = max_retries
        self._cache_ttl = cache_ttl
        self.most_requests = most_requests
        self.most_bytes = most_bytes
        self._facts = load_prices().facts(model)
        self._gate = AttemptGate(self._facts, Spending(None), deadline, max_wait_seconds)

    def __repr__(self) -> str:
        return f"ClaudeBatches(model={self.model!r})"

    @cached_property
    def _client(self) -> "Anthropic":
        return make_client(self._api_key, self._base_url, self._gate, self._max_retries)

    def close(self) -> None:
        """Closes the connections that are kept open; harmless when none are."""
        if "_client" in self.__dict__:
            self._client.close()

    def charge_to(self, purse: Purse) -> None:
        """Takes the dollars of `ask_first` from `purse`."""
        self._gate.purse = purse

    # --- what is asked -----------------------------------------------------------------------------------------------

    def prepare(self, task: Task, texts: Iterable[Text]) -> Iterator[PreparedBatch]:
        """The batches that ask about `texts`, lazily; each text is redacted, shortened and packed as it is reached."""
        prompt = make_prompt(task, self.pack)
        token, requests, size = _new_token(), list[BatchRequest](), 0
        for group in pack_texts((show(text) for text in texts), self.pack):
            request = self._request(prompt, group, f"{token}-{len(requests)}")
            if requests and (len(requests) == self.most_requests or size + request.size > self.most_bytes):
                yield PreparedBatch(token, prompt.version, tuple(requests))
                token, requests, size = _new_token(), [], 0
                request = _renamed(request, f"{token}-0")
            requests.append(request)
            size += request.size
        if requests:
            yield PreparedBatch(token, prompt.version, tuple(requests))

    def _request(self, prompt: Prompt, group: Sequence[Shown], custom_id: str) -> BatchRequest:
        made = prepare(prompt, self._facts, self.model, group, cache_ttl=self._cache_ttl)
        return BatchRequest(
            custom_id,
            tuple(
                BatchedText(text.text_id, custom_id, text.echo_id, text.redactions, text.truncated_chars)
                for text in made.asked
            ),
            made.arguments,
            len(json.dumps(made.arguments, ensure_ascii=False).encode("utf-8", "replace")) + _FRAME_BYTES,
            worst_case(made.arguments, self._facts, batch=True),
        )

    def ask_first(self, task: Task, request: BatchRequest) -> BatchResult:
        """Sends one request by itself and waits. Raises what `base.BatchClassifier.ask_first` says."""
        import anthropic

        try:
            raw = self._asking(lambda: self._client.messages.with_raw_response.create(**request.arguments))
        except anthropic.APIStatusError as error:
            if error.status_code in {400, 413, 422} and not is_about_money(error):
                return BatchResult(request.custom_id, "errored", message=describe_error(error))
            raise stop_of(error, self.model, self._address) from None
        body = read_object(raw.http_response.content)
        if body.get("type") != "message":
            raise ConfigurationError(not_the_api(self._address, "an answer of another kind"))
        prompt = make_prompt(task, self.pack)
        reply = read_reply(prompt, _asked(request.texts), body, self._facts, request_id=raw.headers.get("request-id"))
        return BatchResult(request.custom_id, "answered", reply.answers, reply.again)

    def submit(self, requests: Sequence[BatchRequest]) -> VendorBatch | None:
        """Hands the batch over, once; see `base.BatchClassifier.submit`."""
        import anthropic

        body: list[Any] = [{"custom_id": request.custom_id, "params": request.arguments} for request in requests]
        statuses: list[int] = []

        def note_status(request: Any, call_next: Callable[[Any], Any]) -> Any:  # noqa: ANN401  (the SDK's own types)
            response = call_next(request)
            statuses.append(response.status_code)
            return response

        timeout = anthropic.Timeout(_SUBMIT_SECONDS, connect=CONNECT_SECONDS)
        client = self._client.with_options(max_retries=0, timeout=timeout).with_middleware(note_status)
        try:
            made = client.messages.batches.create(requests=body)
        except anthropic.APIConnectionError as error:
            if never_connected(error):
                raise UnavailableError(self._unreachable(error)) from None
            return None
        except anthropic.APIStatusError as error:
            if error.status_code >= 500 or error.status_code in {408, 409}:
                return None
            raise stop_of(error, self.model, self._address) from None
        except RateLimitError:
            if any(status >= 500 for status in statuses):
                return None
            raise
        return _read_batch(made) if _is_batch(made) else None

    # --- what became of it -------------------------------------------------------------------------------------------

    def find(self, vendor_id: str) -> VendorBatch | None:
        """How a batch stands; None where this key's workspace has no such batch.

        A 404 is believed once the same address and key have listed their batches: elsewhere it says nothing.
        """
        import anthropic

        try:
            found = self._asking(lambda: self._client.messages.batches.retrieve(vendor_id))
        except anthropic.NotFoundError:
            next(self.list_since(datetime.max.replace(tzinfo=UTC)), None)
            return None
        return self._checked(found)

    def list_since(self, moment: datetime) -> Iterator[VendorBatch]:
        """The batches of the workspace that were made after `moment`, the newest first."""
        import anthropic

        try:
            page = self._asking(lambda: self._client.messages.batches.list(limit=_PAGE))
            if not isinstance(getattr(page, "data", None), list):
                raise ConfigurationError(not_the_api(self._address, "an answer of another kind"))
            while True:
                for made in page.data:
                    batch = self._checked(made)
                    if batch.created_at <= moment:
                        return
                    yield batch
                if not page.has_next_page():
                    return
                page = self._asking(page.get_next_page)
        except anthropic.APIStatusError as error:
            raise stop_of(error, self.model, self._address) from None

    def first_custom_id(self, batch: VendorBatch) -> str | None:
        """The custom id of some request of an ended batch; None where it has no results."""
        rows = self._rows(batch)
        try:
            row = next(rows, None)
        finally:
            rows.close()
        return None if row is None else str(row.get("custom_id"))

    def collect(
        self, batch: VendorBatch, task: Task, model: str, texts: Sequence[BatchedText]
    ) -> Iterator[BatchResult]:
        """What became of the requests of `texts`, as it is read; see `base.BatchClassifier.collect`."""
        facts = load_prices().facts(model)
        prompt = make_prompt(task, 2 if any(text.echo_id for text in texts) else 1)
        wanted: dict[str, list[BatchedText]] = {}
        for text in texts:
            wanted.setdefault(text.custom_id, []).append(text)
        for row in self._rows(batch):
            custom_id = str(row.get("custom_id"))
            asked = wanted.pop(custom_id, None)
            if asked:
                yield _read_row(prompt, facts, asked, custom_id, row.get("result"))

    def cancel(self, vendor_id: str) -> None:
        """Asks the vendor to end a batch early; harmless where it has ended or is gone."""
        import anthropic

        try:
            self._asking(lambda: self._client.messages.batches.cancel(vendor_id))
        except (anthropic.NotFoundError, anthropic.BadRequestError, anthropic.ConflictError) as error:
            _log.debug("nothing to cancel batch=%s reason=%s", vendor_id, describe_error(error))
        except anthropic.APIStatusError as error:
            raise stop_of(error, self.model, self._address) from None

    def erase(self, vendor_id: str) -> bool:
        """Deletes an ended batch and its results; True where nothing of it is left."""
        import anthropic

        try:
            self._asking(lambda: self._client.messages.batches.delete(vendor_id))
        except anthropic.NotFoundError:
            return True
        except anthropic.APIStatusError as error:
            _log.info("a batch is not deleted at the vendor yet batch=%s reason=%s", vendor_id, describe_error(error))
            return False
        return True

    def _rows(self, batch: VendorBatch) -> Generator[dict[str, Any]]:
        """The results as JSON objects, read as they arrive, from the client's own host."""
        import anthropic
        import httpx2

        client = self._client.with_middleware(self._stay_home)
        try:
            lines = self._asking(lambda: client.messages.batches.results(batch.id))
            try:
                yield from _read_lines(lines.http_response.iter_bytes())
            finally:
                lines.close()
        except httpx2.HTTPError as error:
            raise UnavailableError(
                f"the results of batch {batch.id} broke off ({type(error).__name__}); what came is stored, the rest is"
                " read again"
            ) from None
        except anthropic.APIStatusError as error:
            raise stop_of(error, self.model, self._address) from None
        except anthropic.AnthropicError:
            raise UnavailableError(f"batch {batch.id} has no results at this moment; the next run asks again") from None

    def _stay_home(self, request: Any, call_next: Callable[[Any], Any]) -> Any:  # noqa: ANN401  (the SDK's own types)
        """Middleware that keeps the key on the client's own host.

        The SDK follows whatever address the vendor gives for the results, with the key. Behind a gateway that passes
        the vendor's own address on, the same path is asked of the gateway.
        """
        url = urlsplit(request.url)
        if url.netloc and _origin(request.url) != _origin(str(self._client.base_url)):
            request = request.copy(url=url._replace(scheme="", netloc="").geturl())
        return call_next(request)

    # --- what can go wrong -------------------------------------------------------------------------------------------

    @property
    def _address(self) -> str:
        return address_of(self._client)

    def _unreachable(self, error: Exception) -> str:
        return (
            f"Anthropic at {self._client.base_url.host} does not answer ({type(error).__name__}): check the network,"
            " ANTHROPIC_BASE_URL and the vendor's status page, then run again"
        )

    def _asking(self, ask: Callable[[], _Given]) -> _Given:
        """What `ask` gives; a service out of reach or failing becomes an error of ours, every other answer its own."""
        import anthropic

        try:
            return ask()
        except anthropic.APIConnectionError as error:
            raise UnavailableError(self._unreachable(error)) from None
        except anthropic.APIStatusError as error:
            if error.status_code >= 500:
                raise UnavailableError(f"Anthropic failed ({describe_error(error)}): try again later") from None
            if error.status_code == 404 and error.type != "not_found_error":
                raise ConfigurationError(not_the_api(self._address, describe_error(error))) from None
            if error.status_code in {401, 402, 403} or is_about_money(error):
                raise stop_of(error, self.model, self._address) from None
            raise

    def _checked(self, found: "MessageBatch") -> VendorBatch:
        if getattr(found, "type", None) != "message_batch":
            raise ConfigurationError(not_the_api(self._address, "an answer of another kind"))
        return _read_batch(found)


def _new_token() -> str:
    """Tells a batch of ours from every other: 16 of the 64 characters that a custom id may have."""
    return secrets.token_hex(8)


def _renamed(request: BatchRequest, custom_id: str) -> BatchRequest:
    texts = tuple(replace(text, custom_id=custom_id) for text in request.texts)
    return replace(request, custom_id=custom_id, texts=texts)


def _is_batch(found: object) -> bool:
    return getattr(found, "type", None) == "message_batch"


def _read_batch(found: "MessageBatch") -> VendorBatch:
    counts = found.request_counts
    total = counts.processing + counts.succeeded + counts.errored + counts.canceled + counts.expired
    return VendorBatch(found.id, found.created_at, found.processing_status, total, found.results_url)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _read_lines(pieces: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON objects in a stream of lines.

    Raises:
        UnavailableError: one is no result: a proxy's page must not pass for a batch without results.
    """
    left = b""
    for piece in pieces:
        *lines, left = (left + piece).split(b"\n")
        yield from (_read_line(line) for line in lines if line.strip())
    if left.strip():
        yield _read_line(left)


def _read_line(line: bytes) -> dict[str, Any]:
    row = read_object(line)
    if not isinstance(row.get("custom_id"), str):
        raise UnavailableError(
            "what came as results of a batch are none: check ANTHROPIC_BASE_URL and what answers there"
        )
    return row


def _asked(texts: Sequence[BatchedText]) -> list[Asked]:
    return [Asked(text.text_id, text.echo_id, text.redactions, text.truncated_chars) for text in texts]


def _read_row(
    prompt: Prompt, facts: ModelFacts, texts: Sequence[BatchedText], custom_id: str, result: object
) -> BatchResult:
    """What one line of the results says of the texts of its request."""
    result = result if isinstance(result, Mapping) else {}
    kind, message = result.get("type"), result.get("message")
    if kind == "succeeded" and isinstance(message, Mapping):
        reply = read_reply(prompt, _asked(texts), message, facts, batch=True)
        return BatchResult(custom_id, "answered", reply.answers, reply.again)
    if kind == "canceled":
        return BatchResult(custom_id, "canceled")
    if kind == "expired":
        return BatchResult(custom_id, "expired")
    return BatchResult(custom_id, "errored", message=_error_words(result.get("error")))


def _error_words(error: object) -> str:
    """What an errored line says, in one line; it may quote the request, so it is kept short."""
    inner = error.get("error") if isinstance(error, Mapping) else None
    if not isinstance(inner, Mapping):
        return "no reason was given"
    return clean_line(f"{inner.get('type')}: {inner.get('message')}", 200)
