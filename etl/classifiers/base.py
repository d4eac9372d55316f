"""What a classifier promises."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

from etl.records import Answer, BatchedText, Signature, Text
from etl.tasks import Task


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What the service says of a model.

    lifecycle: 'active', 'deprecated' or 'retired'. retires_at: None where no day is set. structured_outputs: None where
    the service does not say. successor: by our price table; '' where that knows none.
    """

    id: str
    lifecycle: str
    retires_at: datetime | None
    structured_outputs: bool | None
    successor: str = ""


class Purse(Protocol):
    """Where the dollars come from: holds back what a request could cost at most, then takes what it did cost.

    Thread-safe. Whoever reserves settles, exactly once, also when the request failed.
    """

    def reserve(self, dollars: float) -> None:
        """Sets `dollars`, the worst case of what is about to be sent, aside.

        Raises:
            BudgetError: it could exceed a cap; nothing is set aside.
        """
        ...

    def settle(self, reserved: float, dollars: float) -> None:
        """Ends a reservation of `reserved`: what was sent has cost `dollars`."""
        ...


class Classifier(Protocol):
    """Something that answers a task's question about texts. It never touches the database."""

    name: str
    paid: bool
    """Whether asking costs money: each answer is then stored as it arrives, and a dry run asks nothing."""

    def classify(self, task: Task, texts: Sequence[Text]) -> Iterator[Answer]:
        """An answer for each text that was asked about, in any order, as it arrives.

        May be called several times in one run. A text without an answer stays pending. When the run must end early,
        the answers to requests already in flight are yielded first, then the error is raised.

        Raises:
            ConfigurationError: the key, the model or the request itself is refused; no other text would fare better.
            BudgetError: the next request could exceed a cap.
            RateLimitError: the service asks for a wait that does not fit the deadline, or the deadline has passed.
            UnavailableError: the service cannot be reached at all.
        """
        ...

    def estimate(self, task: Task, texts: Sequence[Text]) -> float:
        """About how many dollars `classify` would cost, without any request; 0.0 where nothing is paid."""
        ...


@runtime_checkable
class SigningClassifier(Classifier, Protocol):
    """A classifier that can tell its answers of today from earlier ones."""

    def signature(self, task: Task) -> Signature:
        """What answers to `task` will be stored with; pure."""
        ...


@runtime_checkable
class PaidClassifier(Classifier, Protocol):
    """A classifier whose answers cost money: it can be given the purse that it spends from."""

    model: str
    """The vendor's id of the model it asks."""

    def charge_to(self, purse: Purse) -> None:
        """Takes every dollar from `purse` from now on; until then it keeps a cap of its own, if any."""
        ...

    def check_model(self) -> ModelStatus:
        """What the service says of the model: one free request.

        Raises:
            ModelGoneError: the service knows no such model.
            ConfigurationError: the key is refused, or what answers is another service.
            UnavailableError, RateLimitError: no answer within the retries.
        """
        ...


@dataclass(frozen=True, slots=True)
class Evidence:
    """What estimates count with: measured on stored answers of the model, or what is usual.

    answers: how many stored answers say so; 0: the usual. output_tokens: of one answer. prompt_tokens: by prompt
    version, where they are known.
    """

    chars_per_token: float
    output_tokens: float
    answers: int = 0
    prompt_tokens: Mapping[str, int] = field(default_factory=dict)


USUAL = Evidence(2.5, 60.0)
"""English, code and logs on current models; an answer as short as the prompt asks for."""

REQUEST_TOKENS = 40
"""About how many tokens of a request are neither the shared prompt nor texts."""
ENTRY_TOKENS = 16
"""About how many tokens frame each text where several share a request."""
ECHO_TOKENS = 8
"""About how many tokens of an answer name its text there."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to ask about the same texts.

    cached: the prompt is read from the vendor's cache. dollars: about. worst_usd: what the caps would set aside for it.
    configured: it is how a run would ask now.
    """

    executor: Literal["sync", "batch"]
    pack: int
    cached: bool
    requests: int
    dollars: float
    worst_usd: float
    configured: bool


