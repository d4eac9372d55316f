"""`train`: a local model from the answers that are stored, measured before it is used."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from etl.cli import options, wiring
from etl.cli.output import beside, check_apart, is_standard_output, print_json, print_row, stop, write_file
from etl.cli.pipeline_commands import begin
from etl.cli.progress import make_progress
from etl.db.queries import local_models
from etl.db.queries.local_models import NewModel
from etl.errors import ConfigurationError
from etl.tasks import Task

if TYPE_CHECKING:
    from etl.settings import Settings
    from etl.training.examples import Labelled
    from etl.training.train import Trained

DEFAULT_AGREEMENT = 0.95
_LOWEST, _HIGHEST = 0.5, 0.999


def _agreement(word: str) -> float:
    try:
        share = float(word)
    except ValueError:
        raise typer.BadParameter(f"{word!r} is no number") from None
    if not _LOWEST <= share <= _HIGHEST:
        raise typer.BadParameter(f"{word} is not between {_LOWEST} and {_HIGHEST}")
    return share


@stop
def train_command(
    task: Annotated[str, typer.Option("--task", "-t", metavar="NAME", help="The question to train a model for.")],
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input", metavar="FILE", help="JSON lines with known answers (docs/quality.md), instead of the ledger."
        ),
    ] = None,
    agreement: Annotated[
        float,
        typer.Option("--agreement", parser=_agreement, metavar="SHARE", help="How often its answers are to agree."),
    ] = DEFAULT_AGREEMENT,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Also write the model to a file; - is standard output."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Train and measure; store nothing.")] = False,
    as_json: options.Json = False,
    log_format: options.LogFormat = "text",
    verbose: options.Verbose = False,
) -> None:
    """Train the model of the classifier `local` from what Claude and people have answered; say how good it is.

    The newest model of a task answers: alone with --classifier local, before Claude with ISSUETIDE_CASCADE=on. Needs
    the extra `ml`. With --input and --dry-run no database is needed.

    Example: issuetide train --task issue_kind --agreement 0.97
    """
    _check_output(output, as_json=as_json)
    session = begin(log_format, as_json=as_json, verbose=verbose)
    settings = session.settings
    (chosen,) = wiring.choose_tasks(settings, [task])
    from etl.training.fit import check_installed
    from etl.training.train import train

    check_installed()
    labelled = _read_file(input_file, chosen) if input_file is not None else _read_ledger(settings, chosen)
    trained = train(chosen, labelled, agreement, make_progress())
    content = trained.model.to_bytes()
    if output is not None:
        write_file(output, content, "--output")
    stored = None if dry_run else _store(settings, chosen, trained, content)
    if as_json:
        print_json(_values(trained, content, stored))
    else:
        with beside(output):
            for line in training_lines(trained, len(content), stored):
                print_row(line)


def _check_output(output: Path | None, *, as_json: bool) -> None:
    """Raises ConfigurationError where standard output cannot take a model: `--json` has it, or a person looks at it."""
    check_apart(output, "--output", as_json=as_json)
    if is_standard_output(output) and sys.stdout.isatty():
        raise ConfigurationError("--output - writes a model, which is no text, to this terminal: redirect it to a file")


def _read_file(path: Path, task: Task) -> "list[Labelled]":
    from etl.evaluate.golden import read_golden
    from etl.training.examples import Labelled

    return [Labelled(entry.body, entry.right) for entry in read_golden(path, task).texts]


def _read_ledger(settings: "Settings", task: Task) -> "list[Labelled]":
    with wiring.opened_store(settings) as store, store.transaction() as connection:
        return list(_known(local_models.select_examples(connection, task), task))


def _known(rows: Iterable[local_models.ExampleRow], task: Task) -> "Iterator[Labelled]":
    """The examples in the categories of today; answers that name others only are left out."""
    from etl.training.examples import Labelled

    live = {category.id for category in task.live_categories}
    for row in rows:
        right = frozenset(row.categories) & live
        if right or not row.categories:
            yield Labelled(row.body, right)


def _store(settings: "Settings", task: Task, trained: "Trained", content: bytes) -> int:
    model = NewModel(
        content, trained.model.sha256, len(trained.training.examples), trained.metrics(), trained.quality.chosen()
    )
    with wiring.opened_store(settings) as store, store.transaction() as connection:
        return local_models.insert_model(connection, task, model)


def _values(trained: "Trained", content: bytes, stored: int | None) -> dict[str, Any]:
    return {
        "task": trained.training.task.name,
        "model_id": stored,
        "sha256": trained.model.sha256,
        "bytes": len(content),
        "features": len(trained.model.features),
        **trained.metrics(),
        "curve": [asdict(point) for point in trained.quality.curve],
    }


def training_lines(trained: "Trained", size: int, stored: int | None) -> list[str]:
    """What a training came to, for people."""
    quality, training = trained.quality, trained.training
    counts = ", ".join(f"{name or 'other'} {count:,}" for name, count in training.counts().items())
    low, high = quality.macro_f1_interval
    figures = (
        f"cross-validated: macro-F1 {quality.macro_f1:.3f} ({low:.3f} to {high:.3f}), accuracy {quality.accuracy:.3f},"
        f" calibration error {quality.ece:.3f}"
    )
    lines = [
        f"trained on {quality.texts:,} texts ({counts}); {size / 1e6:.1f} MB",
        figures,
        *(
            f"  {entry['category']:<24} precision {entry['precision']:.3f}  recall {entry['recall']:.3f}"
            f"  F1 {entry['f1']:.3f}  texts {entry['support']:,}"
            for entry in quality.categories
        ),
        *(f"  {name:<24} not learned: {count:,} texts" for name, count in training.too_few.items()),
        f"to agree in {quality.wanted:.0%} it answers from these confidences on:",
        *(
            f"  {entry.category:<24} "
            + (
                f"{entry.confidence:.3f}  ({entry.answers:,} of {entry.of:,} texts, {entry.agreed:,} agree)"
                if entry.confidence is not None
                else "never"
            )
            for entry in quality.thresholds
        ),
        _expected(trained),
    ]
    if stored is None:
        return [*lines, "nothing was stored (dry run)"]
    return [*lines, f"stored as model {stored}: `--classifier local` and ISSUETIDE_CASCADE=on use it from now on"]


def _expected(trained: "Trained") -> str:
    quality = trained.quality
    if not quality.chosen():
        return "no category reaches that: it would never answer; more examples, or a lower --agreement"
    low, high = quality.agreement_interval
    return (
        f"on new texts of this kind: answers {quality.coverage:.0%}, of which {quality.agreement:.1%} agree"
        f" ({low:.1%} to {high:.1%})"
    )
