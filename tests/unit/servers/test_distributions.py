"""Distributions: complete or not there."""

import stat
import sys
from pathlib import Path

import pytest

from etl.errors import ConfigurationError, UnavailableError
from etl.servers.distributions import _compare_checksum, _fetch_once, fetch_distribution, fetch_runner


def _make(work: Path) -> Path:
    home = work / "made"
    (home / "lib").mkdir(parents=True)
    (home / "lib" / "a.jar").write_text("jar")
    (home / "lib" / "a.jar").chmod(0o600)
    return home


def test_a_distribution_is_made_once_and_readable_to_every_account(tmp_path: Path) -> None:
    home = _fetch_once(tmp_path / "kept", "opensearch-9", _make)
    assert (home / "lib" / "a.jar").read_text() == "jar"
    assert stat.S_IMODE((home / "lib" / "a.jar").stat().st_mode) == 0o644
    assert stat.S_IMODE(home.stat().st_mode) == 0o755
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["lock", "opensearch-9"]

    def again(_work: Path) -> Path:
        raise AssertionError("it is there already")

    assert _fetch_once(tmp_path / "kept", "opensearch-9", again) == home


def test_what_a_killed_download_left_is_thrown_away(tmp_path: Path) -> None:
    leftover = tmp_path / ".partial-killed" / "opensearch-9"
    leftover.mkdir(parents=True)
    assert _fetch_once(tmp_path, "opensearch-9", _make) == tmp_path / "opensearch-9"
    assert not leftover.parent.exists()


def test_a_failure_in_the_middle_leaves_nothing_that_looks_complete(tmp_path: Path) -> None:
    def half(work: Path) -> Path:
        _make(work)
        raise UnavailableError("the network went away")

    with pytest.raises(UnavailableError, match="went away"):
        _fetch_once(tmp_path, "opensearch-9", half)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_folder_that_cannot_be_written_is_a_configuration_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="file/kept"):
        _fetch_once(tmp_path / "file" / "kept", "opensearch-9", _make)


def test_a_damaged_download_of_the_shipped_version_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "opensearch.zip"
    archive.write_bytes(b"PK damaged")
    with pytest.raises(UnavailableError, match=r"3\.8\.0 is damaged"):
        _compare_checksum(archive, "3.8.0")
    _compare_checksum(archive, "3.9.0")  # its checksum is not known


@pytest.mark.parametrize("fetch", [fetch_distribution, fetch_runner])
def test_without_the_internet_the_error_is_one_line_with_the_way_out(tmp_path: Path, fetch: object) -> None:
    assert callable(fetch)
    told: list[str] = []
    with pytest.raises(UnavailableError) as caught:
        fetch(tmp_path, "3.8.0", told.append)
    message = str(caught.value)
    assert "Maven Central" in message
    assert "OPENSEARCH_URL" in message
    assert "\n" not in message
    assert len(message) < 400
    assert [line.split()[0] for line in told] == ["downloading"]
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_without_the_extra_the_error_has_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jgo.maven", None)  # what an import of a missing package finds
    with pytest.raises(ConfigurationError, match=r"pip install '/path/to/the/checkout\[servers\]'.*OPENSEARCH_URL"):
        fetch_distribution(tmp_path, "3.8.0", lambda _: None)
