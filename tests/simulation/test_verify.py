"""`verify` after a random life: of a mirror that is right it finds nothing, and --fix mends whatever a fetch left.

A quarter of the seeds of the simulation itself.
"""

import os
from collections.abc import Sequence
from datetime import timedelta
from random import Random

import pytest

from etl.cli.mirrored import mirrored_scopes
from etl.db.queries.verification import select_repositories
from etl.db.store import Store
from etl.github import GitHubClient
from etl.pipeline import Fetch, Plan, RunOutcome, run
from etl.records import Scope
from etl.sources.github_issues import GitHubIssues
from etl.stages.compare_github import Mirrored
from etl.stages.sweep import SweepPlan
from etl.stages.verify import VerifyPlan
from tests.fakes import SilentProgress
from tests.loopback.github import LoopbackGitHub
from tests.loopback.github_life import Life
from tests.simulation import FIRST_SEED, SEEDS
from tests.simulation.living import Simulation

_first = int(os.environ.get(FIRST_SEED, "1"))
_seeds = range(_first, _first + (int(os.environ.get(SEEDS, "20")) + 3) // 4)


def verify(database_url: str, github: LoopbackGitHub, *, fix: bool) -> RunOutcome:
    """Compares every stored repository as the command does, without an index."""
    store = Store(database_url)
    end = github.now() + 7200
    try:
        with store.transaction() as connection:
            stored = select_repositories(connection, "github_issues")
        with GitHubClient(github.url, "one,two", end, sleep=github.advance, clock=github.now) as client:
            mirrored = [
                Mirrored(GitHubIssues(client), each.repository, mirrored_scopes(each.lists, timedelta(minutes=15)))
                for each in stored
            ]
            fetches = [Fetch(each.mirror, Scope((each.repository.full_name,)), each.mirror) for each in mirrored]
            plan = VerifyPlan(mirrored, is_all=True, sink=None, why_no_sink="there is none", fix=fix)
            return run(store, Plan("issuetide verify", fetches, verify=plan), SilentProgress())
    finally:
        store.close()


def remaining(outcome: RunOutcome) -> Sequence[str]:
    """A line for everything that `verify` has to say at its end."""
    assert outcome.verification is not None
    found = [f"{each.name} {line}" for each in outcome.verification.remaining for line in each.differences]
    return [*found, *outcome.tally.notes, *filter(None, (outcome.error,))]


class VerifiedAfterwards(Simulation):
    """Verified after its quiet run."""

    def _quiet_run(self, github: LoopbackGitHub, life: Life) -> None:
        super()._quiet_run(github, life)
        self.outcomes = [verify(self.database_url, github, fix=False), verify(self.database_url, github, fix=True)]


class FixedInstead(Simulation):
    """Its quiet run only fetches what is listed as changed; `verify --fix` does what a sweep would have done."""

    def _quiet_run(self, github: LoopbackGitHub, life: Life) -> None:
        life.calm()
        github.comment_window_rows = None
        github.list_lag = github.date_skew = 0.0
        github.advance(86_400.0)
        self._run(github, SweepPlan(0, timedelta(0), "off"), None, Random(0))
        self.outcomes = [verify(self.database_url, github, fix=True)]


@pytest.mark.parametrize("seed", _seeds)
def test_of_a_mirror_that_is_right_nothing_is_found(seed: int, database_url: str) -> None:
    simulation = VerifiedAfterwards(seed, database_url)
    assert simulation.differences() == []
    for outcome in simulation.outcomes:
        assert remaining(outcome) == [], "\n".join(simulation.log)
        assert outcome.exit_code == 0
        assert outcome.verification is not None
        assert outcome.verification.after is None  # there was nothing to mend


@pytest.mark.parametrize("seed", _seeds)
def test_whatever_a_fetch_left_is_mended(seed: int, database_url: str) -> None:
    simulation = FixedInstead(seed, database_url)
    left = [line for line in simulation.differences() if "changed state" not in line]  # when that was: no timeline read
    assert left == [], "\n".join([*simulation.log, *left])
    (outcome,) = simulation.outcomes
    assert remaining(outcome) == []
    assert outcome.exit_code == 0
