"""docs/prompts.md, the log of prompts: an entry for everything that a stored answer's prompt version names."""

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest

from etl.classifiers.features import FEATURES_VERSION
from etl.classifiers.prompt import (
    PACK_TEMPLATE_VERSION,
    TEMPLATE_VERSION,
    output_schema,
    prompt_version,
    render_item,
    render_items,
    render_system,
    render_tools,
)
from etl.classifiers.redact import REDACTION_VERSION
from etl.classifiers.rules import FORMULA_VERSION
from etl.classifiers.rules import prompt_version as rules_prompt_version
from etl.classifiers.shorten import TRUNCATION_VERSION
from etl.tasks import load_tasks
from tests.unit.classifiers.samples import areas_task, kind_task

PROMPTS = Path(__file__).parents[2] / "docs" / "prompts.md"
TODAY = {
    "Template": ("p", TEMPLATE_VERSION),
    "Template for several texts": ("k", PACK_TEMPLATE_VERSION),
    "Cut": ("s", TRUNCATION_VERSION),
    "Redaction": ("r", REDACTION_VERSION),
    "Formula of the rules classifier": ("r", FORMULA_VERSION),
    "Features of the local classifier": ("l", FEATURES_VERSION),
}


def read_entries(text: str) -> Mapping[str, Mapping[str, str]]:
    """By part of the log: its entries by name ('s2', 'p1 (`…`)'), each with what stands below it."""
    found: dict[str, dict[str, str]] = {}
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title, _, rest = part.partition("\n")
        entries = [entry.partition("\n") for entry in re.split(r"^### ", rest, flags=re.MULTILINE)[1:]]
        found[title.strip()] = {name.strip(): body.strip() for name, _, body in entries}
    return found


ENTRIES = read_entries(PROMPTS.read_text(encoding="utf-8"))


def words_digest(*, packed: bool) -> str:
    """Twelve digits over everything that is sent for two small tasks but the texts: changes with any word of ours."""
    messages = render_items([("", "")], "?") if packed else render_item("", "?")
    parts: list[object] = [messages, render_tools(packed=packed)]
    for task in (kind_task(), areas_task()):
        parts += [render_system(task, packed=packed), output_schema(task, packed=packed)]
    return sha256(json.dumps(parts).encode()).hexdigest()[:12]


@pytest.mark.parametrize(("part", "letter", "newest"), [(part, *today) for part, today in TODAY.items()])
def test_every_version_up_to_that_of_today_has_an_entry_newest_first(part: str, letter: str, newest: int) -> None:
    assert part in ENTRIES, f"docs/prompts.md has no part '{part}'"
    versions = [name.split(" ")[0] for name in ENTRIES[part]]
    assert versions == [f"{letter}{number}" for number in range(newest, 0, -1)], (
        f"docs/prompts.md, part '{part}': each version up to {letter}{newest} has an entry of its own, newest first"
    )


@pytest.mark.parametrize("packed", [False, True])
def test_the_entry_of_a_template_names_the_digest_of_its_words(packed: bool) -> None:
    part, version = ("Template for several texts", PACK_TEMPLATE_VERSION) if packed else ("Template", TEMPLATE_VERSION)
    heading = f"{'k' if packed else 'p'}{version} (`{words_digest(packed=packed)}`)"
    assert heading in ENTRIES[part], (
        "the words or the shape of what is sent have changed: raise the version in etl/classifiers/prompt.py (stored"
        f" answers name it), and add to docs/prompts.md the entry: ### {heading}"
    )


def test_every_entry_says_something() -> None:
    empty = [f"{part}: {name}" for part, entries in ENTRIES.items() for name, body in entries.items() if len(body) < 40]
    assert empty == []


def test_every_shipped_task_has_an_entry_for_each_of_its_versions() -> None:
    for task in load_tasks().values():
        versions = {int(name.split()[1]) for name in ENTRIES["Tasks"] if name.split()[0] == task.name}
        assert versions == set(range(1, task.version + 1))


def test_the_parts_of_a_prompt_version_are_those_of_the_log() -> None:
    """A new part of the name is a new part of the log: both are read from here."""
    task = kind_task()
    letters = {
        prompt_version(task): ("p", "t", "s", "r"),
        prompt_version(task, packed=True): ("k", "t", "s", "r"),
        rules_prompt_version(task): ("r", "t"),
    }
    for version, expected in letters.items():
        assert tuple(part[0] for part in version.partition("-")[0].split(".")) == expected


def test_the_reader_of_the_log_finds_a_missing_entry() -> None:
    found = read_entries("# Log\n\n## Cut\n\n### s2\n\nNew.\n\n### s1\n\nOld.\n\n## Other\n")
    assert found == {"Cut": {"s2": "New.", "s1": "Old."}, "Other": {}}
