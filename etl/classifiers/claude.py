"""The `claude` classifier: asks an Anthropic model through the Messages API, one text per request.

The only importer of `anthropic`, and only inside functions: importing it takes about a second and 80 MB.

A prompt is written to the vendor's cache by the first request and read by all others, but only once the first answer
has begun: so the first request of a prompt is awaited before the others are sent, and again when the prompt was not
used for almost five minutes (the cache's lifetime counts from the start of the last request that used it).

Requests run in a bounded thread pool behind a bounded window: never are all texts submitted at once. A cap on dollars
reserves each attempt's worst case before it is sent. Answers in flight when the run must end are still yielded.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from etl.classifiers.answers import read_message
from etl.classifiers.attempts import REQUEST_SECONDS, AttemptGate, read_object, read_usage
from etl.classifiers.error_answers import describe_error, is_about_money, not_the_api, refusal_words, stop_of
from etl.classifiers.prices import Spending, load_prices
from etl.classifiers.prompt import (
    estimate_tokens,
    output_schema,
    prompt_tokens_estimate,
    prompt_version,
    render_item,
    render_system,
    render_tools,
)
from etl.classifiers.redact import redact
from etl.classifiers.shorten import MAX_ITEM_CHARS, shorten
from etl.errors import ConfigurationError, StopError, UnavailableError
from etl.records import Answer, Text, Usage
from etl.tasks import Task

if TYPE_CHECKING:
    from anthropic import Anthropic, APIStatusError

_log = logging.getLogger(__name__)

CACHE_SECONDS = 270.0
"""A prompt counts as cached so long after the start of the last request that used it: five minutes, less a margin."""
CONNECT_SECONDS = 5.0
FAILURES_IN_A_ROW = 5
"""When so many texts have failed one after the other, the service counts as unavailable."""

_ANSWER_TOKENS = 60
_MAX_TOKENS = 400
_MAX_TOKENS_THINKING = 4_000
_MAX_TOKENS_SECOND_TRY = 8_000
_COMPLAINT = "The previous answer could not be used: {}. Answer again, exactly in the asked form."


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What the service says of a model, for `doctor`.

    lifecycle: 'active', 'deprecated' or 'retired'. retires_at: None where no day is set. structured_outputs: None where
    the service does not say.
    """

    id: str
    lifecycle: str
    retires_at: datetime | None
    structured_outputs: bool | None


@dataclass(frozen=True, slots=True)
class _Prompt:
    """What all requests of one task share."""

    task: Task
    version: str
    system: str
    tools: list[dict[str, Any]]
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Result:
    """What a thread brings back: an answer, a reason to stop, or both (an answer paid for before the stop)."""

    answer: Answer | None
    stop: StopError | None = None
    unreachable: bool = False


def cache_minimum(model: str) -> int:
    """The number of tokens below which a prompt for `model` is never cached."""
    return load_prices().facts(model).cache_minimum


def _add(first: Usage, second: Usage) -> Usage:
    return Usage(
        first.input_tokens + second.input_tokens,
        first.cache_write_tokens + second.cache_write_tokens,
        first.cache_read_tokens + second.cache_read_tokens,
        first.output_tokens + second.output_tokens,
        first.cost_usd + second.cost_usd,
    )


