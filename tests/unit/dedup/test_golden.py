"""Ids are for ever: they may only move with RULES_VERSION, and are the same on every interpreter, seed and locale."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from etl.dedup import RULES_VERSION, text_hash
from tests.unit.dedup import golden

ROOT = Path(golden.__file__).parents[3]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")


def _interpreters() -> dict[str, str]:
    """The interpreters of supported versions that are found here, by their version to the patch level."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [sys.executable, "/usr/bin/python3", *(shutil.which(f"python{version}") or "" for version in VERSIONS)]
    places += [str(path) for version in VERSIONS for path in sorted(pyenv.glob(f"versions/{version}*/bin/python"))]
    found: dict[str, str] = {}
    for place in filter(os.path.exists, places):
        say = [place, "-c", "import platform; print(platform.python_implementation(), platform.python_version())"]
        answer = subprocess.run(say, capture_output=True, text=True, check=False).stdout.strip()
        name, _, version = answer.partition(" ")
        if name == "CPython" and ".".join(version.split(".")[:2]) in VERSIONS:
            found.setdefault(version, place)
    return found


FOUND = _interpreters()


def test_no_id_moves_without_a_new_version_of_the_rules() -> None:
    rows = golden.stored()
    assert len(rows) >= 500
    assert len({row["text"] for row in rows}) == len(rows)
    moved = [row["text"] for row, now in zip(rows, golden.computed(r["text"] for r in rows), strict=True) if row != now]
    assert not moved, (
        f"{len(moved)} ids moved: raise RULES_VERSION in etl/dedup/rules.py, then run python -m tests.unit.dedup.golden"
    )


def test_every_id_says_its_version_and_is_128_bits_long() -> None:
    for row in golden.stored():
        for name in ("text_hash", "family_hash"):
            version, _, digits = row[name].partition(":")
            assert version == str(RULES_VERSION)
            assert len(digits) == 32
            assert int(digits, 16) >= 0


def _digest(interpreter: str, **environment: str) -> str:
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [interpreter, "-m", "tests.unit.dedup.golden", "--check"]
    return subprocess.run(
        command, env=surroundings, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.parametrize("seed", ["0", "1", "random"])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_ids_do_not_depend_on_hash_seed_or_locale(seed: str, locale: str) -> None:
    assert _digest(sys.executable, PYTHONHASHSEED=seed, LC_ALL=locale, PYTHONUTF8="0") == golden.digest()


@pytest.mark.parametrize("version", FOUND)
def test_ids_are_the_same_on_every_interpreter_found_here(version: str) -> None:
    assert _digest(FOUND[version]) == golden.digest()


def test_ids_do_not_depend_on_what_was_hashed_before_or_beside() -> None:
    texts = [row["text"] for row in golden.stored()]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        beside = list(pool.map(text_hash, reversed(texts), chunksize=97))
    assert beside == [row["text_hash"] for row in reversed(golden.stored())]
