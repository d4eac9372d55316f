"""Runs the GitHub source as the pipeline does, without a database; what the tests of it share."""

import time
from dataclasses import dataclass, field
from typing import Any

from etl.github import GitHubClient
from etl.records import Item, Page, Rejected, Scope
from etl.sources.github_issues import GitHubIssues
from tests.loopback.github import LoopbackGitHub

NAME = "acme/rocket"
BEGIN = 1_700_000_000
HOUR = 3600


@dataclass
class Reader:
    """Runs a source as the pipeline does: keeps each page with its cursor, and the newest version of an item."""

    github: LoopbackGitHub
    token: str = "ghp_test"
    items: dict[tuple[str, int], Item] = field(default_factory=dict)
    cursors: dict[tuple[str, str], str] = field(default_factory=dict)
    skipped: list[Rejected] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)

    def run(self, scope: Scope | None = None, *, pages: int | None = None, attempts: int = 5) -> list[tuple[str, Page]]:
        """All streams of the scope; breaks off, as a killed run does, after so many stored pages."""
        scope = scope or Scope((NAME,))
        read: list[tuple[str, Page]] = []
        with GitHubClient(
            self.github.url, self.token, time.monotonic() + 1800, sleep=self.github.advance, attempts=attempts
        ) as client:
            source = GitHubIssues(client)
            for stream in source.streams(scope):
                key = (stream.name, stream.filter)
                cursor = self.cursors.get(key) if scope.limit is None else None
                for page in source.fetch(stream, scope, cursor):
                    if pages is not None and len(read) == pages:
                        return read
                    self._store(page, key)
                    read.append((stream.name, page))
            self.counters = dict(source.counters())
        return read

    def _store(self, page: Page, key: tuple[str, str]) -> None:
        for item in page.items:
            known = self.items.get((item.kind, item.external_id))
            if known is None or item.updated_at >= known.updated_at:
                self.items[item.kind, item.external_id] = item
        self.skipped += page.skipped
        if page.cursor is not None:
            self.cursors[key] = page.cursor

    def titles(self) -> dict[int, str | None]:
        """The stored issues' titles by number."""
        return {number: item.title for (kind, number), item in self.items.items() if kind == "issue"}

    def comments(self) -> set[int]:
        """The ids of the stored comments."""
        return {identity for kind, identity in self.items if kind == "comment"}


def fill(github: LoopbackGitHub, count: int, *, step: int = 60, name: str = NAME, **fields: Any) -> list[int]:
    """So many issues, `step` seconds apart from BEGIN on; gives their numbers."""
    return [github.add_issue(name, f"Title {i}", created_at=BEGIN + i * step, **fields) for i in range(count)]
