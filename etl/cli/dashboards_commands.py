"""`dashboards …`: import, export, check and preview of what OpenSearch Dashboards shows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli import wiring
from etl.cli.options import Json
from etl.cli.output import is_standard_output, print_json, print_line, stop, write_file
from etl.errors import EXIT_DIFFERENT, ConfigurationError
from etl.report.words import count_words, plain_line
from etl.settings import Settings, read_settings

if TYPE_CHECKING:
    from etl.dashboards.panels import Answer, Dashboard, View
    from etl.dashboards.saved_objects import SavedObject

dashboards_app = typer.Typer(no_args_is_help=True, help="The dashboards for OpenSearch Dashboards.")

_Url = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="OpenSearch Dashboards; default DASHBOARDS_URL.")
]
_Tenant = Annotated[
    str | None, typer.Option("--tenant", metavar="NAME", help="Tenant of the security plugin; `global` is everyone's.")
]
_Folder = Annotated[
    Path | None,
    typer.Option("--folder", metavar="FOLDER", help="Folder of .ndjson files; default: those of this release."),
]
_Task = Annotated[str | None, typer.Option("--task", "-t", metavar="NAME", help="The task that is shown first.")]
_From = Annotated[
    str | None, typer.Option("--from", metavar="TIME", help="now-2y, now-30d, 2026-03-04; default: each dashboard's.")
]
_To = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Likewise; default: each dashboard's.")]

_TOLD = {"failed": "failed", "empty": "empty", "opaque": "not seen"}
"""Status of a panel -> how the line about it begins."""


@dashboards_app.command("import", short_help="Import the dashboards and read every object back.")
@stop
def import_command(
    url: _Url = None,
    tenant: _Tenant = None,
    task: _Task = None,
    folder: _Folder = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the files and say what would be new or changed; write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Import the dashboards and read every object back. Safe to repeat.

    What was changed by hand in Dashboards under the same ids is written over; `dashboards export` keeps it.
    """
    from etl.dashboards.api import shown_address
    from etl.dashboards.importing import import_dashboards

    settings = read_settings()
    address = _address(settings, url)
    _check_task(settings, task)
    imported = import_dashboards(
        address,
        folder or _shipped_folder(),
        auth=wiring.dashboards_login(settings),
        tenant=tenant,
        prefix=settings.issuetide_index_prefix,
        ca_file=settings.opensearch_ca_file,
        task=task,
        dry_run=dry_run,
    )
    if as_json:
        print_json([asdict(entry) for entry in imported])
        return
    for entry in imported:
        typer.echo(f"{entry.status:<8} {entry.type:<14} {plain_line(entry.id):<44} {plain_line(entry.title)}")
    if dry_run:
        print_line(f"{len(imported)} objects are sound; nothing was written")
        return
    typer.echo(f"{len(imported)} objects imported and read back; open {shown_address(address)}/app/dashboards")


@dashboards_app.command("export", short_help="Take dashboards that were edited by hand back into files.")
@stop
def export_command(
    url: _Url = None,
    tenant: _Tenant = None,
    folder: _Folder = None,
    identifiers: Annotated[
        list[str] | None,
        typer.Option("--id", metavar="ID", help="A dashboard's id, several times; default: all with our prefix."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files with changes that git has not got.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which files would be new or changed.")] = False,
    as_json: Json = False,
) -> None:
    """Take the dashboards, as they are in OpenSearch Dashboards now, into files; one file each.

    The files have the form in which they are shipped, so that a difference is what somebody changed. Files whose
    changes git has not got are left alone.
    """
    from etl.dashboards.api import DashboardsApi
    from etl.dashboards.exporting import export_dashboards

    settings = read_settings()
    login, ca_file = wiring.dashboards_login(settings), settings.opensearch_ca_file
    with DashboardsApi(_address(settings, url), auth=login, tenant=tenant, ca_file=ca_file) as server:
        exported = export_dashboards(
            server,
            folder or _shipped_folder(),
            prefix=settings.issuetide_index_prefix,
            identifiers=identifiers or (),
            force=force,
            dry_run=dry_run,
        )
    if as_json:
        print_json([{**asdict(entry), "path": str(entry.path)} for entry in exported])
        return
    for entry in exported:
        typer.echo(f"{entry.status:<8} {entry.objects:>3} objects  {entry.path}")


@dashboards_app.command("check", short_help="Prove without Dashboards that every panel works, and find empty ones.")
@stop
def check_command(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Folder of .ndjson files; default: those of this release.")
    ] = None,
    task: _Task = None,
    start: _From = None,
    end: _To = None,
    no_index: Annotated[bool, typer.Option("--no-index", help="Only the files; OpenSearch is not asked.")] = False,
    as_json: Json = False,
) -> int:
    """Check the files of dashboards, and what their panels find in the index.

    References, fields and their types, the grid, aggregations, and what 2.19 and 3.x both know. Where OPENSEARCH_URL is
    set, every panel's search is asked of the index. Ends with 3 where a file is wrong or a search fails, and with 9
    where a panel is empty.
    """
    settings = read_settings()
    _check_task(settings, task)
    objects = _read(folder or _shipped_folder(), settings)
    from etl.dashboards.checking import find_problems, find_remarks

    problems = find_problems(objects)
    remarks = [] if problems else find_remarks(objects)
    boards: Sequence[tuple[Dashboard, Sequence[Answer]]] = ()
    if not problems and not no_index and settings.opensearch_url is not None:
        boards = _ask(settings, objects, _view(start, end, task, None))[1]
    if as_json:
        print_json(_check_values(objects, problems, remarks, boards))
    else:
        _print_check(objects, problems, remarks, boards)
    asked = [answer for _, answers in boards for answer in answers]
    if problems or any(answer.status == "failed" for answer in asked):
        return ConfigurationError.exit_code
    return EXIT_DIFFERENT if any(answer.status == "empty" for answer in asked) else 0


@dashboards_app.command("preview", short_help="Draw the dashboards as one HTML page, without Dashboards.")
@stop
def preview_command(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="The page to write (- for standard output).")
    ],
    folder: _Folder = None,
    task: _Task = None,
    repo: Annotated[
        list[str] | None, typer.Option("--repo", "-r", metavar="OWNER/NAME", help="Several times; default: all.")
    ] = None,
    start: _From = None,
    end: _To = None,
) -> None:
    """Draw each panel from its own search, laid out as in Dashboards, on one self-contained page.

    For reviews: the page needs no network and no Dashboards. It holds titles of issues: treat it like them.
    """
    from importlib.metadata import version

    from etl.dashboards.checking import require_sound
    from etl.dashboards.preview import Preview, render_preview

    settings = read_settings()
    _check_task(settings, task)
    objects = _read(folder or _shipped_folder(), settings)
    require_sound(objects, folder or "the shipped dashboards")
    view = _view(start, end, task, repo)
    host, boards = _ask(settings, objects, view)
    page = render_preview(Preview(boards, view, host, version("issuetide"), datetime.now(UTC)))
    write_file(output, page, "--output")
    if not is_standard_output(output):
        panels = sum(len(answers) for _, answers in boards)
        print_line(f"wrote {output}: {len(boards)} dashboards, {panels} panels, {len(page) // 1024:,} KB")


