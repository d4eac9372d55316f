"""The export stage: writes to a sink every document it lacks, and remembers what the sink acknowledged."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, sleep
from typing import get_args

from etl.db.queries import exports
from etl.db.store import Store
from etl.errors import LockedError
from etl.records import PushResult
from etl.sinks.base import IndexName, Sink
from etl.stages.base import Progress, Tally

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
    with store.transaction() as connection:
        ids = {index: exports.resolve_sink(connection, identity) for index, identity in identities.items()}
    return PreparedSink(sink, identities, ids)


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

    Raises:
        LockedError: another run has been exporting to the same sink for a minute.
        UnavailableError: the sink kept failing; what it acknowledged is remembered, the rest goes with the next run.
    """
    wait_for_lock(store, prepared.identities["classifications"])
    totals = _count_pending(store, {str(index): number for index, number in prepared.ids.items()}, refresh=True)
    for index, total in totals.items():
        if total:
            written, refused_before = 0, tally.counts["dead_letters"]
            with progress.stage(f"export {index}", total) as advance:
                for results in _pushed(store, prepared, index, run_id):
                    written += _count_pushed(results, tally)
                    refused = tally.counts["dead_letters"] - refused_before
                    advance(len(results), written=written, dead_letters=refused)


def export_runs(store: Store, prepared: PreparedSink, run_id: int) -> None:
    """Writes the records of ended runs, then makes everything visible: a run's one refresh.

    Raises:
        UnavailableError: the sink kept failing; the records go with the next run.
    """
    for _ in _pushed(store, prepared, "runs", run_id):
        pass
    prepared.sink.refresh()


def count_waiting_documents(store: Store, prefix: str | None, *, refresh: bool) -> int:
    """How many documents the sink with this index prefix lacks, by what is known of it; nobody is asked.

    prefix: None where there is no sink: then every document waits. refresh: whether something changed since this was
    last asked, so that the daily counts must be computed again.
    """
    with store.transaction() as connection:
        sink_ids = exports.select_newest_sinks(connection, prefix) if prefix is not None else {}
    return sum(_count_pending(store, sink_ids, refresh=refresh).values())


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


def wait_for_lock(store: Store, identity: str) -> None:
    """Waits until no other run exports to the sink whose index has this identity.

    Raises:
        LockedError: another run has been exporting to it for a minute.
    """
    end = monotonic() + _LOCK_SECONDS
    while not store.try_lock(f"export {identity}"):
        if monotonic() > end:
            raise LockedError("another run is exporting to the same index; its or the next run's export has the rest")
        sleep(0.5)


def _pushed(store: Store, prepared: PreparedSink, index: IndexName, run_id: int) -> Iterator[Sequence[PushResult]]:
    """Pushes what the sink lacks; each chunk is remembered as soon as the sink acknowledged it."""
    sink_id = prepared.ids[index]
    with store.reading() as reader:
        for results in prepared.sink.push(index, exports.stream_pending_documents(reader, index, sink_id)):
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
