"""One simulation: a GitHub with a life of its own, a mirror whose runs are stopped anywhere, and the comparison."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from sqlalchemy import Connection

from etl.db.store import Store
from etl.errors import IssuetideError
from etl.github import GitHubClient
from etl.pipeline import Fetch, Plan, run
from etl.records import Kind, Scope
from etl.sources.github_issues import GitHubIssues
from etl.stages.sweep import SweepPlan
from tests.fakes import SilentProgress
from tests.loopback.github import LoopbackGitHub
from tests.loopback.github_life import Life
from tests.simulation.comparing import differences

NAMES = ("acme/rocket", "acme/starship")
KINDS: tuple[Kind, ...] = ("issue", "pull_request")
_BEGINNING = 1_750_000_000.0
_TOKENS = ("one", "two")


class _Killed(BaseException):
    """The process is gone; nothing of it may run on."""


class _MortalStore(Store):
    """A store whose process dies at a transaction, before or after it is committed, and does nothing afterwards."""

    def __init__(self, url: str, transactions: int | None, *, commits: bool) -> None:
        super().__init__(url)
        self._left = transactions
        self._commits = commits

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """As the store's, until the last one."""
        if self._left is not None:
            if self._left <= 0:
                raise _Killed
            self._left -= 1
        last = self._left == 0
        with super().transaction() as connection:
            yield connection
            if last and not self._commits:
                raise _Killed
        if last:
            raise _Killed


@dataclass
class Simulation:
    """What one seed makes. log: everything that happened, for whoever must find out why the end is not the truth."""

    seed: int
    database_url: str
    label: str | None = None
    log: list[str] = field(default_factory=list)

    def differences(self) -> list[str]:
        """Lives through it; gives a line for each difference of PostgreSQL from the truth at the end."""
        chance = Random(self.seed)
        with LoopbackGitHub(clock=lambda: _BEGINNING, tokens=_TOKENS) as github:
            life = Life(github, NAMES, chance)
            self.log = life.log
            github.since_inclusive = chance.random() < 0.5
            github.date_skew = chance.choice((0.0, 0.0, -240.0, 240.0))
            github.list_lag = chance.choice((0.0, 0.0, 60.0, 480.0))
            github.comment_window_rows = chance.choice((None, None, 5, 20))
            github.before_response = life.during
            self.label = chance.choice((None, None, None, "bug"))
            life.populate(chance.randint(5, 60))
            for _ in range(chance.randint(2, 6)):
                self._hour(github, life, chance)
            self._quiet_run(github, life)
            store = Store(self.database_url)
            try:
                with store.transaction() as connection:
                    return [line for name in NAMES for line in differences(connection, github, name, self.label)]
            finally:
                store.close()

    def _hour(self, github: LoopbackGitHub, life: Life, chance: Random) -> None:
        for _ in range(chance.randint(0, 25)):
            life.step()
        for _ in range(chance.choice((0, 0, 1, 2))):
            life.trouble()
        if chance.random() < 0.1:
            name = github.repository(chance.choice(NAMES)).full_name
            github.rename_repository(name, f"{name}-{chance.randint(1, 999)}")
        stop = chance.choice((None, chance.randint(1, 60)))
        calls = chance.choice((0, 3, 20, 1000))
        self._run(github, SweepPlan(calls, timedelta(hours=chance.choice((0, 24))), "estimated"), stop, chance)
        if chance.random() < 0.5:
            life.calm()
        github.advance(chance.choice((60.0, 3600.0, 7200.0)))

    def _quiet_run(self, github: LoopbackGitHub, life: Life) -> None:
        """Nothing changes any more, nothing fails, and the sweep may cover everything."""
        life.calm()
        github.comment_window_rows = None
        github.list_lag = github.date_skew = 0.0
        github.advance(86_400.0)
        self._run(github, SweepPlan(100_000, timedelta(0), "all"), None, Random(0))

    def _run(self, github: LoopbackGitHub, sweep: SweepPlan, stop: int | None, chance: Random) -> None:
        commits = chance.random() < 0.5
        self.log.append(f"     run with {sweep.calls} calls for its sweep" + (f", stopped at {stop}" if stop else ""))
        store = _MortalStore(self.database_url, stop, commits=commits)
        deadline = chance.choice((600.0, 7200.0))
        now = github.now()
        client = GitHubClient(
            github.url,
            ",".join(_TOKENS),
            now + deadline,
            sleep=github.advance,
            clock=github.now,
            max_calls=chance.choice((None, None, 40)) if stop else None,
        )
        labels = (self.label,) if self.label is not None else ()
        try:
            with client, suppress(_Killed):
                fetches = [
                    Fetch(source, Scope((name,), labels, KINDS), source)
                    for name in NAMES
                    for source in (GitHubIssues(client),)
                ]
                outcome = run(store, Plan("simulated", fetches, sweep=sweep), SilentProgress())
                self.log.append(f"     ended {outcome.status}: {outcome.error} {dict(outcome.tally.counts)}")
        except IssuetideError as error:
            self.log.append(f"     failed: {error}")
        finally:
            store.close()
