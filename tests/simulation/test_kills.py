"""kill -9 of the real command while GitHub lives on: after a quiet run PostgreSQL equals the truth."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from etl.db.store import Store
from tests.loopback.github import LoopbackGitHub
from tests.loopback.github_http import Request
from tests.loopback.github_life import Life
from tests.simulation.comparing import differences
from tests.simulation.living import NAMES

pytestmark = pytest.mark.kill


class _Mirror:
    """The command on a simulated GitHub, ended with kill -9 when the request of a given place comes."""

    def __init__(self, github: LoopbackGitHub, life: Life, database_url: str, folder: Path) -> None:
        self._life = life
        self._folder = folder
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "COVERAGE_PROCESS_CONFIG") if name in os.environ}
        self._environment = {
            **kept,
            "GITHUB_TOKEN": "token",
            "GITHUB_API_URL": github.url,
            "DATABASE_URL": database_url,
            "ISSUETIDE_SWEEP_HOURS": "0",
        }
        self._process: subprocess.Popen[str] | None = None
        self._left: int | None = None
        github.before_response = self._before_response

    def run(self, kill_at: int | None, **changes: str) -> int:
        """One fetch of both repositories; gives its exit code."""
        self._left = kill_at
        names = [option for name in NAMES for option in ("--repo", name)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "etl.cli", "fetch", *names, "--kinds", "issue,pull_request"],
            env={**self._environment, **changes},
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        _, errors = self._process.communicate(timeout=240)
        self._life.log.append(f"     run, killed at request {kill_at}: {self._process.returncode} {errors.strip()}")
        return self._process.returncode

    def _before_response(self, request: Request) -> None:
        self._life.during(request)
        if self._left is None or self._process is None:
            return
        self._left -= 1
        if self._left == 0:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


@pytest.mark.parametrize("seed", range(1, 11))
def test_a_mirror_that_was_killed_again_and_again_ends_as_the_truth(
    seed: int, database_url: str, tmp_path: Path
) -> None:
    chance = Random(seed)
    with LoopbackGitHub(tokens=("token",)) as github:
        github.advance(-30 * 86_400.0)
        life = Life(github, NAMES, chance)
        life.populate(chance.randint(20, 60))
        mirror = _Mirror(github, life, database_url, tmp_path)
        killed = 0
        for _ in range(3):
            for _ in range(chance.randint(3, 20)):
                life.step()
            killed += mirror.run(chance.randint(1, 14), ISSUETIDE_SWEEP_CALLS="20") == -signal.SIGKILL
        life.calm()
        github.advance(3600.0)
        assert mirror.run(None, ISSUETIDE_SWEEP_CALLS="100000", ISSUETIDE_TIMELINES="all") == 0, "\n".join(life.log)
        store = Store(database_url)
        try:
            with store.transaction() as connection:
                found = [line for name in NAMES for line in differences(connection, github, name)]
        finally:
            store.close()
    assert killed, "no run was killed"
    assert not found, "\n".join([*life.log, *found])
