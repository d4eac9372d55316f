"""Issuetide's fetch stage alone, as a process: what `benchmarks/load.py` compares with the floor.

python -m benchmarks.fetch_only API_URL OWNER/NAME DATABASE_URL

It starts as the command does (`etl.cli`): nothing is collected while modules are imported.
"""

import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etl.stages.base import Advance


class SilentProgress:
    """Nobody looks."""

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator["Advance"]:  # noqa: ARG002  (the promise's names)
        """A stage nobody is told of."""
        yield self._advance

    @staticmethod
    def _advance(steps: int, **facts: object) -> None: ...


def main() -> None:
    """Fetches one repository's issues into the database."""
    gc.disable()
    from etl.db.store import Store
    from etl.github import GitHubClient
    from etl.records import Scope
    from etl.sources.github_issues import GitHubIssues
    from etl.stages.base import Tally
    from etl.stages.fetch import fetch_stage

    gc.freeze()
    gc.enable()
    api_url, repository, database_url = sys.argv[1:]
    store = Store(database_url)
    with GitHubClient(api_url, "bench", time.monotonic() + 3600) as client:
        scope = Scope((repository,), comments=False)
        fetch_stage(store, GitHubIssues(client), scope, Tally(), SilentProgress())
    store.close()


if __name__ == "__main__":
    main()
