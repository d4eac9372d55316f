"""What a classifier promises."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from etl.records import Answer, Text
from etl.tasks import Task


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
