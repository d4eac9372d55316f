"""`explain` and `report` where repositories of two hosts have one name."""

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from etl.db.store import Store
from tests.unit.cli.test_app import invoke

HOSTS = ("github.com", "ghes.example")


@pytest.fixture(autouse=True)
def stored(store: Store, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Issue 1 of octo/demo on either host, and issue 2 on one of them."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    for host, numbers in zip(HOSTS, ((1, 2), (1,)), strict=True):
        issues = [
            {
                "number": number,
                "title": f"It crashes at {host}",
                "state": "open",
                "html_url": f"https://{host}/octo/demo/issues/{number}",
                "created_at": "2026-01-01T00:00:00Z",
            }
            for number in numbers
        ]
        path = tmp_path / f"{host}.jsonl"
        path.write_text("".join(json.dumps(issue) + "\n" for issue in issues))
        done = invoke("run", "--input", str(path), "--classifier", "rules", "--task", "issue_kind")
        assert done.exit_code == 0, done.stderr
    return store


def test_an_issue_of_two_hosts_is_not_chosen_silently() -> None:
    done = invoke("explain", "octo/demo#1")
    assert done.exit_code == 3
    assert "name one: ghes.example/octo/demo#1, github.com/octo/demo#1" in done.stderr
    for host in HOSTS:
        shown = invoke("explain", f"{host}/Octo/demo#1")
        assert shown.exit_code == 0, shown.stderr
        assert shown.stdout.startswith(f"octo/demo#1 (issue, open) It crashes at {host}\n")
        assert json.loads(invoke("explain", f"{host}/octo/demo#1", "--json").stdout)["item"]["number"] == 1


def test_an_issue_of_one_host_needs_no_host() -> None:
    assert "It crashes at github.com" in invoke("explain", "octo/demo#2").stdout
    assert "is not stored" in invoke("explain", "ghes.example/octo/demo#2").stderr


@pytest.mark.parametrize("arguments", [(), ("--repo", "octo/demo")])
def test_a_report_says_which_hosts_it_counts_as_one(arguments: tuple[str, ...]) -> None:
    done = invoke("report", *arguments)
    assert done.exit_code == 0
    assert "octo/demo is stored of ghes.example and github.com: their issues are counted as one" in done.stderr


def test_a_report_on_another_repository_says_nothing_of_them() -> None:
    assert invoke("report", "--repo", "octo/other").stderr == ""


def test_near_duplicates_are_those_of_the_host_that_was_named(stored: Store) -> None:
    with stored.transaction() as connection:
        connection.execute(
            text("""
                INSERT INTO near_texts (text_id, other_text_id, score)
                SELECT a.text_id, b.text_id, 0.9
                FROM item_texts a JOIN items i ON i.id = a.item_id, item_texts b JOIN items j ON j.id = b.item_id
                WHERE a.input = 'issue' AND b.input = 'issue' AND i.title = 'It crashes at ghes.example'
                      AND j.title = 'It crashes at github.com' AND j.external_id = 2
            """)
        )
    near = {host: json.loads(invoke("explain", f"{host}/octo/demo#1", "--json").stdout)["near"] for host in HOSTS}
    assert [(pair["number"], pair["score"]) for pair in near["ghes.example"]] == [(1, 0.9), (2, 0.9)]
    assert [(pair["number"], pair["score"]) for pair in near["github.com"]] == [(1, 0.9)]
