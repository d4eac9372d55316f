"""Batches under way: collect what has ended, reclaim what nobody knows of. What is new: `stages.batch_submission`.

Nothing of a batch is kept but in PostgreSQL. What is about to be handed over is committed first, with the claims of its
texts, so that a run may be killed at any line: the next one finds either a batch that was never sent, whose texts are
pending again after a while, or one that the vendor has, whose results it collects. Results are read as they stream in,
in any order, and may be read again: what is stored of a request is stored once.

A batch is collected under the version of the task that it was asked with, whatever that is today.
"""

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, Literal

from etl.classifiers.base import BatchClassifier, BatchResult, VendorBatch
from etl.db.queries import batches as queries
from etl.db.queries import classifications
from etl.db.queries.batches import OpenBatch, TextOutcome, WaitingText
from etl.db.store import Store
from etl.errors import StopError, UnavailableError
from etl.records import ATTEMPTS, Answer
from etl.stages.base import Advance, Progress, Tally
from etl.stages.spending import SharedPurse
from etl.tasks import Task, parse_task

_log = logging.getLogger(__name__)

Executor = Literal["auto", "sync", "batch"]

SLOW_HOURS: Final = 6.0
"""A batch that takes longer is spoken of: most have ended within an hour."""
GIVEN_UP_HOURS: Final = 26.0
"""The vendor ends every batch after 24 hours; one that is still open then is not waited for."""
UNSEEN_MINUTES: Final = 30.0
"""A batch that the vendor does not list so long after it was to be handed over never came to be."""

_BEFORE = timedelta(minutes=10)
_AFTER = timedelta(minutes=60)
_PORTION = 50
"""So many requests' results are stored in one transaction."""
_READINGS = 3
_MOST_ERASED = 50
_UNASKED: Final = {"canceled": "were canceled", "expired": "expired", "missing": "have no result"}
"""What became of texts that nobody was asked about, in words."""


@dataclass(frozen=True, slots=True)
class Batching:
    """How a run uses batches. executor: how texts are asked about; 'auto' takes batches from `threshold` texts on."""

    batches: BatchClassifier
    executor: Executor
    threshold: int


@dataclass(frozen=True, slots=True)
class Desk:
    """What the parts of this stage share. purse: what a batch's worst case is taken from; None: nothing is spent."""

    store: Store
    batches: BatchClassifier
    run_id: int
    tally: Tally
    purse: SharedPurse | None = None


def collect_stage(desk: Desk, progress: Progress) -> None:
    """Stores the results of every batch that has ended, of any task and version, and finds those that went unanswered.

    Raises:
        ConfigurationError, UnavailableError, RateLimitError, BudgetError: the vendor cannot be asked.
    """
    with desk.store.transaction() as connection:
        found = queries.select_open_batches(connection)
    if found:
        with progress.stage("collect batches", sum(batch.texts for batch in found)) as advance:
            for batch in sorted(found, key=lambda batch: batch.vendor_id is None):
                _tend(desk, batch, advance)
    _erase_results(desk)


def _tend(desk: Desk, batch: OpenBatch, advance: Advance) -> None:
    """Looks after one batch, unless another run is doing so at this moment."""
    if not desk.store.try_lock(f"batch {batch.id}"):
        return
    current = _current(desk, batch.id)
    if current is not None and current.vendor_id is None:
        current = _reclaim(desk, current)
    if current is not None and current.vendor_id is not None:
        _collect(desk, current, current.vendor_id, advance)


def _current(desk: Desk, batch_id: int) -> OpenBatch | None:
    with desk.store.transaction() as connection:
        return queries.select_open_batch(connection, batch_id)


