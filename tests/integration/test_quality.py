"""People's answers and measured quality through the command: real PostgreSQL and OpenSearch, loopback services."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.integration.world import REPOSITORY, World, fill, make_world
from tests.loopback.anthropic_answers import plausible_answer

pytestmark = pytest.mark.opensearch

TASK = ("--task", "issue_kind")


@pytest.fixture
def world(database_url: str, opensearch_url: str, tmp_path: Path) -> Iterator[World]:
    with make_world(database_url, opensearch_url, tmp_path) as world:
        yield world


def command(world: World, *arguments: str, code: int = 0, changes: Mapping[str, str] = MappingProxyType({})) -> str:
    done = world.command(*arguments, **changes)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def told(world: World, *arguments: str, **changes: str) -> Any:
    return json.loads(command(world, *arguments, "--json", changes=changes))


def document(world: World, number: int) -> dict[str, Any]:
    return next(found for found in world.documents().values() if found["number"] == number)


def other_category(world: World, number: int) -> str:
    return "feature" if document(world, number)["categories"] != ["feature"] else "bug"


def test_a_persons_answer_reaches_the_index_survives_an_edit_and_is_explained(world: World) -> None:
    fill(world, 6)
    world.run()
    given = document(world, 2)["categories"]
    wanted = other_category(world, 2)
    issue = f"{REPOSITORY}#2"
    signed = ("--by", "ana", "--why", "the trace is ours")
    result = told(world, "override", issue, *TASK, "--category", wanted.upper(), *signed)
    assert (result["categories"], result["replaced"]) == ([wanted], None)
    assert world.run()["status"] == "ok"
    found = document(world, 2)
    assert (found["categories"], found["primary_category"], found["overridden"]) == ([wanted], wanted, True)
    assert (found["classifier"], found["rationale"]) == ("person", "the trace is ours")

    world.github.edit_issue(REPOSITORY, 2, body="Something else altogether, written anew.")
    world.run()
    assert (document(world, 2)["categories"], document(world, 2)["overridden"]) == ([wanted], True)
    explained = command(world, "explain", issue)
    assert f"override 1: {issue} is {wanted} for issue_kind, by ana" in explained
    assert "the trace is ours" in explained
    (listed,) = told(world, "override", "--list")
    assert (listed["issue"], listed["annotator"], listed["categories"]) == (issue, "ana", [wanted])

    command(world, "override", issue, *TASK, "--withdraw", "--by", "ben", "--why", "mistaken")
    world.run()
    assert document(world, 2)["overridden"] is False
    assert told(world, "override", "--list") == []
    (entry,) = told(world, "override", "--list", "--all")
    assert (entry["withdrawn_by"], entry["withdrawn_reason"]) == ("ben", "mistaken")
    (said,) = told(world, "explain", issue)["annotations"]
    assert said["id"] == entry["id"]
    assert given


def test_an_override_that_cannot_be_meant_is_refused_in_one_line(world: World) -> None:
    fill(world, 1)
    world.run("--classifier", "rules")
    issue = f"{REPOSITORY}#1"
    refused: dict[tuple[str, ...], str] = {
        (f"{REPOSITORY}#99", "--category", "bug"): "is not stored",
        (issue, "--category", "nonsense"): "is no category of task issue_kind; allowed are bug",
        ("nothing", "--category", "bug"): "names no issue; write OWNER/NAME#NUMBER",
        (issue,): "name the right answer with --category",
        (issue, "--withdraw"): "no override for task issue_kind holds",
        (issue, "--withdraw", "--category", "bug"): "leave --category out",
        ("--list", "--category", "bug"): "--list takes no issue",
        (): "name one issue",
    }
    for arguments, words in refused.items():
        errors = command(world, "override", *arguments, *TASK, "--by", "ana", "--why", "because", code=3)
        assert words in errors
        assert len(errors.splitlines()) == 1


def fill_in(path: Path, answers: dict[int, str]) -> None:
    """Writes answers into a sheet, as a spreadsheet would."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "category": answers.get(int(row["number"]), "")} for row in rows)


