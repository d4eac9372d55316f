"""A newer release with other rules, as a user meets it: the same database, the command as a process of its own."""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from etl.dedup import RULES_VERSION
from tests.integration.test_bad_input import COMMAND, Desk
from tests.integration.world import KEY
from tests.loopback.anthropic import LoopbackAnthropic
from tests.loopback.anthropic_answers import item_texts
from tests.loopback.github import LoopbackGitHub

REPO = "octo/demo"
ROOT = Path(__file__).parents[2]
RUN = ("run", "--repo", REPO, "--task", "issue_kind", "--no-comments", "--json")


@dataclass
class Office(Desk):
    """A desk with an Anthropic, and releases of the product to call."""

    github: LoopbackGitHub
    anthropic: LoopbackAnthropic

    def __init__(self, url: str, github: LoopbackGitHub, anthropic: LoopbackAnthropic, folder: Path) -> None:
        super().__init__(url, github.url, folder)
        self.github, self.anthropic = github, anthropic
        self.settings |= {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": anthropic.url}

    def run(self, *arguments: str, **changes: str) -> dict[str, Any]:
        """`issuetide run`; its outcome."""
        done = self.call(*RUN, *arguments, **changes)
        assert done.returncode == 0, done.stderr
        outcome: dict[str, Any] = json.loads(done.stdout)
        return outcome

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What the database says."""
        with psycopg.connect(self.settings["DATABASE_URL"]) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def start(self, *arguments: str, **changes: str) -> "subprocess.Popen[str]":
        """The command as a process that may be killed."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            env={"PATH": "/usr/bin:/bin", **self.settings, **changes},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def asked(self) -> int:
        """How many texts Anthropic was asked about; several may share a request."""
        return sum(len(item_texts(entry.json)) for entry in self.anthropic.asked())


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Iterator[Office]:
    with LoopbackGitHub(tokens={"token"}) as github, LoopbackAnthropic(key=KEY) as anthropic:
        github.add_repository(REPO)
        yield Office(database_url, github, anthropic, tmp_path)


@pytest.fixture
def newer(tmp_path: Path) -> dict[str, str]:
    """The variables with which the command is a newer release, whose rules do not look at colours."""
    release = tmp_path / "release"
    shutil.copytree(ROOT / "etl", release / "etl", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("migrations", "schemas", "dashboards"):
        (release / name).symlink_to(ROOT / name)
    table = release / "etl" / "dedup" / "rules.py"
    words = table.read_text(encoding="utf-8")
    assert words.count(f"\nRULES_VERSION = {RULES_VERSION}\n") == 1
    table.write_text(words.replace(f"\nRULES_VERSION = {RULES_VERSION}\n", f"\nRULES_VERSION = {RULES_VERSION + 1}\n"))
    with (release / "etl" / "dedup" / "normalize.py").open("a", encoding="utf-8") as code:
        code.write(
            "\n_of_the_former_release = normalize\n\n\n"
            "def normalize(text):\n"
            '    return _of_the_former_release(text).replace("red ", "").replace("blue ", "")\n'
        )
    return {"PYTHONPATH": str(release)}


def test_a_newer_release_keeps_every_answer_and_asks_nobody(office: Office, newer: dict[str, str]) -> None:
    for colour in ("red ", "blue ", ""):
        office.github.add_issue(REPO, f"The {colour}parser crashes with an error")
    office.github.add_issue(REPO, "Please add a button")
    office.run()
    ledger = office.rows("SELECT id, categories FROM classifications ORDER BY id")
    former = dict(office.rows("SELECT number, text_hash FROM issues"))
    assert (office.asked(), len(ledger)) == (4, 4)

    doctor = json.loads(office.call("doctor", "--json", **newer).stdout)
    (ids,) = [check for check in doctor if check["name"] == "text ids"]
    assert (ids["status"], "4 are of version" in ids["detail"]) == ("warning", True)
    assert "4 texts have ids of version" in office.call("status", **newer).stdout
    planned = json.loads(office.call("dedup", "rehash", "--plan", "--json", **newer).stdout)
    assert office.rows("SELECT DISTINCT rules_version FROM texts") == [(RULES_VERSION,)]

    outcome = office.run(**newer)
    assert outcome["status"] == "ok"
    assert outcome["rehashed"] == {key: value for key, value in planned["rehashed"].items() if key != "texts"}
    assert (outcome["rehashed"]["merged"], outcome["rehashed"]["asked_anew"]) == (2, {})
    assert office.asked() == 4
    assert office.rows("SELECT id, categories FROM classifications ORDER BY id") == ledger
    now = dict(office.rows("SELECT number, text_hash FROM issues"))
    assert len({now[1], now[2], now[3]}) == 1
    assert all(text_hash.startswith(f"{RULES_VERSION + 1}:") for text_hash in now.values())

    told = office.call("explain", former[2], **newer).stdout
    assert "octo/demo#1, octo/demo#2, octo/demo#3" in told
    assert all(former[number] in told for number in (1, 2, 3))
    assert former[4] in office.call("explain", f"{REPO}#4", **newer).stdout
    nothing = office.call("dedup", "rehash", **newer)
    assert (nothing.returncode, "nothing to do" in nothing.stdout) == (0, True)

    complaint = office.complaint(3, *RUN)  # the former release, by mistake
    assert f"version {RULES_VERSION + 1} of the rules, this release has {RULES_VERSION}" in complaint


def test_decisions_are_made_listed_explained_and_withdrawn_at_the_command(office: Office) -> None:
    for title in ("The parser crashes", "The lexer crashes", "The parser crashes"):
        office.github.add_issue(REPO, title)
    office.run()
    signed = ("--by", "ana", "--why", "one bug, two names")
    done = office.call("dedup", "alias", f"{REPO}#1", f"{REPO}#2", *signed)
    assert (done.returncode, "decision 1 entered for input issue" in done.stdout) == (0, True), done.stderr
    assert office.call("dedup", "split", f"{REPO}#3", *signed).returncode == 0
    listed = office.call("dedup", "decisions").stdout
    assert "decision 2: octo/demo#3 has a text of its own, by ana" in listed
    explained = office.call("explain", f"{REPO}#1").stdout
    assert "decision 1:" in explained
    assert "one bug, two names" in explained
    assert office.run()["texts_asked"] == 1
    assert "circle" in office.complaint(
        3, "dedup", "alias", *reversed([row[0] for row in office.rows(
            "SELECT x.text_hash FROM text_decisions d JOIN texts x ON x.id IN (d.text_id, d.target_id)"
            " ORDER BY x.id = d.target_id")]), *signed
    )  # fmt: skip
    assert "octo/demo#9 is not stored" in office.complaint(3, "dedup", "split", f"{REPO}#9", *signed)
    assert "neither an id of a text" in office.complaint(3, "dedup", "alias", "12", f"{REPO}#1", *signed)
    assert "--why must say" in office.complaint(3, "dedup", "split", f"{REPO}#1", "--by", "ana", "--why", " ")
    for arguments in (("alias", f"{REPO}#1", f"{REPO}#2"), ("split", f"{REPO}#3")):
        done = office.call("dedup", *arguments, *signed, "--withdraw")
        assert (done.returncode, "withdrawn" in done.stdout) == (0, True), done.stderr
    told = json.loads(office.call("dedup", "decisions", "--all", "--json").stdout)
    assert [(entry["id"], entry["withdrawn_by"]) for entry in told["decisions"]] == [(2, "ana"), (1, "ana")]
    assert office.run().get("texts_new", 0) == 0


def kill_when(office: Office, moment: str, newer: dict[str, str]) -> bool:
    """Lets the command work until the database says yes to `moment`, then kills it; False if it ended before."""
    process = office.start("dedup", "rehash", **newer)
    with psycopg.connect(office.settings["DATABASE_URL"], autocommit=True) as connection:
        while process.poll() is None:
            if connection.execute(moment.encode()).fetchone() == (True,):
                process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.kill
def test_kills_while_ids_are_made_anew_lose_nothing(office: Office, newer: dict[str, str]) -> None:
    parts = ("parser", "cache", "lexer", "router", "shell")
    for number in range(1800):
        colour = ("red ", "blue ", "")[number % 3]
        words = " ".join("abcdefghij"[int(digit)] * 4 for digit in str(number // 3))
        office.github.add_issue(
            REPO, f"The {colour}{parts[number // 3 % 5]} stops", f"Part {words}. " + "It stops. " * 60
        )
    office.run("--classifier", "rules")
    assert office.rows("SELECT count(*) FROM texts") == [(1800,)]
    ledger = office.rows("SELECT id, categories, created_at FROM classifications ORDER BY id")
    new_ids = f"SELECT count(*) FROM texts WHERE rules_version = {RULES_VERSION + 1}"
    moments = (
        "SELECT count(*) = 1800 FROM text_queue",
        f"SELECT ({new_ids}) > 0",
        f"SELECT ({new_ids}) > 200",
        "SELECT count(*) < 1800 FROM text_queue",
        "SELECT count(*) < 900 FROM text_queue",
    )
    killed = sum(kill_when(office, moment, newer) for moment in moments)
    assert killed >= 3
    done = office.call("dedup", "rehash", "--json", **newer)
    assert done.returncode == 0, done.stderr
    outcome = office.run("--classifier", "rules", **newer)
    assert (outcome["status"], outcome.get("texts_asked", 0), outcome["rehashed"]) == ("ok", 0, None)
    assert office.rows("SELECT id, categories, created_at FROM classifications ORDER BY id") == ledger
    assert office.rows("SELECT count(*), count(DISTINCT rules_version) FROM texts") == [(600, 1)]
    assert office.rows("SELECT count(*), count(DISTINCT text_id) FROM item_texts") == [(1800, 600)]
    assert office.rows("SELECT count(*) FROM text_ids WHERE known_as = 'former'") == [(1800,)]
    assert office.rows("SELECT count(*) FROM text_queue") == [(0,)]
    assert office.rows("SELECT count(*) FROM runs WHERE ended_at IS NULL") == [(0,)]
