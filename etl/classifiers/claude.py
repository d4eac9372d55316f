"""The `claude` classifier: asks an Anthropic model through the Messages API, about one text or several per request.

The SDK is imported inside functions only, here and in its neighbours: that takes about a second and 80 MB.

A prompt is written to the vendor's cache by the first request and read by all others, but only once the first answer
has begun: so the first request of a prompt is awaited before the others are sent, and again when the prompt was not
used for almost five minutes (the cache's lifetime counts from the start of the last request that used it).

Requests run in a bounded thread pool behind a bounded window: never are all texts submitted at once. A cap on dollars
reserves each attempt's worst case before it is sent. Answers in flight when the run must end are still yielded.

What a text is shown as, what shares a request and what a reply says is decided in `etl.classifiers.requests`. A text
whose answer in a pack does not stand is asked about alone, once; what was paid for it goes with it.
"""

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from etl.classifiers.attempts import LOOK_UP_SECONDS, AttemptGate, read_object
from etl.classifiers.base import USUAL, Evidence, Forecast, ModelStatus, Purse
from etl.classifiers.client import address_of, make_client
from etl.classifiers.error_answers import describe_error, is_about_money, not_the_api, refusal_of, stop_of
from etl.classifiers.forecast import Packs, forecast_ways
from etl.classifiers.prices import Spending, load_prices
from etl.classifiers.prompt import prompt_tokens_estimate, prompt_version
from etl.classifiers.requests import (
    PreparedRequest,
    Prompt,
    Reply,
    Shown,
    add_usage,
    make_prompt,
    pack_texts,
    prepare,
    read_reply,
    show,
)
from etl.errors import ConfigurationError, StopError, UnavailableError
from etl.interrupts import interrupts
from etl.records import Answer, Signature, Text, Usage
from etl.tasks import Task

if TYPE_CHECKING:
    from anthropic import Anthropic, APIStatusError

_log = logging.getLogger(__name__)

CACHE_SECONDS = 270.0
"""A prompt counts as cached so long after the start of the last request that used it: five minutes, less a margin."""
FAILURES_IN_A_ROW = 5
"""When so many texts have failed one after the other, the service counts as unavailable."""

_MAX_TOKENS_SECOND_TRY = 8_000
_COMPLAINT = "The previous answer could not be used: {}. Answer again, exactly in the asked form."


@dataclass(frozen=True, slots=True)
class _Question:
    """Texts to ask about in one request. attempt: what an earlier request brought about the one text, and was paid."""

    shown: tuple[Shown, ...]
    attempt: Answer | None = None


@dataclass(frozen=True, slots=True)
class _Result:
    """What a thread brings back: answers, questions that follow, a reason to stop (with what was paid before it).

    failure: why the request failed; '' where it did not. unreachable: nobody answered.
    """

    answers: tuple[Answer, ...] = ()
    again: tuple[_Question, ...] = ()
    stop: StopError | None = None
    failure: str = ""
    unreachable: bool = False


def cache_minimum(model: str) -> int:
    """The number of tokens below which a prompt for `model` is never cached."""
    return load_prices().facts(model).cache_minimum


