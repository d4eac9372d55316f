"""The settings of what a run may ask of GitHub: what they are unless set, and what is refused."""

from pathlib import Path

import pytest

from etl.errors import ConfigurationError
from etl.settings import read_settings


@pytest.fixture(autouse=True)
def _empty_working_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_unset_a_run_sweeps_a_little_once_a_day_and_may_call_as_often_as_it_must() -> None:
    settings = read_settings()
    assert settings.issuetide_sweep_calls == 10
    assert settings.issuetide_sweep_hours == 24.0
    assert settings.issuetide_timelines == "estimated"
    assert settings.issuetide_max_calls is None


def test_what_the_environment_says_of_calls_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISSUETIDE_SWEEP_CALLS", "300")
    monkeypatch.setenv("ISSUETIDE_SWEEP_HOURS", "1.5")
    monkeypatch.setenv("ISSUETIDE_TIMELINES", "all")
    monkeypatch.setenv("ISSUETIDE_MAX_CALLS", "1000\n")
    settings = read_settings()
    assert settings.issuetide_sweep_calls == 300
    assert settings.issuetide_sweep_hours == 1.5
    assert settings.issuetide_timelines == "all"
    assert settings.issuetide_max_calls == 1000


@pytest.mark.parametrize("name", ["ISSUETIDE_SWEEP_CALLS", "ISSUETIDE_SWEEP_HOURS"])
def test_zero_turns_the_sweep_off_or_lets_a_round_begin_with_each_run(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "0")
    assert getattr(read_settings(), name.lower()) == 0


def test_the_environment_wins_over_the_env_file_and_that_over_the_toml_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "issuetide.toml").write_text(
        'issuetide_sweep_calls = 1\nissuetide_max_calls = 10\nissuetide_timelines = "off"\n', encoding="utf-8"
    )
    (tmp_path / ".env").write_text("ISSUETIDE_SWEEP_CALLS=2\nISSUETIDE_MAX_CALLS=20\n", encoding="utf-8")
    monkeypatch.setenv("ISSUETIDE_SWEEP_CALLS", "3")
    settings = read_settings()
    assert settings.issuetide_sweep_calls == 3
    assert settings.issuetide_max_calls == 20
    assert settings.issuetide_timelines == "off"


@pytest.mark.parametrize(
    "name", ["ISSUETIDE_SWEEP_CALLS", "ISSUETIDE_SWEEP_HOURS", "ISSUETIDE_TIMELINES", "ISSUETIDE_MAX_CALLS"]
)
@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_one_counts_as_unset(monkeypatch: pytest.MonkeyPatch, name: str, blank: str) -> None:
    unset = read_settings()
    monkeypatch.setenv(name, blank)
    assert read_settings() == unset


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ISSUETIDE_SWEEP_CALLS", "-1", "greater than or equal to 0"),
        ("ISSUETIDE_SWEEP_CALLS", "2.5", "integer"),
        ("ISSUETIDE_SWEEP_CALLS", "some", "integer"),
        ("ISSUETIDE_SWEEP_HOURS", "-0.5", "greater than or equal to 0"),
        ("ISSUETIDE_SWEEP_HOURS", "inf", "less than or equal to 87600"),
        ("ISSUETIDE_SWEEP_HOURS", "nan", "less than or equal to 87600"),
        ("ISSUETIDE_SWEEP_HOURS", "daily", "number"),
        ("ISSUETIDE_TIMELINES", "some", "'off', 'estimated' or 'all'"),
        ("ISSUETIDE_TIMELINES", "All", "'off', 'estimated' or 'all'"),
        ("ISSUETIDE_MAX_COST_USD", "inf", "finite"),
        ("ISSUETIDE_MAX_COST_USD_DAY", "1e999", "finite"),
        ("ISSUETIDE_MAX_COST_USD_MONTH", "nan", "finite"),
        ("ISSUETIDE_MAX_CALLS", "0", "greater than or equal to 1"),
        ("ISSUETIDE_MAX_CALLS", "-5", "greater than or equal to 1"),
        ("ISSUETIDE_MAX_CALLS", "5k", "integer"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as refused:
        read_settings()
    assert str(refused.value).startswith(f"setting {name} cannot be used: ")
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)
