"""`-` as a file to write: what is asked for has standard output alone, and nothing is called `-`."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from etl.classifiers.local_model import read_model
from etl.db.store import Store
from tests.unit.cli.test_app import invoke

TASK = ("--task", "issue_kind")
TITLES = ("It crashes with an error in {}", "Please add support for {}", "How do I configure {}?")
LABELS = ("bug", "feature", "question")
EVALUATE = ("evaluate", *TASK, "--golden", "golden.jsonl", "--classifier", "rules", "--no-save")
COMPARE = ("compare", "current", "rules", *TASK)
TRAIN = ("train", *TASK, "--input", "golden.jsonl", "--dry-run")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a golden set of ninety texts."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"title": title.format(f"part {number}"), "body": "We see this on every start.", "label": label}
        for number in range(30)
        for title, label in zip(TITLES, LABELS, strict=True)
    ]
    (tmp_path / "golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def stored(folder: Path, store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Three issues with answers by rules, one with letters that not every locale has."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    issues = [
        {
            "number": number,
            "title": title.format("the crème brûlée"),
            "html_url": f"https://github.com/octo/demo/issues/{number}",
            "created_at": "2026-01-01T00:00:00Z",
        }
        for number, title in enumerate(TITLES, 1)
    ]
    (folder / "issues.jsonl").write_text("".join(json.dumps(issue) + "\n" for issue in issues))
    done = invoke("run", "--input", "issues.jsonl", "--classifier", "rules", *TASK)
    assert done.exit_code == 0, done.stderr
    return store


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("report",), ""),
        (EVALUATE, "macro-F1"),
        (COMPARE, "task issue_kind: A is current, B is rules"),
    ],
    ids=["report", "evaluate", "compare"],
)
def test_a_page_goes_there_and_all_other_words_to_standard_error(
    folder: Path, command: tuple[str, ...], words: str
) -> None:
    done = invoke(*command, "--html", "-")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("<!doctype html>")
    assert done.stdout.endswith("</html>\n")
    assert done.stdout_bytes.decode("utf-8") == done.stdout
    assert words in done.stderr
    assert "wrote" not in done.stderr
    assert not (folder / "-").exists()


@pytest.mark.parametrize(
    ("command", "option"),
    [(EVALUATE, "--html"), (COMPARE, "--html"), (TRAIN, "--output")],
    ids=["evaluate", "compare", "train"],
)
@pytest.mark.usefixtures("folder")
def test_json_and_a_file_do_not_both_go_there(command: tuple[str, ...], option: str) -> None:
    done = invoke(*command, option, "-", "--json")
    assert done.exit_code == 3
    error = json.loads(done.stdout)["error"]
    assert error == f"{option} - and --json both write to standard output: give {option} a file's name"


@pytest.mark.usefixtures("stored")
def test_a_sheet_for_people_is_no_json() -> None:
    done = invoke("review", *TASK, "--json")
    assert done.exit_code == 3
    assert "a sheet is written as --format csv or jsonl" in json.loads(done.stdout)["error"]


def test_a_model_goes_there_and_its_figures_to_standard_error(folder: Path) -> None:
    done = invoke(*TRAIN, "--output", "-")
    assert done.exit_code == 0, done.stderr
    assert read_model(done.stdout_bytes, "standard output").header.examples == 90
    assert "trained on 90 texts" in done.stderr
    assert not (folder / "-").exists()


def test_no_model_goes_to_a_terminal(folder: Path) -> None:
    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "etl.cli", *TRAIN, "--output", "-"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=120,
    )
    os.close(slave)
    os.close(master)
    assert done.returncode == 3
    assert "redirect it to a file" in done.stderr
