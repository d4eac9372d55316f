"""`tasks list|show|check`: the questions that can be asked."""

from pathlib import Path
from typing import Annotated, Any

import typer

from etl.cli.options import Json
from etl.cli.output import print_json, stop
from etl.errors import ConfigurationError, IssuetideError
from etl.report.words import count_words
from etl.settings import read_settings
from etl.tasks import Task, load_tasks, parse_task, select_tasks

tasks_app = typer.Typer(no_args_is_help=True, help="The questions that can be asked (task files).")


@tasks_app.command("list")
@stop
def tasks_list_command(as_json: Json = False) -> None:
    """List the tasks: name, version, question, categories."""
    tasks = load_tasks(read_settings().issuetide_tasks_dir).values()
    if as_json:
        print_json([_task_values(task) for task in tasks])
        return
    for task in tasks:
        many = f", up to {task.at_most} of them" if task.answers == "many_of" else ""
        typer.echo(f"{task.name} v{task.version} ({task.input}): {task.question.strip()}")
        typer.echo(f"    {', '.join(category.id for category in task.live_categories)}{many}, or {task.abstain}")


def _task_values(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "version": task.version,
        "title": task.title,
        "question": task.question.strip(),
        "input": task.input,
        "answers": task.answers,
        "at_most": task.at_most,
        "abstain": task.abstain,
        "categories": [category.id for category in task.live_categories],
        "sha256": task.sha256,
        "path": task.path,
    }


@tasks_app.command("show")
@stop
def tasks_show_command(name: Annotated[str, typer.Argument(metavar="NAME", help="As `tasks list` calls it.")]) -> None:
    """Print a task's file, to read or to copy from.

    For a task of your own: issuetide tasks show issue_kind >my_tasks/my_kind.toml, change its `name`, and set
    ISSUETIDE_TASKS_DIR to that folder.
    """
    (task,) = select_tasks(load_tasks(read_settings().issuetide_tasks_dir), [name])
    typer.echo(Path(task.path).read_text(encoding="utf-8"), nl=False)


@tasks_app.command("check")
@stop
def tasks_check_command(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE …", help="Task files; default: all that a run would load.")
    ] = None,
) -> int:
    """Check task files and say what is wrong with each.

    The exit code says whether all were right: 0, else 3.
    """
    if not files:
        tasks = load_tasks(read_settings().issuetide_tasks_dir)
        typer.echo(f"{count_words(len(tasks), 'task is', 'tasks are')} right")
        return 0
    wrong = 0
    for path in files:
        try:
            task = parse_task(path.read_bytes(), str(path))
            categories = count_words(len(task.categories), "category", "categories")
            typer.echo(f"{path}: right ({task.name} v{task.version}, {categories})")
        except OSError as error:
            wrong += 1
            typer.echo(f"{path}: cannot be read: {error.strerror}", err=True)
        except IssuetideError as error:
            wrong += 1
            typer.echo(str(error), err=True)
    return ConfigurationError.exit_code if wrong else 0
