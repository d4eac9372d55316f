"""The command as a process, with a database, the loopback Anthropic and a folder of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.loopback.anthropic import LoopbackAnthropic
from tests.loopback.anthropic_answers import packed_items


@dataclass
class CommandDesk:
    """Where commands are called. settings: of every command, beside where its servers are."""

    anthropic: LoopbackAnthropic
    database_url: str
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str, **changes: str) -> "subprocess.Popen[str]":
        """The command as a process, its output kept."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "COVERAGE_PROCESS_CONFIG") if name in os.environ}
        environment = {
            **kept,
            "ANTHROPIC_API_KEY": self.anthropic.key,
            "ANTHROPIC_BASE_URL": self.anthropic.url,
            "DATABASE_URL": self.database_url,
            "ISSUETIDE_DATA_DIR": str(self.folder / "data"),
            "ISSUETIDE_THREADS": "2",
            "ISSUETIDE_EXECUTOR": "sync",
            **self.settings,
            **changes,
        }
        return subprocess.Popen(
            [sys.executable, "-m", "etl.cli", *arguments],
            env=environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def command(self, *arguments: str, code: int = 0, **changes: str) -> str:
        """What the command printed, run to its end; where that is an error, the error as well."""
        process = self.start(*arguments, **changes)
        output, errors = process.communicate(timeout=240)
        assert process.returncode == code, errors + output
        return output if code == 0 else output + errors

    def json(self, *arguments: str, code: int = 0, **changes: str) -> Any:
        """What it printed with `--json`."""
        return json.JSONDecoder().raw_decode(self.command(*arguments, "--json", code=code, **changes))[0]

    def kill_after(self, answered: int, *arguments: str, **changes: str) -> None:
        """Starts a command and ends it with kill -9 while it waits for an answer, so many more texts being answered."""
        answer, until = self.anthropic.answer, len(self.asked()) + answered

        def strike(body: Mapping[str, Any]) -> str:
            if len(self.asked()) >= until:
                process.send_signal(signal.SIGKILL)
                process.wait()
            return answer(body)

        self.anthropic.answer = strike
        process = self.start(*arguments, **changes)
        _, errors = process.communicate(timeout=240)
        self.anthropic.answer = answer
        assert process.returncode == -signal.SIGKILL, errors

    def asked(self) -> list[str]:
        """Every text that was asked about so far and answered."""
        texts: list[str] = []
        for entry in self.anthropic.asked():
            if entry.status == 200:
                texts += [text for _, text in packed_items(entry.json)] or [entry.item]
        return texts

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What the database says."""
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(statement.encode()).fetchall()
