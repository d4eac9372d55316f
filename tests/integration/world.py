"""A whole world for the command: loopback GitHub and Anthropic, a real PostgreSQL, a real OpenSearch.

The command runs as a process of its own, as cron would start it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import requests

from tests.loopback.anthropic import LoopbackAnthropic
from tests.loopback.anthropic_answers import item_texts
from tests.loopback.github import LoopbackGitHub

KEY = "sk-ant-loopback"
REPOSITORY = "octo/demo"


@dataclass
class World:
    """Everything the command talks to, and the command."""

    github: LoopbackGitHub
    anthropic: LoopbackAnthropic
    database_url: str
    opensearch_url: str
    folder: Path
    prefix: str = field(default_factory=lambda: f"t{uuid4().hex[:10]}")
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def environment(self, **changes: str) -> dict[str, str]:
        """What the command sees: this world, and nothing of whoever runs the tests."""
        kept = {
            name: os.environ[name] for name in ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_CONFIG") if name in os.environ
        }
        return {
            **kept,
            "GITHUB_TOKEN": "token",
            "GITHUB_API_URL": self.github.url,
            "ANTHROPIC_API_KEY": KEY,
            "ANTHROPIC_BASE_URL": self.anthropic.url,
            "DATABASE_URL": self.database_url,
            "OPENSEARCH_URL": self.opensearch_url,
            "ISSUETIDE_INDEX_PREFIX": self.prefix,
            "ISSUETIDE_DATA_DIR": str(self.folder / "data"),
            **changes,
        }

    def start(self, *arguments: str, **changes: str) -> "subprocess.Popen[str]":
        """The command as a process, its output kept."""
        process = subprocess.Popen(
            [sys.executable, "-m", "etl.cli", *arguments],
            env=self.environment(**changes),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def stop(self) -> None:
        """Ends what still runs, as after a test that failed: it must not disturb the tests after it."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def command(self, *arguments: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        """The command, run to its end."""
        process = self.start(*arguments, **changes)
        output, errors = process.communicate(timeout=240)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def run(self, *arguments: str, code: int = 0, **changes: str) -> dict[str, Any]:
        """`issuetide run` on the world's repository with `--json`; its outcome."""
        done = self.command("run", "--repo", REPOSITORY, "--task", "issue_kind", "--json", *arguments, **changes)
        assert done.returncode == code, done.stderr
        outcome: dict[str, Any] = json.loads(done.stdout)
        return outcome

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What the database says."""
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(statement.encode()).fetchall()

    def execute(self, statement: str) -> None:
        """Changes something in the database."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute(statement.encode())

    def documents(self, index: str = "classifications") -> dict[str, dict[str, Any]]:
        """Every document of an index by id."""
        requests.post(f"{self.opensearch_url}/{self.prefix}-{index}/_refresh", timeout=120)
        found = requests.get(
            f"{self.opensearch_url}/{self.prefix}-{index}/_search", params={"size": "10000"}, timeout=120
        ).json()
        return {hit["_id"]: hit["_source"] for hit in found["hits"]["hits"]}

    def asked_items(self) -> list[str]:
        """The texts that Anthropic answered, in order, also those that shared a request."""
        answered = [entry for entry in self.anthropic.asked() if entry.status == 200]
        return [text for entry in answered for text in item_texts(entry.json)]


@contextmanager
def make_world(database_url: str, opensearch_url: str, folder: Path) -> Iterator[World]:
    """A world whose loopback servers stop, and whose indices go, at the end."""
    with LoopbackGitHub(tokens={"token"}) as github, LoopbackAnthropic(key=KEY) as anthropic:
        world = World(github, anthropic, database_url, opensearch_url, folder)
        github.add_repository(REPOSITORY)
        try:
            yield world
        finally:
            world.stop()
            for name in ("classifications", "daily", "runs"):
                requests.delete(f"{opensearch_url}/{world.prefix}-{name}-v1", timeout=120)


def fill(world: World, issues: int, *, comments: int = 0) -> None:
    """Issues with distinct texts, a minute apart from a midnight (UTC) on, the first `comments` with a comment."""
    kinds = ("It crashes with an error when {}", "Please add support for {}", "How do I configure {}?")
    nouns = ("the parser", "the cache", "the lexer", "the router", "the shell", "the panel", "the socket", "the index")
    verbs = ("under load", "on start", "after sleep", "in a loop", "with proxies", "on ARM", "without network")
    first = (int(world.github.now()) // 86_400 - 30) * 86_400
    for place in range(issues):
        noun, verb = nouns[place % len(nouns)], verbs[(place // len(nouns)) % len(verbs)]
        wave = "again " * (place // (len(nouns) * len(verbs)))
        number = world.github.add_issue(
            REPOSITORY,
            kinds[place % 3].format(noun),
            f"We see this {verb} {wave}with {noun}.",
            created_at=first + place * 60,
            labels=("triaged",) if place % 2 else (),
        )
        if place < comments:
            world.github.add_comment(REPOSITORY, number, f"A comment about {noun} {verb}.")
