"""The stages of a run, one function each. Each asks the database what is left and may be killed at any line."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, sleep
from typing import Protocol

from sqlalchemy import Connection

from etl import dedup
from etl.classifiers.base import Classifier
from etl.db.queries import classifications, exports, items, maintenance, texts
from etl.db.store import Store
from etl.errors import BudgetError, LockedError, RateLimitError, StopError
from etl.records import Answer, Item, Page, PushResult, Scope, Stream, Text
from etl.sinks.base import IndexName, Sink
from etl.sources.base import Source
from etl.tasks import Task

_log = logging.getLogger(__name__)

_FINGERPRINT_PORTION = 500
_COMMENTS_READ = 4 * dedup.COMMENTS_IN_TEXT  # some of the first are by bots, which no text has
_PAID_PORTION = 200
_FREE_PORTION = 2000
_LEASE_MINUTES = 15.0
_EXPORT_LOCK_SECONDS = 60.0
_MOST_NOTES = 20
_MANY_ROWS = 1000


@dataclass(slots=True)
class Tally:
    """What a run counts (names as in `etl.db.queries.runs.COUNTERS`) and notes of what it left behind."""

    counts: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
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


class Progress(Protocol):
    """Who is told how far a run is: a bar on a terminal, a log line per stage elsewhere."""

    def stage(self, title: str, total: int | None = None) -> AbstractContextManager["Advance"]:
        """One stage, from its beginning to its end; `total` where it is known."""
        ...


class Advance(Protocol):
    """A stage under way."""

    def __call__(self, steps: int, **facts: object) -> None:
        """`steps` more are done; `facts` are the stage's numbers so far, shown at its end."""
        ...


def register_stage(store: Store, tasks: Sequence[Task]) -> None:
    """Makes this run's tasks known to the database."""
    with store.transaction() as connection:
        for task in tasks:
            classifications.register_task(connection, task, Path(task.path).read_text(encoding="utf-8"))


def fetch_stage(store: Store, source: Source, scope: Scope, tally: Tally, progress: Progress, keys: set[int]) -> None:
    """Reads what `scope` asks of `source` into the database, a page and its cursor in one transaction.

    keys: takes the keys of the repositories that were met.
    """
    stored_keys: dict[int, int] = {}
    with progress.stage(f"fetch {' '.join(scope.repositories) or source.name}") as advance:
        for stream in source.streams(scope):
            with store.transaction() as connection:
                stored = replace(stream, repository=items.resolve_repository(connection, stream.repository))
                cursor = items.select_cursor(connection, stored) if scope.limit is None else None
            stored_keys[stream.repository.key] = stored.repository.key
            for page in source.fetch(stream, scope, cursor):
                with store.transaction() as connection:
                    _store_page(connection, page, stored, scope, stored_keys, tally)
                advance(len(page.items), new=tally.counts["items_new"], changed=tally.counts["items_changed"])
            keys.update(stored_keys.values())


def _store_page(
    connection: Connection, page: Page, stream: Stream, scope: Scope, stored_keys: dict[int, int], tally: Tally
) -> None:
    for item in page.items:
        if item.repository.key not in stored_keys:
            stored_keys[item.repository.key] = items.resolve_repository(connection, item.repository).key
    wanted = page.items
    if stream.name == "comments" and (scope.labels or scope.limit is not None):
        wanted = _of_stored_parents(connection, page.items, stream.repository.key)
    merged = items.upsert_items(connection, wanted, stored_keys)
    if page.cursor is not None and scope.limit is None:
        items.upsert_cursor(connection, stream, page.cursor)
    counts = tally.counts
    counts["items_read"] += len(page.items)
    counts["items_new"] += merged.new
    counts["items_changed"] += merged.changed
    counts["items_skipped"] += len(page.skipped)
    counts["characters_replaced"] += sum(item.replaced for item in page.items)
    for line in page.skipped:
        tally.note(line)


