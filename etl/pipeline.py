"""A run: the stages in their order, its record, its locks, and what its end is called.

`run` may be killed at any line. Every stage asks the database what is left to do, so the next run finishes the work;
only requests that were in flight can be paid twice.
"""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from time import monotonic

from etl import errors
from etl.classifiers.base import Classifier
from etl.db.migrate import check_schema
from etl.db.queries import classifications as class_queries
from etl.db.queries import items as item_queries
from etl.db.queries import runs as run_queries
from etl.db.queries.classifications import PendingScope, Renewal
from etl.db.store import Store
from etl.interrupts import interrupts
from etl.records import Scope
from etl.sinks.base import AliasSink, Sink
from etl.sources.base import Mirror, Source
from etl.stages.base import Progress, Tally
from etl.stages.batches import Batching, Desk, collect_stage, count_in_batches
from etl.stages.cascade import Cascade, Cascading, cascade_stage
from etl.stages.classify import Asking, classify_stage, count_waiting_texts, estimate_stage, register_tasks
from etl.stages.estimate import Estimate, estimate_costs
from etl.stages.export import PreparedSink, claim_sink, count_waiting_documents, export_runs, export_stage
from etl.stages.fetch import Fetched, fetch_stage
from etl.stages.fingerprint import fingerprint_stage
from etl.stages.golden import GoldenPlan, golden_stage
from etl.stages.model_guard import guard_model
from etl.stages.near import near_stage
from etl.stages.rebuild import RebuildPlan, rebuild_stage
from etl.stages.renew import check_is_newest, with_run
from etl.stages.replay import Parse, replay_stage
from etl.stages.spending import Caps, opened_purse
from etl.stages.statistics import update_statistics
from etl.stages.sweep import SweepPlan, sweep_stage
from etl.stages.trials import Trial, TrialPlan, trial_stage
from etl.stages.verification import Verification
from etl.stages.verify import VerifyPlan, verify_stage
from etl.tasks import Task

_log = logging.getLogger(__name__)

