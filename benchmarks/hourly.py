"""The hourly rerun beside that of an earlier revision: 200 changed issues of 20,000, and an hour without changes.

    python -m benchmarks.hourly                      against the last revision without sweep and history
    python -m benchmarks.hourly --before REVISION    against another one that is in this clone
    python -m benchmarks.hourly --json

What is measured is the whole process `issuetide fetch --repo …` as cron starts it. The earlier revision is checked out
as a temporary git worktree, runs in the same interpreter and has a database of its own with its own tables; both ask
the same loopback GitHub for the same hours, in turn, so that a slow moment of the machine meets them alike. Beside them
once more the later one with the sweep, whose calls are a setting and are all spent in each of these hours. Changes are
spread over the hour; every fourth is a comment. Ratios are the claim, absolute times are not.
"""

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.load import CHANGED, HERE, REPOSITORY, Bench, Cost, make_issues
from etl.servers.postgres import stop_postgres
from etl.settings import Settings
from tests.loopback.github import LoopbackGitHub

BEFORE = "37b6690c7293d30d22389aa1ace5caace20e3862"
"""The last revision before mirrors were swept and kept a history."""
HOUR = 3600
DEFAULT_SWEEP_CALLS: int = Settings.model_fields["issuetide_sweep_calls"].default
LARGEST_RATIO = 1.5
MOST_QUIET_CALLS = 5


@dataclass(slots=True)
class Contender:
    """The code of one tree with a database of its own, and what its hours cost, in their order.

    sweep_calls: its budget for re-reading, which it spends each hour, as in the middle of a round; a tree that knows no
    sweep does not look at it. calls: requests to GitHub.
    """

    name: str
    tree: Path
    sweep_calls: int
    url: str = ""
    costs: list[Cost] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)

    def environment(self, bench: Bench) -> dict[str, str]:
        """What its processes are started with."""
        return {
            "PYTHONPATH": str(self.tree),
            "DATABASE_URL": self.url,
            "GITHUB_API_URL": bench.github.url,
            "GITHUB_TOKEN": "bench",
            "ISSUETIDE_DATA_DIR": str(bench.folder / "data"),
            "ISSUETIDE_SWEEP_CALLS": str(self.sweep_calls),
            "ISSUETIDE_SWEEP_HOURS": "0",
        }

    def prepare(self, bench: Bench) -> None:
        """Makes its database and loads all issues, which also compiles and warms what the hours will use."""
        self.url = bench.new_database(self.name.replace(" ", "_"), migrated=False)
        bench.measure(
            sys.executable,
            "-c",
            f"import etl; assert etl.__path__[0] == {str(self.tree / 'etl')!r}, etl.__path__",
            **self.environment(bench),
        )
        bench.measure(sys.executable, "-m", "etl.cli", "db", "upgrade", **self.environment(bench))
        self._fetch(bench)

    def run_hour(self, bench: Bench) -> None:
        """One hourly run; keeps what it cost."""
        before = len(bench.github.journal)
        self.costs.append(self._fetch(bench))
        self.calls.append(len(bench.github.journal) - before)

    def _fetch(self, bench: Bench) -> Cost:
        return bench.measure(sys.executable, "-m", "etl.cli", "fetch", "--repo", REPOSITORY, **self.environment(bench))

    def take(self) -> "Hours":
        """The hours since the last call of this."""
        taken = Hours(self.costs, self.calls)
        self.costs, self.calls = [], []
        return taken


@dataclass(frozen=True, slots=True)
class Hours:
    """What some hours of one contender cost."""

    costs: list[Cost]
    calls: list[int]

    def median(self) -> Cost:
        """The median of each part by itself."""
        return Cost(*(statistics.median(getattr(cost, name) for cost in self.costs) for name in Cost.__slots__))


@contextmanager
def _bench(issues: int) -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="issuetide-bench-"))
    try:
        with LoopbackGitHub(keep_pages=True) as github:
            github.limit = github.remaining = 10**9
            github.add_repository(REPOSITORY)
            for place, issue in enumerate(make_issues(issues)):
                number = github.add_issue(REPOSITORY, **issue)
                if place % 10 == 0:
                    github.add_comment(REPOSITORY, number, "It fails here too.", created_at=issue["created_at"] + 20)
            yield Bench(folder, github)
    finally:
        stop_postgres(folder)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _worktree(revision: str) -> Iterator[Path]:
    """A temporary checkout of a revision of this clone."""
    parent = Path(tempfile.mkdtemp(prefix="issuetide-before-")).resolve()
    tree = parent / "tree"
    try:
        _git("worktree", "add", "--quiet", "--detach", str(tree), revision)
        yield tree
    finally:
        if tree.exists():
            _git("worktree", "remove", "--force", str(tree))
        shutil.rmtree(parent, ignore_errors=True)