class ClaudeClassifier:
    """Answers with an Anthropic model. `classify` is for one caller at a time; the threads are inside.

    api_key: of an Anthropic workspace. model: the vendor's id. base_url: another address; None is the vendor's.
    threads: requests at the same time. deadline: a value of `time.monotonic()`; nothing is sent or waited for after it.
    max_cost_usd: cap over the life of this object. max_wait_seconds: the longest single wait the service may ask for.
    max_retries: of a request whose connection broke or whose answer was a 5xx (half a second, doubling).
    cache_seconds: how long after its last use a prompt is taken to be cached still.

    The environment's proxies are honoured (HTTPS_PROXY, NO_PROXY), except for an address on this machine.

    Raises:
        ConfigurationError: no key; or a cap on dollars for a model whose price is not known.
    """

    name = "claude"
    paid = True

    def __init__(
        self,
        *,
        api_key: str,
        model: str,
        base_url: str | None = None,
        threads: int = 8,
        deadline: float | None = None,
        max_cost_usd: float | None = None,
        max_wait_seconds: float = 120.0,
        max_retries: int = 3,
        cache_seconds: float = CACHE_SECONDS,
    ) -> None:
        if not api_key.strip():
            raise ConfigurationError("ANTHROPIC_API_KEY is empty: set it, or choose the classifier `rules`")
        self.model = model
        self.threads = threads
        self._api_key = api_key
        self._base_url = base_url
        self._max_retries = max_retries
        self._cache_seconds = cache_seconds
        self._facts = load_prices().facts(model)
        if max_cost_usd is not None and not self._facts.known:
            raise ConfigurationError(
                f"the price of model {model!r} is not known, so a cap on dollars cannot be kept: add it to "
                "schemas/prices.toml, choose a model from there, or run without --max-cost-usd"
            )
        self._gate = AttemptGate(self._facts, Spending(max_cost_usd), deadline, max_wait_seconds)
        self._warm_since: dict[str, float] = {}
        self._uncached: set[str] = set()

    def __repr__(self) -> str:
        return f"ClaudeClassifier(model={self.model!r})"

    @cached_property
    def _client(self) -> "Anthropic":
        import anthropic

        host = urlsplit(self._base_url or "").hostname or ""
        local = host in {"localhost", "::1"} or host.startswith("127.")
        return anthropic.Anthropic(
            api_key=self._api_key,
            base_url=self._base_url,
            max_retries=self._max_retries,
            timeout=anthropic.Timeout(REQUEST_SECONDS, connect=CONNECT_SECONDS),
            open_telemetry=False,
            middleware=[self._gate],
            http_client=anthropic.DefaultHttpxClient(trust_env=False) if local else None,
        )

    @property
    def _address(self) -> str:
        """The root of the API for messages: without credentials."""
        return str(self._client.base_url.copy_with(userinfo=b"", query=None)).rstrip("/")

    def close(self) -> None:
        """Closes the connections that are kept open; harmless when none are."""
        if "_client" in self.__dict__:
            self._client.close()

    def classify(self, task: Task, texts: Sequence[Text]) -> Iterator[Answer]:
        """An answer for each text asked about, as it arrives; see `base.Classifier` for what is raised.

        The outcome 'failed' (a connection or a 5xx that outlived the retries) is yielded like the others, so that it
        can be counted. Left early, the generator waits for the requests in flight and sends no others.
        """
        if not texts:
            return
        prompt = _Prompt(task, prompt_version(task), render_system(task), render_tools(), output_schema(task))
        _ = self._client  # made here: `cached_property` is not meant for several threads
        with ThreadPoolExecutor(self.threads, thread_name_prefix="claude") as executor:
            try:
                yield from self._fan_out(executor, prompt, iter(texts))
            finally:
                self._gate.stopping.set()
                executor.shutdown(cancel_futures=True)
                self._gate.stopping.clear()

    def _fan_out(self, executor: ThreadPoolExecutor, prompt: _Prompt, texts: Iterator[Text]) -> Iterator[Answer]:
        """Keeps the window full while the prompt is cached, and sends one alone while it is not."""
        in_flight: set[Future[_Result]] = set()
        failures = 0
        stop: StopError | None = None
        while True:
            while stop is None and len(in_flight) < 2 * self.threads:
                warm = self._is_warm(prompt)
                if not warm and in_flight:
                    break
                text = next(texts, None)
                if text is None:
                    break
                in_flight.add(executor.submit(self._ask, prompt, text))
            if not in_flight:
                break
            done, in_flight = wait(in_flight, return_when=FIRST_COMPLETED)
            for future in done:
                result = future.result()
                if result.answer is not None:
                    failures = failures + 1 if result.answer.outcome == "failed" else 0
                    yield result.answer
                stop = stop or result.stop or self._give_up(result, failures)
            if stop is not None:
                self._gate.stopping.set()
                in_flight = {future for future in in_flight if not future.cancel()}
        if stop is not None:
            raise stop

    def _is_warm(self, prompt: _Prompt) -> bool:
        since = self._warm_since.get(prompt.version)
        return since is not None and time.monotonic() - since < self._cache_seconds

    def _give_up(self, result: _Result, failures: int) -> UnavailableError | None:
        """The error to end with when the service is out of reach from the start, or fails text after text."""
        never_answered = not self._warm_since
        if (result.unreachable and never_answered) or failures >= FAILURES_IN_A_ROW:
            reason = result.answer.rationale if result.answer else ""
            return UnavailableError(
                f"Anthropic at {self._client.base_url.host} does not answer ({reason}); what was not asked "
                "stays pending: check the network, ANTHROPIC_BASE_URL and the vendor's status page, then run again"
            )
        return None

    def _ask(self, prompt: _Prompt, text: Text) -> _Result:
        """Asks about one text: one request, at most one more with more room and one more after an unusable answer."""
        import anthropic

        redacted, redactions = redact(text.body)
        shown, left_out = shorten(redacted, MAX_ITEM_CHARS)
        answer = Answer(
            text_id=text.id,
            outcome="failed",
            categories=(),
            rationale="",
            classifier=self.name,
            model=self.model,
            prompt_version=prompt.version,
            redactions=redactions,
            truncated_chars=left_out,
        )
        max_tokens = _MAX_TOKENS_THINKING if self._facts.thinks else _MAX_TOKENS
        complaint = ""
        while True:
            try:
                answer, stop_reason = self._ask_once(prompt, answer, render_item(shown, complaint), max_tokens)
            except StopError as stop:
                return _Result(answer if answer.usage else None, stop)
            except anthropic.APIConnectionError as error:
                return _Result(replace(answer, outcome="failed", rationale=type(error).__name__), unreachable=True)
            except anthropic.APIStatusError as error:
                return self._after_error_answer(prompt, answer, error)
            if stop_reason == "max_tokens" and max_tokens < _MAX_TOKENS_SECOND_TRY:
                max_tokens = _MAX_TOKENS_SECOND_TRY
            elif answer.outcome == "invalid" and not complaint:
                complaint = _COMPLAINT.format(answer.rationale)
            else:
                return _Result(answer)

    def _ask_once(
        self, prompt: _Prompt, answer: Answer, messages: list[dict[str, Any]], max_tokens: int
    ) -> tuple[Answer, str]:
        """Sends one request; gives `answer` with what it said, its usage added, and why the message ended.

        Raises:
            anthropic.APIError: what the SDK gave up on.
            StopError: raised by the gate, or because what answers is no Messages API.
        """
        started = time.monotonic()
        raw = self._client.messages.with_raw_response.create(**self._arguments(prompt, messages, max_tokens))
        body = read_object(raw.http_response.content)
        if body.get("type") != "message":
            raise ConfigurationError(not_the_api(self._address, "an answer of another kind"))
        usage = read_usage(body, self._facts)
        self._note_cache(prompt, usage, started)
        reading = read_message(prompt.task, body)
        return replace(
            answer,
            outcome=reading.outcome,
            categories=reading.categories,
            rationale=reading.rationale,
            model=str(body.get("model") or self.model),
            usage=_add(answer.usage or Usage(), usage),
            request_id=raw.headers.get("request-id"),
        ), str(body.get("stop_reason"))

    def _arguments(self, prompt: _Prompt, messages: list[dict[str, Any]], max_tokens: int) -> dict[str, Any]:
        """The arguments of `messages.create`: what the model's row of the table says, nothing it would refuse."""
        output: dict[str, Any] = {"format": {"type": "json_schema", "schema": prompt.schema}}
        if self._facts.effort:
            output["effort"] = self._facts.effort
        thinking = {"thinking": {"type": self._facts.thinking}} if self._facts.thinking else {}
        return {
            "model": self.model,
            "max_tokens": max_tokens,
            "system": [{"type": "text", "text": prompt.system, "cache_control": {"type": "ephemeral", "ttl": "5m"}}],
            "tools": prompt.tools,
            "tool_choice": {"type": "none"},
            "messages": messages,
            "output_config": output,
            **thinking,
        }

    def _note_cache(self, prompt: _Prompt, usage: Usage, started: float) -> None:
        """Remembers since when the prompt is cached; says once when the vendor does not cache it at all."""
        self._warm_since[prompt.version] = max(self._warm_since.get(prompt.version, 0.0), started)
        if usage.cache_read_tokens + usage.cache_write_tokens == 0 and prompt.version not in self._uncached:
            self._uncached.add(prompt.version)
            _log.warning(
                "prompt is not cached task=%s model=%s prompt_tokens_about=%d cache_minimum=%d",
                prompt.task.name,
                self.model,
                prompt_tokens_estimate(prompt.task),
                self._facts.cache_minimum,
            )

    def _after_error_answer(self, prompt: _Prompt, answer: Answer, error: "APIStatusError") -> _Result:
        """What an error answer means: this text failed, this text cannot be asked, or the run ends."""
        if error.status_code >= 500 or error.status_code in {408, 409}:
            return _Result(replace(answer, outcome="failed", rationale=describe_error(error)))
        about_this_text = error.status_code in {400, 413, 422} and not is_about_money(error)
        if about_this_text and prompt.version in self._warm_since:
            rationale = describe_error(error)
            return _Result(replace(answer, outcome="invalid", rationale=rationale, request_id=error.request_id))
        return _Result(answer if answer.usage else None, stop_of(error, self.model, self._address))

    def estimate(self, task: Task, texts: Sequence[Text]) -> float:
        """About how many dollars `classify(task, texts)` would cost, without any request: what a dry run shows.

        One cache write of the prompt per five minutes of work is left out as small; answers are taken to be as short
        as the prompt asks for. Thinking, where a model cannot do without, is not foreseen.
        """
        if not texts:
            return 0.0
        prefix = prompt_tokens_estimate(task)
        cached = prefix >= self._facts.cache_minimum
        total = 0.0
        for number, text in enumerate(texts):
            shown, _ = shorten(text.body, MAX_ITEM_CHARS)
            item = estimate_tokens(shown) + 40
            if not cached:
                total += self._facts.cost(prefix + item, 0, 0, _ANSWER_TOKENS)
            elif number == 0:
                total += self._facts.cost(item, prefix, 0, _ANSWER_TOKENS)
            else:
                total += self._facts.cost(item, 0, prefix, _ANSWER_TOKENS)
        return total

    def check_model(self) -> ModelStatus:
        """What the service says of the model: one free request, which also proves key and address.

        Raises:
            ConfigurationError: the key or the model is refused, or what answers is not the Anthropic API.
            UnavailableError: no answer within the retries.
            RateLimitError: see `classify`.
        """
        import anthropic

        try:
            raw = self._client.models.with_raw_response.retrieve(self.model)
        except anthropic.APIConnectionError as error:
            raise UnavailableError(
                f"Anthropic at {self._client.base_url.host} cannot be reached ({type(error).__name__}): check "
                "the network and ANTHROPIC_BASE_URL"
            ) from None
        except anthropic.APIStatusError as error:
            if error.status_code >= 500:
                raise UnavailableError(f"Anthropic failed ({describe_error(error)}): try again later") from None
            raise ConfigurationError(refusal_words(error, self.model, self._address)) from None
        if read_object(raw.http_response.content).get("type") != "model":
            raise ConfigurationError(not_the_api(self._address, "an answer of another kind"))
        model = raw.parse()
        supported = model.capabilities.structured_outputs.supported if model.capabilities else None
        return ModelStatus(model.id, model.lifecycle, model.retires_at, supported)
