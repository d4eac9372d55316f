"""The verify stage: GitHub, PostgreSQL and OpenSearch compared with each other, and mended if that is asked for.

What differs is told apart from what is only behind: what changed after a list was last read, or after the last export,
comes with the next run and is no fault. Mending puts GitHub's state into PostgreSQL and PostgreSQL's into OpenSearch,
never the other way; afterwards all that was mended is compared again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from etl.db.queries import mirror, verification
from etl.db.store import Store
from etl.errors import ConfigurationError, SkipError, StopError
from etl.records import Scope
from etl.sinks.base import IndexName, Sink
from etl.stages.base import Progress, Tally
from etl.stages.compare_github import GitHubComparison, Mirrored
from etl.stages.compare_index import IndexComparison
from etl.stages.export import claim_sink, export_runs, export_stage, look_at_sink, wait_for_lock
from etl.stages.fingerprint import fingerprint_stage
from etl.stages.single_items import SingleItems
from etl.stages.statistics import update_statistics
from etl.stages.verification import Comparison, Verification

_EVERYTHING = (Scope(kinds=("issue", "pull_request")),)


@dataclass(frozen=True, slots=True)
class VerifyPlan:
    """What is to be compared.

    mirrored: the repositories. is_all: these are all that are stored, so that an index should hold nothing else.
    sink: None: documents are not compared, `why_no_sink` says why. fix: whether differences are mended.
    """

    mirrored: Sequence[Mirrored]
    is_all: bool
    sink: Sink | None
    why_no_sink: str = ""
    fix: bool = False


@dataclass(slots=True)
class _Verifier:
    """A verification under way. stops: why parts of it could not be done."""

    store: Store
    plan: VerifyPlan
    run_id: int
    tally: Tally
    progress: Progress
    stops: list[StopError]
    index_compared: bool = False

    def compare(self, before: Sequence[Comparison] = (), *, fix: bool) -> list[Comparison]:
        """Compares everything; of `before`, a comparison that mended nothing at GitHub's side, that side is kept."""
        known = {found.repository.key: found for found in before if found.repository is not None}
        comparisons = []
        for mirrored in self.plan.mirrored:
            comparison = Comparison(mirrored.repository, tuple(map(_in_words, mirrored.scopes)), why=mirrored.why)
            comparisons.append(comparison)
            self._count_items(mirrored, comparison)
            earlier = known.get(mirrored.repository.key)
            if earlier is not None and not earlier.mended:
                comparison.keep_github(earlier)
            elif mirrored.scopes:
                self._compare_github(mirrored, comparison, fix=fix)
        self._compare_stored(comparisons, fix=fix)
        if fix:
            fingerprint_stage(self.store, self.tally, self.progress)
            update_statistics(self.store, self.tally)
        if self.plan.sink is not None:
            rest = Comparison(None)
            self._compare_index(self.plan.sink, comparisons, rest, fix=fix)
            if rest.counts or rest.differences or rest.behind:
                comparisons.append(rest)
        return comparisons

    def _count_items(self, mirrored: Mirrored, comparison: Comparison) -> None:
        with self.store.transaction() as connection:
            key = mirrored.repository.key
            counts = verification.count_items(connection, key, mirrored.scopes or _EVERYTHING)
            comparison.aside.update(verification.count_set_aside(connection, key))
        for kind in ("issue", "pull_request"):
            for state in ("open", "closed"):
                if any(kind in scope.kinds for scope in mirrored.scopes) or (kind, state) in counts:
                    comparison.counted(f"{kind} {state}").postgresql = counts.get((kind, state), (0, 0))[0]
        if any(scope.comments for scope in mirrored.scopes or _EVERYTHING):
            comparison.counted("comments").postgresql = sum(comments for _, comments in counts.values())

    def _compare_github(self, mirrored: Mirrored, comparison: Comparison, *, fix: bool) -> None:
        repository = mirrored.repository
        stored = sum(counted.postgresql or 0 for name, counted in comparison.counts.items() if name != "comments")
        with self.progress.stage(f"compare {repository.full_name}", stored) as advance:
            side = GitHubComparison(self.store, mirrored, comparison, self.tally, advance, fix=fix)
            reach: mirror.Reach = "ok"
            try:
                side.compare()
            except SkipError as error:
                comparison.why, reach = str(error), "issues_disabled"
                self.tally.note(comparison.why)
            except StopError as error:
                comparison.why = str(error)
                self.stops.append(error)
                if not isinstance(error, ConfigurationError) or comparison.github != "nothing":
                    return
                reach = "out_of_reach"
        with self.store.transaction() as connection:
            mirror.update_reach(connection, repository.full_name, reach)

    def _compare_stored(self, comparisons: Sequence[Comparison], *, fix: bool) -> None:
        """PostgreSQL with itself."""
        with self.progress.stage("compare PostgreSQL with itself", len(comparisons)) as advance:
            with self.store.transaction() as connection:
                open_counts = verification.select_open_counts(connection)
            for mirrored, comparison in zip(self.plan.mirrored, comparisons, strict=True):
                key = mirrored.repository.key
                with self.store.transaction() as connection:
                    without = verification.select_without_text(connection, key)
                    histories = verification.select_wrong_histories(connection, key)
                    if fix:
                        verification.queue_items(connection, without)
                for item in without:
                    comparison.add("text", item.kind, item.number)
                for wrong in histories:
                    detail = f"it is {wrong.state}, the last event is `{wrong.last}`"
                    comparison.add("history", wrong.item.kind, wrong.item.number, detail)
                by_day, now = open_counts.get(mirrored.repository.full_name, (0, 0))
                if by_day != now:
                    comparison.add("open_count", "issue", "", f"{by_day:,} by day, {now:,} are open")
                if fix and comparison.github == "all":
                    self._mend_histories(mirrored, histories)
                advance(1)

    def _mend_histories(self, mirrored: Mirrored, histories: Sequence[verification.WrongHistory]) -> None:
        single = SingleItems(self.store, mirrored.repository, mirrored.repository.key, self.tally)
        for wrong in histories:
            try:
                events = mirrored.mirror.history_of(mirrored.repository, wrong.item.kind, wrong.item.number)
            except SkipError as error:
                self.tally.note(str(error))
                continue
            except StopError as error:
                self.stops.append(error)
                return
            single.keep_history(wrong.item, events)

    def _compare_index(self, sink: Sink, comparisons: Sequence[Comparison], rest: Comparison, *, fix: bool) -> None:
        wanted = {found.repository.key: found for found in comparisons if found.repository is not None}
        with self.store.transaction() as connection:
            stored = verification.select_repositories(connection, "")
        stored_keys = frozenset(found.repository.key for found in stored)
        self.index_compared = False
        try:
            prepared = look_at_sink(self.store, sink)
            for index in get_args(IndexName):
                if index not in prepared.identities:
                    rest.add("no_index", index, detail=f"{sink.prefix}-{index}")
            if fix:
                prepared = claim_sink(self.store, sink)
            elif "classifications" in prepared.identities:
                wait_for_lock(self.store, prepared.identities["classifications"])
            side = IndexComparison(self.store, prepared, wanted, rest if self.plan.is_all else None, stored_keys)
            side.compare(self.progress, fix=fix)
            self.index_compared = True
            if fix:
                export_stage(self.store, prepared, self.run_id, self.tally, self.progress)
                export_runs(self.store, prepared, self.run_id)
        except StopError as error:
            self.stops.append(error)


