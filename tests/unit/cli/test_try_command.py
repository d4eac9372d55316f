"""`dedup try`: what a person sees of texts, their ids and who meets whom, for every kind of input."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from etl.cli.app import app
from etl.dedup import RULES_VERSION, family_hash, issue_text, normalize, text_hash
from etl.errors import ConfigurationError

LOG = "worker-17 exited with 137\nworker-3 exited with 137\n\nworker-3 exited with 1\n"


def try_out(data: str | bytes, *options: str, **environment: str) -> Result:
    arguments = ["dedup", "try", *options, "-"]
    return CliRunner().invoke(app, arguments, input=data, env={"FORCE_COLOR": None, "NO_COLOR": None, **environment})


def values(data: str | bytes, *options: str) -> Any:
    return json.loads(try_out(data, "--json", *options).stdout)


def test_every_line_of_a_log_is_a_text_with_its_marked_parts_and_those_that_meet_stand_together() -> None:
    shown = try_out(LOG).stdout
    one, other = text_hash("worker-17 exited with 137"), text_hash("worker-3 exited with 1")
    assert [line.split(maxsplit=1) for line in shown.split("\n\n")[0].splitlines()] == [
        ["text_hash", one],
        ["family_hash", family_hash("worker-17 exited with 137")],
        ["text", "1      worker-⟦17⟧ exited with 137"],
        ["text", "2      worker-⟦3⟧ exited with 137"],
        ["normalized", "worker-⟦<n>⟧ exited with 137"],
        ["skeleton", "* exited with *"],
    ]
    assert shown.count(other) == 1
    assert f"2 ids of one family: {family_hash('worker-3 exited with 1')}" in shown
    assert shown.endswith(f"3 texts: 2 ids, 1 family (rules version {RULES_VERSION})\n")


def test_json_says_everything_and_the_numbers_of_those_that_meet() -> None:
    found = values(LOG)
    assert [text["number"] for text in found["texts"]] == [1, 2, 4]
    first = found["texts"][0]
    assert first["masked"] == [{"start": 7, "end": 9, "text": "17", "now": "<n>"}]
    assert (first["normalized"], first["skeleton"]) == ("worker-<n> exited with 137", "* exited with *")
    assert found["problems"] == {first["text_hash"]: [1, 2], found["texts"][2]["text_hash"]: [4]}
    assert found["families"] == {first["family_hash"]: [1, 2, 4]}


def test_colours_stand_where_the_terminal_has_them_and_brackets_where_it_has_not() -> None:
    coloured = try_out(LOG, FORCE_COLOR="1", TERM="xterm-256color").stdout
    assert "\x1b[" in coloured
    assert "⟦" not in coloured
    plain = try_out(LOG, FORCE_COLOR="1", NO_COLOR="1", TERM="xterm-256color").stdout
    assert "worker-⟦17⟧" in plain
    assert "\x1b" not in plain


def test_a_terminal_without_such_brackets_gets_plain_ones() -> None:
    command = [sys.executable, "-X", "utf8=0", "-m", "etl.cli", "dedup", "try", "-"]
    environment = {"PYTHONIOENCODING": "ascii", "PATH": "", "LC_ALL": "C"}
    shown = subprocess.run(command, input=LOG.encode(), capture_output=True, env=environment, check=True)
    assert b"worker-[[17]] exited" in shown.stdout


def test_json_lines_are_issues_and_their_text_is_made_as_that_of_an_issue() -> None:
    title, body = "Crash", "### Describe the bug\n\nIt fails after 3 s.\n\n- [x] I searched\n"
    found = values(json.dumps({"title": title, "body": body}) + "\n" + json.dumps({"text": "raw - [x] 1"}) + "\n")
    assert [text["text"] for text in found["texts"]] == [issue_text(title, body), "raw - [x] 1"]


def test_a_log_whose_lines_are_other_json_stays_a_log() -> None:
    found = values('{"level": "error", "took": 3}\n{"level": "error", "took": 4}\n')
    assert len(found["problems"]) == 1
    assert found["texts"][0]["text"] == '{"level": "error", "took": 3}'


def test_a_broken_line_among_issues_is_named() -> None:
    result = try_out('{"title": "a"}\nnot json\n')
    assert result.exit_code == ConfigurationError.exit_code
    assert "line 2 of standard input is no JSON object" in result.stderr
    assert values('{"title": "a"}\nnot json\n', "--lines")["texts"][1]["text"] == "not json"


def test_a_whole_file_is_one_text(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_text("boom 1\n\nboom 2\n")
    result = CliRunner().invoke(app, ["dedup", "try", "--whole", str(path)])
    assert "normalized  boom ⟦<n>⟧\n            boom ⟦<n>⟧\n" in result.stdout
    assert "1 text: 1 id, 1 family" in result.stdout


@pytest.mark.parametrize("data", [b"", b"\n \n\r\n"])
def test_an_input_without_a_text_is_said_to_hold_none(data: bytes) -> None:
    result = try_out(data)
    assert (result.exit_code, result.stdout) == (0, "standard input holds no text\n")
    assert values(data)["texts"] == []


def test_what_is_not_utf8_is_read_all_the_same_and_that_is_said() -> None:
    result = try_out(b"caf\xe9 7\x00\n\xff\xfe\x1b[2Jwiped 8\n")
    assert result.exit_code == 0
    assert "is not UTF-8" in result.stderr
    assert "\x1b" not in result.stdout
    assert "\x00" not in result.stdout
    assert "2 texts" in result.stdout


def test_a_byte_order_mark_is_no_part_of_the_first_text() -> None:
    assert values(b"\xef\xbb\xbfboom\n")["texts"][0]["text"] == "boom"


def test_a_line_of_a_megabyte_is_shown_in_part_and_known_whole() -> None:
    line = "x 1 " * 262_144
    shown = try_out(line).stdout
    assert len(shown) < 10_000
    assert "the middle of these 1,048,576 characters does not count" in shown
    assert values(line)["texts"][0]["normalized"] == normalize(line)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nowhere.log"], "nowhere.log cannot be read: No such file"),
        (["."], ". cannot be read: Is a directory"),
        (["a\0b"], "cannot be read"),
        (["--lines", "--whole", "-"], "contradict each other"),
    ],
)
def test_an_input_that_cannot_be_read_is_named_with_the_reason(arguments: list[str], reason: str) -> None:
    result = CliRunner().invoke(app, ["dedup", "try", *arguments], input="")
    assert result.exit_code == ConfigurationError.exit_code
    assert reason in result.stderr


def test_compressed_and_oversized_inputs_are_refused_with_a_way_out() -> None:
    assert "gzip -dc" in try_out(b"\x1f\x8b\x08\x00").stderr
    assert "holds more than 16 MiB" in try_out(b"a\n" * (8 * 1024 * 1024 + 1)).stderr


def test_a_reader_that_ends_early_is_no_error_with_a_trace() -> None:
    command = f"{sys.executable} -m etl.cli dedup try - | head -n 1"
    ended = subprocess.run(command, shell=True, input=(LOG * 2000).encode(), capture_output=True, check=True)
    assert ended.stdout.startswith(b"text_hash")
    assert b"Traceback" not in ended.stderr
