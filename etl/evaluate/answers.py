"""The file that answers on a golden set are kept in as they come: what was paid for is never asked again."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from etl.errors import ConfigurationError
from etl.records import Answer
from etl.tasks import Task


def text_key(body: str) -> str:
    """What stands for a text in the file."""
    return sha256(body.encode("utf-8", "replace")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer out of the file."""

    classifier: str
    model: str
    prompt_version: str
    outcome: str
    categories: tuple[tuple[str, float], ...]


@dataclass(slots=True)
class AnswersFile:
    """Answers to one task by one classifier and model; lines of others in the same file are left alone.

    kept: by text, those that are there. path: None where nothing is written down.
    """

    task: Task
    classifier: str
    asked_model: str | None
    prompt_versions: tuple[str, ...] | None
    kept: dict[str, KeptAnswer] = field(default_factory=dict)
    _file: BinaryIO | None = None

    def keep(self, body: str, answer: Answer) -> None:
        """Appends an answer, on disk before this returns."""
        key = text_key(body)
        self.kept[key] = KeptAnswer(
            answer.classifier, answer.model, answer.prompt_version, answer.outcome, answer.categories
        )
        if self._file is None:
            return
        row = {
            "text": key,
            "task": self.task.name,
            "task_sha256": self.task.sha256,
            "asked_model": self.asked_model,
            "classifier": answer.classifier,
            "model": answer.model,
            "prompt_version": answer.prompt_version,
            "outcome": answer.outcome,
            "categories": [list(pair) for pair in answer.categories],
            "rationale": answer.rationale,
            "cost_usd": answer.usage.cost_usd if answer.usage else 0.0,
        }
        self._file.write(json.dumps(row).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self, row: dict[str, Any]) -> None:
        same = row["task_sha256"] == self.task.sha256 and row["classifier"] == self.classifier
        if not same or row["asked_model"] != self.asked_model:
            return
        if self.prompt_versions is not None and row["prompt_version"] not in self.prompt_versions:
            return
        pairs = tuple((str(category), float(confidence)) for category, confidence in row["categories"])
        self.kept[str(row["text"])] = KeptAnswer(
            row["classifier"], row["model"], row["prompt_version"], row["outcome"], pairs
        )


@contextmanager
def opened_answers(path: Path | None, answers: AnswersFile) -> Iterator[AnswersFile]:
    """`answers` with what the file holds, open for more until the end of the block; a missing file is made.

    A last line that a kill cut off is cut away.

    Raises:
        ConfigurationError: the file cannot be opened, is in use by another process, or is none of ours.
    """
    if path is None:
        yield answers
        return
    try:
        file = path.open("a+b")
    except OSError as error:
        raise ConfigurationError(f"--answers {path} cannot be opened: {error.strerror}; choose another path") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(f"--answers {path} is in use by another process; wait for its end") from None
        file.seek(0)
        content = file.read()
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                answers._read(json.loads(line))
            except (ValueError, KeyError, TypeError, RecursionError):
                raise ConfigurationError(
                    f"--answers {path} line {number}: it is no answer that was kept here"
                ) from None
        if whole < len(content):
            if not content[whole:].startswith(b'{"text": '):
                raise ConfigurationError(f"--answers {path}: its last line is no answer that was kept here")
            file.truncate(whole)
        answers._file = file
        try:
            yield answers
        finally:
            answers._file = None