class ClaudeClassifier:
    """Answers with an Anthropic model. `classify` is for one caller at a time; the threads are inside.

    api_key: of an Anthropic workspace. model: the vendor's id. base_url: another address; None is the vendor's.
    threads: requests at the same time. deadline: a value of `time.monotonic()`; nothing is sent or waited for after it.
    max_cost_usd: cap over the life of this object. max_wait_seconds: the longest single wait the service may ask for.
    max_retries: of a request whose connection broke or whose answer was a 5xx (half a second, doubling).
    cache_seconds: how long after its last use a prompt is taken to be cached still.
    pack: how many texts share a request at most, 1 to 20.

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
        pack: int = 1,
    ) -> None:
        if not api_key.strip():
            raise ConfigurationError("ANTHROPIC_API_KEY is empty: set it, or choose the classifier `rules`")
        self.model = model
        self.threads = threads
        self.pack = pack
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
        return make_client(self._api_key, self._base_url, self._gate, self._max_retries)

    @property
    def _address(self) -> str:
        """The root of the API for messages: without credentials."""
        return address_of(self._client)

    def charge_to(self, purse: Purse) -> None:
        """Takes every dollar from `purse` from now on, instead of from the cap given at the start."""
        self._gate.purse = purse

    def close(self) -> None:
        """Closes the connections that are kept open; harmless when none are."""
        if "_client" in self.__dict__:
            self._client.close()

    def classify(self, task: Task, texts: Sequence[Text]) -> Iterator[Answer]:
        """An answer for each text asked about, as it arrives; see `base.Classifier` for what is raised.

        The outcome 'failed' (a connection or a 5xx that outlived the retries) is yielded like the others, so that it
        can be counted. Left early, the generator waits for the requests in flight and sends no others. Where an
        interruption waits (`etl.interrupts`) it yields what is in flight, and raises KeyboardInterrupt.
        """
        if not texts:
            return
        prompt = make_prompt(task, self.pack)
        _ = self._client  # made here: `cached_property` is not meant for several threads
        with ThreadPoolExecutor(self.threads, thread_name_prefix="claude") as executor:
            try:
                yield from self._fan_out(executor, prompt, texts)
            finally:
                self._gate.stopping.set()
                executor.shutdown(cancel_futures=True)
                self._gate.stopping.clear()

    def _fan_out(self, executor: ThreadPoolExecutor, prompt: Prompt, texts: Sequence[Text]) -> Iterator[Answer]:
        """Keeps the window full while the prompt is cached, and sends one alone while it is not."""
        questions = (_Question(group) for group in pack_texts(map(show, texts), self.pack))
        again: deque[_Question] = deque()
        in_flight: dict[Future[_Result], _Question] = {}
        failures = 0
        stop: StopError | KeyboardInterrupt | None = None
        while True:
            while stop is None and len(in_flight) < 2 * self.threads and (self._is_warm(prompt) or not in_flight):
                question = again.popleft() if again else next(questions, None)
                if question is None:
                    break
                in_flight[executor.submit(self._ask, prompt, question)] = question
            if not in_flight:
                break
            for future in wait(in_flight, LOOK_UP_SECONDS, FIRST_COMPLETED).done:
                result = future.result()
                del in_flight[future]
                yield from result.answers
                again += result.again
                failures = failures + 1 if result.failure else 0
                stop = stop or result.stop or self._give_up(result, failures)
            if interrupts.waiting and stop is None:
                _log.warning("interrupted: waiting for requests under way=%d, to store what is paid", len(in_flight))
                stop = KeyboardInterrupt()
            if stop is not None:
                self._gate.stopping.set()
                canceled = [future for future in in_flight if future.cancel()]
                again += [in_flight.pop(future) for future in canceled]
        if stop is not None:
            yield from (question.attempt for question in again if question.attempt is not None)
            raise stop

    def _is_warm(self, prompt: Prompt) -> bool:
        since = self._warm_since.get(prompt.version)
        return since is not None and time.monotonic() - since < self._cache_seconds

    def _give_up(self, result: _Result, failures: int) -> UnavailableError | None:
        """The error to end with when the service is out of reach from the start, or fails text after text."""
        never_answered = not self._warm_since
        if (result.unreachable and never_answered) or failures >= FAILURES_IN_A_ROW:
            return UnavailableError(
                f"Anthropic at {self._client.base_url.host} does not answer ({result.failure}); what was not asked "
                "stays pending: check the network, ANTHROPIC_BASE_URL and the vendor's status page, then run again"
            )
        return None

    def _ask(self, prompt: Prompt, question: _Question) -> _Result:
        """Asks one question. About one text: at most one more time with more room and one after an unusable answer.

        Of a pack each text whose answer does not stand becomes a question of its own, which brings no other.
        """
        import anthropic

        attempt = question.attempt
        complaint, max_tokens = "", None
        while True:
            request = prepare(
                prompt, self._facts, self.model, question.shown, complaint=complaint, max_tokens=max_tokens
            )
            asked = _Question(question.shown, attempt)
            try:
                reply = self._send(prompt, request)
            except StopError as stop:
                return _Result((attempt,) if attempt else (), stop=stop)
            except anthropic.APIConnectionError as error:
                return self._failed(prompt, asked, type(error).__name__, unreachable=True)
            except anthropic.APIStatusError as error:
                return self._after_error_answer(prompt, asked, error)
            if len(question.shown) > 1:
                return _part(reply, question.shown)
            (answer,) = reply.answers
            attempt = replace(answer, usage=add_usage(attempt.usage if attempt else None, answer.usage))
            if reply.stop_reason == "max_tokens" and max_tokens is None:
                max_tokens = _MAX_TOKENS_SECOND_TRY
            elif answer.outcome == "invalid" and not complaint:
                complaint = _COMPLAINT.format(answer.rationale)
            else:
                return _Result((attempt,))

    def _send(self, prompt: Prompt, request: PreparedRequest) -> Reply:
        """Sends one request and reads the reply.

        Raises:
            anthropic.APIError: what the SDK gave up on.
            StopError: raised by the gate, or because what answers is no Messages API.
        """
        started = time.monotonic()
        raw = self._client.messages.with_raw_response.create(**request.arguments)
        body = read_object(raw.http_response.content)
        if body.get("type") != "message":
            raise ConfigurationError(not_the_api(self._address, "an answer of another kind"))
        request_id = raw.headers.get("request-id")
        reply = read_reply(prompt, request.asked, body, self._facts, classifier=self.name, request_id=request_id)
        self._note_cache(prompt, reply, started)
        return reply

    def _note_cache(self, prompt: Prompt, reply: Reply, started: float) -> None:
        """Remembers since when the prompt is cached; says once when the vendor does not cache it at all."""
        self._warm_since[prompt.version] = max(self._warm_since.get(prompt.version, 0.0), started)
        usages = [answer.usage or Usage() for answer in reply.answers]
        cached = sum(usage.cache_read_tokens + usage.cache_write_tokens for usage in usages)
        if cached == 0 and prompt.version not in self._uncached:
            self._uncached.add(prompt.version)
            _log.warning(
                "prompt is not cached task=%s model=%s prompt_tokens_about=%d cache_minimum=%d",
                prompt.task.name,
                self.model,
                prompt_tokens_estimate(prompt.task, packed=prompt.packed),
                self._facts.cache_minimum,
            )

    def _after_error_answer(self, prompt: Prompt, asked: _Question, error: "APIStatusError") -> _Result:
        """What an error answer means: these texts failed, this text cannot be asked, or the run ends.

        Which text of a pack the service refuses is found by asking about each alone.
        """
        if error.status_code >= 500 or error.status_code in {408, 409}:
            return self._failed(prompt, asked, describe_error(error))
        about_this_text = error.status_code in {400, 413, 422} and not is_about_money(error)
        if about_this_text and prompt.version in self._warm_since:
            if len(asked.shown) > 1:
                return _Result(again=tuple(_Question((text,)) for text in asked.shown))
            (answer,) = self._unanswered(prompt, asked, describe_error(error))
            return _Result((replace(answer, outcome="invalid", request_id=error.request_id),))
        stop = stop_of(error, self.model, self._address)
        return _Result((asked.attempt,) if asked.attempt else (), stop=stop)

    def _failed(self, prompt: Prompt, asked: _Question, failure: str, *, unreachable: bool = False) -> _Result:
        """A request that failed. Where an attempt was paid before, that is kept: a failure is not written down."""
        answers = (asked.attempt,) if asked.attempt else self._unanswered(prompt, asked, failure)
        return _Result(answers, failure=failure, unreachable=unreachable)

    def _unanswered(self, prompt: Prompt, asked: _Question, rationale: str) -> tuple[Answer, ...]:
        """What there is to say of texts whose request brought no message: with what was paid before."""
        return tuple(
            Answer(
                text_id=text.text_id,
                outcome="failed",
                categories=(),
                rationale=rationale,
                classifier=self.name,
                model=self.model,
                prompt_version=prompt.version,
                usage=asked.attempt.usage if asked.attempt else None,
                redactions=text.redactions,
                truncated_chars=text.truncated_chars,
                pack=len(asked.shown),
            )
            for text in asked.shown
        )

    def signature(self, task: Task) -> Signature:
        """What answers are stored with today, asked about alone or in packs; see `base.SigningClassifier`."""
        versions = tuple(prompt_version(task, packed=packed) for packed in (False, True))
        return Signature(versions, self.model)

    def estimate(self, task: Task, texts: Sequence[Text]) -> float:
        """About how many dollars `classify(task, texts)` would cost, without any request; see `forecast`."""
        ways = self.forecast(task, texts, USUAL, None).ways
        return next(way.dollars for way in ways if way.configured)

    def forecast(self, task: Task, texts: Sequence[Text], evidence: Evidence, batch_pack: int | None) -> Forecast:
        """What each way of asking about `texts` would cost; see `etl.classifiers.forecast`."""
        ways = forecast_ways(task, self._facts, texts, evidence, Packs(self.pack, batch_pack or self.pack))
        return Forecast(task.name, len(texts), self.model, ways)

    def check_model(self) -> ModelStatus:
        """What the service says of the model: one free request, which also proves key and address.

        Raises:
            ModelGoneError: there is no such model.
            ConfigurationError: the key is refused, or what answers is not the Anthropic API.
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
            raise refusal_of(error, self.model, self._address) from None
        if read_object(raw.http_response.content).get("type") != "model":
            raise ConfigurationError(not_the_api(self._address, "an answer of another kind"))
        model = raw.parse()
        supported = model.capabilities.structured_outputs.supported if model.capabilities else None
        return ModelStatus(model.id, model.lifecycle, model.retires_at, supported, self._facts.successor)


def _part(reply: Reply, shown: tuple[Shown, ...]) -> _Result:
    """The answers of a pack that stand, and a question for each text whose answer does not."""
    pairs = list(zip(reply.answers, shown, strict=True))
    return _Result(
        tuple(answer for answer, _ in pairs if answer.text_id not in reply.again),
        tuple(_Question((text,), answer) for answer, text in pairs if answer.text_id in reply.again),
    )