def test_a_week_is_reviewed_by_two_people_who_are_compared_and_become_the_golden_set(world: World) -> None:
    fill(world, 30)
    world.run()
    truth = {found["number"]: found["primary_category"] for found in world.documents().values()}
    ((week,),) = world.rows("SELECT to_char(min(created_at) AT TIME ZONE 'UTC', 'IYYY-\"W\"IW') FROM classifications")
    sheets = [world.folder / f"{name}.csv" for name in ("ana", "ben")]
    for sheet in sheets:
        command(world, "review", *TASK, "--week", week, "--size", "12", "--lowest", "5", "--output", str(sheet))
    assert sheets[0].read_bytes() == sheets[1].read_bytes()
    with sheets[0].open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 17
    assert not {"answer", "confidence", "rationale"} & set(rows[0])

    numbers = sorted(int(row["number"]) for row in rows)
    fill_in(sheets[0], {number: truth[number].upper() for number in numbers})
    changed = {number: truth[number] for number in numbers[:-2]} | {numbers[-2]: "uncertain"}
    fill_in(sheets[1], changed)
    read = ("review", *TASK, "--read")
    assert told(world, *read, str(sheets[0]), "--by", "ana") == {"new": 17, "replaced": 0, "unchanged": 0}
    assert told(world, *read, str(sheets[0]), "--by", "ana") == {"new": 0, "replaced": 0, "unchanged": 17}
    assert told(world, *read, str(sheets[1]), "--by", "ben") == {"new": 16, "replaced": 0, "unchanged": 0}

    pair, ana, ben = told(world, "review", *TASK, "--agreement")
    assert (pair["first"], pair["second"], pair["size"], pair["agreed"]) == ("ana", "ben", 16, 15)
    assert (ana["second"], ana["size"], ana["kappa"]) == ("the classifier", 17, 1.0)
    assert ben["agreed"] == 15
    assert "ana and ben: 16 in common, equal 0.938" in command(world, "review", *TASK, "--agreement")

    found = told(world, "evaluate", *TASK)
    assert (found["scores"]["size"], found["disputed"], found["scores"]["accuracy"]) == (16, 1, 1.0)
    assert (found["golden_set"], found["authors"][0]["classifier"]) == ("annotations", "claude")
    command(
        world, "override", f"{REPOSITORY}#{numbers[0]}", *TASK, "--category", other_category(world, numbers[0]),
        "--by", "cleo", "--why", "both were wrong",
    )  # fmt: skip
    again = told(world, "evaluate", *TASK)
    assert (again["scores"]["size"], again["scores"]["accuracy"]) == (16, 15 / 16)
    assert [entry["id"] for entry in told(world, "evaluate", "--history")["evaluations"]] == [2, 1]


def test_a_sheet_that_somebody_filled_in_is_not_written_over(world: World) -> None:
    fill(world, 3)
    world.run("--classifier", "rules")
    sheet = world.folder / "sheet.csv"
    write = ("review", *TASK, "--output", str(sheet))
    assert command(world, "review", *TASK, "--output", "-") == command(world, "review", *TASK)
    command(world, *write)
    command(world, *write)  # nobody has answered in it yet
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        fill_in(sheet, {int(row["number"]): "bug" for row in csv.DictReader(file)})
    filled = sheet.read_bytes()
    assert "may hold answers of people" in command(world, *write, code=3)
    assert sheet.read_bytes() == filled


