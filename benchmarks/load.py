"""Loading: CPU, memory and time beside the floor, and beside tuned dlt where it is installed, all in one run.

    python -m benchmarks.load                              20,000 issues
    python -m benchmarks.load --memory-issues 200000       also the peak memory at ten times as many
    python -m benchmarks.load --dlt-python .dlt/bin/python also dlt, installed in an environment of its own
    python -m benchmarks.load --json

A loopback GitHub in this process serves generated issues of real-looking size (about 4.5 KB of JSON each). Every
contender is a process of its own; the PostgreSQL is an embedded one in a temporary folder. CPU is that of the client
process plus that of PostgreSQL. Ratios are the claim, absolute times are not.
"""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

import psutil
import psycopg

from etl.db.migrate import upgrade
from etl.servers.postgres import postgres_status, start_postgres, stop_postgres
from tests.loopback.github import LoopbackGitHub

REPOSITORY = "octo/bench"
HERE = Path(__file__).parent
CHANGED = 200
REPEATS = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process cost: CPU seconds of the client and of PostgreSQL, wall seconds, peak memory in MiB."""

    client_cpu: float
    postgres_cpu: float
    wall: float
    peak_mib: float

    @property
    def cpu(self) -> float:
        """Client and PostgreSQL together."""
        return self.client_cpu + self.postgres_cpu


class _Peak:
    """Watches a process's peak resident memory; `ru_maxrss` would include that of the process which started it."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}/status")
        self._kib = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            try:
                found = re.search(r"VmHWM:\s+(\d+)", self._path.read_text(encoding="ascii"))
            except OSError:
                return
            self._kib = max(self._kib, int(found[1]) if found else 0)

    def stop(self) -> float:
        """The peak in MiB."""
        self._ended.set()
        self._thread.join()
        return self._kib / 1024


class Bench:
    """A PostgreSQL, a GitHub, and the processes that are measured between them."""

    def __init__(self, folder: Path, github: LoopbackGitHub) -> None:
        self.folder = folder
        self.github = github
        self.server_url = start_postgres(folder)
        pid = postgres_status(folder).pid
        assert pid is not None
        self.postmaster = psutil.Process(pid)

    def new_database(self, name: str, *, migrated: bool) -> str:
        """The URL of a fresh database."""
        with psycopg.connect(self.server_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
            connection.execute(f"CREATE DATABASE {name}".encode())
            connection.execute("CHECKPOINT")
        url = urlunsplit(urlsplit(self.server_url)._replace(path=f"/{name}"))
        if migrated:
            upgrade(url)
        return url

    def postgres_cpu(self) -> float:
        """CPU seconds of PostgreSQL so far, backends that have ended included."""
        own = self.postmaster.cpu_times()
        total = own.user + own.system + own.children_user + own.children_system
        for child in self.postmaster.children():
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return total

    def measure(self, *command: str, **environment: str) -> Cost:
        """Runs `command` to its end, which must be good."""
        before, started = self.postgres_cpu(), time.perf_counter()
        process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE.parent), "HOME": str(self.folder), **environment},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        peak = _Peak(process.pid)
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{output}")
        time.sleep(0.2)  # until the backend has ended and the postmaster has counted it
        return Cost(used.ru_utime + used.ru_stime, self.postgres_cpu() - before, wall, peak.stop())

    def level(self) -> None:
        """Lets every contender find the server alike after an edit: the list sorted, no page rendered for another."""
        assert self.github.kept_pages is not None
        with urlopen(
            f"{self.github.url}/repos/{REPOSITORY}/issues?state=all&sort=updated&direction=asc&per_page=1"
        ) as page:
            page.read()
        self.github.kept_pages.clear()

    def floor(self, url: str) -> Cost:
        """The bare script."""
        return self.measure(sys.executable, str(HERE / "floor.py"), self.github.url, REPOSITORY, url)

    def load_only(self, url: str) -> Cost:
        """Issuetide's fetch stage alone: no texts, no ids."""
        return self.measure(sys.executable, "-m", "benchmarks.fetch_only", self.github.url, REPOSITORY, url)

    def command(self, url: str, *arguments: str, **environment: str) -> Cost:
        """The command `issuetide` as a user calls it."""
        return self.measure(
            sys.executable,
            "-m",
            "etl.cli",
            *arguments,
            "--repo",
            REPOSITORY,
            "--no-comments",
            DATABASE_URL=url,
            GITHUB_API_URL=self.github.url,
            GITHUB_TOKEN="bench",
            ISSUETIDE_DATA_DIR=str(self.folder / "data"),
            **environment,
        )


def make_issues(count: int) -> Iterator[dict[str, Any]]:
    """Issues of real-looking size: bodies of 200 to 6,000 characters, some labels, a fifth closed."""
    chance = random.Random(7)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 10))) for _ in range(4000)]
    start = int(time.time()) - count * 60 - 86_400
    for place in range(count):
        created = start + place * 60
        yield {
            "title": " ".join(chance.choices(words, k=9)),
            "body": "\n".join(" ".join(chance.choices(words, k=12)) for _ in range(chance.randint(3, 80))),
            "created_at": created,
            "updated_at": created,
            "labels": tuple(chance.sample(["bug", "triaged", "module: x", "high priority", "needs repro"], k=2)),
            "state": "closed" if place % 5 == 0 else "open",
            "closed_at": created + 30 if place % 5 == 0 else None,
        }


@contextmanager
def _bench(count: int) -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="issuetide-bench-"))
    try:
        with LoopbackGitHub(keep_pages=True) as github:
            github.limit = github.remaining = 10**9
            github.add_repository(REPOSITORY)
            for issue in make_issues(count):
                github.add_issue(REPOSITORY, **issue)
            yield Bench(folder, github)
    finally:
        stop_postgres(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(getattr(cost, name) for cost in costs) for name in Cost.__slots__))


