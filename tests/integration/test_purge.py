"""`issuetide purge` on a real database and a real index: nothing is left, and nothing brings it back."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dump import dump_database
from tests.integration.world import REPOSITORY, World, fill, make_world

pytestmark = pytest.mark.opensearch

SECRET = "zanzibar"
PURGE = ("purge", f"{REPOSITORY}#4", "--why", "asked for by its author")


@pytest.fixture
def world(database_url: str, opensearch_url: str, tmp_path: Path) -> Iterator[World]:
    with make_world(database_url, opensearch_url, tmp_path) as world:
        fill(world, 3)
        number = world.github.add_issue(
            REPOSITORY, f"It crashes in {SECRET}", f"My name is {SECRET}.", labels=(f"{SECRET}-label",)
        )
        assert number == 4
        world.github.add_comment(REPOSITORY, 4, f"And {SECRET} again.")
        world.run()
        yield world


def mentions(world: World) -> list[str]:
    """Lines of the whole database, and documents of every index, that hold the secret."""
    lines = [line for line in dump_database(world.database_url).splitlines() if SECRET in line]
    indices = ("classifications", "daily", "runs")
    documents = [str(found) for index in indices for found in world.documents(index).values() if SECRET in str(found)]
    return lines + documents


def test_a_purge_leaves_no_word_in_the_database_nor_in_the_index_and_the_next_runs_bring_none_back(
    world: World,
) -> None:
    assert mentions(world)
    done = world.command(*PURGE, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["repository"], told["number"], told["kind"]) == (REPOSITORY, 4, "issue")
    assert (told["comments"], told["texts"], told["documents"], told["documents_left"]) == (1, 1, 1, [])
    assert mentions(world) == []
    assert len(world.documents()) == 3
    assert world.rows("SELECT number, reason, purged_why FROM vanished_items") == [
        (4, "purged", "asked for by its author")
    ]
    world.github.edit_issue(REPOSITORY, 4, body=f"{SECRET} once more")
    world.github.add_comment(REPOSITORY, 4, f"{SECRET} once more")
    assert world.run("--sweep-calls", "50", ISSUETIDE_SWEEP_HOURS="0")["status"] == "ok"
    (world.folder / "issues.jsonl").write_text(
        json.dumps(
            {
                "number": 4,
                "title": SECRET,
                "html_url": f"http://127.0.0.1/{REPOSITORY}/issues/4",
                "created_at": "2026-01-01T00:00:00Z",
            }
        )
    )
    world.command("fetch", "--input", "issues.jsonl")
    assert mentions(world) == []
    assert world.rows("SELECT opened FROM open_daily WHERE opened > 0 ORDER BY day DESC LIMIT 1") == [(3,)]


def test_without_an_index_the_documents_wait_and_it_is_said(world: World) -> None:
    done = world.command(*PURGE, "--yes", OPENSEARCH_URL="")
    assert done.returncode == 0, done.stderr
    assert "1 document is still in" in done.stdout
    assert "its next export deletes it" in done.stdout
    assert len(world.documents()) == 4
    assert world.command("export").returncode == 0
    assert len(world.documents()) == 3
    again = world.command(*PURGE, "--yes")
    assert again.returncode == 0, again.stderr
    assert "(purged before)" in again.stdout


def test_an_index_that_is_away_leaves_the_deletion_to_the_next_export(world: World) -> None:
    done = world.command(*PURGE, "--yes", OPENSEARCH_URL="http://127.0.0.1:1", ISSUETIDE_DEADLINE_MINUTES="0.05")
    assert done.returncode == 8, done.stderr
    assert "erased here, but the export did not end well" in done.stderr
    assert [line for line in dump_database(world.database_url).splitlines() if SECRET in line] == []
    assert world.command("export").returncode == 0
    assert mentions(world) == []


def test_explaining_what_was_purged_says_when_and_why(world: World) -> None:
    assert world.command(*PURGE, "--yes").returncode == 0
    ((when,),) = world.rows("SELECT to_char(purged_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') FROM purges")
    shown = world.command("explain", f"{REPOSITORY}#4").stdout
    assert f"\nerased for good at {when} UTC: asked for by its author\n" in shown
    assert "no longer at its source" not in shown
    told = json.loads(world.command("explain", f"{REPOSITORY}#4", "--json").stdout)["item"]
    assert (told["purged_why"], told["purged_at"][:10]) == ("asked for by its author", when[:10])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("purge", f"{REPOSITORY}#99", "--why", "x", "--yes"), "octo/demo#99 is not stored"),
        (("purge", "octo/other#4", "--why", "x", "--yes"), "octo/other#4 is not stored"),
        (("purge", "octo/demo", "--why", "x", "--yes"), "write OWNER/NAME#NUMBER"),
        (("purge", f"{REPOSITORY}#4", "--why", " ", "--yes"), "--why must say"),
        (PURGE, "in a script give --yes"),
    ],
)
def test_a_purge_that_cannot_be_is_one_line(world: World, arguments: tuple[str, ...], words: str) -> None:
    done = world.command(*arguments)
    assert done.returncode == 3
    assert [line for line in done.stderr.splitlines() if words in line] == done.stderr.splitlines()
    assert len(world.documents()) == 4


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, 3), ("n\n", 1, 4), ("\x04", 1, 4)])
def test_on_a_terminal_it_asks_first(world: World, answer: str, code: int, left: int) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "etl.cli", *PURGE, "--json"],
        env=world.environment(),
        cwd=world.folder,
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(master, answer.encode())
    output, errors = process.communicate(timeout=240)
    os.close(slave)
    os.close(master)
    assert process.returncode == code, errors
    told = json.loads(output)
    assert (told.get("exit_code", 0), told.get("error")) == (code, "nothing was erased" if code else None)
    assert f"Erase issue octo/demo#4 “It crashes in {SECRET}” and its 1 comment for good?" in errors
    assert len(world.documents()) == left
