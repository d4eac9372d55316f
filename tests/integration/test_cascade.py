"""`train` and the cascade as processes, with a real PostgreSQL and the loopback Messages API."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.desk import CommandDesk
from tests.learnable import KINDS, make_issue
from tests.loopback.anthropic import LoopbackAnthropic
from tests.loopback.anthropic_answers import item_text

LEARNED = 60
"""So many issues of each kind are answered by Claude before a model is trained."""
NEW = 20
ONE_BY_ONE = {"ISSUETIDE_PACK": "1", "ISSUETIDE_BATCH_PACK": "1"}


class Desk(CommandDesk):
    """Where runs read files of issues; one text a request, so that every question counts."""

    def doctor(self, **changes: str) -> Any:
        """What `doctor` says of the cascade; GitHub is not there, which it finds as well."""
        checks = self.json("doctor", code=3, GITHUB_API_URL="http://127.0.0.1:9", **changes)
        return next(check for check in checks if check["name"].startswith("cascade"))

    def issues(self, name: str, first: int, each: int) -> str:
        """A file with `each` issues of every kind, whose texts nobody has seen."""
        path = self.folder / name
        with path.open("w", encoding="utf-8") as file:
            for place, kind in enumerate(KINDS):
                for number in range(first, first + each):
                    title, _, body = make_issue(kind, number).partition("\n\n")
                    word = "".join("abcdefghij"[int(digit)] for digit in f"{number:04d}")
                    issue = {
                        "repository": {"id": 7, "full_name": "octo/demo"},
                        "number": 10_000 * place + number + 1,
                        "title": title,
                        "body": f"{body} It is about {word}.",
                        "state": "open",
                        "created_at": f"2026-03-01T{number // 60 % 24:02d}:{number % 60:02d}:00Z",
                        "updated_at": f"2026-03-01T{number // 60 % 24:02d}:{number % 60:02d}:00Z",
                    }
                    file.write(json.dumps(issue) + "\n")
        return name

    def run(self, name: str, *arguments: str, code: int = 0, **changes: str) -> Any:
        """A run over the issues of a file, by Claude."""
        return self.json("run", "--input", name, "--task", "issue_kind", *arguments, code=code, **changes)


def answer_as_made(body: Mapping[str, Any]) -> str:
    """What the loopback model answers: the kind whose sentences the text has."""
    words = {"bug": ("crash", "broken", "rror", "rong result"), "question": ("How do I", "What is", "possible", "Help")}
    title = item_text(body).partition("\n")[0]
    found = next((kind for kind, marks in words.items() if any(mark in title for mark in marks)), "feature")
    return json.dumps({"rationale": "by its title", "category": found, "confidence": 0.9})


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Iterator[Desk]:
    """With issues that Claude has answered."""
    with LoopbackAnthropic() as anthropic:
        anthropic.answer = answer_as_made
        desk = Desk(anthropic, database_url, tmp_path, ONE_BY_ONE)
        desk.run(desk.issues("first.jsonl", 0, LEARNED))
        assert desk.rows("SELECT count(*) FROM current_answers") == [(3 * LEARNED,)]
        yield desk


LEDGER = "SELECT classifier, purpose, count(*) FROM classifications WHERE run_id = {0} GROUP BY 1, 2 ORDER BY 1, 2"


def test_a_model_is_trained_from_the_ledger_and_answers_what_it_is_sure_of(desk: Desk) -> None:
    trained = desk.json("train", "--task", "issue_kind", "--agreement", "0.9")
    assert trained["examples"] == {"bug": LEARNED, "feature": LEARNED, "question": LEARNED}
    assert trained["macro_f1"] > 0.9
    assert desk.rows("SELECT task, task_version, examples, sha256 FROM local_models") == [
        ("issue_kind", 1, 3 * LEARNED, trained["sha256"])
    ]
    before = len(desk.asked())
    file = desk.issues("second.jsonl", 1000, NEW)
    outcome = desk.run(file, ISSUETIDE_CASCADE="on", ISSUETIDE_CASCADE_AUDIT="0.2")
    assert outcome["status"] == "ok"
    local, audited = outcome["texts_local"], outcome["texts_asked"] - (3 * NEW - outcome["texts_local"])
    assert local > NEW
    assert 0 < audited < local
    assert len(desk.asked()) - before == outcome["texts_asked"]
    assert desk.rows("SELECT count(*) FROM current_answers") == [(3 * (LEARNED + NEW),)]
    compared, agreed = desk.rows("SELECT compared, agreed FROM cascade_agreement")[0]
    assert compared == audited
    assert agreed >= audited - 1
    assert "answered by the trained model" in desk.command(
        "run", "--input", desk.issues("third.jsonl", 2000, 2), "--task", "issue_kind", ISSUETIDE_CASCADE="on"
    )
    assert "answers of local-" in desk.doctor(ISSUETIDE_CASCADE="on")["detail"]
    assert desk.json("status")["cascade"][0]["compared"] >= compared


def test_doctor_says_what_a_cascade_would_save(desk: Desk) -> None:
    desk.command("train", "--task", "issue_kind", "--agreement", "0.9")
    found = desk.doctor()
    assert (found["name"], found["status"]) == ("cascade of issue_kind", "ok")
    assert found["detail"].startswith("off; model 1 (180 examples, $")
    assert "saved per 1,000" in found["detail"]
    assert "ISSUETIDE_CASCADE=on" in found["mend"]


def test_what_people_said_wins_over_claude_in_training(desk: Desk) -> None:
    for number in range(1, 6):
        desk.command(
            "override",
            f"octo/demo#{number}",
            "--task",
            "issue_kind",
            "--category",
            "question",
            "--by",
            "ana",
            "--why",
            "it is one",
        )
    trained = desk.json("train", "--task", "issue_kind", "--dry-run")
    assert trained["examples"] == {"bug": LEARNED - 5, "feature": LEARNED, "question": LEARNED + 5}
    assert trained["model_id"] is None
    assert desk.rows("SELECT count(*) FROM local_models") == [(0,)]


def test_alone_it_answers_or_abstains_and_asks_nobody(desk: Desk) -> None:
    desk.command("train", "--task", "issue_kind", "--agreement", "0.9")
    before = len(desk.asked())
    outcome = desk.run(desk.issues("second.jsonl", 1000, NEW), "--classifier", "local")
    assert (outcome["status"], len(desk.asked())) == ("ok", before)
    found = dict(
        desk.rows(f"SELECT outcome, count(*) FROM classifications WHERE run_id = {outcome['run_id']} GROUP BY 1")
    )
    assert found["answered"] > NEW
    assert sum(found.values()) == 3 * NEW


def test_a_run_in_batches_hands_over_only_what_the_model_did_not_answer(desk: Desk) -> None:
    desk.command("train", "--task", "issue_kind", "--agreement", "0.9")
    file = desk.issues("second.jsonl", 1000, NEW)
    outcome = desk.run(file, "--executor", "batch", ISSUETIDE_CASCADE="on", ISSUETIDE_CASCADE_AUDIT="0")
    local = outcome["texts_local"]
    assert local > NEW
    left = 3 * NEW - local
    assert outcome.get("texts_submitted", 0) + outcome.get("texts_asked", 0) == left
    assert desk.rows(LEDGER.format(outcome["run_id"]))[-1] == ("local", "live", local)


def test_a_run_that_is_killed_in_the_cascade_goes_on_and_pays_nothing_twice(desk: Desk) -> None:
    desk.command("train", "--task", "issue_kind", "--agreement", "0.9")
    file = desk.issues("second.jsonl", 1000, NEW)
    before = len(desk.asked())
    settings: dict[str, Any] = {"ISSUETIDE_CASCADE": "on", "ISSUETIDE_CASCADE_AUDIT": "1", "ISSUETIDE_THREADS": "1"}
    desk.kill_after(5, "run", "--input", file, "--task", "issue_kind", **settings)
    assert desk.run(file, **settings)["status"] == "ok"
    asked = desk.asked()[before:]
    assert len(set(asked)) == 3 * NEW
    assert len(asked) - len(set(asked)) <= 2  # what one thread had in flight
    assert desk.rows("SELECT count(*) FROM classifications WHERE classifier = 'local'") == desk.rows(
        "SELECT count(DISTINCT text_id) FROM classifications WHERE classifier = 'local'"
    )
    assert desk.rows("SELECT count(*) FROM claims") == [(0,)]


def test_too_few_answers_are_refused_and_say_how_many_are_needed(database_url: str, tmp_path: Path) -> None:
    with LoopbackAnthropic() as anthropic:
        desk = Desk(anthropic, database_url, tmp_path, ONE_BY_ONE)
        desk.run(desk.issues("few.jsonl", 0, 5))
        said = desk.command("train", "--task", "issue_kind", code=3)
    assert "30 texts are needed of each of at least two categories, and there are 15 texts" in said


def test_a_file_of_answers_needs_no_database(tmp_path: Path) -> None:
    lines = [json.dumps({"text": make_issue(kind, number), "label": kind}) for kind in KINDS for number in range(40)]
    (tmp_path / "golden.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with LoopbackAnthropic() as anthropic:
        desk = Desk(anthropic, "postgresql://nobody@127.0.0.1:1/nothing", tmp_path, ONE_BY_ONE)
        said = desk.command(
            "train", "--task", "issue_kind", "--input", "golden.jsonl", "--dry-run", "--output", "model.bin"
        )
    assert "trained on 120 texts (bug 40, feature 40, question 40)" in said
    assert "nothing was stored (dry run)" in said
    assert (tmp_path / "model.bin").read_bytes().startswith(b"issuetide-local-model 1\n")