def _of_stored_parents(connection: Connection, comments: Sequence[Item], repository_key: int) -> tuple[Item, ...]:
    """Those comments whose issue is stored: a list that was narrowed to labels has comments of many others."""
    numbers = {comment.parent_number for comment in comments if comment.parent_number is not None}
    known = items.select_known_parents(connection, repository_key, sorted(numbers))
    return tuple(comment for comment in comments if comment.parent_number in known)


def fingerprint_stage(store: Store, tally: Tally, progress: Progress) -> None:
    """Makes the texts of every queued item and their ids."""
    with store.transaction() as connection:
        inputs = texts.select_inputs(connection)
        total = texts.count_queued(connection)
    with progress.stage("fingerprint", total) as advance:
        while total:
            with store.transaction() as connection:
                taken = texts.take_queued_items(connection, _FINGERPRINT_PORTION, _COMMENTS_READ)
                made = [_fingerprint(entry, name) for entry in taken for name in inputs]
                tally.counts["texts_new"] += texts.upsert_texts(connection, made, dedup.RULES_VERSION)
            if not taken:
                break
            advance(len(taken), new_texts=tally.counts["texts_new"])


def _fingerprint(entry: texts.StoredText, name: str) -> texts.FingerprintedText:
    if name == "issue_with_comments":
        body = dedup.issue_with_comments_text(entry.title, entry.body, entry.comments)
    else:
        body = dedup.issue_text(entry.title, entry.body)
    ids = dedup.fingerprint(body)
    return texts.FingerprintedText(entry.item_id, name, ids.text_hash, ids.family_hash, body)


@dataclass(frozen=True, slots=True)
class Asking:
    """What the classify stage works with: whom it asks, what it is limited to, by when it ends."""

    classifier: Classifier
    repository_keys: Sequence[int] | None
    labels: Sequence[str]
    max_items: int | None
    deadline: float


def classify_stage(
    store: Store, tasks: Sequence[Task], asking: Asking, run_id: int, tally: Tally, progress: Progress
) -> None:
    """Asks the classifier about every pending text of the tasks, newest items first.

    Raises:
        BudgetError: a cap was reached. RateLimitError: the deadline was. What was not asked stays pending.
    """
    scope = classifications.PendingScope(asking.classifier.name, asking.repository_keys, asking.labels)
    try:
        for task in tasks:
            with store.transaction() as connection:
                total = classifications.count_pending(connection, task, scope)
            with progress.stage(f"classify {task.name}", total) as advance:
                if not total:
                    continue
                _classify_task(store, task, scope, asking, _Ledger(store, task, run_id, tally, advance))
    finally:
        with store.transaction() as connection:
            classifications.release_claims(connection, run_id)


@dataclass(frozen=True, slots=True)
class _Ledger:
    """Where the answers of one task go, and who counts them."""

    store: Store
    task: Task
    run_id: int
    tally: Tally
    advance: "Advance"

    def keep(self, answers: Sequence[Answer]) -> None:
        """Appends the answers and counts them. A failed request is no answer: its text stays pending."""
        kept = [answer for answer in answers if answer.outcome != "failed"]
        if kept:
            with self.store.transaction() as connection:
                classifications.insert_answers(connection, self.task, kept, self.run_id)
        for answer in answers:
            self._count(answer)
        self.advance(len(answers), asked=self.tally.counts["texts_asked"], dollars=round(self.tally.cost_usd, 4))

    def _count(self, answer: Answer) -> None:
        counts = self.tally.counts
        counts["texts_asked"] += 1
        self.tally.model = answer.model or self.tally.model
        if answer.usage is not None:
            counts["input_tokens"] += answer.usage.input_tokens
            counts["cache_write_tokens"] += answer.usage.cache_write_tokens
            counts["cache_read_tokens"] += answer.usage.cache_read_tokens
            counts["output_tokens"] += answer.usage.output_tokens
            self.tally.cost_usd += answer.usage.cost_usd
        if answer.outcome in {"failed", "truncated", "invalid"}:
            counts["texts_failed"] += 1
            self.tally.note(f"text {answer.text_id} of task {self.task.name}: {answer.outcome}: {answer.rationale}")


