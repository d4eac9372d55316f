"""What every stage is given: where it counts, and whom it tells how far it is."""

from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from etl.records import ANSWERS, Answer

_MOST_NOTES = 20


@dataclass(slots=True)
class Rehashed:
    """What became of the stored texts when the rules of their ids had changed. See `etl.stages.rehash`.

    from_version: the oldest that was met. kept: texts whose id is the same but for the version. moved: the other texts
    that are still one. merged: those that became one with an older text. split: texts that were made anew, for items
    that are not the same problem as the rest of their text any more. conflicts: answers that differ from the one that
    counts for their merged text. aliases_ended: what people had said that the new rules made void. asked_anew: by task,
    how many of the texts made anew wait for an answer, although their items had one.
    """

    from_version: int
    to_version: int
    kept: int = 0
    moved: int = 0
    merged: int = 0
    split: int = 0
    conflicts: int = 0
    aliases_ended: int = 0
    asked_anew: dict[str, int] = field(default_factory=dict)
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def texts(self) -> int:
        """How many texts had older ids."""
        return self.kept + self.moved + self.merged


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """An index that took the place of another. See `etl.stages.rebuild`.

    old: what the alias pointed to; None: to nothing. rounds: in how many goes it was filled. dropped: what was deleted.
    """

    name: str
    alias: str
    old: str | None
    new: str
    documents: int
    rounds: int
    dropped: tuple[str, ...] = ()


@dataclass(slots=True)
class Tally:
    """What a run counts (names as in `etl.db.queries.runs.COUNTERS`) and notes of what it left behind.

    executors: by task, how Claude is asked and why. in_batches: by task, how many texts are in batches under way, in
    how many, and since when.
    remarks: what a person should look at although nothing was left behind; they stand among the run's notes.
    unanswered: by task of the run, how many texts were without an answer at the end, and how many of those are in
    batches; empty: nobody was asked. waiting_documents: how many the sink lacked at the end; None: that was not
    counted.
    repository_keys: of the repositories whose items were read. rehashed: what became of ids of older rules, where there
    were any.
    """

    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    executors: dict[str, str] = field(default_factory=dict)
    in_batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    repository_keys: set[int] = field(default_factory=set)
    cost_usd: float = 0.0
    model: str | None = None
    unanswered: dict[str, tuple[int, int]] = field(default_factory=dict)
    waiting_documents: int | None = None
    waiting_texts: dict[str, int] = field(default_factory=dict)
    estimated_usd: float | None = None
    rehashed: Rehashed | None = None
    rebuilt: list[Rebuilt] = field(default_factory=list)

    def count_answer(self, answer: Answer, task: str) -> None:
        """Counts a text that was asked about, what that cost, and, with a note, an answer that is none."""
        self.counts["texts_asked"] += 1
        self.count_paid(answer)
        if answer.outcome not in ANSWERS:
            self.counts["texts_failed"] += 1
            self.note(f"text {answer.text_id} of task {task}: {answer.outcome}: {answer.rationale}")

    def count_paid(self, answer: Answer) -> None:
        """Counts what an answer cost and what was replaced in its text, whoever asked for it."""
        self.counts["texts_refused"] += answer.outcome == "refused"
        self.counts["redactions"] += answer.redactions
        self.model = answer.model or self.model
        if answer.usage is not None:
            self.counts["input_tokens"] += answer.usage.input_tokens
            self.counts["cache_write_tokens"] += answer.usage.cache_write_tokens
            self.counts["cache_read_tokens"] += answer.usage.cache_read_tokens
            self.counts["output_tokens"] += answer.usage.output_tokens
            self.cost_usd += answer.usage.cost_usd

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