def measure_loads(bench: Bench, dlt_python: str | None, repeats: int) -> dict[str, Cost]:
    """Initial loads, interleaved, the median of `repeats` each; the first read of all warms the server's pages."""
    found: dict[str, list[Cost]] = {}
    bench.floor(bench.new_database("warm", migrated=False))
    for _ in range(repeats):
        found.setdefault("floor", []).append(bench.floor(bench.new_database("floor", migrated=False)))
        found.setdefault("issuetide, no hashing", []).append(
            bench.load_only(bench.new_database("loaded", migrated=True))
        )
        found.setdefault("issuetide fetch", []).append(
            bench.command(bench.new_database("ours", migrated=True), "fetch")
        )
        if dlt_python:
            shutil.rmtree(bench.folder / ".dlt_work", ignore_errors=True)
            found.setdefault("dlt, tuned", []).append(
                bench.measure(
                    dlt_python,
                    str(HERE / "dlt_load.py"),
                    bench.github.url,
                    REPOSITORY,
                    bench.new_database("dlt", migrated=False),
                )
            )
    return {name: _median(costs) for name, costs in found.items()}


def measure_reruns(bench: Bench, urls: dict[str, str], repeats: int) -> dict[str, Cost]:
    """The hourly rerun with 200 changed issues, and the one with none; whole processes, the median of `repeats`."""
    found: dict[str, list[Cost]] = {}
    chance = random.Random(11)
    count = len(bench.github.repository(REPOSITORY).issues)
    for _ in range(repeats):
        for number in chance.sample(range(1, count + 1), CHANGED):
            bench.github.edit_issue(REPOSITORY, number, title=f"Edited {chance.random()}")
        bench.github.advance(1800)
        bench.level()
        found.setdefault("floor, 200 changed", []).append(bench.floor(urls["floor"]))
        bench.level()
        found.setdefault("issuetide, 200 changed, no hashing", []).append(bench.load_only(urls["loaded"]))
        bench.level()
        found.setdefault("issuetide fetch, 200 changed", []).append(bench.command(urls["ours"], "fetch"))
        rules = ("run", "--task", "issue_kind", "--classifier", "rules")
        bench.command(urls["ours"], *rules)
        found.setdefault("issuetide run, nothing changed", []).append(bench.command(urls["ours"], *rules))
    return {name: _median(costs) for name, costs in found.items()}


def _ratios(costs: dict[str, Cost], peaks: dict[int, float]) -> dict[str, float]:
    floor = costs["floor"].cpu
    ratios = {
        "load without hashing / floor, CPU (goal <= 1.6)": costs["issuetide, no hashing"].cpu / floor,
        "load with hashing / floor, CPU": costs["issuetide fetch"].cpu / floor,
        "rerun, 200 changed, without hashing / floor, wall (goal <= 2)": costs[
            "issuetide, 200 changed, no hashing"
        ].wall
        / costs["floor, 200 changed"].wall,
        "rerun, 200 changed, the whole command with hashing / floor, wall": costs["issuetide fetch, 200 changed"].wall
        / costs["floor, 200 changed"].wall,
        "nothing changed, seconds of the whole process (goal <= 0.8)": costs["issuetide run, nothing changed"].wall,
    }
    if "dlt, tuned" in costs:
        ratios["load without hashing / tuned dlt, CPU (goal <= 0.5)"] = (
            costs["issuetide, no hashing"].cpu / costs["dlt, tuned"].cpu
        )
    if len(peaks) > 1:
        ratios["peak memory, largest / smallest load (goal <= 1.2)"] = peaks[max(peaks)] / peaks[min(peaks)]
    return ratios


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--issues", type=int, default=20_000)
    parser.add_argument("--memory-issues", type=int, help="also load this many, for peak memory")
    parser.add_argument("--dlt-python", help="an interpreter that has dlt[postgres] installed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with _bench(options.issues) as bench:
        costs = measure_loads(bench, options.dlt_python, options.repeats)
        peaks = {options.issues: costs["issuetide fetch"].peak_mib}
        urls = {
            "floor": bench.new_database("floor", migrated=False),
            "loaded": bench.new_database("loaded", migrated=True),
            "ours": bench.new_database("ours", migrated=True),
        }
        bench.floor(urls["floor"])
        bench.load_only(urls["loaded"])
        bench.command(urls["ours"], "run", "--task", "issue_kind", "--classifier", "rules")
        costs |= measure_reruns(bench, urls, REPEATS)
    if options.memory_issues:
        with _bench(options.memory_issues) as bench:
            large = bench.command(bench.new_database("ours", migrated=True), "fetch")
            peaks[options.memory_issues] = large.peak_mib
    ratios = _ratios(costs, peaks)
    if options.json:
        print(json.dumps({"costs": {k: asdict(v) for k, v in costs.items()}, "peaks": peaks, "ratios": ratios}))
        return
    print(f"{options.issues:,} issues; CPU in milliseconds per 1,000 issues where the whole list is loaded")
    for name, cost in costs.items():
        print(
            f"  {name:<32} client {cost.client_cpu:7.2f} s  PostgreSQL {cost.postgres_cpu:7.2f} s"
            f"  wall {cost.wall:7.2f} s  peak {cost.peak_mib:6.0f} MiB"
        )
    for count, peak in peaks.items():
        print(f"  peak memory of `issuetide fetch` with {count:,} issues: {peak:.0f} MiB")
    for name, ratio in ratios.items():
        print(f"  {name}: {ratio:.2f}")


if __name__ == "__main__":
    main()
