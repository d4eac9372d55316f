"""`reclassify` and `compare` as processes of their own, against the loopback Messages API and a real PostgreSQL."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from etl.resources import resource_folder
from tests.integration.desk import CommandDesk
from tests.loopback.anthropic import LoopbackAnthropic
from tests.loopback.anthropic_answers import plausible_answer

ISSUES = 60
PACK = 4
IN_FLIGHT = 5 * PACK
"""So many texts a kill may ask about twice: the window of two threads has four requests, and one is being stored."""


class Bench(CommandDesk):
    """With task files of its own."""

    def edit_task(self, old: str, new: str, to: str = "tasks") -> Path:
        """The task's file with one thing changed; in another folder it is a draft."""
        content = (self.folder / "tasks" / "issue_kind.toml").read_text(encoding="utf-8")
        assert content.count(old) == 1
        path = self.folder / to / "issue_kind.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(content.replace(old, new), encoding="utf-8")
        return path


@pytest.fixture
def bench(database_url: str, tmp_path: Path) -> Iterator[Bench]:
    """With sixty issues that are answered."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    shipped = (resource_folder("schemas") / "tasks" / "issue_kind.toml").read_bytes()
    (folder / "issue_kind.toml").write_bytes(shipped)
    with (tmp_path / "issues.jsonl").open("w", encoding="utf-8") as file:
        for number in range(1, ISSUES + 1):
            kind = ("It crashes when {} fails", "Please add support for {}", "How do I configure {}?")[number % 3]
            word = "".join(chr(97 + int(digit)) for digit in f"{number:03d}") * 3
            issue = {
                "repository": {"id": 7, "full_name": "octo/demo"},
                "number": number,
                "title": kind.format(word),
                "body": f"We see this with {word} under load, on every start.",
                "state": "open",
                "created_at": f"2026-03-01T{number // 60:02d}:{number % 60:02d}:00Z",
                "updated_at": f"2026-03-01T{number // 60:02d}:{number % 60:02d}:00Z",
            }
            file.write(json.dumps(issue) + "\n")
    with LoopbackAnthropic() as anthropic:
        settings = {"ISSUETIDE_TASKS_DIR": str(folder), "ISSUETIDE_PACK": str(PACK)}
        bench = Bench(anthropic, database_url, tmp_path, settings)
        bench.json("run", "--input", "issues.jsonl", "--task", "issue_kind")
        assert bench.rows("SELECT count(*) FROM classifications") == [(ISSUES,)]
        yield bench


CURRENT = "SELECT task_version, count(*) FROM current_answers GROUP BY 1 ORDER BY 1"


def test_a_plan_says_what_to_expect_and_a_cap_is_demanded(bench: Bench) -> None:
    asked = len(bench.asked())
    assert "nothing to do" in bench.command("reclassify", "--task", "issue_kind", "--plan")
    assert "check how they are written" in bench.command(
        "reclassify", "--task", "issue_kind", "--plan", "--category", "nope"
    )
    bench.edit_task("version = 1\n", "version = 2\n")
    plan = bench.json("reclassify", "--task", "issue_kind", "--plan", "--max-cost-usd", "1")
    assert [(group["task_version"], group["texts"], group["items"]) for group in plan["groups"]] == [
        (1, ISSUES, ISSUES)
    ]
    assert plan["texts"] == ISSUES
    assert plan["batch_usd"] > 0
    assert 0 < plan["live_usd"] < 0.1
    assert "--max-cost-usd" in bench.command("reclassify", "--task", "issue_kind", code=3)
    assert len(bench.asked()) == asked
    assert bench.rows("SELECT max(version) FROM tasks") == [(1,)]


def test_a_renewal_that_is_killed_and_begun_again_asks_each_text_once_but_for_those_in_flight(bench: Bench) -> None:
    first = len(bench.asked())
    bench.edit_task("version = 1\n", "version = 2\n")
    bench.kill_after(12, "reclassify", "--task", "issue_kind", "--max-cost-usd", "1")
    done = bench.rows(CURRENT)
    assert [version for version, _ in done] == [1, 2]
    outcome = bench.json("reclassify", "--task", "issue_kind", "--max-cost-usd", "1")
    assert (outcome["status"], outcome["texts_asked"]) == ("ok", ISSUES - done[1][1])
    assert bench.rows(CURRENT) == [(2, ISSUES)]
    assert bench.rows("SELECT count(*) FROM classifications WHERE task_version = 1") == [(ISSUES,)]
    repeated = sum(count - 1 for count in Counter(bench.asked()[first:]).values())
    assert repeated <= IN_FLIGHT
    again = bench.json("reclassify", "--task", "issue_kind", "--max-cost-usd", "1")
    assert again.get("texts_asked", 0) == 0


def test_a_cap_stops_a_renewal_which_then_goes_on(bench: Bench) -> None:
    bench.edit_task("version = 1\n", "version = 2\n")
    outcome = bench.json("reclassify", "--task", "issue_kind", "--max-cost-usd", "0.004", code=5)
    assert outcome["status"] == "stopped_budget"
    assert 0 < outcome["cost_usd"] <= 0.004
    bench.json("reclassify", "--task", "issue_kind", "--max-cost-usd", "1")
    assert bench.rows(CURRENT) == [(2, ISSUES)]


def test_a_renewal_may_go_through_batches(bench: Bench) -> None:
    bench.edit_task("version = 1\n", "version = 2\n")
    bench.anthropic.batches.ends_after = 0.0
    arguments = ("reclassify", "--task", "issue_kind", "--max-cost-usd", "1", "--executor", "batch")
    submitted = bench.json(*arguments)
    waiting = submitted["texts_submitted"]  # a first request is asked alone, to try the prompt
    assert waiting + submitted["texts_asked"] == ISSUES
    plan = bench.json("reclassify", "--task", "issue_kind", "--plan")
    assert (plan["texts"], plan["in_batches"]) == (0, waiting)
    bench.json(*arguments)
    assert bench.rows(CURRENT) == [(2, ISSUES)]
    assert bench.rows("SELECT count(*) FROM classifications WHERE batch_id IS NOT NULL") == [(waiting,)]


def test_a_comparison_with_a_draft_is_paid_once_also_after_a_kill_and_changes_no_document(bench: Bench) -> None:
    first = len(bench.asked())
    draft = bench.edit_task("version = 1\n", "version = 1\n# in other words\n", to="drafts")
    draft = bench.edit_task('title = "', 'title = "In other words: ', to="drafts")
    versions = bench.rows("SELECT id, row_version FROM items ORDER BY id")
    arguments = ("compare", "current", str(draft), "--task", "issue_kind", "--sample", "40", "--max-cost-usd", "1")
    bench.kill_after(12, *arguments)
    stored = bench.rows("SELECT count(*) FROM classifications WHERE purpose = 'trial'")[0][0]
    assert 0 < stored < 40
    page = bench.folder / "page.html"
    found = bench.json(*arguments, "--html", str(page))
    assert [(side["asked"], side["reused"]) for side in found["sides"]] == [(0, 40), (40 - stored, stored)]
    comparison = found["comparison"]
    assert (comparison["sampled"], comparison["agreement"]["size"], comparison["agreement"]["raw"]) == (40, 40, 1.0)
    assert comparison["second"]["usd_per_thousand"] > 0
    assert "</html>" in page.read_text(encoding="utf-8")
    asked = len(bench.asked())
    assert asked - first <= 40 + IN_FLIGHT
    again = bench.json(*arguments)
    assert (again["cost_usd"], len(bench.asked())) == (0, asked)
    assert bench.rows("SELECT id, row_version FROM items ORDER BY id") == versions
    assert bench.rows("SELECT count(*) FROM tasks") == [(1,)]
    assert bench.rows("SELECT count(*) FROM claims") == [(0,)]


def test_a_comparison_of_models_and_rules_is_shown_with_what_moved(bench: Bench) -> None:
    dry = bench.command("compare", "current", "claude-sonnet-5-5", "--task", "issue_kind", "--dry-run")
    assert f"{ISSUES} are to be asked for, about $" in dry
    shown = bench.command("compare", "current", "rules", "--task", "issue_kind")
    assert f"{ISSUES} of {ISSUES} texts answered by both" in shown
    assert "kappa" in shown
    assert "per 1,000 texts" in shown
    bench.anthropic.answer = lambda body: plausible_answer(body).replace('"category": "bug"', '"category": "question"')
    found = bench.json("compare", "rules", "claude-sonnet-5-5", "--task", "issue_kind", "--max-cost-usd", "5")
    sides = found["comparison"]["first"], found["comparison"]["second"]
    assert sides[0]["usd_per_thousand"] == 0
    assert sides[1]["usd_per_thousand"] > 0
    assert all(model.startswith("claude-sonnet-5-5 (") for model in sides[1]["models"])
    moved = found["comparison"]["moved"]
    assert {(entry["first_words"], entry["second_words"]) for entry in moved} == {("bug", "question")}
    assert len(moved) == ISSUES // 3
    assert all(entry["items"][0].startswith("octo/demo#") and entry["second"]["rationale"] for entry in moved)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("gpt-9", "names nothing that answers"),
        ("nowhere/issue_kind.toml", "cannot be read"),
        ("claude-haiku-5-5@nowhere/issue_kind.toml", "cannot be read"),
    ],
)
def test_a_side_that_cannot_be_is_refused(bench: Bench, word: str, message: str) -> None:
    asked = len(bench.asked())
    assert message in bench.command("compare", "current", word, "--task", "issue_kind", code=3)
    assert len(bench.asked()) == asked


def test_a_repository_that_is_not_stored_is_named_with_the_way_to_see_those_that_are(bench: Bench) -> None:
    of_nobody = ("--task", "issue_kind", "--repo", "no/such")
    words = "nothing is stored of no/such; `issuetide status` lists what is, `run` fetches it"
    assert words in bench.command("compare", "current", "rules", *of_nobody, code=3)
    assert words in bench.command("reclassify", "--plan", *of_nobody, code=3)
    assert words in bench.command("classify", *of_nobody, code=3)


def test_a_draft_of_another_task_or_of_other_texts_is_refused(bench: Bench) -> None:
    other = bench.edit_task('input = "issue"', 'input = "issue_with_comments"', to="drafts")
    assert "other texts" in bench.command("compare", "current", str(other), "--task", "issue_kind", code=3)
    assert "not 'labels'" in bench.command("compare", "current", str(other), "--task", "labels", code=3)
