"""The rebuild stage: new indices beside those that searches see, filled from PostgreSQL, then one switch of the alias.

While it fills, searches and exports go on with the old index. What changes meanwhile is sent to the new one in rounds,
until little is left; the last round and the switch happen while no run exports, so nothing that searches have seen is
missing afterwards. What the new index holds is known in `exports` under its own identity: a rebuild that was killed
goes on where it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from etl.db.queries import exports, verification
from etl.db.store import Store
from etl.errors import ConfigurationError, LockedError, UnavailableError
from etl.sinks.base import AliasSink, IndexName, IndexStanding, LiveIndex
from etl.stages.base import Progress, Rebuilt, Tally
from etl.stages.export import PreparedSink, count_pushed, pushed, wait_for_lock

_FEW = 2_000
"""So many documents that changed during a round may be left to the last one, which keeps exports waiting."""
_MOST_ROUNDS = 20
"""Enough for any writer that is slower than an index; where changes outrun it, the last round is a long one."""
_LAST_ROUNDS = 3
_LOCK_SECONDS = 900.0
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """What is rebuilt.

    names: of the indices; empty: those that are not there, that this release cannot write, or whose rebuild was begun.
    drop_old: what was replaced is deleted at once. leave_out_refused: the switch is made although the new index refuses
    documents that the old one holds.
    """

    names: tuple[IndexName, ...] = ()
    drop_old: bool = False
    leave_out_refused: bool = False


@dataclass(slots=True)
class _Filling:
    """One index under way: how it stood when it began, what takes its place, and the number of that in the database."""

    standing: IndexStanding
    target: LiveIndex
    prepared: PreparedSink
    rounds: int = 0

    @property
    def name(self) -> IndexName:
        return self.standing.name

    @property
    def sink_id(self) -> int:
        return self.prepared.ids[self.name]


def rebuild_stage(
    store: Store, sink: AliasSink, plan: RebuildPlan, run_id: int, tally: Tally, progress: Progress
) -> None:
    """Rebuilds what `plan` names; what came of each is entered in `tally.rebuilt` once its alias is switched.

    Raises:
        ConfigurationError: an alias that is an index; a new index refuses what the old one holds.
        LockedError: another rebuild is under way, or an export lasted a quarter of an hour.
        UnavailableError: the server kept failing; the next rebuild goes on from here.
    """
    chosen = claim_standings(store, sink, [each for each in sink.survey() if _is_wanted(store, plan, each)])
    rebuild = _Rebuild(store, sink, plan, run_id, tally, progress)
    filled = [rebuild.fill(standing) for standing in chosen if _is_wanted(store, plan, standing)]
    if filled:
        _wait_for_exports(store, sink)
    for filling in filled:
        rebuild.finish(filling)


def _is_wanted(store: Store, plan: RebuildPlan, standing: IndexStanding) -> bool:
    """Whether the plan names it, or names none and it is not there, cannot be written, or is being replaced.

    What was to replace it may have been deleted by hand since: whoever was filling that was told to run again.
    """
    if plan.names:
        return standing.name in plan.names
    if standing.next is not None or standing.current is None or not standing.current.fits:
        return True
    with store.transaction() as connection:
        return exports.is_one_gone_unfinished(connection, standing.key, [each.identity for each in standing.there])


def claim_standings(store: Store, sink: AliasSink, standings: Sequence[IndexStanding]) -> list[IndexStanding]:
    """The indices as they stand now that nobody else rebuilds, switches or drops them, until the store is closed.

    Raises:
        ConfigurationError, UnavailableError: as `AliasSink.survey`.
        LockedError: another process does so right now.
    """
    for standing in standings:
        if not store.try_lock(f"rebuild {standing.key}"):
            raise LockedError(f"another `issuetide index` works on {standing.alias} right now; wait for its end")
    names = {standing.name for standing in standings}
    # Another rebuild may have ended right before the lock was ours.
    return [each for each in sink.survey() if each.name in names] if names else []


def _wait_for_exports(store: Store, sink: AliasSink) -> None:
    """Waits until no run exports to what the aliases point to; none does then until the store is closed.

    Runs lock the index of classifications. So the one that is to take its place is locked as well: once it has the
    alias, a run would write to the other indices while theirs are still to be switched.
    """
    locked: list[str] = []
    while True:
        (standing,) = (each for each in sink.survey() if each.name == "classifications")
        identities = [each.identity for each in (standing.current, standing.next) if each is not None]
        missing = [identity for identity in identities if identity not in locked]
        # Another index may have taken the alias meanwhile, and runs have another lock then.
        if not missing:
            return
        for identity in missing:
            wait_for_lock(store, identity, _LOCK_SECONDS)
        locked += missing


@dataclass(frozen=True, slots=True)
class _Rebuild:
    """What the parts of one rebuild share."""

    store: Store
    sink: AliasSink
    plan: RebuildPlan
    run_id: int
    tally: Tally
    progress: Progress

    def fill(self, standing: IndexStanding) -> _Filling:
        """Makes the new index, or takes the one that was begun, and sends all documents but the last few changes."""
        target = self.sink.begin_next(standing.name)
        with self.store.transaction() as connection:
            sink_id = exports.resolve_sink(connection, target.identity, is_current=False)
            exports.delete_dead_letters(connection, sink_id)
            others = [each.identity for each in standing.there if each is not standing.next]
            exports.delete_unfinished(connection, standing.key, [*others, target.identity])
        prepared = PreparedSink(self.sink.next_sink(), {standing.name: target.identity}, {standing.name: sink_id})
        filling = _Filling(standing, target, prepared)
        for _ in range(_MOST_ROUNDS):
            if self._send_round(filling) <= _FEW:
                break
        return filling

    def finish(self, filling: _Filling) -> None:
        """While no run exports: sends the last changes, makes sure that nothing is missing, switches the alias."""
        standing, target = filling.standing, filling.target
        for _ in range(_LAST_ROUNDS):
            if not self._send_round(filling):
                break
        documents = self._checked_count(filling)
        self._check_refused(filling)
        with self.progress.stage(f"switch {standing.alias} to {target.index}"):
            self.sink.switch(standing, target)
        with self.store.transaction() as connection:
            exports.resolve_sink(connection, target.identity)
        old = standing.current.index if standing.current is not None else None
        done = Rebuilt(standing.name, standing.alias, old, target.index, documents, filling.rounds)
        self.tally.rebuilt.append(done)
        if self.plan.drop_old:
            after = next(each for each in self.sink.survey() if each.name == standing.name)
            dropped = drop_kept(self.store, self.sink, after)
            self.tally.rebuilt[-1] = replace(done, dropped=tuple(dropped))

    def _send_round(self, filling: _Filling) -> int:
        """Sends what the new index lacks by now; gives how many documents that were."""
        name = filling.name
        if name == "daily":
            with self.store.transaction() as connection:
                exports.refresh_daily_counts(connection)
        with self.store.reading() as reader:
            pending = exports.count_pending_documents(reader, name, filling.sink_id)
            if not pending:
                return 0
            filling.rounds += 1
            if name == "classifications":
                # A change that the new index is sent now is not pending after the switch, and so the next export would
                # not look at the daily counts: as in `export_stage` they are computed after what is sent was chosen.
                with self.store.transaction() as connection:
                    exports.refresh_daily_counts(connection)
            with self.progress.stage(f"fill {filling.target.index}", pending) as advance:
                chunks = pushed(self.store, reader, filling.prepared, name, self.run_id)
                count_pushed(chunks, self.tally, advance)
        return pending

    def _checked_count(self, filling: _Filling) -> int:
        """How many documents the new index holds: as many as it acknowledged, or else it is put right once.

        Raises:
            UnavailableError: it still holds another number.
        """
        held, believed = self._counts(filling)
        if held != believed:
            self._correct(filling)
            self._send_round(filling)
            held, believed = self._counts(filling)
        if held != believed:
            raise UnavailableError(
                f"{filling.target.index} holds {held:,} documents instead of {believed:,}: somebody else writes to it;"
                f" {filling.standing.alias} was not switched; rebuild again in a minute"
            )
        return held

    def _counts(self, filling: _Filling) -> tuple[int, int]:
        held = self.sink.count_next(filling.name)
        with self.store.transaction() as connection:
            return held, exports.count_exported(connection, filling.sink_id)

    def _correct(self, filling: _Filling) -> None:
        """Makes what is believed of the new index what it holds, so that the next round sends or deletes the rest."""
        with self.store.transaction() as connection:
            verification.fill_held(connection, filling.prepared.sink.held(filling.name))
            verification.believe_held(connection, filling.sink_id)

    def _check_refused(self, filling: _Filling) -> None:
        """Raises ConfigurationError where searches would lose documents by the switch."""
        current = filling.standing.current
        if current is None or self.plan.leave_out_refused:
            return
        with self.store.transaction() as connection:
            known = exports.select_sinks_met(connection, [current.identity])
            lost = exports.select_lost(connection, known[current.identity][0], filling.sink_id) if known else []
        if lost:
            shown = "; ".join(f"{document}: {reason}" for document, reason in lost[:_SHOWN])
            raise ConfigurationError(
                f"{filling.target.index} refuses {len(lost):,} documents that {current.index} holds ({shown});"
                f" {filling.standing.alias} was not switched; mend the cause and rebuild again, or leave them out with"
                " --leave-out-refused"
            )


def drop_kept(store: Store, sink: AliasSink, standing: IndexStanding, names: Sequence[str] | None = None) -> list[str]:
    """Deletes the indices that are kept of one alias, or those of `names`; forgets what was known of all that are gone.

    The caller has claimed the standing. An index that is being filled goes only where it is named.

    Raises:
        ConfigurationError: an alias points to one of them.
        UnavailableError: no answer within the retries.
    """
    wanted = [each for each in standing.there if (each in standing.kept if names is None else each.index in names)]
    for target in wanted:
        sink.drop(standing, target)
    with store.transaction() as connection:
        exports.delete_sinks(connection, standing.key, [each.identity for each in standing.there if each not in wanted])
    return [each.index for each in wanted]


def switch_back(store: Store, sink: AliasSink, standing: IndexStanding) -> tuple[str, str]:
    """Gives the alias back to the index that it pointed to before; gives the names of what it left and of that.

    What changed since is known to be missing there, and goes with the next export. The caller has claimed the standing.

    Raises:
        ConfigurationError: none is kept, or the alias points to nothing.
        LockedError: a run has been exporting for a quarter of an hour.
        UnavailableError: no answer within the retries.
    """
    if standing.current is None:
        raise ConfigurationError(f"{standing.alias} points to nothing; `issuetide export` makes and fills its index")
    if not standing.kept:
        raise ConfigurationError(f"nothing is kept that {standing.alias} could point to; `issuetide index status`")
    with store.transaction() as connection:
        met = exports.select_sinks_met(connection, [each.identity for each in standing.kept])
    times = {each.identity: met[each.identity][1] for each in standing.kept if each.identity in met}
    used = [(time, each.index, each) for each in standing.kept if (time := times.get(each.identity)) is not None]
    if not used:
        names = ", ".join(each.index for each in standing.kept)
        raise ConfigurationError(f"PostgreSQL knows nothing of {names}; use `issuetide index rebuild`")
    target = max(used)[2]
    _wait_for_exports(store, sink)
    sink.switch(standing, target)
    with store.transaction() as connection:
        exports.resolve_sink(connection, target.identity)
    return standing.current.index, target.index
