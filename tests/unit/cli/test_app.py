"""What the command says of itself: its help, its arguments, its completion."""

import json
import re
from collections.abc import Iterator
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from etl.classifiers import CLASSIFIERS
from etl.cli.app import app
from etl.resources import resource_folder

GROUPS = ("tasks", "dedup", "index", "batches", "dashboards", "db", "servers")
README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")


def invoke(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80", **environment}, prog_name="issuetide")


def listed(*group: str) -> list[tuple[str, str]]:
    """The commands that a help lists, with what it says of each."""
    lines = invoke(*group, "--help").stdout.partition("Commands:\n")[2].splitlines()
    assert lines
    return [(words[0], words[1].strip()) for words in (line.split(maxsplit=1) for line in lines)]


def every_command() -> Iterator[tuple[str, ...]]:
    yield ()
    for name, _ in listed():
        yield (name,)
    for group in GROUPS:
        yield from ((group, name) for name, _ in listed(group))


@pytest.mark.parametrize("group", [(), *((group,) for group in GROUPS)], ids=" ".join)
def test_a_list_of_commands_has_whole_sentences(group: tuple[str, ...]) -> None:
    assert all(words.endswith(".") and not words.endswith("...") for _, words in listed(*group))


@pytest.mark.parametrize("command", [command for command in every_command() if command != ("verify",)], ids=" ".join)
def test_every_command_answers_to_h_and_names_the_values_of_its_options(command: tuple[str, ...]) -> None:
    shown = invoke(*command, "-h").stdout
    assert shown.startswith("Usage: issuetide")
    values = [line for line in shown.splitlines() if re.match(r" +-.* <\w+", line) and "-completion" not in line]
    assert values == []
    assert "x<=" not in shown


def test_the_version_is_printed_without_a_command() -> None:
    result = invoke("--version")
    assert (result.exit_code, result.stdout) == (0, f"issuetide {installed_version('issuetide')}\n")


def test_the_help_of_run_lists_the_exit_codes_as_the_readme_does() -> None:
    codes = re.findall(r"^ {4}(\d+)  ", invoke("run", "--help").stdout, re.MULTILINE)
    assert codes == [str(code) for code in (*range(9), 130)]
    listed = " ".join(README.partition("Exit codes:")[2].partition("\n\n")[0].split())
    assert [code for code in codes if not re.search(rf"(?:^|· ){code} ", listed)] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--limit", "0"),
        ("--limit", "1000000001"),
        ("--max-items", "many"),
        ("--max-calls", "1.5"),
        ("--sweep-calls", "-1"),
        ("--max-cost-usd", "-0.01"),
        ("--max-cost-usd", "nan"),
        ("--max-cost-usd", "inf"),
        ("--max-cost-usd", "1e400"),
        ("--deadline", "soon"),
    ],
    ids=" ".join,
)
def test_a_number_that_cannot_be_meant_is_wrong_usage(arguments: tuple[str, str]) -> None:
    result = invoke("run", "--repo", "octo/demo", *arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("reclassify", "--plan", "--older-than-version", "99999999999"),
        ("reclassify", "--plan", "--older-than-version", "0"),
        ("compare", "current", "rules", "--sample", "99999999999999999999"),
        ("compare", "current", "rules", "--sample", "0"),
    ],
    ids=" ".join,
)
def test_a_number_that_postgresql_could_not_take_is_wrong_usage(arguments: tuple[str, ...]) -> None:
    result = invoke(*arguments, "--task", "issue_kind")
    assert result.exit_code == 2
    assert arguments[-2] in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete_commands(shell: str) -> None:
    result = invoke(_ISSUETIDE_COMPLETE=f"source_{shell}")
    assert (result.exit_code, "issuetide" in result.stdout) == (0, True)


def test_a_task_file_is_shown_as_it_is_and_can_be_copied() -> None:
    path = resource_folder("schemas") / "tasks" / "issue_kind.toml"
    assert invoke("tasks", "show", "issue_kind").stdout == path.read_text(encoding="utf-8")
    wrong = invoke("tasks", "show", "nothing")
    assert (wrong.exit_code, "known are" in wrong.stderr) == (3, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "--kinds", "commits"),
        ("index", "status"),
        ("dashboards", "import"),
        ("compare", "current", "nobody", "--task", "issue_kind"),
        ("batches", "collect"),
    ],
    ids=" ".join,
)
def test_what_ends_a_command_before_it_begins_is_json_where_json_was_asked_for(arguments: tuple[str, ...]) -> None:
    plain = invoke(*arguments)
    assert (plain.exit_code, plain.stdout) == (3, "")
    asked = invoke(*arguments, "--json")
    assert asked.exit_code == 3
    told = json.loads(asked.stdout)
    assert (told["status"], told["exit_code"]) == ("failed", 3)
    assert asked.stderr.splitlines()[-1] == plain.stderr.splitlines()[-1] == f"issuetide: {told['error']}"


def test_batches_can_be_collected_by_nobody_but_claude() -> None:
    result = invoke("batches", "collect")
    assert result.exit_code == 3
    assert "batches need ANTHROPIC_API_KEY" in result.stderr
    assert "rules" not in result.stderr


@pytest.mark.parametrize("command", ["run", "classify", "reclassify"])
def test_the_help_names_every_classifier(command: str) -> None:
    described = " ".join(invoke(command, "--help").stdout.partition("--classifier")[2].split()[:30])
    assert [name for name in CLASSIFIERS if not re.search(rf"\b{name}\b", described)] == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("--golden", "known.jsonl"), "--golden"),
        (("--no-save",), "--save/--no-save"),
        (("--precision", "0.9", "--html", "x.html"), "--precision, --html"),
        (("--dry-run",), "--dry-run"),
    ],
    ids=str,
)
def test_a_list_of_evaluations_takes_no_option_that_it_would_not_heed(given: tuple[str, ...], named: str) -> None:
    result = invoke("evaluate", "--history", "--task", "issue_kind", *given)
    assert result.exit_code == 3
    assert result.stderr.rstrip().endswith(f"leave it out, or {named}")
