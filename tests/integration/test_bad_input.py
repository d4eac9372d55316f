"""What goes wrong at the command: one line that names the input and the way out, the documented exit code."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from etl.db.migrate import HEAD
from tests.loopback.anthropic import LoopbackAnthropic
from tests.loopback.github import LoopbackGitHub

COMMAND = [sys.executable, "-m", "etl.cli"]
SECRET = "hush-hush"
HOSTILE = "\x1b]0;owned\x07\x1b[31m \u202e[/] [bold]\U0001f600"


class Desk:
    """Where somebody calls the command: its settings and its working folder."""

    def __init__(self, database_url: str, github_url: str, folder: Path) -> None:
        self.folder = folder
        self.settings = {
            "GITHUB_TOKEN": "token",
            "GITHUB_API_URL": github_url,
            "DATABASE_URL": database_url,
            "ISSUETIDE_DATA_DIR": str(folder / "data"),
        }

    def call(self, *arguments: str | bytes, **changes: str | bytes) -> "subprocess.CompletedProcess[str]":
        """The command, run to its end."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "COVERAGE_PROCESS_CONFIG") if name in os.environ}
        return subprocess.run(
            [*COMMAND, *arguments],
            env={**kept, "LANG": "C.UTF-8", **self.settings, **changes},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=240,
            check=False,
        )

    def complaint(self, code: int, *arguments: str | bytes, **changes: str | bytes) -> str:
        """The one line with which the command ends with `code`."""
        done = self.call(*arguments, **changes)
        assert done.returncode == code, done.stderr
        assert SECRET not in done.stderr + done.stdout
        lines = [line for line in done.stderr.splitlines() if " INFO " not in line]
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("issuetide: ")
        assert lines[0].isprintable()
        return lines[0]


@pytest.fixture
def github() -> Iterator[LoopbackGitHub]:
    with LoopbackGitHub(tokens={"token"}) as github:
        github.add_repository("octo/demo")
        yield github


@pytest.fixture
def desk(database_url: str, github: LoopbackGitHub, tmp_path: Path) -> Desk:
    return Desk(database_url, github.url, tmp_path)


RULES = ("run", "--classifier", "rules")
RUN = (*RULES, "--repo", "octo/demo")


