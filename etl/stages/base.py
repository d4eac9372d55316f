"""What every stage is given: where it counts, and whom it tells how far it is."""

from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

_MOST_NOTES = 20


@dataclass(slots=True)
class Tally:
    """What a run counts (names as in `etl.db.queries.runs.COUNTERS`) and notes of what it left behind.

    repository_keys: of the repositories whose items were read.
    """

    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    repository_keys: set[int] = field(default_factory=set)
    cost_usd: float = 0.0
    model: str | None = None
    waiting_documents: int | None = None
    waiting_texts: dict[str, int] = field(default_factory=dict)
    estimated_usd: float | None = None

    def note(self, line: str) -> None:
        """Keeps a line for the run's record; past the first twenty only their number."""
        self.counts["notes"] += 1
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(line)
        else:
            self.notes[_MOST_NOTES - 1] = f"… and {self.counts['notes'] - _MOST_NOTES + 1} more"


class Advance(Protocol):
    """A stage under way."""

    def __call__(self, steps: int, **facts: object) -> None:
        """`steps` more are done; `facts` are the stage's numbers so far, shown at its end."""
        ...


class Progress(Protocol):
    """Who is told how far a run is: a bar on a terminal, a log line per stage elsewhere."""

    def stage(self, title: str, total: int | None = None) -> AbstractContextManager[Advance]:
        """One stage, from its beginning to its end; `total` where it is known."""
        ...
