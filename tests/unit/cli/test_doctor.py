"""Tests of what `doctor` finds on this machine; what it finds elsewhere is tested with the real servers."""

from pathlib import Path
from typing import Any

import pytest

from etl.cli.doctor import run_checks
from etl.records import Check
from etl.settings import read_settings

NOWHERE = "http://127.0.0.1:1"


def folder_checks(data_dir: Path, **settings: Any) -> list[Check]:
    checks = run_checks(read_settings(issuetide_data_dir=data_dir, github_api_url=NOWHERE, **settings))
    return [check for check in checks if check.name == "data folder"]


def test_a_data_folder_that_can_be_made_is_right_and_is_not_made(tmp_path: Path) -> None:
    (check,) = folder_checks(tmp_path / "not" / "there")
    assert check.status == "ok"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below_a_file", [True, False])
def test_a_data_folder_that_cannot_be_written_to_is_found(tmp_path: Path, below_a_file: bool) -> None:
    (tmp_path / "file").touch()
    # Nobody, not even root, makes files in /proc.
    (check,) = folder_checks((tmp_path / "file" if below_a_file else Path("/proc")) / "issuetide")
    assert (check.status, "ISSUETIDE_DATA_DIR" in check.mend) == ("failed", True)


def test_a_data_folder_that_nothing_needs_is_not_looked_at() -> None:
    assert folder_checks(Path("/proc/issuetide"), database_url="postgresql://127.0.0.1:1/x") == []


@pytest.mark.parametrize(
    ("url", "password", "is_open"),
    [
        ("http://search.invalid:9200", "s3cret", True),
        ("http://hourly:s3cret@search.invalid:9200", None, True),
        ("http://search.invalid:9200", None, False),
        ("https://search.invalid:9200", "s3cret", False),
        ("http://127.0.0.1:1", "s3cret", False),
        ("http://localhost:1", "s3cret", False),
    ],
)
def test_a_password_that_travels_unencrypted_is_warned_of(
    tmp_path: Path, url: str, password: str | None, is_open: bool
) -> None:
    settings = read_settings(
        issuetide_data_dir=tmp_path,
        github_api_url=NOWHERE,
        database_url="postgresql://127.0.0.1:1/x",
        opensearch_url=url,
        opensearch_username="hourly" if password else None,
        opensearch_password=password,
    )
    found = run_checks(settings)
    assert [check.status for check in found if check.name == "opensearch password"] == (["warning"] if is_open else [])
    assert "s3cret" not in repr(found)


def test_a_database_without_tables_is_one_failed_check(tmp_path: Path, empty_database_url: str) -> None:
    settings = read_settings(issuetide_data_dir=tmp_path, github_api_url=NOWHERE, database_url=empty_database_url)
    failed = [check.detail for check in run_checks(settings) if check.status == "failed"]
    assert [detail for detail in failed if "no Issuetide tables yet" in detail] == failed[1:], "GitHub is away as well"
    assert len(failed) == 2
