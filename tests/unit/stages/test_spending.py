"""The caps per run, day and month on a real PostgreSQL: kept by runs side by side, by killed ones, across midnight."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from etl.db.queries.runs import close_interrupted_runs, insert_run, run_lock_name
from etl.db.store import Store
from etl.errors import BudgetError, UnavailableError
from etl.stages.spending import Caps, SharedPurse, next_month, opened_purse
from tests.fakes import FakeClassifier

NOON = datetime.now(UTC).replace(day=15, hour=12, minute=0, second=0, microsecond=0)


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    store = Store(database_url)
    with store.transaction() as connection:
        connection.execute(
            text("""INSERT INTO texts (input, text_hash, family_hash, body, rules_version)
                    VALUES ('issue', 'h', 'f', 'crash', 1)""")
        )
    yield store
    store.close()


def begin_run(store: Store) -> int:
    """A run that lives as long as its store."""
    with store.transaction() as connection:
        run_id = insert_run(connection, command="test", repositories=(), tasks=(), classifier="claude")
        store.try_lock(run_lock_name(run_id))
    return run_id


def keep(store: Store, run_id: int, dollars: float, at: datetime = NOON, batch_id: int | None = None) -> None:
    """An answer in the ledger."""
    with store.transaction() as connection:
        connection.execute(
            text("""
                INSERT INTO classifications (text_id, task, task_version, task_sha256, prompt_version, classifier,
                    model, outcome, categories, confidences, rationale, cost_usd, run_id, created_at, batch_id)
                SELECT id, 't', 1, 's', 'p', 'claude', 'm', 'abstained', '{}', '{}', '', :dollars, :run_id, :at, :batch
                FROM texts
            """),
            {"dollars": dollars, "run_id": run_id, "at": at, "batch": batch_id},
        )


def open_batch(store: Store, run_id: int, dollars: float) -> int:
    with store.transaction() as connection:
        return int(
            connection.execute(
                text("""
                    INSERT INTO batches (task, task_version, task_sha256, prompt_version, classifier, model, token,
                                         requests, texts, reserved_usd, run_id)
                    VALUES ('t', 1, 's', 'p', 'claude', 'm', 'k', 1, 1, :dollars, :run_id) RETURNING id
                """),
                {"dollars": dollars, "run_id": run_id},
            ).scalar_one()
        )


def grants(store: Store) -> list[float]:
    with store.transaction() as connection:
        return [float(row[0]) for row in connection.execute(text("SELECT dollars FROM spend_grants ORDER BY run_id"))]


def purse_of(store: Store, caps: Caps, now: Callable[[], datetime] = lambda: NOON) -> tuple[int, SharedPurse]:
    run_id = begin_run(store)
    return run_id, SharedPurse(store, caps, run_id, now)


def another(store: Store) -> Store:
    """As another process has it."""
    return Store(store.engine.url.render_as_string(hide_password=False))


def pay(store: Store, run_id: int, purse: SharedPurse, dollars: float, at: datetime = NOON) -> None:
    purse.reserve(dollars)
    keep(store, run_id, dollars, at)
    purse.settle(dollars, dollars)


def test_a_cap_can_be_reached_exactly_and_not_passed(store: Store) -> None:
    for caps in (Caps(day=0.3), Caps(month=0.3), Caps(run=0.3)):
        run_id, purse = purse_of(store, caps)
        for _ in range(3):
            pay(store, run_id, purse, 0.1)
        with pytest.raises(BudgetError, match=r"the cap of \$0\.3000 per .*\$0\.3000 are"):
            purse.reserve(0.00000001)
        purse.close()
        with store.transaction() as connection:
            connection.execute(text("DELETE FROM classifications"))


def test_the_message_says_which_cap_what_is_spent_and_when_it_opens_again(store: Store) -> None:
    keep(store, begin_run(store), 0.75)
    _, daily = purse_of(store, Caps(day=1.0, month=30.0))
    with pytest.raises(BudgetError) as day:
        daily.reserve(0.5)
    assert "$1.0000 per UTC day (ISSUETIDE_MAX_COST_USD_DAY)" in str(day.value)
    assert "$0.7500 are spent" in str(day.value)
    assert f"on {NOON + timedelta(days=1):%Y-%m-%d} at 00:00 UTC" in str(day.value)
    _, monthly = purse_of(store, Caps(day=1.0, month=1.0))
    with pytest.raises(BudgetError) as month:
        monthly.reserve(0.5)
    assert "per UTC month (ISSUETIDE_MAX_COST_USD_MONTH)" in str(month.value)
    assert f"on {next_month(NOON):%Y-%m-%d} at" in str(month.value)


def test_a_cap_that_was_lowered_below_what_is_spent_lets_nothing_through(store: Store) -> None:
    keep(store, begin_run(store), 5.0)
    _, purse = purse_of(store, Caps(day=1.0))
    with pytest.raises(BudgetError, match=r"\$5\.0000 are spent"):
        purse.reserve(0.0001)
    assert grants(store) == []


def test_a_cap_of_zero_lets_nothing_through(store: Store) -> None:
    for caps in (Caps(run=0.0), Caps(day=0.0), Caps(month=0.0)):
        with pytest.raises(BudgetError):
            purse_of(store, caps)[1].reserve(0.0001)


def test_yesterday_counts_for_the_month_and_not_for_the_day(store: Store) -> None:
    run_id = begin_run(store)
    keep(store, run_id, 0.9, NOON - timedelta(hours=13))
    keep(store, run_id, 7.0, NOON - timedelta(days=20))
    _, purse = purse_of(store, Caps(day=1.0, month=1.5))
    purse.reserve(0.6)
    with pytest.raises(BudgetError, match="month"):
        purse.reserve(0.1)


def test_over_midnight_a_run_has_the_new_days_money_and_the_months_goes_on(store: Store) -> None:
    clock = [NOON.replace(hour=23, minute=59)]
    run_id, purse = purse_of(store, Caps(day=1.0, month=1.7), lambda: clock[0])
    pay(store, run_id, purse, 0.8, clock[0])
    purse.reserve(0.1)  # on its way at midnight: counts for the new day
    with pytest.raises(BudgetError, match="day"):
        purse.reserve(0.2)
    clock[0] += timedelta(minutes=2)
    purse.reserve(0.5)
    with pytest.raises(BudgetError, match=r"UTC month .*\$0\.8000 are spent"):
        purse.reserve(0.35)
    keep(store, run_id, 0.1, clock[0])
    purse.settle(0.1, 0.1)
    with pytest.raises(BudgetError, match=r"UTC month .*\$0\.9000 are spent"):
        purse.reserve(0.35)
    purse.settle(0.5, 0.0)
    purse.close()
    _, later = purse_of(store, Caps(day=1.0), lambda: clock[0])
    later.reserve(0.9)


def test_answers_that_are_stored_are_not_counted_twice_while_the_run_lives(store: Store) -> None:
    run_id, purse = purse_of(store, Caps(day=1.0))
    pay(store, run_id, purse, 0.4)
    own = another(store)
    _, other = purse_of(own, Caps(day=1.0))
    other.reserve(0.5)
    with pytest.raises(BudgetError):
        other.reserve(0.2)
    own.close()


def test_what_a_run_holds_is_free_again_when_it_ends(store: Store) -> None:
    run_id = begin_run(store)
    with opened_purse(store, Caps(day=1.0), run_id) as first:
        first.reserve(0.9)
        assert grants(store) == [0.9]
        own = another(store)
        _, second = purse_of(own, Caps(day=1.0), lambda: datetime.now(UTC))
        with pytest.raises(BudgetError, match=r"\$0\.9000 are held"):
            second.reserve(0.2)
        first.settle(0.9, 0.1)
        keep(store, run_id, 0.1, datetime.now(UTC))
    assert grants(store) == []
    second.reserve(0.9)
    own.close()


def test_grants_leave_room_for_runs_side_by_side_and_spare_round_trips(store: Store) -> None:
    _, purse = purse_of(store, Caps(day=100.0))
    purse.reserve(0.01)
    (granted,) = grants(store)
    assert granted == pytest.approx(0.64)
    for _ in range(63):
        purse.reserve(0.01)
    assert grants(store) == [granted]
    purse.reserve(0.01)
    assert grants(store)[0] > granted
    purse.close()
    _, near_the_end = purse_of(store, Caps(day=0.04))
    near_the_end.reserve(0.01)
    assert grants(store) == [0.01]


def test_an_open_batch_counts_for_the_day_and_for_its_run_and_its_answers_once(store: Store) -> None:
    run_id, purse = purse_of(store, Caps(run=1.0, day=2.0))
    purse.reserve(0.8)
    batch = open_batch(store, run_id, 0.8)
    purse.entrust(0.8)
    assert grants(store) == [0.0]
    with pytest.raises(BudgetError, match="per run"):
        purse.reserve(0.3)
    own = another(store)
    _, other = purse_of(own, Caps(day=2.0))
    with pytest.raises(BudgetError, match=r"\$0\.8000 are held"):
        other.reserve(1.3)
    # Collected, by whichever run: its answers count, its reservation no longer does.
    keep(store, run_id, 0.2, batch_id=batch)
    with store.transaction() as connection:
        connection.execute(text("UPDATE batches SET state = 'collected', settled_at = now()"))
    other.reserve(1.8)
    with pytest.raises(BudgetError):
        other.reserve(0.1)
    own.close()


def test_a_batch_that_never_came_to_be_gives_the_runs_money_back(store: Store) -> None:
    _, purse = purse_of(store, Caps(run=1.0))
    purse.reserve(0.8)
    purse.entrust(0.8)
    purse.take_back(0.8)
    purse.reserve(1.0)


def test_trials_and_audits_count_like_everything_else(store: Store) -> None:
    keep(store, begin_run(store), 0.6)
    keep(store, begin_run(store), 0.3)
    with store.transaction() as connection:
        connection.execute(
            text("UPDATE classifications SET purpose = CASE WHEN id % 2 = 0 THEN 'trial' ELSE 'audit' END")
        )
    _, purse = purse_of(store, Caps(day=1.0))
    with pytest.raises(BudgetError, match=r"\$0\.9000 are spent"):
        purse.reserve(0.2)


def test_the_grant_of_a_dead_run_ends_when_a_run_needs_it_or_begins(store: Store) -> None:
    for revive in (False, True):
        dying = another(store)
        _, lost = purse_of(dying, Caps(day=1.0))
        lost.reserve(1.0)
        dying.close()  # its lock goes, its grant stays
        if revive:
            with store.transaction() as connection:
                assert close_interrupted_runs(connection)
            assert grants(store) == []
        own = another(store)
        _, purse = purse_of(own, Caps(day=1.0))
        purse.reserve(1.0)
        purse.close()
        own.close()


def test_without_caps_nobody_is_charged_and_nothing_is_granted(store: Store) -> None:
    classifier = FakeClassifier("claude")
    with opened_purse(store, Caps(), begin_run(store), classifier) as purse:
        purse.reserve(1e6)
        purse.settle(1e6, 3.0)
        assert purse.spent == 3.0
        assert grants(store) == []


def test_a_database_that_has_gone_refuses_instead_of_guessing() -> None:
    lost = Store("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(UnavailableError):
        SharedPurse(lost, Caps(day=1.0), 1).reserve(0.1)
    lost.close()


def test_threads_of_one_run_never_hold_more_than_the_cap(store: Store) -> None:
    run_id, purse = purse_of(store, Caps(day=0.5))

    def ask(_: int) -> bool:
        try:
            purse.reserve(0.02)
        except BudgetError:
            return False
        purse.settle(0.02, 0.01)
        return True

    with ThreadPoolExecutor(8) as threads:
        paid = sum(threads.map(ask, range(200)))
    assert 48 <= paid <= 50
    assert purse.spent <= 0.5
    assert run_id


SPENDER = """
import os, signal, sys, time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from etl.db.store import Store
from etl.errors import BudgetError
from etl.stages.spending import Caps, opened_purse
from tests.unit.stages.test_spending import begin_run, keep

