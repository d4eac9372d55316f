"""The outcome of a run in lines for people and in values for programs, and how commands end."""

import json
from collections import Counter
from pathlib import Path

import pytest
import typer

from etl.cli.output import outcome_lines, outcome_values, stop, write_file
from etl.db.store import Store
from etl.errors import ConfigurationError
from etl.pipeline import Plan, RunOutcome
from etl.stages.base import Rehashed, Tally
from tests.fakes import FakeClassifier, FakeSink
from tests.runs import rows, run_with

COUNTED = (
    "items_read",
    "characters_replaced",
    "texts_asked",
    "texts_inherited",
    "texts_compared",
    "near_pairs",
    "api_calls",
    "sweep_calls",
    "items_vanished",
    "items_returned",
    "comments_vanished",
)


def lines(plan: Plan, count: int, *, is_index_set: bool = False) -> list[str]:
    """What is printed of a run that found this many of everything."""
    rehashed = Rehashed(1, 2, moved=count, asked_anew={"kind": count})
    tally = Tally(
        Counter(dict.fromkeys(COUNTED, count)),
        waiting_documents=count,
        waiting_texts={"kind": count},
        rehashed=rehashed,
    )
    return outcome_lines(plan, RunOutcome(7, "ok", 0, tally), dry_run=False, is_index_set=is_index_set)[1:]


def test_one_of_everything_is_said_as_one() -> None:
    assert lines(Plan("run", classifier=FakeClassifier("rules")), 1) == [
        "  cleaned     1 character that PostgreSQL refuses",
        "  new ids     rules 1 → 2: 1 text, 0 merged, 0 split off; answers stay, 1 is asked anew",
        "  texts       0 new",
        "  classified  1 text by `rules`",
        "  inherited   1 text has the answer of one of its kin",
        "  near        1 long text compared, 1 pair",
        "  waiting     1 text for task kind",
        "  to export   1 document waits in PostgreSQL (OPENSEARCH_URL is not set)",
    ]


def test_several_are_said_as_several() -> None:
    told = "\n".join(lines(Plan("run", classifier=FakeClassifier("rules")), 1200))
    for words in ("1,200 texts have", "1,200 pairs", "1,200 documents wait", "1,200 are asked anew"):
        assert words in told


def test_where_an_index_is_set_documents_wait_for_the_export() -> None:
    last = lines(Plan("classify", classifier=FakeClassifier("rules")), 3, is_index_set=True)[-1]
    assert last == "  to export   3 documents wait for `issuetide export`"


def test_a_dry_run_does_not_blame_the_index_for_what_waits() -> None:
    outcome = RunOutcome(7, "ok", 0, Tally(waiting_documents=2))
    told = outcome_lines(Plan("export", sink=FakeSink()), outcome, dry_run=True, is_index_set=False)
    assert told[-1] == "  to export   2 documents wait in PostgreSQL"


def test_the_outcome_of_a_dry_run_names_no_record_that_is_not_there(store: Store) -> None:
    plan = Plan("test", sink=FakeSink())
    assert outcome_values(run_with(store, plan, dry_run=True))["run_id"] is None
    assert rows(store, "SELECT id FROM runs") == []
    number = outcome_values(run_with(store, plan))["run_id"]
    assert [row.id for row in rows(store, "SELECT id FROM runs")] == [number]


def test_an_interruption_is_json_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    @stop
    def command(*, as_json: bool) -> None:
        assert as_json
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        command(as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["exit_code"], ended.value.exit_code) == ("interrupted", 130, 130)


def test_a_file_that_cannot_be_written_is_named_with_its_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--html .* cannot be written: Is a directory"):
        write_file(tmp_path, "page", "--html")
