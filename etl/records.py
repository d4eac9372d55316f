"""The values that travel between stages: frozen, without behaviour, importing nothing of ours.

Times are aware and in UTC. `None` means "not known" or "abstained", never "failed".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Kind = Literal["issue", "pull_request", "comment"]
Outcome = Literal["answered", "abstained", "refused", "truncated", "invalid", "failed"]
"""What came of asking about one text.

answered, abstained and refused are answers and end the matter; truncated and invalid are kept as attempts and asked
again a bounded number of times; failed (a connection that broke, a server's 5xx) is not kept as an answer at all.
"""
ANSWERS: tuple[Outcome, ...] = ("answered", "abstained", "refused")
ATTEMPTS: tuple[Outcome, ...] = ("truncated", "invalid")
Purpose = Literal["live", "trial", "audit"]


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository, keyed so that a rename changes nothing.

    key: GitHub's numeric id on api.github.com; elsewhere, or where a file gives no id, a number made from host and
        id or name (`etl.sources.base.repository_key`). Part of every document id.
    """

    key: int
    host: str
    github_id: int | None
    full_name: str


EventKind = Literal["closed", "reopened", "labeled", "unlabeled"]
Origin = Literal["live", "file", "archive"]
EventSource = Literal["observed", "timeline", "archive"]
"""How an event is known: from two states that were seen, from GitHub's timeline of the item, from GH Archive."""


@dataclass(frozen=True, slots=True)
class Link:
    """A pull request says that it settles an issue.

    repository: 'owner/name' of the issue, as written, or of the pull request where only a number is given.
    """

    kind: Literal["fixes"]
    repository: str
    number: int


@dataclass(frozen=True, slots=True)
class Item:
    """One fetched thing: an issue, a pull request or a comment.

    external_id: the number of an issue or pull request, the numeric id of a comment.
    payload: the JSON object as received (UTF-8), less title, body and hypermedia links, which have columns or can be
        derived.
    content_hash: 32 hexadecimal digits over everything stored; equal means unchanged.
    replaced: how many NUL bytes and lone surrogates were replaced with U+FFFD, which PostgreSQL refuses.
    merged_at, links: of pull requests only; when it was merged, and which issues it says it settles.
    """

    repository: Repository
    kind: Kind
    external_id: int
    parent_number: int | None
    title: str | None
    body: str | None
    state: str | None
    state_reason: str | None
    author: str | None
    author_type: str | None
    author_association: str | None
    labels: tuple[str, ...]
    assignees: tuple[str, ...]
    comments: int | None
    created_at: datetime
    updated_at: datetime
    closed_at: datetime | None
    url: str | None
    payload: str
    content_hash: str
    replaced: int = 0
    merged_at: datetime | None = None
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """A change of an issue's or pull request's state or labels, and when it was.

    label: of labeled and unlabeled. external_id: the source's own number of the event, where it has one.
    """

    repository: Repository
    number: int
    kind: EventKind
    at: datetime
    label: str | None
    source: EventSource
    external_id: int | None = None


@dataclass(frozen=True, slots=True)
class Vanished:
    """Why an item is no longer where it was.

    deleted: GitHub says 410. hidden: 404, made private, marked as spam, or not for this token. transferred: to issue
    `number` of `repository` ('owner/name'; both None where that cannot be read).
    """

    reason: Literal["deleted", "hidden", "transferred"]
    repository: str | None = None
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """An object that could not be used: kept with its bytes, so that a cursor may go past it.

    line: what is wrong with it, naming it and where it came from; never its text.
    payload: the object as JSON, ASCII only, cut after 1 MiB.
    """

    line: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """One list that a source reads with a cursor of its own.

    name: what is listed ('issues', 'comments', 'file').
    filter: the canonical form of what narrows the list ('' for all of it); part of the cursor's key.
    """

    source: str
    repository: Repository
    name: str
    filter: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """What one network read gave, to be stored in one transaction with the cursor that follows it.

    cursor: opaque to everyone but its source; None leaves the stored cursor as it is.
    skipped: what could not be used.
    events: changes of state and labels that the source itself dates.
    origin: how far the rows win over stored ones. live: over those of equal or older `updated_at`, and they bring
        vanished items back. file: likewise, but an item that vanished since stays vanished. archive: only over older
        ones.
    """

    items: tuple[Item, ...]
    cursor: str | None = None
    skipped: tuple[Rejected, ...] = ()
    events: tuple[Event, ...] = ()
    origin: Origin = "live"


@dataclass(frozen=True, slots=True)
class Text:
    """A distinct text to classify.

    id: its row in `texts`. body: cleaned, not masked, the first seen of its hash.
    """

    id: int
    text_hash: str
    body: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What one request cost, as the vendor counted it (tokens), and in dollars by our price table."""

    input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a classifier said of one text.

    categories: category ids with their confidences (0..1), the most confident first; empty unless answered.
    rationale: why, in one clause; for the other outcomes what happened.
    classifier, model: what answered; model is the vendor's id as answered, or the rules' version.
    usage: None where nothing was paid (the `rules` classifier); of texts that shared a request, a share of it.
    redactions: how many secrets were replaced in what was sent. truncated_chars: how many characters were left out.
    pack: how many texts shared the request. batch_id: the row in `batches` of the batch it came in, at its price.
    purpose: live answers count; trial (a comparison) and audit (a check on another classifier) never become current.
    """

    text_id: int
    outcome: Outcome
    categories: tuple[tuple[str, float], ...]
    rationale: str
    classifier: str
    model: str
    prompt_version: str
    usage: Usage | None = None
    request_id: str | None = None
    redactions: int = 0
    truncated_chars: int = 0
    pack: int = 1
    batch_id: int | None = None
    purpose: Purpose = "live"


@dataclass(frozen=True, slots=True)
class BatchedText:
    """A text in a batch, without its words: what must be kept to read the reply.

    custom_id: of the request; texts that share one share it. echo_id: of the text in its request, '' where it has none.
    """

    text_id: int
    custom_id: str
    echo_id: str
    redactions: int
    truncated_chars: int


@dataclass(frozen=True, slots=True)
class WeekAnswer:
    """An answer given in a week, with the item and the text that it is about: what a person is to look at in a review.

    document_id: names item and task, and outlives a rename. chosen_as: random or lowest.
    """

    document_id: str
    text_hash: str
    repository: str
    number: int
    title: str
    url: str
    body: str
    categories: tuple[str, ...]
    confidence: float | None
    rationale: str
    chosen_as: str


@dataclass(frozen=True, slots=True)
class Signature:
    """What a classifier's answers to a task are stored with today, known before anyone is asked.

    prompt_versions: of the prompts that it may be asked with today; several where texts may share a request.
    model: as it is asked for; a vendor may answer with its date appended.
    """

    prompt_versions: tuple[str, ...]
    model: str


@dataclass(frozen=True, slots=True)
class Document:
    """One document for a sink: its id, its external version, and its source as JSON text ready to send.

    source: None says that a sink which holds the document is to delete it, as of that version.
    """

    id: str
    version: int
    source: str | None


@dataclass(frozen=True, slots=True)
class PushResult:
    """What a sink said of one document.

    status: written; stale (the sink holds a newer version: nothing to do); rejected (a dead letter, `reason` says why).
    """

    document: Document
    status: Literal["written", "stale", "rejected"]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run is asked to read.

    repositories: 'owner/name' each. labels: any of them (OR); empty means all. kinds: which items are stored.
    limit: the N newest issues only, leaving every cursor alone; None means everything since the cursor.
    """

    repositories: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ("issue",)
    comments: bool = True
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """One finding of `doctor`: what was looked at, how it is, and how to mend it."""

    name: str
    status: Literal["ok", "warning", "failed", "skipped"]
    detail: str
    mend: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
