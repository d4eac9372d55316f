"""What a sink promises."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, Protocol

from etl.records import Document, PushResult

IndexName = Literal["classifications", "daily", "runs"]


class Sink(Protocol):
    """A place that documents are written to. It never touches the database."""

    name: str
    prefix: str
    """What the indices' names begin with."""

    def prepare(self) -> Mapping[IndexName, str]:
        """Makes sure that every index is there; gives each one's identity, '…/PREFIX-INDEX-vVERSION/UNIQUE'.

        The identity changes when an index is deleted and made again (for OpenSearch: its UUID), so that what the sink
        holds is never believed of an index that is gone.

        Raises:
            ConfigurationError: wrong credentials, an alias that is an index, an index of another mapping version.
            UnavailableError: no answer within the retries.
        """
        ...

    def identities(self) -> Mapping[IndexName, str]:
        """The identities of the indices that are there under their names, as `prepare` gives them; changes nothing.

        Raises:
            ConfigurationError: as `prepare`; this sink cannot be asked.
            UnavailableError: no answer within the retries.
        """
        ...

    def push(self, index: IndexName, documents: Iterable[Document]) -> Iterator[Sequence[PushResult]]:
        """Writes the documents; gives the results chunk by chunk, each as soon as the sink acknowledged it.

        A document without a source is deleted; `written` then means that the sink does not hold it (any more).
        Writing the same document and version again is harmless. An older version than the sink holds is `stale`.

        Raises:
            UnavailableError: the sink kept failing beyond the bounded retries; chunks given before stand.
        """
        ...

    def refresh(self) -> None:
        """Makes everything pushed so far visible to searches."""
        ...

    def held(self, index: IndexName) -> Iterator[tuple[str, int]]:
        """Id and version of every document of `index`, each once, in no order; everything pushed before is among them.

        Raises:
            ConfigurationError: this sink cannot be asked what it holds; an index is not there, or may not be read.
            UnavailableError: the sink kept failing; what was given before is not all.
        """
        ...