def _classify_task(
    store: Store, task: Task, scope: classifications.PendingScope, asking: Asking, ledger: _Ledger
) -> None:
    free = asking.classifier.name != "claude"
    while True:
        portion = _FREE_PORTION if free else _PAID_PORTION
        if asking.max_items is not None:
            portion = min(portion, asking.max_items - ledger.tally.counts["texts_asked"])
        if monotonic() > asking.deadline:
            raise RateLimitError(f"the run's deadline passed while classifying {task.name}; the next run goes on")
        with store.transaction() as connection:
            if portion <= 0:
                left = classifications.count_pending(connection, task, scope)
                if not left:
                    return
                raise BudgetError(f"--max-items {asking.max_items} is reached; {left} texts of {task.name} wait")
            claimed = classifications.claim_pending(
                connection, task, scope, run_id=ledger.run_id, limit=portion, lease_minutes=_LEASE_MINUTES
            )
        if not claimed:
            return
        _ask(task, asking.classifier, claimed, ledger)


def _ask(task: Task, classifier: Classifier, claimed: Sequence[Text], ledger: _Ledger) -> None:
    """Stores each paid answer as it arrives; free ones, which cost nothing to ask again, in one transaction."""
    free: list[Answer] = []
    try:
        for answer in classifier.classify(task, claimed):
            if answer.usage is None and answer.outcome != "failed":
                free.append(answer)
            else:
                ledger.keep([answer])
    finally:
        if free:
            ledger.keep(free)


def estimate_stage(store: Store, tasks: Sequence[Task], asking: Asking, tally: Tally) -> None:
    """Counts the pending texts of the tasks without asking anyone (a dry run), with what asking would cost."""
    scope = classifications.PendingScope(asking.classifier.name, asking.repository_keys, asking.labels)
    estimate = getattr(asking.classifier, "estimate", None)
    for task in tasks:
        with store.transaction() as connection:
            claimed = classifications.claim_pending(
                connection, task, scope, run_id=0, limit=asking.max_items or 1_000_000, lease_minutes=_LEASE_MINUTES
            )
        tally.waiting_texts[task.name] = len(claimed)
        if estimate is not None:
            tally.estimated_usd = (tally.estimated_usd or 0.0) + estimate(task, claimed)


def count_waiting_texts(
    store: Store, tasks: Sequence[Task], classifier: str, repository_keys: Sequence[int] | None
) -> dict[str, int]:
    """How many texts of each task still wait for an answer by `classifier` or a better one."""
    scope = classifications.PendingScope(classifier, repository_keys)
    with store.transaction() as connection:
        return {task.name: classifications.count_pending(connection, task, scope) for task in tasks}


def export_stage(store: Store, sink: Sink, run_id: int, tally: Tally, progress: Progress) -> None:
    """Writes every document that the sink lacks, whichever run or repository it came from.

    Raises:
        LockedError: another run has been exporting to the same sink for a minute.
        UnavailableError: the sink kept failing; what it acknowledged is remembered, the rest goes with the next run.
    """
    identities = sink.prepare()
    _wait_for_export_lock(store, identities["classifications"])
    with store.transaction() as connection:
        sink_ids = {index: exports.resolve_sink(connection, identity) for index, identity in identities.items()}
    totals = _count_pending(store, {str(index): sink_id for index, sink_id in sink_ids.items()}, refresh=True)
    written = 0
    for index, total in totals.items():
        if total:
            with progress.stage(f"export {index}", total) as advance:
                for results in _pushed(store, sink, index, sink_ids[index], run_id):
                    written += _count_pushed(results, tally)
                    advance(len(results), written=written, dead_letters=tally.counts["dead_letters"])