store = Store(sys.argv[1])
run_id = begin_run(store)
kept = 0
with opened_purse(store, Caps(month=float(sys.argv[2])), run_id) as purse:
    purse.reserve(0.002)
    print("ready", flush=True)
    sys.stdin.readline()
    purse.settle(0.002, 0.0)
    def ask(_):
        try:
            purse.reserve(0.002)
        except BudgetError:
            return 0.0
        time.sleep(0.002)
        purse.settle(0.002, 0.001)
        return 0.001
    with ThreadPoolExecutor(4) as threads:
        for dollars in threads.map(ask, range(400)):
            if dollars:
                keep(store, run_id, dollars, datetime.now(UTC))
                print(dollars, flush=True)
                kept += 1
                if kept == int(sys.argv[3]):
                    os.kill(os.getpid(), signal.SIGKILL)
store.close()
"""


def spend(store: Store, cap: float, dies_after: int = 0) -> "subprocess.Popen[str]":
    """A process that holds money to pay for up to 400 requests of a tenth of a cent, worst case two; see `go`.

    dies_after: so many answers are stored when it ends itself with kill -9.
    """
    url = store.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", SPENDER, url, str(cap), str(dies_after)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: "subprocess.Popen[str]") -> None:
    """Lets it begin."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def ledger_total(store: Store) -> float:
    with store.transaction() as connection:
        return float(connection.execute(text("SELECT sum(cost_usd) FROM classifications")).scalar_one())


def test_two_processes_at_once_never_exceed_the_cap_and_use_most_of_it(store: Store) -> None:
    processes = [spend(store, 0.2) for _ in range(2)]
    for process in processes:
        go(process)
    outputs: list[Any] = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert all(outputs)
    assert 0.1 <= ledger_total(store) <= 0.2
    assert grants(store) == []


def test_a_killed_process_holds_nothing_back_and_the_next_one_stays_below_the_cap(store: Store) -> None:
    killed = spend(store, 0.2, dies_after=20)
    go(killed)
    killed.communicate(timeout=240)
    assert killed.returncode == -signal.SIGKILL
    assert grants(store)
    second = spend(store, 0.2)
    go(second)
    assert second.communicate(timeout=240)[0]
    assert 0.19 <= ledger_total(store) <= 0.2
    with store.transaction() as connection:
        assert close_interrupted_runs(connection)
    assert grants(store) == []
