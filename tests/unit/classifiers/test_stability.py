"""Prompts are the same bytes in every process."""

from pathlib import Path

import pytest

from etl.classifiers import stability
from etl.classifiers.stability import digests, find_unstable
from etl.errors import UnavailableError
from etl.tasks import load_tasks
from tests.fakes import write_task


def test_the_shipped_prompts_are_the_same_in_processes_of_other_seeds_locales_and_days(tmp_path: Path) -> None:
    write_task(tmp_path)
    assert find_unstable(tmp_path) == []
    assert find_unstable(None) == []


def test_a_prompt_with_a_day_or_an_order_of_a_set_in_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What renders is replaced by scripts that do what a careless change of the renderer would."""
    for words in ("datetime.date.today().isoformat()", "str({'bug', 'feature', 'question', 'other', 'docs'})"):
        script = f"import datetime, json; print(json.dumps({{'kind': {words}, 'other': 'same'}}))"
        monkeypatch.setattr(stability, "_SCRIPT", script)
        assert find_unstable(None) == ["kind"]


def test_a_process_that_fails_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stability, "_SCRIPT", "raise SystemExit(1)")
    with pytest.raises(UnavailableError, match="CalledProcessError"):
        find_unstable(None)


def test_a_digest_covers_the_packed_prompt_as_well() -> None:
    tasks = load_tasks()
    found = digests(tasks.values())
    assert set(found) == set(tasks)
    assert len(set(found.values())) == len(tasks)
