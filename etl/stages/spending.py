"""The purse of a run: caps on dollars per run, per UTC day and per UTC month, kept by all living runs together.

Before a request its worst case is reserved. The cap per run needs only this process. For the caps per day and month a
run takes grants (`spend_grants`): under one lock it looks at what the ledger, the other runs' grants and the batches
under way amount to, and takes as much as is left, in portions, so that not every request costs a round trip. While a
run lives, its grant counts in the place of the answers it pays for; when it ends, the grant goes and its answers count.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil, floor

from sqlalchemy import Connection

from etl.classifiers.base import Classifier, PaidClassifier
from etl.db.queries import spending
from etl.db.store import Store
from etl.errors import BudgetError, UnavailableError

_REQUESTS_PER_PORTION = 64
_LARGEST_SHARE = 4
"""A portion is at most this part of what is left of a cap, so that runs side by side all get to its end."""
_DIGITS = 1e8
"""Dollars are kept with eight decimals; grants are rounded up to them."""


@dataclass(frozen=True, slots=True)
class Caps:
    """Caps on dollars per run, per day and per month (UTC); None: no cap."""

    run: float | None = None
    day: float | None = None
    month: float | None = None

    @property
    def any(self) -> bool:
        """Whether there is one at all."""
        return self.shared or self.run is not None

    @property
    def shared(self) -> bool:
        """Whether there is one that all runs keep together."""
        return self.day is not None or self.month is not None


def utc_now() -> datetime:
    """The time."""
    return datetime.now(UTC)


def day_start(moment: datetime) -> datetime:
    """The beginning of the UTC day."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def month_start(moment: datetime) -> datetime:
    """The beginning of the UTC month."""
    return day_start(moment).replace(day=1)


def next_month(moment: datetime) -> datetime:
    """The beginning of the UTC month after."""
    return month_start(month_start(moment) + timedelta(days=31))


