"""What a sink promises."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

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


@dataclass(frozen=True, slots=True)
class LiveIndex:
    """An index that is there.

    index: its real name. identity: as `Sink.prepare` gives it. version: of its mapping; None: it says none.
    fits: this release writes it as it is, or after adding fields. documents: how many searches see; None: not known,
    it is closed.
    """

    index: str
    identity: str
    version: int | None
    fits: bool
    documents: int | None


@dataclass(frozen=True, slots=True)
class IndexStanding:
    """What there is of one index.

    alias: the name that it is written and searched by. key: 'cluster/alias', what all its identities begin with.
    version: the mapping's that this release writes. current: what the alias points to. next: what is being filled to
    take its place. kept: those that had the place before.
    """

    name: IndexName
    alias: str
    key: str
    version: int
    current: LiveIndex | None = None
    next: LiveIndex | None = None
    kept: tuple[LiveIndex, ...] = ()

    @property
    def there(self) -> list[LiveIndex]:
        """All indices that there are of it."""
        return [each for each in (self.current, self.next, *self.kept) if each is not None]


@runtime_checkable
class AliasSink(Sink, Protocol):
    """A sink whose indices stand behind aliases, so that another one can take the place of each without a pause."""

    def survey(self) -> Sequence[IndexStanding]:
        """How all indices stand. Makes and changes nothing.

        Raises:
            ConfigurationError: as `prepare`, but for the mapping's version; an alias of several or of strange indices.
            UnavailableError: no answer within the retries.
        """
        ...

    def begin_next(self, index: IndexName) -> LiveIndex:
        """The index that is to take the place of `index`: made, or found as it was left, with this release's mapping.

        Raises:
            ConfigurationError, UnavailableError: as `prepare`.
        """
        ...

    def next_sink(self) -> Sink:
        """A sink that writes to those that `begin_next` made."""
        ...

    def count_next(self, index: IndexName) -> int:
        """How many documents the one that `begin_next` made holds, everything pushed before among them.

        Raises:
            ConfigurationError, UnavailableError: as `prepare`.
        """
        ...

    def switch(self, standing: IndexStanding, target: LiveIndex) -> None:
        """Points the alias to `target` instead of `standing.current`, in one step. Doing it twice is harmless.

        Raises:
            ConfigurationError: there is something else behind the alias by now, or `target` is another index.
            UnavailableError: no answer within the retries.
        """
        ...

    def drop(self, standing: IndexStanding, target: LiveIndex) -> None:
        """Deletes an index that no alias points to, but for those that say it is being filled, or kept.

        Raises:
            ConfigurationError: an alias points to it.
            UnavailableError: no answer within the retries.
        """
        ...
