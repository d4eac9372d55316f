"""The sheet of a review: safe to open, checked as a whole when it comes back."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from etl.errors import ConfigurationError
from etl.evaluate.sheet import COLUMNS, FilledRow, read_sheet, write_sheet
from etl.records import WeekAnswer
from etl.tasks import Task
from tests.fakes import TASK_FILE, write_task

ROW = WeekAnswer(
    document_id="42-issue-7-kind",
    text_hash="1:00ff",
    repository="octo/demo",
    number=7,
    title="It crashes",
    url="https://github.com/octo/demo/issues/7",
    body='It crashes\n\nEach time, with "quotes", commas; and semicolons.',
    categories=("bug",),
    confidence=0.4,
    rationale="a crash",
    chosen_as="lowest",
)


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return write_task(tmp_path)


def test_the_answer_of_the_classifier_is_hidden_unless_asked_for() -> None:
    for form in ("csv", "jsonl"):
        hidden, shown = (write_sheet([ROW], form, show_answers=show) for show in (False, True))
        assert "a crash" not in hidden
        assert "lowest" not in hidden
        assert "a crash" in shown


@pytest.mark.parametrize("word", ["=cmd()", "+1", "-1", "@SUM(A1)", " \t=1+1", "\n=1"])
def test_what_strangers_wrote_is_no_formula(word: str) -> None:
    sheet = write_sheet([replace(ROW, title=word, body=word, rationale=word)], "csv", show_answers=True)
    (row,) = csv.DictReader(io.StringIO(sheet))
    assert all(row[name].startswith("'") for name in ("title", "text", "rationale"))


def test_what_strangers_wrote_moves_no_cursor() -> None:
    hostile = replace(ROW, title="\x1b[2J\u202eevil", body="a\x00b\nc")
    (row,) = csv.DictReader(io.StringIO(write_sheet([hostile], "csv", show_answers=False)))
    assert (row["title"], row["text"]) == ("[2Jevil", "ab\nc")


def filled(row: WeekAnswer, category: str, why: str = "", delimiter: str = ",") -> str:
    sheet = csv.DictReader(io.StringIO(write_sheet([row], "csv", show_answers=False)))
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, sheet.fieldnames or (), delimiter=delimiter)
    writer.writeheader()
    writer.writerows({**entry, "category": category, "why": why} for entry in sheet)
    return stream.getvalue()


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_filled_sheet_is_read_as_a_spreadsheet_saves_it(delimiter: str, mark: str, task: Task) -> None:
    (row,) = read_sheet(mark + filled(ROW, " Bug ", "a  real\ncrash", delimiter), task)
    assert row == FilledRow(2, 42, "issue", 7, "1:00ff", ("bug",), "a real crash")


def test_a_filled_sheet_of_json_lines_is_read_too(task: Task) -> None:
    entries = [json.loads(line) for line in write_sheet([ROW, ROW], "jsonl", show_answers=False).splitlines()]
    assert list(entries[0]) == list(COLUMNS)
    entries[1] |= {"document_id": "42-issue-8-kind", "category": ["uncertain"]}
    content = "\n".join(json.dumps(entry) for entry in entries)
    assert [(row.line, row.number, row.categories) for row in read_sheet(content, task)] == [(2, 8, ())]


def test_what_is_left_blank_is_skipped(task: Task) -> None:
    assert read_sheet(filled(ROW, "  "), task) == []
    assert read_sheet(",".join(COLUMNS) + "\r\n", task) == []


def test_several_categories_stand_between_semicolons(tmp_path: Path) -> None:
    many = write_task(tmp_path, TASK_FILE.replace(b'answers = "one_of"', b'answers = "many_of"\nat_most = 2'))
    (row,) = read_sheet(filled(ROW, "feature; bug"), many)
    assert row.categories == ("bug", "feature")


def test_every_wrong_line_is_named_and_nothing_is_given(task: Task) -> None:
    head = "document_id,text_hash,category,why\r\n"
    lines = (
        "42-issue-1-kind,,bug,\r\n"
        '42-issue-2-kind,,nonsense,"two\r\nlines"\r\n'
        "42-issue-3-other,,bug,\r\n"
        "42-issue-1-kind,,feature,\r\n"
        f"42-issue-5-kind,,bug,{'x' * 1001}\r\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        read_sheet(head + lines, task)
    message = str(caught.value)
    assert message.startswith("nothing was stored: line 3: 'nonsense' is no category of task kind")
    for words in (
        "line 5: its document_id names no issue of task kind",
        "line 6: the same issue stands in line 2",
        "line 7: `why` must be text of at most 1,000 characters",
    ):
        assert words in message


def test_a_deprecated_category_is_refused(tmp_path: Path) -> None:
    task = write_task(tmp_path, TASK_FILE.replace(b'is wanted."', b'is wanted."\ndeprecated = true'))
    with pytest.raises(ConfigurationError, match="line 2: feature is deprecated; allowed are bug"):
        read_sheet(filled(ROW, "feature"), task)


def test_a_sheet_without_its_first_line_is_refused(task: Task) -> None:
    with pytest.raises(ConfigurationError, match="the columns document_id, category, why are missing"):
        read_sheet("a,b\r\n1,2\r\n", task)
    with pytest.raises(ConfigurationError, match="line 2: it is no JSON object"):
        read_sheet('{"category": ""}\n{nothing\n', task)