def test_a_sheet_with_a_wrong_line_is_refused_as_a_whole(world: World) -> None:
    fill(world, 3)
    world.run("--classifier", "rules")
    sheet = world.folder / "sheet.csv"
    command(world, "review", *TASK, "--output", str(sheet))
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        numbers = [int(row["number"]) for row in csv.DictReader(file)]
    fill_in(sheet, {numbers[0]: "bug", numbers[1]: "nonsense"})
    errors = command(world, "review", *TASK, "--read", str(sheet), "--by", "ana", code=3)
    assert "nothing was stored: line" in errors
    assert "'nonsense' is no category of task issue_kind" in errors
    assert world.rows("SELECT count(*) FROM annotations") == [(0,)]
    assert "weeks with answers: " in command(world, "review", *TASK, "--week", "2020-W01", code=3)
    assert "is no ISO week" in command(world, "review", *TASK, "--week", "2026-W60", code=3)


def write_golden(world: World, count: int) -> Path:
    path = world.folder / "golden.jsonl"
    kinds = (("It crashes with an error in part {}", "bug"), ("Please add support for part {}", "feature"))
    rows = [
        {"title": title.format(number), "body": f"We see this in case {number}.", "label": label}
        for number in range(count // 2)
        for title, label in kinds
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_what_is_asked_of_claude_is_kept_and_never_paid_for_twice(world: World) -> None:
    golden, answers = write_golden(world, 40), world.folder / "answers.jsonl"
    ask: tuple[str, ...] = ("evaluate", *TASK, "--golden", str(golden), "--classifier", "claude")
    assert "costs money: name with --answers FILE" in command(world, *ask, code=3)
    assert "40 texts would be asked about, for about $0.0" in command(world, *ask, "--dry-run")
    plan = told(world, *ask, "--dry-run")
    assert (plan["exit_code"], plan["waiting_texts"], plan["error"]) == (0, {"issue_kind": 40}, None)
    assert 0 < plan["estimated_usd"] < 0.1
    assert world.asked_items() == []
    ask = (*ask, "--answers", str(answers))
    stopped = world.command(*ask, "--max-cost-usd", "0.003", "--json")
    assert stopped.returncode == 5
    assert "the same command goes on from here" in stopped.stderr
    outcome = json.loads(stopped.stdout)
    assert (outcome["status"], outcome["exit_code"]) == ("stopped_budget", 5)
    assert outcome["error"] in stopped.stderr
    kept = len(answers.read_text().splitlines())
    assert 0 < kept < 40
    assert world.rows("SELECT status, cost_usd > 0, texts_asked FROM runs ORDER BY id DESC LIMIT 1") == [
        ("stopped_budget", True, kept)
    ]
    found = told(world, *ask)
    assert (found["scores"]["size"], found["left_out"]) == (40, 0)
    assert len(answers.read_text().splitlines()) == 40
    asked = len(world.asked_items())
    again = told(world, *ask)
    assert len(world.asked_items()) == asked
    assert again["scores"] == found["scores"]
    assert world.rows("SELECT count(*) FROM classifications") == [(0,)]
    assert world.rows(
        "SELECT day, task, classifier, model, executor, purpose, answers, cost_usd FROM spending_daily"
    ) == world.rows(
        "SELECT (min(started_at) AT TIME ZONE 'UTC')::date, 'issue_kind', 'claude', max(model), 'sync', 'golden',"
        " sum(texts_asked), sum(cost_usd) FROM runs"
    )
    assert again["authors"][0]["model"].startswith("claude-haiku-5-5")


def test_a_killed_evaluation_goes_on_from_the_last_answer(world: World) -> None:
    golden, answers = write_golden(world, 40), world.folder / "answers.jsonl"
    ask = ("evaluate", *TASK, "--golden", str(golden), "--classifier", "claude", "--answers", str(answers))

    def strike(body: Mapping[str, Any]) -> str:
        if answers.exists() and answers.read_bytes().count(b"\n") >= 5:
            process.kill()
            process.wait()
            raise BrokenPipeError("nobody waits for this answer any more")
        return plausible_answer(body)

    world.anthropic.answer = strike
    process = world.start(*ask, ISSUETIDE_THREADS="1", ISSUETIDE_PACK="1")
    process.communicate(timeout=240)
    world.anthropic.answer = plausible_answer
    kept = answers.read_bytes().count(b"\n")
    assert 5 <= kept < 40
    ((cost,),) = world.rows("SELECT cost_usd FROM runs")
    assert cost > 0
    before = len(world.asked_items())
    assert told(world, *ask, ISSUETIDE_THREADS="1", ISSUETIDE_PACK="1")["scores"]["size"] == 40
    assert len(world.asked_items()) - before <= 40 - kept


def test_what_an_evaluation_cost_counts_against_the_caps_of_the_day(world: World) -> None:
    golden, answers = write_golden(world, 40), world.folder / "answers.jsonl"
    ask = ("evaluate", *TASK, "--golden", str(golden), "--classifier", "claude", "--answers", str(answers))
    command(world, *ask)
    ((cost,),) = world.rows("SELECT cost_usd FROM runs")
    fill(world, 5)
    outcome = world.run(code=5, ISSUETIDE_MAX_COST_USD_DAY=str(float(cost) * 1.01))
    assert outcome["status"] == "stopped_budget"
    assert world.run(ISSUETIDE_MAX_COST_USD_DAY="1")["status"] == "ok"


def test_a_calibration_shows_in_views_and_documents_and_can_be_taken_back(world: World) -> None:
    fill(world, 80)
    world.run("--classifier", "rules")
    # Right answers by which the rules are far too modest: whatever they answered is right.
    stated = {found["number"]: found for found in world.documents().values()}
    answered = [number for number, found in stated.items() if found["answer"] == "answered"]
    assert len(answered) >= 50
    sheet = world.folder / "sheet.csv"
    command(world, "review", *TASK, "--size", "80", "--lowest", "0", "--output", str(sheet))
    fill_in(sheet, {number: stated[number]["primary_category"] for number in answered})
    command(world, "review", *TASK, "--read", str(sheet), "--by", "ana")
    refused = command(world, "evaluate", *TASK, "--calibrate", "--model", "nobody", code=3)
    assert "none of the" in refused

    found = told(world, "evaluate", *TASK, "--calibrate")
    (calibration,) = found["calibrations"]
    assert calibration["problem"] == ""
    assert calibration["after"]["ece"] < calibration["before"]["ece"]
    world.run("--classifier", "rules")
    number = answered[0]
    after = document(world, number)
    assert after["calibrated"] is True
    assert after["confidence_given"] == stated[number]["confidence"] == stated[number]["confidence_given"]
    assert after["confidence"] > after["confidence_given"]
    view = f"SELECT confidence, calibrated_confidence FROM issue_categories WHERE number = {number}"
    ((given, calibrated),) = world.rows(view)
    assert given == stated[number]["confidence"]
    assert calibrated == pytest.approx(after["confidence"])
    assert world.rows("SELECT max(c) FROM classifications, unnest(confidences) AS c") == [
        (max(found["confidence"] for found in stated.values() if "confidence" in found),)
    ]
    assert len(told(world, "evaluate", "--history")["calibrations"]) == 1

    (withdrawn,) = told(world, "evaluate", *TASK, "--uncalibrate")["withdrawn"]
    assert withdrawn["id"] == 1
    world.run("--classifier", "rules")
    assert document(world, number)["calibrated"] is False
    assert document(world, number)["confidence"] == stated[number]["confidence"]
    assert "no such calibration" in command(world, "evaluate", *TASK, "--uncalibrate", code=3)


def test_rules_are_measured_on_a_file_without_any_database_and_the_page_loads_nothing(world: World) -> None:
    golden, page = write_golden(world, 40), world.folder / "quality.html"
    away = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    rules = ("evaluate", *TASK, "--golden", str(golden), "--classifier", "rules", "--no-save", "--html", str(page))
    found = told(world, *rules, **away)
    assert found["scores"]["size"] == 40
    assert found["id"] is None
    content = page.read_text(encoding="utf-8")
    assert "Confusion matrix" in content
    assert "<script" not in content
    lines = command(world, *rules, changes=away)
    assert "macro-F1" in lines
    assert "right category down, answered one across:" in lines