@pytest.mark.parametrize(
    ("name", "value", "code", "words"),
    [
        ("DATABASE_URL", f"postgresql://u:p@{SECRET}@127.0.0.1:1/x", 3, "as %40"),
        ("DATABASE_URL", f"postgresql://u:p@x/{SECRET}:@127.0.0.1:1/x", 3, "as %40"),
        ("DATABASE_URL", f"postgresql://u@127.0.0.1:1/x?password={SECRET}", 8, "start it or mend DATABASE_URL"),
        ("DATABASE_URL", f"postgresql://u:{SECRET}@127.0.0.1:99999/x", 3, "ports are 1 to 65535"),
        ("DATABASE_URL", f"postgresql://u:{SECRET}@127.0.0.1:1/x?nonsense=1", 3, 'option "nonsense"'),
        ("DATABASE_URL", f"postgresql://u:{SECRET}@127.0.0.1:1/x?sslmode=bogus", 3, 'sslmode value: "bogus"'),
        ("DATABASE_URL", SECRET, 3, "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"),
        ("DATABASE_URL", os.fsencode(f"postgresql://u:{SECRET}") + b"\xff@127.0.0.1:1/x", 3, "copy it again"),
        ("GITHUB_API_URL", f"http://u:{SECRET}@127.0.0.1:1", 3, "no user name and no password"),
        ("GITHUB_API_URL", "http://127.0.0.1:99999", 3, "absolute http:// or https://"),
        ("GITHUB_TOKEN", f"{SECRET}\nX-Other: 1", 3, "setting GITHUB_TOKEN"),
        ("GITHUB_TOKEN", SECRET, 3, "GITHUB_TOKEN is wrong"),
        ("ANTHROPIC_API_KEY", f"{SECRET}\nx", 3, "setting ANTHROPIC_API_KEY"),
        ("ANTHROPIC_BASE_URL", f"ftp://u:{SECRET}@127.0.0.1", 3, "absolute http:// or https://"),
        ("OPENSEARCH_URL", os.fsencode(f"http://u:{SECRET}") + b"\xff@127.0.0.1:1", 3, "setting OPENSEARCH_URL"),
        ("OPENSEARCH_URL", "local", 3, "issuetide servers start"),
        ("ISSUETIDE_TASK", ",", 3, "issuetide tasks list"),
        ("ISSUETIDE_TASKS_DIR", "/nonexistent", 3, "/nonexistent is no folder"),
        ("ISSUETIDE_THREADS", "many", 3, "setting ISSUETIDE_THREADS"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_without_its_secret(
    desk: Desk, name: str, value: str | bytes, code: int, words: str
) -> None:
    assert words in desk.complaint(code, *RUN, **{name: value})


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((*RULES, "--repo", "octo"), 3, "owner/name"),
        ((*RULES, "--repo", "octo/\x1b[31mx"), 3, "owner/name"),
        ((*RULES, "--repo", "octo/unknown"), 3, "octo/unknown was not found"),
        (("run", "--repo", b"octo/\xff"), 2, "write UTF-8"),
        (("run", "--repo", "octo/demo", "--kinds", ""), 3, "--kinds names none"),
        (("run", "--skip-fetch", "--input", "x.jsonl"), 3, "exclude each other"),
        (("run", "--repo", "octo/demo", "--task", "[/]"), 3, "task '[/]' is unknown"),
        (("fetch", "--input", "x" * 5000), 3, "File name too long"),
        (("fetch", "--input", "missing.jsonl"), 3, "missing.jsonl cannot be read"),
        (("fetch", "--input", "."), 3, "--input -"),
        (("explain", "octo/demo#²"), 3, "OWNER/NAME#NUMBER"),
        (("explain", "octo/demo#99"), 3, "is not stored"),
        (("report", "--json", "--csv"), 3, "exclude each other"),
        (("report", "--html", "."), 3, "--html ."),
        (("export", "--jsonl", "/dev/full"), 1, "No space left on device"),
    ],
)
def test_an_option_that_cannot_be_used_is_named(
    desk: Desk, github: LoopbackGitHub, arguments: tuple[str | bytes, ...], code: int, words: str
) -> None:
    github.add_issue("octo/demo")
    desk.call(*RUN)  # so that there is something to export
    assert words in desk.complaint(code, *arguments)


@pytest.mark.parametrize("command", [RULES, ("fetch",)])
def test_a_malformed_repository_of_a_file_is_named_before_a_run_is_recorded(desk: Desk, command: tuple[str]) -> None:
    (desk.folder / "issues.jsonl").write_text("{}\n")
    assert "owner/name" in desk.complaint(3, *command, "--input", "issues.jsonl", "--repo", "octo")
    with psycopg.connect(desk.settings["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)


@pytest.mark.parametrize("command", [RUN, ("fetch", "--repo", "octo/demo"), ("verify",)])
@pytest.mark.parametrize("label", ["a,b", " "])
def test_a_label_that_github_cannot_be_asked_for_is_named_before_a_run_is_recorded(
    desk: Desk, github: LoopbackGitHub, command: tuple[str, ...], label: str
) -> None:
    assert f"--label {label!r} cannot be asked for" in desk.complaint(3, *command, "--label", label)
    assert github.requests() == []
    with psycopg.connect(desk.settings["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (0,)


def test_what_cannot_have_happened_then_is_left_out_by_name_and_the_rest_is_stored(desk: Desk) -> None:
    records = [
        {
            "number": number,
            "title": f"Title {number}",
            "repository_url": "https://api.github.com/repos/octo/demo",
            "created_at": f"{year}-06-01T00:00:00Z",
        }
        for number, year in ((1, "0001"), (2, "2024"), (3, "9999"))
    ]
    (desk.folder / "issues.jsonl").write_text("\n".join(map(json.dumps, records)))
    for _ in range(2):
        done = desk.call(*RULES, "--task", "issue_kind", "--input", "issues.jsonl", "--json")
        outcome = json.loads(done.stdout)
        assert (done.returncode, outcome["status"], outcome["items_skipped"]) == (4, "partial", 2), done.stderr
        assert "issues.jsonl line 1: issue 1: created_at 0001-06-01T00:00:00+00:00 cannot be" in outcome["notes"][0]
        assert "issues.jsonl line 3: issue 3: created_at 9999-06-01T00:00:00+00:00 cannot be" in outcome["notes"][1]
        with psycopg.connect(desk.settings["DATABASE_URL"]) as connection:
            assert connection.execute("SELECT number FROM issues").fetchall() == [(2,)]
            first_day = connection.execute("SELECT min(day)::text FROM category_daily").fetchone()
        assert first_day == ("2024-06-01",)


@pytest.mark.parametrize("path", ["/wrong", "/v1"])
def test_a_wrong_path_of_the_anthropic_api_names_the_setting_and_loses_nothing(
    desk: Desk, github: LoopbackGitHub, path: str
) -> None:
    github.add_issue("octo/demo", "It crashes with an error", "Always.")
    run = ("run", "--repo", "octo/demo", "--task", "issue_kind")
    with LoopbackAnthropic(key="sk-ant-x") as anthropic:
        wrong = {"ANTHROPIC_API_KEY": "sk-ant-x", "ANTHROPIC_BASE_URL": f"{anthropic.url}{path}"}
        complaint = desk.complaint(3, *run, **wrong)
        assert f"{anthropic.url}{path} is not the root of the Anthropic API" in complaint
        assert "set ANTHROPIC_BASE_URL" in complaint
        mended = desk.call(*run, "--json", **{**wrong, "ANTHROPIC_BASE_URL": anthropic.url})
        assert json.loads(mended.stdout)["texts_asked"] == 1, mended.stderr


def test_a_wrong_path_of_the_github_api_names_the_setting_and_loses_nothing(desk: Desk, github: LoopbackGitHub) -> None:
    github.add_issue("octo/demo", "It crashes with an error", "Always.")
    complaint = desk.complaint(3, *RUN, GITHUB_API_URL=f"{github.url}/wrong")
    assert f"{github.url}/wrong is not the root of GitHub's API" in complaint
    assert "set GITHUB_API_URL" in complaint
    assert json.loads(desk.call(*RUN, "--json").stdout)["items_new"] == 1


@pytest.mark.parametrize("option", ["--limit", "--max-items"])
def test_a_number_that_no_database_holds_is_wrong_usage(desk: Desk, option: str) -> None:
    done = desk.call(*RUN, option, "9" * 30)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_line_of_the_env_file_with_an_open_quote_is_named_and_not_left_out(desk: Desk) -> None:
    (desk.folder / ".env").write_text(f'ISSUETIDE_THREADS=2\nANTHROPIC_API_KEY="{SECRET}\n')
    assert ".env line 2" in desk.complaint(3, *RUN)


def test_a_settings_file_that_nests_too_deep_is_named(desk: Desk) -> None:
    (desk.folder / "issuetide.toml").write_text("a = " + "[" * 5000)
    assert "issuetide.toml" in desk.complaint(3, *RUN)


@pytest.mark.parametrize("command", [("status",), ("servers", "status"), ("servers", "stop")])
@pytest.mark.parametrize("path", ["/dev/null", "/tmp/" + "a" * 300])
def test_a_data_folder_that_cannot_be_one_is_named(desk: Desk, command: tuple[str, ...], path: str) -> None:
    assert "ISSUETIDE_DATA_DIR" in desk.complaint(3, *command, ISSUETIDE_DATA_DIR=path, DATABASE_URL="")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('9999')", "newer"),
        ("CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('0000')", "unknown"),
        ("CREATE TABLE alembic_version (other text)", "a column of ours is missing"),
        ("CREATE TABLE items (other text)", "has a name of ours"),
        ("DROP SCHEMA public", "grant CREATE"),
    ],
)
def test_a_database_that_cannot_be_upgraded_says_why(
    desk: Desk, empty_database_url: str, statement: str, words: str
) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(statement.encode())
    assert words in desk.complaint(3, "db", "upgrade", DATABASE_URL=empty_database_url)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_letter_is_refused(
    desk: Desk, github: LoopbackGitHub, postgres_server: str, encoding: str
) -> None:
    github.add_issue("octo/demo", "An emoji \U0001f600 in Zürich", "漢字")
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE narrow ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0".encode())
    try:
        url = urlunsplit(urlsplit(postgres_server)._replace(path="/narrow"))
        complaint = desk.complaint(3, "db", "upgrade", DATABASE_URL=url)
        assert f"database narrow is {encoding}" in complaint
        assert "ENCODING 'UTF8'" in complaint
        with psycopg.connect(url) as connection:  # as an earlier release may have left it
            connection.execute("CREATE TABLE alembic_version (version_num text)")
            connection.execute("INSERT INTO alembic_version VALUES (%s)", (HEAD,))
        for arguments in (RUN, ("status",), ("explain", "octo/demo#1"), ("report",)):
            assert desk.complaint(3, *arguments, DATABASE_URL=url) == complaint
    finally:
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute("DROP DATABASE narrow WITH (FORCE)")


@pytest.mark.parametrize(
    ("setting", "code", "words"),
    [("default_transaction_read_only = on", 3, "only takes reads"), ("statement_timeout = '1ms'", 8, "cancelled")],
)
def test_a_database_that_does_not_let_us_work_says_why(desk: Desk, setting: str, code: int, words: str) -> None:
    with psycopg.connect(desk.settings["DATABASE_URL"]) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET {setting}".encode())
    assert words in desk.complaint(code, *RUN)


def test_what_strangers_wrote_reaches_no_terminal_raw(desk: Desk, github: LoopbackGitHub) -> None:
    github.add_issue("octo/demo", HOSTILE, f"{HOSTILE}\n{HOSTILE}", labels=(HOSTILE,))
    assert desk.call(*RUN).returncode == 0
    for arguments in (
        ("explain", "octo/demo#1"),
        ("explain", "octo/demo#1", "--json"),
        ("report",),
        ("report", "--json"),
        ("report", "--csv"),
        ("status",),
    ):
        done = desk.call(*arguments)
        assert done.returncode == 0, done.stderr
        assert not set(done.stdout) & set("\x1b\x07\u202e"), arguments
        assert arguments[0] == "status" or "[/] [bold]" in done.stdout


def test_letters_that_the_output_lacks_are_shown_as_question_marks(desk: Desk, github: LoopbackGitHub) -> None:
    github.add_issue("octo/demo", "An emoji \U0001f600 in Zürich", "漢字")
    assert desk.call(*RUN).returncode == 0
    for arguments in (("explain", "octo/demo#1"), ("report",), ("status",), ("tasks", "list"), RUN):
        done = desk.call(*arguments, LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert "An emoji ? in Z?rich" in desk.call("explain", "octo/demo#1", PYTHONIOENCODING="ascii").stdout


def test_a_title_of_a_file_may_be_of_any_length(desk: Desk, github: LoopbackGitHub) -> None:
    github.add_issue("octo/demo", "x" * 200_000, "y")
    assert desk.call(*RUN).returncode == 0
    assert desk.call("explain", "octo/demo#1").returncode == 0


@pytest.mark.parametrize("arguments", [("report",), ("report", "--csv"), ("tasks", "list"), RUN])
def test_an_output_that_takes_nothing_is_one_line_or_none(desk: Desk, arguments: tuple[str, ...]) -> None:
    desk.call(*RUN)
    shell = ["sh", "-c", '"$0" "$@" >/dev/full', *COMMAND, *arguments]
    environment = {**os.environ, **desk.settings}
    full = subprocess.run(shell, env=environment, cwd=desk.folder, capture_output=True, text=True, check=False)
    complaints = [line for line in full.stderr.splitlines() if " INFO " not in line]
    assert (full.returncode, len(complaints)) == (1, 1), full.stderr
    assert "No space left on device" in complaints[0]
    shell[2] = '"$0" "$@" >&- 2>&-'
    closed = subprocess.run(shell, env=environment, cwd=desk.folder, capture_output=True, text=True, check=False)
    assert closed.returncode == 0


STARTING = """
import os, signal, sys, time
class Meeting:
    def find_spec(self, name, path=None, target=None):
        if name == "sqlalchemy":
            {deed}
sys.meta_path.insert(0, Meeting())
sys.argv = ["issuetide", "status"]
from etl.cli import main
main()
"""
"""Something happens inside, at the import of the first module that takes long."""


def told_by(code: str, desk: Desk) -> tuple[int, str]:
    """The exit code of a Python that does this, and what it wrote to standard error."""
    arguments = [sys.executable, "-c", code]
    done = subprocess.run(arguments, cwd=desk.folder, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_command_is_starting_is_one_line(desk: Desk, number: signal.Signals) -> None:
    code, errors = told_by(STARTING.format(deed=f"os.kill(os.getpid(), {int(number)})"), desk)
    assert code == 130
    assert errors == "issuetide: interrupted; what is stored stays, the next run goes on from here\n"


def test_a_second_interruption_ends_the_command_at_once(desk: Desk) -> None:
    deed = (
        "[(os.kill(os.getpid(), signal.SIGTERM), time.sleep(1.1)) for _ in range(2)]; print('went on', file=sys.stderr)"
    )
    code, errors = told_by(STARTING.format(deed=deed), desk)
    assert code == 130
    assert errors == "issuetide: interrupted again, so nothing was waited for; the next run goes on\n"


ENDING = """
import atexit, os, signal, sys, time
class Swallowed:
    def __del__(self):
        raise KeyboardInterrupt
class Last:
    def __del__(self, sleep=time.sleep, kill=os.kill, me=os.getpid(), number={number}):
        sleep(0.1)
        kill(me, number)
def at_the_end():
    Swallowed()
    last = Last()
    last.itself = last
sys.argv = ["issuetide", "tasks", "list"]
from etl.cli import main
try:
    main()
finally:
    atexit.register(at_the_end)
"""
"""An interruption that is looked at again a moment later, and one when the interpreter takes itself apart."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_a_command_has_ended_changes_nothing(desk: Desk, number: signal.Signals) -> None:
    assert told_by(ENDING.format(number=int(number)), desk) == (0, "")
