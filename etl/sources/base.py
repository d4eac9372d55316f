"""What a source promises."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Protocol

from etl.records import Page, Scope, Stream

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


def repository_key(host: str, github_id: int | None, full_name: str) -> int:
    """The number that stands for a repository in keys and document ids.

    On github.com GitHub's own id (below 2**53). On another host, or without an id, 2**61 plus 60 bits of BLAKE2b over
    host and id (or lower-cased name), so that two instances' ids never meet and the same input always gives the same.
    """
    if host == GITHUB_HOST and github_id is not None:
        return github_id
    identity = f"{host}/{github_id if github_id is not None else full_name.lower()}"
    return (1 << 61) + (int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), "big") >> 4)
