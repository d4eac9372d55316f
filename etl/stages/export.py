"""The export stage: writes to a sink every document it lacks, and remembers what the sink acknowledged."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import get_args

from sqlalchemy import Connection

from etl.db.queries import exports
from etl.db.store import Store
from etl.errors import LockedError
from etl.records import PushResult
from etl.sinks.base import AliasSink, IndexName, Sink
from etl.stages.base import Advance, Progress, Tally

_log = logging.getLogger(__name__)

NO_SINK = -1
"""The id of a sink that holds nothing, as far as the database knows."""
_LOCK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class PreparedSink:
    """A sink whose indices are there, with the identity of each and the id it has in the database.

    One that was only looked at (`look_at_sink`) lacks the identities of indices that are not there.
    """

    sink: Sink
    identities: Mapping[IndexName, str]
    ids: Mapping[IndexName, int]


def prepare_sink(store: Store, sink: Sink) -> PreparedSink:
    """Makes sure that the sink's indices are there, and known to the database.

    Raises:
        ConfigurationError, UnavailableError: as `Sink.prepare`.
    """
    identities = sink.prepare()
    ids: dict[IndexName, int] = {}
    with store.transaction() as connection:
        for index, identity in identities.items():
            before = exports.select_current_identity(connection, identity)
            if isinstance(sink, AliasSink) and before not in {None, identity}:
                _log.warning("another index than before is sent all that it lacks now=%s before=%s", identity, before)
            ids[index] = exports.resolve_sink(connection, identity)
    return PreparedSink(sink, identities, ids)


def claim_sink(store: Store, sink: Sink, seconds: float = _LOCK_SECONDS) -> PreparedSink:
    """As `prepare_sink`, and keeps other runs from exporting to it until the store is closed.

    Raises:
        ConfigurationError, UnavailableError: as `Sink.prepare`.
        LockedError: another run has been exporting to the same sink for so many seconds.
    """
    prepared = prepare_sink(store, sink)
    while True:
        wait_for_lock(store, prepared.identities["classifications"], seconds)
        # Another index may have taken an alias before the lock was ours: what is held would be written to the new one
        # and remembered of the old one.
        if not isinstance(sink, AliasSink) or sink.prepare() == prepared.identities:
            return prepared
        prepared = prepare_sink(store, sink)


def look_at_sink(store: Store, sink: Sink) -> PreparedSink:
    """The sink as it is: nothing is made, there or in the database. The id of what is not known there is `NO_SINK`.

    Raises:
        ConfigurationError, UnavailableError: as `Sink.identities`.
    """
    identities = sink.identities()
    ids: dict[IndexName, int] = {}
    with store.transaction() as connection:
        for index in get_args(IndexName):
            known = exports.select_sink(connection, identities[index]) if index in identities else None
            ids[index] = NO_SINK if known is None else known
    return PreparedSink(sink, identities, ids)


def export_stage(store: Store, prepared: PreparedSink, run_id: int, tally: Tally, progress: Progress) -> None:
    """Writes every document that the sink lacks, whichever run or repository it came from.

    The caller has claimed the sink. The daily documents are sent first: a run that is killed in between leaves the
    others pending, and so the next one looks at the daily counts again.

    Raises:
        UnavailableError: the sink kept failing; what it acknowledged is remembered, the rest goes with the next run.
    """
    # What the first statement sees is what will be sent, and the daily counts are computed after it: an item that
    # another run changes in between stays pending, and with it the need to count again.
    with store.reading() as reader:
        items_pending = exports.count_pending_documents(reader, "classifications", prepared.ids["classifications"])
        with store.transaction() as connection:
            _refresh_daily_counts(connection, items_pending)
            days_pending = exports.count_pending_documents(connection, "daily", prepared.ids["daily"])
        if days_pending:
            with store.reading() as days_reader, progress.stage("export daily", days_pending) as advance:
                count_pushed(pushed(store, days_reader, prepared, "daily", run_id), tally, advance)
        if items_pending:
            with progress.stage("export classifications", items_pending) as advance:
                count_pushed(pushed(store, reader, prepared, "classifications", run_id), tally, advance)


def export_runs(store: Store, prepared: PreparedSink, run_id: int) -> None:
    """Writes the records of ended runs, then makes everything visible: a run's one refresh.

    The caller has claimed the sink. Written beside a rebuild, a record could reach the old index after the new one got
    its last, and searches would miss it after the switch; or reach the new one and be believed of the old.

    Raises:
        UnavailableError: the sink kept failing; the records go with the next run.
    """
    with store.reading() as reader:
        for _ in pushed(store, reader, prepared, "runs", run_id):
            pass
    prepared.sink.refresh()


def count_waiting_documents(store: Store, prefix: str | None, *, refresh: bool) -> int:
    """How many documents the sink with this index prefix lacks, by what is known of it; nobody is asked.

    prefix: None where there is no sink: then every document waits. refresh: whether something changed since this was
    last asked, so that the daily counts must be computed again.
    """
    with store.transaction() as connection:
        sink_ids = exports.select_newest_sinks(connection, prefix) if prefix is not None else {}
        items_pending = exports.count_pending_documents(connection, "classifications", sink_ids.get("classifications"))
        if refresh:
            _refresh_daily_counts(connection, items_pending)
        return items_pending + exports.count_pending_documents(connection, "daily", sink_ids.get("daily"))


def _refresh_daily_counts(connection: Connection, items_pending: int) -> None:
    """Brings the daily counts up to date: they can differ only where a document is pending or a UTC day has begun."""
    if items_pending or exports.day_has_begun(connection):
        exports.refresh_daily_counts(connection)


def wait_for_lock(store: Store, identity: str, seconds: float = _LOCK_SECONDS) -> None:
    """Waits until no other run exports to the sink whose index has this identity.

    Raises:
        LockedError: another run has been exporting to it for that long.
    """
    end = monotonic() + seconds
    while not store.try_lock(f"export {identity}"):
        if monotonic() > end:
            raise LockedError("another run is exporting to the same index; its or the next run's export has the rest")
        sleep(0.5)


def pushed(
    store: Store, reader: Connection, prepared: PreparedSink, index: IndexName, run_id: int
) -> Iterator[Sequence[PushResult]]:
    """Pushes what the sink lacks by what `reader` sees; each chunk is remembered once the sink acknowledged it."""
    sink_id = prepared.ids[index]
    for results in prepared.sink.push(index, exports.stream_pending_documents(reader, index, sink_id)):
        with store.transaction() as connection:
            exports.insert_push_results(connection, sink_id, results, run_id)
        yield results


def count_pushed(chunks: Iterator[Sequence[PushResult]], tally: Tally, advance: Advance) -> int:
    """Counts what is written and what is refused, as it comes; gives how many were written."""
    written = refused = 0
    for results in chunks:
        for result in results:
            if result.status == "written":
                written += 1
                tally.counts["documents_written"] += 1
            elif result.status == "rejected":
                refused += 1
                tally.counts["dead_letters"] += 1
                tally.note(f"dead letter {result.document.id}: {result.reason}")
        advance(len(results), written=written, dead_letters=refused)
    return written