def _address(settings: Settings, url: str | None) -> str:
    address = url or (settings.dashboards_url.get_secret_value() if settings.dashboards_url else None)
    if address is None:
        raise ConfigurationError("no address: set DASHBOARDS_URL or give --url, for example http://127.0.0.1:5601")
    return address


def _check_task(settings: Settings, name: str | None) -> None:
    if name is not None:
        wiring.choose_tasks(settings, [name])


def _shipped_folder() -> Path:
    from etl.resources import resource_folder

    return resource_folder("dashboards")


def _read(folder: Path, settings: Settings) -> list["SavedObject"]:
    from etl.dashboards.saved_objects import read_saved_objects, with_prefix

    return with_prefix(read_saved_objects(folder), settings.issuetide_index_prefix)


def _view(start: str | None, end: str | None, task: str | None, repositories: Sequence[str] | None) -> "View":
    from etl.dashboards.panels import View

    return View(start=start, end=end, task=task, repositories=tuple(repositories or ()))


def _ask(
    settings: Settings, objects: Sequence["SavedObject"], view: "View"
) -> tuple[str, list[tuple["Dashboard", list["Answer"]]]]:
    """The name of the server, and every dashboard with what its panels found there."""
    from etl.dashboards.panels import ask_dashboard, in_reading_order, read_dashboards

    host, search = wiring.make_search(settings)
    now = datetime.now(UTC)
    boards = in_reading_order(read_dashboards(objects), now)
    return host, [(board, list(ask_dashboard(board, search, now, view))) for board in boards]


def _check_values(
    objects: Sequence["SavedObject"],
    problems: Sequence[str],
    remarks: Sequence[str],
    boards: Sequence[tuple["Dashboard", Sequence["Answer"]]],
) -> dict[str, Any]:
    return {
        "objects": len(objects),
        "dashboards": sum(item["type"] == "dashboard" for item in objects),
        "problems": list(problems),
        "remarks": list(remarks),
        "panels": [
            {
                "dashboard": board.item["id"],
                "panel": answer.panel.item["id"],
                "title": answer.panel.title,
                "index": answer.panel.index,
                "status": answer.status,
                "documents": answer.documents,
                "words": answer.words,
                "only_zeros": _has_only_zeros(answer),
            }
            for board, answers in boards
            for answer in answers
        ],
    }


def _has_only_zeros(answer: "Answer") -> bool:
    """Whether a chart has parts, but none that can be seen."""
    from etl.dashboards.drawing import CHARTS, is_all_zero, read_rows

    return answer.status == "filled" and answer.panel.kind in {*CHARTS, "pie"} and is_all_zero(read_rows(answer))


def _print_check(
    objects: Sequence["SavedObject"],
    problems: Sequence[str],
    remarks: Sequence[str],
    boards: Sequence[tuple["Dashboard", Sequence["Answer"]]],
) -> None:
    for problem in problems:
        print_line(f"wrong: {problem}")
    for remark in remarks:
        print_line(f"note: {remark}")
    for board, answers in boards:
        for answer in answers:
            where = f"{board.title} / {answer.panel.title}"
            if answer.status in _TOLD:
                print_line(f"{_TOLD[answer.status]}: {where}: {answer.words}")
            elif _has_only_zeros(answer):
                print_line(f"only zeros: {where}")
    counts: Mapping[str, int] = {
        status: sum(answer.status == status for _, answers in boards for answer in answers)
        for status in ("filled", "empty", "failed")
    }
    zeros = sum(_has_only_zeros(answer) for _, answers in boards for answer in answers)
    told = f"{len(objects)} objects, {count_words(len(problems), 'problem')}"
    if boards:
        of_these = f" ({zeros} with only zeros)" if zeros else ""
        told += f"; {counts['filled']} panels filled{of_these}, {counts['empty']} empty, {counts['failed']} failed"
    elif not problems:
        told += "; OpenSearch was not asked (OPENSEARCH_URL)"
    print_line(told)