def _collect(desk: Desk, batch: OpenBatch, vendor_id: str, advance: Advance) -> None:
    vendor = desk.batches.find(vendor_id)
    hours = batch.age_seconds / 3600
    if vendor is None:
        _give_up(desk, batch, "the vendor knows no such batch: its key or workspace is another one, or it was deleted")
    elif vendor.status == "ended" and vendor.results_url is None:
        _give_up(desk, batch, "its results are not kept any more")
    elif vendor.status == "ended":
        _store_results(desk, batch, vendor, advance)
    elif hours >= GIVEN_UP_HOURS:
        with suppress(StopError):
            desk.batches.cancel(vendor_id)
        _give_up(desk, batch, f"it had not ended after {hours:.0f} hours")
    elif hours >= SLOW_HOURS:
        _log.warning("a batch is slow batch=%d hours=%.1f texts=%d", batch.id, hours, batch.texts)
        desk.tally.remarks.append(f"batch {batch.id} is under way for {hours:.0f} hours; {batch.texts:,} texts wait")


def _give_up(desk: Desk, batch: OpenBatch, reason: str) -> None:
    with desk.store.transaction() as connection:
        left = queries.settle_batch(connection, batch.id, "lost", left="missing", error=reason)
    _log.warning("a batch is lost batch=%d texts=%d reason=%s", batch.id, left, reason)
    desk.tally.remarks.append(f"batch {batch.id} is lost: {reason}; {left:,} texts are asked about again")


def _task_of(desk: Desk, batch: OpenBatch) -> Task:
    """The task as it was when the batch was submitted."""
    with desk.store.transaction() as connection:
        content = queries.select_task_file(connection, batch.task, batch.task_version)
    task = parse_task(content.encode(), f"batch {batch.id}/{batch.task}.toml")
    return replace(task, sha256=batch.task_sha256)


def _store_results(desk: Desk, batch: OpenBatch, vendor: VendorBatch, advance: Advance) -> None:
    task = _task_of(desk, batch)
    for reading in range(1, _READINGS + 1):
        with desk.store.transaction() as connection:
            sent = [text.sent for text in queries.select_waiting_texts(connection, batch.id)]
        try:
            _read_results(desk, batch, task, desk.batches.collect(vendor, task, batch.model, sent), advance)
            break
        except UnavailableError as error:
            _log.warning("reading results failed batch=%d reading=%d reason=%s", batch.id, reading, error)
            if reading == _READINGS:
                desk.tally.note(f"batch {batch.id}: {error}")
                return
    with desk.store.transaction() as connection:
        missing = queries.settle_batch(connection, batch.id, "collected", left="missing")
        outcomes = queries.count_outcomes(connection, batch.id)
    for outcome, words in _UNASKED.items():
        if outcome in outcomes:
            texts = f"{outcomes[outcome]:,} of {batch.texts:,} texts"
            desk.tally.remarks.append(f"batch {batch.id}: {texts} {words} and wait again")
    if missing:
        _log.warning("results are missing batch=%d texts=%d", batch.id, missing)
    _log.info("collected batch=%d task=%s texts=%d", batch.id, batch.task, batch.texts)


def _read_results(desk: Desk, batch: OpenBatch, task: Task, results: Iterable[BatchResult], advance: Advance) -> None:
    """Stores the results in portions; also those that came before the stream broke off."""
    portion: list[BatchResult] = []
    try:
        for result in results:
            portion.append(result)
            if len(portion) == _PORTION:
                _keep(desk, batch, task, portion, advance)
                portion = []
    except UnavailableError:
        _keep(desk, batch, task, portion, advance)
        raise
    _keep(desk, batch, task, portion, advance)


def _keep(desk: Desk, batch: OpenBatch, task: Task, results: Sequence[BatchResult], advance: Advance) -> None:
    """Stores what a portion of results says, in one transaction; results that are stored already are passed over."""
    if not results:
        return
    answers: list[Answer] = []
    outcomes: list[TextOutcome] = []
    with desk.store.transaction() as connection:
        queries.begin_with_claims(connection)
        waiting = queries.select_waiting_texts(connection, batch.id, [result.custom_id for result in results])
        texts: dict[str, list[WaitingText]] = {}
        for text in waiting:
            texts.setdefault(text.sent.custom_id, []).append(text)
        for result in results:
            for place, text in enumerate(texts.get(result.custom_id, ())):
                answer = _adapted(result.answers[place], batch, text) if result.outcome == "answered" else None
                answers += [] if answer is None else [answer]
                outcomes.append(_outcome_of(text, result, answer))
        if answers:
            classifications.insert_answers(connection, task, answers, desk.run_id)
        queries.update_outcomes(connection, batch.id, outcomes)
    for answer in answers:
        desk.tally.count_paid(answer)
    desk.tally.counts["texts_collected"] += sum(outcome.outcome == "answered" for outcome in outcomes)
    _note_errors(desk, batch, outcomes)
    advance(len(outcomes), collected=desk.tally.counts["texts_collected"])


