"""Our own promises in a few lines: a source, a classifier and a sink that live in memory, and the records they use."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import islice
from typing import Any

from etl.records import (
    Answer,
    Document,
    Item,
    Kind,
    Page,
    PushResult,
    Repository,
    Scope,
    Signature,
    Stream,
    Text,
    Usage,
)
from etl.sinks.base import IndexName
from etl.stages.base import Advance
from etl.tasks import Task, parse_task

REPOSITORY = Repository(key=42, host="github.com", github_id=42, full_name="octo/demo")
START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


class Clock:
    """Seconds that a test moves."""

    now = 1_000.0

    def __call__(self) -> float:
        """The time as it stands."""
        return self.now


def make_item(number: int, title: str = "", body: str | None = None, **changes: Any) -> Item:
    """An issue of `octo/demo`; its content hash follows from everything else unless given."""
    item = Item(
        repository=REPOSITORY,
        kind="issue",
        external_id=number,
        parent_number=None,
        title=title or f"Title {number}",
        body=body,
        state="open",
        state_reason=None,
        author="octocat",
        author_type="User",
        author_association="NONE",
        labels=(),
        assignees=(),
        comments=0,
        created_at=START + timedelta(days=number),
        updated_at=START + timedelta(days=number),
        closed_at=None,
        url=f"https://github.com/octo/demo/issues/{number}",
        payload="{}",
        content_hash="",
    )
    item = replace(item, **changes)
    if item.content_hash:
        return item
    return replace(item, content_hash=blake2b(repr(item).encode(), digest_size=16).hexdigest())


def make_comment(identifier: int, parent: int, body: str, **changes: Any) -> Item:
    """A comment on issue `parent`."""
    kind: Kind = "comment"
    return replace(make_item(identifier, body=body, kind=kind, parent_number=parent, **changes), title=None)


class FakeSource:
    """Gives pages prepared beforehand; `raises` comes after the page of that place."""

    name = "fake"

    def __init__(self, *pages: Sequence[Item], raises: Mapping[int, Exception] | None = None) -> None:
        self.pages = pages
        self.raises = dict(raises or {})
        self.cursors_seen: list[str | None] = []

    def streams(self, scope: Scope) -> Iterator[Stream]:
        """One stream for everything."""
        yield Stream(self.name, REPOSITORY, "issues", ",".join(scope.labels))

    def fetch(self, stream: Stream, scope: Scope, cursor: str | None) -> Iterator[Page]:
        """The prepared pages, each with its place as cursor."""
        self.cursors_seen.append(cursor)
        for place, page in enumerate(self.pages):
            yield Page(tuple(page), cursor=str(place))
            if place in self.raises:
                raise self.raises[place]

    def counters(self) -> Mapping[str, int]:
        """A call per page."""
        return {"calls": len(self.pages)}


class FakeClassifier:
    """Answers by a word in the text and keeps what it was asked; free unless it calls itself claude."""

    def __init__(self, name: str = "rules", raises_after: int | None = None, stop: Exception | None = None) -> None:
        self.name = name
        self.paid = name == "claude"
        self.asked: list[str] = []
        self.raises_after = raises_after
        self.stop = stop
        self.model = "model-1"
        self.prompt = "p1"

    def signature(self, task: Task) -> Signature:
        """Its prompt and model, which a test may change."""
        return Signature((self.prompt,), self.model)

    def classify(self, task: Task, texts: Sequence[Text]) -> Iterator[Answer]:
        """Bug where the text says crash, feature where it says add, else abstained; refused where it says refuse."""
        for text in texts:
            if self.raises_after is not None and len(self.asked) >= self.raises_after and self.stop:
                raise self.stop
            self.asked.append(text.body)
            yield self._answer(text)

    def estimate(self, task: Task, texts: Sequence[Text]) -> float:
        """A cent a text, where asking is paid."""
        return 0.01 * len(texts) if self.paid else 0.0

    def _answer(self, text: Text) -> Answer:
        category = "bug" if "crash" in text.body else "feature" if "add" in text.body.lower() else None
        usage = Usage(10, 0, 100, 5, 0.001) if self.paid else None
        outcome: Any = "answered" if category else "refused" if "refuse" in text.body else "abstained"
        if "fails" in text.body:
            outcome, category = "failed", None
        pairs = ((category, 0.9),) if category else ()
        return Answer(text.id, outcome, pairs, "because of a word", self.name, self.model, self.prompt, usage, "req_1")


class FakeSink:
    """Holds documents in memory by index; `rejects` names document ids it refuses, `raises` comes before a chunk."""

    name = "fake"
    prefix = "fake"

    def __init__(self, identity: str = "1") -> None:
        self.identity = identity
        self.documents: dict[str, dict[str, Document]] = {"classifications": {}, "daily": {}, "runs": {}}
        self.rejects: set[str] = set()
        self.raises: Exception | None = None
        self.pushed = 0
        self.refreshed = 0
        self.prepared = 0

    def prepare(self) -> Mapping[IndexName, str]:
        """Identities that change with `identity`."""
        self.prepared += 1
        return self._identities()

    def _identities(self) -> Mapping[IndexName, str]:
        return {
            "classifications": f"memory/fake-classifications-v1/{self.identity}",
            "daily": f"memory/fake-daily-v1/{self.identity}",
            "runs": f"memory/fake-runs-v1/{self.identity}",
        }

    def identities(self) -> Mapping[IndexName, str]:
        """What `prepare` gives."""
        return {} if not self.prepared else self._identities()

    def push(self, index: IndexName, documents: Iterable[Document]) -> Iterator[Sequence[PushResult]]:
        """Chunks of up to a hundred documents."""
        remaining = iter(documents)
        while chunk := list(islice(remaining, 100)):
            if self.raises is not None:
                raise self.raises
            yield [self._take(index, document) for document in chunk]

    def _take(self, index: IndexName, document: Document) -> PushResult:
        if document.id in self.rejects:
            return PushResult(document, "rejected", "mapper_parsing_exception: planted")
        if document.source is None:
            self.documents[index].pop(document.id, None)
        else:
            self.documents[index][document.id] = document
        self.pushed += index != "runs"
        return PushResult(document, "written")

    def held(self, index: IndexName) -> Iterator[tuple[str, int]]:
        """What it holds."""
        yield from ((document.id, document.version) for document in list(self.documents[index].values()))

    def refresh(self) -> None:
        """Counts how often it was asked for."""
        self.refreshed += 1


class SilentProgress:
    """Nobody looks."""

    @contextmanager
    def stage(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """A stage nobody is told of."""
        yield self._advance

    @staticmethod
    def _advance(steps: int, **facts: object) -> None: ...


TASK_FILE = b"""
name = "kind"
version = 1
title = "Kind"
question = "What is it?"
answers = "one_of"
input = "issue"
[applies_to]
titles_except = ["DISABLED *"]
[[categories]]
id = "bug"
definition = "Something is broken."
[[categories]]
id = "feature"
definition = "Something is wanted."
"""


def write_task(folder: Any, content: bytes = TASK_FILE, name: str = "kind") -> Task:
    """The task in `content`, as a file in `folder`."""
    path = folder / f"{name}.toml"
    path.write_bytes(content)
    return parse_task(content, str(path))
