"""Which process is ours, and how it is ended."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from etl.errors import ConfigurationError
from etl.servers.processes import end_process, find_process, is_gone, own_process, server_environment

MARK = f"-Dissuetide.test={os.getpid()}"


def _spawn(program: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", program, MARK], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture
def marked() -> Iterator["subprocess.Popen[str]"]:
    with _spawn("import time; print('ready', flush=True); time.sleep(600)") as process:
        yield process
        process.kill()


def test_a_process_is_ours_only_if_an_argument_names_the_server(marked: "subprocess.Popen[str]") -> None:
    assert own_process(marked.pid, MARK) is not None
    assert own_process(marked.pid, MARK + "0") is None
    assert own_process(os.getpid(), MARK) is None


def test_a_process_whose_id_was_lost_is_found_by_its_argument(marked: "subprocess.Popen[str]") -> None:
    found = find_process(MARK)
    assert found is not None
    assert found.pid == marked.pid
    assert find_process("-Dissuetide.test=nobody-has-this") is None


def test_a_process_that_ended_and_was_not_waited_for_is_gone_and_not_ours(marked: "subprocess.Popen[str]") -> None:
    process = own_process(marked.pid, MARK)
    assert process is not None
    marked.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, marked.pid, os.WEXITED | os.WNOWAIT)  # it has ended and stays a zombie
    assert is_gone(process)
    assert own_process(marked.pid, MARK) is None
    assert end_process(process, (signal.SIGTERM, 1.0))


def test_a_process_that_ignores_the_first_signal_gets_the_second() -> None:
    program = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    with _spawn(program) as stubborn:
        process = own_process(stubborn.pid, MARK)
        assert process is not None
        assert not end_process(process, (signal.SIGTERM, 0.2))
        assert end_process(process, (signal.SIGTERM, 0.2), (signal.SIGKILL, 10.0))


def test_without_the_extra_the_error_has_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)  # what an import of a missing package finds
    with pytest.raises(ConfigurationError, match=r"pip install '/path/to/the/checkout\[servers\]'"):
        own_process(os.getpid(), MARK)
    with pytest.raises(ConfigurationError, match=r"pip install '/path/to/the/checkout\[servers\]'"):
        find_process(MARK)


def test_a_server_gets_none_of_the_callers_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Dx=y")
    assert set(server_environment()) == {"PATH", "LANG", "LC_ALL", "TZ"}
