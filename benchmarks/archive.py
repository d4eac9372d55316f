"""GH Archive: how fast an hour of all GitHub is read for one repository, and in how much memory.

    python -m benchmarks.archive [--lines 200000] [--repeats 3] [--json]

Writes a synthetic hour: mostly pushes, a tenth issue and comment events, one event in two thousand of the repository
asked for; objects as long as GitHub's, with prose, markdown and the many links that compress so well. Reads it as
`issuetide run --input HOUR.json.gz --repo octo/wanted` does, up to the pages, without a database. Beside it: gzip alone
(the floor), and decoding every line. CPU time of this process, the best of the repeats; memory is that of a process of
its own.
"""

import argparse
import gzip
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from etl.records import Scope
from etl.sources.files import Files
from tests.loopback.github_world import Comment, Issue, Renderer, Repo

WANTED = Repo(42, "octo/wanted")
RENDERER = Renderer("https://api.github.com", "https://github.com")
START = 1_705_330_800
SCOPE = Scope(repositories=(WANTED.full_name,), kinds=("issue", "pull_request"))


def make_events(lines: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    """An hour's events in order of time."""
    chance = random.Random(seed)
    words = ["".join(chance.choices("etaoinshrdlucm", k=chance.randint(2, 9))) for _ in range(4000)]

    def prose(length: int) -> str:
        return " ".join(chance.choices(words, k=length)).replace(" e", '.\n\n> "e', length // 20)

    for place in range(lines):
        at = START + place * 3600 // lines
        repo = WANTED if chance.random() < 0.0005 else Repo(chance.randrange(10**8), f"{prose(1)}/{prose(1)}")
        roll = 0.95 + chance.random() / 20 if repo is WANTED else chance.random()
        kind = "PushEvent"
        payload: dict[str, Any] = {"ref": "refs/heads/main", "commits": [{"message": prose(12), "distinct": True}]}
        if roll >= 0.9:
            issue = Issue(1 + chance.randrange(5000), place + 1, prose(9), prose(250), START - 10**6, at)
            kind, payload = "IssuesEvent", {"action": "opened", "issue": RENDERER.issue(repo, issue)}
            if roll < 0.97:
                comment = Comment(place + 1, issue.number, prose(120), at, at)
                kind, payload = "IssueCommentEvent", {**payload, "comment": RENDERER.comment(repo, comment)}
        elif roll >= 0.6:  # PullRequestEvent and its like: as long as they are many.
            issue = Issue(1 + chance.randrange(5000), place + 1, prose(9), prose(120), START - 10**6, at)
            shown = RENDERER.issue(repo, issue)
            kind, payload = "PullRequestEvent", {"pull_request": {**shown, "head": shown, "base": shown}}
        yield {
            "id": str(35_000_000_000 + place),
            "type": kind,
            "actor": {"id": place, "login": "someone", "url": "https://api.github.com/users/someone"},
            "repo": {"id": repo.id, "name": repo.full_name, "url": f"https://api.github.com/repos/{repo.full_name}"},
            "payload": payload,
            "public": True,
            "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at)),
        }


def write_hour(path: Path, lines: int) -> int:
    """Writes the hour; gives how many bytes its text has."""
    size = 0
    with gzip.open(path, "wb", compresslevel=6) as file:
        for event in make_events(lines):
            size += file.write(orjson.dumps(event) + b"\n")
    return size


def read_pages(path: Path) -> int:
    """What the command reads; gives the number of items."""
    source = Files(path)
    return sum(len(page.items) for stream in source.streams(SCOPE) for page in source.fetch(stream, SCOPE, None))


def _only_gzip(path: Path) -> int:
    with gzip.open(path) as file:
        return sum(len(block) for block in iter(lambda: file.read1(1 << 20), b""))


def _every_line(path: Path) -> int:
    with gzip.open(path) as file:
        return sum(orjson.loads(line)["repo"]["name"] == WANTED.full_name for line in file)


def _best(read: Callable[[Path], int], path: Path, repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        before = time.process_time()
        read(path)
        seconds.append(time.process_time() - before)
    return min(seconds)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak_of:
        read_pages(Path(arguments.peak_of))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "2024-01-15-15.json.gz"
        size = write_hour(path, arguments.lines)
        items = read_pages(path)
        seconds = {
            "issuetide": _best(read_pages, path, arguments.repeats),
            "gzip alone": _best(_only_gzip, path, arguments.repeats),
            "every line decoded": _best(_every_line, path, arguments.repeats),
        }
        peak = subprocess.run(
            [sys.executable, "-m", "benchmarks.archive", "--peak-of", str(path)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        facts = {"lines": arguments.lines, "megabytes": size // 10**6, "gzip_megabytes": path.stat().st_size // 10**6}
    rates = {name: round(arguments.lines / value) for name, value in seconds.items()}
    if arguments.json:
        print(json.dumps({**facts, "items": items, "lines_per_second": rates, "peak_megabytes": int(peak)}))
        return
    print(", ".join(f"{name} {value}" for name, value in facts.items()), f"items {items}")
    for name, value in seconds.items():
        print(f"{name:20} {value:7.2f} s CPU {rates[name]:>10,} lines/s {size / value / 1e6:7.0f} MB/s")
    print(f"peak memory of a reading process: {peak} MiB")


if __name__ == "__main__":
    main()
