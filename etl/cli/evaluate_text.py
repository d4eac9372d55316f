"""What `evaluate` prints: an evaluation, what became of calibrating by it, and those that were kept."""

from collections.abc import Sequence
from dataclasses import asdict

import typer

from etl.cli import wiring
from etl.cli.output import print_error, print_json, print_line
from etl.db.queries import evaluations
from etl.evaluate.calibration import Fit
from etl.evaluate.evaluation import Author, Evaluation, plain_values
from etl.settings import read_settings


def print_evaluation(
    evaluation: Evaluation, number: int | None, disputed: int, fits: Sequence[tuple[Author, Fit]], *, as_json: bool
) -> None:
    """Everything measured, as lines or as JSON. number: of the kept evaluation. disputed: items without a majority."""
    if as_json:
        calibrations = [{**asdict(author), **asdict(found)} for author, found in fits]
        print_json({**plain_values(evaluation), "id": number, "disputed": disputed, "calibrations": calibrations})
        return
    from etl.report.quality import quality_lines

    for line in quality_lines(evaluation):
        typer.echo(line)
    if disputed:
        print_line(f"left out: {disputed:,} items on which people do not agree")
    if number is not None:
        print_line(f"kept as evaluation {number}; `issuetide evaluate --history` lists all")
    for author, found in fits:
        whose = f"{author.classifier} {author.model} prompt {author.prompt_version}"
        if found.problem:
            print_error(f"not calibrated, {whose}: {found.problem}")
        else:
            print_line(
                f"calibrated ({found.method}, {len(found.points)} points), {whose}: error from {found.before.ece:.3f}"
                f" to {found.after.ece:.3f} on answers that it was not fitted on; documents follow with the next export"
            )


def print_history(tasks: Sequence[str], *, as_json: bool) -> int:
    """The kept evaluations of these tasks (none: of all), and the calibrations that hold; the exit code."""
    settings = read_settings()
    with wiring.opened_store(settings) as store, store.transaction() as connection:
        found = evaluations.select_evaluations(connection, tasks)
        held = evaluations.select_calibrations(connection, tasks)
    if as_json:
        print_json({"evaluations": found, "calibrations": held})
        return 0
    for entry in found:
        scores = entry["metrics"]["scores"]
        print_line(
            f"evaluation {entry['id']} of {entry['created_at']:%Y-%m-%d %H:%M}: {entry['task']} version"
            f" {entry['task_version']}, {entry['classifier']} {entry['model']} prompt {entry['prompt_version']}, on"
            f" {entry['size']:,} texts of {entry['golden_set']}: accuracy {scores['accuracy']:.3f}, macro-F1"
            f" {scores['macro']['f1']:.3f}, coverage {scores['coverage']:.3f}, ECE"
            f" {entry['metrics']['reliability']['ece']:.3f}"
        )
    for entry in held:
        print_line(
            f"calibration {entry['id']} holds for {entry['task']}, {entry['classifier']} {entry['model']} prompt"
            f" {entry['prompt_version']}, by evaluation {entry['evaluation_id']}"
        )
    if not found:
        print_line("no evaluation was kept yet")
    return 0