def _outcome_of(text: WaitingText, result: BatchResult, answer: Answer | None) -> TextOutcome:
    """What came back for one text; an answer that cannot be used is an attempt."""
    custom_id, echo_id = text.sent.custom_id, text.sent.echo_id
    if answer is None:
        return TextOutcome(custom_id, echo_id, result.outcome, result.message or None)
    if answer.outcome in ATTEMPTS:
        return TextOutcome(custom_id, echo_id, "unusable", answer.rationale)
    return TextOutcome(custom_id, echo_id, "answered")


def _adapted(answer: Answer, batch: OpenBatch, text: WaitingText) -> Answer:
    """An answer as the ledger keeps it; the text may have become one with another, or may have been purged."""
    return replace(
        answer,
        text_id=text.sent.text_id,
        batch_id=batch.id,
        prompt_version=batch.prompt_version,
        purpose=batch.purpose,
        rationale="" if text.purged else answer.rationale,
    )


def _note_errors(desk: Desk, batch: OpenBatch, outcomes: Sequence[TextOutcome]) -> None:
    """One line per portion on requests that the vendor could not do: the first of them stands for all."""
    errors = [outcome for outcome in outcomes if outcome.outcome == "errored"]
    if errors:
        _log.warning("requests failed batch=%d texts=%d first=%s", batch.id, len(errors), errors[0].message)
        desk.tally.remarks.append(f"batch {batch.id}: {len(errors)} texts failed, the first: {errors[0].message}")


def _erase_results(desk: Desk) -> None:
    """Deletes at the vendor what is stored here; what cannot be deleted now is tried again by the next run."""
    with desk.store.transaction() as connection:
        left = queries.select_unerased(connection, _MOST_ERASED)
    for batch_id, vendor_id in left:
        try:
            erased = desk.batches.erase(vendor_id)
        except StopError as stop:
            _log.info("results stay at the vendor for now batch=%d reason=%s", batch_id, stop)
            return
        if erased:
            with desk.store.transaction() as connection:
                queries.mark_erased(connection, batch_id)


def _reclaim(desk: Desk, batch: OpenBatch) -> OpenBatch | None:
    """Finds out whether a batch whose submission nobody heard of exists; gives it where it does."""
    if not batch.run_has_ended:
        return None
    with desk.store.transaction() as connection:
        known = queries.select_known_vendor_ids(connection)
    is_candidate = False
    for vendor in desk.batches.list_since(batch.created_at - _BEFORE):
        if vendor.requests != batch.requests or vendor.id in known or vendor.created_at > batch.created_at + _AFTER:
            continue
        if vendor.status != "ended":
            is_candidate = True
        elif vendor.results_url and (desk.batches.first_custom_id(vendor) or "").startswith(f"{batch.token}-"):
            with desk.store.transaction() as connection:
                queries.adopt_batch(connection, batch.id, vendor.id)
            _log.warning("found a batch whose submission went unanswered batch=%d vendor=%s", batch.id, vendor.id)
            return _current(desk, batch.id)
    if is_candidate and batch.age_seconds < GIVEN_UP_HOURS * 3600:
        _log.info("a batch may be under way, it is told when it has ended batch=%d", batch.id)
    elif batch.age_seconds >= UNSEEN_MINUTES * 60:
        reason = "the vendor does not have it: the run that was to submit it ended before"
        with desk.store.transaction() as connection:
            left = queries.settle_batch(connection, batch.id, "abandoned", left=None, error=reason)
        _log.warning("a batch was never submitted batch=%d texts=%d", batch.id, left)
    return None


def count_in_batches(store: Store) -> dict[str, dict[str, Any]]:
    """By task: how many texts are in batches under way, in how many batches, and since when the oldest is."""
    with store.transaction() as connection:
        return queries.select_under_way(connection)
