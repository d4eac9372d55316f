"""The sweep stage: re-reads what is stored, a few calls an hour, for the changes that no list of changes tells.

GitHub does not list a deletion, a transfer, a deleted comment or a renamed label as a change. So each round of the
sweep walks all items of the scope in order of creation (a call for a hundred), then asks one by one for stored items
that the walk did not show, the longest unseen first and with at most half of the calls, then reads again the comments
of items that count others than are stored. What is left of the calls walks over all comments (an edit of one is listed
as a change only while its issue is in sight), reads the timeline of items whose history is an estimate, asks for what
is hidden, and goes on with what the walk did not show. A round may take many runs: every step asks the database what
is left of it.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Literal

from sqlalchemy import Connection

from etl.db.queries import items, mirror
from etl.db.queries.mirror import StoredItem, Sweep
from etl.db.store import Store
from etl.errors import SkipError
from etl.records import Kind, Page, Scope, Stream, Vanished
from etl.sources.base import Mirror
from etl.stages.base import Advance, Progress, Tally
from etl.stages.fetch import Fetched, count_page, store_page
from etl.stages.single_items import SingleItems

_log = logging.getLogger(__name__)

_PORTION = 100

_Select = Callable[[Connection, Sweep, Sequence[Kind], int], list[StoredItem]]
"""A query for up to so many items of these kinds that are due in a round."""

Timelines = Literal["off", "estimated", "all"]


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """How much a sweep may do.

    calls: requests per repository and run. interval: a new round begins at most this often; zero: each run.
    timelines: whose timeline is read: nobody's, that of items whose history is an estimate, or that of all.
    """

    calls: int
    interval: timedelta
    timelines: Timelines = "estimated"


@dataclass(slots=True)
class _Sweeper:
    """A sweep of one scope of a repository under way.

    fetched: the repository as the fetch before left it.
    """

    store: Store
    source: Mirror
    fetched: Fetched
    scope: Scope
    plan: SweepPlan
    tally: Tally
    advance: Advance
    single: SingleItems = field(init=False)
    calls_before: int = field(init=False)
    vanished_before: int = field(init=False)

    def __post_init__(self) -> None:
        self.single = SingleItems(self.store, self.fetched.repository, self.fetched.stored_key, self.tally)
        self.calls_before = self._calls()
        self.vanished_before = self.tally.counts["items_vanished"]

    def _calls(self) -> int:
        return self.source.counters().get("calls", 0)

    @property
    def spent(self) -> int:
        """Calls of this sweep so far."""
        return self._calls() - self.calls_before

    def may_go_on(self, most: int | None = None) -> bool:
        """Whether the budget, or of it the first `most` calls, has a call left."""
        return self.spent < (self.plan.calls if most is None else min(most, self.plan.calls))

    def round(self) -> Sweep:
        """Goes on with the round that is due; gives it as it was when this began."""
        with self.store.transaction() as connection:
            sweep = mirror.open_sweep(connection, self.fetched.stored_key, filter_of(self.scope), self.plan.interval)
        is_under_way = (sweep.walked or self._walk(sweep)) and not sweep.finished
        is_seen = is_counted = False
        if is_under_way:
            # Outside lists narrowed to labels more may be stored than is ever asked for in a round: half of the calls
            # is for what follows.
            is_seen = self._unseen(sweep, self.spent + (self.plan.calls - self.spent + 1) // 2)
            is_counted = self._miscounted(sweep)
        comments = self.fetched.comments if self.scope.comments else None
        if comments is not None and self._walk_comments(sweep, comments):
            self._miscounted(sweep)  # of what the walk brought, too
        if self.plan.timelines != "off":
            self._histories(sweep)
        self._hidden(sweep)
        if is_under_way and not is_seen:
            is_seen = self._unseen(sweep)
            is_counted = is_seen and self._miscounted(sweep)
        if is_seen and is_counted:
            with self.store.transaction() as connection:
                mirror.finish_sweep(connection, sweep)
        return sweep

    def _walk(self, sweep: Sweep) -> bool:
        """Walks on, a page and its position in one transaction; True when it has shown every item."""
        if not self.may_go_on():
            return False
        for page in self.source.walk(self.fetched.repository, self.scope, sweep.position):
            with self.store.transaction() as connection:
                merged = self._store(connection, page)
                mirror.upsert_checks(connection, self.fetched.stored_key, page.items)
                mirror.update_sweep(connection, sweep, page.cursor)
            self._count(page, merged)
            if page.cursor is None:
                return True
            if not self.may_go_on():
                return False
        return False

    def _store(self, connection: Connection, page: Page) -> items.Merged:
        mirror.insert_rejected(connection, self.source.name, self.fetched.stored_key, "sweep", page.skipped)
        return self.single.upsert(connection, page.items)

    def _count(self, page: Page, merged: items.Merged) -> None:
        count_page(page, merged, self.tally)
        self._say(len(page.items))

    def _say(self, steps: int) -> None:
        self.advance(steps, calls=self.spent, vanished=self.tally.counts["items_vanished"] - self.vanished_before)

    def _walk_comments(self, sweep: Sweep, stream: Stream) -> bool:
        """Walks on over all comments, from their oldest change: for edits made while an issue was out of sight.

        True when this has shown every comment.
        """
        with self.store.transaction() as connection:
            is_due, position = mirror.open_comment_walk(connection, sweep, self.plan.interval)
        if not is_due or not self.may_go_on():
            return False
        keys = {self.fetched.repository.key: self.fetched.stored_key}
        stored = replace(stream, repository=replace(stream.repository, key=self.fetched.stored_key))
        for page in self.source.fetch(stream, self.scope, position):
            with self.store.transaction() as connection:
                merged = store_page(connection, replace(page, cursor=None), stored, self.scope, keys)
                mirror.update_comment_walk(connection, sweep, page.cursor)
            self._count(page, merged)
            if not self.may_go_on():
                return False
        with self.store.transaction() as connection:
            mirror.finish_comment_walk(connection, sweep)
        return True

    def _miscounted(self, sweep: Sweep) -> bool:
        """Reads all comments of items that count others than are stored; True when none is left."""
        if not self.scope.comments:
            return True
        return self._each(sweep, mirror.select_miscounted, self._read_comments)

    def _unseen(self, sweep: Sweep, most: int | None = None) -> bool:
        """Asks for each stored item that the walk did not show, until `most` calls of the sweep are spent if given.

        True when none is left.
        """
        return self._each(sweep, mirror.select_unchecked, self._recheck, most)

    def _hidden(self, sweep: Sweep) -> None:
        """Asks for the items that are hidden: one may have been deleted since, or be back outside the lists."""
        self._each(sweep, mirror.select_hidden, self._recheck)

    def _histories(self, sweep: Sweep) -> None:
        select = partial(mirror.select_estimated, every=self.plan.timelines == "all")
        self._each(sweep, select, self._read_history)

    def _each(
        self,
        sweep: Sweep,
        select: _Select,
        act: Callable[[StoredItem], None],
        most: int | None = None,
    ) -> bool:
        """Does `act` to what `select` gives, portion after portion; True when nothing is left, False when calls are."""
        skipped: set[int] = set()
        while True:
            # What was skipped is selected again: it makes room for itself at the end of a longer portion.
            with self.store.transaction() as connection:
                found = select(connection, sweep, self.scope.kinds, _PORTION + len(skipped))
            due = [item for item in found if item.id not in skipped]
            if not due:
                return True
            for item in due:
                if not self.may_go_on(most):
                    return False
                try:
                    act(item)
                except SkipError as error:
                    skipped.add(item.id)
                    self.tally.note(str(error))
            _log.debug(
                "sweep portion repository=%s items=%d calls=%d", self.fetched.repository.full_name, len(due), self.spent
            )

    def _recheck(self, item: StoredItem) -> None:
        answer = self.source.recheck(self.fetched.repository, item.kind, item.number)
        if isinstance(answer, Vanished):
            self._vanish(item, answer)
            return
        self.single.keep_item(answer)
        self._say(1)
        if answer.kind != item.kind:  # an issue that became a pull request keeps its number
            self._vanish(item, Vanished("transferred", answer.repository.full_name, answer.external_id))

    def _read_comments(self, item: StoredItem) -> None:
        answer = self.source.comments_of(self.fetched.repository, item.kind, item.number)
        if isinstance(answer, Vanished):
            self._vanish(item, answer)
            return
        self.single.keep_comments(item, answer)
        self._say(len(answer))

    def _read_history(self, item: StoredItem) -> None:
        self.single.keep_history(item, self.source.history_of(self.fetched.repository, item.kind, item.number))
        self._say(0)

    def _vanish(self, item: StoredItem, vanished: Vanished) -> None:
        """Gives an item its tombstone, if its repository is there: one out of reach has no vanished items."""
        if vanished.reason != "transferred":
            self.source.confirm(self.fetched.repository)
        self.single.keep_vanished(item, vanished)
        self._say(1)


def sweep_stage(
    store: Store,
    source: Mirror,
    scope: Scope,
    repositories: Iterable[Fetched],
    plan: SweepPlan,
    tally: Tally,
    progress: Progress,
) -> None:
    """Sweeps each repository that was just fetched, within its budget of calls.

    Raises:
        StopError: whatever ends the source's reading; what was found before stands.
    """
    for fetched in repositories:
        with progress.stage(f"sweep {fetched.repository.full_name}") as advance:
            sweeper = _Sweeper(store, source, fetched, scope, plan, tally, advance)
            try:
                if plan.calls > 0:
                    before = sweeper.round()
                    # A round that an earlier run began cannot have seen what changed since: with no pause asked for,
                    # one that sees all of it follows.
                    if plan.interval == timedelta(0) and before.position is not None:
                        sweeper.round()
            except SkipError as error:
                tally.note(f"not swept: {error}")
            finally:
                tally.counts["sweep_calls"] += sweeper.spent


def filter_of(scope: Scope) -> str:
    """What a scope's sweep covers, written the same way every time."""
    labels = sorted({label.lower() for label in scope.labels})
    return ",".join([*(f"label={label}" for label in labels), *(f"kind={kind}" for kind in sorted(scope.kinds))])