def _count_pending(store: Store, sink_ids: Mapping[str, int], *, refresh: bool) -> dict[IndexName, int]:
    """How many documents of each trend index the sink lacks, with `refresh` the daily counts brought up to date first.

    They can only differ from the truth where a document is pending or a UTC day has begun. The daily documents are
    sent before the others: a run that is killed in between leaves those pending, and so the next one looks again.
    """
    with store.transaction() as connection:
        items_pending = exports.count_pending_documents(connection, "classifications", sink_ids.get("classifications"))
        if refresh and (items_pending or exports.day_has_begun(connection)):
            exports.refresh_daily_counts(connection)
        days_pending = exports.count_pending_documents(connection, "daily", sink_ids.get("daily"))
    return {"daily": days_pending, "classifications": items_pending}


def _wait_for_export_lock(store: Store, identity: str) -> None:
    end = monotonic() + _EXPORT_LOCK_SECONDS
    while not store.try_lock(f"export {identity}"):
        if monotonic() > end:
            raise LockedError("another run is exporting to the same index; its or the next run's export has the rest")
        sleep(0.5)


def _pushed(store: Store, sink: Sink, index: IndexName, sink_id: int, run_id: int) -> Iterator[Sequence[PushResult]]:
    """Pushes what the sink lacks; each chunk is remembered as soon as the sink acknowledged it."""
    with store.reading() as reader:
        for results in sink.push(index, exports.stream_pending_documents(reader, index, sink_id)):
            with store.transaction() as connection:
                exports.insert_push_results(connection, sink_id, results, run_id)
            yield results


def _count_pushed(results: Sequence[PushResult], tally: Tally) -> int:
    written = sum(1 for result in results if result.status == "written")
    tally.counts["documents_written"] += written
    for result in results:
        if result.status == "rejected":
            tally.counts["dead_letters"] += 1
            tally.note(f"dead letter {result.document.id}: {result.reason}")
    return written


def export_runs(store: Store, sink: Sink, run_id: int) -> None:
    """Writes the records of ended runs, this one's included, then makes everything visible: a run's one refresh.

    A failure is logged and left to the next run.
    """
    try:
        identities = sink.prepare()
        with store.transaction() as connection:
            sink_id = exports.resolve_sink(connection, identities["runs"])
        for _ in _pushed(store, sink, "runs", sink_id, run_id):
            pass
        sink.refresh()
    except StopError as stop:
        _log.warning("the runs' records wait for the next export reason=%s", stop)


def count_waiting_documents(store: Store, prefix: str | None, *, refresh: bool) -> int:
    """How many documents the sink with this index prefix lacks, by what is known of it; nobody is asked.

    prefix: None where there is no sink: then every document waits. refresh: whether something changed since this was
    last asked, so that the daily counts must be computed again.
    """
    with store.transaction() as connection:
        sink_ids = exports.select_newest_sinks(connection, prefix) if prefix is not None else {}
    return sum(_count_pending(store, sink_ids, refresh=refresh).values())


def statistics_stage(store: Store, tally: Tally) -> None:
    """Tells PostgreSQL's planner of tables that have just grown or changed much.

    Its own daemon looks once a minute; until then it plans for empty tables, and a view over 20,000 new issues takes
    half a minute instead of a tenth of a second.
    """
    if store.dry_run:
        # What a transaction changed is not counted until it is committed, which this one never is.
        if tally.counts["items_new"] + tally.counts["texts_asked"] >= _MANY_ROWS:
            with store.transaction() as connection:
                maintenance.analyze_tables(connection, maintenance.TABLES)
        return
    with store.transaction() as connection:
        maintenance.flush_statistics(connection)
    with store.transaction() as connection:
        maintenance.analyze_tables(connection, maintenance.select_changed_tables(connection, _MANY_ROWS))
