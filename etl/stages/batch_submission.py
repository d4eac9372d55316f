"""Hands pending texts over in batches: what comes before, with and after the one request that must not be repeated."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from etl.classifiers.base import BatchResult, PreparedBatch
from etl.db.queries import batches as queries
from etl.db.queries import classifications
from etl.db.queries.batches import NewBatch
from etl.errors import BudgetError, ConfigurationError, StopError
from etl.interrupts import interrupts
from etl.records import Text
from etl.stages.base import Advance
from etl.stages.batches import Batching, Desk
from etl.tasks import Task

_log = logging.getLogger(__name__)


class _ClaimsLostError(Exception):
    """The run has been so slow that others may have claimed its texts."""


def choose_executor(batching: Batching | None, pending: int) -> tuple[Literal["sync", "batch"], str]:
    """How so many pending texts are asked about, and why, in words for people."""
    if batching is None:
        return "sync", "batches are not to be had"
    if batching.executor != "auto":
        return batching.executor, f"--executor {batching.executor} or ISSUETIDE_EXECUTOR says so"
    least = f"ISSUETIDE_BATCH_FROM is {batching.threshold:,}"
    if pending >= batching.threshold:
        return "batch", f"{pending:,} texts wait, {least}: half the price, answers within a day"
    return "sync", f"{pending:,} texts wait, {least}: answers at once"


class Submission:
    """Hands the pending texts of one task over in batches, within one run.

    interrupted: it could not go on although batches are the way to ask; the next run does.
    """

    def __init__(self, desk: Desk, task: Task, advance: Advance) -> None:
        self._desk = desk
        self._task = task
        self._advance = advance
        self._proven = False
        self.interrupted = False

    def submit(self, texts: Sequence[Text]) -> bool:
        """Submits the batches that ask about `texts`, which this run has claimed.

        The first request is sent by itself before: parameters that the vendor refuses would otherwise come back as
        thousands of errors an hour later. False where no more should be submitted in this run.

        Raises:
            BudgetError: a cap was reached; what fits under it was submitted.
            ConfigurationError: the vendor refuses the requests as such.
            UnavailableError, RateLimitError: the vendor cannot be asked.
        """
        for prepared in self._desk.batches.prepare(self._task, texts):
            with interrupts.put_off():  # what is paid is stored, and what the vendor has is known here
                rest = prepared if self._proven else self._prove(prepared)
            if rest is None:
                return False
            with interrupts.put_off():
                if rest.requests and not self._hand_over(rest):
                    return False
        return True

    def _prove(self, prepared: PreparedBatch) -> PreparedBatch | None:
        """Sends the first request by itself; gives the batch without it, or None where batches should not be used.

        Where it is refused, it may be for its text: the second decides. Both then stay in the batch.
        """
        for place, request in enumerate(prepared.requests[:2]):
            result = self._desk.batches.ask_first(self._task, request)
            if result.outcome == "answered":
                self._proven = True
                self._store_first(result)
                rest = (*prepared.requests[:place], *prepared.requests[place + 1 :])
                return replace(prepared, requests=rest)
            _log.warning("the first request is refused task=%s reason=%s", self._task.name, result.message)
        if len(prepared.requests) < 2:
            return None
        raise ConfigurationError(
            f"the model {self._desk.batches.model!r} refuses two requests of task {self._task.name!r}"
            f" ({result.message}), so no batch is submitted: check ISSUETIDE_MODEL and the task file"
        )

    def _store_first(self, result: BatchResult) -> None:
        with self._desk.store.transaction() as connection:
            classifications.insert_answers(connection, self._task, result.answers, self._desk.run_id)
        for answer in result.answers:
            self._desk.tally.counts["texts_asked"] += 1
            self._desk.tally.count_paid(answer)
        self._advance(len(result.answers))

    def _hand_over(self, prepared: PreparedBatch) -> bool:
        """Submits a batch, or as much of it as the caps allow."""
        prepared, reserved, stop = self._reserve(prepared)
        if prepared.requests:
            try:
                batch_id = self._write_intent(prepared, reserved)
            except _ClaimsLostError:
                _log.warning("the claims ran out before a batch was submitted task=%s", self._task.name)
                self.interrupted = True
                return False
            if not self._post(batch_id, prepared, reserved):
                return False
        if stop is not None:
            raise stop
        return True

    def _reserve(self, prepared: PreparedBatch) -> tuple[PreparedBatch, float, BudgetError | None]:
        """The batch, halved until its worst case fits under the caps, that worst case, and why it was halved."""
        stop: BudgetError | None = None
        while prepared.requests:
            dollars = sum(request.worst_case_usd for request in prepared.requests)
            try:
                if self._desk.purse is not None:
                    self._desk.purse.reserve(dollars)
            except BudgetError as error:
                stop = error
                prepared = replace(prepared, requests=prepared.requests[: len(prepared.requests) // 2])
            else:
                return prepared, dollars, stop
        return prepared, 0.0, stop

    def _settle(self, reserved: float) -> None:
        if self._desk.purse is not None:
            self._desk.purse.settle(reserved, 0.0)

    def _write_intent(self, prepared: PreparedBatch, reserved: float) -> int:
        """Commits what is about to be handed over; its id.

        Raises:
            _ClaimsLostError: nothing was committed.
        """
        batch = NewBatch(
            self._task.name,
            self._task.version,
            self._task.sha256,
            prepared.prompt_version,
            self._desk.batches.name,
            self._desk.batches.model,
            prepared.token,
            len(prepared.requests),
            reserved,
        )
        texts = [text for request in prepared.requests for text in request.texts]
        try:
            with self._desk.store.transaction() as connection:
                batch_id = _with_all_claims(queries.insert_batch(connection, batch, texts, self._desk.run_id))
        except BaseException:
            self._settle(reserved)
            raise
        if self._desk.purse is not None:
            self._desk.purse.entrust(reserved)
        return batch_id

    def _post(self, batch_id: int, prepared: PreparedBatch, reserved: float) -> bool:
        """Sends a batch whose intent is committed; False where no answer came."""
        texts = sum(len(request.texts) for request in prepared.requests)
        try:
            vendor = self._desk.batches.submit(prepared.requests)
        except StopError as stop:
            with self._desk.store.transaction() as connection:
                queries.settle_batch(connection, batch_id, "abandoned", left=None, error=str(stop))
            if self._desk.purse is not None:
                self._desk.purse.take_back(reserved)
            raise
        self._desk.tally.counts["texts_submitted"] += texts
        self._advance(texts, submitted=self._desk.tally.counts["texts_submitted"])
        if vendor is None:
            _log.warning("a batch was sent and no answer came; a later run finds out batch=%d", batch_id)
            self.interrupted = True
            return False
        with self._desk.store.transaction() as connection:
            queries.mark_submitted(connection, batch_id, vendor.id)
        _log.info("submitted batch=%d vendor=%s task=%s texts=%d", batch_id, vendor.id, self._task.name, texts)
        return True


def _with_all_claims(batch_id: int | None) -> int:
    if batch_id is None:
        raise _ClaimsLostError
    return batch_id
