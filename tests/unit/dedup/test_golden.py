"""Ids are for ever: they may only move with RULES_VERSION, and are the same on every interpreter, seed and locale."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from etl.dedup import RULES_VERSION
from tests.unit.dedup import golden

ROOT = Path(golden.__file__).parents[3]
INTERPRETERS = ("/usr/bin/python3", "python3.11", "python3.12", "python3.13", "python3.14")


def test_no_id_moves_without_a_new_version_of_the_rules() -> None:
    rows = golden.stored()
    assert len(rows) >= 200
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


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_ids_are_the_same_on_every_interpreter_found_here(interpreter: str) -> None:
    path = shutil.which(interpreter)
    probe = [path or sys.executable, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if path is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip(f"{interpreter} is not here, or older than 3.11")
    assert _digest(path) == golden.digest()
