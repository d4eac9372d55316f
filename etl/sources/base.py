"""What a source promises."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Protocol

from etl.records import Event, Item, Kind, Page, Repository, Scope, Stream, Vanished

GITHUB_HOST = "github.com"


class Source(Protocol):
    """A place that items are read from. It never touches the database."""

    name: str

    def streams(self, scope: Scope) -> Iterator[Stream]:
        """The lists to read for `scope`, repositories resolved to their numeric ids, issues before their comments.

        Raises:
            ConfigurationError: a repository is unknown or out of reach.
        """
        ...

    def fetch(self, stream: Stream, scope: Scope, cursor: str | None) -> Iterator[Page]:
        """The pages of `stream` since `cursor` (None: from the beginning), oldest change first.

        A page's items may repeat items of earlier pages, newer. Killed or broken off between pages, a later call with
        the last stored cursor goes on without losing an item.

        Raises:
            RateLimitError: the service asks for a wait that does not fit the deadline.
            UnavailableError: the service failed beyond the bounded retries.
        """
        ...

    def counters(self) -> Mapping[str, int]:
        """What was used so far, for the run's record: at least 'calls' (requests sent)."""
        ...


class Mirror(Source, Protocol):
    """A source that can be asked about one item again, which is what a sweep and `verify` need."""

    def walk(self, repository: Repository, scope: Scope, position: str | None) -> Iterator[Page]:
        """Every item of the scope in order of creation, a page per request; comments are not among them.

        A page's cursor is where the next one begins, also in a later run (opaque); None on the last page.

        Raises:
            RateLimitError, UnavailableError, BudgetError: as the client says; the pages given before stand.
        """
        ...

    def recheck(self, repository: Repository, kind: Kind, number: int) -> Item | Vanished:
        """One item as it is now, or why it is no longer there.

        Raises:
            SkipError: what was answered cannot be used.
        """
        ...

    def comments_of(self, repository: Repository, kind: Kind, number: int) -> list[Item] | Vanished:
        """All comments of one item as they are now, or why the item is no longer there."""
        ...

    def history_of(self, repository: Repository, kind: Kind, number: int) -> list[Event]:
        """When one item was closed, reopened, labeled and unlabeled, by GitHub's own timeline.

        Raises:
            SkipError: the item is no longer there.
        """
        ...

    def confirm(self, repository: Repository) -> None:
        """Passes if the repository answers and has its issues switched on: asked before an item counts as vanished.

        Raises:
            StopError, SkipError: it is out of reach, so nothing can be said of its items.
        """
        ...


def repository_key(host: str, github_id: int | None, full_name: str) -> int:
    """The number that stands for a repository in keys and document ids.

    On github.com GitHub's own id (below 2**53). On another host, or without an id, 2**61 plus 60 bits of BLAKE2b over
    host and id (or lower-cased name), so that two instances' ids never meet and the same input always gives the same.
    """
    if host == GITHUB_HOST and github_id is not None:
        return github_id
    identity = f"{host}/{github_id if github_id is not None else full_name.lower()}"
    return (1 << 61) + (int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), "big") >> 4)
