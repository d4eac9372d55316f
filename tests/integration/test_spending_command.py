"""Caps, estimates, the model guard and the cache doctor as people meet them: the command, on loopback servers."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.integration.test_bad_input import COMMAND, Desk
from tests.loopback.anthropic import LoopbackAnthropic

REPO = "octo/demo"
KEY = "sk-ant-loopback"
MODEL = "claude-haiku-5-5"
CLASSIFY = ("classify", "--task", "issue_kind", "--executor", "sync")
KINDS = ("It crashes with an error in {}", "Please add support for {}", "How do I configure {}?")
ISSUES = 40


class Clock:
    """The time by which the vendor's cache lives: `step` seconds later with every look."""

    def __init__(self) -> None:
        self.now = 0.0
        self.step = 0.0

    def __call__(self) -> float:
        """The time."""
        self.now += self.step
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def anthropic(clock: Clock) -> Iterator[LoopbackAnthropic]:
    with LoopbackAnthropic(key=KEY, clock=clock) as server:
        yield server


@pytest.fixture
def desk(database_url: str, anthropic: LoopbackAnthropic, tmp_path: Path) -> Desk:
    """Forty issues are stored, none is answered."""
    desk = Desk(database_url, "http://127.0.0.1:9", tmp_path)
    desk.settings |= {
        "ANTHROPIC_API_KEY": KEY,
        "ANTHROPIC_BASE_URL": anthropic.url,
        "ISSUETIDE_PACK": "1",
        "ISSUETIDE_MODEL": MODEL,
    }
    lines = [
        json.dumps(
            {
                "number": number,
                "title": KINDS[number % 3].format(f"part {chr(97 + number % 26)}{chr(97 + number // 26)}"),
                "body": f"We see this with the {chr(97 + number % 26)}-side of module {chr(97 + number // 26)}. " * 6,
                "state": "open",
                "created_at": f"2026-01-{number % 28 + 1:02d}T00:00:00Z",
                "updated_at": "2026-02-01T00:00:00Z",
                "html_url": f"https://github.com/{REPO}/issues/{number}",
            }
        )
        for number in range(1, ISSUES + 1)
    ]
    (tmp_path / "issues.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert desk.call("fetch", "--input", "issues.jsonl").returncode == 0
    return desk


def rows(desk: Desk, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(desk.settings["DATABASE_URL"]) as connection:
        return connection.execute(statement.encode()).fetchall()


def execute(desk: Desk, statement: str) -> None:
    with psycopg.connect(desk.settings["DATABASE_URL"]) as connection:
        connection.execute(statement.encode())


def contents(desk: Desk) -> dict[str, str]:
    """A digest of every table's rows."""
    tables = [name for (name,) in rows(desk, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    return {
        name: rows(desk, f"SELECT md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM {name} t")[0][0]
        for name in tables
    }


def spent(desk: Desk) -> float:
    return float(rows(desk, "SELECT coalesce(sum(cost_usd), 0) FROM classifications")[0][0])


def billed(anthropic: LoopbackAnthropic) -> int:
    return len([entry for entry in anthropic.asked() if entry.status == 200])


def classify(desk: Desk, *arguments: str, code: int = 0, **changes: str) -> dict[str, Any]:
    done = desk.call(*CLASSIFY, "--json", *arguments, **changes)
    assert done.returncode == code, done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


# --- caps -------------------------------------------------------------------------------------------------------------


def test_two_runs_at_once_stay_below_the_day_and_say_when_it_opens_again(
    desk: Desk, anthropic: LoopbackAnthropic
) -> None:
    cap = 0.003
    changes = {"ISSUETIDE_MAX_COST_USD_DAY": str(cap), "ISSUETIDE_THREADS": "4"}
    anthropic.delay = 0.02
    environment = {**desk.settings, **changes, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    runs = [
        subprocess.Popen(
            [*COMMAND, "classify", "--task", task, "--executor", "sync", "--json"],
            env=environment,
            cwd=desk.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for task in ("issue_kind", "user_error")
    ]
    outcomes = [json.loads(run.communicate(timeout=240)[0]) for run in runs]
    assert {outcome["status"] for outcome in outcomes} == {"stopped_budget"}
    assert [run.returncode for run in runs] == [5, 5]
    for outcome in outcomes:
        assert "the cap of $0.0030 per UTC day (ISSUETIDE_MAX_COST_USD_DAY) is reached" in outcome["error"]
        assert " texts of " in outcome["error"]
        assert "it opens again on 20" in outcome["error"]
    assert 0 < spent(desk) <= cap
    assert billed(anthropic) == rows(desk, "SELECT count(*) FROM classifications")[0][0] < 2 * ISSUES
    assert rows(desk, "SELECT count(*) FROM spend_grants")[0][0] == 0
    assert rows(desk, "SELECT count(*) FROM claims")[0][0] == 0
    # The rest is answered, once each, when there is money again.
    assert classify(desk, "--task", "user_error")["status"] == "ok"
    assert billed(anthropic) == rows(desk, "SELECT count(DISTINCT (text_id, task)) FROM classifications")[0][0]
    assert billed(anthropic) == 2 * ISSUES


def test_the_month_counts_what_earlier_days_cost_and_an_old_month_does_not(desk: Desk) -> None:
    classify(desk, "--max-items", "10", code=5)
    execute(desk, "UPDATE classifications SET cost_usd = 0.5, created_at = date_trunc('month', now())")
    outcome = classify(desk, code=5, ISSUETIDE_MAX_COST_USD_MONTH="4")
    assert "per UTC month (ISSUETIDE_MAX_COST_USD_MONTH)" in outcome["error"]
    assert "$5.0000 are spent" in outcome["error"]
    assert outcome["waiting_texts"] == {"issue_kind": 30}
    execute(desk, "UPDATE classifications SET created_at = now() - interval '40 days'")
    assert classify(desk, ISSUETIDE_MAX_COST_USD_MONTH="4")["status"] == "ok"


def test_a_model_without_a_price_is_refused_under_any_cap(desk: Desk) -> None:
    for name in ("ISSUETIDE_MAX_COST_USD", "ISSUETIDE_MAX_COST_USD_DAY", "ISSUETIDE_MAX_COST_USD_MONTH"):
        line = desk.complaint(3, *CLASSIFY, "--model", "claude-nonesuch-9", **{name: "5"})
        assert "'claude-nonesuch-9' is not known" in line


def test_status_shows_what_is_spent_against_the_caps_and_how_the_cache_is_used(desk: Desk) -> None:
    classify(desk)
    words = desk.call("status", ISSUETIDE_MAX_COST_USD_DAY="2", ISSUETIDE_MAX_COST_USD_MONTH="30").stdout
    assert f"spent (UTC): ${spent(desk):.4f} today of $2.0000, ${spent(desk):.4f} this month of $30.0000" in words
    spending = json.loads(desk.call("status", "--json", ISSUETIDE_MAX_COST_USD_DAY="2").stdout)["spending"]
    assert spending["today_usd"] == pytest.approx(spent(desk))
    assert (spending["cap_day_usd"], spending["cap_month_usd"]) == (2.0, None)
    assert spending["cache"]["answers"] == ISSUES
    assert 0.5 < spending["cache"]["read_share"] < 1
    (daily,) = rows(desk, "SELECT task, classifier, model, executor, purpose, answers, cost_usd FROM spending_daily")
    assert daily[:6] == ("issue_kind", "claude", MODEL, "sync", "live", ISSUES)
    assert float(daily[6]) == pytest.approx(spent(desk))


# --- estimates --------------------------------------------------------------------------------------------------------


def estimate(desk: Desk, *arguments: str, **changes: str) -> dict[str, Any]:
    done = desk.call(*CLASSIFY, "--estimate", "--json", *arguments, **changes)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def way(found: dict[str, Any], executor: str, pack: int, *, cached: bool) -> dict[str, Any]:
    (one,) = (
        way
        for way in found["total"]["ways"]
        if (way["executor"], way["pack"], way["cached"]) == (executor, pack, cached)
    )
    return dict(one)


def test_an_estimate_asks_nobody_and_writes_nothing(desk: Desk, anthropic: LoopbackAnthropic) -> None:
    before = contents(desk)
    found = estimate(desk)
    assert (found["total"]["texts"], found["model"], found["evidence"]["answers"]) == (ISSUES, MODEL, 0)
    assert anthropic.journal == []
    assert contents(desk) == before
    run = desk.call("run", "--skip-fetch", "--task", "issue_kind", "--task", "user_error", "--estimate")
    assert run.returncode == 0, run.stderr
    assert "80 texts wait for `claude`" in run.stdout
    assert "all tasks: 80 texts" in run.stdout
    titles = [line for line in run.stdout.splitlines() if line.endswith("requests         about       at most")]
    assert len(titles) == 3
    assert len({len(line) for line in titles}) == 1, "columns under columns"
    assert "nobody was asked" in run.stdout
    assert contents(desk) == before


def test_an_estimate_needs_no_key(desk: Desk) -> None:
    del desk.settings["ANTHROPIC_API_KEY"]
    assert estimate(desk)["classifier"] == "claude"
    assert "for nothing" in desk.call(*CLASSIFY, "--estimate", "--classifier", "rules").stdout


def test_an_estimate_compares_the_ways_and_marks_the_one_that_is_configured(desk: Desk) -> None:
    found = estimate(desk)
    alone, packed = way(found, "sync", 1, cached=True), way(found, "sync", 10, cached=True)
    assert (alone["requests"], alone["configured"]) == (ISSUES, True)
    assert packed["requests"] < 10
    naive = way(found, "sync", 1, cached=False)
    batch = way(found, "batch", 1, cached=False)
    assert batch["dollars"] == pytest.approx(naive["dollars"] / 2, rel=1e-3)
    assert packed["dollars"] < alone["dollars"] < naive["dollars"]
    assert all(one["worst_usd"] > one["dollars"] for one in found["total"]["ways"])
    set_to_ten = estimate(desk, ISSUETIDE_PACK="10")
    assert way(set_to_ten, "sync", 10, cached=True)["configured"]
    batched = estimate(desk, ISSUETIDE_EXECUTOR="batch", ISSUETIDE_BATCH_PACK="10")
    done = desk.call("classify", "--task", "issue_kind", "--estimate", "--json", "--executor", "batch")
    configured = [one for one in json.loads(done.stdout)["total"]["ways"] if one["configured"]]
    assert [one["executor"] for one in configured] == ["batch"]
    assert batched["total"]["texts"] == ISSUES
    assert estimate(desk, "--max-items", "7")["total"]["texts"] == 7


def test_the_worst_case_of_an_estimate_is_the_cap_that_lets_everything_through(desk: Desk) -> None:
    """Every request's worst case is reserved, and less is spent: a cap of the sum never stops the run."""
    worst = way(estimate(desk), "sync", 1, cached=True)["worst_usd"]
    assert classify(desk, ISSUETIDE_MAX_COST_USD_DAY=f"{worst:.6f}")["status"] == "ok"
    assert spent(desk) < worst / 2


def test_an_estimate_comes_near_and_nearer_once_answers_are_stored(desk: Desk) -> None:
    first = way(estimate(desk), "sync", 1, cached=True)["dollars"]
    classify(desk)
    real = spent(desk)
    assert first == pytest.approx(real, rel=0.5)
    # Enough evidence: the same answers once more, as of another run.
    execute(
        desk,
        """INSERT INTO classifications (text_id, task, task_version, task_sha256, prompt_version, classifier, model,
               outcome, categories, confidences, rationale, input_tokens, cache_write_tokens, cache_read_tokens,
               output_tokens, run_id, purpose)
           SELECT text_id, task, task_version, task_sha256, prompt_version, classifier, model, outcome, categories,
               confidences, rationale, input_tokens, cache_write_tokens, cache_read_tokens, output_tokens, run_id,
               'trial' FROM classifications""",
    )
    execute(desk, "UPDATE classifications SET purpose = 'trial', model = model || '-20261001'")
    found = estimate(desk)
    assert found["evidence"]["answers"] == 2 * ISSUES
    assert way(found, "sync", 1, cached=True)["dollars"] == pytest.approx(real, rel=0.15)
    assert "measured on 80 stored answers" in desk.call(*CLASSIFY, "--estimate").stdout


# --- the model guard --------------------------------------------------------------------------------------------------


def set_lifecycle(anthropic: LoopbackAnthropic, lifecycle: Any, retires_at: str | None) -> None:
    anthropic.models[MODEL] = replace(anthropic.models[MODEL], lifecycle=lifecycle, retires_at=retires_at)


def checks(anthropic: LoopbackAnthropic) -> int:
    return len([entry for entry in anthropic.journal if entry.path.startswith("/v1/models")])


def test_a_retired_model_is_one_error_with_its_successor_before_anything_is_asked(
    desk: Desk, anthropic: LoopbackAnthropic
) -> None:
    model = "claude-haiku-4-5"
    anthropic.models[model] = replace(anthropic.models[model], lifecycle="retired", retires_at="2026-11-01T00:00:00Z")
    outcome = classify(desk, "--model", model, code=3)
    assert outcome["error"] == (
        "model 'claude-haiku-4-5' is retired since 2026-11-01: set ISSUETIDE_MODEL to its successor claude-haiku-5-5;"
        " nothing was asked"
    )
    assert outcome["notes"] == []
    assert anthropic.asked() == []
    assert classify(desk, "--model", model, code=3)["error"] == outcome["error"]
    assert classify(desk)["status"] == "ok"


def test_the_model_is_asked_about_once_a_day_and_only_where_texts_wait(
    desk: Desk, anthropic: LoopbackAnthropic
) -> None:
    classify(desk, "--max-items", "2", code=5)
    classify(desk, "--max-items", "2", code=5)
    assert checks(anthropic) == 1
    execute(desk, "UPDATE model_checks SET checked_at = now() - interval '25 hours'")
    classify(desk)
    assert checks(anthropic) == 2
    execute(desk, "UPDATE model_checks SET checked_at = now() - interval '25 hours'")
    classify(desk)
    assert checks(anthropic) == 2
    assert rows(desk, "SELECT model, lifecycle FROM model_checks") == [(MODEL, "active")]


def test_a_model_that_will_retire_is_one_warning_in_log_record_and_doctor(
    desk: Desk, anthropic: LoopbackAnthropic
) -> None:
    old = "claude-sonnet-4-5-20250929"
    retires = f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}"
    anthropic.models[old] = replace(anthropic.models[old], retires_at=f"{retires}T00:00:00Z")
    done = desk.call(*CLASSIFY, "--max-items", "2", "--model", old, PYTHONWARNINGS="default")
    assert done.returncode == 5, done.stderr
    assert done.stderr.count("model will be retired") == 1
    assert "DeprecationWarning" not in done.stderr
    (notes,) = rows(desk, "SELECT notes FROM runs ORDER BY id DESC LIMIT 1")[0]
    assert notes == [
        f"model {old} is deprecated, retires {retires}: set ISSUETIDE_MODEL to its successor claude-sonnet-5-5"
    ]
    assert "retired" not in desk.call(*CLASSIFY, "--max-items", "2", "--model", old).stderr
    found = json.loads(desk.call("doctor", "--json", ISSUETIDE_MODEL=old).stdout)
    said = {check["name"]: (check["status"], check["detail"], check["mend"]) for check in found}
    assert said["anthropic"][0] == said["model guard"][0] == "warning"
    assert "claude-sonnet-5-5" in said["anthropic"][2]
    assert "a run found claude-sonnet-4-5-20250929 deprecated" in said["model guard"][1]
    assert checks(anthropic) == 2


def test_a_run_is_partial_for_what_it_left_not_for_what_it_remarked(desk: Desk, anthropic: LoopbackAnthropic) -> None:
    set_lifecycle(anthropic, "active", "2026-12-01T00:00:00Z")
    outcome = classify(desk)
    assert outcome["status"] == "ok"
    assert "retires 2026-12-01" in outcome["remarks"][0]


@pytest.mark.parametrize("status", [404, 403, 503])
def test_a_service_that_says_nothing_of_its_models_stops_nobody(
    desk: Desk, anthropic: LoopbackAnthropic, status: int
) -> None:
    anthropic.models_status = status
    assert classify(desk)["status"] == "ok"
    assert rows(desk, "SELECT * FROM model_checks") == []


def test_a_model_that_disappears_in_mid_run_is_one_error_not_one_per_text(
    desk: Desk, anthropic: LoopbackAnthropic
) -> None:
    old = "claude-sonnet-4-5-20250929"
    classify(desk, "--max-items", "5", "--model", old, code=5)
    del anthropic.models[old]
    outcome = classify(desk, "--model", old, code=3)
    assert f"knows no model '{old}', or no longer" in outcome["error"]
    assert "its successor claude-sonnet-5-5" in outcome["error"]
    assert outcome["notes"] == []
    assert outcome.get("texts_failed", 0) == 0


# --- the cache doctor -------------------------------------------------------------------------------------------------


def doctor(desk: Desk) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in json.loads(desk.call("doctor", "--json").stdout)}


def test_a_cache_that_is_written_and_never_read_is_said_by_the_run_and_by_doctor(desk: Desk, clock: Clock) -> None:
    clock.step = 600.0  # nothing is in the cache any more when the next request comes
    done = desk.call(*CLASSIFY, "--json")
    outcome = json.loads(done.stdout)
    assert done.stderr.count("prompt cache is written and never read") == 1
    assert outcome["status"] == "ok"
    assert "is written to the cache and never read" in outcome["remarks"][0]
    check = doctor(desk)["prompt cache of issue_kind"]
    assert check["status"] == "warning"
    assert "never read" in check["detail"]
    assert "proxy" in check["mend"]


def test_a_cache_that_works_is_not_spoken_of(desk: Desk) -> None:
    assert "cache" not in desk.call(*CLASSIFY).stderr
    found = doctor(desk)
    assert found["prompt bytes"]["status"] == "ok"
    assert "prompt cache of issue_kind" not in found


def test_prompts_that_change_their_bytes_under_the_same_numbers_are_found_in_the_ledger(desk: Desk) -> None:
    classify(desk)
    execute(
        desk,
        "UPDATE classifications SET prompt_version = split_part(prompt_version, '-', 1) || '-00000000'"
        " WHERE id % 2 = 0",
    )
    check = doctor(desk)["prompt bytes of issue_kind"]
    assert check["status"] == "warning"
    assert "00000000" in check["detail"]
