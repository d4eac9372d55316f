"""`dedup near`, `dedup agreement` and what `doctor` finds of both, on a real PostgreSQL."""

import json
from dataclasses import replace
from typing import Any

import pytest

from etl import near
from etl.cli import wiring
from etl.cli.doctor import run_checks
from etl.db.store import Store
from etl.records import Check
from etl.settings import read_settings
from tests.fakes import make_item
from tests.runs import run_items
from tests.unit.cli.test_app import invoke
from tests.unit.stages.test_inherit import Wavering, issue, learn
from tests.unit.stages.test_inherit import plan as plan  # a fixture of that file
from tests.unit.test_near import body, changed

LONG = body(1)


@pytest.fixture
def store(store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("DATABASE_URL", database_url)
    return store


@pytest.fixture
def stored(store: Store, plan: Any) -> Store:
    items = [make_item(1, "One", LONG), make_item(2, "Two", changed(LONG, 0.02)), make_item(3, "Three", body(3))]
    run_items(store, plan, *items, make_item(4, "Four\x1b[2J", changed(LONG, 0.004)))
    return store


@pytest.mark.usefixtures("stored")
def test_it_compares_what_is_due_and_lists_each_pair_once_the_most_alike_first() -> None:
    shown = invoke("dedup", "near")
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    assert len(lines) == 3
    assert lines[0][4:] == "  octo/demo#4 Four[2J ~ octo/demo#1 One"
    assert [line[:4] for line in lines] == sorted((line[:4] for line in lines), reverse=True)
    assert "\x1b" not in shown.stdout


@pytest.mark.usefixtures("stored")
def test_as_json_it_says_how_many_were_compared_and_how_many_pairs_there_are() -> None:
    first = json.loads(invoke("dedup", "near", "--json", "--limit", "1").stdout)
    assert (first["texts_compared"], first["pairs"], len(first["shown"])) == (4, 3, 1)
    assert (first["shown"][0]["number"], first["shown"][0]["other_number"]) == (4, 1)
    again = json.loads(invoke("dedup", "near", "--json").stdout)
    assert (again["texts_compared"], again["pairs"]) == (0, 3)


@pytest.mark.usefixtures("stored")
def test_only_pairs_with_the_least_score_are_shown_and_the_rest_is_counted() -> None:
    best = json.loads(invoke("dedup", "near", "--json").stdout)["shown"][0]["score"]
    assert len(invoke("dedup", "near", "--min-score", str(best)).stdout.splitlines()) == 1
    assert "no two texts" in invoke("dedup", "near", "--min-score", "1").stdout
    assert invoke("dedup", "near", "--limit", "1").stdout.splitlines()[-1].startswith("… and 2 more")


@pytest.mark.parametrize(
    "arguments", [("--min-score", "0.5"), ("--min-score", "1.1"), ("--min-score", "nan"), ("--limit", "0")]
)
@pytest.mark.usefixtures("store")
def test_what_cannot_be_shown_is_refused(arguments: tuple[str, ...]) -> None:
    shown = invoke("dedup", "near", *arguments)
    assert (shown.exit_code, shown.stderr.count("\n")) == (3, 1)


@pytest.mark.usefixtures("store")
def test_without_the_extra_the_command_and_a_run_that_needs_it_say_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(near, "find_spec", lambda _: None)
    for arguments in (("dedup", "near"), ("run", "--skip-fetch", "--classifier", "rules")):
        shown = invoke(*arguments, ISSUETIDE_NEAR="on")
        assert (shown.exit_code, shown.stderr.count("\n")) == (3, 1)
        assert "pip install '/path/to/the/checkout[near]'" in shown.stderr
    assert [check.status for check in checks("near-duplicates", issuetide_near="on")] == ["failed"]
    assert checks("near-duplicates") == []


@pytest.mark.usefixtures("stored")
def test_a_run_that_is_told_to_compares() -> None:
    shown = invoke("run", "--skip-fetch", "--classifier", "rules", "--task", "issue_kind", ISSUETIDE_NEAR="on")
    assert "4 long texts compared, 3 pairs" in shown.stdout


@pytest.mark.usefixtures("stored")
def test_explaining_an_issue_shows_what_is_near() -> None:
    invoke("dedup", "near")
    shown = invoke("explain", "octo/demo#1").stdout
    assert "newer): octo/demo#4 Four" in shown
    found = json.loads(invoke("explain", "octo/demo#2", "--json").stdout)["near"]
    assert sorted((entry["number"], entry["older"]) for entry in found) == [(1, True), (4, False)]


def checks(name: str, **settings: Any) -> list[Check]:
    found = run_checks(read_settings(github_api_url="http://127.0.0.1:1", **settings))
    return [check for check in found if check.name.startswith(name)]


@pytest.mark.usefixtures("store")
def test_agreement_and_doctor_say_nothing_was_compared() -> None:
    assert "no text that could have inherited" in invoke("dedup", "agreement").stdout
    assert checks("inheritance") == []
    (check,) = checks("inheritance", issuetide_inherit="on")
    assert check.status == "ok"


def test_agreement_and_doctor_say_how_far_learning_is(store: Store, plan: Any) -> None:
    run_items(store, plan, issue(1))
    run_items(store, plan, issue(2))
    assert invoke("dedup", "agreement").stdout == "kind: 1 of 50 audits compared; nobody inherits before\n"
    (check,) = checks("inheritance", issuetide_inherit="on")
    assert (check.name, check.status) == ("inheritance of kind", "ok")


def test_agreement_and_doctor_find_a_task_that_inherits(store: Store, plan: Any) -> None:
    learn(store, plan)
    run_items(store, plan, issue(1))
    run_items(store, plan, issue(2))
    found = json.loads(invoke("dedup", "agreement", "--json").stdout)
    (task,) = found["tasks"]
    assert (task["compared"], task["share"], task["standing"], task["inherited"]) == (51, 1.0, "on", 1)
    (check,) = checks("inheritance", issuetide_inherit="on")
    assert (check.status, "1 texts inherited" in check.detail) == ("ok", True)


def test_doctor_fails_where_too_many_audits_disagree_and_the_cases_are_listed(store: Store, plan: Any) -> None:
    doubtful = replace(plan, classifier=Wavering("claude"))
    for first in (0, 100):
        run_items(store, doubtful, *(issue(first + number, code=number) for number in range(1, 61)))
    (check,) = checks("inheritance", issuetide_inherit="on")
    assert (check.status, "below 98%" in check.detail, "dedup agreement" in check.mend) == ("failed", True, True)
    lines = invoke("dedup", "agreement").stdout.splitlines()
    assert lines[0].endswith("nobody inherits")
    assert all("would have inherited" in line and "octo/demo#" in line for line in lines[1:])
    assert len(lines) == 1 + 17


def test_the_settings_reach_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wiring.inherit_audit(read_settings()) is None
    assert wiring.inherit_audit(read_settings(issuetide_inherit="on")) == 0.05
    monkeypatch.setenv("ISSUETIDE_INHERIT", "on")
    monkeypatch.setenv("ISSUETIDE_INHERIT_AUDIT", "0.5")
    assert wiring.inherit_audit(read_settings()) == 0.5
    assert wiring.wants_near(read_settings()) is False
    assert wiring.wants_near(read_settings(issuetide_near="on")) is True