class SharedPurse:
    """A `base.Purse` that keeps the caps of all living runs. Thread-safe; `close` gives back what is left.

    run_id: whose; its answers must be stored by one thread, and before `close`. clock: for tests.
    """

    def __init__(self, store: Store, caps: Caps, run_id: int, clock: Callable[[], datetime] = utc_now) -> None:
        self.caps = caps
        self._store = store
        self._run_id = run_id
        self._clock = clock
        self._lock = threading.Lock()
        self._reserved = 0.0
        self._spent = 0.0  # in the whole life of this purse
        self._entrusted = 0.0  # to batches, likewise
        self._paid = 0.0  # from the grant: for answers after `_after_id`, stored or not
        self._granted = 0.0
        self._after_id: int | None = None
        self._day = day_start(clock())

    @property
    def spent(self) -> float:
        """Dollars spent so far, batches left out."""
        return self._spent

    def reserve(self, dollars: float) -> None:
        """Sets `dollars` aside before an attempt.

        Raises:
            BudgetError: the attempt could exceed a cap; says which, and when it opens again.
            UnavailableError: the database is out of reach, so that nobody knows what other runs spend.
        """
        with self._lock:
            self._check_run_cap(dollars)
            if self.caps.shared:
                is_new_day = day_start(self._clock()) != self._day
                if is_new_day or self._paid + self._reserved + dollars > self._granted + 0.1 / _DIGITS:
                    self._take_grant(dollars)
            self._reserved += dollars

    def settle(self, reserved: float, dollars: float) -> None:
        """Ends a reservation: the attempt has cost `dollars`."""
        with self._lock:
            self._reserved -= reserved
            self._spent += dollars
            self._paid += dollars

    def entrust(self, reserved: float) -> None:
        """Hands a reservation over to an open batch, whose `reserved_usd` is committed and counts from now on.

        The run's cap goes on counting it here.
        """
        with self._lock:
            self._reserved -= reserved
            self._entrusted += reserved
            self._shrink_grant()

    def take_back(self, reserved: float) -> None:
        """Undoes `entrust` where the batch never came to be."""
        with self._lock:
            self._entrusted -= reserved

    def close(self) -> None:
        """Gives the grant back. Where the database has gone, the next run does so (`close_interrupted_runs`)."""
        with self._lock:
            if self._after_id is None:
                return
            with suppress(UnavailableError), self._store.transaction() as connection:
                spending.delete_grant(connection, self._run_id)
            self._after_id, self._granted, self._paid = None, 0.0, 0.0

    def _check_run_cap(self, dollars: float) -> None:
        under_way = self._reserved + self._entrusted
        if self.caps.run is not None and self._spent + under_way + dollars > self.caps.run + 0.1 / _DIGITS:
            raise BudgetError(
                f"the cap of ${self.caps.run:.4f} per run (--max-cost-usd, ISSUETIDE_MAX_COST_USD) is reached:"
                f" ${self._spent:.4f} are spent, ${under_way:.4f} are on their way, the next request could cost"
                f" ${dollars:.4f}; the next run goes on"
            )

    def _take_grant(self, dollars: float) -> None:
        now = self._clock()
        with self._store.transaction() as connection:
            spending.serialize_grants(connection)
            after_id, paid = self._mark(connection, now)
            own = paid + self._reserved
            spent = spending.select_spent(connection, self._run_id, after_id, day_start(now), month_start(now))
            if self._left(spent, own) < dollars and spending.delete_dead_grants(connection, self._run_id):
                spent = spending.select_spent(connection, self._run_id, after_id, day_start(now), month_start(now))
            left = self._left(spent, own)
            if left < dollars:
                raise BudgetError(self._refusal(spent, own, dollars, now))
            portion = max(dollars, min(_REQUESTS_PER_PORTION * dollars, left / _LARGEST_SHARE))
            granted = _up(own + portion)
            spending.upsert_grant(connection, self._run_id, granted, after_id)
        self._after_id, self._paid, self._granted, self._day = after_id, paid, granted, day_start(now)

    def _mark(self, connection: Connection, now: datetime) -> tuple[int, float]:
        """After which answer the grant pays, and what it has paid: what was stored before midnight counts by itself."""
        if self._after_id is None:
            return spending.select_last_answer_id(connection), self._paid
        if day_start(now) == self._day:
            return self._after_id, self._paid
        after_id, stored = spending.select_own_answers(connection, self._run_id, self._after_id)
        return after_id, max(0.0, self._paid - stored)

    def _left(self, spent: spending.Spent, own: float) -> float:
        """What the caps leave."""
        amounts = ((self.caps.day, spent.day), (self.caps.month, spent.month))
        return min(_left_of(cap, amount + spent.held + own) for cap, amount in amounts if cap is not None)

    def _refusal(self, spent: spending.Spent, own: float, dollars: float, now: datetime) -> str:
        """Which cap it is; the month's where it is both, for that opens again last."""
        tomorrow = day_start(now) + timedelta(days=1)
        windows = (
            ("month", "ISSUETIDE_MAX_COST_USD_MONTH", self.caps.month, spent.month, next_month(now)),
            ("day", "ISSUETIDE_MAX_COST_USD_DAY", self.caps.day, spent.day, tomorrow),
        )
        held = spent.held + self._reserved
        name, setting, cap, amount, opens = next(
            (name, setting, cap, amount, opens)
            for name, setting, cap, amount, opens in windows
            if cap is not None and _left_of(cap, amount + spent.held + own) < dollars
        )
        return (
            f"the cap of ${cap:.4f} per UTC {name} ({setting}) is reached: ${amount + own - self._reserved:.4f} are"
            f" spent, ${held:.4f} are held for what is on its way, the next request could cost ${dollars:.4f}; it opens"
            f" again on {opens:%Y-%m-%d} at 00:00 UTC"
        )

    def _shrink_grant(self) -> None:
        if self._after_id is None:
            return
        self._granted = _up(self._paid + self._reserved)
        with self._store.transaction() as connection:
            spending.upsert_grant(connection, self._run_id, self._granted, self._after_id)


def _left_of(cap: float, used: float) -> float:
    """`cap` less `used`, down to the decimals that the database keeps: sums of dollars are not quite exact."""
    return floor((cap - used) * _DIGITS + 0.01) / _DIGITS


def _up(dollars: float) -> float:
    """`dollars`, up to the decimals that the database keeps."""
    return ceil(dollars * _DIGITS - 0.01) / _DIGITS


@contextmanager
def opened_purse(store: Store, caps: Caps, run_id: int, *classifiers: Classifier) -> Iterator[SharedPurse]:
    """The purse of a run for the time of the block; whoever of `classifiers` costs money is charged to it.

    Without any cap they are left as they are.
    """
    purse = SharedPurse(store, caps, run_id)
    for classifier in classifiers:
        if caps.any and isinstance(classifier, PaidClassifier):
            classifier.charge_to(purse)
    try:
        yield purse
    finally:
        purse.close()