def verify_stage(
    store: Store, plan: VerifyPlan, run_id: int, tally: Tally, progress: Progress, stops: list[StopError]
) -> Verification:
    """Compares all that `plan` names, mends it if that is asked for, and then compares it again.

    stops: takes the reasons for which a part could not be compared; the other parts are compared all the same.

    Raises:
        UnavailableError: the database is out of reach.
    """
    verifier = _Verifier(store, plan, run_id, tally, progress, stops)
    found = verifier.compare(fix=plan.fix)
    result = Verification(found, fixed=plan.fix)
    if plan.fix and not stops and any(each.differences or each.mended for each in found):
        result.after = verifier.compare(found, fix=False)
    result.index = verifier.index_compared
    result.why_no_index = plan.why_no_sink or "it failed, as is said below"
    for comparison in result.remaining:
        if comparison.differences:
            count = len(comparison.differences)
            tally.note(f"{comparison.name}: {count:,} difference{'' if count == 1 else 's'}")
    return result


def _in_words(scope: Scope) -> str:
    words = [" and ".join(f"{kind.replace('_', ' ')}s" for kind in scope.kinds)]
    if scope.labels:
        words.append("labeled " + " or ".join(f"`{label}`" for label in scope.labels))
    words.append("with comments" if scope.comments else "without comments")
    return " ".join(words)
