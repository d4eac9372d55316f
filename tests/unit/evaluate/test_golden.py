"""Golden sets and kept answers as files: read exactly, refused with the line, never half lost."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from etl.dedup import issue_text
from etl.errors import ConfigurationError
from etl.evaluate.answers import AnswersFile, opened_answers, text_key
from etl.evaluate.golden import read_golden
from etl.records import Answer, Usage
from etl.tasks import Task
from tests.fakes import TASK_FILE, write_task

ALIASED = TASK_FILE.replace(b'is broken."', b'is broken."\naliases = ["Defect"]')
MANY = TASK_FILE.replace(b'answers = "one_of"', b'answers = "many_of"\nat_most = 2')


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return write_task(tmp_path, ALIASED)


def write(folder: Path, *rows: Any) -> Path:
    path = folder / "golden.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_texts_and_answers_are_read_whatever_their_form(tmp_path: Path, task: Task) -> None:
    path = write(
        tmp_path,
        {"title": "It crashes", "body": "Each time.", "label": "BUG"},
        "",
        {"text": "It crashes, too.", "category": "defect", "id": 7},
        {"title": "What?", "body": None, "categories": ["Uncertain"]},
        {"title": "Alone", "label": ["feature"]},
    )
    golden = read_golden(path, task)
    assert [(entry.line, set(entry.right)) for entry in golden.texts] == [
        (1, {"bug"}),
        (3, {"bug"}),
        (4, set()),
        (5, {"feature"}),
    ]
    assert golden.texts[0].body == issue_text("It crashes", "Each time.")
    assert golden.texts[1].body == "It crashes, too."


def test_a_packed_file_is_the_same_set_with_another_name(tmp_path: Path, task: Task) -> None:
    plain = write(tmp_path, {"text": "It crashes.", "label": "bug"})
    packed = tmp_path / "golden.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    one, other = read_golden(plain, task), read_golden(packed, task)
    assert one.texts == other.texts
    assert one.name.split()[1] == other.name.split()[1]


def test_several_categories_belong_to_tasks_that_have_them(tmp_path: Path) -> None:
    path = write(tmp_path, {"text": "Both.", "categories": ["bug", "feature"]}, {"text": "None.", "categories": []})
    assert [entry.right for entry in read_golden(path, write_task(tmp_path, MANY)).texts] == [{"bug", "feature"}, set()]
    with pytest.raises(ConfigurationError, match="line 1: task kind has one category per text, not 2"):
        read_golden(path, write_task(tmp_path))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("{nothing", "line 2: it is no JSON"),
        ("[1]", "line 2: it is no JSON object"),
        ({"text": "x"}, "line 2: the right answer must be under one of label, category, categories"),
        ({"text": "x", "label": "bug", "category": "bug"}, "line 2: the right answer must be under one of"),
        ({"text": "x", "label": "nonsense"}, "line 2: 'nonsense' is no category of task kind; known are bug, feature"),
        ({"text": "x", "label": 5}, "line 2: an answer must be a word"),
        ({"text": "x", "label": ["bug", "uncertain"]}, "line 2: uncertain cannot stand beside a category"),
        ({"body": "x", "label": "bug"}, "line 2: it needs `text`, or `title` and `body`"),
        ({"text": " ", "label": "bug"}, "line 2: the text is empty"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(row: Any, complaint: str, tmp_path: Path, task: Task) -> None:
    path = write(tmp_path, {"text": "It crashes.", "label": "bug"}, row)
    with pytest.raises(ConfigurationError, match=complaint):
        read_golden(path, task)


def test_a_file_that_is_not_there_or_empty_is_refused(tmp_path: Path, task: Task) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_golden(tmp_path / "missing.jsonl", task)
    with pytest.raises(ConfigurationError, match="has no line"):
        read_golden(write(tmp_path, ""), task)
    torn = tmp_path / "torn.jsonl.gz"
    torn.write_bytes(gzip.compress(b'{"text": "x", "label": "bug"}')[:-9])
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_golden(torn, task)


def test_true_and_false_are_categories_too(tmp_path: Path) -> None:
    yes_or_no = TASK_FILE.replace(b'id = "bug"', b'id = "true"').replace(b'id = "feature"', b'id = "false"')
    path = write(tmp_path, {"text": "x", "label": True}, {"text": "y", "label": False})
    assert [entry.right for entry in read_golden(path, write_task(tmp_path, yes_or_no)).texts] == [{"true"}, {"false"}]


def answer(category: str = "bug", prompt: str = "p1") -> Answer:
    usage = Usage(10, 0, 100, 5, 0.001)
    return Answer(0, "answered", ((category, 0.9),), "why", "claude", "model-20261101", prompt, usage)


def answers_of(task: Task, model: str = "model", prompts: tuple[str, ...] | None = ("p1",)) -> AnswersFile:
    return AnswersFile(task, "claude", model, prompts)


def test_an_answer_is_there_again_for_the_same_question_only(tmp_path: Path, task: Task) -> None:
    path = tmp_path / "answers.jsonl"
    with opened_answers(path, answers_of(task)) as kept:
        kept.keep("It crashes.", answer())
        assert path.read_text().count("\n") == 1
        assert json.loads(path.read_text())["cost_usd"] == 0.001
    with opened_answers(path, answers_of(task)) as kept:
        (found,) = kept.kept.values()
        assert list(kept.kept) == [text_key("It crashes.")]
        assert (found.categories, found.model) == ((("bug", 0.9),), "model-20261101")
    changed = write_task(tmp_path, ALIASED.replace(b"version = 1", b"version = 2"))
    for other in (answers_of(changed), answers_of(task, "another"), answers_of(task, prompts=("p2",))):
        with opened_answers(path, other) as kept:
            assert kept.kept == {}


def test_what_a_kill_cut_off_is_cut_away_and_the_file_goes_on(tmp_path: Path, task: Task) -> None:
    path = tmp_path / "answers.jsonl"
    with opened_answers(path, answers_of(task)) as kept:
        kept.keep("One.", answer())
        kept.keep("Two.", answer())
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with opened_answers(path, answers_of(task)) as kept:
        assert list(kept.kept) == [text_key("One.")]
        kept.keep("Two.", answer())
    assert path.read_bytes() == whole


def test_a_file_of_something_else_is_left_alone(tmp_path: Path, task: Task) -> None:
    path = tmp_path / "letter.txt"
    for content in ("Dear Ana,\nhow are you?\n", "Dear Ana"):
        path.write_text(content)
        with (
            pytest.raises(ConfigurationError, match="is no answer that was kept here"),
            opened_answers(path, answers_of(task)),
        ):
            pass
        assert path.read_text() == content


def test_two_processes_do_not_write_one_file(tmp_path: Path, task: Task) -> None:
    path = tmp_path / "answers.jsonl"
    with (
        opened_answers(path, answers_of(task)),
        pytest.raises(ConfigurationError, match="in use by another process"),
        opened_answers(path, answers_of(task)),
    ):
        pass
