"""The sheet of a review: texts to be answered by a person, as CSV for a spreadsheet or as JSON lines, and back."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from etl.errors import ConfigurationError
from etl.evaluate.golden import read_answer
from etl.records import WeekAnswer
from etl.tasks import Task

Form = Literal["csv", "jsonl"]

TO_FILL = ("category", "why")
COLUMNS = ("document_id", "text_hash", *TO_FILL, "repository", "number", "title", "url", "text")
ANSWER_COLUMNS = ("answer", "confidence", "rationale", "chosen_as")
"""Left out unless asked for: whoever sees the answer first tends to agree with it."""

LONGEST_WHY = 1000
_LONGEST_TEXT = 8000
_MOST_COMPLAINTS = 20
_FORMULA = ("=", "+", "-", "@")
_DOCUMENT = re.compile(r"(\d{1,19})-(issue|pull_request)-(\d{1,18})-([a-z][a-z0-9_]{0,62})", re.ASCII)


@dataclass(frozen=True, slots=True)
class FilledRow:
    """What a person answered, and where it stands. text_hash: of the text that the person saw; None where unknown."""

    line: int
    repository_key: int
    kind: str
    number: int
    text_hash: str | None
    categories: tuple[str, ...]
    why: str


def write_sheet(rows: Sequence[WeekAnswer], form: Form, *, show_answers: bool) -> str:
    """The sheet; `category` and `why` are empty. What strangers wrote can neither be a formula nor move a cursor."""
    names = [*COLUMNS, *(ANSWER_COLUMNS if show_answers else ())]
    entries = [{name: value for name, value in _values(row).items() if name in names} for row in rows]
    if form == "jsonl":
        return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(names)
    writer.writerows([_cell(entry[name]) for name in names] for entry in entries)
    return stream.getvalue()


def _values(row: WeekAnswer) -> dict[str, Any]:
    return {
        "document_id": row.document_id,
        "text_hash": row.text_hash,
        "category": "",
        "why": "",
        "repository": row.repository,
        "number": row.number,
        "title": _plain(row.title),
        "url": _plain(row.url),
        "text": _plain(row.body[:_LONGEST_TEXT]),
        "answer": ";".join(row.categories),
        "confidence": row.confidence,
        "rationale": _plain(row.rationale),
        "chosen_as": row.chosen_as,
    }


def _plain(text: str) -> str:
    """Without control and format characters (escape sequences, turned writing); lines and tabs stay."""
    return "".join(
        letter for letter in text if letter in "\n\t\u200c\u200d" or not unicodedata.category(letter).startswith("C")
    )


def _cell(value: object) -> object:
    """A cell that a spreadsheet would take for a formula gets an apostrophe in front."""
    if isinstance(value, str) and value.lstrip().startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value


def read_sheet(content: str, task: Task) -> list[FilledRow]:
    """The rows that somebody filled in; a blank `category` is skipped. Everything is checked before anything is given.

    CSV with commas or semicolons between, or JSON lines; told by the first character.

    Raises:
        ConfigurationError: names the lines that are wrong, and what is wrong with each.
    """
    content = content.removeprefix("\ufeff")
    rows = _json_rows(content) if content.lstrip()[:1] == "{" else _csv_rows(content)
    found: dict[str, FilledRow] = {}
    complaints: list[str] = []
    for line, row in rows:
        try:
            filled = _read_row(line, row, task)
        except ConfigurationError as error:
            complaints.append(str(error))
            continue
        if filled is not None:
            first = found.setdefault(f"{filled.repository_key}-{filled.kind}-{filled.number}", filled)
            if first is not filled:
                complaints.append(f"line {line}: the same issue stands in line {first.line}")
    if complaints:
        more = f"; and {len(complaints) - _MOST_COMPLAINTS} more" if len(complaints) > _MOST_COMPLAINTS else ""
        raise ConfigurationError(f"nothing was stored: {'; '.join(complaints[:_MOST_COMPLAINTS])}{more}")
    return list(found.values())


def _csv_rows(content: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    header = content.partition("\n")[0]
    reader = csv.DictReader(
        io.StringIO(content, newline=""), delimiter=";" if header.count(";") > header.count(",") else ","
    )
    missing = [name for name in ("document_id", *TO_FILL) if name not in (reader.fieldnames or ())]
    if missing:
        raise ConfigurationError(f"line 1: the columns {', '.join(missing)} are missing; keep the sheet's first line")
    line = reader.line_num + 1
    try:
        for row in reader:
            yield line, {str(name): value or "" for name, value in row.items()}
            line = reader.line_num + 1
    except csv.Error as error:
        raise ConfigurationError(f"line {line}: it is no CSV: {error}") from None


def _json_rows(content: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, text in enumerate(content.split("\n"), 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            row = None
        yield line, row if isinstance(row, dict) else {}


def _read_row(line: int, row: Mapping[str, Any], task: Task) -> FilledRow | None:
    where = f"line {line}"
    if not row:
        raise ConfigurationError(f"{where}: it is no JSON object")
    answer = row.get("category", "")
    if isinstance(answer, str):
        answer = [word.strip() for word in answer.split(";") if word.strip()]
        if not answer:
            return None
    why = row.get("why") or ""
    if not isinstance(why, str) or len(why) > LONGEST_WHY:
        raise ConfigurationError(f"{where}: `why` must be text of at most {LONGEST_WHY:,} characters")
    named = _DOCUMENT.fullmatch(str(row.get("document_id", "")).strip())
    if named is None or named[4] != task.name:
        raise ConfigurationError(f"{where}: its document_id names no issue of task {task.name}; leave it as it was")
    chosen = read_answer(answer, task, where)
    allowed = {category.id for category in task.live_categories}
    if chosen - allowed:
        raise ConfigurationError(
            f"{where}: {min(chosen - allowed)} is deprecated; allowed are {', '.join(sorted(allowed))}"
        )
    if len(chosen) > task.at_most:
        raise ConfigurationError(f"{where}: task {task.name} has at most {task.at_most} categories per text")
    seen = str(row.get("text_hash") or "").strip() or None
    order = [category.id for category in task.categories if category.id in chosen]
    words = " ".join(_plain(why).split())
    return FilledRow(line, int(named[1]), named[2], int(named[3]), seen, tuple(order), words)
