"""What `purge` says of documents that are left, on a real PostgreSQL."""

import json
from pathlib import Path

import pytest

from etl.db.store import Store
from tests.unit.cli.test_app import invoke

PURGE = ("purge", "octo/demo#1", "--why", "asked for by its author", "--yes")


@pytest.fixture
def file(store: Store, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of JSON lines with the document of an issue, and that of another."""
    assert store is not None
    monkeypatch.setenv("DATABASE_URL", database_url)
    issues = tmp_path / "issues.jsonl"
    issues.write_text(
        "".join(
            json.dumps(
                {
                    "number": number,
                    "title": f"{word} crashes",
                    "html_url": f"https://github.com/octo/demo/issues/{number}",
                    "created_at": "2026-01-01T00:00:00Z",
                }
            )
            + "\n"
            for number, word in enumerate(("zanzibar", "tirana"), 1)
        )
    )
    assert invoke("run", "--input", str(issues), "--classifier", "rules", "--task", "issue_kind").exit_code == 0
    file = tmp_path / "documents.jsonl"
    assert invoke("export", "--jsonl", str(file)).exit_code == 0
    return file


def test_of_a_file_of_lines_it_says_what_helps_and_that_helps(file: Path) -> None:
    done = invoke(*PURGE)
    assert done.exit_code == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "still in" in line]
    assert line == (
        f"1 document is still in the file {file}, whose lines are only appended to: delete the file;"
        " the next `issuetide export --jsonl` makes it anew without it"
    )
    assert invoke("export", "--jsonl", str(file)).exit_code == 0
    assert "zanzibar" in file.read_text()
    file.unlink()
    assert invoke("export", "--jsonl", str(file)).exit_code == 0
    content = file.read_text()
    assert ("zanzibar" in content, "tirana" in content) == (False, True)
