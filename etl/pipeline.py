"""A run: the stages in their order, its record, its locks, and what its end is called.

`run` may be killed at any line. Every stage asks the database what is left to do, so the next run finishes the work;
only requests that were in flight can be paid twice.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

from etl import errors
from etl.classifiers.base import Classifier
from etl.db.migrate import check_schema
from etl.db.queries import classifications as class_queries
from etl.db.queries import items as item_queries
from etl.db.queries import runs as run_queries
from etl.db.store import Store
from etl.records import Scope
from etl.sinks.base import Sink
from etl.sources.base import Source
from etl.stages import (
    Asking,
    Progress,
    Tally,
    classify_stage,
    count_waiting_documents,
    count_waiting_texts,
    estimate_stage,
    export_runs,
    export_stage,
    fetch_stage,
    fingerprint_stage,
    register_stage,
    statistics_stage,
)
from etl.tasks import Task

_log = logging.getLogger(__name__)

_STATUS = {
    errors.BudgetError: "stopped_budget",
    errors.RateLimitError: "stopped_rate_limit",
    errors.LockedError: "locked",
}
_GRAVEST_FIRST = (
    errors.LockedError,
    errors.ConfigurationError,
    errors.UnavailableError,
    errors.RateLimitError,
    errors.BudgetError,
)


@dataclass(frozen=True, slots=True)
class Fetch:
    """One thing to read: a source, and what of it. A failure of one leaves the others going on."""

    source: Source
    scope: Scope


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to do.

    command: how the user called it, for the run's record. fetches: empty means work on what is stored.
    classifier, sink: None leaves the stage out. repositories, labels: what classify is limited to (empty: all).
    max_items: cap on texts asked. deadline: a `time.monotonic()` value by which the run should end.
    """

    command: str
    fetches: Sequence[Fetch] = ()
    tasks: Sequence[Task] = ()
    classifier: Classifier | None = None
    sink: Sink | None = None
    repositories: Sequence[str] = ()
    labels: Sequence[str] = ()
    max_items: int | None = None
    deadline: float = float("inf")


@dataclass(slots=True)
class Outcome:
    """How a run ended: its status and exit code, what it counted, what it could not do and why."""

    run_id: int
    status: str = "failed"
    exit_code: int = errors.EXIT_FAILED
    tally: Tally = field(default_factory=Tally)
    error: str | None = None
    seconds: float = 0.0
    sink_fails: bool = False


def run(store: Store, plan: Plan, progress: Progress) -> Outcome:
    """Does the stages of `plan` in order: fetch, fingerprint, classify, export.

    A stage that must stop (a limit, an outage, a cap) leaves the later stages to work on what is stored; the gravest
    reason decides the status and the exit code.

    Raises:
        ConfigurationError: the schema is outdated; nothing was done.
        UnavailableError: the database is out of reach.
    """
    with store.transaction() as connection:
        check_schema(connection)
    started = monotonic()
    outcome = Outcome(_open_run(store, plan))
    stops: list[errors.StopError] = []
    closed = False
    try:
        _do_stages(store, plan, outcome, stops, progress)
    finally:
        outcome.seconds = monotonic() - started
        _settle(outcome, stops, sys.exception())
        closed = _close_run(store, plan, outcome)
    if plan.sink is not None and closed and not store.dry_run and not outcome.sink_fails:
        export_runs(store, plan.sink, outcome.run_id)
    return outcome


def _open_run(store: Store, plan: Plan) -> int:
    with store.transaction() as connection:
        for run_id in run_queries.close_interrupted_runs(connection):
            _log.warning("closed an interrupted run run=%d", run_id)
    with store.transaction() as connection:
        run_id = run_queries.insert_run(
            connection,
            command=plan.command,
            repositories=plan.repositories,
            tasks=[task.name for task in plan.tasks],
            classifier=plan.classifier.name if plan.classifier else None,
        )
        # Taken before the record is committed: nobody ever sees the record of a living run without its lock.
        store.try_lock(run_queries.run_lock_name(run_id))
    return run_id