_STATUS: dict[type[errors.IssuetideError], str] = {
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
    """One thing to read: a source, and what of it. A failure of one leaves the others going on.

    mirror: the source once more where it can be asked about single items, which a sweep needs.
    """

    source: Source
    scope: Scope
    mirror: Mirror | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to do.

    command: how the user called it, for the run's record. fetches: empty means work on what is stored.
    classifier, sink: None leaves the stage out. repositories, labels: what classify is limited to (empty: what the
    fetches read; without fetches everything stored).
    sweep: how much of what is stored is read again after the fetch; None: nothing.
    replay: how kept objects that could not be used are read again, before the fetches; None: they are not.
    verify: what is compared, and mended, instead of all the stages; the fetches then say whose locks are taken.
    rebuild: which indices of the sink are made anew, instead of all the stages.
    renewal: which answers classify gives anew, instead of asking about what has none. trial: two ways of answering that
    are compared, instead of all the stages. golden: a golden set whose texts a classifier is asked about, likewise.
    index_prefix: of the index that documents wait for where there is no sink; None: for one that has none yet.
    near: whether texts that are nearly the same are looked for. inherit_audit: the share of texts that are asked about
    although they could inherit an answer; None: nobody inherits.
    cascade: how trained models answer before Claude is asked; None: they do not.
    batching: how Claude's batches are used; None: not at all. only_collect: nothing is asked, batches are collected.
    max_items: cap on texts asked. caps: on dollars. estimate: instead of asking anyone, say what that would cost (in a
    dry run). deadline: a `time.monotonic()` value by which the run should end.
    """

    command: str
    fetches: Sequence[Fetch] = ()
    tasks: Sequence[Task] = ()
    classifier: Classifier | None = None
    sink: Sink | None = None
    repositories: Sequence[str] = ()
    labels: Sequence[str] = ()
    sweep: SweepPlan | None = None
    replay: Parse | None = None
    verify: VerifyPlan | None = None
    rebuild: RebuildPlan | None = None
    renewal: Renewal | None = None
    trial: TrialPlan | None = None
    golden: GoldenPlan | None = None
    index_prefix: str | None = None
    near: bool = False
    inherit_audit: float | None = None
    cascade: Cascade | None = None
    batching: Batching | None = None
    only_collect: bool = False
    max_items: int | None = None
    caps: Caps = field(default_factory=Caps)
    estimate: bool = False
    deadline: float = float("inf")


@dataclass(slots=True)
class RunOutcome:
    """How a run ended: its status and exit code, what it counted, what it could not do and why.

    is_recorded: whether its record stays; that of a dry run goes with everything else.
    verification: what a run that compares with GitHub found. trial: what one that compares ways of answering did.
    """

    run_id: int
    status: str = "failed"
    exit_code: int = errors.EXIT_FAILED
    tally: Tally = field(default_factory=Tally)
    error: str | None = None
    seconds: float = 0.0
    is_recorded: bool = True
    verification: Verification | None = None
    trial: Trial | None = None
    estimate: Estimate | None = None


@dataclass(slots=True)
class _Run:
    """A run under way: what its parts share.

    stops: why stages stopped. prepared: the sink once it is prepared. sink_fails: it stopped while it was written to.
    """

    store: Store
    plan: Plan
    progress: Progress
    outcome: RunOutcome
    stops: list[errors.StopError] = field(default_factory=list)
    prepared: PreparedSink | None = None
    sink_fails: bool = False


def run(store: Store, plan: Plan, progress: Progress) -> RunOutcome:
    """Does the stages of `plan` in order: fetch, fingerprint, classify, near, export.

    A stage that must stop (a limit, an outage, a cap) leaves the later stages to work on what is stored; the gravest
    reason decides the status and the exit code.

    Raises:
        ConfigurationError: the schema is outdated; nothing was done.
        UnavailableError: the database is out of reach.
    """
    with store.transaction() as connection:
        check_schema(connection)
    started = monotonic()
    with interrupts.put_off():  # a record that is there is closed
        current = _Run(store, plan, progress, RunOutcome(_open_run(store, plan), is_recorded=not store.dry_run))
        closed = False
        try:
            with interrupts.let_in():
                _do_stages(current)
        finally:
            current.outcome.seconds = monotonic() - started
            _settle(current.outcome, current.stops, sys.exception())
            closed = _close_run(store, plan, current.outcome)
    if closed and not store.dry_run and not current.sink_fails:
        _export_runs(current)
    return current.outcome


def record_failure(store: Store, plan: Plan, stop: errors.StopError) -> None:
    """Writes the record of a run that could not begin, because a setting or a key of it cannot be used.

    Raises:
        ConfigurationError, UnavailableError: as `run`.
    """
    with store.transaction() as connection:
        check_schema(connection)
    with interrupts.put_off():
        outcome = RunOutcome(_open_run(store, plan))
        _settle(outcome, [stop], None)
        _close_run(store, plan, outcome)


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


def _do_stages(current: _Run) -> None:
    store, plan, tally = current.store, current.plan, current.outcome.tally
    if _does_one_thing(current):
        return
    try:
        if plan.renewal is not None:
            check_is_newest(store, plan.tasks)
        _take_fetch_locks(store, plan)
        register_tasks(store, plan.tasks)
    except errors.StopError as stop:
        current.stops.append(stop)
        return
    if plan.verify is not None:
        with _collected(current.stops):
            current.outcome.verification = verify_stage(
                store, plan.verify, current.outcome.run_id, tally, current.progress, current.stops
            )
        return
    if plan.replay is not None:
        with _collected(current.stops):
            replay_stage(store, plan.replay, plan.repositories, tally, current.progress)
    _fetch_all(current)
    with _collected(current.stops):
        chosen = _track(current)
        fingerprint_stage(store, tally, current.progress)
        update_statistics(store, tally)
        if plan.classifier is not None:
            _classify(current, plan.classifier, _scope_of(current, plan.classifier, chosen))
        if plan.near:
            with _collected(current.stops):
                near_stage(store, tally, current.progress)
        if plan.sink is not None and not store.dry_run:
            _export(current, plan.sink)
        elif plan.sink is not None or plan.tasks:
            # A fetch alone leaves it to the next export: counting takes as long as reading 200 changed issues.
            _count_waiting_documents(current)


def _does_one_thing(current: _Run) -> bool:
    """Whether the run is one of those that do one thing instead of all the stages; it is done then."""
    store, plan, tally = current.store, current.plan, current.outcome.tally
    if plan.trial is not None:
        with _collected(current.stops):
            _compare(current, plan.trial)
    elif plan.golden is not None:
        with _collected(current.stops):
            _ask_golden(current, plan.golden)
    elif plan.rebuild is not None:
        with _collected(current.stops):
            _rebuild(current, plan.rebuild)
    elif plan.only_collect and plan.batching is not None:
        _collect_batches(current, plan.batching)
        tally.in_batches.update(count_in_batches(store))
    else:
        return False
    return True


def _scope_of(current: _Run, classifier: Classifier, repository_keys: Sequence[int] | None) -> PendingScope:
    """Which texts the run asks about."""
    plan = current.plan
    renewal = None if plan.renewal is None else with_run(plan.renewal, current.outcome.run_id)
    return PendingScope(classifier.name, repository_keys, plan.labels, renewal)


def _ask_golden(current: _Run, golden: GoldenPlan) -> None:
    """Asks about a golden set. Its answers are in no ledger, so the run's record has their dollars from each one on."""
    store, plan, outcome = current.store, current.plan, current.outcome

    def charged() -> None:
        with store.transaction() as connection:
            counters = {**outcome.tally.counts, "cost_usd": outcome.tally.cost_usd}
            run_queries.update_run(connection, outcome.run_id, counters, outcome.tally.model)

    with opened_purse(store, plan.caps, outcome.run_id, golden.classifier):
        golden_stage(golden, outcome.tally, current.progress, dry_run=store.dry_run, charged=charged)


def _compare(current: _Run, trial: TrialPlan) -> None:
    """Compares two ways of answering; what is asked for it is charged like everything else."""
    store, plan, outcome = current.store, current.plan, current.outcome
    keys = keys_of_named(store, plan.repositories) if plan.repositories else None
    asked = [side.classifier for side in (trial.first, trial.second) if side.classifier is not None]
    with opened_purse(store, plan.caps, outcome.run_id, *asked):
        outcome.trial = trial_stage(store, trial, keys, outcome.run_id, outcome.tally, current.progress, current.stops)


def _fetch_all(current: _Run) -> None:
    """Fetches everything, then sweeps: what changed comes first where calls or time do not suffice for both."""
    store, plan, tally, progress = current.store, current.plan, current.outcome.tally, current.progress
    read: list[tuple[Mirror, Scope, list[Fetched]]] = []
    for fetch in plan.fetches:
        with _collected(current.stops):
            is_live = fetch.mirror is not None
            found = fetch_stage(store, fetch.source, fetch.scope, tally, progress, is_live=is_live)
            if fetch.mirror is not None and fetch.scope.limit is None:
                read.append((fetch.mirror, fetch.scope, found))
    if plan.sweep is not None:
        for mirror, scope, repositories in read:
            with _collected(current.stops):
                sweep_stage(store, mirror, scope, repositories, plan.sweep, tally, progress)


def _classify(current: _Run, classifier: Classifier, scope: PendingScope) -> None:
    store, plan, tally = current.store, current.plan, current.outcome.tally
    asking = Asking(classifier, scope, plan.max_items, plan.deadline, plan.inherit_audit, plan.batching)
    if store.dry_run:
        _cascade(current, classifier, scope)
    if plan.estimate:
        current.outcome.estimate = estimate_costs(store, plan.tasks, asking, current.progress)
    elif store.dry_run and classifier.paid:
        estimate_stage(store, plan.tasks, asking, current.outcome.run_id, tally, current.progress)
    else:
        with (
            _collected(current.stops),
            opened_purse(store, plan.caps, current.outcome.run_id, classifier) as purse,
        ):
            if plan.batching is not None:
                plan.batching.batches.charge_to(purse)
                _collect_batches(current, plan.batching)
            guard_model(store, plan.tasks, classifier, scope, tally)
            asking = replace(asking, purse=purse)
            _cascade(current, classifier, scope)
            classify_stage(store, plan.tasks, asking, current.outcome.run_id, tally, current.progress)
        if current.stops or tally.counts["texts_failed"]:
            tally.waiting_texts.update(count_waiting_texts(store, plan.tasks, scope))
    if plan.batching is not None:
        tally.in_batches.update(count_in_batches(store))
    if not store.dry_run:
        for task in plan.tasks:
            in_batches = tally.in_batches.get(task.name, {}).get("texts", 0)
            tally.unanswered[task.name] = tally.waiting_texts.get(task.name, 0) + in_batches, in_batches
    update_statistics(store, tally)


def _cascade(current: _Run, classifier: Classifier, scope: PendingScope) -> None:
    """Lets trained models answer what they are sure of, so that less is left for Claude; no renewed answers."""
    plan, outcome = current.plan, current.outcome
    if plan.cascade is not None and plan.renewal is None:
        at = Cascading(current.store, plan.cascade, classifier, outcome.run_id, outcome.tally, plan.deadline)
        cascade_stage(at, plan.tasks, scope, current.progress)


def _collect_batches(current: _Run, batching: Batching) -> None:
    """Stores what batches have brought since the last run; what keeps it from doing so keeps nothing else."""
    desk = Desk(current.store, batching.batches, current.outcome.run_id, current.outcome.tally)
    with _collected(current.stops):
        collect_stage(desk, current.progress)


def _count_waiting_documents(current: _Run) -> None:
    plan, tally = current.plan, current.outcome.tally
    changed = any(tally.counts[name] for name in ("items_new", "items_changed", "texts_new", "texts_asked"))
    prefix = plan.sink.prefix if plan.sink is not None else plan.index_prefix
    tally.waiting_documents = count_waiting_documents(current.store, prefix, refresh=changed)


def _export(current: _Run, sink: Sink) -> None:
    tally = current.outcome.tally
    try:
        current.prepared = claim_sink(current.store, sink)
        export_stage(current.store, current.prepared, current.outcome.run_id, tally, current.progress)
    except errors.LockedError:
        raise
    except errors.StopError:
        current.sink_fails = True  # the record of this run need not wait for it once more
        with suppress(errors.StopError):
            tally.waiting_documents = count_waiting_documents(current.store, sink.prefix, refresh=False)
        raise
    tally.waiting_documents = 0
    update_statistics(current.store, tally)


def _rebuild(current: _Run, plan: RebuildPlan) -> None:
    sink = current.plan.sink
    if not isinstance(sink, AliasSink):
        raise errors.ConfigurationError("this sink has no indices behind aliases, so there is nothing to rebuild")
    try:
        rebuild_stage(current.store, sink, plan, current.outcome.run_id, current.outcome.tally, current.progress)
    except errors.UnavailableError:
        current.sink_fails = True
        raise
    update_statistics(current.store, current.outcome.tally)


def _export_runs(current: _Run) -> None:
    """Exports the records of ended runs, this one's included; a failure, or another export, leaves it to the next run.

    A rebuild that rebuilt nothing writes nothing.
    """
    plan, sink = current.plan, current.plan.sink
    if sink is None or (plan.rebuild is not None and not current.outcome.tally.rebuilt):
        return
    try:
        prepared = current.prepared or claim_sink(current.store, sink, seconds=0)
        export_runs(current.store, prepared, current.outcome.run_id)
    except errors.LockedError:
        _log.info("the runs' records wait for the next export: another one is under way")
    except errors.StopError as stop:
        _log.warning("the runs' records wait for the next export reason=%s", stop)


@contextmanager
def _collected(stops: list[errors.StopError]) -> Iterator[None]:
    """Keeps the reason for which the block stopped, so that what comes after it can still be done.

    Raises:
        KeyboardInterrupt: it stopped for an interruption.
    """
    try:
        yield
    except errors.StopError as stop:
        interrupts.check()
        _log.debug("stage stopped reason=%s", stop)  # the run's end says it
        stops.append(stop)


def _track(current: _Run) -> list[int] | None:
    """Enters which tasks are asked of which repositories; gives the keys the run is limited to (None: no limit).

    A run that neither names repositories nor reads any is about all that are stored.

    Raises:
        ConfigurationError: nothing is stored of a repository that was named.
    """
    plan = current.plan
    named = keys_of_named(current.store, plan.repositories, must_be_stored=not plan.fetches)
    with current.store.transaction() as connection:
        keys = sorted(current.outcome.tally.repository_keys | set(named))
        run_queries.update_run_repositories(connection, current.outcome.run_id, keys)
        limit = keys if plan.repositories or plan.fetches else None
        if plan.tasks:
            class_queries.track_tasks(connection, limit, plan.tasks)
    return limit


def keys_of_named(store: Store, names: Sequence[str], *, must_be_stored: bool = True) -> list[int]:
    """The keys of the repositories that the user named.

    Raises:
        ConfigurationError: nothing is stored of one of them, and it must be.
    """
    with store.transaction() as connection:
        named = item_queries.select_repository_keys(connection, names)
    missing = [name for name in names if name.lower() not in named]
    if missing and must_be_stored:
        raise nothing_stored(", ".join(missing))
    return sorted(named.values())


def nothing_stored(what: str) -> errors.ConfigurationError:
    """What to say where a command works on what is stored, and nothing is of `what`."""
    return errors.ConfigurationError(f"nothing is stored of {what}; `issuetide status` lists what is, `run` fetches it")


def _take_fetch_locks(store: Store, plan: Plan) -> None:
    for fetch in plan.fetches:
        for name in fetch.scope.repositories or ("",):
            if not store.try_lock(f"fetch {fetch.source.name} {name.lower()}"):
                raise errors.LockedError(
                    f"another run is fetching {name or fetch.source.name} right now; this one leaves"
                    " (`issuetide status` shows it; nothing needs to be done if it is the hourly run)"
                )


def _settle(outcome: RunOutcome, stops: Sequence[errors.StopError], raised: BaseException | None) -> None:
    """Names the end: by what was raised, else by the gravest stop, else partial where something was left, else ok."""
    if isinstance(raised, Exception):
        outcome.error = f"unexpected {type(raised).__name__}; please report it with the log"
        return
    if raised is not None:
        outcome.status, outcome.error = "interrupted", "the run was interrupted; the next one goes on from here"
        return
    if stops:
        gravest = min(stops, key=_gravity)
        outcome.status = status_of(gravest)
        outcome.exit_code = gravest.exit_code
        outcome.error = "; ".join(dict.fromkeys(str(stop) for stop in stops))
    elif outcome.verification is not None and not outcome.verification.held():
        outcome.status, outcome.exit_code = "partial", errors.EXIT_DIFFERENT
    elif outcome.tally.notes:
        outcome.status, outcome.exit_code = "partial", errors.EXIT_PARTIAL
    else:
        outcome.status, outcome.exit_code = "ok", errors.EXIT_OK


def status_of(error: errors.IssuetideError) -> str:
    """What the end of a command is called that `error` ended."""
    return _STATUS.get(type(error), "failed")


def _gravity(stop: errors.StopError) -> int:
    """The place among the reasons, the gravest first; a stop without a kind comes last."""
    return next((place for place, kind in enumerate(_GRAVEST_FIRST) if isinstance(stop, kind)), len(_GRAVEST_FIRST))


def _close_run(store: Store, plan: Plan, outcome: RunOutcome) -> bool:
    """Completes the run's record; False where the database has gone, and the next run closes it as interrupted."""
    tally = outcome.tally
    for fetch in plan.fetches:
        used = fetch.source.counters()
        tally.counts["api_calls"] += used.get("calls", 0)
        tally.counts["waited_seconds"] += used.get("waited_seconds", 0)
        if "rate_limit_remaining" in used:
            tally.counts["rate_limit_left"] = used["rate_limit_remaining"]
    counters = {**tally.counts, "cost_usd": tally.cost_usd}
    if tally.unanswered:
        counters["texts_waiting"], counters["texts_in_batches"] = map(sum, zip(*tally.unanswered.values(), strict=True))
    if tally.waiting_documents is not None:
        counters["documents_waiting"] = tally.waiting_documents
    notes = [*tally.notes, *tally.remarks]
    try:
        with store.transaction() as connection:
            class_queries.release_claims(connection, outcome.run_id)
            run_queries.update_run(connection, outcome.run_id, counters, tally.model)
            run_queries.close_run(
                connection,
                outcome.run_id,
                status=outcome.status,
                error=outcome.error,
                notes=notes,
                waiting=tally.unanswered,
            )
    except errors.UnavailableError as error:
        _log.debug("the run's record stays open run=%d reason=%s", outcome.run_id, error)
        return False
    return True