@dataclass(frozen=True, slots=True)
class Forecast:
    """What asking `model` about so many texts would cost, in each way it can be done."""

    task: str
    texts: int
    model: str
    ways: tuple[Way, ...]


@runtime_checkable
class ForecastingClassifier(PaidClassifier, Protocol):
    """A paid classifier that can say what each way of asking would cost."""

    def forecast(self, task: Task, texts: Sequence[Text], evidence: Evidence, batch_pack: int | None) -> Forecast:
        """What asking about `texts` would cost, without any request; pure.

        batch_pack: how many texts share a request of a batch; None: as many as of a live one. Asking live is marked as
        configured.
        """
        ...


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """One request of a batch, ready to send. size: about how many bytes it has. worst_case_usd: at batch prices."""

    custom_id: str
    texts: tuple[BatchedText, ...]
    arguments: Mapping[str, Any]
    size: int
    worst_case_usd: float


@dataclass(frozen=True, slots=True)
class PreparedBatch:
    """A batch within the vendor's limits, ready to be handed over. token: begins every custom id, with a hyphen."""

    token: str
    prompt_version: str
    requests: tuple[BatchRequest, ...]


@dataclass(frozen=True, slots=True)
class VendorBatch:
    """A batch as the vendor tells of it.

    requests: how many it has. results_url: where its results are; None before it has ended and once they are gone.
    """

    id: str
    created_at: datetime
    status: Literal["in_progress", "canceling", "ended"]
    requests: int
    results_url: str | None


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one request of a batch.

    answers: one for each text of it where outcome is 'answered', with their shares of what was paid; empty otherwise.
    again: ids of texts among them whose answers cannot be used. message: what the vendor said of an error.
    """

    custom_id: str
    outcome: Literal["answered", "errored", "canceled", "expired"]
    answers: tuple[Answer, ...] = ()
    again: frozenset[int] = frozenset()
    message: str = ""


class BatchClassifier(Protocol):
    """Something that takes many requests at once and has the answers hours later. It never touches the database.

    Every method may raise what `Classifier.classify` does, in the same meaning.
    """

    name: str
    model: str
    pack: int
    """How many texts share a request at most."""

    def charge_to(self, purse: Purse) -> None:
        """Takes the dollars of `ask_first` from `purse`; those of a batch are reserved by whoever submits it."""
        ...

    def prepare(self, task: Task, texts: Iterable[Text]) -> Iterator[PreparedBatch]:
        """The batches that ask about `texts`, lazily: each is made when it is wanted, so that one is held at a time."""
        ...

    def ask_first(self, task: Task, request: BatchRequest) -> BatchResult:
        """Sends one request of a batch by itself, at the full price, and waits: what it is refused for, all would be.

        outcome is 'errored' where the vendor refuses this request as one that cannot be used.
        """
        ...

    def submit(self, requests: Sequence[BatchRequest]) -> VendorBatch | None:
        """Hands a batch over, once. None: it was sent and no answer came; nobody knows whether the vendor has it.

        Raises:
            StopError: the vendor does not have it.
        """
        ...

    def find(self, vendor_id: str) -> VendorBatch | None:
        """How a batch stands; None where this key's workspace has no such batch."""
        ...

    def list_since(self, moment: datetime) -> Iterator[VendorBatch]:
        """The batches of the workspace that were made after `moment`, the newest first."""
        ...

    def first_custom_id(self, batch: VendorBatch) -> str | None:
        """The custom id of any request of a batch that has results; None where it has none at all."""
        ...

    def collect(
        self, batch: VendorBatch, task: Task, model: str, texts: Sequence[BatchedText]
    ) -> Iterator[BatchResult]:
        """What became of the requests of `texts`, in any order, as it is read; others are passed over.

        task, model: those it was asked with, whose categories and prices hold. May be read several times.

        Raises:
            UnavailableError: the stream broke off; what was yielded is good.
        """
        ...

    def cancel(self, vendor_id: str) -> None:
        """Asks the vendor to end a batch early; harmless where it has ended or is gone."""
        ...

    def erase(self, vendor_id: str) -> bool:
        """Deletes an ended batch and its results at the vendor; True where nothing of it is left there."""
        ...