def _do_stages(store: Store, plan: Plan, outcome: Outcome, stops: list[errors.StopError], progress: Progress) -> None:
    tally = outcome.tally
    try:
        _take_fetch_locks(store, plan)
        register_stage(store, plan.tasks)
    except errors.StopError as stop:
        stops.append(stop)
        return
    keys: set[int] = set()
    for fetch in plan.fetches:
        with _collected(stops):
            fetch_stage(store, fetch.source, fetch.scope, tally, progress, keys)
    with _collected(stops):
        chosen = _track(store, plan, outcome.run_id, keys)
        fingerprint_stage(store, tally, progress)
        statistics_stage(store, tally)
        if plan.classifier is not None:
            asking = Asking(plan.classifier, chosen, plan.labels, plan.max_items, plan.deadline)
            if store.dry_run and plan.classifier.name != "rules":
                estimate_stage(store, plan.tasks, asking, tally)
            else:
                with _collected(stops):
                    classify_stage(store, plan.tasks, asking, outcome.run_id, tally, progress)
            if stops or tally.counts["texts_failed"]:
                tally.waiting_texts.update(count_waiting_texts(store, plan.tasks, plan.classifier.name, chosen))
            statistics_stage(store, tally)
        if plan.sink is None or store.dry_run:
            changed = any(tally.counts[name] for name in ("items_new", "items_changed", "texts_new", "texts_asked"))
            prefix = plan.sink.prefix if plan.sink is not None else None
            tally.waiting_documents = count_waiting_documents(store, prefix, refresh=changed)
        else:
            _export(store, plan.sink, outcome, progress)
            statistics_stage(store, tally)


def _export(store: Store, sink: Sink, outcome: Outcome, progress: Progress) -> None:
    try:
        export_stage(store, sink, outcome.run_id, outcome.tally, progress)
    except errors.LockedError:
        raise
    except errors.StopError:
        outcome.sink_fails = True  # the record of this run need not wait for it once more
        raise


@contextmanager
def _collected(stops: list[errors.StopError]) -> Iterator[None]:
    """Keeps the reason for which the block stopped, so that what comes after it can still be done."""
    try:
        yield
    except errors.StopError as stop:
        _log.debug("stage stopped reason=%s", stop)  # the run's end says it
        stops.append(stop)


def _track(store: Store, plan: Plan, run_id: int, fetched: set[int]) -> list[int] | None:
    """Enters which tasks are asked of which repositories; gives the keys the run is limited to (None: no limit).

    Raises:
        ConfigurationError: nothing is stored of a repository that was named.
    """
    with store.transaction() as connection:
        named = item_queries.select_repository_keys(connection, plan.repositories)
        keys = sorted(fetched | set(named.values()))
        missing = [name for name in plan.repositories if name.lower() not in named]
        if missing and not plan.fetches:
            raise errors.ConfigurationError(
                f"nothing is stored of {', '.join(missing)}; run without --skip-fetch first"
            )
        run_queries.update_run_repositories(connection, run_id, keys)
        if keys and plan.tasks:
            class_queries.track_tasks(connection, keys, plan.tasks)
    return keys if plan.repositories or plan.fetches else None


def _take_fetch_locks(store: Store, plan: Plan) -> None:
    for fetch in plan.fetches:
        for name in fetch.scope.repositories or ("",):
            if not store.try_lock(f"fetch {fetch.source.name} {name.lower()}"):
                raise errors.LockedError(
                    f"another run is fetching {name or fetch.source.name} right now; this one leaves"
                    " (`issuetide status` shows it; nothing needs to be done if it is the hourly run)"
                )


def _settle(outcome: Outcome, stops: Sequence[errors.StopError], raised: BaseException | None) -> None:
    """Names the end: by what was raised, else by the gravest stop, else partial where something was left, else ok."""
    if isinstance(raised, Exception):
        outcome.error = f"unexpected {type(raised).__name__}; please report it with the log"
        return
    if raised is not None:
        outcome.status, outcome.error = "interrupted", "the run was interrupted; the next one goes on from here"
        return
    if stops:
        gravest = min(stops, key=_gravity)
        outcome.status = _STATUS.get(type(gravest), "failed")
        outcome.exit_code = gravest.exit_code
        outcome.error = "; ".join(dict.fromkeys(str(stop) for stop in stops))
    elif outcome.tally.notes:
        outcome.status, outcome.exit_code = "partial", errors.EXIT_PARTIAL
    else:
        outcome.status, outcome.exit_code = "ok", errors.EXIT_OK


def _gravity(stop: errors.StopError) -> int:
    """The place among the reasons, the gravest first; a stop without a kind comes last."""
    return next((place for place, kind in enumerate(_GRAVEST_FIRST) if isinstance(stop, kind)), len(_GRAVEST_FIRST))


def _close_run(store: Store, plan: Plan, outcome: Outcome) -> bool:
    """Completes the run's record; False where the database has gone, and the next run closes it as interrupted."""
    tally = outcome.tally
    for fetch in plan.fetches:
        tally.counts["api_calls"] += fetch.source.counters().get("calls", 0)
    counters = {**tally.counts, "cost_usd": tally.cost_usd}
    try:
        with store.transaction() as connection:
            class_queries.release_claims(connection, outcome.run_id)
            run_queries.update_run(connection, outcome.run_id, counters, tally.model)
            run_queries.close_run(
                connection, outcome.run_id, status=outcome.status, error=outcome.error, notes=tally.notes
            )
    except errors.UnavailableError as error:
        _log.debug("the run's record stays open run=%d reason=%s", outcome.run_id, error)
        return False
    return True
