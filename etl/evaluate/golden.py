"""Reads a golden set: a file of texts with their right answers, one JSON object a line."""

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from etl.dedup import issue_text
from etl.errors import ConfigurationError
from etl.tasks import Task

ANSWER_KEYS = ("label", "category", "categories")


@dataclass(frozen=True, slots=True)
class GoldenText:
    """One text, as it would be sent, and the right answer; `right` is empty where the text does not decide it."""

    line: int
    body: str
    right: frozenset[str]


@dataclass(frozen=True, slots=True)
class GoldenSet:
    """Texts with known answers. name: what results are kept under: the file's name and the digest of its content."""

    name: str
    texts: tuple[GoldenText, ...]


def read_golden(path: Path, task: Task) -> GoldenSet:
    """The golden set in a file (plain or gzip): lines with `text`, or `title` and `body`, and one of `ANSWER_KEYS`.

    An answer is a category id or an alias, whatever its case, true or false, the task's abstain word, or a list of
    them.

    Raises:
        ConfigurationError: the file cannot be read, has no line, or a line is not of that form; it says which.
    """
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if path.suffix == ".gz" else raw
        lines = content.decode("utf-8-sig").split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigurationError(f"golden set {path} cannot be read: {reason}") from None
    texts = tuple(_read_line(line, number, path, task) for number, line in enumerate(lines, 1) if line.strip())
    if not texts:
        raise ConfigurationError(f"golden set {path} has no line")
    return GoldenSet(f"{path.name} {sha256(content).hexdigest()[:12]}", texts)


def _read_line(line: str, number: int, path: Path, task: Task) -> GoldenText:
    where = f"{path} line {number}"
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise ConfigurationError(f"{where}: it is no JSON") from None
    if not isinstance(row, dict):
        raise ConfigurationError(f"{where}: it is no JSON object")
    keys = [key for key in ANSWER_KEYS if key in row]
    if len(keys) != 1:
        raise ConfigurationError(f"{where}: the right answer must be under one of {', '.join(ANSWER_KEYS)}")
    return GoldenText(number, _read_body(row, where), read_answer(row[keys[0]], task, where))


def _read_body(row: Mapping[str, Any], where: str) -> str:
    if isinstance(row.get("text"), str):
        body = row["text"]
    elif isinstance(row.get("title"), str) and isinstance(row.get("body", ""), str | None):
        body = issue_text(row["title"], row.get("body"))
    else:
        raise ConfigurationError(f"{where}: it needs `text`, or `title` and `body`, as strings")
    body = str(body).encode("utf-8", "replace").decode("utf-8")
    if not body.strip():
        raise ConfigurationError(f"{where}: the text is empty")
    return body


def read_answer(value: object, task: Task, where: str) -> frozenset[str]:
    """The set of categories that a person's words mean; empty for the abstain word, or an empty list.

    Raises:
        ConfigurationError: begins with `where` and says what is wrong with it, and what is allowed.
    """
    words = value if isinstance(value, list) else [value]
    known = f"; known are {', '.join(category.id for category in task.live_categories)} and {task.abstain}"
    found, abstained = set(), not words
    for word in words:
        if not isinstance(word, str | bool):
            raise ConfigurationError(f"{where}: an answer must be a word or a list of words{known}")
        spelled = str(word).lower() if isinstance(word, bool) else word
        if spelled.strip().casefold() == task.abstain.casefold():
            abstained = True
            continue
        category = task.resolve_category(spelled)
        if category is None:
            raise ConfigurationError(f"{where}: {spelled[:80]!r} is no category of task {task.name}{known}")
        found.add(category)
    if abstained and found:
        raise ConfigurationError(f"{where}: {task.abstain} cannot stand beside a category")
    if task.answers == "one_of" and len(found) > 1:
        raise ConfigurationError(f"{where}: task {task.name} has one category per text, not {len(found)}")
    return frozenset(found)