def _git(*arguments: str) -> None:
    done = subprocess.run(["git", "-C", str(HERE.parent), *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(
            f"git {' '.join(arguments)} failed; it needs a clone with that revision: {done.stderr.strip()}"
        )


def change(github: LoopbackGitHub, chance: random.Random, changed: int) -> None:
    """An hour at GitHub in which so many issues change."""
    numbers = chance.sample(sorted(github.repository(REPOSITORY).issues), changed)
    for place, number in enumerate(numbers):
        github.advance(HOUR / changed)
        if place % 4 == 0:
            github.add_comment(REPOSITORY, number, f"Still there: {chance.random()}")
        else:
            github.edit_issue(REPOSITORY, number, title=f"Edited {chance.random()}")


def measure(
    bench: Bench, contenders: list[Contender], changed: int, repeats: int, quiet_hours: int
) -> dict[str, dict[str, Hours]]:
    """The hours of each contender by name, 'changed' and 'quiet' apart; who comes first takes turns."""
    chance = random.Random(11)
    for contender in contenders:
        contender.prepare(bench)
    found: dict[str, dict[str, Hours]] = {contender.name: {} for contender in contenders}
    for name, hours in (("changed", repeats), ("quiet", quiet_hours)):
        for hour in range(hours):
            if name == "changed":
                change(bench.github, chance, changed)
            else:
                bench.github.advance(HOUR)
            first = hour % len(contenders)
            for contender in contenders[first:] + contenders[:first]:
                contender.run_hour(bench)
        for contender in contenders:
            found[contender.name][name] = contender.take()
    return found


def ratios(found: dict[str, dict[str, Hours]]) -> dict[str, float]:
    """Each contender's medians in an hour with changes, over those of 'before'."""
    before = found["before"]["changed"].median()
    made = {}
    for name, hours in found.items():
        if name != "before":
            after = hours["changed"].median()
            made[f"{name} / before, wall"] = after.wall / before.wall
            made[f"{name} / before, CPU"] = after.cpu / before.cpu
    return made


def _print(found: dict[str, dict[str, Hours]]) -> None:
    for name, kinds in found.items():
        for kind, hours in kinds.items():
            cost = hours.median()
            calls = " ".join(map(str, hours.calls))
            print(
                f"  {name + ', ' + kind:<24} wall {cost.wall:6.2f} s  client {cost.client_cpu:6.2f} s  PostgreSQL"
                f" {cost.postgres_cpu:6.2f} s  peak {cost.peak_mib:4.0f} MiB  calls of each hour: {calls}"
            )
    for name, ratio in ratios(found).items():
        goal = f" (goal <= {LARGEST_RATIO})" if name == "after / before, wall" else ""
        print(f"  {name}: {ratio:.2f}{goal}")
    quiet = max(found["after"]["quiet"].calls)
    print(f"  most calls of an hour without changes, sweep excluded: {quiet} (goal <= {MOST_QUIET_CALLS})")


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default=BEFORE, metavar="REVISION", help="the earlier revision")
    parser.add_argument("--issues", type=int, default=20_000)
    parser.add_argument("--changed", type=int, default=CHANGED, help="how many change in an hour")
    parser.add_argument("--repeats", type=int, default=9, help="hours with changes")
    parser.add_argument("--quiet-hours", type=int, default=3, help="hours without, after those")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with _worktree(options.before) as tree, _bench(options.issues) as bench:
        contenders = [
            Contender("before", tree, 0),
            Contender("after", HERE.parent.resolve(), 0),
            Contender("after with sweep", HERE.parent.resolve(), DEFAULT_SWEEP_CALLS),
        ]
        found = measure(bench, contenders, options.changed, options.repeats, options.quiet_hours)
    if options.json:
        hours = {name: {kind: asdict(each) for kind, each in kinds.items()} for name, kinds in found.items()}
        print(json.dumps({"hours": hours, "ratios": ratios(found)}))
        return
    print(f"{options.issues:,} issues, {options.changed} changed in an hour; medians of {options.repeats} hours each")
    _print(found)


if __name__ == "__main__":
    main()
