"""Whether prompts are the same bytes wherever they are rendered: one other byte, and the cache is paid for in vain."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from etl.classifiers.requests import make_prompt
from etl.errors import UnavailableError
from etl.tasks import Task, load_tasks

_WORLDS = (
    {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "Etc/GMT+12"},
    {"PYTHONHASHSEED": "2", "LC_ALL": "C.UTF-8", "TZ": "Etc/GMT-14"},
)
"""Where sets have another order, words another alphabet, and the day is always another one."""
_SECONDS = 60
_SCRIPT = "from etl.classifiers.stability import main; main()"


def digests(tasks: Iterable[Task]) -> dict[str, str]:
    """By task: the SHA-256 of everything that its requests share, alone and packed."""
    found = {}
    for task in tasks:
        prompts = [make_prompt(task, pack) for pack in (1, 2)]
        words = [[prompt.tools, prompt.system, prompt.schema] for prompt in prompts]
        found[task.name] = sha256(json.dumps(words).encode()).hexdigest()
    return found


def find_unstable(tasks_dir: Path | None) -> list[str]:
    """Names of tasks whose prompt differs between two processes with other hash seeds, locales and days.

    tasks_dir: of task files beside the shipped ones; None where there is none.

    Raises:
        UnavailableError: the prompts could not be rendered in a process of their own.
    """
    first, second = (_digests_in(world, tasks_dir) for world in _WORLDS)
    return sorted(name for name in first if first[name] != second.get(name))


def _digests_in(world: dict[str, str], tasks_dir: Path | None) -> dict[str, str]:
    command = [sys.executable, "-c", _SCRIPT, *([str(tasks_dir.absolute())] if tasks_dir is not None else [])]
    try:
        done = subprocess.run(  # noqa: S603  (this Python, our script)
            command,
            env={**os.environ, **world},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UnavailableError(
            f"the prompts could not be rendered in a process of their own ({type(error).__name__})"
        ) from None
    found: dict[str, str] = json.loads(done.stdout)
    return found


def main() -> None:
    """Prints the digests of all tasks as JSON; the argument, if any, is a folder of task files."""
    tasks = load_tasks(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    sys.stdout.write(json.dumps(digests(tasks.values())))
